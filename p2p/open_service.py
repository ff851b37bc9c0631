"""One question on a stream, for programs that are no nodes: no HELLO, no link, no trust.

Question: length (4 bytes, big-endian), body.  Answer: length, one byte (0 answered, 1 refused), and the answer's body
or the refusal's code in ASCII.  Then both sides close the stream; the next question has a stream of its own.
docs/networking.md is the specification for strangers.

Bounds: a question is short and comes soon; a peer has few questions open and few a second; all peers together have few
answers in memory; an answer that is not taken in time is given up.
"""

import logging
import struct
from collections.abc import Callable
from enum import IntEnum

import trio

from p2p.errors import PeerFault, PeerUnreachable
from p2p.host import LinkStream
from p2p.parameters import NetworkLimits
from p2p.requests import Handler
from p2p.token_bucket import TokenBucket
from p2p.wire import LENGTH_BYTES

logger = logging.getLogger(__name__)

_LENGTH = struct.Struct(">I")
_ANSWER = struct.Struct(">IB")


class _Status(IntEnum):
    ANSWERED = 0
    REFUSED = 1


class OpenService:
    """Answers the questions of one protocol.  `serve` takes one stream."""

    def __init__(self, answer: Handler, limits: NetworkLimits, on_fault: Callable[[bytes, PeerFault], None]) -> None:
        """answer: (public key of the peer, question) to the answer's body; a PeerFault's code is told to the peer."""
        self._answer = answer
        self._limits = limits
        self._on_fault = on_fault
        self._open: dict[bytes, int] = {}
        self._buckets: dict[bytes, TokenBucket] = {}
        self._slots = trio.CapacityLimiter(limits.answers_held_max)

    async def serve(self, stream: LinkStream) -> None:
        """Answer one question.  Raises PeerFault when it is not one, PeerUnreachable when the peer is gone.

        Whoever calls it resets the stream on both.
        """
        key = stream.public_key
        if self._open.get(key, 0) >= self._limits.questions_open_max:
            await self._finish(stream, _Status.REFUSED, b"busy")
            return
        self._open[key] = self._open.get(key, 0) + 1
        try:
            now = trio.current_time()
            wait_s = self._bucket_of(key, now).take(1, now)
            if wait_s > 0:
                await trio.sleep(wait_s)
            await self._serve_counted(stream)
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    async def _serve_counted(self, stream: LinkStream) -> None:
        question = await self._read_question(stream)
        async with self._slots:
            try:
                status, body = _Status.ANSWERED, await self._answer(stream.public_key, question)
            except PeerFault as fault:
                self._on_fault(stream.public_key, fault)
                status, body = _Status.REFUSED, fault.code.encode("ascii", "replace")
            except Exception:
                # Nothing of the error is told to the peer.
                logger.exception("a question could not be answered")
                status, body = _Status.REFUSED, b"failed"
            await self._finish(stream, status, body)

    async def _read_question(self, stream: LinkStream) -> bytes:
        pending, stop = b"", LENGTH_BYTES
        with trio.move_on_after(self._limits.question_timeout_s):
            while len(pending) < stop:
                part = await stream.read()
                if not part:
                    raise PeerUnreachable(f"the stream ended {len(pending)} bytes into a question")
                pending += part
                if len(pending) >= LENGTH_BYTES:
                    stop = LENGTH_BYTES + _LENGTH.unpack_from(pending)[0]
                if max(stop, len(pending)) > LENGTH_BYTES + self._limits.question_bytes_max:
                    detail = f"expected a question of at most {self._limits.question_bytes_max} bytes, got more"
                    raise PeerFault("question_oversize", 10, detail)
            if len(pending) > stop:
                raise PeerFault("question_malformed", 5, f"expected {stop} bytes and the end, got {len(pending)}")
            return pending[LENGTH_BYTES:]
        raise PeerFault("question_late", 1, f"expected a question within {self._limits.question_timeout_s} s")

    async def _finish(self, stream: LinkStream, status: _Status, body: bytes) -> None:
        """Send an answer, and close our direction of the stream.  Raises PeerUnreachable."""
        piece = self._limits.coalesce_bytes
        data = _ANSWER.pack(1 + len(body), status) + body
        with trio.move_on_after(self._limits.answer_timeout_s):
            for at in range(0, len(data), piece):
                await stream.write(data[at : at + piece])
            await stream.finish()
            return
        raise PeerUnreachable(f"an answer was not taken within {self._limits.answer_timeout_s} s")

    def _bucket_of(self, key: bytes, now: float) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._limits.questioners_counted_max:
                self._buckets = {other: kept for other, kept in self._buckets.items() if not kept.is_full(now)}
            if len(self._buckets) >= self._limits.questioners_counted_max:
                self._buckets.pop(next(iter(self._buckets)))
            bucket = self._buckets[key] = TokenBucket(
                self._limits.questions_per_second, self._limits.questions_burst, now
            )
        return bucket
