"""What moderators decide.  Events: moderation.PostHiddenInCommunity, ContentTakenDown, PostThreadLocked, MemberWarned,
MemberSuspended, AccountSuspended.

Each is a statement of reasons: the rule and the version of the rules that it stands in, the facts as a payload, whether
a program found it, its scope, how long it lasts, and who decided.  A moderator of a community acts on what is in it,
one of the platform on everything.  Decisions cost no energy and count as no action, so they earn their author nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from guards.content import judge_text_length
from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, EventType, View, Write
from ledger.identity import read_account
from ledger.payloads import ContentRef
from ledger.policies import read_policies
from ledger.primitives.records import U32, Between, Bytes32
from ledger.roles import PLATFORM, read_founder
from ledger.sanctions import read_sanction
from ledger.spaces import read_place
from ledger.verdict import Fact, Verdict, allow, deny, under
from social.communities.records import RULES_MAX, judge_open, read_member
from social.moderation.effects import answer_case, count, count_act, make_decision, moderator_has_acts_left
from social.moderation.records import HIDE, LOCK, NONE, OPEN, SUSPEND, WARN, Decision, sanction_key
from social.moderation.rules import count_rules, current_ruleset
from social.posts import read_post


@dataclass(frozen=True, slots=True)
class Reasons:
    """The statement of reasons that every decision carries."""

    automated: bool  # a program found or decided it
    content: ContentRef  # the facts, in words
    duration_beats: U32 | None  # of a suspension; None for all others: they last until they are lifted
    rule: Annotated[int, Between(1, RULES_MAX)]
    ruleset: U32  # the version of the rules that the rule stands in
    space: Bytes32  # scope: a community, or zero for the platform
    subject: Bytes32  # a post, for warnings and suspensions an account


@dataclass(frozen=True, slots=True)
class PostHiddenInCommunity(Reasons):
    """A moderator hides a post of a community."""


@dataclass(frozen=True, slots=True)
class ContentTakenDown(Reasons):
    """A moderator of the platform hides a post."""


@dataclass(frozen=True, slots=True)
class PostThreadLocked(Reasons):
    """A moderator closes a thread to further answers."""


@dataclass(frozen=True, slots=True)
class MemberWarned(Reasons):
    """A moderator warns an account."""


@dataclass(frozen=True, slots=True)
class MemberSuspended(Reasons):
    """A moderator suspends a member of a community there."""


@dataclass(frozen=True, slots=True)
class AccountSuspended(Reasons):
    """A moderator of the platform suspends an account."""


def facts_fit(view: View, entry: Entry[Reasons]) -> Verdict:
    return judge_text_length(entry.body.content)


def rule_is_in_force(view: View, entry: Entry[Reasons]) -> Verdict:
    body = entry.body
    newest = current_ruleset(view, body.space)
    rules = count_rules(view, body.space, newest)
    facts: dict[str, Fact] = {"rule": body.rule, "ruleset": body.ruleset, "ruleset_in_force": newest, "rules": rules}
    if newest == 0:
        return deny("MODERATION_NO_RULES", "The place has no rules that a decision could name.", **facts)
    if body.ruleset != newest:
        return deny("MODERATION_RULESET_OLD", "Decisions are made by the newest version of the rules.", **facts)
    if body.rule > rules:
        return deny("MODERATION_RULE_UNKNOWN", "The rules have no such number.", **facts)
    return allow("MODERATION_RULE_IN_FORCE", "The rule is in force.", **facts)


def scope_is_community(view: View, entry: Entry[Reasons]) -> Verdict:
    if entry.body.space == PLATFORM:
        return deny("MODERATION_SCOPE_MISSING", "This decision is made in a community; name it as `space`.")
    return judge_open(view, entry.body.space)


def scope_is_platform(view: View, entry: Entry[Reasons]) -> Verdict:
    if entry.body.space != PLATFORM:
        return deny("MODERATION_SCOPE_PLATFORM", "This decision is made for the whole platform; `space` is zero.")
    return allow("MODERATION_SCOPE_FITS", "The decision is made for the whole platform.")


def post_is_in_scope(view: View, entry: Entry[Reasons]) -> Verdict:
    body = entry.body
    if read_post(view, body.subject) is None:
        return deny("MODERATION_SUBJECT_UNKNOWN", "There is no such post.", subject=body.subject.hex())
    place = read_place(view, body.subject)
    if body.space not in (PLATFORM, place.space):
        return deny(
            "MODERATION_SUBJECT_ELSEWHERE", "The post is not in the community that the moderator acts for.",
            space=body.space.hex(), post_space=place.space.hex(),
        )  # fmt: skip
    return allow("MODERATION_SUBJECT_IN_SCOPE", "The post is where the moderator may act.")


def post_begins_thread(view: View, entry: Entry[Reasons]) -> Verdict:
    if read_place(view, entry.body.subject).root == entry.body.subject:
        return allow("MODERATION_THREAD_ROOT", "The post begins its thread.")
    return deny("MODERATION_NOT_THREAD_ROOT", "A thread is locked at the post that it begins with.")


def account_is_in_scope(view: View, entry: Entry[Reasons]) -> Verdict:
    body = entry.body
    if read_account(view, body.subject) is None:
        return deny("MODERATION_SUBJECT_UNKNOWN", "There is no such account.", subject=body.subject.hex())
    if body.space != PLATFORM and read_member(view, body.space, body.subject) is None:
        return deny("MODERATION_NOT_MEMBER", "The account is no member of the community that the moderator acts for.")
    if body.space != PLATFORM and read_founder(view, body.space) == body.subject:
        return deny("MODERATION_FOUNDER_EXEMPT", "Only the platform decides about the founder of a community.")
    return allow("MODERATION_SUBJECT_IN_SCOPE", "The account is where the moderator may act.")


def find_concerned(view: View, kind: str, subject: bytes) -> bytes:
    """Return the account that a decision concerns; zero where its subject does not exist."""
    if kind in (WARN, SUSPEND):
        return subject
    post = read_post(view, subject)
    return NONE if post is None else post.author


def duration_fits(kind: str) -> Callable[[View, Entry[Any]], Verdict]:
    """Return the guard on how long a decision of a kind lasts."""

    def duration_is_allowed(view: View, entry: Entry[Reasons]) -> Verdict:
        given, policies = entry.body.duration_beats, read_policies(view)
        most = policies.moderation.suspension_beats_max
        if kind != SUSPEND:
            if given is None:
                return allow("MODERATION_DURATION_NONE", "It lasts until it is lifted.")
            return deny("MODERATION_DURATION_UNEXPECTED", "Only suspensions have a duration; leave it empty.")
        if given is None or not 1 <= given <= most:
            verdict = deny(
                "MODERATION_DURATION", "A suspension lasts for some beats, at most as many as the policy allows.",
                beats=-1 if given is None else given, beats_max=most,
            )  # fmt: skip
        else:
            verdict = allow("MODERATION_DURATION_FITS", "The duration is allowed.", beats=given, beats_max=most)
        return under(verdict, policies.cite["moderation"])

    return duration_is_allowed


def own_case(kind: str) -> Callable[[View, Entry[Any]], Verdict]:
    """Return the guard that keeps moderators from deciding about themselves."""

    def decider_is_not_concerned(view: View, entry: Entry[Reasons]) -> Verdict:
        if find_concerned(view, kind, entry.body.subject) == entry.author:
            return deny("MODERATION_OWN_CASE", "Nobody decides about himself.")
        return allow("MODERATION_OTHERS_CASE", "The decision concerns somebody else.")

    return decider_is_not_concerned


def state_decision(view: View, kind: str, entry: Entry[Reasons]) -> Decision:
    """Return the decision that an event makes."""
    body, policy = entry.body, read_policies(view).moderation
    return Decision(
        account=find_concerned(view, kind, body.subject),
        appeal=NONE,
        automated=body.automated,
        beat=entry.beat,
        content=body.content,
        contest_until=entry.beat + policy.appeal_beats,
        decider=entry.author,
        height=entry.height,
        kind=kind,
        rule=body.rule,
        ruleset=body.ruleset,
        space=body.space,
        state=OPEN,
        subject=body.subject,
        until_beat=None if body.duration_beats is None else entry.beat + body.duration_beats,
    )


def not_in_force_yet(kind: str) -> Callable[[View, Entry[Any]], Verdict]:
    """Return the guard that no decision of the kind stands already."""

    def nothing_stands(view: View, entry: Entry[Reasons]) -> Verdict:
        key = sanction_key(state_decision(view, kind, entry))
        standing = None if key is None else read_sanction(view, key)
        if standing is None:
            return allow("MODERATION_NOTHING_STANDS", "No such decision is in force.")
        return deny(
            "MODERATION_STANDS_ALREADY", "Such a decision is in force already.", decision=standing.decision.hex()
        )  # fmt: skip

    return nothing_stands


def apply_decision(kind: str) -> Callable[[View, Entry[Any]], Iterator[Write]]:
    """Return the transition of a kind of decision."""

    def apply_decided(view: View, entry: Entry[Reasons]) -> Iterator[Write]:
        """Put the decision into force, answer the reports, and count it for its moderator."""
        body, draft = entry.body, Draft(view)
        make_decision(draft, entry.event_id, state_decision(view, kind, entry))
        if kind in (HIDE, LOCK):
            answer_case(draft, body.subject, read_place(view, body.subject).space, decided=True)
        count_act(draft, body.space, entry.author, entry.epoch)
        count(draft, body.space, entry.author, "decisions")
        yield from draft.writes()

    return apply_decided


def list_places(entry: Entry[Reasons]) -> tuple[bytes, ...]:
    """Return where a decision is listed: in the log of its place, with its subject, and among all."""
    return (
        keyspace.listed(keyspace.MODERATED_IN, entry.body.space, entry.log_index),
        keyspace.listed(keyspace.ON_SUBJECT, entry.body.subject, entry.log_index),
        keyspace.listed(keyspace.DECISIONS, b"", entry.log_index),
    )


def show_reasons(body: Reasons) -> dict[str, Fact]:
    """Return what a receipt shows of a decision."""
    return {
        "automated": body.automated, "content": body.content.hash.hex(),
        "duration_beats": -1 if body.duration_beats is None else body.duration_beats, "rule": body.rule,
        "ruleset": body.ruleset, "space": body.space.hex(), "subject": body.subject.hex(),
    }  # fmt: skip


def _declare(
    body: type[Any], kind: str, guards: tuple[Callable[[View, Entry[Any]], Verdict], ...], summary: str
) -> EventType[Any]:
    duration = 5_082 if kind == SUSPEND else None
    example = body(False, ContentRef(bytes=12, hash=bytes(32)), duration, 1, 1, bytes(32), bytes(32))
    always = (rule_is_in_force, duration_fits(kind), own_case(kind), not_in_force_yet(kind), moderator_has_acts_left)
    return EventType(
        name=f"moderation.{body.__name__}",
        version=1,
        body=body,
        guards=(*guards, *always, facts_fit),
        apply=apply_decision(kind),
        summary=summary,
        example=example,
        inputs=show_reasons,
        content=lambda body: body.content,
        index=list_places,
        leaves_account=True,
    )


EVENTS = (
    _declare(
        PostHiddenInCommunity, HIDE, (scope_is_community, post_is_in_scope),
        "A moderator hid a post of a community.",
    ),
    _declare(
        ContentTakenDown, HIDE, (scope_is_platform, post_is_in_scope), "A moderator of the platform hid a post.",
    ),
    _declare(
        PostThreadLocked, LOCK, (post_is_in_scope, post_begins_thread), "A moderator closed a thread to answers.",
    ),
    _declare(MemberWarned, WARN, (account_is_in_scope,), "A moderator warned an account."),
    _declare(
        MemberSuspended, SUSPEND, (scope_is_community, account_is_in_scope),
        "A moderator suspended a member of a community.",
    ),
    _declare(
        AccountSuspended, SUSPEND, (scope_is_platform, account_is_in_scope),
        "A moderator of the platform suspended an account.",
    ),
)  # fmt: skip
