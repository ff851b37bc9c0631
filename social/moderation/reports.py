"""Posts are reported, and reports answered.  Events: graph.ContentReported, moderation.ReportTriaged.

Reports of one post are one case.  Its priority is the mass of who reported: standing times sybil multiplier, as in
votes, so a crowd of accounts that cost nothing raises nothing.  The reason is a payload; that an account has reported
is on the ledger, as every event's author is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from guards.content import judge_text_length
from ledger import keyspace
from ledger.draft import Draft
from ledger.electorate import compute_weight
from ledger.events import Entry, EventType, View, Write
from ledger.payloads import ContentRef
from ledger.policies import read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import Between, Bytes32, encode_record
from ledger.spaces import read_place
from ledger.standing import compute_sybil_multiplier, read_standing
from ledger.state import PRESENT
from ledger.tokens import FLX, compute_bond_account, read_balance
from ledger.verdict import Verdict, allow, deny
from social.communities.records import RULES_MAX
from social.moderation.effects import NEVER_REPORTED, answer_case, count_act, moderator_has_acts_left
from social.moderation.records import open_cases, read_case
from social.moderation.rules import count_rules, current_ruleset
from social.posts import read_post


@dataclass(frozen=True, slots=True)
class ContentReported:
    """The author reports a post or reply to the moderators of its place."""

    content: ContentRef  # the reason, in words
    rule: Annotated[int, Between(0, RULES_MAX)]  # of the place that the post is in; 0: none in particular
    subject: Bytes32


@dataclass(frozen=True, slots=True)
class ReportTriaged:
    """A moderator answers the reports of a post: nothing is to be done."""

    content: ContentRef  # why
    space: Bytes32
    subject: Bytes32


def subject_is_a_post(view: View, entry: Entry[ContentReported]) -> Verdict:
    if read_post(view, entry.body.subject) is not None:
        return allow("REPORT_SUBJECT_KNOWN", "The post exists.")
    return deny("REPORT_SUBJECT_UNKNOWN", "The post does not exist.", subject=entry.body.subject.hex())


def is_first_report(view: View, entry: Entry[ContentReported]) -> Verdict:
    if view.get(keyspace.moderation("r", entry.body.subject, entry.author)) is None:
        return allow("REPORT_FIRST", "The account has not reported this post.")
    return deny("REPORT_REPEATED", "An account reports a post once.")


def reported_rule_is_known(view: View, entry: Entry[ContentReported]) -> Verdict:
    space = read_place(view, entry.body.subject).space
    rules = count_rules(view, space, current_ruleset(view, space))
    if entry.body.rule <= rules:
        return allow("REPORT_RULE_KNOWN", "The place has such a rule.", rules=rules)
    return deny("REPORT_RULE_UNKNOWN", "The place of the post has no such rule.", rule=entry.body.rule, rules=rules)


def reason_fits(view: View, entry: Entry[ContentReported]) -> Verdict:
    return judge_text_length(entry.body.content)


def answer_fits(view: View, entry: Entry[ReportTriaged]) -> Verdict:
    return judge_text_length(entry.body.content)


def case_waits(view: View, entry: Entry[ReportTriaged]) -> Verdict:
    if open_cases(entry.body.space).has(view, entry.body.subject):
        return allow("REPORT_WAITS", "Reports of the post wait for an answer.")
    return deny("REPORT_NONE_WAITING", "No report of this post waits in this place.", space=entry.body.space.hex())


def compute_report_mass(view: View, account: bytes, epoch: int) -> int:
    """Return what a report of an account weighs now, raw in 0..1."""
    standing = read_standing(view, account)
    if standing is None:
        return 0
    bond = read_balance(view, FLX, compute_bond_account(account))
    return compute_weight(standing.s_chr, compute_sybil_multiplier(standing, bond, epoch, read_policies(view)))


def apply_content_reported(view: View, entry: Entry[ContentReported]) -> Iterator[Write]:
    """Add the report to the post's case, and the case to the queue of its place."""
    subject, draft = entry.body.subject, Draft(view)
    place = read_place(draft, subject).space
    case = read_case(draft, subject) or replace(NEVER_REPORTED, space=place)
    draft.put(keyspace.moderation("r", subject, entry.author), PRESENT)
    if not open_cases(case.space).has(draft, subject):
        open_cases(case.space).add(draft, subject)
        case = replace(case, first_beat=entry.beat)
    mass = compute_report_mass(draft, entry.author, entry.epoch)
    counted = replace(
        case, last_beat=entry.beat, mass=case.mass + mass, reports=case.reports + 1, total=case.total + 1
    )  # fmt: skip
    draft.put(keyspace.moderation("c", subject), encode_record(counted))
    yield from draft.writes()


def apply_report_triaged(view: View, entry: Entry[ReportTriaged]) -> Iterator[Write]:
    """Take the case from the queue."""
    draft = Draft(view)
    answer_case(draft, entry.body.subject, entry.body.space, decided=False)
    count_act(draft, entry.body.space, entry.author, entry.epoch)
    yield from draft.writes()


_EXAMPLE_CONTENT = ContentRef(bytes=12, hash=bytes(32))

EVENTS = (
    EventType(
        name="graph.ContentReported",
        version=1,
        body=ContentReported,
        guards=(subject_is_a_post, is_first_report, reported_rule_is_known, reason_fits),
        apply=apply_content_reported,
        summary="An account reported a post.",
        example=ContentReported(_EXAMPLE_CONTENT, 3, bytes(32)),
        inputs=lambda body: {
            "content": body.content.hash.hex(), "rule": body.rule, "subject": body.subject.hex(),
        },
        content=lambda body: body.content,
        weight=SCALE // 4,
        index=lambda entry: (keyspace.listed(keyspace.ON_SUBJECT, entry.body.subject, entry.log_index),),
    ),
    EventType(
        name="moderation.ReportTriaged",
        version=1,
        body=ReportTriaged,
        guards=(case_waits, moderator_has_acts_left, answer_fits),
        apply=apply_report_triaged,
        summary="A moderator answered the reports of a post: nothing is to be done.",
        example=ReportTriaged(_EXAMPLE_CONTENT, bytes(32), bytes(32)),
        inputs=lambda body: {
            "content": body.content.hash.hex(), "space": body.space.hex(), "subject": body.subject.hex(),
        },
        content=lambda body: body.content,
        index=lambda entry: (
            keyspace.listed(keyspace.MODERATED_IN, entry.body.space, entry.log_index),
            keyspace.listed(keyspace.ON_SUBJECT, entry.body.subject, entry.log_index),
        ),
        leaves_account=True,
    ),
)  # fmt: skip
