"""A validator goes on under another key: what it keeps, what the old key still answers for, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from ledger import keyspace, nodes, validators
from ledger.membership import LEAVE, ROTATE, list_waiting
from ledger.nod import FIT, read_nod_balances, read_outcome
from ledger.nodes import (
    NODE_BOND,
    NodeBondReleased,
    NodeRegistered,
    NodeRetired,
    compute_node_bond_account,
    find_current,
    list_nodes,
    read_node,
    registration_message,
)
from ledger.primitives.signing import Purpose, SigningKey
from ledger.receipts import APPLIED
from ledger.service import read_era
from ledger.tokens import FLX, read_balance, read_burned
from tests.economy.council import Council, changed, lapsed
from tests.economy.node_town import NODES, PQC_KEY, codes

NEW = SigningKey(b"n" * 32)


def test_a_rotated_validator_keeps_its_place_its_bond_and_what_it_earned(council: Council) -> None:
    before, earned = read_node(council.store, NODES[1].public), read_outcome(council.store, NODES[1].public)
    council.apply(council.sign_rotation(1, NEW))
    waiting, during = list_waiting(council.store), council.members
    receipts = council.end()
    council.keys[1] = NEW

    after, gone = read_node(council.store, NEW.public), read_node(council.store, NODES[1].public)
    assert (during, council.members) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert [(each.kind, each.key, each.new_key) for each in waiting] == [(ROTATE, NODES[1].public, NEW.public)]
    assert changed(receipts) == {"era": 1, "expelled": 0, "joined": 0, "left": 0, "rotated": 1, "validators": 4}
    assert before is not None
    assert after is not None
    assert gone is not None
    assert (after.account, after.place, after.kind, after.active_from, after.rotations) == (
        before.account, before.place, before.kind, before.active_from, 1,
    )  # fmt: skip
    assert after.serves_in(council.chain.head.header.epoch)
    assert (gone.successor, gone.released, gone.retired_epoch) == (NEW.public, True, council.chain.head.header.epoch)
    assert read_balance(council.store, FLX, compute_node_bond_account(NEW.public)) == NODE_BOND
    assert read_balance(council.store, FLX, compute_node_bond_account(NODES[1].public)) == 0
    assert earned is not None
    found = read_outcome(council.store, NEW.public)
    assert found is not None
    assert (found.code, found.epoch) == (earned.code, earned.epoch + 1)  # of the settlement just before
    assert sorted(node.key for node in list_nodes(council.store)) == sorted(key.public for key in council.keys)
    assert [node.place for node in list_nodes(council.store)].count(after.place) == 1
    council.assert_conserved()


def test_a_rotated_validator_keeps_its_weight_in_votes(council: Council) -> None:
    council.live_epoch(answered=dict.fromkeys(range(7), 20))
    council.apply(council.sign_rotation(1, NEW))
    council.end()
    council.keys[1] = NEW

    outcome = read_outcome(council.store, NEW.public)
    assert outcome is not None
    closed = council.chain.head.header.epoch - 1
    assert (outcome.code, outcome.epoch) == (FIT, closed)
    assert council.operators[1].account in read_nod_balances(council.store, closed)


def test_the_old_key_is_never_used_again(council: Council) -> None:
    old = council.rotate(1)
    operator = council.operators[1]
    again = council.execute(council.registration(1, node=old.public)).receipts[-1]
    retired = council.do(operator, NodeRetired, node=old.public)
    released = council.do(operator, NodeBondReleased, node=old.public)
    back = council.execute(council.sign_rotation(1, old)).receipts[-1]

    assert "NODE_RETIRED" in codes(again)
    assert [codes(each) for each in (retired, released, back)] == [
        {"NODE_RETIRED"}, {"NODE_BOND_RELEASED"}, {"NODE_EXISTS"},
    ]  # fmt: skip


@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_evidence_of_an_old_key_takes_the_bond_and_the_seat_of_the_new_one(council: Council, rotations: int) -> None:
    council.join(4)
    old = [council.rotate(2) for _ in range(rotations)]
    present = council.keys[2].public
    bond, burned = read_balance(council.store, FLX, compute_node_bond_account(present)), read_burned(council.store, FLX)
    council.apply(council.sign_evidence(old[0], 2, era=1))
    taken, node = read_burned(council.store, FLX) - burned, find_current(council.store, old[0].public)
    receipts = council.end()

    assert node is not None
    assert (node.key, node.revoked) == (present, True)
    assert bond == NODE_BOND <= taken  # the accuser's demurrage is burned too
    assert read_balance(council.store, FLX, compute_node_bond_account(present)) == 0
    assert (changed(receipts) or {})["expelled"] == 1
    assert council.members == [0, 1, 3, 4]
    again = council.execute(council.sign_evidence(old[0], 2, era=1)).receipts[-1]
    assert codes(again) == {"EVIDENCE_KNOWN"}
    council.assert_conserved()


def test_evidence_names_the_era_in_which_the_key_was_a_validators(council: Council) -> None:
    council.join(4)
    old = council.rotate(2)
    later = council.execute(council.sign_evidence(old, 2, era=2)).receipts[-1]
    other = council.execute(council.sign_evidence(old, 1, era=1)).receipts[-1]

    assert codes(later) == codes(other) == {"EVIDENCE_NOT_OF_VALIDATOR"}
    assert (read_era(council.store, 1) or council.validators).keys[2] == old.public


def test_a_validator_that_is_expelled_does_not_rotate_away(council: Council) -> None:
    council.join(4)
    council.apply(council.sign_rotation(2, NEW))
    council.apply(council.sign_evidence(NODES[2], 2, era=1))
    receipts = council.end()

    assert lapsed(receipts) == [(ROTATE, "node is out of service")]
    assert (changed(receipts) or {})["rotated"] == 0
    assert (council.members, read_node(council.store, NEW.public)) == ([0, 1, 3, 4], None)


def test_a_dismissed_validator_does_not_rotate_away(council: Council) -> None:
    """The vote named the key that it had when it was opened."""
    council.join(4)
    council.rotate(2)
    council.apply(council.sign_rotation(2, NEW))
    key = council.keys[2].public
    council.dismiss(2)

    assert council.members == [0, 1, 3, 4]
    assert read_node(council.store, NEW.public) is None
    node = find_current(council.store, key)
    assert node is not None
    assert not node.revoked


def test_a_vote_about_an_old_key_is_about_the_validator(council: Council) -> None:
    old = council.rotate(2)

    assert validators.judge_dismissal(council.store, old.public).allowed
    assert validators.find_current_key(council.store, old.public) == council.keys[2].public
    assert not validators.judge_dismissal(council.store, NODES[5].public).allowed


def test_a_rotation_lapses_when_its_key_was_registered_meanwhile(council: Council) -> None:
    operator = council.operators[1]
    council.apply(council.sign_rotation(1, NEW))
    proof = NEW.sign(
        council.chain.chain_id, Purpose.NODE_REGISTRATION, registration_message(operator.account, NEW.public)
    )  # fmt: skip
    taken = council.do(
        operator, NodeRegistered, group=bytes(32), kind="relay", node=NEW.public, pqc_key=PQC_KEY,
        pqc_scheme="ML-DSA-65", proof=proof,
    )  # fmt: skip
    receipts = council.end()

    assert taken.outcome == APPLIED
    assert lapsed(receipts) == [(ROTATE, "new key was taken")]
    assert (changed(receipts), council.members) == (None, [0, 1, 2, 3])


def test_a_new_key_is_nobodys_and_agrees(council: Council) -> None:
    def answer(**changes: Any) -> set[str]:
        new = changes.pop("new", NEW)
        return codes(council.execute(council.sign_rotation(1, new, **changes)).receipts[-1])

    foreign = answer(by=2)
    relay = codes(council.execute(council.sign_rotation(5, NEW)).receipts[-1])
    taken = [answer(new=NODES[number]) for number in (1, 2, 5)]
    unproven = answer(proof=bytes(64))
    council.apply(council.sign_rotation(0, NEW))
    waits = answer()
    again = codes(council.execute(council.sign_rotation(0, SigningKey(b"m" * 32))).receipts[-1])

    assert foreign == {"NODE_NOT_IN_REGISTRY"}
    assert relay == {"VALIDATOR_NOT_IN_SET"}
    assert taken == [{"NODE_EXISTS"}] * 3
    assert unproven == {"NODE_PROOF_INVALID"}
    assert waits == {"NODE_EXISTS"}
    assert again == {"VALIDATOR_CHANGE_WAITS"}


def test_a_key_of_genesis_without_a_node_is_no_new_key(tmp_path: Path) -> None:
    council = Council(tmp_path / "bare")
    council.register(1)
    council.end()

    assert codes(council.execute(council.sign_rotation(1, NODES[2])).receipts[-1]) == {"NODE_EXISTS"}
    council.close()


def test_a_key_that_equivocated_is_no_new_key(tmp_path: Path) -> None:
    council = Council(tmp_path / "bare")
    council.register(1, 4)
    council.end()
    council.apply(council.sign_evidence(NODES[2], 2))
    council.join(4)

    assert NODES[2].public not in council.validators.keys
    assert codes(council.execute(council.sign_rotation(1, NODES[2])).receipts[-1]) == {"NODE_EXISTS"}
    council.close()


def test_a_rotation_lapses_when_it_is_proven_meanwhile_that_its_key_equivocated(tmp_path: Path) -> None:
    """The key was that of a validator of genesis which never had a node, and has left since."""
    council = Council(tmp_path / "bare")
    council.register(1, 4)
    council.end()
    council.dismiss(2)
    council.join(4)
    council.apply(council.sign_rotation(1, NODES[2]))
    council.apply(council.sign_evidence(NODES[2], 2))
    receipts = council.end()

    assert lapsed(receipts) == [(ROTATE, "new key was taken")]
    assert changed(receipts) is None
    council.close()


def test_who_leaves_does_not_rotate(council: Council) -> None:
    council.apply(council.sign_resignation(1))
    receipt = council.execute(council.sign_rotation(1, NEW)).receipts[-1]

    assert codes(receipt) == {"VALIDATOR_CHANGE_WAITS"}
    assert [each.kind for each in list_waiting(council.store)] == [LEAVE]


def test_a_node_changes_its_key_only_so_often(council: Council, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validators, "ROTATIONS_MAX", 2)
    monkeypatch.setattr(nodes, "ROTATIONS_MAX", 2)
    first = council.rotate(1)
    council.rotate(1)
    receipt = council.execute(council.sign_rotation(1, NEW)).receipts[-1]

    assert codes(receipt) == {"VALIDATOR_ROTATIONS_SPENT"}
    found = find_current(council.store, first.public)
    assert found is not None
    assert found.key == council.keys[1].public
    assert council.store.get(keyspace.node(NEW.public)) is None
