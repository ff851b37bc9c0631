"""Governance: a policy goes live only by dry run, vote and delay; each missing step is refused with its own code."""

from pathlib import Path
from typing import Any

import pytest
from client_api.event_bodies import body_from_json

from ledger.actions import compute_charge
from ledger.block import Batch
from ledger.chain import Chain, make_batch, read_stored_block
from ledger.electorate import read_mass
from ledger.events import SignedEvent, View
from ledger.policies import (
    compute_policy_id,
    encode_values,
    list_active,
    read_policies,
    read_version,
)
from ledger.primitives.encoding import decode_plain, encode_plain
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.signing import Purpose, SigningKey
from ledger.receipts import Receipt
from ledger.standing import ENERGY_UNIT
from ledger.store import Store
from ledger.tokens import FLX, read_balance
from social.governance import close, proposals
from social.governance.drafts import PolicyDrafted, read_draft
from social.governance.explain import list_cited, read_cited
from social.governance.proposals import PolicyProposed, ProposalCancelled, RollbackProposed, compute_deposit_account
from social.governance.reports import PolicySimulated, ReportHead, compute_report_hash, read_report
from social.governance.votes import VoteCast
from tests.economy.town import EACH, EPOCH_BEATS, Town, by_type
from tests.ledger.world import KINDS, VALIDATORS, id_of
from tests.social.assembly import DELAY, DEPOSIT, QUICK, WINDOW, Assembly, denial, denials, only, refused

DEARER = 200 * SCALE


# The whole way.


def test_a_policy_goes_live_by_dry_run_vote_and_delay(town: Assembly) -> None:
    draft = town.draft(base_cost=DEARER)
    report = town.simulate(draft)
    proposal = town.propose(draft, report)
    town.vote(proposal, "yes", *town.people[:6])

    tallied = town.close_vote()
    queued = town.state_of(proposal)
    opened = town.pass_beats(DELAY) + town.close_epoch()

    assert (only(tallied, "ProposalTallied")["outcome"], queued) == ("passed", "QUEUED")
    assert only(tallied, "PolicyQueued")["proposal"] == proposal.hex()
    activated = only(opened, "PolicyActivated")
    assert (activated["policy"], activated["version"], activated["previous"]) == ("energy", 2, 1)
    assert read_policies(town.store).energy.base_cost == DEARER
    assert town.state_of(proposal) == "ACTIVE"
    version = read_version(town.store, "energy", 2)
    assert version is not None
    assert version.id == draft


def test_a_policy_changes_only_where_an_epoch_begins_and_not_before_its_delay(town: Assembly) -> None:
    proposal = town.enact()

    ready = town.proposal(proposal).ready_beat
    version = read_version(town.store, "energy", 2)
    assert ready is not None
    assert version is not None
    first = next(beat for beat in range(ready, ready + EPOCH_BEATS) if beat % EPOCH_BEATS == 0)
    assert version.from_epoch == first // EPOCH_BEATS
    roots: dict[int, set[bytes]] = {}
    for height in range(town.chain.head.height + 1):
        header = town.chain.read_header(height)
        assert header is not None
        roots.setdefault(header.epoch, set()).add(header.policy_root)
    assert {len(each) for each in roots.values()} == {1}
    assert roots[version.from_epoch] != roots[version.from_epoch - 1]


@pytest.mark.parametrize("late", [1, 2, 3])
def test_a_window_that_closes_within_an_epoch_is_counted_at_its_end_and_the_delay_begins_there(
    tmp_path: Path, late: int
) -> None:
    delay = 13
    town = Assembly(tmp_path / "ledger", policies={"governance": QUICK["governance"] | {"delay_beats": delay}})
    town.pass_beats(late)
    proposal = town.open_vote()
    town.vote(proposal, "yes", *town.people[:7])
    closes = town.proposal(proposal).closes_beat
    town.pass_beats(closes - town.beat_now)
    (in_the_closing_beat,) = town.vote(proposal, "no", town.people[7])
    town.close_epoch()
    tallied = town.beat_now
    town.pass_beats(delay - 1)
    before = town.state_of(proposal)
    town.close_epoch()

    assert denial(in_the_closing_beat) == "VOTE_CLOSED"
    assert tallied == closes + EPOCH_BEATS - late
    assert town.proposal(proposal).ready_beat == tallied + delay
    assert (before, town.state_of(proposal)) == ("QUEUED", "ACTIVE")
    town.close()


def test_verdicts_cite_the_version_that_they_were_given_under(town: Assembly) -> None:
    before = town.execute(town.post(town.people[7])).receipts[-1]
    town.enact()
    after = town.execute(town.post(town.people[7], 1)).receipts[-1]

    assert "energy@1" in {verdict.policy for verdict in before.verdicts}
    assert "energy@2" in {verdict.policy for verdict in after.verdicts}
    assert "energy@1" in str(before.evidence["policies"])
    assert "energy@2" in str(after.evidence["policies"])


def test_an_old_receipt_is_still_explained_under_its_old_version(town: Assembly) -> None:
    old = town.execute(town.post(town.people[7])).receipts[-1]
    town.enact()
    new = town.execute(town.post(town.people[7], 1)).receipts[-1]

    def recompute(receipt: Receipt, energy: Any) -> int:
        cost, multiplier, weight = (int(receipt.evidence[name]) for name in ("cost", "multiplier", "weight"))
        return compute_charge(cost, multiplier, weight, energy) // ENERGY_UNIT

    first, second = (list_cited(town.store, receipt) for receipt in (old, new))
    assert recompute(old, first["energy@1"]) == old.evidence["charge_micro_atr"]
    assert recompute(new, second["energy@2"]) == new.evidence["charge_micro_atr"]
    assert recompute(old, second["energy@2"]) != old.evidence["charge_micro_atr"]
    assert [read_cited(town.store, text) for text in ("energy@3", "protocol@1", "energy", "")] == [None] * 4


def test_a_second_change_supersedes_the_first(town: Assembly) -> None:
    first = town.enact(base_cost=DEARER)
    town.pass_epochs(2)
    second = town.enact(base_cost=300 * SCALE)

    assert (town.state_of(first), town.state_of(second)) == ("SUPERSEDED", "ACTIVE")
    assert read_policies(town.store).cite["energy"] == "energy@3"


def test_another_node_computes_the_same_from_the_same_blocks(town: Assembly, tmp_path: Path) -> None:
    proposal = town.enact()
    town.execute(town.sign(town.people[3], RollbackProposed, deposit=DEPOSIT, policy="energy"))
    town.vote(proposal, "yes", town.people[7])
    store = Store(tmp_path / "other")
    other = Chain(store, town.chain.genesis, town.chain.registry)

    for height in range(1, town.chain.head.height + 1):
        with town.store.snapshot() as snapshot:
            block = read_stored_block(snapshot, height)
        header = town.chain.read_header(height)
        assert block is not None
        assert header is not None
        other.execute(make_batch(header, other.head.header, block.items), other.check_events(block.items))

    assert other.head.hash == town.chain.head.hash
    store.close()


# Each missing step.


def test_a_proposal_needs_a_draft(town: Assembly) -> None:
    assert refused(town, town.sign_proposal(bytes(32), bytes(32))) == "PROPOSAL_DRAFT_UNKNOWN"


def test_a_proposal_needs_a_dry_run(town: Assembly) -> None:
    draft = town.draft(base_cost=DEARER)

    assert refused(town, town.sign_proposal(draft, bytes(32))) == "PROPOSAL_NOT_SIMULATED"


def test_one_validator_alone_vouches_for_nothing(town: Assembly) -> None:
    draft = town.draft(base_cost=DEARER)
    report = town.simulate(draft, attesters=1)

    assert refused(town, town.sign_proposal(draft, report)) == "PROPOSAL_NOT_SIMULATED"
    found = read_draft(town.store, draft)
    assert found is not None
    assert found.report is None


def test_a_proposal_quotes_the_report_of_its_draft(town: Assembly) -> None:
    one, other = town.draft(base_cost=DEARER), town.draft(base_cost=300 * SCALE)
    town.simulate(one)
    of_other = town.simulate(other)
    by_one_validator = town.simulate(one, attesters=1, findings=b"f" * 32)

    for quoted in (bytes(32), of_other, by_one_validator):
        assert refused(town, town.sign_proposal(one, quoted)) == "PROPOSAL_REPORT_MISMATCH"


def test_an_old_dry_run_is_void(town: Assembly) -> None:
    draft = town.draft(base_cost=DEARER)
    report = town.simulate(draft)
    ages = []
    for _ in range(3):
        ages.append(town.compute(town.sign_proposal(draft, report, nonce=town.people[0].nonce + 1)).receipts[-1])
        town.close_epoch()
    stale = town.execute(town.sign_proposal(draft, report)).receipts[-1]

    assert [denial(each) for each in ages] == ["", "", ""]
    assert denial(stale) == "PROPOSAL_REPORT_STALE"
    assert {each.policy for each in stale.verdicts if not each.allowed} == {"governance@1"}


def test_a_void_dry_run_can_be_made_again(town: Assembly) -> None:
    draft = town.draft(base_cost=DEARER)
    town.simulate(draft)
    town.pass_epochs(3)

    assert town.propose(draft, town.simulate(draft))


@pytest.mark.parametrize("version", [0, 2, 2**32 - 1])
def test_a_proposal_names_a_version_to_return_to(town: Assembly, version: int) -> None:
    draft = town.draft(base_cost=DEARER)
    signed = town.sign_proposal(draft, town.simulate(draft), rollback=version)

    assert refused(town, signed) == "PROPOSAL_ROLLBACK_MISSING"


def test_a_proposer_waits_between_two_proposals(town: Assembly) -> None:
    town.open_vote()
    draft = town.draft("rewards", endorser_share=SCALE // 10)
    report = town.simulate(draft)

    assert refused(town, town.sign_proposal(draft, report)) == "PROPOSAL_COOLDOWN"
    assert refused(town, town.sign_proposal(draft, report, town.people[2])) == ""


def test_one_proposal_for_a_policy_at_a_time(town: Assembly) -> None:
    first = town.open_vote()
    draft = town.draft(base_cost=300 * SCALE)
    voting = refused(town, town.sign_proposal(draft, town.simulate(draft), town.people[2]))
    town.vote(first, "yes", *town.people)
    town.close_vote()
    queued = refused(town, town.sign_proposal(draft, town.simulate(draft), town.people[2]))

    assert town.state_of(first) == "QUEUED"
    assert (voting, queued) == ("PROPOSAL_ALREADY_OPEN", "PROPOSAL_ALREADY_OPEN")


def test_a_policy_that_changed_rests_for_two_epochs(town: Assembly) -> None:
    town.enact()
    draft = town.draft(base_cost=300 * SCALE)
    codes: list[str] = []
    for _ in range(2):
        codes.append(refused(town, town.sign_proposal(draft, town.simulate(draft), town.people[2])))
        town.close_epoch()

    assert codes == ["PROPOSAL_POLICY_COOLDOWN"] * 2
    assert refused(town, town.sign_proposal(draft, town.simulate(draft), town.people[2])) == ""


def test_a_deposit_is_held_while_a_proposal_is_open(town: Assembly) -> None:
    draft = town.draft(base_cost=DEARER)
    report = town.simulate(draft)
    low = refused(town, town.sign_proposal(draft, report, deposit=DEPOSIT - 1))
    beyond = refused(town, town.sign_proposal(draft, report, deposit=EACH))
    proposal = town.propose(draft, report)

    assert (low, beyond) == ("PROPOSAL_DEPOSIT_TOO_LOW", "PROPOSAL_DEPOSIT_OVERDRAFT")
    assert read_balance(town.store, FLX, compute_deposit_account(proposal)) == DEPOSIT


def test_what_is_in_force_already_is_not_voted_on(town: Assembly) -> None:
    same = list_active(town.store)[3].values
    receipt = town.do(town.people[0], PolicyDrafted, policy="energy", values=same)

    assert denial(receipt) == "PROPOSAL_CHANGES_NOTHING"


def test_only_operators_decide_in_a_hurry(town: Assembly) -> None:
    draft = town.draft(base_cost=DEARER)

    assert refused(town, town.sign_proposal(draft, town.simulate(draft), urgent=True)) == "PROPOSAL_URGENT_TRACK"


def test_a_vote_needs_somebody_who_can_vote(town: Assembly) -> None:
    draft = town.draft("nod", fraction=SCALE // 20)

    assert refused(town, town.sign_proposal(draft, town.simulate(draft))) == "PROPOSAL_NO_ELECTORATE"


def test_every_missing_step_is_told_at_once(town: Assembly) -> None:
    draft = town.draft(base_cost=DEARER)
    receipt = town.execute(town.sign_proposal(draft, bytes(32), rollback=0, deposit=0, urgent=True)).receipts[-1]

    assert denials(receipt) == {
        "PROPOSAL_NOT_SIMULATED",
        "PROPOSAL_ROLLBACK_MISSING",
        "PROPOSAL_URGENT_TRACK",
        "PROPOSAL_DEPOSIT_TOO_LOW",
    }


# Drafts.


def edited(policy: str, **changes: Any) -> bytes:
    """Return a policy's encoded values with fields that no rule checked."""
    plain: Any = decode_plain(encode_values(policy, {}))
    plain.update(changes)
    return encode_plain({name: plain[name] for name in sorted(plain) if plain[name] is not ...})


ILLEGAL = [
    ("protocol", b"\x80", "K5_CONSTANT_IMMUTABLE"),
    ("flx_balance_max", encode_values("energy", {}), "K5_CONSTANT_IMMUTABLE"),
    ("energy", b"\xc1", "GOV_SAFETY_PARAMETER_INVALID"),
    ("energy", edited("energy", base_cost=1), "GOV_SAFETY_PARAMETER_INVALID"),
    ("energy", edited("energy", base_cost="1"), "GOV_SAFETY_PARAMETER_INVALID"),
    ("energy", edited("energy", atr_store=1), "GOV_SAFETY_PARAMETER_INVALID"),
    ("energy", edited("energy", recovery=...), "GOV_SAFETY_PARAMETER_INVALID"),
    ("energy", encode_values("decay", {}), "GOV_SAFETY_PARAMETER_INVALID"),
    ("nod", edited("nod", weight_votes=0), "GOV_SAFETY_PARAMETER_INVALID"),
    ("governance", edited("governance", window_beats=0), "GOV_SAFETY_PARAMETER_INVALID"),
    ("governance", edited("governance", social_quorum=SCALE), "GOV_SAFETY_QUORUM_ABOVE_MAX"),
    ("governance", edited("governance", infra_quorum=91 * SCALE // 100), "GOV_SAFETY_QUORUM_ABOVE_MAX"),
    ("governance", edited("governance", social_quorum=0), "GOV_SAFETY_QUORUM_BELOW_MIN"),
    ("governance", edited("governance", social_majority=SCALE // 2), "GOV_SAFETY_QUORUM_BELOW_MIN"),
    ("governance", edited("governance", infra_quorum=-(2**60)), "GOV_SAFETY_QUORUM_BELOW_MIN"),
]


@pytest.mark.parametrize(("policy", "values", "code"), ILLEGAL)
def test_a_draft_holds_only_legal_values(town: Assembly, policy: str, values: bytes, code: str) -> None:
    receipt = town.do(town.people[0], PolicyDrafted, policy=policy, values=values)

    assert denial(receipt) == code
    assert read_draft(town.store, compute_policy_id(policy, values)) is None


def test_the_same_values_are_drafted_once(town: Assembly) -> None:
    town.draft(base_cost=DEARER)
    values = encode_values("energy", {"base_cost": DEARER})
    receipt = town.do(town.people[1], PolicyDrafted, policy="energy", values=values)

    assert denial(receipt) == "DRAFT_EXISTS"


# Reports.


def test_a_report_counts_every_validator_once(town: Assembly) -> None:
    draft = town.draft(base_cost=DEARER)
    head = town.head_of(draft)
    town.execute(town.attest(head, 0))

    assert refused(town, town.attest(head, 0, town.people[2])) == "REPORT_ATTESTED_ALREADY"
    assert refused(town, town.attest(head, 3)) == ""
    report = read_report(town.store, compute_report_hash(head))
    assert report is not None
    assert report.attesters == tuple(sorted((VALIDATORS[0].public, VALIDATORS[3].public)))


def test_only_validators_vouch_for_a_report(town: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    head = town.head_of(town.draft(base_cost=DEARER))
    monkeypatch.setattr("tests.social.assembly.VALIDATORS", (SigningKey(b"n" * 32),))

    assert refused(town, town.attest(head, 0)) == "REPORT_VALIDATOR_UNKNOWN"


def test_a_signature_over_another_report_chain_or_purpose_is_none(town: Assembly) -> None:
    head = town.head_of(town.draft(base_cost=DEARER))
    signed = town.attest(head, 0)
    other = town.head_of(head.draft, findings=b"o" * 32)
    key, message = VALIDATORS[0], compute_report_hash(head)
    signatures = [
        key.sign(town.chain.chain_id, Purpose.POLICY_REPORT, compute_report_hash(other)),
        key.sign(bytes(32), Purpose.POLICY_REPORT, message),
        key.sign(town.chain.chain_id, Purpose.CHECKPOINT, message),
        VALIDATORS[1].sign(town.chain.chain_id, Purpose.POLICY_REPORT, message),
    ]

    for signature in signatures:
        (checked,) = town.check(_with_signature(town, head, signature))
        assert getattr(checked, "code", "") == "REPORT_SIGNATURE_INVALID"
    assert getattr(town.check(signed)[0], "code", "") == ""


def _with_signature(town: Assembly, head: Any, signature: bytes) -> SignedEvent:
    fields = {name: getattr(head, name) for name in ReportHead.__slots__}
    return town.sign(
        town.people[1], PolicySimulated, signature=signature, validator=VALIDATORS[0].public, nonce=99, **fields
    )  # fmt: skip


def test_a_report_is_of_enough_blocks_that_exist(town: Assembly) -> None:
    draft, height = town.draft(base_cost=DEARER), town.chain.head.height
    changes: list[tuple[dict[str, int], str]] = [
        ({"height": height + 1, "blocks": height + 1}, "REPORT_OF_FUTURE"),
        ({"epoch": town.epoch + 1}, "REPORT_OF_FUTURE"),
        ({"blocks": height - 1}, "REPORT_TOO_SHORT"),
        ({"blocks": height + 1}, "REPORT_TOO_SHORT"),
    ]

    for change, code in changes:
        fields: dict[str, int] = {"height": height, "blocks": height} | change
        assert refused(town, town.attest(town.head_of(draft, **fields), 0)) == code


def test_a_report_is_of_a_draft(town: Assembly) -> None:
    assert refused(town, town.attest(town.head_of(bytes(32)), 0)) == "PROPOSAL_DRAFT_UNKNOWN"


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
