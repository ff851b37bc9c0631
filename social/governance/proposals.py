"""Proposals: a draft is put to the vote.  Events: governance.PolicyProposed, RollbackProposed, ProposalCancelled.

What the vote is held by is fixed when it opens: who may vote and with what weight, quorum, majority, window, delay.
Beside a report of a dry run every proposal names a version to return to.  A rollback to that version needs the vote,
but no dry run, and half the time: those values were in force before.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast

from ledger import draft as overlay
from ledger import keyspace
from ledger.electorate import HELD_MAX, encode_held, read_mass
from ledger.events import Entry, EventType, Put, View, Write
from ledger.nod import compute_nod_votes, read_nod_balances
from ledger.policies import SOCIAL, TRACKS, Policies, read_policies, read_version
from ledger.primitives.fixed_point import SCALE, format_decimal
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U32, U64, U128, Between, Bytes32, Length, encode_record
from ledger.state import encode_number, read_number, read_record
from ledger.tokens import FLX, move, read_balance
from ledger.verdict import Fact, Verdict, allow, deny, under
from social.governance.drafts import PolicyName, judge_change, judge_values, read_draft
from social.governance.reports import is_attested, read_report

OPEN_MAX = HELD_MAX
"""Proposals that are voted on or wait for their activation, at a time."""
POLICY_COOLDOWN_EPOCHS = 2
"""For which a policy that changed stays as it is; a rollback excepted."""
EMERGENCY_QUORUM = 80 * SCALE // 100
"""Of an urgent vote, which has half the time; constitutional."""

VOTING, QUEUED, ACTIVE, SUPERSEDED = "VOTING", "QUEUED", "ACTIVE", "SUPERSEDED"
REJECTED, EXPIRED, CANCELLED, ROLLED_BACK = "REJECTED", "EXPIRED", "CANCELLED", "ROLLED_BACK"
CHANGE, ROLLBACK = "change", "rollback"
NONE = bytes(32)

Raw1 = Annotated[int, Between(0, SCALE)]


@dataclass(frozen=True, slots=True)
class PolicyProposed:
    """The author puts a draft to the vote."""

    deposit: U128  # FLX, in atoms
    draft: Bytes32
    report: Bytes32  # hash of the impact report
    rollback: U32  # version of the policy to return to if need be
    urgent: bool  # infra track only: half the time, and a higher quorum


@dataclass(frozen=True, slots=True)
class RollbackProposed:
    """The author asks to return a policy to the version that was named when it changed."""

    deposit: U128
    policy: PolicyName


@dataclass(frozen=True, slots=True)
class ProposalCancelled:
    """The proposer takes a proposal back while it is voted on."""

    proposal: Bytes32


@dataclass(frozen=True, slots=True)
class Measure:
    """What a vote would do that is on no policy (`social.governance.measures`)."""

    account: Bytes32  # who would get or lose a role; zero for a node
    expires_beat: U64 | None  # of the role
    kind: Annotated[str, Length(1, 16)]
    node: Bytes32  # zero for a role
    reason: Annotated[str, Length(0, 96)]
    role: Annotated[str, Length(0, 16)]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal as the state keeps it.  Its id is that of the event that made it."""

    abstain: U128
    base: U32  # the version that was in force when it was made
    closes_beat: U64  # from this beat on no vote is taken
    delay_beats: U32
    deposit: U128
    draft: Bytes32  # content address of the values that would come into force
    eligible: U128  # all weight that may vote
    epoch: U64  # whose weights count
    kind: Annotated[str, Length(1, 16)]
    majority: Raw1
    measure: Measure | None  # None for a policy's
    no: U128
    opened_beat: U64
    policy: PolicyName  # or the topic of a measure
    proposer: Bytes32
    quorum: Raw1
    ready_beat: U64 | None  # from which a queued one may come into force
    report: Bytes32  # zero for a rollback
    rollback: U32
    state: Annotated[str, Length(1, 16)]
    track: Annotated[str, Length(1, 16)]
    urgent: bool
    version: U32 | None  # that it brought into force
    voters: U32
    yes: U128


@dataclass(frozen=True, slots=True)
class OpenProposal:
    """A proposal that is voted on or queued."""

    epoch: U64
    policy: PolicyName
    proposal: Bytes32


@dataclass(frozen=True, slots=True)
class _OpenProposals:
    proposals: Annotated[tuple[OpenProposal, ...], Length(0, OPEN_MAX)]


@dataclass(frozen=True, slots=True)
class Enactment:
    """How the version in force came into force, and where to return to."""

    epoch: U64
    proposal: Bytes32
    rollback: U32 | None  # None for what is a rollback itself
    version: U32


def read_proposal(view: View, proposal_id: bytes) -> Proposal | None:
    """Return a proposal, or None."""
    return read_record(view, keyspace.proposal(proposal_id), Proposal)


def list_open(view: View) -> tuple[OpenProposal, ...]:
    """Return what is voted on or queued, oldest first."""
    found = read_record(view, keyspace.open_proposals(), _OpenProposals)
    return () if found is None else found.proposals


def read_enactment(view: View, policy: str) -> Enactment | None:
    """Return how a policy's version in force came into force; None while it is that of genesis."""
    return read_record(view, keyspace.enactment(policy), Enactment)


def compute_deposit_account(proposal_id: bytes) -> bytes:
    """Return the system account that holds a proposal's deposit."""
    return tagged_hash("atlas/deposit", proposal_id)


def current_version(policies: Policies, policy: str) -> int:
    """Return the number of the version in force."""
    return int(policies.cite[policy].partition("@")[2])


def write_open(proposals: tuple[OpenProposal, ...]) -> Iterator[Write]:
    """Yield what keeps the list of open proposals, and the epochs whose weights they need."""
    yield Put(keyspace.open_proposals(), encode_record(_OpenProposals(proposals)))
    yield Put(keyspace.held_epochs(), encode_held(tuple(each.epoch for each in proposals)))


def close_proposal(view: View, proposal_id: bytes) -> Iterator[Write]:
    """Yield what takes a proposal from the list of open ones."""
    yield from write_open(tuple(each for each in list_open(view) if each.proposal != proposal_id))


def return_deposit(view: View, proposal_id: bytes, proposal: Proposal) -> Iterator[Write]:
    """Yield what gives the deposit back."""
    if proposal.deposit:
        draft = overlay.Draft(view)
        move(draft, FLX, compute_deposit_account(proposal_id), proposal.proposer, proposal.deposit)
        yield from draft.writes()


def list_electors(view: View, epoch: int) -> dict[bytes, int]:
    """Return what each operator whose node was fit in the epoch before weighs in votes of the infra track.

    Its cost is that of all nodes: ask only once everything else about a proposal is known to be right.
    """
    votes = compute_nod_votes(read_nod_balances(view, epoch - 1))
    return {account: votes[account] for account in sorted(votes) if votes[account]}


# Guards.  Where the draft is unknown, only the first of them says so.


def draft_is_known(view: View, entry: Entry[PolicyProposed]) -> Verdict:
    draft_id = entry.body.draft
    if read_draft(view, draft_id) is None:
        return deny("PROPOSAL_DRAFT_UNKNOWN", "There is no such draft on the ledger.", draft=draft_id.hex())
    return allow("PROPOSAL_DRAFT_KNOWN", "The draft is on the ledger.", draft=draft_id.hex())


def draft_was_simulated(view: View, entry: Entry[PolicyProposed]) -> Verdict:
    draft = read_draft(view, entry.body.draft)
    if draft is None:
        return allow("PROPOSAL_REPORT_OPEN", "There is no draft that a report could be of.")
    if draft.report is None:
        return deny("PROPOSAL_NOT_SIMULATED", "More than a third of the validators must sign one report of a dry run.")
    quoted = read_report(view, entry.body.report)
    if quoted is None or quoted.head.draft != entry.body.draft or not is_attested(view, quoted):
        return deny(
            "PROPOSAL_REPORT_MISMATCH", "The proposal quotes no report of this draft that enough validators signed.",
            quoted=entry.body.report.hex(), newest=draft.report.hex(),
        )  # fmt: skip
    policies = read_policies(view)
    age_max = policies.governance.report_epochs_max
    facts: dict[str, Fact] = {"report_epoch": quoted.head.epoch, "epoch": entry.epoch, "epochs_max": age_max}
    if entry.epoch > quoted.head.epoch + age_max:
        verdict = deny("PROPOSAL_REPORT_STALE", "The dry run is too old; it must be made again.", **facts)
    else:
        verdict = allow("PROPOSAL_SIMULATED", "The draft was replayed, and the report is fresh.", **facts)
    return under(verdict, policies.cite["governance"])


def rollback_is_named(view: View, entry: Entry[PolicyProposed]) -> Verdict:
    draft, version = read_draft(view, entry.body.draft), entry.body.rollback
    if draft is None:
        return allow("PROPOSAL_ROLLBACK_OPEN", "There is no draft that could be rolled back.")
    if read_version(view, draft.policy, version) is None:
        return deny(
            "PROPOSAL_ROLLBACK_MISSING", "A proposal names a version of the policy to return to.", version=version
        )
    return allow("PROPOSAL_ROLLBACK_NAMED", "The version to return to is known.", version=version)


def draft_fits_now(view: View, entry: Entry[PolicyProposed]) -> Verdict:
    draft = read_draft(view, entry.body.draft)
    if draft is None:
        return allow("PROPOSAL_VALUES_OPEN", "There is no draft whose values could be judged.")
    legal = judge_values(draft.policy, draft.values)
    return judge_change(view, draft.policy, entry.body.draft) if legal.allowed else legal


def policy_has_cooled_down(view: View, entry: Entry[PolicyProposed]) -> Verdict:
    draft = read_draft(view, entry.body.draft)
    enactment = None if draft is None else read_enactment(view, draft.policy)
    if enactment is None:
        return allow("PROPOSAL_POLICY_RESTED", "The policy is that of genesis, or not known.")
    due = enactment.epoch + POLICY_COOLDOWN_EPOCHS
    if entry.epoch < due:
        return deny("PROPOSAL_POLICY_COOLDOWN", "The policy has just changed.", epoch=entry.epoch, due_epoch=due)
    return allow("PROPOSAL_POLICY_RESTED", "The policy has been in force for a while.", due_epoch=due)


def urgency_fits_track(view: View, entry: Entry[PolicyProposed]) -> Verdict:
    draft = read_draft(view, entry.body.draft)
    if entry.body.urgent and draft is not None and TRACKS[draft.policy] == SOCIAL:
        return deny("PROPOSAL_URGENT_TRACK", "Only operators can be asked to decide in a hurry.", policy=draft.policy)
    return allow("PROPOSAL_PACE_FITS", "The pace fits the track.", urgent=entry.body.urgent)


def rollback_has_target(view: View, entry: Entry[RollbackProposed]) -> Verdict:
    enactment = read_enactment(view, entry.body.policy)
    if enactment is None or enactment.rollback is None:
        return deny(
            "PROPOSAL_ROLLBACK_MISSING", "The version in force was not voted in, so it names none to return to.",
            policy=entry.body.policy,
        )  # fmt: skip
    return allow("PROPOSAL_ROLLBACK_NAMED", "The version to return to is known.", version=enactment.rollback)


Opening = Entry[PolicyProposed] | Entry[RollbackProposed]


def _policy_of(view: View, body: PolicyProposed | RollbackProposed) -> str | None:
    if isinstance(body, RollbackProposed):
        return body.policy if body.policy in TRACKS else None
    draft = read_draft(view, body.draft)
    return None if draft is None else draft.policy


def _was_prepared(view: View, entry: Opening) -> Verdict:
    if isinstance(entry.body, PolicyProposed):
        return draft_was_simulated(view, cast(Any, entry))
    return rollback_has_target(view, cast(Any, entry))


def proposer_has_cooled_down(view: View, entry: Entry[Any]) -> Verdict:
    last, policies = view.get(keyspace.last_proposal(entry.author)), read_policies(view)
    if last is None:
        return allow("PROPOSAL_PROPOSER_RESTED", "This is the author's first proposal.")
    due = read_number(view, keyspace.last_proposal(entry.author)) + policies.governance.cooldown_beats
    facts: dict[str, Fact] = {"beat": entry.beat, "due_beat": due}
    if entry.beat < due:
        verdict = deny("PROPOSAL_COOLDOWN", "The author has proposed something a short time ago.", **facts)
    else:
        verdict = allow("PROPOSAL_PROPOSER_RESTED", "The author's last proposal is some time ago.", **facts)
    return under(verdict, policies.cite["governance"])


def policy_has_no_open_proposal(view: View, entry: Opening) -> Verdict:
    policy, opened = _policy_of(view, entry.body), list_open(view)
    if any(each.policy == policy for each in opened):
        return deny("PROPOSAL_ALREADY_OPEN", "Another proposal for this policy is open.", policy=policy or "")
    if len(opened) >= OPEN_MAX:
        return deny("PROPOSAL_TOO_MANY_OPEN", "As many proposals are open as there may be.", open_max=OPEN_MAX)
    return allow("PROPOSAL_ONLY_ONE", "No other proposal for this policy is open.", open=len(opened))


def somebody_can_vote(view: View, entry: Opening) -> Verdict:
    policy = _policy_of(view, entry.body)
    track = SOCIAL if policy is None else TRACKS[policy]
    if track != SOCIAL and not all(guard(view, entry).allowed for guard in CHEAP_GUARDS):
        return allow("PROPOSAL_ELECTORATE_OPEN", "Not looked at: the proposal fails for another reason.", track=track)
    return judge_electorate(view, entry.epoch, track)


def judge_electorate(view: View, epoch: int, track: str) -> Verdict:
    """Say whether anybody could vote; on the infra track this reads all nodes."""
    eligible = read_mass(view, epoch) if track == SOCIAL else sum(list_electors(view, epoch).values())
    if eligible:
        return allow("PROPOSAL_ELECTORATE", "There is somebody to vote.", eligible=eligible, track=track)
    return deny("PROPOSAL_NO_ELECTORATE", "Nobody could vote on this now.", track=track)


def deposit_is_enough(view: View, entry: Entry[Any]) -> Verdict:
    policies, balance = read_policies(view), read_balance(view, FLX, entry.author)
    least, given = policies.governance.deposit, entry.body.deposit
    facts: dict[str, Fact] = {"deposit_atoms": given, "deposit_atoms_min": least, "balance_atoms": balance}
    if given < least:
        verdict = deny("PROPOSAL_DEPOSIT_TOO_LOW", "The deposit is lower than the policy asks for.", **facts)
    elif given > balance:
        verdict = deny("PROPOSAL_DEPOSIT_OVERDRAFT", "The balance does not cover the deposit.", **facts)
    else:
        verdict = allow("PROPOSAL_DEPOSIT_COVERED", "The balance covers the deposit.", **facts)
    return under(verdict, policies.cite["governance"])


CHEAP_GUARDS = (_was_prepared, proposer_has_cooled_down, policy_has_no_open_proposal, deposit_is_enough)
"""What is asked before all nodes are read, so that nobody has them read for nothing."""


def proposal_is_authors(view: View, entry: Entry[ProposalCancelled]) -> Verdict:
    proposal = read_proposal(view, entry.body.proposal)
    if proposal is None:
        return deny("PROPOSAL_UNKNOWN", "There is no such proposal.", proposal=entry.body.proposal.hex())
    if proposal.proposer != entry.author:
        return deny("PROPOSAL_NOT_PROPOSER", "Only the proposer takes a proposal back.")
    return allow("PROPOSAL_OF_AUTHOR", "The proposal is the author's.")


def proposal_is_voted_on(view: View, entry: Entry[ProposalCancelled]) -> Verdict:
    proposal = read_proposal(view, entry.body.proposal)
    if proposal is not None and proposal.state == VOTING and entry.beat < proposal.closes_beat:
        return allow("PROPOSAL_VOTED_ON", "The vote is still open.", closes_beat=proposal.closes_beat)
    return deny("PROPOSAL_NOT_VOTING", "The vote is over; nothing is left to take back.")


# Transitions.


def apply_policy_proposed(view: View, entry: Entry[PolicyProposed]) -> Iterator[Write]:
    """Open the vote."""
    body, draft = entry.body, read_draft(view, entry.body.draft)
    assert draft is not None, "a guard found it"
    yield from open_vote(
        view, entry, policy=draft.policy, track=TRACKS[draft.policy],
        base=current_version(read_policies(view), draft.policy), kind=CHANGE, draft=body.draft, report=body.report,
        rollback=body.rollback, urgent=body.urgent,
    )  # fmt: skip


def apply_rollback_proposed(view: View, entry: Entry[RollbackProposed]) -> Iterator[Write]:
    """Open the vote, for half the time."""
    enactment = read_enactment(view, entry.body.policy)
    assert enactment is not None, "a guard found it"
    assert enactment.rollback is not None, "a guard found it"
    target = read_version(view, entry.body.policy, enactment.rollback)
    assert target is not None, "a version that was named stays readable"
    policy = entry.body.policy
    yield from open_vote(
        view, entry, policy=policy, track=TRACKS[policy], base=current_version(read_policies(view), policy),
        kind=ROLLBACK, draft=target.id, report=NONE, rollback=enactment.rollback, urgent=False,
    )  # fmt: skip


def open_vote(
    view: View,
    entry: Entry[Any],
    *,
    policy: str,
    track: str,
    base: int,
    kind: str,
    draft: bytes,
    report: bytes,
    rollback: int,
    urgent: bool,
    measure: Measure | None = None,
) -> Iterator[Write]:
    """Yield what opens a vote: its rules and weights are those of this moment, and its deposit is held."""
    rules = read_policies(view).governance
    if track == SOCIAL:
        window, delay, quorum, majority = (
            rules.window_beats, rules.delay_beats, rules.social_quorum, rules.social_majority,
        )  # fmt: skip
        electors: dict[bytes, int] = {}
        eligible = read_mass(view, entry.epoch)
    else:
        window, delay, majority = rules.infra_window_beats, rules.infra_delay_beats, SCALE // 2
        quorum = EMERGENCY_QUORUM if urgent else rules.infra_quorum
        electors = list_electors(view, entry.epoch)
        eligible = sum(electors.values())
    if urgent or kind == ROLLBACK:
        window, delay = window // 2, delay // 2
    proposal = Proposal(
        abstain=0, base=base, closes_beat=entry.beat + window, delay_beats=delay,
        deposit=entry.body.deposit, draft=draft, eligible=eligible, epoch=entry.epoch, kind=kind, majority=majority,
        measure=measure, no=0, opened_beat=entry.beat, policy=policy, proposer=entry.author, quorum=quorum,
        ready_beat=None, report=report, rollback=rollback, state=VOTING, track=track, urgent=urgent,
        version=None, voters=0, yes=0,
    )  # fmt: skip
    yield Put(keyspace.proposal(entry.event_id), encode_record(proposal))
    yield Put(keyspace.last_proposal(entry.author), encode_number(entry.beat))
    yield from write_open((*list_open(view), OpenProposal(entry.epoch, policy, entry.event_id)))
    for account, weight in sorted(electors.items()):
        yield Put(keyspace.elector(entry.event_id, account), encode_number(weight))
    if entry.body.deposit:
        draft_view = overlay.Draft(view)
        move(draft_view, FLX, entry.author, compute_deposit_account(entry.event_id), entry.body.deposit)
        yield from draft_view.writes()


def apply_proposal_cancelled(view: View, entry: Entry[ProposalCancelled]) -> Iterator[Write]:
    """Close the vote, and give the deposit back."""
    proposal_id = entry.body.proposal
    proposal = read_proposal(view, proposal_id)
    assert proposal is not None, "a guard found it"
    yield Put(keyspace.proposal(proposal_id), encode_record(replace(proposal, state=CANCELLED)))
    yield from close_proposal(view, proposal_id)
    yield from return_deposit(view, proposal_id, proposal)


EVENTS = (
    EventType(
        name="governance.PolicyProposed",
        version=1,
        body=PolicyProposed,
        guards=(
            draft_is_known,
            draft_was_simulated,
            rollback_is_named,
            draft_fits_now,
            proposer_has_cooled_down,
            policy_has_cooled_down,
            policy_has_no_open_proposal,
            urgency_fits_track,
            somebody_can_vote,
            deposit_is_enough,
        ),
        apply=apply_policy_proposed,
        summary="A policy's new values were put to the vote.",
        example=PolicyProposed(10 * SCALE, bytes(32), bytes(32), 1, False),
        inputs=lambda body: {
            "deposit": format_decimal(body.deposit),
            "draft": body.draft.hex(),
            "report": body.report.hex(),
            "rollback": body.rollback,
            "urgent": body.urgent,
        },
        weight=20 * SCALE,
    ),
    EventType(
        name="governance.RollbackProposed",
        version=1,
        body=RollbackProposed,
        guards=(
            rollback_has_target,
            proposer_has_cooled_down,
            policy_has_no_open_proposal,
            somebody_can_vote,
            deposit_is_enough,
        ),
        apply=apply_rollback_proposed,
        summary="The return of a policy to an earlier version was put to the vote.",
        example=RollbackProposed(10 * SCALE, "energy"),
        inputs=lambda body: {"deposit": format_decimal(body.deposit), "policy": body.policy},
        weight=20 * SCALE,
    ),
    EventType(
        name="governance.ProposalCancelled",
        version=1,
        body=ProposalCancelled,
        guards=(proposal_is_authors, proposal_is_voted_on),
        apply=apply_proposal_cancelled,
        summary="A proposer took a proposal back.",
        example=ProposalCancelled(bytes(32)),
        inputs=lambda body: {"proposal": body.proposal.hex()},
        weight=SCALE // 4,
    ),
)
