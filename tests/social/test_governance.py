"""Governance: a policy goes live only by dry run, vote and delay; each missing step is refused with its own code."""

from pathlib import Path
from typing import Any

import pytest

from ledger.actions import compute_charge
from ledger.chain import Chain, make_batch, read_stored_block
from ledger.policies import (
    list_active,
    read_policies,
    read_version,
)
from ledger.primitives.fixed_point import SCALE
from ledger.receipts import Receipt
from ledger.standing import ENERGY_UNIT
from ledger.store import Store
from ledger.tokens import FLX, read_balance
from social.governance.drafts import PolicyDrafted, read_draft
from social.governance.explain import list_cited, read_cited
from social.governance.proposals import RollbackProposed, compute_deposit_account
from tests.economy.town import EACH, EPOCH_BEATS
from tests.social.assembly import DELAY, DEPOSIT, QUICK, Assembly, denial, denials, only, refused

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
