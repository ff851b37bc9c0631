"""Moderators take decisions back.  Events: moderation.PostRestoredInCommunity, ContentReinstated, PostThreadUnlocked,
MemberReinstated, AccountReinstated.

Before a decision is final this undoes it wholly: what it held is free, and nothing counts against anybody.  After that
it ends what goes on, and no more.  Each decision is lifted in its own scope.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from guards.content import judge_text_length
from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, EventType, View, Write
from ledger.payloads import ContentRef
from ledger.primitives.records import Bytes32
from ledger.roles import PLATFORM
from ledger.verdict import Fact, Verdict, allow, deny
from social.moderation.effects import count, count_act, moderator_has_acts_left, read_known, take_back
from social.moderation.records import HIDE, LIFTED, LOCK, REVERSED, SUSPEND, read_decision


@dataclass(frozen=True, slots=True)
class Lifting:
    """What every lifting says."""

    content: ContentRef  # why, in words
    decision: Bytes32
    space: Bytes32  # that of the decision


@dataclass(frozen=True, slots=True)
class PostRestoredInCommunity(Lifting):
    """A moderator shows a post of a community again."""


@dataclass(frozen=True, slots=True)
class ContentReinstated(Lifting):
    """A moderator of the platform shows a post again."""


@dataclass(frozen=True, slots=True)
class PostThreadUnlocked(Lifting):
    """A moderator opens a thread again."""


@dataclass(frozen=True, slots=True)
class MemberReinstated(Lifting):
    """A moderator ends a suspension in a community."""


@dataclass(frozen=True, slots=True)
class AccountReinstated(Lifting):
    """A moderator of the platform ends a suspension."""


def reason_fits(view: View, entry: Entry[Lifting]) -> Verdict:
    return judge_text_length(entry.body.content)


def decision_can_be_lifted(kind: str, *, platform: bool | None) -> Callable[[View, Entry[Any]], Verdict]:
    """Return the guard that there is such a decision, of this kind and scope, and that it stands."""

    def decision_stands(view: View, entry: Entry[Lifting]) -> Verdict:
        body = entry.body
        decision = read_decision(view, body.decision)
        if decision is None:
            return deny("MODERATION_DECISION_UNKNOWN", "There is no such decision.", decision=body.decision.hex())
        if decision.space != body.space:
            return deny(
                "MODERATION_DECISION_ELSEWHERE", "The decision was made in another scope.",
                space=body.space.hex(), decision_space=decision.space.hex(),
            )  # fmt: skip
        if decision.kind != kind or platform not in (None, decision.space == PLATFORM):
            return deny("MODERATION_DECISION_KIND", "The decision is lifted by another event.", kind=decision.kind)
        if decision.state in (LIFTED, REVERSED):
            return deny("MODERATION_DECISION_OVER", "The decision was taken back already.", state=decision.state)
        return allow("MODERATION_DECISION_STANDS", "The decision stands.", state=decision.state)

    return decision_stands


def lifter_is_not_concerned(view: View, entry: Entry[Lifting]) -> Verdict:
    decision = read_decision(view, entry.body.decision)
    if decision is not None and decision.account == entry.author:
        return deny("MODERATION_OWN_CASE", "Nobody lifts a decision about himself; it can be appealed.")
    return allow("MODERATION_OTHERS_CASE", "The decision concerns somebody else.")


def apply_lifted(view: View, entry: Entry[Any]) -> Iterator[Write]:
    """Take the decision back, and count it for whoever made it."""
    body, draft = entry.body, Draft(view)
    decision = read_known(view, body.decision)
    take_back(draft, body.decision, LIFTED)
    count(draft, decision.space, decision.decider, "lifted")
    count_act(draft, body.space, entry.author, entry.epoch)
    yield from draft.writes()


def list_places(entry: Entry[Any]) -> tuple[bytes, ...]:
    """Return where a lifting is listed: in the log of its place, and with the decision."""
    return (
        keyspace.listed(keyspace.MODERATED_IN, entry.body.space, entry.log_index),
        keyspace.listed(keyspace.ON_SUBJECT, entry.body.decision, entry.log_index),
    )


def show_lifting(body: Lifting) -> dict[str, Fact]:
    """Return what a receipt shows of a lifting."""
    return {"content": body.content.hash.hex(), "decision": body.decision.hex(), "space": body.space.hex()}


def _declare(body: type[Any], kind: str, platform: bool | None, summary: str) -> EventType[Any]:
    return EventType(
        name=f"moderation.{body.__name__}",
        version=1,
        body=body,
        guards=(
            decision_can_be_lifted(kind, platform=platform), lifter_is_not_concerned, moderator_has_acts_left,
            reason_fits,
        ),
        apply=apply_lifted,
        summary=summary,
        example=body(ContentRef(bytes=12, hash=bytes(32)), bytes(32), bytes(32)),
        inputs=show_lifting,
        content=lambda body: body.content,
        index=list_places,
        leaves_account=True,
    )  # fmt: skip


EVENTS = (
    _declare(PostRestoredInCommunity, HIDE, False, "A moderator shows a post of a community again."),
    _declare(ContentReinstated, HIDE, True, "A moderator of the platform shows a post again."),
    _declare(PostThreadUnlocked, LOCK, None, "A moderator opened a thread again."),
    _declare(MemberReinstated, SUSPEND, False, "A moderator ended a suspension in a community."),
    _declare(AccountReinstated, SUSPEND, True, "A moderator of the platform ended a suspension."),
)
