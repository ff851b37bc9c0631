"""The outgoing queue of one peer: votes before everything else, bounded in frames and in bytes."""

from collections import deque

import trio

from p2p.parameters import NetworkLimits
from p2p.wire import LENGTH_BYTES, FrameKind, encode_frames

URGENT: frozenset[int] = frozenset({FrameKind.HELLO, FrameKind.CONSENSUS, FrameKind.PING, FrameKind.PONG})


class Outbox:
    """Frames that wait for the peer's writer.  `push` never waits; only the writer and large responses do."""

    def __init__(self, limits: NetworkLimits) -> None:
        self._limits = limits
        self._urgent: deque[bytes] = deque()
        self._bulk: deque[bytes] = deque()
        self._filled = trio.Event()
        self._drained = trio.Event()
        self.queued_bytes = 0
        self.dropped_frames = 0

    @property
    def queued_frames(self) -> int:
        return len(self._urgent) + len(self._bulk)

    def push(self, kind: FrameKind, *parts: bytes) -> bool:
        """Queue one frame.  False, and nothing queued, when the queue has no room for it."""
        return self.push_frame(b"".join((bytes((kind,)), *parts)))

    def push_frame(self, frame: bytes) -> bool:
        """Queue one frame that begins with its kind; broadcasts make it once for all peers."""
        size = LENGTH_BYTES + len(frame)
        full = self.queued_frames >= self._limits.queue_frames_max
        if full or self.queued_bytes + size > self._limits.queue_bytes_max + LENGTH_BYTES:
            self.dropped_frames += 1
            return False
        lane = self._urgent if frame[0] in URGENT else self._bulk
        lane.append(frame)
        self.queued_bytes += size
        self._filled.set()
        return True

    def take(self) -> tuple[bytes, int]:
        """Return about one write's worth of frames, urgent ones first, and their number; empty when none wait."""
        frames: list[bytes] = []
        size = 0
        for lane in (self._urgent, self._bulk):
            while lane and (not frames or size + LENGTH_BYTES + len(lane[0]) <= self._limits.coalesce_bytes):
                frame = lane.popleft()
                frames.append(frame)
                size += LENGTH_BYTES + len(frame)
        self.queued_bytes -= size
        if frames:
            self.wake()
        return encode_frames(frames), len(frames)

    async def wait_filled(self) -> None:
        """Wait until at least one frame waits."""
        while not self.queued_frames:
            self._filled = trio.Event()
            await self._filled.wait()

    async def wait_room(self) -> None:
        """Wait until another chunk of a response may be queued without delaying others by much."""
        while (
            self.queued_bytes > self._limits.response_queue_bytes_max
            or self.queued_frames >= self._limits.queue_frames_max // 2
        ):
            await self.wait_drained()

    async def wait_drained(self) -> None:
        """Wait until the writer has taken something."""
        await self._drained.wait()

    def wake(self) -> None:
        """Wake those who wait for room; they look again."""
        self._drained.set()
        self._drained = trio.Event()
