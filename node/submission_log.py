"""The submission log: events that this node has accepted from clients, so that a killed process forgets none of them.

Frames of length, CRC-32 and the event's bytes, appended before the client is answered.  They are written, not synced:
they outlive the process, and a machine that loses power has sent them on by then, or says so by losing them all.  At
start whatever the ledger does not have goes back into the mempool.  A torn frame and everything behind it is dropped.
"""

import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

REWRITE_AFTER_BYTES = 16 * 1024 * 1024
_HEAD = struct.Struct(">II")  # length, CRC-32


class SubmissionLog:
    """An open log.  One owner; plain file calls that do not wait for the disk."""

    def __init__(self, path: Path, event_bytes_max: int) -> None:
        """Open the log, or make an empty one.  Raises OSError.  Longer events are taken for damage."""
        self._path = path
        self.events, end = _read_frames(path.read_bytes() if path.exists() else b"", event_bytes_max)
        """What the file held when it was opened, in order."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self._descriptor, end)
        self.size_bytes = end
        self._is_torn = False

    @property
    def needs_rewrite(self) -> bool:
        """Whether most of it may be of no use any more, or what is appended could not be read."""
        return self._is_torn or self.size_bytes > REWRITE_AFTER_BYTES

    def append(self, events: Iterable[bytes]) -> None:
        """Add events to the end.  Raises OSError; then a part may be there, and the log must be rewritten."""
        data = b"".join(_encode_frame(event) for event in events)
        self.size_bytes += len(data)
        self._is_torn = True
        _write_all(self._descriptor, data)
        self._is_torn = False

    def rewrite(self, events: Iterable[bytes]) -> None:
        """Replace everything; a kill leaves the old or the new.  Raises OSError."""
        data = b"".join(_encode_frame(event) for event in events)
        temporary = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            _write_all(descriptor, data)
            os.replace(temporary, self._path)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(self._descriptor)
        self._descriptor, self.size_bytes, self._is_torn = descriptor, len(data), False

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _encode_frame(event: bytes) -> bytes:
    return _HEAD.pack(len(event), zlib.crc32(event)) + event


def _read_frames(data: bytes, event_bytes_max: int) -> tuple[list[bytes], int]:
    """Return the events of all good frames up to the first bad one, and where that begins."""
    events: list[bytes] = []
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, crc = _HEAD.unpack_from(data, offset)
        event = data[offset + _HEAD.size : offset + _HEAD.size + length]
        if not 0 < length <= event_bytes_max or len(event) != length or zlib.crc32(event) != crc:
            break
        events.append(event)
        offset += _HEAD.size + length
    return events, offset


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
