"""The gateway: the one write path: prepare, sign, submit."""

import asyncio
import os
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from client_api.context import Context, Reading, make_integrity_error
from client_api.endpoint import Endpoint, Json, Model, NoQuery
from client_api.errors import (
    AccountUnknown,
    AuditorReadOnly,
    BodyTooLarge,
    Busy,
    EventConflict,
    EventRejected,
    EventUnknown,
    FinalityTimeout,
    IntegrityLost,
    InvalidRequest,
)
from client_api.event_bodies import body_from_json
from client_api.finality import TooManyWaiters
from client_api.services import NodeBusy, NodeReadOnly, Submitted
from client_api.shapes import (
    Anchor,
    FactShape,
    ReceiptShape,
    VerdictShape,
    account_text,
    event_text,
    fact_to_json,
    parse_account_id,
    parse_event_id,
    receipt_to_json,
    verdict_to_json,
)
from ledger import keyspace
from ledger.authoring import EXPIRY_BEATS, Reference, make_event
from ledger.events import EVENT_BYTES_MAX, Entry, EventType, SignedEvent, compute_event_id
from ledger.identity import read_account, read_nonce
from ledger.judgement import judge_event
from ledger.payloads import PAYLOAD_BYTES_MAX, SALT_BYTES, TEXT_BYTES_MAX, Payload, encode_payload
from ledger.primitives.ids import compute_account_id
from ledger.primitives.signing import Purpose, signed_digest
from ledger.receipts import SKIPPED, Receipt, decode_receipt
from ledger.verdict import Verdict

SUBMIT_EVENTS_MAX = 100
FINAL_WAIT_S = 30.0
CONFLICTS = frozenset(("event.nonce_used", "event.nonce_too_far", "event.nonce_waiting", "event.expired"))
BUSY = frozenset(("node.mempool_full",))

Hex = Annotated[str, Field(pattern="^([0-9a-f]{2})*$")]


class PrepareBody(Model):
    type: Annotated[str, Field(max_length=64, examples=["content.PostPublished"])]
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="The Ed25519 public key that will sign.")]
    body: dict[str, Any] = Field(default_factory=dict, examples=[{"tags": ["programming"]}])
    text: Annotated[str, Field(max_length=TEXT_BYTES_MAX)] | None = None
    author: str | None = None
    nonce: Annotated[int, Field(ge=1)] | None = None
    salt: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None


class Prepared(Model):
    event: str
    event_id: str
    digest: str
    payload: str | None
    author: str
    nonce: int
    expires_beat: int
    readable: str
    guards: list[VerdictShape]
    evidence: dict[str, FactShape]
    would: Literal["applied", "denied"]
    ledger: Anchor


async def prepare_event(context: Context, query: NoQuery, body: PrepareBody) -> Json:
    """Canonical bytes, readable text and the guards' preview, at the head.  Writes nothing."""
    _verify_writable(context)
    kind = context.chain.registry.latest(body.type)
    if kind is None or kind.derived:
        known = ", ".join(kind.name for kind in context.chain.registry.all() if not kind.derived)
        raise InvalidRequest(f"type: unknown event type {body.type!r}; this network has {known}")
    payload = _make_payload(kind, body)
    record = body_from_json(kind, body.body, payload)
    key = bytes.fromhex(body.key)
    with context.read() as reading:
        author = _find_author(context, reading, kind, body, key)
        nonce = body.nonce or read_nonce(reading.state, author) + 1
        reference = Reference(reading.height, reading.header_hash, reading.header.beat)
        event = make_event(kind, record, author=author, key=key, nonce=nonce, reference=reference)
        event_id = compute_event_id(event)
        entry = Entry(event_id, author, key, nonce, record, payload, reading.height + 1, reading.header.log_size,
                      reading.header.beat, reading.header.time_ms, context.chain.chain_id,
                      reading.header.epoch, reading.header.beat, reading.height)  # fmt: skip
        judged = judge_event(context.chain.registry.stack, reading.state, entry, kind)
        return {
            "event": event.hex(),
            "event_id": event_text(event_id),
            "digest": signed_digest(context.chain.chain_id, Purpose.EVENT, event).hex(),
            "payload": None if payload is None else encode_payload(payload).hex(),
            "author": account_text(author),
            "nonce": nonce,
            "expires_beat": reading.header.beat + EXPIRY_BEATS,
            "readable": _readable(kind, record, author, nonce, payload),
            "guards": [verdict_to_json(verdict) for verdict in judged.verdicts],
            "evidence": {name: fact_to_json(value) for name, value in judged.evidence.items()},
            "would": "applied" if judged.allowed else "denied",
            "ledger": reading.anchor(),
        }


def _verify_writable(context: Context) -> None:
    """Raises AuditorReadOnly on an auditor, and IntegrityLost on a node that serves reads only."""
    if not context.services.takes_events:
        raise AuditorReadOnly("events are not taken here")
    alert = context.services.alert()
    if alert is not None:
        raise make_integrity_error(alert)


def _make_payload(kind: EventType[Any], body: PrepareBody) -> Payload | None:
    if kind.content is None:
        if body.text is not None:
            raise InvalidRequest(f"text: events of type {kind.name} carry none")
        return None
    if body.text is None:
        raise InvalidRequest(f"text: events of type {kind.name} need one")
    try:
        size = len(body.text.encode())
    except UnicodeEncodeError as error:
        raise InvalidRequest("text: holds a lone surrogate, which is not valid Unicode") from error
    if size > TEXT_BYTES_MAX:
        raise InvalidRequest(f"text: expected at most {TEXT_BYTES_MAX} bytes as UTF-8, got {size}")
    # The salt is the client's secret to give or the node's to draw; it never enters a rule.
    return Payload(bytes.fromhex(body.salt) if body.salt else os.urandom(SALT_BYTES), body.text)


def _find_author(context: Context, reading: Reading, kind: EventType[Any], body: PrepareBody, key: bytes) -> bytes:
    author = parse_account_id(body.author) if body.author else compute_account_id(context.chain.chain_id, key)
    if not kind.opens_account and read_account(reading.state, author) is None:
        raise AccountUnknown(f"the account {account_text(author)} does not exist yet", account=account_text(author))
    return author


def _readable(kind: EventType[Any], record: Any, author: bytes, nonce: int, payload: Payload | None) -> str:
    inputs = ", ".join(f"{name} {value}" for name, value in kind.inputs(record).items())
    text = "" if payload is None else f" Text: {payload.text[:280]!r}."
    return f"{kind.summary} As {account_text(author)}, event number {nonce}. {inputs}.{text}"


class SignedEventBody(Model):
    event: Annotated[Hex, Field(max_length=2 * EVENT_BYTES_MAX)]
    signature: Annotated[str, Field(pattern="^[0-9a-f]{128}$")]
    payload: Annotated[Hex, Field(max_length=2 * PAYLOAD_BYTES_MAX)] | None = None


class SubmitBody(Model):
    events: Annotated[list[SignedEventBody], Field(min_length=1, max_length=SUBMIT_EVENTS_MAX)]


class SubmitQuery(Model):
    wait: Literal["final"] | None = None


class SubmitResult(Model):
    event_id: str | None
    status: Literal["accepted", "final", "refused"]
    receipt: ReceiptShape | None
    verdict: VerdictShape | None


class SubmitAnswer(Model):
    results: list[SubmitResult]
    ledger: Anchor


async def submit_events(context: Context, query: SubmitQuery, body: SubmitBody) -> Json:
    """A definite answer for each event: accepted with an id to watch, final with its receipt, or refused and why."""
    _verify_writable(context)
    events = [
        SignedEvent(
            bytes.fromhex(item.event),
            None if item.payload is None else bytes.fromhex(item.payload),
            bytes.fromhex(item.signature),
        )
        for item in body.events
    ]
    if any(not event.event for event in events):
        raise InvalidRequest("events: an event is empty")
    ids = [compute_event_id(event.event) for event in events]
    waiting = _expect(context, ids) if query.wait else {}
    try:
        try:
            submitted = await context.services.submit(events)
        except NodeBusy as error:
            raise Busy(str(error)) from error
        except NodeReadOnly:
            _verify_writable(context)
            raise
        return await _answer(context, ids, submitted, waiting)
    finally:
        for event_id, future in waiting.items():
            context.finality.forget(event_id, future)


def _expect(context: Context, ids: list[bytes]) -> "dict[bytes, asyncio.Future[Receipt | Verdict]]":
    waiting: dict[bytes, asyncio.Future[Receipt | Verdict]] = {}
    try:
        for event_id in dict.fromkeys(ids):
            waiting[event_id] = context.finality.expect(event_id)
    except TooManyWaiters as error:
        for event_id, future in waiting.items():
            context.finality.forget(event_id, future)
        raise Busy(str(error)) from error
    return waiting


async def _answer(
    context: Context,
    ids: list[bytes],
    submitted: list[Submitted],
    waiting: "dict[bytes, asyncio.Future[Receipt | Verdict]]",
) -> Json:
    answers = list(zip(ids, submitted, strict=True))
    awaited = [waiting[event_id] for event_id, answer in answers if answer.accepted and event_id in waiting]
    if awaited:
        await asyncio.wait(awaited, timeout=FINAL_WAIT_S)
    alone = len(ids) == 1
    results = [
        _accepted(event_id, waiting.get(event_id), alone=alone)
        if answer.accepted
        else _refused(context, event_id, answer, alone=alone)
        for event_id, answer in answers
    ]
    with context.read() as reading:
        return {"results": results, "ledger": reading.anchor()}


def _refused(context: Context, event_id: bytes, answer: Submitted, *, alone: bool) -> Json:
    """An event that was executed before is answered with its receipt: sending it twice is no error."""
    known = find_receipt(context, event_id)
    if known is not None and known.outcome != SKIPPED:
        return _result(event_id, "final", receipt=known)
    verdict = answer.verdict
    assert verdict is not None
    if alone:
        kind = EventConflict if verdict.code in CONFLICTS else Busy if verdict.code in BUSY else EventRejected
        raise kind(verdict.because, code=verdict.code, verdict=verdict_to_json(verdict), event_id=event_text(event_id))
    return _result(event_id, "refused", verdict=verdict)


def _accepted(event_id: bytes, future: "asyncio.Future[Receipt | Verdict] | None", *, alone: bool) -> Json:
    if future is not None and future.done():
        outcome = future.result()
        if isinstance(outcome, Verdict):
            return _result(event_id, "refused", verdict=outcome)
        return _result(event_id, "final", receipt=outcome)
    if future is not None and alone:
        raise FinalityTimeout(f"not final after {FINAL_WAIT_S:.0f} s", event_id=event_text(event_id))
    return _result(event_id, "accepted")


def _result(event_id: bytes, status: str, *, receipt: Receipt | None = None, verdict: Verdict | None = None) -> Json:
    return {
        "event_id": event_text(event_id),
        "status": status,
        "receipt": None if receipt is None else receipt_to_json(receipt),
        "verdict": None if verdict is None else verdict_to_json(verdict),
    }


def find_receipt(context: Context, event_id: bytes) -> Receipt | None:
    """Return an event's receipt, or None when it is not in the ledger."""
    with context.chain.store.snapshot() as snapshot:
        place = snapshot.get(keyspace.event_id(event_id))
        data = None if place is None else snapshot.get(keyspace.receipt(int.from_bytes(place, "big")))
        return None if data is None else decode_receipt(data)


class ReceiptQuery(Model):
    event_id: str


class ReceiptAnswer(Model):
    event_id: str
    status: Literal["pending", "final", "refused"]
    receipt: ReceiptShape | None
    verdict: VerdictShape | None
    ledger: Anchor


async def get_receipt(context: Context, query: ReceiptQuery, body: None) -> Json:
    event_id = parse_event_id(query.event_id)
    waits = context.services.is_waiting(event_id)  # asked first: an event leaves the mempool when it is in the ledger
    receipt = find_receipt(context, event_id)
    lost = context.finality.why_lost(event_id)
    if waits and (receipt is None or receipt.outcome == SKIPPED):
        status, receipt = "pending", None  # an event that was skipped may still come in its turn
    elif receipt is not None:
        status = "final"
    elif lost is not None:
        status = "refused"
    else:
        raise EventUnknown("no event of this id is in the ledger or waits here", event_id=query.event_id)
    with context.read() as reading:
        return {
            "event_id": query.event_id,
            "status": status,
            "receipt": None if receipt is None else receipt_to_json(receipt),
            "verdict": verdict_to_json(lost) if status == "refused" and lost is not None else None,
            "ledger": reading.anchor(),
        }


class OpenApi(Model):
    """The description that this is part of."""

    model_config = ConfigDict(extra="allow")

    openapi: str


async def get_openapi(context: Context, query: NoQuery, body: None) -> Json:
    return context.openapi


ENDPOINTS = (
    Endpoint("POST", "/events/prepare", "prepareEvent",
             "The canonical bytes to sign, as readable text, with what the guards would say.", "gateway",
             Prepared, prepare_event, query=NoQuery, body=PrepareBody,
             errors=(AccountUnknown, AuditorReadOnly, IntegrityLost)),
    Endpoint("POST", "/events", "submitEvents", "Submit 1 to 100 signed events; `wait=final` waits for the receipts.",
             "gateway", SubmitAnswer, submit_events, query=SubmitQuery, body=SubmitBody,
             errors=(EventRejected, EventConflict, AuditorReadOnly, Busy, IntegrityLost, FinalityTimeout, BodyTooLarge),
             status=202),
    Endpoint("GET", "/events/{event_id}/receipt", "getReceipt", "What became of an event.", "gateway",
             ReceiptAnswer, get_receipt, query=ReceiptQuery, errors=(EventUnknown,)),
    Endpoint("GET", "/openapi.json", "getOpenApi", "This API's description.", "gateway", OpenApi, get_openapi,
             query=NoQuery),
)  # fmt: skip
