"""The validator set changes where an epoch ends: who joins, who leaves, who is expelled, and what never happens."""

from dataclasses import replace
from pathlib import Path

import pytest

from ledger import keyspace, membership
from ledger.chain import Chain
from ledger.draft import Overlay
from ledger.events import EventRefused, check_event
from ledger.genesis import compute_validators_hash
from ledger.membership import (
    ADMISSION_EPOCHS,
    ADMIT,
    EXPEL,
    LEAVE,
    WAITING_MAX,
    Change,
    Membership,
    find_change,
    list_waiting,
    plan_changes,
    read_membership,
)
from ledger.nodes import (
    NODE_BOND,
    RELAY,
    RELEASE_EPOCHS,
    VALIDATOR,
    NodeBondReleased,
    NodeRetired,
    compute_node_bond_account,
    read_node,
)
from ledger.primitives.records import encode_record
from ledger.receipts import APPLIED, DENIED
from ledger.service import VALIDATORS_MAX, Validators, compute_quorum, read_era, read_validators_at
from ledger.store import Store
from ledger.tokens import FLX, read_balance
from tests.economy.council import Council, changed, lapsed
from tests.economy.node_town import NODES, codes, make_node, make_node_genesis


def kind_of(council: Council, number: int) -> str:
    node = read_node(council.store, council.keys[number].public)
    assert node is not None
    return node.kind


# Joining.


def test_an_admitted_node_joins_at_the_end_of_the_epoch_in_which_it_says_that_it_is_ready(council: Council) -> None:
    admitted = council.admit(4)
    before = council.members
    council.ready(4)
    during = council.members
    joined = council.end()

    assert (changed(admitted), before, during) == (None, [0, 1, 2, 3], [0, 1, 2, 3])
    assert council.members == [0, 1, 2, 3, 4]
    assert changed(joined) == {"era": 1, "expelled": 0, "joined": 1, "left": 0, "rotated": 0, "validators": 5}
    assert kind_of(council, 4) == VALIDATOR
    assert list_waiting(council.store) == ()


def test_the_block_that_ends_the_epoch_names_the_set_of_the_next_height_and_is_of_the_old_one(council: Council) -> None:
    old, before = council.validators, council.chain.head.header.validators_hash
    council.join(4)
    head, new = council.chain.head, council.validators

    assert before == compute_validators_hash(old.keys)
    assert head.header.validators_hash == compute_validators_hash(new.keys)
    assert (new.era, new.since) == (old.era + 1, head.height + 1)
    assert council.chain.validators == new
    assert [council.chain.validators_at(height) for height in (1, head.height, head.height + 1)] == [old, old, new]
    assert (read_era(council.store, 0), read_era(council.store, 1)) == (old, new)
    assert read_validators_at(council.store, head.height) == old


def test_a_node_that_is_not_ready_waits_and_lapses_after_its_epochs(council: Council) -> None:
    council.admit(4)
    waiting = list_waiting(council.store)
    receipts = [council.end() for _ in range(ADMISSION_EPOCHS)]

    assert [(each.kind, each.key) for each in waiting] == [(ADMIT, NODES[4].public)]
    assert waiting[0].last_epoch == council.chain.head.header.epoch - 1
    assert [lapsed(each) for each in receipts] == [[]] * (ADMISSION_EPOCHS - 1) + [[(ADMIT, "did not join in time")]]
    assert (list_waiting(council.store), council.members) == ((), [0, 1, 2, 3])
    assert codes(council.execute(council.sign_ready(4)).receipts[-1]) == {"VALIDATOR_NOT_ADMITTED"}


def test_whoever_is_ready_in_the_last_epoch_still_joins_and_who_was_ready_earlier_does_not(council: Council) -> None:
    council.admit(4)
    for _ in range(ADMISSION_EPOCHS - 1):
        council.end()
    council.ready(4)
    assert council.end()
    assert council.members == [0, 1, 2, 3, 4]


def test_readiness_holds_for_the_epoch_in_which_it_was_said(council: Council) -> None:
    """Five and six and seven are ready; seven has no room, and must say it again."""
    council.join(4, 5, 6)
    first = council.members
    council.end()
    silent = council.members
    council.ready(6)
    council.end()

    assert first == silent == [0, 1, 2, 3, 4, 5]
    assert council.members == [0, 1, 2, 3, 4, 5, 6]


def test_those_who_stay_are_a_quorum_without_those_who_join(council: Council) -> None:
    """Of three that are ready two join four: four of six decide, but of seven it would take five."""
    council.join(4, 5, 6)

    assert council.members == [0, 1, 2, 3, 4, 5]
    assert compute_quorum(6) == 4
    assert compute_quorum(7) == 5
    assert [each.key for each in list_waiting(council.store)] == [NODES[6].public]


def test_a_node_that_leaves_the_registry_is_forgotten(council: Council) -> None:
    council.admit(4, 5)
    council.ready(4, 5)
    council.do(council.operators[4], NodeRetired, node=NODES[4].public)
    receipts = council.revoke(5)

    assert lapsed(receipts) == [(ADMIT, "node is out of service")] * 2
    assert (council.members, list_waiting(council.store)) == ([0, 1, 2, 3], ())


def test_readiness_is_said_once_an_epoch_by_the_operator_of_a_node_that_was_admitted(council: Council) -> None:
    before = council.execute(council.sign_ready(4)).receipts[-1]
    council.admit(4)
    foreign = council.execute(council.sign_ready(4, by=5)).receipts[-1]
    unknown = council.execute(council.sign_ready(4, node=b"n" * 32)).receipts[-1]
    council.operators[4].nonce -= 1  # its proof is no key's: what is refused before its place uses up no nonce
    first = council.execute(council.sign_ready(4)).receipts[-1]
    again = council.execute(council.sign_ready(4)).receipts[-1]

    assert [codes(each) for each in (before, foreign, first, again)] == [
        {"VALIDATOR_NOT_ADMITTED"}, {"NODE_NOT_IN_REGISTRY"}, set(), {"VALIDATOR_READY_ALREADY"},
    ]  # fmt: skip
    assert (first.outcome, again.outcome) == (APPLIED, DENIED)
    assert codes(unknown) == {"VALIDATOR_PROOF_INVALID"}


def test_readiness_is_a_signature_of_the_nodes_key_over_the_block(council: Council) -> None:
    council.admit(4)
    stale = council.sign_ready(4, proof=council.sign_proof_of(4, b"another block".ljust(32)))

    with pytest.raises(EventRefused) as refused:
        check_event(council.chain.registry, council.chain.chain_id, stale, payload_required=True)
    assert refused.value.code == "VALIDATOR_PROOF_INVALID"


@pytest.mark.parametrize(
    ("number", "code"),
    [(0, "VALIDATOR_IN_SET"), (4, "VALIDATOR_CHANGE_WAITS"), (5, "NODE_REVOKED"), (6, "NODE_RETIRED")],
)
def test_a_vote_admits_only_who_can_join(council: Council, number: int, code: str) -> None:
    council.admit(4)
    council.revoke(5)
    council.do(council.operators[6], NodeRetired, node=NODES[6].public)

    council.admit(number)

    assert council.votes.verdicts == [code]


def test_a_vote_admits_no_key_that_was_never_registered(tmp_path: Path) -> None:
    council = Council(tmp_path / "bare")
    council.admit(7)

    assert council.votes.verdicts == ["NODE_NOT_IN_REGISTRY"]
    council.close()


# Leaving.


def test_four_become_seven_and_four_again(council: Council) -> None:
    council.join(4, 5, 6)
    council.ready(6)
    council.end()
    seven = council.members
    for number in (0, 2, 4):
        council.apply(council.sign_resignation(number))
    during = council.members
    receipts = council.end()

    assert seven == during == [0, 1, 2, 3, 4, 5, 6]
    assert council.members == [1, 3, 5, 6]
    assert changed(receipts) == {"era": 3, "expelled": 0, "joined": 0, "left": 3, "rotated": 0, "validators": 4}
    assert [kind_of(council, number) for number in (0, 1, 2, 4, 6)] == [RELAY, VALIDATOR, RELAY, RELAY, VALIDATOR]
    assert read_balance(council.store, FLX, compute_node_bond_account(NODES[0].public)) == NODE_BOND
    council.assert_conserved()


def test_the_set_never_falls_under_four_who_would_leave_stays_until_another_has_joined(council: Council) -> None:
    council.apply(council.sign_resignation(1))
    receipts = council.end()
    waiting = list_waiting(council.store)
    council.join(4)

    assert changed(receipts) is None
    assert [(each.kind, each.key) for each in waiting] == [(LEAVE, NODES[1].public)]
    assert (council.members, list_waiting(council.store)) == ([0, 2, 3, 4], ())


def test_a_vote_lets_a_validator_go_at_the_same_end_of_epoch(council: Council) -> None:
    council.join(4)
    receipts = council.dismiss(2)
    council.dismiss(2)

    assert council.members == [0, 1, 3, 4]
    assert (changed(receipts) or {})["left"] == 1
    assert council.votes.verdicts == ["VALIDATOR_NOT_IN_SET"]


def test_a_dismissal_that_waits_is_not_decided_again(council: Council) -> None:
    council.dismiss(2)
    council.dismiss(2)

    assert council.votes.verdicts == ["VALIDATOR_CHANGE_WAITS"]
    assert [each.kind for each in list_waiting(council.store)] == [LEAVE]


def test_a_retired_validator_leaves_and_its_bond_is_locked_while_it_votes_and_after(council: Council) -> None:
    key, operator = NODES[1].public, council.operators[1]
    council.do(operator, NodeRetired, node=key)
    council.pass_epochs(RELEASE_EPOCHS)
    stuck = council.do(operator, NodeBondReleased, node=key)
    waiting = list_waiting(council.store)
    council.join(4)
    early = council.do(operator, NodeBondReleased, node=key)
    council.pass_epochs(RELEASE_EPOCHS)
    released = council.do(operator, NodeBondReleased, node=key)

    assert [(each.kind, each.decided_epoch) for each in waiting] == [(LEAVE, None)]
    assert council.members == [0, 2, 3, 4]
    assert [codes(each) for each in (stuck, early, released)] == [{"NODE_VALIDATES"}, {"NODE_BOND_LOCKED"}, set()]
    council.assert_conserved()


def test_an_operator_takes_out_only_a_validator_of_its_own_and_once(council: Council) -> None:
    foreign = council.execute(council.sign_resignation(1, by=2)).receipts[-1]
    relay = council.execute(council.sign_resignation(5)).receipts[-1]
    first = council.execute(council.sign_resignation(1)).receipts[-1]
    again = council.execute(council.sign_resignation(1)).receipts[-1]
    council.revoke(2)
    revoked = council.execute(council.sign_resignation(2)).receipts[-1]

    assert [codes(each) for each in (foreign, relay, first, again, revoked)] == [
        {"NODE_NOT_IN_REGISTRY"}, {"VALIDATOR_NOT_IN_SET"}, set(), {"VALIDATOR_CHANGE_WAITS"}, {"VALIDATOR_LEAVES"},
    ]  # fmt: skip


# Expulsion.


def test_who_equivocated_leaves_at_the_end_of_the_epoch(council: Council) -> None:
    council.join(4)
    council.apply(council.sign_evidence(NODES[2], 2))
    during, waiting = council.members, list_waiting(council.store)
    receipts = council.end()

    assert during == [0, 1, 2, 3, 4]
    assert [(each.kind, each.key) for each in waiting] == [(EXPEL, NODES[2].public)]
    assert council.members == [0, 1, 3, 4]
    assert changed(receipts) == {"era": 2, "expelled": 1, "joined": 0, "left": 0, "rotated": 0, "validators": 4}
    assert kind_of(council, 2) == RELAY
    council.admit(2)
    assert council.votes.verdicts == ["NODE_REVOKED"]


def test_of_four_an_expelled_one_stays_without_its_bond_until_another_joins(council: Council) -> None:
    council.apply(council.sign_evidence(NODES[2], 2))
    receipts = council.end()
    stays, bond = council.members, read_balance(council.store, FLX, compute_node_bond_account(NODES[2].public))
    council.join(4)

    assert (changed(receipts), stays, bond) == (None, [0, 1, 2, 3], 0)
    assert council.members == [0, 1, 3, 4]


def test_the_expelled_go_before_those_who_only_want_to(council: Council) -> None:
    council.apply(council.sign_resignation(0))
    council.apply(council.sign_evidence(NODES[2], 2))
    council.join(4)

    assert council.members == [0, 1, 3, 4]
    assert [(each.kind, each.key) for each in list_waiting(council.store)] == [(LEAVE, NODES[0].public)]


def test_a_validator_of_genesis_without_a_node_is_expelled_too_and_its_key_never_registered(tmp_path: Path) -> None:
    council = Council(tmp_path / "bare")
    council.register(4)
    council.end()
    council.apply(council.sign_evidence(NODES[2], 2))
    council.join(4)
    again = council.execute(council.registration(2, kind=RELAY)).receipts[-1]

    assert council.members == [0, 1, 3, 4]
    assert codes(again) == {"NODE_EQUIVOCATED"}
    council.close()


def test_evidence_from_an_era_that_ended_counts_against_who_has_left(council: Council) -> None:
    council.join(4)
    council.apply(council.sign_resignation(0))
    council.end()
    council.apply(council.sign_evidence(NODES[0], 0, era=1))

    node = read_node(council.store, NODES[0].public)
    assert node is not None
    assert node.revoked
    assert read_balance(council.store, FLX, compute_node_bond_account(NODES[0].public)) == 0
    council.assert_conserved()


# Bounds, and the same on every node.


def test_no_more_join_than_the_set_may_have() -> None:
    keys = [bytes([number // 256, number % 256]) * 16 for number in range(VALIDATORS_MAX + 1)]
    state: dict[bytes, bytes] = {}
    for number, key in enumerate(keys[-3:]):
        state[keyspace.node(key)] = encode_record(make_node(number, key))
    changes = tuple(Change(1, key, ADMIT, ready_epoch=2) for key in keys[-3:])
    state[keyspace.membership()] = encode_record(Membership(changes))

    plan = plan_changes(Overlay(state.get), Validators(tuple(keys[:-3])), 2)

    assert (len(plan.keys), plan.joined) == (VALIDATORS_MAX, tuple(keys[-3:-1]))
    assert plan.waiting == changes[-1:]


def test_a_list_of_changes_that_is_full_takes_no_more(council: Council, monkeypatch: pytest.MonkeyPatch) -> None:
    council.admit(4)
    monkeypatch.setattr("ledger.validators.WAITING_MAX", 1)
    resigned = council.execute(council.sign_resignation(1)).receipts[-1]
    council.admit(5)
    admitted = list(council.votes.verdicts)
    council.dismiss(1)

    assert codes(resigned) == {"VALIDATOR_CHANGES_FULL"}
    assert admitted == council.votes.verdicts == ["VALIDATOR_CHANGES_FULL"]
    assert WAITING_MAX >= VALIDATORS_MAX
    assert len(read_membership(council.store).waiting) == 1


def test_nothing_happens_where_nothing_waits(council: Council) -> None:
    before = council.validators
    receipts = council.end()

    assert (changed(receipts), lapsed(receipts), council.validators) == (None, [], before)
    assert find_change(council.store, NODES[0].public) is None


def test_a_replay_gives_the_same_sets(council: Council, tmp_path: Path) -> None:
    council.join(4, 5)
    council.rotate(1)
    council.apply(council.sign_evidence(NODES[2], 2))
    council.apply(council.sign_resignation(0))
    council.end()
    store = Store(tmp_path / "again")
    again = Chain(store, make_node_genesis(), council.votes.registry)

    for batch, checked in council.blocks:
        again.execute(batch, checked)

    assert again.head == council.chain.head
    assert list(store.iterate(b"s", b"t")) == list(council.store.iterate(b"s", b"t"))
    store.close()


def test_a_state_that_was_opened_again_knows_its_set(council: Council) -> None:
    council.join(4)
    reopened = Chain(council.store, make_node_genesis(), council.chain.registry)

    assert reopened.validators == council.validators
    assert replace(reopened.validators, era=0).keys == council.validators.keys
    assert membership.read_membership(council.store) == Membership(())
