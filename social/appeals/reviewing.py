"""Reviewers vote on an appeal, once each, with their reasons.  Events: appeals.AppealReviewed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from guards.content import judge_text_length
from ledger import keyspace
from ledger.events import Entry, EventType, Put, View, Write
from ledger.payloads import ContentRef
from ledger.primitives.records import Bytes32, Length, encode_record
from ledger.verdict import Verdict, allow, deny
from social.appeals.records import REVERSE, REVIEW, UPHOLD, VOTES, ReviewVote, read_appeal, read_review_vote
from social.appeals.submitting import read_known_appeal


@dataclass(frozen=True, slots=True)
class AppealReviewed:
    """A drawn reviewer votes."""

    appeal: Bytes32
    content: ContentRef  # why, in words
    vote: Annotated[str, Length(1, 16)]  # "uphold" the decision, or "reverse" it


def review_is_open(view: View, entry: Entry[AppealReviewed]) -> Verdict:
    appeal = read_appeal(view, entry.body.appeal)
    if appeal is None:
        return deny("APPEAL_UNKNOWN", "There is no such appeal.", appeal=entry.body.appeal.hex())
    if appeal.state != REVIEW or entry.beat >= appeal.closes_beat:
        return deny("APPEAL_NOT_IN_REVIEW", "The appeal takes no votes now.", state=appeal.state)
    return allow("APPEAL_IN_REVIEW", "The appeal takes votes.", closes_beat=appeal.closes_beat)


def author_was_drawn(view: View, entry: Entry[AppealReviewed]) -> Verdict:
    appeal = read_appeal(view, entry.body.appeal)
    if appeal is None or entry.author in appeal.reviewers:
        return allow("APPEAL_REVIEWER", "The author was drawn to review the appeal.")
    return deny("APPEAL_NOT_REVIEWER", "Only who was drawn votes on an appeal.")


def author_has_not_voted(view: View, entry: Entry[AppealReviewed]) -> Verdict:
    if read_review_vote(view, entry.body.appeal, entry.author) is None:
        return allow("APPEAL_FIRST_VOTE", "The author has not voted.")
    return deny("APPEAL_VOTED_ALREADY", "A reviewer votes once.")


def vote_is_known(view: View, entry: Entry[AppealReviewed]) -> Verdict:
    if entry.body.vote in VOTES:
        return allow("APPEAL_VOTE_KNOWN", "The vote is one of the two that there are.")
    return deny("APPEAL_VOTE_UNKNOWN", f"A vote is {UPHOLD} or {REVERSE}.", vote=entry.body.vote)


def reason_fits(view: View, entry: Entry[AppealReviewed]) -> Verdict:
    return judge_text_length(entry.body.content)


def apply_appeal_reviewed(view: View, entry: Entry[AppealReviewed]) -> Iterator[Write]:
    """Keep the vote and count it; what follows comes where the next epoch begins."""
    body, appeal = entry.body, read_known_appeal(view, entry.body.appeal)
    counted = replace(
        appeal,
        reverse=appeal.reverse + (1 if body.vote == REVERSE else 0),
        uphold=appeal.uphold + (1 if body.vote == UPHOLD else 0),
    )
    vote = ReviewVote(entry.beat, body.content, body.vote)
    yield Put(keyspace.moderation("v", body.appeal, entry.author), encode_record(vote))
    yield Put(keyspace.moderation("a", body.appeal), encode_record(counted))


EVENTS = (
    EventType(
        name="appeals.AppealReviewed",
        version=1,
        body=AppealReviewed,
        guards=(review_is_open, author_was_drawn, author_has_not_voted, vote_is_known, reason_fits),
        apply=apply_appeal_reviewed,
        summary="A reviewer voted on an appeal.",
        example=AppealReviewed(bytes(32), ContentRef(bytes=12, hash=bytes(32)), REVERSE),
        inputs=lambda body: {
            "appeal": body.appeal.hex(), "content": body.content.hash.hex(), "vote": body.vote,
        },
        content=lambda body: body.content,
        index=lambda entry: (keyspace.listed(keyspace.ON_SUBJECT, entry.body.appeal, entry.log_index),),
        leaves_account=True,
    ),
)  # fmt: skip
