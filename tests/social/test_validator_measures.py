"""Operators vote on who is in the validator set: what is proposed, decided, carried out, and refused."""

from dataclasses import replace
from typing import Any

import pytest

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import SignedEvent, View
from ledger.membership import ADMIT, LEAVE, find_change
from ledger.nodes import NO_KEY, NodeRetired, read_node
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import encode_record
from ledger.primitives.signing import Purpose, SigningKey
from ledger.service import Validators, list_era_writes, read_validators
from social.governance.measures import ValidatorAdmissionProposed, ValidatorRemovalProposed
from social.governance.reports import PolicySimulated, ReportHead, compute_report_hash, is_attested, read_report
from tests.ledger.world import VALIDATORS, Person, id_of
from tests.social.assembly import DELAY, DEPOSIT, WINDOW, Assembly, Plants, denial, only, refused
from tests.social.test_measures import carry, sign_node, with_operators

NODE = bytes([4]) * 32


def sign_admission(town: Assembly, node: bytes = NODE, *, by: int = 0, **changes: Any) -> SignedEvent:
    fields: dict[str, Any] = {"deposit": DEPOSIT, "node": node}
    return town.sign(town.people[by], ValidatorAdmissionProposed, **(fields | changes))


def sign_removal(town: Assembly, node: bytes, *, by: int = 0, urgent: bool = False) -> SignedEvent:
    return town.sign(
        town.people[by], ValidatorRemovalProposed, deposit=DEPOSIT, node=node, reason="often absent", urgent=urgent
    )  # fmt: skip


@pytest.fixture
def operators(planted: Assembly, plants: Plants) -> list[Person]:
    return with_operators(plants, planted)


def test_operators_admit_a_node_by_vote(planted: Assembly, operators: list[Person]) -> None:
    signed = sign_admission(planted)
    proposal = carry(planted, signed, operators)
    change = find_change(planted.store, NODE)

    assert (planted.proposal(proposal).track, planted.proposal(proposal).policy) == ("infra", "validators")
    assert planted.state_of(proposal) == "ACTIVE"
    assert change is not None
    assert (change.kind, change.epoch, change.ready_epoch) == (ADMIT, planted.epoch, None)


def test_operators_let_a_validator_go_by_vote(planted: Assembly, operators: list[Person]) -> None:
    proposal = carry(planted, sign_removal(planted, VALIDATORS[2].public), operators)
    change, validators = find_change(planted.store, VALIDATORS[2].public), read_validators(planted.store)

    assert planted.state_of(proposal) == "ACTIVE"
    assert planted.proposal(proposal).policy == "validators"
    assert change is not None
    assert change.kind == LEAVE
    assert validators is not None
    assert len(validators.keys) == 4  # it stays until somebody has joined


def test_what_was_carried_out_is_told_with_its_kind(planted: Assembly, operators: list[Person]) -> None:
    signed = sign_admission(planted)
    planted.execute(signed)
    planted.vote(id_of(signed), "yes", *operators)
    planted.close_vote()
    receipts = planted.pass_beats(DELAY) + planted.close_epoch()

    enacted = only(receipts, "MeasureEnacted")
    assert (enacted["kind"], enacted["node"], enacted["role"]) == ("admit validator", NODE.hex(), "")
    names = [receipt.event_type for receipt in receipts]
    assert names.index("infra.ValidatorAdmitted") + 1 == names.index("governance.MeasureEnacted")


def test_standing_counts_for_nothing_here(planted: Assembly, operators: list[Person]) -> None:
    signed = sign_admission(planted)
    planted.execute(signed)

    assert denial(planted.vote(id_of(signed), "yes", planted.people[6])[0]) == "VOTE_WRONG_TRACK"


def test_an_urgent_removal_has_half_the_time_and_a_higher_quorum(planted: Assembly, operators: list[Person]) -> None:
    signed = sign_removal(planted, VALIDATORS[2].public, urgent=True)
    planted.execute(signed)
    opened = planted.proposal(id_of(signed))

    assert (opened.closes_beat - opened.opened_beat, opened.delay_beats) == (WINDOW // 2, DELAY // 2)
    assert opened.quorum == 80 * SCALE // 100


def test_only_what_is_possible_is_put_to_the_vote(planted: Assembly, operators: list[Person]) -> None:
    assert refused(planted, sign_admission(planted, b"n" * 32)) == "NODE_NOT_IN_REGISTRY"
    assert refused(planted, sign_removal(planted, NODE)) == "VALIDATOR_NOT_IN_SET"
    assert refused(planted, sign_admission(planted)) == ""
    assert refused(planted, sign_admission(planted, by=1)) == "PROPOSAL_ALREADY_OPEN"
    assert refused(planted, sign_node(planted, NODE, by=1)) == ""  # this vote keeps none from being held on the node


def test_without_operators_nobody_decides(town: Assembly) -> None:
    assert refused(town, sign_removal(town, VALIDATORS[2].public)) == "PROPOSAL_NO_ELECTORATE"


def test_an_admission_that_became_impossible_expires(planted: Assembly, operators: list[Person]) -> None:
    signed = sign_admission(planted)
    planted.execute(signed)
    planted.vote(id_of(signed), "yes", *operators)
    planted.close_vote()
    planted.do(operators[3], NodeRetired, node=NODE)
    receipts = planted.pass_beats(DELAY) + planted.close_epoch()

    assert planted.state_of(id_of(signed)) == "EXPIRED"
    assert only(receipts, "ProposalExpired")["reason"] == "NODE_RETIRED"
    assert find_change(planted.store, NODE) is None


def test_a_node_that_changed_its_key_while_it_was_voted_on_is_revoked_all_the_same(
    planted: Assembly, plants: Plants, operators: list[Person]
) -> None:
    new = b"k" * 32

    def rotate(view: View) -> Any:
        draft, node = Draft(view), read_node(view, NODE)
        assert node is not None
        draft.put(keyspace.node(NODE), encode_record(replace(node, retired_epoch=planted.epoch, successor=new)))
        draft.put(keyspace.node(new), encode_record(replace(node, key=new, rotations=1, successor=NO_KEY)))
        draft.put(keyspace.listed_node(node.place), new)
        yield from draft.writes()

    signed = sign_node(planted, NODE)
    planted.execute(signed)
    planted.vote(id_of(signed), "yes", *operators)
    plants.waiting.append(rotate)
    planted.close_vote()
    planted.pass_beats(DELAY)
    planted.close_epoch()

    node = read_node(planted.store, new)
    assert planted.state_of(id_of(signed)) == "ACTIVE"
    assert node is not None
    assert node.revoked


def test_a_validator_with_a_new_key_does_not_vouch_for_a_report_twice(planted: Assembly, plants: Plants) -> None:
    new = SigningKey(b"k" * 32)
    draft = planted.draft("energy", {"base_cost": 200 * SCALE})
    head = planted.head_of(draft)
    keys = (new.public, *[key.public for key in VALIDATORS[1:]])
    plants.waiting.append(lambda view: list_era_writes(Validators(keys, 1, planted.chain.head.height + 1)))

    def attesters() -> tuple[int, bool]:
        report = read_report(planted.store, compute_report_hash(head))
        assert report is not None
        return len(report.attesters), is_attested(planted.store, report)

    planted.execute(planted.attest(head, 0), planted.attest(head, 3))
    before = attesters()
    planted.close_epoch()
    after = attesters()
    signature = new.sign(planted.chain.chain_id, Purpose.POLICY_REPORT, compute_report_hash(head))
    fields = {name: getattr(head, name) for name in ReportHead.__slots__}
    planted.do(planted.people[1], PolicySimulated, signature=signature, validator=new.public, **fields)

    assert (before, after, attesters()) == ((2, True), (2, False), (2, True))
