"""Where an epoch begins: reviewers are drawn, votes counted, decisions reversed or made final.

Events, all derived: appeals.AppealAssigned, AppealResolved, AppealEscalated, DecisionReversed, AppealClosed.

More than half of the reviewers decide at once; at the end of their time, the majority of those who voted.  Where that
says nothing, an appeal in a community goes to the platform, and there the decision falls: what nobody confirms does not
stand.  A reversal frees what the decision held, shows what it hid, and leaves no penalty.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from ledger import keyspace
from ledger.beats import read_seed
from ledger.draft import Draft
from ledger.events import Entry, EventType, Put, View, Write
from ledger.holds import Derived, list_released
from ledger.policies import read_policies
from ledger.primitives.records import U32, U64, Bytes32, Length, encode_record
from ledger.state import read_number
from social.appeals.records import (
    CLOSED,
    COMMUNITY,
    OPEN_APPEALS,
    OUTCOME_LIFTED,
    OUTCOME_REVERSED,
    OUTCOME_UPHELD,
    PLATFORM_STAGE,
    REVIEW,
    SUBMITTED,
    UPHELD,
    Appeal,
    Reviewers,
    Word,
)
from social.appeals.reviewers import draw_reviewers
from social.appeals.submitting import read_known_appeal
from social.moderation.effects import count, read_known, take_back
from social.moderation.finality import list_final
from social.moderation.records import LIFTED, QUEUE_HEAD, REVERSED

MODULE = "appeals"
REVIEWERS_MIN = 3
"""Fewer decide nothing."""
TOO_FEW, NO_MAJORITY, WISHED = "too few reviewers", "no majority", "wish of the account"


@dataclass(frozen=True, slots=True)
class AppealAssigned:
    """Reviewers were drawn."""

    appeal: Bytes32
    closes_beat: U64
    reviewers: Reviewers
    seed: Bytes32  # that they were drawn from
    stage: Word


@dataclass(frozen=True, slots=True)
class AppealResolved:
    """A stage of an appeal was decided."""

    appeal: Bytes32
    closes_beat: U64  # until which the account can take it further; the current beat where it can't
    outcome: Word
    reverse: U32
    stage: Word
    uphold: U32


@dataclass(frozen=True, slots=True)
class AppealEscalated:
    """An appeal goes to reviewers of the platform."""

    appeal: Bytes32
    closes_beat: U64
    reason: Annotated[str, Length(0, 32)]


@dataclass(frozen=True, slots=True)
class DecisionReversed:
    """A decision was taken back by an appeal; all that it did is undone."""

    appeal: Bytes32
    decision: Bytes32


@dataclass(frozen=True, slots=True)
class AppealClosed:
    """An appeal is over."""

    appeal: Bytes32
    outcome: Word


def close_appeals(view: View, closed: int, beat: int) -> Iterator[Derived]:
    """Yield what the beginning of an epoch means for appeals.  Cost: linear in the open ones, a draw in the willing."""
    for appeal_id in sorted(OPEN_APPEALS.read(view)):
        appeal = read_known_appeal(view, appeal_id)
        if read_known(view, appeal.decision).state == LIFTED:
            yield APPEAL_CLOSED, AppealClosed(appeal_id, OUTCOME_LIFTED)
        elif appeal.state == SUBMITTED:
            yield from _assign(view, appeal_id, appeal, closed + 1, beat)
        elif appeal.state == REVIEW:
            yield from _tally(view, appeal_id, appeal, closed + 1, beat)
        elif appeal.escalates:
            yield _escalate(view, appeal_id, beat, WISHED)
        elif beat >= appeal.closes_beat:
            yield from _uphold(view, appeal_id, appeal, closed + 1)


def _assign(view: View, appeal_id: bytes, appeal: Appeal, epoch: int, beat: int) -> Iterator[Derived]:
    """Draw reviewers; where there are too few, go on to the platform, and there wait for more until time is up."""
    seed = read_seed(view)
    drawn = draw_reviewers(view, appeal_id, appeal, read_known(view, appeal.decision), seed, epoch)
    if len(drawn) >= REVIEWERS_MIN:
        closes = beat + read_policies(view).moderation.review_beats
        yield APPEAL_ASSIGNED, AppealAssigned(appeal_id, closes, tuple(drawn), seed, appeal.stage)
    elif appeal.stage == COMMUNITY:
        yield _escalate(view, appeal_id, beat, TOO_FEW)
    elif beat >= appeal.closes_beat:
        yield from _reverse(view, appeal_id, appeal, beat)


def compute_outcome(appeal: Appeal, beat: int) -> str | None:
    """Return the outcome of a stage under review; "" where its time is up and the votes say nothing; None before."""
    majority = len(appeal.reviewers) // 2 + 1
    over = beat >= appeal.closes_beat
    if appeal.reverse >= majority or (over and appeal.reverse > appeal.uphold):
        return OUTCOME_REVERSED
    if appeal.uphold >= majority or (over and appeal.uphold > appeal.reverse):
        return OUTCOME_UPHELD
    return "" if over else None


def _tally(view: View, appeal_id: bytes, appeal: Appeal, epoch: int, beat: int) -> Iterator[Derived]:
    outcome = compute_outcome(appeal, beat)
    if outcome is None:
        return
    if outcome == OUTCOME_REVERSED or (not outcome and appeal.stage == PLATFORM_STAGE):
        yield from _reverse(view, appeal_id, appeal, beat)
    elif not outcome:
        yield _escalate(view, appeal_id, beat, NO_MAJORITY)
    else:
        further = appeal.stage == COMMUNITY
        closes = beat + read_policies(view).moderation.appeal_beats if further else beat
        yield (
            APPEAL_RESOLVED,
            AppealResolved(appeal_id, closes, OUTCOME_UPHELD, appeal.reverse, appeal.stage, appeal.uphold),
        )
        if not further:
            yield from _uphold(view, appeal_id, appeal, epoch)


def _escalate(view: View, appeal_id: bytes, beat: int, reason: str) -> Derived:
    return APPEAL_ESCALATED, AppealEscalated(appeal_id, beat + read_policies(view).moderation.review_beats, reason)


def _reverse(view: View, appeal_id: bytes, appeal: Appeal, beat: int) -> Iterator[Derived]:
    yield (
        APPEAL_RESOLVED,
        AppealResolved(appeal_id, beat, OUTCOME_REVERSED, appeal.reverse, appeal.stage, appeal.uphold),
    )
    yield from list_released(view, appeal.decision)
    yield DECISION_REVERSED, DecisionReversed(appeal_id, appeal.decision)
    yield APPEAL_CLOSED, AppealClosed(appeal_id, OUTCOME_REVERSED)


def _uphold(view: View, appeal_id: bytes, appeal: Appeal, epoch: int) -> Iterator[Derived]:
    yield from list_final(view, appeal.decision, epoch, read_number(view, QUEUE_HEAD))
    yield APPEAL_CLOSED, AppealClosed(appeal_id, OUTCOME_UPHELD)


def _put(appeal_id: bytes, appeal: Appeal) -> Put:
    return Put(keyspace.moderation("a", appeal_id), encode_record(appeal))


def apply_appeal_assigned(view: View, entry: Entry[AppealAssigned]) -> Iterator[Write]:
    """Give the appeal to its reviewers."""
    body, appeal = entry.body, read_known_appeal(view, entry.body.appeal)
    yield _put(
        body.appeal, replace(appeal, closes_beat=body.closes_beat, reviewers=body.reviewers, state=REVIEW)
    )  # fmt: skip


def apply_appeal_resolved(view: View, entry: Entry[AppealResolved]) -> Iterator[Write]:
    """Note the outcome; one that was upheld in a community can be taken further."""
    body, appeal = entry.body, read_known_appeal(view, entry.body.appeal)
    yield _put(body.appeal, replace(appeal, closes_beat=body.closes_beat, outcome=body.outcome, state=UPHELD))


def apply_appeal_escalated(view: View, entry: Entry[AppealEscalated]) -> Iterator[Write]:
    """Begin the stage of the platform, with no votes and other reviewers."""
    body, appeal = entry.body, read_known_appeal(view, entry.body.appeal)
    yield _put(
        body.appeal,
        replace(
            appeal, closes_beat=body.closes_beat, earlier=appeal.reviewers, escalates=False, reverse=0, reviewers=(),
            stage=PLATFORM_STAGE, state=SUBMITTED, uphold=0,
        ),
    )  # fmt: skip


def apply_decision_reversed(view: View, entry: Entry[DecisionReversed]) -> Iterator[Write]:
    """Undo the decision, and count the reversal for who made it."""
    draft, decision = Draft(view), read_known(view, entry.body.decision)
    take_back(draft, entry.body.decision, REVERSED)
    count(draft, decision.space, decision.decider, "reversed")
    yield from draft.writes()


def apply_appeal_closed(view: View, entry: Entry[AppealClosed]) -> Iterator[Write]:
    """Take the appeal from the open ones."""
    body, draft = entry.body, Draft(view)
    appeal = read_known_appeal(draft, body.appeal)
    draft.write([_put(body.appeal, replace(appeal, outcome=body.outcome, state=CLOSED))])
    OPEN_APPEALS.remove(draft, body.appeal)
    if body.outcome == OUTCOME_UPHELD:
        decision = read_known(draft, appeal.decision)
        count(draft, decision.space, decision.decider, "upheld")
    yield from draft.writes()


APPEAL_ASSIGNED = EventType(
    name="appeals.AppealAssigned",
    version=1,
    body=AppealAssigned,
    guards=(),
    apply=apply_appeal_assigned,
    summary="Reviewers of an appeal were drawn.",
    example=AppealAssigned(bytes(32), 15_246, (bytes(32),), bytes(32), COMMUNITY),
    inputs=lambda body: {
        "appeal": body.appeal.hex(), "closes_beat": body.closes_beat,
        "reviewers": " ".join(each.hex() for each in body.reviewers), "seed": body.seed.hex(), "stage": body.stage,
    },
    derived=True,
)  # fmt: skip
APPEAL_RESOLVED = EventType(
    name="appeals.AppealResolved",
    version=1,
    body=AppealResolved,
    guards=(),
    apply=apply_appeal_resolved,
    summary="A stage of an appeal was decided.",
    example=AppealResolved(bytes(32), 15_246, OUTCOME_UPHELD, 1, COMMUNITY, 4),
    inputs=lambda body: {
        "appeal": body.appeal.hex(), "closes_beat": body.closes_beat, "outcome": body.outcome,
        "reverse": body.reverse, "stage": body.stage, "uphold": body.uphold,
    },
    derived=True,
)  # fmt: skip
APPEAL_ESCALATED = EventType(
    name="appeals.AppealEscalated",
    version=1,
    body=AppealEscalated,
    guards=(),
    apply=apply_appeal_escalated,
    summary="An appeal goes to reviewers of the platform.",
    example=AppealEscalated(bytes(32), 15_246, NO_MAJORITY),
    inputs=lambda body: {"appeal": body.appeal.hex(), "closes_beat": body.closes_beat, "reason": body.reason},
    derived=True,
)
DECISION_REVERSED = EventType(
    name="appeals.DecisionReversed",
    version=1,
    body=DecisionReversed,
    guards=(),
    apply=apply_decision_reversed,
    summary="A decision was reversed by an appeal, and what it did undone.",
    example=DecisionReversed(bytes(32), bytes(32)),
    inputs=lambda body: {"appeal": body.appeal.hex(), "decision": body.decision.hex()},
    derived=True,
)
APPEAL_CLOSED = EventType(
    name="appeals.AppealClosed",
    version=1,
    body=AppealClosed,
    guards=(),
    apply=apply_appeal_closed,
    summary="An appeal is over.",
    example=AppealClosed(bytes(32), OUTCOME_REVERSED),
    inputs=lambda body: {"appeal": body.appeal.hex(), "outcome": body.outcome},
    derived=True,
)

EVENTS = (APPEAL_ASSIGNED, APPEAL_RESOLVED, APPEAL_ESCALATED, DECISION_REVERSED, APPEAL_CLOSED)
AT_CLOSE = (MODULE, close_appeals)
