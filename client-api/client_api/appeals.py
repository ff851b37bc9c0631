"""Appeals: which there are, and one with all that was said in it."""

from typing import Annotated, Literal

from pydantic import Field

from client_api.context import Context, Reading
from client_api.decisions import DecisionShape, decision_to_json, read_preserved
from client_api.endpoint import Endpoint, Json, Model
from client_api.errors import AccountUnknown, AppealUnknown, CursorInvalid, StaleHeight
from client_api.explorer import Height, Limit
from client_api.listing import open_listing, read_page
from client_api.moderation import event_to_json
from client_api.paging import LIMIT_DEFAULT, hash_filter
from client_api.people import Cursor
from client_api.places import read_text
from client_api.shapes import Anchor, account_text, event_text, find_account, parse_event_id
from ledger import keyspace
from ledger.payloads import decode_payload
from ledger.receipts import decode_receipt
from social.appeals.records import CLOSED, Appeal, read_appeal, read_review_vote
from social.moderation.records import read_decision

SAID_MAX = 600
"""More than the sides and the reviewers of two stages may say."""


class AppealShape(Model):
    appeal_id: str
    decision_id: str
    account: str
    reason: str | None = Field(description="null when the text was erased, or is not here yet")
    stage: Literal["community", "platform"]
    state: Literal["SUBMITTED", "REVIEW", "UPHELD", "CLOSED"]
    outcome: Literal["upheld", "reversed", "lifted"] | None = Field(description="of the last stage that was decided")
    beat: int
    height: int
    closes_beat: int = Field(description="the end of what it waits for now")
    reviewers: list[str]
    uphold: int
    reverse: int
    escalates: bool = Field(description="the account wants it to go to the platform")


def appeal_to_json(reading: Reading, appeal_id: bytes, appeal: Appeal) -> Json:
    return {
        "appeal_id": event_text(appeal_id),
        "decision_id": event_text(appeal.decision),
        "account": account_text(appeal.account),
        "reason": read_text(reading, appeal.content),
        "stage": appeal.stage,
        "state": appeal.state,
        "outcome": appeal.outcome or None,
        "beat": appeal.beat,
        "height": appeal.height,
        "closes_beat": appeal.closes_beat,
        "reviewers": [account_text(each) for each in appeal.reviewers],
        "uphold": appeal.uphold,
        "reverse": appeal.reverse,
        "escalates": appeal.escalates,
    }


class AppealsQuery(Model):
    state: Literal["open", "closed"] | None = None
    account: Annotated[str, Field(max_length=100, description="Who appealed: an id or handle.")] | None = None
    reviewer: Annotated[str, Field(max_length=100, description="Who reviews now: an id or handle.")] | None = None
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None
    at: Height | None = None


class AppealsAnswer(Model):
    items: list[AppealShape]
    next: str | None
    prev: str | None
    ledger: Anchor


async def list_appeals(context: Context, query: AppealsQuery, body: None) -> Json:
    """Newest first; with `reviewer` and `state=open`, what somebody was drawn for."""
    filter_hash = hash_filter("appeals", query.state, query.account, query.reviewer)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        account = None if query.account is None else find_account(reading.state, query.account)
        reviewer = None if query.reviewer is None else find_account(reading.state, query.reviewer)

        def keep(index: int, value: bytes) -> bool:
            appeal = _read_listed(reading, value)
            return (
                account in (None, appeal.account)
                and (reviewer is None or reviewer in appeal.reviewers)
                and (query.state is None or (appeal.state == CLOSED) == (query.state == "closed"))
            )

        page = read_page(reading, keyspace.APPEALS, filter_hash, query.limit, before, after, keep)
        return {
            "items": [appeal_to_json(reading, each, _read_listed(reading, each)) for _, each in page.entries],
            "next": page.next,
            "prev": page.prev,
            "ledger": reading.anchor(),
        }


def _read_listed(reading: Reading, appeal_id: bytes) -> Appeal:
    appeal = read_appeal(reading.state, appeal_id)
    assert appeal is not None, f"appeal {appeal_id.hex()} is in an index"
    return appeal


class AppealQuery(Model):
    appeal_id: Annotated[str, Field(max_length=100)]
    at: Height | None = None


class SaidShape(Model):
    event_id: str
    event_type: str | None = Field(description="null while this node still fetches the event")
    author: str | None
    beat: int | None
    text: str | None
    vote: Literal["uphold", "reverse"] | None


class AppealAnswer(Model):
    appeal: AppealShape
    decision: DecisionShape
    preserved: str | None = Field(description="the text that the decision is about")
    said: list[SaidShape] = Field(description="messages, votes and the wish to go on, oldest first")
    ledger: Anchor


async def get_appeal(context: Context, query: AppealQuery, body: None) -> Json:
    """One appeal with its decision, the text that it is about, and all that was said."""
    appeal_id = parse_event_id(query.appeal_id)
    with context.read(query.at) as reading:
        appeal = read_appeal(reading.state, appeal_id)
        if appeal is None:
            raise AppealUnknown(f"no appeal of this id at height {reading.height}", appeal_id=query.appeal_id)
        decision = read_decision(reading.state, appeal.decision)
        assert decision is not None, "an appeal has a decision"
        said = read_page(reading, keyspace.ON_SUBJECT + appeal_id, b"", SAID_MAX, None, None).entries
        return {
            "appeal": appeal_to_json(reading, appeal_id, appeal),
            "decision": decision_to_json(reading, appeal.decision, decision),
            "preserved": read_preserved(reading, decision),
            "said": [_said_to_json(reading, appeal_id, index, event_id) for index, event_id in reversed(said)],
            "ledger": reading.anchor(),
        }


def _said_to_json(reading: Reading, appeal_id: bytes, index: int, event_id: bytes) -> Json:
    data = reading.snapshot.get(keyspace.receipt(index))
    receipt = None if data is None else decode_receipt(data)
    content = None if receipt is None else receipt.inputs.get("content")
    payload = reading.snapshot.get(keyspace.payload(bytes.fromhex(content))) if type(content) is str else None
    voted = receipt is not None and "vote" in receipt.inputs
    vote = read_review_vote(reading.state, appeal_id, receipt.author) if receipt is not None and voted else None
    return event_to_json(reading, index, event_id) | {
        "text": None if payload is None else decode_payload(payload).text,
        "vote": None if vote is None else vote.vote,
    }


ENDPOINTS = (
    Endpoint("GET", "/appeals", "listAppeals", "Appeals, newest first.", "moderation", AppealsAnswer, list_appeals,
             query=AppealsQuery, errors=(AccountUnknown, CursorInvalid, StaleHeight)),
    Endpoint("GET", "/appeals/{appeal_id}", "getAppeal", "One appeal, its decision, and all that was said in it.",
             "moderation", AppealAnswer, get_appeal, query=AppealQuery, errors=(AppealUnknown, StaleHeight)),
)  # fmt: skip
