"""How proposals end: cancelled, rolled back, overtaken; and the limits of governance."""

from pathlib import Path
from typing import Any

import pytest
from client_api.event_bodies import body_from_json

from ledger.block import Batch
from ledger.electorate import read_mass
from ledger.events import View
from ledger.policies import (
    encode_values,
    read_policies,
    read_version,
)
from ledger.primitives.fixed_point import SCALE
from ledger.tokens import FLX, read_balance
from social.governance import close, proposals
from social.governance.drafts import PolicyDrafted
from social.governance.proposals import PolicyProposed, ProposalCancelled, RollbackProposed, compute_deposit_account
from social.governance.reports import PolicySimulated
from social.governance.votes import VoteCast
from tests.economy.town import EPOCH_BEATS, Town, by_type
from tests.ledger.world import KINDS, id_of
from tests.social.assembly import DELAY, DEPOSIT, QUICK, WINDOW, Assembly, denial, denials, only, refused

DEARER = 200 * SCALE


# Cancelling.


def test_a_proposer_may_take_a_proposal_back_while_it_is_voted_on(town: Assembly) -> None:
    proposal = town.open_vote()
    by_other = town.do(town.people[1], ProposalCancelled, proposal=proposal)
    unknown = town.do(town.people[1], ProposalCancelled, proposal=bytes(32))
    by_proposer = town.do(town.people[0], ProposalCancelled, proposal=proposal)
    (vote,) = town.vote(proposal, "yes", town.people[2])

    assert (denial(by_other), denial(unknown)) == ("PROPOSAL_NOT_PROPOSER", "PROPOSAL_UNKNOWN")
    assert (by_proposer.outcome, town.state_of(proposal)) == ("applied", "CANCELLED")
    assert read_balance(town.store, FLX, compute_deposit_account(proposal)) == 0
    assert denial(vote) == "VOTE_CLOSED"
    assert by_type(town.close_vote(), "governance.ProposalTallied") == []


def test_what_was_decided_is_not_taken_back(town: Assembly) -> None:
    proposal = town.open_vote()
    town.vote(proposal, "yes", *town.people)
    town.pass_beats(WINDOW)
    closed = town.do(town.people[0], ProposalCancelled, proposal=proposal)
    town.close_epoch()
    queued = town.do(town.people[0], ProposalCancelled, proposal=proposal)

    assert (denial(closed), denial(queued)) == ("PROPOSAL_NOT_VOTING", "PROPOSAL_NOT_VOTING")


# Going back.


def test_a_policy_returns_to_the_version_it_named_by_a_vote_of_half_the_time(town: Assembly) -> None:
    changed = town.enact()
    signed = town.sign(town.people[3], RollbackProposed, deposit=DEPOSIT, policy="energy")
    town.execute(signed)
    rollback = id_of(signed)
    window = town.proposal(rollback).closes_beat - town.proposal(rollback).opened_beat
    town.vote(rollback, "yes", *town.people)
    receipts = town.pass_beats(WINDOW // 2 + DELAY // 2 + 3 * EPOCH_BEATS)

    back = only(receipts, "PolicyRolledBack")
    assert window == WINDOW // 2
    assert (back["previous"], back["target"], back["version"]) == (2, 1, 3)
    assert (town.state_of(changed), town.state_of(rollback)) == ("ROLLED_BACK", "ACTIVE")
    assert read_policies(town.store).energy.base_cost == 100 * SCALE
    versions = [read_version(town.store, "energy", number) for number in (1, 2, 3)]
    ids = [None if version is None else version.id for version in versions]
    assert ids[0] == ids[2] != ids[1]


def test_only_what_was_voted_in_can_be_rolled_back(town: Assembly) -> None:
    of_genesis = town.do(town.people[3], RollbackProposed, deposit=DEPOSIT, policy="energy")
    unknown = town.do(town.people[3], RollbackProposed, deposit=DEPOSIT, policy="protocol")

    assert (denial(of_genesis), denial(unknown)) == ("PROPOSAL_ROLLBACK_MISSING", "PROPOSAL_ROLLBACK_MISSING")


def test_a_policy_whose_first_epoch_cannot_be_settled_returns_by_itself(
    town: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = town.enact()
    fail_settlement(monkeypatch)
    receipts = town.close_epoch()
    monkeypatch.undo()

    back = only(receipts, "PolicyRolledBack")
    assert (back["proposal"], back["target"], back["version"]) == (bytes(32).hex(), 1, 3)
    assert town.state_of(proposal) == "ROLLED_BACK"
    assert read_policies(town.store).energy.base_cost == 100 * SCALE
    again = town.do(town.people[3], RollbackProposed, deposit=DEPOSIT, policy="energy")
    assert denial(again) == "PROPOSAL_ROLLBACK_MISSING"


def test_a_rollback_that_was_overtaken_expires(town: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    town.enact()
    signed = town.sign(town.people[3], RollbackProposed, deposit=DEPOSIT, policy="energy")
    town.execute(signed)
    fail_settlement(monkeypatch)
    assert only(town.close_epoch(), "PolicyRolledBack")["version"] == 3
    monkeypatch.undo()
    town.close_epoch()  # governance is not frozen, only rewards are
    town.vote(id_of(signed), "yes", *town.people)
    receipts = town.pass_beats(WINDOW)

    assert only(receipts, "ProposalExpired")["reason"] == "another version came into force"
    assert town.state_of(id_of(signed)) == "EXPIRED"
    assert read_policies(town.store).cite["energy"] == "energy@3"


def test_values_that_are_not_legal_any_more_never_come_into_force(
    town: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = town.open_vote()
    town.vote(proposal, "yes", *town.people)
    town.close_vote()
    monkeypatch.setattr(close, "_are_legal", lambda policy, values: False)
    receipts = town.pass_beats(DELAY + EPOCH_BEATS)

    assert only(receipts, "ProposalExpired")["reason"] == "values are not legal any more"
    assert read_policies(town.store).cite["energy"] == "energy@1"


def test_a_policy_that_has_proved_itself_stays_when_a_settlement_fails(
    town: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.enact()
    town.close_epoch()
    fail_settlement(monkeypatch)
    receipts = town.close_epoch()

    assert by_type(receipts, "governance.PolicyRolledBack") == []
    assert read_policies(town.store).cite["energy"] == "energy@2"


def fail_settlement(monkeypatch: pytest.MonkeyPatch) -> None:
    from ledger import settlement

    plan_epoch = settlement.plan_epoch

    def fail(view: View, closed: int, policies: Any, *, pay: bool) -> settlement.Plan:
        if pay:
            raise ZeroDivisionError("planted")
        return plan_epoch(view, closed, policies, pay=pay)

    monkeypatch.setattr(settlement, "plan_epoch", fail)


def test_a_fault_of_governance_at_a_close_leaves_the_settlement_and_is_tried_again(
    town: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = town.open_vote()
    town.vote(proposal, "yes", *town.people)
    town.pass_beats(WINDOW - EPOCH_BEATS)
    while town.beat_now + 1 < town.proposal(proposal).closes_beat:
        town.beat()

    def fail(proposal: Any) -> str:
        raise LookupError("planted")

    monkeypatch.setattr(close, "_compute_outcome", fail)
    receipts = town.close_epoch()
    monkeypatch.undo()
    (frozen,) = town.vote(proposal, "yes", town.people[1])
    assert denials(frozen) >= {"AEGIS_MODULE_FROZEN"}
    after = town.close_epoch()

    (alarm,) = by_type(receipts, "guards.Cir511Raised")
    assert alarm.inputs == {"code": "LookupError", "module": "governance"}
    assert len(by_type(receipts, "economics.EmissionEpochClosed")) == 1
    assert by_type(receipts, "governance.ProposalTallied") == []
    assert only(after, "ProposalTallied")["outcome"] == "passed"


# Limits.


def test_there_is_a_limit_to_open_proposals(town: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "OPEN_MAX", 1)
    town.open_vote()
    draft = town.draft("rewards", endorser_share=SCALE // 10)

    assert refused(town, town.sign_proposal(draft, town.simulate(draft), town.people[2])) == "PROPOSAL_TOO_MANY_OPEN"


def test_nobody_votes_where_nobody_was_ever_settled(tmp_path: Path) -> None:
    town = Town(tmp_path / "ledger", 2, QUICK)
    values = encode_values("energy", {"base_cost": DEARER})
    town.execute(town.sign(town.people[0], PolicyDrafted, policy="energy", values=values))

    assert read_mass(town.store, 0) == 0
    town.close()


def test_the_batch_of_an_epoch_counts_every_vote_of_the_beat_before(town: Assembly) -> None:
    """Votes in the block that closes the epoch come after the tally, so they are refused."""
    proposal = town.open_vote()
    closes = town.proposal(proposal).closes_beat
    town.pass_beats(closes - town.beat_now - 1)
    vote = town.sign(town.people[2], VoteCast, choice="yes", proposal=proposal, reason="")
    batch = Batch(True, town.chain.head.height + 1, (vote,), 1, 0, 0)
    executed = town.chain.execute(batch, town.check(vote))

    assert denial(executed.receipts[-1]) == "VOTE_CLOSED"


@pytest.mark.parametrize("kind", [PolicyDrafted, PolicyProposed, PolicySimulated, RollbackProposed, VoteCast])
def test_clients_can_send_every_event_as_json(kind: type[Any]) -> None:
    event = KINDS[kind]
    members = {
        name: value.hex() if isinstance(value, bytes) else value for name, value in _fields_of(event.example).items()
    }

    assert body_from_json(event, members, None) == event.example


def _fields_of(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}
