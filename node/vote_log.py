"""The vote log: what consensus must not forget, in one append-only file.

Header: magic, format version, era (4 bytes), length of the chain id, chain id, CRC-32 of all that.  Then frames, one
for each `sync`: marker, length, CRC-32, and the records appended since the last one, each with its length.  The CRC
covers the chain id too.

A frame is written and synced before the next begins, so after a crash only the last one can be incomplete: a bad frame
at the end is cut off, as nothing in it was acted on; a bad frame with a good one behind it is damage, and refused.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

MAGIC = b"ATLASVOT"
FORMAT_VERSION = 2
MARKER = b"\xf5VOT"
RECORD_BYTES_MAX = 8 * 1024 * 1024
REWRITE_AFTER_BYTES = 8 * 1024 * 1024
"""A log that has grown longer is rewritten with what is still needed."""
_HEAD = struct.Struct(">4sII")  # marker, length of the body, CRC-32
_LENGTH = struct.Struct(">I")


class VoteLogCorrupt(RuntimeError):
    """The file is damaged where no crash can damage it, or is not this chain's; voting on could contradict it."""

    def __init__(self, path: Path, offset: int, because: str) -> None:
        super().__init__(f"{path}: at byte {offset}: {because}")
        self.path = path
        self.offset = offset


class LogFile(Protocol):
    """The file under the log: plain blocking calls that raise OSError."""

    @property
    def path(self) -> Path:
        """Names the file in messages."""
        ...

    def read(self) -> bytes | None:
        """Return all that it holds; None when there is no such file."""
        ...

    def append(self, data: bytes) -> None:
        """Write to the end; durable only after `sync`."""
        ...

    def sync(self) -> None: ...

    def truncate(self, size_bytes: int) -> None:
        """Cut off the end, durably."""
        ...

    def replace(self, data: bytes) -> None:
        """Put `data` in place of everything, atomically and durably."""
        ...

    def close(self) -> None: ...


class DiskFile:
    """A LogFile of the operating system; opened for writing when it is first written to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def read(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    def append(self, data: bytes) -> None:
        _write_all(self._open(), data)

    def sync(self) -> None:
        os.fdatasync(self._open())

    def truncate(self, size_bytes: int) -> None:
        os.ftruncate(self._open(), size_bytes)
        os.fsync(self._open())

    def replace(self, data: bytes) -> None:
        write_whole(self.path, data)
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        return self._descriptor


class VoteLog:
    """An open log.  `append` is buffered; after `sync` it is durable.  One owner; blocking calls of its file."""

    def __init__(self, file: LogFile, chain_id: bytes, era: int, size_bytes: int, records: Sequence[bytes]) -> None:
        """For `open`."""
        self.era = era
        """Whose votes it holds; those of other validator sets are of no use any more."""
        self.records = tuple(records)
        """What the file held when it was opened, in order."""
        self.size_bytes = size_bytes
        """Of the file; what is not synced yet does not count."""
        self._file = file
        self._chain_id = chain_id
        self._pending: list[bytes] = []

    @classmethod
    def open(cls, path: Path, chain_id: bytes, era: int = 0) -> Self:
        """Open the log at `path`, or make an empty one; cut off a torn tail.  Raises VoteLogCorrupt and OSError."""
        return cls.recover(DiskFile(path), chain_id, era)

    @classmethod
    def recover(cls, file: LogFile, chain_id: bytes, era: int = 0) -> Self:
        """The same on any file.  Raises VoteLogCorrupt, and what the file raises.

        A log of an earlier era is emptied: nobody counts its votes any more.  One of a later era is refused, as this
        chain can't have got there: it was put back from a copy, and voting again could contradict what was voted
        since.
        """
        data = file.read()
        found = None if data is None else _read_era(file.path, data, chain_id)
        if found is not None and found > era:
            raise VoteLogCorrupt(
                file.path, 0, f"the votes are of era {found}, but the chain beside it is in era {era}: an older copy?"
            )
        if data is None or found != era:
            data = _encode_header(chain_id, era)
            file.replace(data)
        records, end = _read_frames(file.path, data, chain_id, era)
        if end < len(data):
            file.truncate(end)
        return cls(file, chain_id, era, end, records)

    def append(self, records: Iterable[bytes]) -> None:
        """Add records to the end; they are not durable, nor in the file, before `sync`."""
        for record in records:
            assert 0 < len(record) <= RECORD_BYTES_MAX, f"a record of {len(record)} bytes"
            self._pending.append(record)

    def sync(self) -> None:
        """Write what was appended and wait until it is durable.  An OSError leaves the log unusable: stop the node."""
        if not self._pending:
            return
        frame = _encode_frame(self._chain_id, self._pending)
        self._pending = []
        self._file.append(frame)
        self._file.sync()
        self.size_bytes += len(frame)

    def rewrite(self, records: Iterable[bytes]) -> None:
        """Replace everything, also what is appended and not synced, by `records`; a crash leaves the old or the new."""
        kept = list(records)
        data = _encode_header(self._chain_id, self.era) + (_encode_frame(self._chain_id, kept) if kept else b"")
        self._file.replace(data)
        self._pending = []
        self.size_bytes = len(data)

    def close(self) -> None:
        """Sync and close; closing twice is allowed."""
        self.sync()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _encode_header(chain_id: bytes, era: int) -> bytes:
    head = MAGIC + bytes((FORMAT_VERSION,)) + _LENGTH.pack(era) + bytes((len(chain_id),)) + chain_id
    return head + _LENGTH.pack(zlib.crc32(head))


def _read_era(path: Path, data: bytes, chain_id: bytes) -> int:
    """Return whose votes a log holds.  Raises VoteLogCorrupt."""
    at = len(MAGIC) + 1
    era = int.from_bytes(data[at : at + _LENGTH.size], "big")
    if not data.startswith(_encode_header(chain_id, era)):
        raise VoteLogCorrupt(path, 0, f"expected a vote log of chain {chain_id.hex()[:16]}…, got another beginning")
    return era


def _encode_frame(chain_id: bytes, records: Sequence[bytes]) -> bytes:
    body = b"".join(part for record in records for part in (_LENGTH.pack(len(record)), record))
    return _HEAD.pack(MARKER, len(body), _compute_crc(chain_id, body)) + body


def _compute_crc(chain_id: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_LENGTH.pack(len(body)), zlib.crc32(chain_id)))


def _read_frames(path: Path, data: bytes, chain_id: bytes, era: int) -> tuple[list[bytes], int]:
    """Return the records, and where the last good frame ends.  Raises VoteLogCorrupt."""
    records: list[bytes] = []
    offset = len(_encode_header(chain_id, era))
    while (body := _read_frame(data, offset, chain_id)) is not None:
        records.extend(_split(body))
        offset += _HEAD.size + len(body)
    later = data.find(MARKER, offset + 1)
    while later >= 0:
        if _read_frame(data, later, chain_id) is not None:
            raise VoteLogCorrupt(path, offset, f"a bad frame, but a good one follows at byte {later}")
        later = data.find(MARKER, later + 1)
    return records, offset


def _read_frame(data: bytes, offset: int, chain_id: bytes) -> bytes | None:
    """Return the body of the frame at `offset`; None when there is no good one."""
    if len(data) < offset + _HEAD.size:
        return None
    marker, length, crc = _HEAD.unpack_from(data, offset)
    body = data[offset + _HEAD.size : offset + _HEAD.size + length]
    if marker != MARKER or len(body) != length or length == 0 or _compute_crc(chain_id, body) != crc:
        return None
    return body


def _split(body: bytes) -> list[bytes]:
    records: list[bytes] = []
    offset = 0
    while offset < len(body):
        (length,) = _LENGTH.unpack_from(body, offset)
        offset += _LENGTH.size
        records.append(body[offset : offset + length])
        offset += length
    assert offset == len(body), "the CRC was right, so the lengths are"
    return records


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` in place of the file, atomically and durably."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
