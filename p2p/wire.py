"""Frames on a link: a length of four bytes, big-endian, then that many bytes; the first of them is the frame's kind.

A reader is fed with whatever the stream delivers and gives the frames that are complete, so one read serves many
frames, and how the bytes were cut on the way makes no difference.
"""

import struct
from collections.abc import Iterable
from enum import IntEnum

from p2p.errors import PeerFault

LENGTH_BYTES = 4
_LENGTH = struct.Struct(">I")


class FrameKind(IntEnum):
    """The first byte of a frame."""

    HELLO = 0
    CONSENSUS = 1
    SUBMISSION = 2
    ANNOUNCEMENT = 3
    REQUEST = 4
    RESPONSE = 5
    PING = 6
    PONG = 7
    CANCEL = 8


FRAME_KINDS: dict[int, FrameKind] = {kind.value: kind for kind in FrameKind}


def encode_frame(kind: FrameKind, *parts: bytes) -> bytes:
    """Return one frame with its length in front; the body is `parts` put together."""
    return b"".join((_LENGTH.pack(1 + sum(map(len, parts))), bytes((kind,)), *parts))


def encode_frames(frames: Iterable[bytes]) -> bytes:
    """Return many frames, each a kind byte and a body, as one piece to be written at once."""
    return b"".join([part for frame in frames for part in (_LENGTH.pack(len(frame)), frame)])


class FrameReader:
    """Cuts a stream of bytes into frames, and holds no more than one incomplete frame and the last piece fed."""

    __slots__ = ("_pending", "frame_bytes_max")

    def __init__(self, frame_bytes_max: int) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._pending = bytearray()

    def feed_for_one(self, data: bytes) -> bytes | None:
        """Return the first frame once it is complete; what follows it is kept for `feed`.  Raises PeerFault."""
        self._pending += data
        if len(self._pending) < LENGTH_BYTES:
            return None
        stop = LENGTH_BYTES + self._checked_length(self._pending, 0)
        if len(self._pending) < stop:
            return None
        frame = bytes(self._pending[LENGTH_BYTES:stop])
        del self._pending[:stop]
        return frame

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes, without their lengths.  Raises PeerFault: empty, oversize frames."""
        if self._pending:
            self._pending += data
            if len(self._pending) < LENGTH_BYTES:
                return []
            # Nothing is copied until the frame that began earlier is whole.
            if len(self._pending) < LENGTH_BYTES + self._checked_length(self._pending, 0):
                return []
            data = bytes(self._pending)
            self._pending.clear()
        frames: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= LENGTH_BYTES:
            start = at + LENGTH_BYTES
            stop = start + self._checked_length(data, at)
            if stop > end:
                break
            frames.append(data[start:stop])
            at = stop
        if at < end:
            self._pending += data[at:]
        return frames

    def finish(self) -> None:
        """Say that the stream has ended.  Raises PeerFault when it ended inside a frame."""
        if self._pending:
            raise PeerFault("frame_truncated", 1, f"the stream ended {len(self._pending)} bytes into a frame")

    def _checked_length(self, data: bytes | bytearray, at: int) -> int:
        length: int = _LENGTH.unpack_from(data, at)[0]
        if length == 0:
            raise PeerFault("frame_empty", 20, "expected a frame of at least its kind byte, got an empty one")
        if length > self.frame_bytes_max:
            raise PeerFault("frame_oversize", 50, f"expected at most {self.frame_bytes_max} bytes, got {length}")
        return length
