"""Appeals, what is said in them, and their way to the platform.

Events: appeals.AppealSubmitted, AppealMessageAdded, EscalationRequested.

Everyone may appeal a decision about himself, whatever his standing, at no cost: these events take no energy, and AEGIS
leaves the module open to accounts in quarantine.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from guards.content import judge_text_length
from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, EventType, Put, View, Write
from ledger.payloads import ContentRef
from ledger.policies import read_policies
from ledger.primitives.records import Bytes32, encode_record
from ledger.roles import PLATFORM
from ledger.state import encode_number, read_number
from ledger.verdict import Verdict, allow, deny
from social.appeals.records import (
    CLOSED,
    COMMUNITY,
    OPEN_APPEALS,
    PLATFORM_STAGE,
    SUBMITTED,
    UPHELD,
    Appeal,
    read_appeal,
)
from social.moderation.effects import count, put_decision, read_known
from social.moderation.records import CONTESTED, OPEN, read_decision

MESSAGES_MAX = 20
"""Of one account in one appeal."""


@dataclass(frozen=True, slots=True)
class AppealSubmitted:
    """The author contests a decision about himself."""

    content: ContentRef  # why, in words
    decision: Bytes32


@dataclass(frozen=True, slots=True)
class AppealMessageAdded:
    """One of the sides, or a reviewer, says something in an appeal."""

    appeal: Bytes32
    content: ContentRef


@dataclass(frozen=True, slots=True)
class EscalationRequested:
    """The author wants reviewers of the platform to look at what those of the community upheld."""

    appeal: Bytes32


def read_known_appeal(view: View, appeal_id: bytes) -> Appeal:
    """Return an appeal that is known to exist."""
    appeal = read_appeal(view, appeal_id)
    assert appeal is not None, "an appeal is kept for ever"
    return appeal


def reason_fits(view: View, entry: Entry[AppealSubmitted]) -> Verdict:
    return judge_text_length(entry.body.content)


def message_fits(view: View, entry: Entry[AppealMessageAdded]) -> Verdict:
    return judge_text_length(entry.body.content)


def author_is_concerned(view: View, entry: Entry[AppealSubmitted]) -> Verdict:
    decision = read_decision(view, entry.body.decision)
    if decision is None:
        return deny("APPEAL_DECISION_UNKNOWN", "There is no such decision.", decision=entry.body.decision.hex())
    if decision.account != entry.author:
        return deny("APPEAL_NOT_CONCERNED", "Only whom a decision concerns appeals it.")
    return allow("APPEAL_CONCERNED", "The decision concerns the author.")


def decision_can_be_contested(view: View, entry: Entry[AppealSubmitted]) -> Verdict:
    decision = read_decision(view, entry.body.decision)
    if decision is None:
        return allow("APPEAL_OPEN", "There is no decision whose state could be judged.")
    if decision.state != OPEN:
        return deny("APPEAL_NOT_OPEN", "A decision is appealed once, while it stands.", state=decision.state)
    if entry.beat >= decision.contest_until:
        return deny(
            "APPEAL_LATE", "The time to appeal the decision is over.",
            beat=entry.beat, contest_until=decision.contest_until,
        )  # fmt: skip
    return allow("APPEAL_OPEN", "The decision can be appealed.", contest_until=decision.contest_until)


def appeal_goes_on(view: View, entry: Entry[AppealMessageAdded]) -> Verdict:
    appeal = read_appeal(view, entry.body.appeal)
    if appeal is None:
        return deny("APPEAL_UNKNOWN", "There is no such appeal.", appeal=entry.body.appeal.hex())
    if appeal.state == CLOSED:
        return deny("APPEAL_CLOSED", "The appeal is over.")
    return allow("APPEAL_GOES_ON", "The appeal goes on.", state=appeal.state)


def author_has_a_say(view: View, entry: Entry[AppealMessageAdded]) -> Verdict:
    appeal = read_appeal(view, entry.body.appeal)
    if appeal is None:
        return allow("APPEAL_SAY_OPEN", "There is no appeal to say something in.")
    decider = read_known(view, appeal.decision).decider
    if entry.author in (appeal.account, decider, *appeal.reviewers, *appeal.earlier):
        return allow("APPEAL_SAY", "The author is one of the sides, or a reviewer.")
    return deny("APPEAL_NO_SAY", "Only the two sides and the reviewers speak in an appeal.")


def messages_have_room(view: View, entry: Entry[AppealMessageAdded]) -> Verdict:
    said = read_number(view, keyspace.moderation("n", entry.body.appeal, entry.author))
    if said < MESSAGES_MAX:
        return allow("APPEAL_MESSAGES_ROOM", "The author may say more.", messages=said, messages_max=MESSAGES_MAX)
    return deny("APPEAL_MESSAGES_FULL", "The author has said as much as he may.", messages_max=MESSAGES_MAX)


def escalation_is_due(view: View, entry: Entry[EscalationRequested]) -> Verdict:
    appeal = read_appeal(view, entry.body.appeal)
    if appeal is None:
        return deny("APPEAL_UNKNOWN", "There is no such appeal.", appeal=entry.body.appeal.hex())
    if appeal.account != entry.author:
        return deny("APPEAL_NOT_CONCERNED", "Only who appealed takes an appeal further.")
    if appeal.state != UPHELD or appeal.escalates or entry.beat >= appeal.closes_beat:
        return deny("APPEAL_NO_ESCALATION", "There is nothing to take further now.", state=appeal.state)
    return allow("APPEAL_ESCALATES", "The appeal can go to the platform.")


def apply_appeal_submitted(view: View, entry: Entry[AppealSubmitted]) -> Iterator[Write]:
    """Open the appeal; its decision is contested from here on."""
    body, draft = entry.body, Draft(view)
    decision = read_known(draft, body.decision)
    appeal = Appeal(
        account=entry.author,
        beat=entry.beat,
        closes_beat=entry.beat + read_policies(draft).moderation.review_beats,
        content=body.content,
        decision=body.decision,
        earlier=(),
        escalates=False,
        height=entry.height,
        outcome="",
        reverse=0,
        reviewers=(),
        stage=PLATFORM_STAGE if decision.space == PLATFORM else COMMUNITY,
        state=SUBMITTED,
        uphold=0,
    )
    draft.put(keyspace.moderation("a", entry.event_id), encode_record(appeal))
    OPEN_APPEALS.add(draft, entry.event_id)
    put_decision(draft, body.decision, replace(decision, appeal=entry.event_id, state=CONTESTED))
    count(draft, decision.space, decision.decider, "appealed")
    yield from draft.writes()


def apply_message_added(view: View, entry: Entry[AppealMessageAdded]) -> Iterator[Write]:
    """Count the message; its text is the payload."""
    key = keyspace.moderation("n", entry.body.appeal, entry.author)
    yield Put(key, encode_number(read_number(view, key) + 1))


def apply_escalation_requested(view: View, entry: Entry[EscalationRequested]) -> Iterator[Write]:
    """Remember the wish; the next epoch begins with it."""
    appeal = replace(read_known_appeal(view, entry.body.appeal), escalates=True)
    yield Put(keyspace.moderation("a", entry.body.appeal), encode_record(appeal))


_EXAMPLE_CONTENT = ContentRef(bytes=12, hash=bytes(32))

EVENTS = (
    EventType(
        name="appeals.AppealSubmitted",
        version=1,
        body=AppealSubmitted,
        guards=(author_is_concerned, decision_can_be_contested, reason_fits),
        apply=apply_appeal_submitted,
        summary="An account appealed a decision.",
        example=AppealSubmitted(_EXAMPLE_CONTENT, bytes(32)),
        inputs=lambda body: {"content": body.content.hash.hex(), "decision": body.decision.hex()},
        content=lambda body: body.content,
        index=lambda entry: (
            keyspace.listed(keyspace.APPEALS, b"", entry.log_index),
            keyspace.listed(keyspace.ON_SUBJECT, entry.body.decision, entry.log_index),
        ),
        leaves_account=True,
    ),
    EventType(
        name="appeals.AppealMessageAdded",
        version=1,
        body=AppealMessageAdded,
        guards=(appeal_goes_on, author_has_a_say, messages_have_room, message_fits),
        apply=apply_message_added,
        summary="Something was said in an appeal.",
        example=AppealMessageAdded(bytes(32), _EXAMPLE_CONTENT),
        inputs=lambda body: {"appeal": body.appeal.hex(), "content": body.content.hash.hex()},
        content=lambda body: body.content,
        index=lambda entry: (keyspace.listed(keyspace.ON_SUBJECT, entry.body.appeal, entry.log_index),),
        leaves_account=True,
    ),
    EventType(
        name="appeals.EscalationRequested",
        version=1,
        body=EscalationRequested,
        guards=(escalation_is_due,),
        apply=apply_escalation_requested,
        summary="An account takes an appeal to the platform.",
        example=EscalationRequested(bytes(32)),
        inputs=lambda body: {"appeal": body.appeal.hex()},
        index=lambda entry: (keyspace.listed(keyspace.ON_SUBJECT, entry.body.appeal, entry.log_index),),
        leaves_account=True,
    ),
)
