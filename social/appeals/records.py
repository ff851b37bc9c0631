"""An appeal as the state keeps it, the votes on it, and the rolls of open appeals and of those willing to review."""

from dataclasses import dataclass
from typing import Annotated

from ledger import keyspace
from ledger.events import View
from ledger.payloads import ContentRef
from ledger.primitives.records import U32, U64, Bytes32, Length
from ledger.rolls import Roll
from ledger.state import read_record

COMMUNITY, PLATFORM_STAGE = "community", "platform"
STAGES = (COMMUNITY, PLATFORM_STAGE)
SUBMITTED, REVIEW, UPHELD, CLOSED = "SUBMITTED", "REVIEW", "UPHELD", "CLOSED"
"""Waits for reviewers; is reviewed; was upheld in the community, and may go to the platform; is over."""
UPHOLD, REVERSE = "uphold", "reverse"
VOTES = (UPHOLD, REVERSE)
OUTCOME_UPHELD, OUTCOME_REVERSED, OUTCOME_LIFTED = "upheld", "reversed", "lifted"
REVIEWERS_MAX = 9
"""Of one stage: as many as the policy may ask for."""
OPEN_APPEALS = Roll("a")
WILLING = Roll("j")
"""Accounts that are willing to review."""

Word = Annotated[str, Length(0, 16)]
Reviewers = Annotated[tuple[Bytes32, ...], Length(0, REVIEWERS_MAX)]


@dataclass(frozen=True, slots=True)
class Appeal:
    """An appeal.  Its id is that of the event that submitted it."""

    account: Bytes32  # who appeals: whom the decision concerns
    beat: U64
    closes_beat: U64  # the end of what it waits for now: reviewers, votes, or a wish to go on
    content: ContentRef  # why, in words
    decision: Bytes32
    earlier: Reviewers  # of the stage before
    escalates: bool  # the account wants it to go to the platform
    height: U64
    outcome: Word  # of the last stage that was decided; empty before
    reverse: U32  # votes of this stage
    reviewers: Reviewers  # of this stage
    stage: Word  # one of STAGES
    state: Word
    uphold: U32


@dataclass(frozen=True, slots=True)
class ReviewVote:
    """What a reviewer voted."""

    beat: U64
    content: ContentRef  # why, in words
    vote: Word  # one of VOTES


def read_appeal(view: View, appeal_id: bytes) -> Appeal | None:
    """Return an appeal, or None."""
    return read_record(view, keyspace.moderation("a", appeal_id), Appeal)


def read_review_vote(view: View, appeal_id: bytes, reviewer: bytes) -> ReviewVote | None:
    """Return what a reviewer voted, or None."""
    return read_record(view, keyspace.moderation("v", appeal_id, reviewer), ReviewVote)
