"""One link to one peer: frames both ways on one stream, with a bound on everything the peer can make us keep or do.

Three tasks serve a link.  The writer drains the outbox, many frames in one write.  The reader cuts what arrives into
frames and passes them on; when the node is behind it waits, and then only this peer waits with it, because the channel
serves waiting links in turn.  The heartbeat notices a peer that has frozen or vanished without closing.
"""

import logging
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from p2p.errors import PeerFault, PeerUnreachable
from p2p.handshake import Agreed, Hello
from p2p.host import LinkStream, PeerAddress
from p2p.outbox import Outbox
from p2p.parameters import NetworkLimits
from p2p.requests import Handler, Requests
from p2p.token_bucket import TokenBucket
from p2p.wire import FRAME_KINDS, FrameKind, FrameReader

logger = logging.getLogger(__name__)

_PING = struct.Struct(">QQ")  # a number that the pong repeats, and the height of the one who sends it
FLOOD_REPORT_S = 1.0
UNSPECIFIED_HOSTS = ("", "0.0.0.0", "::")
"""A node that listens on every address does not know which one others see."""
DELIVERED = frozenset({FrameKind.CONSENSUS, FrameKind.SUBMISSION, FrameKind.ANNOUNCEMENT})
"""Kinds that the node sends and receives; the others are the link's own."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """A frame from a peer, whose key the channel has proved.  The body is whatever the peer sent."""

    public_key: bytes
    kind: FrameKind
    body: bytes


@dataclass(slots=True)
class LinkCounters:
    sent_frames: int = 0
    sent_bytes: int = 0
    received_frames: int = 0
    received_bytes: int = 0
    throttled_s: float = 0.0


def _read_listening(hello: Hello, stream: LinkStream) -> PeerAddress | None:
    """Return where a peer says that it can be dialed: unspecified hosts mean where it comes from; None for nowhere."""
    host = hello.listen_host if hello.listen_host not in UNSPECIFIED_HOSTS else stream.remote_host
    return PeerAddress(hello.public_key, host, hello.listen_port) if host and hello.listen_port else None


class Link:
    """A link after HELLO.  `run` serves it until it ends; everything else may be called at any time."""

    def __init__(
        self,
        stream: LinkStream,
        hello: Hello,
        agreed: Agreed,
        limits: NetworkLimits,
        *,
        reader: FrameReader,
        deliver: trio.MemorySendChannel[Inbound],
        handlers: dict[str, Handler],
        serving: trio.CapacityLimiter,
        own_height: Callable[[], int],
        on_fault: Callable[[bytes, PeerFault], None],
    ) -> None:
        """reader: holds what came behind HELLO."""
        self.public_key = stream.public_key
        self.dialed = stream.dialed
        self.address = stream.address
        self.remote_host = stream.remote_host
        self.listening = _read_listening(hello, stream)
        self.role = agreed.role
        self.version = agreed.version
        self.height = hello.height
        self.counters = LinkCounters()
        self.rtt_s: float | None = None
        self.since = trio.current_time()
        self.heard_at = self.since
        self.outbox = Outbox(limits)
        self._stream = stream
        self._limits = limits
        self._reader = reader
        self._deliver = deliver
        self._own_height = own_height
        self._on_fault = on_fault
        self._requests = Requests(
            self.public_key,
            self.outbox,
            limits,
            handlers=handlers,
            serving=serving,
            on_fault=lambda fault: on_fault(self.public_key, fault),
        )
        self._bucket = TokenBucket(limits.frames_per_second, limits.frames_burst, self.since)
        self._flood_reported_at = self.since - FLOOD_REPORT_S
        self._reading_since: float | None = None
        self._ping_number = 0
        self._ping_sent_at = 0.0
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self.why_ended: str | None = None

    def send_frame(self, frame: bytes) -> bool:
        """Queue a frame that begins with its kind.  False when it is dropped: the queue is full, or the link over."""
        return self.why_ended is None and self.outbox.push_frame(frame)

    async def request(self, kind: str, body: bytes, timeout_s: float, response_bytes_max: int) -> bytes:
        """Return the peer's answer.  Raises PeerUnreachable and PeerFault."""
        return await self._requests.request(kind, body, timeout_s, response_bytes_max)

    def close(self, why: str) -> None:
        """End the link and its connection now."""
        if self.why_ended is None:
            self.why_ended = why
            self._stream.abort(why)
            self._requests.end(f"the link ended: {why}")
            self._scope.cancel()

    async def run(self) -> None:
        """Serve the link until it ends.  Raises nothing that the peer can cause; the reason is in `why_ended`."""
        self._stream.mark_as_link(self._limits.stream_window_bytes)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    for part in (self._read_forever, self._write_forever, self._beat_forever):
                        nursery.start_soon(self._guard, part)
        finally:
            self.close("our node stops")

    async def _guard(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run one of the three tasks; when the peer ends it, the link ends."""
        try:
            await part()
        except PeerFault as fault:
            self._on_fault(self.public_key, fault)
            self.close(str(fault))
        except PeerUnreachable as error:
            self.close(str(error))

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _read_forever(self) -> None:
        for frame in self._reader.feed(b""):
            await self._on_frame(frame)
        while True:
            self._reading_since = trio.current_time()
            data = await self._stream.read()
            now = self.heard_at = trio.current_time()
            self._reading_since = None
            if not data:
                self._reader.finish()
                raise PeerUnreachable("the peer closed the link")
            frames = self._reader.feed(data)
            self.counters.received_bytes += len(data)
            self.counters.received_frames += len(frames)
            wait_s = self._bucket.take(len(frames), now)
            if wait_s > 0:
                await self._throttle(wait_s, now)
            for frame in frames:
                await self._on_frame(frame)

    async def _throttle(self, wait_s: float, now: float) -> None:
        if now - self._flood_reported_at >= FLOOD_REPORT_S:
            self._flood_reported_at = now
            detail = f"expected at most {self._limits.frames_per_second} frames a second, got more"
            self._on_fault(self.public_key, PeerFault("frame_flood", 5, detail))
        self.counters.throttled_s += wait_s
        await trio.sleep(wait_s)

    async def _on_frame(self, frame: bytes) -> None:
        kind = FRAME_KINDS.get(frame[0])
        if kind in DELIVERED:
            assert kind is not None
            await self._pass_on(Inbound(self.public_key, kind, frame[1:]))
        elif kind is FrameKind.RESPONSE:
            self._requests.on_response(frame[1:])
        elif kind is FrameKind.REQUEST:
            assert self._nursery is not None, "frames are read while the link runs"
            self._requests.on_request(frame[1:], self._nursery)
        elif kind is FrameKind.CANCEL:
            self._requests.on_cancel(frame[1:])
        elif kind is FrameKind.PING:
            self._on_ping(frame)
        elif kind is FrameKind.PONG:
            self._on_pong(frame)
        else:
            raise PeerFault("frame_unknown", 20, f"expected a frame of a known kind, got {frame[0]}")

    async def _pass_on(self, inbound: Inbound) -> None:
        try:
            try:
                self._deliver.send_nowait(inbound)
            except trio.WouldBlock:
                await self._deliver.send(inbound)  # waits its turn behind the other peers' links
        except trio.BrokenResourceError:
            raise PeerUnreachable("our node takes no more frames") from None

    def _on_ping(self, frame: bytes) -> None:
        number, self.height = self._numbers(frame)
        self.outbox.push(FrameKind.PONG, _PING.pack(number, self._own_height()))

    def _on_pong(self, frame: bytes) -> None:
        number, self.height = self._numbers(frame)
        if number == self._ping_number and self._ping_sent_at:
            self.rtt_s = trio.current_time() - self._ping_sent_at
            self._ping_sent_at = 0.0

    def _numbers(self, frame: bytes) -> tuple[int, int]:
        if len(frame) != 1 + _PING.size:
            raise PeerFault("ping_malformed", 20, f"expected {_PING.size} bytes, got {len(frame) - 1}")
        number, height = _PING.unpack_from(frame, 1)
        return number, height

    # -- writing ---------------------------------------------------------------------------------------------------

    async def _write_forever(self) -> None:
        """Drain the outbox.  A frame larger than a write goes in pieces: the deadline asks for progress only."""
        piece = self._limits.coalesce_bytes
        while True:
            await self.outbox.wait_filled()
            data, frames = self.outbox.take()
            if len(data) <= piece:
                await self._stream.write(data)
            else:
                for at in range(0, len(data), piece):
                    await self._stream.write(data[at : at + piece])
            self.counters.sent_bytes += len(data)
            self.counters.sent_frames += frames

    # -- liveness --------------------------------------------------------------------------------------------------

    async def _beat_forever(self) -> None:
        interval_s = self._limits.heartbeat_interval_s
        while True:
            self._ping_number += 1
            self._ping_sent_at = before = trio.current_time()
            self.outbox.push(FrameKind.PING, _PING.pack(self._ping_number, self._own_height()))
            await trio.sleep(interval_s)
            now = trio.current_time()
            # Time in which we did not read is not the peer's silence: we were throttling it, or the node was behind, or
            # this whole process stood still and what came meanwhile is still to be read.
            stood_still = now - before > 2 * interval_s
            if self._reading_since is None or stood_still:
                continue
            silent_s = now - self._reading_since
            if silent_s > self._limits.heartbeat_deadline_s:
                raise PeerUnreachable(f"nothing heard for {silent_s:.1f} s")
