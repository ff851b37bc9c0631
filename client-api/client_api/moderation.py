"""Moderation: the queue of reports, the public log, and what became of each moderator's decisions."""

from typing import Any

from pydantic import Field

from client_api.context import Context, Reading
from client_api.decisions import DecisionShape, Space, decision_to_json
from client_api.endpoint import Endpoint, Json, Model
from client_api.errors import CommunityUnknown, CursorInvalid, StaleHeight
from client_api.explorer import Height, Limit
from client_api.listing import open_listing, read_page
from client_api.paging import LIMIT_DEFAULT, hash_filter
from client_api.people import Cursor, PostShape, post_to_json
from client_api.places import PLATFORM_NAME, find_space, slice_page, space_text
from client_api.shapes import Anchor, account_text, event_text
from ledger import keyspace
from ledger.primitives.fixed_point import SCALE, format_decimal
from ledger.receipts import Receipt, decode_receipt
from social.moderation.records import (
    ModeratorRecord,
    deciders_of,
    open_cases,
    read_case,
    read_decision,
    read_moderator_record,
)
from social.posts import read_post

QUEUE_READ_MAX = 1_000
"""Cases that one request orders; a queue that is longer is answered in part, and says so."""
HISTORY_MAX = 20
"""Of one case: the newest events."""
DECIDERS_READ_MAX = 1_000


class PagesQuery(Model):
    space: Space = PLATFORM_NAME
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None
    at: Height | None = None


class CaseEventShape(Model):
    event_id: str
    event_type: str | None = Field(description="null while this node still fetches the event")
    author: str | None
    beat: int | None


class CaseShape(Model):
    subject: PostShape
    priority: str = Field(description="mass of who reported and waits: standing times sybil multiplier, summed")
    reports: int = Field(description="that wait for an answer")
    total: int = Field(description="reports ever")
    decided: int = Field(description="decisions about this post before")
    first_beat: int
    last_beat: int
    history: list[CaseEventShape] = Field(description="reports, decisions and answers, newest first")


class QueueAnswer(Model):
    items: list[CaseShape]
    waiting: int
    ordered: int = Field(description="of those that wait, how many were ordered here")
    next: str | None
    prev: str | None
    ledger: Anchor


async def get_queue(context: Context, query: PagesQuery, body: None) -> Json:
    """Reported posts of a space, one case each: highest priority first, then most reports, then longest waiting."""
    filter_hash = hash_filter("moderation queue", query.space)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        roll = open_cases(find_space(reading, query.space))
        subjects = roll.read(reading.state, 0, QUEUE_READ_MAX)
        cases = {subject: read_case(reading.state, subject) for subject in subjects}

        def place(subject: bytes) -> tuple[int, int, int, bytes]:
            case = cases[subject]
            assert case is not None, "what waits has a case"
            return -case.mass, -case.reports, case.first_beat, subject

        page, forth, back = slice_page(
            sorted(subjects, key=place), query.limit, before, after, filter_hash, reading.height
        )  # fmt: skip
        return {
            "items": [_case_to_json(reading, subject) for subject in page],
            "waiting": roll.count(reading.state),
            "ordered": len(subjects),
            "next": forth,
            "prev": back,
            "ledger": reading.anchor(),
        }


def _case_to_json(reading: Reading, subject: bytes) -> Json:
    case, post = read_case(reading.state, subject), read_post(reading.state, subject)
    assert case is not None, "what waits has a case"
    assert post is not None, "only posts are reported"
    history = read_page(reading, keyspace.ON_SUBJECT + subject, b"", HISTORY_MAX, None, None)
    return {
        "subject": post_to_json(reading, subject, post),
        "priority": format_decimal(case.mass),
        "reports": case.reports,
        "total": case.total,
        "decided": case.decided,
        "first_beat": case.first_beat,
        "last_beat": case.last_beat,
        "history": [event_to_json(reading, index, event_id) for index, event_id in history.entries],
    }


def event_to_json(reading: Reading, index: int, event_id: bytes) -> Json:
    """Return what is shown of an event in a history."""
    receipt = _read_receipt(reading, index)
    return {
        "event_id": event_text(event_id),
        "event_type": None if receipt is None else receipt.event_type,
        "author": None if receipt is None else account_text(receipt.author),
        "beat": None if receipt is None else receipt.beat,
    }


def _read_receipt(reading: Reading, index: int) -> Receipt | None:
    data = reading.snapshot.get(keyspace.receipt(index))
    return None if data is None else decode_receipt(data)


class LogEntryShape(Model):
    event: CaseEventShape
    space: str
    decision: DecisionShape | None = Field(description="that was made or lifted, as it stands now")


class LogAnswer(Model):
    items: list[LogEntryShape]
    next: str | None
    prev: str | None
    ledger: Anchor


async def get_log(context: Context, query: PagesQuery, body: None) -> Json:
    """All that moderators did in a space, newest first: decisions, liftings, answers to reports."""
    filter_hash = hash_filter("moderation log", query.space)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        space = find_space(reading, query.space)
        page = read_page(reading, keyspace.MODERATED_IN + space, filter_hash, query.limit, before, after)
        return {
            "items": [_entry_to_json(reading, space, index, event_id) for index, event_id in page.entries],
            "next": page.next,
            "prev": page.prev,
            "ledger": reading.anchor(),
        }


def _entry_to_json(reading: Reading, space: bytes, index: int, event_id: bytes) -> Json:
    receipt = _read_receipt(reading, index)
    named: Any = None if receipt is None else receipt.inputs.get("decision")
    decision_id = bytes.fromhex(named) if type(named) is str else event_id
    decision = read_decision(reading.state, decision_id)
    return {
        "event": event_to_json(reading, index, event_id),
        "space": space_text(space),
        "decision": None if decision is None else decision_to_json(reading, decision_id, decision),
    }


class ModeratorShape(Model):
    account: str
    decisions: int
    appealed: int
    reversed: int = Field(description="taken back by an appeal")
    upheld: int = Field(description="by an appeal")
    lifted: int = Field(description="taken back by a moderator")
    reversal_rate: str = Field(description="reversed over decisions")
    reversal_rate_contested: str = Field(description="reversed over those whose appeal was decided")


class StatisticsAnswer(Model):
    items: list[ModeratorShape] = Field(description="highest reversal rate first")
    total: ModeratorShape = Field(description="of all in this space; its account is empty")
    next: str | None
    prev: str | None
    ledger: Anchor


async def get_statistics(context: Context, query: PagesQuery, body: None) -> Json:
    """What became of the decisions of each moderator of a space: who decides what others reverse."""
    filter_hash = hash_filter("moderation statistics", query.space)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        space = find_space(reading, query.space)
        found: list[tuple[bytes, ModeratorRecord]] = []
        for account in deciders_of(space).read(reading.state, 0, DECIDERS_READ_MAX):
            record = read_moderator_record(reading.state, space, account)
            assert record is not None, "who decided has a record"
            found.append((account, record))
        found.sort(key=lambda each: (-_rate(each[1].reversed, each[1].decisions), -each[1].decisions, each[0]))
        page, forth, back = slice_page(found, query.limit, before, after, filter_hash, reading.height)
        return {
            "items": [_record_to_json(account_text(account), record) for account, record in page],
            "total": _record_to_json("", _sum_records([record for _, record in found])),
            "next": forth,
            "prev": back,
            "ledger": reading.anchor(),
        }


def _rate(part: int, whole: int) -> int:
    return part * SCALE // whole if whole else 0


def _sum_records(records: list[ModeratorRecord]) -> ModeratorRecord:
    return ModeratorRecord(
        acts=0,
        appealed=sum(each.appealed for each in records),
        decisions=sum(each.decisions for each in records),
        epoch=0,
        lifted=sum(each.lifted for each in records),
        reversed=sum(each.reversed for each in records),
        upheld=sum(each.upheld for each in records),
    )


def _record_to_json(account: str, record: ModeratorRecord) -> Json:
    return {
        "account": account,
        "decisions": record.decisions,
        "appealed": record.appealed,
        "reversed": record.reversed,
        "upheld": record.upheld,
        "lifted": record.lifted,
        "reversal_rate": format_decimal(_rate(record.reversed, record.decisions)),
        "reversal_rate_contested": format_decimal(_rate(record.reversed, record.reversed + record.upheld)),
    }


ENDPOINTS = (
    Endpoint("GET", "/moderation/queue", "getModerationQueue", "Reported posts, one case each, most urgent first.",
             "moderation", QueueAnswer, get_queue, query=PagesQuery,
             errors=(CommunityUnknown, CursorInvalid, StaleHeight)),
    Endpoint("GET", "/moderation/log", "getModerationLog", "All that moderators did in a space, newest first.",
             "moderation", LogAnswer, get_log, query=PagesQuery,
             errors=(CommunityUnknown, CursorInvalid, StaleHeight)),
    Endpoint("GET", "/moderation/statistics", "getModerationStatistics", "Decisions and reversals of each moderator.",
             "moderation", StatisticsAnswer, get_statistics, query=PagesQuery,
             errors=(CommunityUnknown, CursorInvalid, StaleHeight)),
)  # fmt: skip
