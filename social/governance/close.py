"""The close of an epoch: votes are counted, what passed is queued, what waited comes into force.

Events, all derived: governance.ProposalTallied, ProposalExpired, PolicyQueued, PolicyActivated, PolicyRolledBack.

The order is: a policy whose first epoch could not be settled is rolled back; tally; expire; activate.  So a vote that
was won is never expired, and a policy that passes now waits for its whole delay.  Policies change nowhere else, so they
are constant within an epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

from ledger import draft as overlay
from ledger import keyspace
from ledger.conduct import read_circuit
from ledger.events import Entry, EventType, Put, View, Write
from ledger.policies import (
    PolicyInvalid,
    PolicyVersion,
    activate,
    compute_policy_id,
    decode_values,
    list_active,
    read_version,
)
from ledger.primitives.records import U32, U64, U128, Bytes32, Length, encode_record
from ledger.standing import credit_reserve
from ledger.tokens import FLX, burn
from social.governance import tally
from social.governance.drafts import PolicyName, read_draft
from social.governance.measures import judge_measure, list_enacted
from social.governance.proposals import (
    ACTIVE,
    CHANGE,
    EXPIRED,
    NONE,
    QUEUED,
    REJECTED,
    ROLLED_BACK,
    SUPERSEDED,
    VOTING,
    Enactment,
    Measure,
    Proposal,
    close_proposal,
    compute_deposit_account,
    list_open,
    read_enactment,
    read_proposal,
    return_deposit,
)

Derived: TypeAlias = tuple[EventType[Any], Any]
SETTLEMENT_CIRCUIT = "rewards"
MODULE = "governance"
Text = Annotated[str, Length(0, 64)]


@dataclass(frozen=True, slots=True)
class ProposalTallied:
    """A vote was counted."""

    abstain: U128
    eligible: U128
    no: U128
    outcome: Text  # one of social.governance.tally's
    proposal: Bytes32
    voters: U32
    yes: U128


@dataclass(frozen=True, slots=True)
class ProposalExpired:
    """A proposal ended without a decision, or can't be carried out any more."""

    proposal: Bytes32
    reason: Text


@dataclass(frozen=True, slots=True)
class PolicyQueued:
    """A proposal passed, and waits for its delay."""

    proposal: Bytes32
    ready_beat: U64


@dataclass(frozen=True, slots=True)
class PolicyActivated:
    """A policy's new version is in force from this epoch on; the previous one is superseded."""

    draft: Bytes32  # content address
    policy: PolicyName
    previous: U32
    proposal: Bytes32
    rollback: U32
    version: U32


@dataclass(frozen=True, slots=True)
class PolicyRolledBack:
    """A policy returned to earlier values, as a new version; the one that it returned from is rolled back."""

    draft: Bytes32
    policy: PolicyName
    previous: U32
    proposal: Bytes32  # zero where nobody had to ask
    target: U32  # version whose values these are
    version: U32


def close_governance(view: View, closed: int, beat: int) -> Iterator[Derived]:
    """Yield what the close of an epoch means for policies and measures.  Cost: linear in the open proposals."""
    yield from _list_failed(view, closed)
    proposals = [each.proposal for each in list_open(view)]
    without_quorum: list[bytes] = []
    for proposal_id in proposals:
        proposal = _read(view, proposal_id)
        if proposal.state != VOTING or beat < proposal.closes_beat:
            continue
        outcome = _compute_outcome(proposal)
        yield (
            PROPOSAL_TALLIED,
            ProposalTallied(
                proposal.abstain, proposal.eligible, proposal.no, outcome, proposal_id, proposal.voters, proposal.yes
            ),
        )
        if outcome == tally.PASSED:
            yield POLICY_QUEUED, PolicyQueued(proposal_id, beat + proposal.delay_beats)
        elif outcome == tally.NO_QUORUM:
            without_quorum.append(proposal_id)
    for proposal_id in without_quorum:
        yield PROPOSAL_EXPIRED, ProposalExpired(proposal_id, tally.NO_QUORUM)
    for proposal_id in proposals:
        proposal = _read(view, proposal_id)
        if proposal.state == QUEUED and proposal.ready_beat is not None and proposal.ready_beat <= beat:
            if proposal.measure is None:
                yield _enact(view, proposal_id, proposal)
            else:
                yield from _enact_measure(view, proposal_id, proposal.measure)


def _read(view: View, proposal_id: bytes) -> Proposal:
    proposal = read_proposal(view, proposal_id)
    assert proposal is not None, "an open proposal is kept"
    return proposal


def _compute_outcome(proposal: Proposal) -> str:
    return tally.compute_outcome(
        proposal.yes, proposal.no, proposal.abstain,
        eligible=proposal.eligible, quorum=proposal.quorum, majority=proposal.majority,
    )  # fmt: skip


def _enact_measure(view: View, proposal_id: bytes, measure: Measure) -> Iterator[Derived]:
    """Yield the events that carry a measure out, or end it where that is not possible any more."""
    verdict = judge_measure(view, measure)
    if verdict.allowed:
        yield from list_enacted(view, proposal_id, measure)
    else:
        yield PROPOSAL_EXPIRED, ProposalExpired(proposal_id, verdict.code)


def _enact(view: View, proposal_id: bytes, proposal: Proposal) -> Derived:
    """Return the event that brings a queued proposal into force, or ends it where that is not possible any more."""
    current = _read_current(view, proposal.policy)
    values = _read_values(view, proposal)
    if current.version != proposal.base:
        return PROPOSAL_EXPIRED, ProposalExpired(proposal_id, "another version came into force")
    if values is None:
        return PROPOSAL_EXPIRED, ProposalExpired(proposal_id, "values are not legal any more")
    if proposal.kind == CHANGE:
        return POLICY_ACTIVATED, PolicyActivated(
            proposal.draft, proposal.policy, current.version, proposal_id, proposal.rollback, current.version + 1
        )
    return POLICY_ROLLED_BACK, PolicyRolledBack(
        proposal.draft, proposal.policy, current.version, proposal_id, proposal.rollback, current.version + 1
    )


def _read_values(view: View, proposal: Proposal) -> bytes | None:
    """Return the values that a proposal brings into force; None where this software does not allow them."""
    if proposal.kind == CHANGE:
        draft = read_draft(view, proposal.draft)
        assert draft is not None, "a draft is kept"
        values = draft.values
    else:
        values = _read_version(view, proposal.policy, proposal.rollback).values
    return values if _are_legal(proposal.policy, values) else None


def _are_legal(policy: str, values: bytes) -> bool:
    try:
        decode_values(policy, values)
    except PolicyInvalid:
        return False
    return True


def _list_failed(view: View, closed: int) -> Iterator[Derived]:
    """Yield the return of every policy that came into force with an epoch whose settlement has just failed."""
    circuit = read_circuit(view, SETTLEMENT_CIRCUIT)
    if circuit is None or circuit.closes_epoch != closed + 2:
        return  # it did not trip at this close, or not for as long as a failed settlement trips it
    for current in list_active(view):
        enactment = read_enactment(view, current.name)
        if enactment is None or enactment.rollback is None or enactment.epoch != closed:
            continue
        target = _read_version(view, current.name, enactment.rollback)
        if _are_legal(current.name, target.values):
            yield (
                POLICY_ROLLED_BACK,
                PolicyRolledBack(
                    target.id, current.name, current.version, NONE, enactment.rollback, current.version + 1
                ),
            )


def _read_current(view: View, policy: str) -> PolicyVersion:
    return next(each for each in list_active(view) if each.name == policy)


def _read_version(view: View, policy: str, version: int) -> PolicyVersion:
    found = read_version(view, policy, version)
    assert found is not None, "a version stays readable for ever"
    return found


def apply_proposal_tallied(view: View, entry: Entry[ProposalTallied]) -> Iterator[Write]:
    """Give the deposit back where enough people voted; a rejected proposal ends here."""
    proposal_id, outcome = entry.body.proposal, entry.body.outcome
    proposal = _read(view, proposal_id)
    if outcome != tally.NO_QUORUM:
        yield from return_deposit(view, proposal_id, proposal)
    if outcome == tally.REJECTED:
        yield Put(keyspace.proposal(proposal_id), encode_record(replace(proposal, state=REJECTED)))
        yield from close_proposal(view, proposal_id)


def apply_policy_queued(view: View, entry: Entry[PolicyQueued]) -> Iterator[Write]:
    """Let the proposal wait."""
    queued = replace(_read(view, entry.body.proposal), state=QUEUED, ready_beat=entry.body.ready_beat)
    yield Put(keyspace.proposal(entry.body.proposal), encode_record(queued))


def apply_proposal_expired(view: View, entry: Entry[ProposalExpired]) -> Iterator[Write]:
    """End the proposal; its deposit goes to the reserve where too few voted."""
    proposal_id = entry.body.proposal
    proposal = _read(view, proposal_id)
    if proposal.state == VOTING and proposal.deposit:
        draft = overlay.Draft(view)
        burn(draft, FLX, compute_deposit_account(proposal_id), proposal.deposit)
        credit_reserve(draft, proposal.deposit)
        yield from draft.writes()
    yield Put(keyspace.proposal(proposal_id), encode_record(replace(proposal, state=EXPIRED)))
    yield from close_proposal(view, proposal_id)


def apply_policy_activated(view: View, entry: Entry[PolicyActivated]) -> Iterator[Write]:
    """Put the new version into force; its predecessor is superseded."""
    body = entry.body
    draft = read_draft(view, body.draft)
    assert draft is not None, "a draft is kept"
    yield from activate(view, body.policy, draft.values, entry.epoch)
    yield from _finish(view, body.proposal, body.version)
    yield from _retire(view, body.policy, SUPERSEDED)
    enactment = Enactment(entry.epoch, body.proposal, body.rollback, body.version)
    yield Put(keyspace.enactment(body.policy), encode_record(enactment))


def apply_policy_rolled_back(view: View, entry: Entry[PolicyRolledBack]) -> Iterator[Write]:
    """Put the old values into force again, as a new version."""
    body = entry.body
    target = _read_version(view, body.policy, body.target)
    assert compute_policy_id(body.policy, target.values) == body.draft, "a version is what its address says"
    yield from activate(view, body.policy, target.values, entry.epoch)
    if body.proposal != NONE:
        yield from _finish(view, body.proposal, body.version)
    yield from _retire(view, body.policy, ROLLED_BACK)
    enactment = Enactment(entry.epoch, body.proposal, None, body.version)
    yield Put(keyspace.enactment(body.policy), encode_record(enactment))


def _finish(view: View, proposal_id: bytes, version: int) -> Iterator[Write]:
    proposal = replace(_read(view, proposal_id), state=ACTIVE, version=version)
    yield Put(keyspace.proposal(proposal_id), encode_record(proposal))
    yield from close_proposal(view, proposal_id)


def _retire(view: View, policy: str, state: str) -> Iterator[Write]:
    """Yield the end of the proposal whose version was in force until now."""
    before = read_enactment(view, policy)
    if before is not None and before.proposal != NONE:
        proposal = replace(_read(view, before.proposal), state=state)
        yield Put(keyspace.proposal(before.proposal), encode_record(proposal))


PROPOSAL_TALLIED = EventType(
    name="governance.ProposalTallied",
    version=1,
    body=ProposalTallied,
    guards=(),
    apply=apply_proposal_tallied,
    summary="The votes on a proposal were counted.",
    example=ProposalTallied(1, 10, 2, tally.PASSED, bytes(32), 3, 6),
    inputs=lambda body: {
        "abstain": body.abstain, "eligible": body.eligible, "no": body.no, "outcome": body.outcome,
        "proposal": body.proposal.hex(), "voters": body.voters, "yes": body.yes,
    },
    derived=True,
)  # fmt: skip
PROPOSAL_EXPIRED = EventType(
    name="governance.ProposalExpired",
    version=1,
    body=ProposalExpired,
    guards=(),
    apply=apply_proposal_expired,
    summary="A proposal ended without a decision, or could not be carried out.",
    example=ProposalExpired(bytes(32), tally.NO_QUORUM),
    inputs=lambda body: {"proposal": body.proposal.hex(), "reason": body.reason},
    derived=True,
)
POLICY_QUEUED = EventType(
    name="governance.PolicyQueued",
    version=1,
    body=PolicyQueued,
    guards=(),
    apply=apply_policy_queued,
    summary="A proposal passed, and waits for its delay.",
    example=PolicyQueued(bytes(32), 512),
    inputs=lambda body: {"proposal": body.proposal.hex(), "ready_beat": body.ready_beat},
    derived=True,
)
POLICY_ACTIVATED = EventType(
    name="governance.PolicyActivated",
    version=1,
    body=PolicyActivated,
    guards=(),
    apply=apply_policy_activated,
    summary="A new version of a policy came into force.",
    example=PolicyActivated(bytes(32), "energy", 1, bytes(32), 1, 2),
    inputs=lambda body: {
        "draft": body.draft.hex(), "policy": body.policy, "previous": body.previous, "proposal": body.proposal.hex(),
        "rollback": body.rollback, "version": body.version,
    },
    derived=True,
)  # fmt: skip
POLICY_ROLLED_BACK = EventType(
    name="governance.PolicyRolledBack",
    version=1,
    body=PolicyRolledBack,
    guards=(),
    apply=apply_policy_rolled_back,
    summary="A policy returned to the values of an earlier version.",
    example=PolicyRolledBack(bytes(32), "energy", 2, bytes(32), 1, 3),
    inputs=lambda body: {
        "draft": body.draft.hex(), "policy": body.policy, "previous": body.previous, "proposal": body.proposal.hex(),
        "target": body.target, "version": body.version,
    },
    derived=True,
)  # fmt: skip

EVENTS = (PROPOSAL_TALLIED, PROPOSAL_EXPIRED, POLICY_QUEUED, POLICY_ACTIVATED, POLICY_ROLLED_BACK)
AT_CLOSE = (MODULE, close_governance)
