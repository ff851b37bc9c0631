"""Votes: accounts decide on a proposal, once each and for good.  Events: governance.VoteCast.

Social track: standing times sybil multiplier, as of the epoch in which the proposal opened (`ledger.electorate`).
Infra track: NOD of the operators whose nodes were fit then.  Neither weight counts on the other track (rule K4).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from ledger import keyspace
from ledger.electorate import read_weight
from ledger.events import Entry, EventType, Put, View, Write
from ledger.policies import SOCIAL
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import U64, U128, Bytes32, Length, encode_record
from ledger.state import read_number, read_record
from ledger.tokens import NOD, read_balance
from ledger.verdict import Verdict, allow, deny
from social.governance.proposals import VOTING, Proposal, read_proposal

YES, NO, ABSTAIN = "yes", "no", "abstain"
CHOICES = (YES, NO, ABSTAIN)

Choice = Annotated[str, Length(1, 16)]
Reason = Annotated[str, Length(0, 64)]


@dataclass(frozen=True, slots=True)
class VoteCast:
    """The author votes."""

    choice: Choice
    proposal: Bytes32
    reason: Reason  # a short code, or the hash of a text in hex; may be empty


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote as the state keeps it."""

    beat: U64
    choice: Choice
    reason: Reason
    weight: U128


def read_vote(view: View, proposal_id: bytes, account_id: bytes) -> Vote | None:
    """Return what an account voted, or None."""
    return read_record(view, keyspace.vote(proposal_id, account_id), Vote)


def read_vote_weight(view: View, proposal_id: bytes, proposal: Proposal, account_id: bytes) -> int:
    """Return what an account weighs in a vote: as of the epoch in which the proposal opened."""
    if proposal.track == SOCIAL:
        return read_weight(view, account_id, proposal.epoch)
    return read_number(view, keyspace.elector(proposal_id, account_id))


def proposal_is_known(view: View, entry: Entry[VoteCast]) -> Verdict:
    if read_proposal(view, entry.body.proposal) is None:
        return deny("PROPOSAL_UNKNOWN", "There is no such proposal.", proposal=entry.body.proposal.hex())
    return allow("PROPOSAL_KNOWN", "The proposal is on the ledger.")


def vote_is_open(view: View, entry: Entry[VoteCast]) -> Verdict:
    proposal = read_proposal(view, entry.body.proposal)
    if proposal is None:
        return allow("VOTE_OPEN", "There is no vote that could be closed.")
    if proposal.state == VOTING and entry.beat < proposal.closes_beat:
        return allow("VOTE_OPEN", "The vote is open.", beat=entry.beat, closes_beat=proposal.closes_beat)
    return deny(
        "VOTE_CLOSED", "The vote is over.", beat=entry.beat, closes_beat=proposal.closes_beat, state=proposal.state
    )  # fmt: skip


def vote_was_not_cast(view: View, entry: Entry[VoteCast]) -> Verdict:
    cast = read_vote(view, entry.body.proposal, entry.author)
    if cast is None:
        return allow("VOTE_NOT_CAST", "The author has not voted on this.")
    return deny("VOTE_ALREADY_CAST", "A vote that was cast stays as it is.", choice=cast.choice, beat=cast.beat)


def choice_is_known(view: View, entry: Entry[VoteCast]) -> Verdict:
    if entry.body.choice in CHOICES:
        return allow("VOTE_CHOICE_KNOWN", "The choice is one that there is.")
    return deny("VOTE_CHOICE_UNKNOWN", f"A vote is one of {', '.join(CHOICES)}.", choice=entry.body.choice)


def author_may_vote(view: View, entry: Entry[VoteCast]) -> Verdict:
    proposal_id = entry.body.proposal
    proposal = read_proposal(view, proposal_id)
    if proposal is None:
        return allow("VOTE_ELIGIBILITY_OPEN", "There is no vote to be eligible for.")
    weight = read_vote_weight(view, proposal_id, proposal, entry.author)
    if weight:
        return allow(
            "VOTE_ELIGIBLE", "The author had weight when the vote opened.", weight=weight, epoch=proposal.epoch
        )
    if proposal.track == SOCIAL:
        elsewhere = read_balance(view, NOD, entry.author)
    else:
        elsewhere = read_weight(view, entry.author, entry.epoch)
    if elsewhere:
        return deny(
            "VOTE_WRONG_TRACK", "The author's weight is of the other track, and counts for nothing here.",
            track=proposal.track,
        )  # fmt: skip
    return deny(
        "VOTE_NOT_ELIGIBLE", "The author had no weight when the vote opened.",
        epoch=proposal.epoch, track=proposal.track,
    )  # fmt: skip


def apply_vote_cast(view: View, entry: Entry[VoteCast]) -> Iterator[Write]:
    """Keep the vote, and add it up."""
    body = entry.body
    proposal = read_proposal(view, body.proposal)
    assert proposal is not None, "a guard found it"
    weight = read_vote_weight(view, body.proposal, proposal, entry.author)
    counted = replace(
        proposal,
        abstain=proposal.abstain + (weight if body.choice == ABSTAIN else 0),
        no=proposal.no + (weight if body.choice == NO else 0),
        voters=proposal.voters + 1,
        yes=proposal.yes + (weight if body.choice == YES else 0),
    )
    vote = Vote(entry.beat, body.choice, body.reason, weight)
    yield Put(keyspace.vote(body.proposal, entry.author), encode_record(vote))
    yield Put(keyspace.proposal(body.proposal), encode_record(counted))


EVENTS = (
    EventType(
        name="governance.VoteCast",
        version=1,
        body=VoteCast,
        guards=(proposal_is_known, vote_is_open, vote_was_not_cast, choice_is_known, author_may_vote),
        apply=apply_vote_cast,
        summary="An account voted on a proposal.",
        example=VoteCast(YES, bytes(32), "cheaper"),
        inputs=lambda body: {"choice": body.choice, "proposal": body.proposal.hex(), "reason": body.reason},
        weight=SCALE // 10,
    ),
)
