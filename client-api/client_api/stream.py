"""Server-sent events: one message for each receipt, its id the receipt's log index, resumed by Last-Event-ID.

The bodies are hints; the ledger is the truth.  Consumers read from the ledger at their own pace; one that is too far
behind is told so and closed, one that takes nothing at all is cut off.  Both resume with Last-Event-ID.
"""

import asyncio
from collections.abc import AsyncGenerator

import orjson

from client_api.context import Context
from client_api.errors import Busy, InvalidRequest
from client_api.shapes import receipt_to_json
from ledger import keyspace
from ledger.receipts import decode_receipt
from ledger.transition import Executed

CONSUMERS_MAX = 256
BACKLOG_MAX = 100_000
"""Receipts that one connection may replay from the ledger after Last-Event-ID."""
HEARTBEAT_S = 15.0
READ_AT_ONCE = 256
WRITE_S_MAX = 30.0
"""A consumer that takes nothing for so long is cut off."""
TOO_SLOW = b'event: error\ndata: {"error":"ConsumerTooSlow"}\n\n'


class Streams:
    """Wakes every consumer at each block; they read what is new from the ledger at their own pace."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._consumers: set[asyncio.Event] = set()
        self._closed = False
        context.finality.listen(self._on_block)

    def close(self) -> None:
        """End every stream: the API stops."""
        self._closed = True
        for event in self._consumers:
            event.set()

    def _on_block(self, executed: Executed) -> None:
        for event in self._consumers:
            event.set()

    def first_index(self, last_event_id: str | None) -> int:
        """Return the log index from which to stream.  Raises InvalidRequest: FutureCursor, or too far behind."""
        with self._context.read() as reading:
            size = reading.header.log_size
        if last_event_id is None:
            return size
        if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 19:
            raise InvalidRequest(f"Last-Event-ID: expected a log index, got {last_event_id[:40]!r}", error="BadCursor")
        first = int(last_event_id) + 1
        if first > size:
            raise InvalidRequest(f"Last-Event-ID: {last_event_id} is above the log's size {size}", error="FutureCursor")
        if size - first > BACKLOG_MAX:
            raise InvalidRequest(
                f"Last-Event-ID: more than {BACKLOG_MAX} receipts behind; read /api/v1/ledger/events first",
                error="ConsumerTooSlow",
            )
        with self._context.read() as reading:
            if first < size and reading.snapshot.get(keyspace.receipt(first)) is None:
                raise InvalidRequest(
                    f"Last-Event-ID: what follows {last_event_id} is not here; begin at the head, or ask another node",
                    error="HistoryMissing",
                )
        return first

    def verify_room(self) -> None:
        """Raise Busy when as many consumers are connected as may be."""
        if len(self._consumers) >= CONSUMERS_MAX:
            raise Busy(f"{CONSUMERS_MAX} consumers are connected already")

    async def follow(self, first: int, types: frozenset[str]) -> AsyncGenerator[bytes]:
        """Yield messages from log index `first` on, until the API stops; comments when nothing happens."""
        news = asyncio.Event()
        self._consumers.add(news)
        try:
            while not self._closed:
                news.clear()
                messages, count, behind = self._read(first, types)
                first += count
                if messages:
                    yield messages
                if behind > BACKLOG_MAX:
                    yield TOO_SLOW
                    return
                if count == READ_AT_ONCE:
                    continue
                try:
                    await asyncio.wait_for(news.wait(), HEARTBEAT_S)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._consumers.discard(news)

    def _read(self, first: int, types: frozenset[str]) -> tuple[bytes, int, int]:
        """Return the messages of up to READ_AT_ONCE receipts, how many were read, and how many there were."""
        messages: list[bytes] = []
        count = 0
        with self._context.read() as reading:
            behind = reading.header.log_size - first
            stop = first + min(READ_AT_ONCE, behind)
            for key, data in reading.snapshot.iterate(keyspace.receipt(first), keyspace.receipt(stop)):
                if int.from_bytes(key[-8:], "big") != first + count:
                    break  # what comes before is still being fetched
                count += 1
                receipt = decode_receipt(data)
                if types and receipt.event_type not in types:
                    continue
                index = int.from_bytes(key[-8:], "big")
                document = orjson.dumps(receipt_to_json(receipt))
                messages.append(b"id: %d\nevent: %s\ndata: %s\n\n" % (index, receipt.event_type.encode(), document))
        return b"".join(messages), count, behind
