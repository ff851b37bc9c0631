"""The ledger explorer: head, blocks, events with filters, one event, proofs."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import Field

from client_api.context import Context, Reading
from client_api.endpoint import Endpoint, Json, Model, NoQuery, Reply
from client_api.errors import BlockUnknown, CursorInvalid, EventUnknown, HistoryMissing, ProofNotReady, StaleHeight
from client_api.listing import Page, open_listing, read_page
from client_api.paging import LIMIT_DEFAULT, LIMIT_MAX, hash_filter
from client_api.shapes import (
    Anchor,
    ReceiptShape,
    account_text,
    event_text,
    parse_account_id,
    parse_event_id,
    receipt_to_json,
)
from ledger import keyspace
from ledger.archive.collection import Archive, ArchivedEvent, HotAndCold
from ledger.block import Header, StoredEvent, compute_header_hash, decode_header
from ledger.events import Event, View
from ledger.primitives.canonical_json import record_to_json_value
from ledger.primitives.encoding import EncodingError
from ledger.primitives.ids import IdKind, encode_id
from ledger.primitives.records import decode_record
from ledger.proofs import ProofUnavailable, make_event_proof
from ledger.receipts import Receipt, decode_receipt

Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX)]
Height = Annotated[int, Field(ge=0, le=2**63 - 1)]


class HeaderShape(Model):
    beat: int
    chain_id: str
    epoch: int
    event_count: int
    event_root: str
    height: int
    log_root: str
    log_size: int
    previous: str
    proposer: int | None
    receipt_root: str
    rules_root: str
    state_digest: str
    state_height: int
    state_root: str
    time_ms: int
    validators_hash: str
    version: int
    view: int


class HeadAnswer(Model):
    block: str
    header: HeaderShape
    certified_height: int
    ledger: Anchor


def header_to_json(header: Header) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name in HeaderShape.model_fields:
        value = getattr(header, name)
        members[name] = value.hex() if type(value) is bytes else value
    return members


async def get_head(context: Context, query: NoQuery, body: None) -> Json:
    with context.read() as reading:
        return {
            "block": encode_id(IdKind.BLOCK, reading.header_hash),
            "header": header_to_json(reading.header),
            "certified_height": context.services.status().certified_height,
            "ledger": reading.anchor(),
        }


class BlockQuery(Model):
    height: Height


class BlockAnswer(Model):
    block: str
    header: HeaderShape
    header_bytes: str
    certificate: str | None
    events: list[str]
    ledger: Anchor


async def get_block(context: Context, query: BlockQuery, body: None) -> Json:
    with context.read() as reading:
        data = reading.snapshot.get(keyspace.header(query.height))
        if data is None:
            raise BlockUnknown(f"height {query.height}: the head is {reading.height}", head=reading.height)
        header = decode_header(data)
        certificate = reading.snapshot.get(keyspace.certificate(query.height))
        first = header.log_size - header.event_count
        stop = header.log_size
        found = [receipt for _, receipt in reading.snapshot.iterate(keyspace.receipt(first), keyspace.receipt(stop))]
        history = reading.history
        if 1 <= query.height <= history.pruned_to:
            archive = await _open_archive(
                context, f"height {query.height}", lambda archive: query.height <= archive.height
            )
            block = await asyncio.to_thread(archive.read_block, query.height)
            found = [] if block is None else list(block.receipts)
        elif history.misses(query.height):
            raise HistoryMissing(f"height {query.height}: only the header is here yet", height=query.height)
        return {
            "block": encode_id(IdKind.BLOCK, compute_header_hash(data)),
            "header": header_to_json(header),
            "header_bytes": data.hex(),
            "certificate": None if certificate is None else certificate.hex(),
            "events": [event_text(decode_receipt(receipt).event_id) for receipt in found],
            "ledger": reading.anchor(),
        }


class EventsQuery(Model):
    type: Annotated[str, Field(max_length=64)] | None = None
    module: Annotated[str, Field(max_length=64)] | None = None
    author: str | None = None
    outcome: Literal["applied", "denied", "skipped"] | None = None
    from_height: Height | None = None
    to_height: Height | None = None
    limit: Limit = LIMIT_DEFAULT
    cursor: Annotated[str, Field(max_length=512)] | None = None
    at: Height | None = None


class EventsAnswer(Model):
    items: list[ReceiptShape]
    next: str | None
    prev: str | None
    ledger: Anchor


async def list_events(context: Context, query: EventsQuery, body: None) -> Json:
    """Newest first; filters are joined by `and`."""
    filter_hash = hash_filter(
        "events", query.type, query.module, query.author, query.outcome, query.from_height, query.to_height
    )
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        receipts, page = list_receipts(reading, query, filter_hash, before, after)
        return {
            "items": [receipt_to_json(receipt) for receipt in receipts],
            "next": page.next,
            "prev": page.prev,
            "ledger": reading.anchor(),
        }


def list_receipts(
    reading: Reading, query: EventsQuery, filter_hash: bytes, before: int | None, after: int | None
) -> tuple[list[Receipt], Page]:
    """Return the receipts of one page, newest first, and the page."""
    author = None if query.author is None else parse_account_id(query.author)
    if query.type is not None:
        prefix = keyspace.BY_TYPE + query.type.encode() + b"/"
    elif author is not None:
        prefix = keyspace.BY_AUTHOR + author
    else:
        prefix = keyspace.RECEIPT
    receipts: dict[int, Receipt] = {}

    def keep(index: int, value: bytes) -> bool:
        data = value or reading.snapshot.get(keyspace.receipt(index))
        assert data is not None, f"receipt {index} is missing"
        receipt = receipts[index] = decode_receipt(data)
        kept = (
            (query.type is None or receipt.event_type == query.type)
            and (query.module is None or query.module in receipt.modules)
            and (author is None or receipt.author == author)
            and (query.outcome is None or receipt.outcome == query.outcome)
            and (query.from_height is None or receipt.height >= query.from_height)
            and (query.to_height is None or receipt.height <= query.to_height)
        )
        if not kept:
            del receipts[index]
        return kept

    page = read_page(reading, prefix, filter_hash, query.limit, before, after, keep)
    return [receipts[index] for index, _ in page.entries], page


class EventQuery(Model):
    event_id: str


class SignedShape(Model):
    event: str
    signature: str
    fields: dict[str, Any] | None = Field(description="null when execution skipped the event as malformed")
    body: dict[str, Any] | None


class EventAnswer(Model):
    receipt: ReceiptShape
    signed: SignedShape | None
    payload: str | None
    payload_erased: bool
    ledger: Anchor


async def get_event(context: Context, query: EventQuery, body: None) -> Json:
    event_id = parse_event_id(query.event_id)
    with context.read() as reading:
        found = await _find_event(context, reading, event_id)
        receipt, stored, payload = found.receipt, found.stored, found.payload
        content = None if stored is None else stored.content
        return {
            "receipt": receipt_to_json(receipt),
            "signed": None if stored is None else _signed_to_json(context, stored),
            "payload": None if payload is None else payload.hex(),
            "payload_erased": content is not None and payload is None and receipt.outcome == "applied",
            "ledger": reading.anchor(),
        }


async def _find_event(context: Context, reading: Reading, event_id: bytes) -> ArchivedEvent:
    """Return an event, from the archive where it is pruned here.  Raises EventUnknown and HistoryMissing."""
    place = reading.snapshot.get(keyspace.event_id(event_id))
    if place is None:
        missing = reading.history.blocks
        but = f"; {missing} older blocks are still being fetched here, and it may be in one of them" if missing else ""
        raise EventUnknown(f"no event of this id is in the ledger{but}", event_id=event_text(event_id))
    index = int.from_bytes(place, "big")
    receipt = reading.snapshot.get(keyspace.receipt(index))
    if receipt is None:
        archive = await _open_archive(context, f"event {event_text(event_id)}", lambda found: index < found.log_size)
        return await asyncio.to_thread(archive.read_event, index)
    data = reading.snapshot.get(keyspace.event(index))
    stored = None if data is None else decode_record(StoredEvent, data)
    content = None if stored is None else stored.content
    payload = None if content is None else reading.snapshot.get(keyspace.payload(content))
    return ArchivedEvent(decode_receipt(receipt), stored, payload)


async def _open_archive(context: Context, what: str, reaches: Callable[[Archive], bool]) -> Archive:
    """Return this node's archive.  Raises HistoryMissing where it has none that holds what is asked for."""
    archive = await asyncio.to_thread(context.services.open_archive)
    if archive is None or not reaches(archive):
        raise HistoryMissing(f"{what} is pruned here, and in no archive that this node can read")
    return archive


def _signed_to_json(context: Context, stored: StoredEvent) -> Json:
    fields: Any = None
    body: Any = None
    with suppress(EncodingError):  # an event that execution skipped may be malformed
        event = decode_record(Event, stored.event)
        fields = record_to_json_value(event)
        fields["author"] = account_text(event.author)
        kind = context.chain.registry.find(event.type, event.version)
        body = None if kind is None else record_to_json_value(decode_record(kind.body, event.body))
    return {"event": stored.event.hex(), "signature": stored.signature.hex(), "fields": fields, "body": body}


class HandoverDocument(Model):
    certificate: str
    header: str
    validators: list[str]


class ProofDocument(Model):
    certificate: str
    event: str
    handovers: list[HandoverDocument]
    header: str
    path: list[str]
    receipt: str
    signature: str
    version: int


async def get_proof(context: Context, query: EventQuery, body: None) -> Reply:
    """The proof file, byte for byte as `atlas verify` takes it."""
    event_id = parse_event_id(query.event_id)
    with context.read() as reading:
        ledger: View = reading.snapshot
        if reading.history.pruned_to:
            archive = await asyncio.to_thread(context.services.open_archive)
            ledger = ledger if archive is None else HotAndCold(ledger, archive)
        try:
            proof = await asyncio.to_thread(make_event_proof, ledger, reading.height, event_id)
        except ProofUnavailable as error:
            if reading.snapshot.get(keyspace.event_id(event_id)) is None:
                raise EventUnknown(str(error), event_id=query.event_id) from error
            raise ProofNotReady(str(error), event_id=query.event_id) from error
    return Reply(200, proof, "application/json")


ENDPOINTS = (
    Endpoint("GET", "/ledger/head", "getHead", "The newest block.", "ledger", HeadAnswer, get_head, query=NoQuery),
    Endpoint("GET", "/ledger/blocks/{height}", "getBlock", "A block's header, certificate and event ids.", "ledger",
             BlockAnswer, get_block, query=BlockQuery, errors=(BlockUnknown, HistoryMissing)),
    Endpoint("GET", "/ledger/events", "listEvents", "Receipts, newest first, with filters and stable cursors.",
             "ledger", EventsAnswer, list_events, query=EventsQuery, errors=(CursorInvalid, StaleHeight)),
    Endpoint("GET", "/ledger/events/{event_id}", "getEvent",
             "One event: what was signed, inputs, guard verdicts, outcome, explanation.", "ledger",
             EventAnswer, get_event, query=EventQuery, errors=(EventUnknown, HistoryMissing)),
    Endpoint("GET", "/ledger/events/{event_id}/proof", "getProof", "A proof that anyone can check offline.", "ledger",
             ProofDocument, get_proof, query=EventQuery, errors=(EventUnknown, ProofNotReady)),
)  # fmt: skip
