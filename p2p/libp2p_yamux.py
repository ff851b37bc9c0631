"""yamux for libp2p, with its flow control enforced and a short way from the socket to the reader.

The library's muxer announces a receive window and then lets a peer write past it; it opens any number of streams, lets
a cancelled write leave half a noise record behind, and holds its write lock for as long as a peer does not read.  Here:
* a peer that writes beyond its credit, or breaks the format, loses its connection (and the fault is reported);
* streams, unread bytes and owed answers are bounded for each connection;
* a write that makes no progress before its deadline, or is cancelled half-way, closes the socket;
* the reader never waits for a writer: answers and window updates go into a small buffer that leaves with the next
  write.
Frames are handled without locks and many at a time, which is also what makes it fast.

The wire format: https://github.com/hashicorp/yamux/blob/master/spec.md
"""

import logging
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import trio
from libp2p.abc import IMuxedConn, IMuxedStream, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamEOF, MuxedStreamError, MuxedStreamReset
from multiaddr import Multiaddr

from p2p.errors import PeerFault
from p2p.libp2p_tcp import TcpConnection
from p2p.parameters import NetworkLimits
from p2p.token_bucket import TokenBucket

logger = logging.getLogger(__name__)

_HEADER = struct.Struct("!BBHII")  # version, type, flags, stream id, length
HEADER_BYTES = 12
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
INITIAL_WINDOW = 256 * 1024
CREDIT_MAX = 2**32 - 1
PAYLOAD_BYTES_MAX = 65_519 - HEADER_BYTES
"""What fits, with the header, into one noise record of 65,535 bytes with its 16-byte tag."""
MERGED_BYTES = 4_096
CLOSE_S = 1.0


class YamuxStream(IMuxedStream):
    """One stream of a connection."""

    def __init__(self, connection: "YamuxConnection", stream_id: int, *, outbound: bool) -> None:
        self.muxed_conn: IMuxedConn = connection
        self.connection = connection
        self.stream_id = stream_id
        self.outbound = outbound
        self._chunks: deque[bytes | bytearray] = deque()
        self._window = INITIAL_WINDOW
        self._receive_credit = INITIAL_WINDOW
        self._unannounced = 0
        self._send_credit = INITIAL_WINDOW
        self._changed = trio.Event()
        self._granted = trio.Event()
        self.receive_closed = False
        self.send_closed = False
        self.is_reset = False

    def grow_window(self, window: int) -> None:
        """Let the peer send up to `window` bytes ahead of our reading."""
        if window > self._window and not self.is_finished:
            self._receive_credit += window - self._window
            self.connection.queue_control(WINDOW_UPDATE, 0, self.stream_id, window - self._window)
            self._window = window

    async def read(self, n: int | None = None) -> bytes:
        """Return what has arrived, at most `n` bytes.  Raises MuxedStreamEOF and MuxedStreamReset."""
        if n == 0:
            return b""
        while not self._chunks:
            if self.is_reset:
                raise MuxedStreamReset(f"stream reset: {self.connection.why_closed or 'by the peer'}")
            if self.receive_closed:
                raise MuxedStreamEOF("the peer has closed the stream")
            await self._changed.wait()
        if n is None or n < 0:
            n = self.connection.limits.connection_buffer_bytes_max
        parts: list[bytes | bytearray] = []
        while self._chunks and n > 0:
            part = self._chunks.popleft()
            if len(part) > n:
                self._chunks.appendleft(part[n:])
                part = part[:n]
            parts.append(part)
            n -= len(part)
        data = b"".join(parts)
        self._release(len(data))
        return data

    def _release(self, count: int) -> None:
        """Let the peer send as much again as was read, but announce it only when it is worth a frame."""
        self.connection.buffered_bytes -= count
        self._unannounced += count
        if self._unannounced >= self._window // 2 and not self.receive_closed and not self.is_reset:
            self._receive_credit += self._unannounced
            self.connection.queue_control(WINDOW_UPDATE, 0, self.stream_id, self._unannounced)
            self._unannounced = 0

    async def write(self, data: bytes) -> None:
        """Write all of `data`.  Raises MuxedStreamError; a peer that grants nothing in time loses the connection."""
        sent, total = 0, len(data)
        try:
            while sent < total:
                self._check_writable()
                if self._send_credit <= 0:
                    await self._wait_credit()
                    continue
                count = min(self._send_credit, PAYLOAD_BYTES_MAX, total - sent)
                self._send_credit -= count
                header = _HEADER.pack(0, DATA, 0, self.stream_id, count)
                await self.connection.write(header + (data if count == total else data[sent : sent + count]))
                sent += count
        except trio.Cancelled:
            if 0 < sent < total:
                self.abandon()  # the peer must not take what follows for the rest of this
            raise

    async def _wait_credit(self) -> None:
        self._granted = trio.Event()
        with trio.move_on_after(self.connection.limits.write_deadline_s) as scope:
            await self._granted.wait()
        if scope.cancelled_caught:
            self.connection.abort("the peer did not read before the write deadline")

    def _check_writable(self) -> None:
        if self.is_reset:
            raise MuxedStreamReset(f"stream reset: {self.connection.why_closed or 'by the peer'}")
        if self.send_closed:
            raise MuxedStreamError("stream closed for sending")

    async def close(self) -> None:
        """Close our direction."""
        if not self.send_closed and not self.is_reset:
            self.send_closed = True
            self.connection.queue_control(WINDOW_UPDATE, FIN, self.stream_id, 0)
            self.connection.forget_if_finished(self)
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        """Close both directions at once."""
        self.abandon()
        await trio.lowlevel.checkpoint()

    def abandon(self) -> None:
        if not self.is_finished:
            self.connection.queue_control(WINDOW_UPDATE, RST, self.stream_id, 0)
        self.end()

    def end(self) -> None:
        """Mark the stream reset and wake everybody."""
        self.is_reset = True
        self.connection.buffered_bytes -= sum(map(len, self._chunks))
        self._chunks.clear()
        self._changed.set()
        self._granted.set()
        self.connection.forget_if_finished(self)

    @property
    def is_finished(self) -> bool:
        return self.is_reset or (self.send_closed and self.receive_closed)

    def is_closed(self) -> bool:
        return self.is_finished

    def on_data(self, payload: bytes) -> None:
        """The connection's reader delivers.  Raises PeerFault when the peer had no credit for so much."""
        if len(payload) > self._receive_credit:
            detail = f"expected at most {self._receive_credit} bytes of credit used, got {len(payload)}"
            raise PeerFault("window_overrun", 50, detail)
        self._receive_credit -= len(payload)
        if payload and not self.receive_closed and not self.is_reset:
            last = self._chunks[-1] if self._chunks else b""
            if isinstance(last, bytearray) and len(last) < MERGED_BYTES:
                last += payload
            else:
                # Small pieces are put together: a window full of single bytes would take forty times its size.
                self._chunks.append(bytearray(payload) if len(payload) < MERGED_BYTES else payload)
            self.connection.buffered_bytes += len(payload)
            self._wake()

    def on_credit(self, count: int) -> None:
        self._send_credit += count
        if self._send_credit > CREDIT_MAX:
            raise PeerFault("window_overflow", 50, f"expected a window below 2**32, got {self._send_credit}")
        if count:
            self._granted.set()

    def on_end(self) -> None:
        self.receive_closed = True
        self._wake()
        self.connection.forget_if_finished(self)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def set_deadline(self, ttl: int) -> None:
        # libp2p's interface asks for this; doing nothing would let a caller believe that it has a deadline.
        raise NotImplementedError("yamux has no deadlines; use trio's")

    def get_remote_address(self) -> tuple[str, int] | None:
        return self.connection.get_remote_address()

    async def __aenter__(self) -> "YamuxStream":
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()


class YamuxConnection(IMuxedConn):
    """One multiplexed connection.  `start` runs it until either side closes."""

    def __init__(
        self,
        conn: ISecureConn,
        peer_id: ID,
        *,
        tcp: TcpConnection,
        limits: NetworkLimits,
        on_fault: Callable[[PeerFault], None],
    ) -> None:
        self._secured = conn
        self._on_fault = on_fault
        self._streams: dict[int, YamuxStream] = {}
        self._next_id = 1 if conn.is_initiator else 2
        self._write_lock = trio.Lock()
        self._control = bytearray()
        self._control_queued = trio.Event()
        self._bucket = TokenBucket(limits.muxer_frames_per_second, limits.muxer_frames_burst, trio.current_time())
        self._frames_handled = 0
        # Room for every stream that may be open, so that the reader never waits here.
        self._accepted_in, self._accepted_out = trio.open_memory_channel[YamuxStream](limits.streams_max)
        self.tcp = tcp
        self.limits = limits
        self.peer_id = peer_id
        self.buffered_bytes = 0
        self.why_closed = ""
        self.event_started = trio.Event()
        self.event_closed = trio.Event()
        self.on_close: Callable[[], Awaitable[Any]] | None = None  # set by libp2p's SwarmConn

    async def start(self) -> None:
        """Read frames until the connection ends.  Raises nothing that a peer can cause."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._flush_forever)
                self.event_started.set()
                try:
                    await self._read_forever()
                except PeerFault as fault:
                    self._on_fault(fault)
                    self.abort(str(fault))
                except Exception as error:  # whatever the layers below raise for a lost or corrupt stream
                    self.abort(str(error) or type(error).__name__)
                nursery.cancel_scope.cancel()
        finally:
            self.abort("connection ended")
            if self.on_close is not None:
                with trio.move_on_after(CLOSE_S, shield=True):
                    await self._call_on_close(self.on_close)

    async def _call_on_close(self, on_close: Callable[[], Awaitable[Any]]) -> None:
        try:
            await on_close()
        except Exception:
            logger.exception("libp2p failed to take note of a closed connection")

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _read_forever(self) -> None:
        pending = bytearray()
        needed = HEADER_BYTES
        while not self.event_closed.is_set():
            record = await self._secured.read()  # one noise record
            self._frames_handled += 1  # a record counts like a frame: it costs about as much
            if pending:
                pending += record
                if len(pending) < needed:
                    await self._hold_to_rate()
                    continue  # copied only when whole: a frame may come in very many small records
                record = bytes(pending)
                pending.clear()
            at, needed = self._on_frames(record)
            pending += record[at:]
            await self._hold_to_rate()
            if self.buffered_bytes > self.limits.connection_buffer_bytes_max:
                raise PeerFault("buffer_overrun", 20, f"{self.buffered_bytes} bytes unread on one connection")

    async def _hold_to_rate(self) -> None:
        """Read on only as fast as a peer may keep us busy; what it sends meanwhile stays in its own buffers."""
        wait_s = self._bucket.take(self._frames_handled, trio.current_time())
        self._frames_handled = 0
        if wait_s > 0:
            await trio.sleep(wait_s)

    def _on_frames(self, data: bytes) -> tuple[int, int]:
        """Handle the whole frames in `data`.  Return where they end, and how long the next one is as far as known."""
        at, end = 0, len(data)
        while end - at >= HEADER_BYTES:
            version, kind, flags, stream_id, length = _HEADER.unpack_from(data, at)
            self._frames_handled += 1
            if version != 0 or kind > GO_AWAY:
                raise PeerFault("yamux_malformed", 20, f"expected a yamux frame, got version {version} type {kind}")
            start = at + HEADER_BYTES
            if kind != DATA:
                self._on_control(kind, flags, stream_id, length)
                at = start
                continue
            if length > max(self.limits.stream_window_bytes, INITIAL_WINDOW):
                raise PeerFault("window_overrun", 50, f"a frame of {length} bytes is larger than any window")
            if start + length > end:
                return at, HEADER_BYTES + length
            self._on_data(flags, stream_id, data[start : start + length])
            at = start + length
        return at, HEADER_BYTES

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & SYN:
            self._on_open(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None:
            return  # sent before the peer knew that we had closed the stream
        stream.on_data(payload)
        self._on_flags(stream, flags)

    def _on_control(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        if kind == WINDOW_UPDATE:
            if flags & SYN:
                self._on_open(stream_id)
            stream = self._streams.get(stream_id)
            if stream is not None:
                stream.on_credit(length)
                self._on_flags(stream, flags)
        elif kind == PING:
            if flags & SYN:
                self.queue_control(PING, ACK, 0, length)
        else:
            self.abort("the peer said good-bye")

    def _on_flags(self, stream: YamuxStream, flags: int) -> None:
        if flags & RST:
            stream.end()
        elif flags & FIN:
            stream.on_end()

    def _on_open(self, stream_id: int) -> None:
        if stream_id == 0 or stream_id % 2 == self._next_id % 2 or stream_id in self._streams:
            raise PeerFault("yamux_malformed", 20, f"expected the id of a new stream of the peer, got {stream_id}")
        inbound = sum(1 for stream in self._streams.values() if not stream.outbound)
        if inbound >= self.limits.streams_max:
            self.queue_control(WINDOW_UPDATE, RST, stream_id, 0)
            return
        stream = YamuxStream(self, stream_id, outbound=False)
        try:
            self._accepted_in.send_nowait(stream)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self.queue_control(WINDOW_UPDATE, RST, stream_id, 0)
            return
        self._streams[stream_id] = stream
        self.queue_control(WINDOW_UPDATE, ACK, stream_id, 0)

    # -- writing ---------------------------------------------------------------------------------------------------

    def queue_control(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        """Owe the peer a frame without payload; it leaves with the next write, or alone."""
        if self.event_closed.is_set():
            return
        self._control += _HEADER.pack(0, kind, flags, stream_id, value)
        if len(self._control) > self.limits.control_bytes_max:
            self.abort("the peer asks for answers and does not read them")
        self._control_queued.set()

    async def _flush_forever(self) -> None:
        while True:
            await self._control_queued.wait()
            self._control_queued = trio.Event()
            if self._control:
                try:
                    await self.write(b"")
                except MuxedStreamError:
                    return  # aborted; the reader notices

    async def write(self, frame: bytes) -> None:
        """Write a frame and what is owed.  A write cut off by its deadline or by cancellation ends the connection."""
        try:
            self._write_lock.acquire_nowait()
        except trio.WouldBlock:
            await self._write_lock.acquire()
        try:
            if self._control:
                frame = bytes(self._control) + frame
                self._control.clear()
            if not frame:
                return  # what was owed has left with another write
            if self.event_closed.is_set():
                raise MuxedStreamReset(f"connection closed: {self.why_closed}")
            with trio.move_on_after(self.limits.write_deadline_s) as scope:
                await self._secured.write(frame)
            if scope.cancelled_caught:
                self.abort("a write missed its deadline")
                raise MuxedStreamReset("connection closed: a write missed its deadline")
        except trio.Cancelled:
            self.abort("a write was cancelled half-way")  # the rest of a noise record cannot be sent later
            raise
        except MuxedStreamError:
            raise
        except Exception as error:
            self.abort(f"writing failed: {error}")
            raise MuxedStreamReset(f"connection closed: {error}") from error
        finally:
            self._write_lock.release()

    # -- streams and the end -----------------------------------------------------------------------------------------

    async def open_stream(self) -> YamuxStream:
        if self.event_closed.is_set():
            raise MuxedStreamError(f"connection closed: {self.why_closed}")
        stream = YamuxStream(self, self._next_id, outbound=True)
        self._next_id += 2
        self._streams[stream.stream_id] = stream
        self.queue_control(WINDOW_UPDATE, SYN, stream.stream_id, 0)
        await trio.lowlevel.checkpoint()
        return stream

    async def accept_stream(self) -> YamuxStream:
        try:
            return await self._accepted_out.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError) as error:
            raise MuxedConnUnavailable("connection closed") from error

    def forget_if_finished(self, stream: YamuxStream) -> None:
        if stream.is_finished:
            self._streams.pop(stream.stream_id, None)

    def abort(self, why: str) -> None:
        """End the connection now: close the socket, reset the streams, wake everybody.  Waits for nobody."""
        if self.event_closed.is_set():
            return
        self.why_closed = why
        self.event_closed.set()
        self.tcp.abort(why)
        self._accepted_in.close()
        for stream in list(self._streams.values()):
            stream.end()
        self._control_queued.set()

    async def close(self) -> None:
        """Say good-bye if nobody is writing, then end the connection."""
        if not self.event_closed.is_set() and not self._write_lock.locked():
            self.queue_control(GO_AWAY, 0, 0, 0)
            with trio.move_on_after(CLOSE_S):
                try:
                    await self.write(b"")
                except MuxedStreamError:
                    logger.debug("the connection ended before the good-bye")
        self.abort("closed")
        await trio.lowlevel.checkpoint()

    @property
    def is_initiator(self) -> bool:
        return self._secured.is_initiator

    @property
    def is_established(self) -> bool:
        return self.event_started.is_set() and not self.event_closed.is_set()

    @property
    def is_closed(self) -> bool:
        return self.event_closed.is_set()

    def get_transport_addresses(self) -> list[Multiaddr]:
        return []

    def get_connection_type(self) -> ConnectionType:
        return ConnectionType.DIRECT

    def get_remote_address(self) -> tuple[str, int] | None:
        return self.tcp.get_remote_address()
