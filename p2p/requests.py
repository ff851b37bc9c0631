"""Requests and responses on a link, many at a time, large responses in chunks that leave room for votes.

REQUEST: id (8 bytes), length of the kind (1 byte), kind, body.  CANCEL: id.
RESPONSE: id, a flag (more to come, last part, or error), a part of the answer or the error's code.
Both sides count their own ids upwards from 0.
"""

import logging
import struct
from collections.abc import Awaitable, Callable
from enum import IntEnum

import trio

from p2p.errors import PeerFault, PeerUnreachable
from p2p.outbox import Outbox
from p2p.parameters import NetworkLimits
from p2p.wire import FrameKind

logger = logging.getLogger(__name__)

Handler = Callable[[bytes, bytes], Awaitable[bytes]]
"""Answers a request: (public key of the peer, body) to the response's body."""

_ID = struct.Struct(">Q")
_ID_AND_BYTE = struct.Struct(">QB")
KIND_BYTES_MAX = 64
ERROR_BYTES_MAX = 64


class _Flag(IntEnum):
    MORE = 0
    LAST = 1
    ERROR = 2


class RequestRefused(PeerUnreachable):
    """The peer answered that it will not or cannot answer; `code` is its reason."""

    def __init__(self, code: str, kind: str) -> None:
        super().__init__(f"the peer refused {kind}: {code}")
        self.code = code


class _Pending:
    """A request that we made and the part of its answer that has come."""

    def __init__(self, kind: str, bytes_max: int) -> None:
        self.kind = kind
        self.bytes_max = bytes_max
        self.parts: list[bytes] = []
        self.size = 0
        self.error: Exception | None = None
        self.done = trio.Event()

    def finish(self, error: Exception | None) -> None:
        self.error = error
        self.done.set()


class Requests:
    """The requests of one link, in both directions."""

    def __init__(
        self,
        public_key: bytes,
        outbox: Outbox,
        limits: NetworkLimits,
        *,
        handlers: dict[str, Handler],
        serving: trio.CapacityLimiter,
        on_fault: Callable[[PeerFault], None],
    ) -> None:
        """handlers: by kind, shared by all links.  serving: slots for handlers at work, shared by all links."""
        self._public_key = public_key
        self._outbox = outbox
        self._limits = limits
        self._handlers = handlers
        self._serving = serving
        self._on_fault = on_fault
        self._slots = trio.Semaphore(limits.requests_outstanding_max)
        self._next_id = 0
        self._outstanding: dict[int, _Pending] = {}
        self._served: dict[int, trio.CancelScope] = {}
        self._ended: str | None = None

    async def request(self, kind: str, body: bytes, timeout_s: float, response_bytes_max: int) -> bytes:
        """Return the peer's answer.  Raises PeerUnreachable (gone, busy, too late) and PeerFault (it lied)."""
        if not 0 < len(kind.encode()) <= KIND_BYTES_MAX or len(body) > self._limits.request_bytes_max:
            raise ValueError(
                f"expected a kind of 1..{KIND_BYTES_MAX} and a body of at most {self._limits.request_bytes_max} bytes"
            )
        pending = _Pending(kind, response_bytes_max)
        with trio.move_on_after(timeout_s):
            async with self._slots:
                await self._ask(pending, body)
        if not pending.done.is_set():
            raise PeerUnreachable(f"expected an answer to {kind} within {timeout_s} s, got none")
        if pending.error is not None:
            raise pending.error
        return pending.parts[0] if len(pending.parts) == 1 else b"".join(pending.parts)

    async def _ask(self, pending: _Pending, body: bytes) -> None:
        request_id = self._next_id
        self._next_id += 1
        kind = pending.kind.encode()
        header = _ID_AND_BYTE.pack(request_id, len(kind))
        while self._ended is None and not self._outbox.push(FrameKind.REQUEST, header, kind, body):
            await self._outbox.wait_drained()
        if self._ended is not None:
            raise PeerUnreachable(self._ended)
        self._outstanding[request_id] = pending
        try:
            await pending.done.wait()
        finally:
            del self._outstanding[request_id]
            if not pending.done.is_set():
                self._outbox.push(FrameKind.CANCEL, _ID.pack(request_id))

    def on_response(self, body: bytes) -> None:
        """Take a part of an answer.  Raises PeerFault when it answers nothing or is larger than was asked for."""
        if len(body) < _ID_AND_BYTE.size:
            raise PeerFault("response_malformed", 20, f"expected an id and a flag, got {len(body)} bytes")
        request_id, flag = _ID_AND_BYTE.unpack_from(body)
        if request_id >= self._next_id:
            raise PeerFault("response_unasked", 20, f"expected an answer to one of {self._next_id} requests")
        pending = self._outstanding.get(request_id)
        if pending is None or pending.done.is_set():
            return  # too late: we have cancelled it
        part = body[_ID_AND_BYTE.size :]
        if flag == _Flag.ERROR:
            code = part[:ERROR_BYTES_MAX].decode("ascii", "replace")
            pending.finish(RequestRefused(code, pending.kind))
            return
        if flag not in (_Flag.MORE, _Flag.LAST) or (flag == _Flag.MORE and not part):
            fault = PeerFault("response_malformed", 20, f"expected a flag and a part, got {flag} and {len(part)} bytes")
            pending.finish(fault)
            raise fault
        pending.size += len(part)
        if pending.size > pending.bytes_max:
            detail = f"expected at most {pending.bytes_max} bytes for {pending.kind}, got {pending.size} or more"
            fault = PeerFault("response_oversize", 30, detail)
            pending.finish(fault)
            raise fault
        pending.parts.append(part)
        if flag == _Flag.LAST:
            pending.finish(None)

    def on_request(self, body: bytes, nursery: trio.Nursery) -> None:
        """Start to serve a request.  Raises PeerFault when it is malformed."""
        if len(body) < _ID_AND_BYTE.size:
            raise PeerFault("request_malformed", 20, f"expected an id and a kind, got {len(body)} bytes")
        request_id, kind_bytes = _ID_AND_BYTE.unpack_from(body)
        start = _ID_AND_BYTE.size + kind_bytes
        if kind_bytes > KIND_BYTES_MAX or len(body) < start or len(body) - start > self._limits.request_bytes_max:
            raise PeerFault("request_malformed", 20, f"a kind of {kind_bytes} bytes in a request of {len(body)}")
        if request_id in self._served:
            raise PeerFault("request_id_reused", 20, f"request {request_id} is being served")
        if len(self._served) >= self._limits.requests_served_max:
            self._answer_error(request_id, "busy")
            return
        kind = body[_ID_AND_BYTE.size : start].decode("utf-8", "replace")
        scope = self._served[request_id] = trio.CancelScope()
        nursery.start_soon(self._serve, request_id, kind, body[start:], scope)

    def on_cancel(self, body: bytes) -> None:
        """Stop serving a request that the peer no longer waits for."""
        if len(body) != _ID.size:
            raise PeerFault("request_malformed", 20, f"expected an id, got {len(body)} bytes")
        scope = self._served.get(_ID.unpack(body)[0])
        if scope is not None:
            scope.cancel()

    def end(self, why: str) -> None:
        """The link has ended: every caller is told."""
        self._ended = why
        self._outbox.wake()
        for pending in self._outstanding.values():
            if not pending.done.is_set():
                pending.finish(PeerUnreachable(why))

    async def _serve(self, request_id: int, kind: str, body: bytes, scope: trio.CancelScope) -> None:
        try:
            with scope:
                handler = self._handlers.get(kind)
                if handler is None:
                    self._answer_error(request_id, "unknown_kind")
                    return
                try:
                    async with self._serving:
                        answer = await handler(self._public_key, body)
                except PeerFault as fault:
                    self._on_fault(fault)
                    self._answer_error(request_id, fault.code)
                    return
                except Exception:
                    # Nothing of the error is told to the peer.
                    logger.exception("the handler of %s failed", kind)
                    self._answer_error(request_id, "failed")
                    return
                await self._answer(request_id, answer)
        finally:
            del self._served[request_id]

    async def _answer(self, request_id: int, answer: bytes) -> None:
        size = self._limits.response_chunk_bytes
        for at in range(0, max(len(answer), 1), size):
            flag = _Flag.LAST if at + size >= len(answer) else _Flag.MORE
            part = answer[at : at + size]
            await self._outbox.wait_room()
            while not self._outbox.push(FrameKind.RESPONSE, _ID_AND_BYTE.pack(request_id, flag), part):
                await self._outbox.wait_drained()

    def _answer_error(self, request_id: int, code: str) -> None:
        # When not even this fits in the queue, the peer's own timeout tells it.
        header = _ID_AND_BYTE.pack(request_id, _Flag.ERROR)
        self._outbox.push(FrameKind.RESPONSE, header, code.encode("ascii", "replace")[:ERROR_BYTES_MAX])
