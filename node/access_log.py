"""The access log: every role check and privileged read on this node, in one append-only file for each epoch.

    <folder>/open-<epoch>.log      may still grow
    <folder>/sealed-<epoch>.log    closed: its root and count were given out, and are put on the ledger

A file is a row of frames: length, CRC-32 and one record as canonical msgpack.  Over an epoch's records stands an
RFC 6962 tree, so a single record can be shown to be in a sealed log without the rest.

Bounds: EPOCH_RECORDS_MAX records in an epoch (what is above is counted, not kept), EPOCHS_KEPT files (the oldest goes).
After a crash the end of an open file may be torn, and is cut off; damage anywhere else is refused.
"""

import os
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

from ledger.primitives import merkle
from ledger.primitives.records import U64, Bytes32, Length, decode_record, encode_record

EPOCH_RECORDS_MAX = 65_536
EPOCHS_KEPT = 64
RECORD_BYTES_MAX = 1_024
_HEAD = struct.Struct(">II")  # length of the record, CRC-32
_NAME = re.compile(r"(open|sealed)-([0-9]{20})\.log")


@dataclass(frozen=True, slots=True)
class Access:
    """One role check or privileged read."""

    account: Bytes32 | None  # None where nobody had signed in
    action: Annotated[str, Length(1, 64)]  # such as "write content.PostPublished", "read access-log"
    allowed: bool
    beat: U64
    code: Annotated[str, Length(1, 64)]  # of the verdict
    scope: Annotated[str, Length(1, 32)]
    subject: Annotated[str, Length(0, 128)]  # what was written or read


@dataclass(frozen=True, slots=True)
class Seal:
    """What a sealed epoch amounts to; `access.AccessLogSealed` carries it."""

    epoch: int
    root: bytes
    count: int


@dataclass(frozen=True, slots=True)
class AccessProof:
    """That a record is in the log of an epoch.  merkle.verify_inclusion checks it against the seal's root."""

    record: bytes  # canonical
    index: int
    path: tuple[bytes, ...]
    seal: Seal


class AccessLogDamaged(RuntimeError):
    """A file of the log is damaged where no crash can damage it."""

    def __init__(self, path: Path, offset: int) -> None:
        super().__init__(f"{path}: expected a whole record at byte {offset}, got something else; move the file away")
        self.path = path
        self.offset = offset


class AccessLog:
    """The log in a folder.  One owner; plain blocking file calls.  A record is in the file at once, and durable when
    its epoch is sealed or the log closed."""

    def __init__(self, folder: Path) -> None:
        """Open the log, or make an empty one.  Raises AccessLogDamaged and OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.omitted = 0
        """Records of the present epoch that were not kept, since it was full."""
        self._folder = folder
        self._epoch = -1  # of the file that grows
        self._descriptor = -1
        self._leaves: list[bytes] = []
        known = self._list()
        opened = [epoch for epoch, name in known if name == "open"]
        if opened and opened[-1] == known[-1][0]:
            self._open(opened[-1])

    def append(self, epoch: int, access: Access) -> int | None:
        """Add a record to an epoch; return its index, or None when the epoch is full.

        epoch: the present one, never below an earlier call's, and not sealed.
        """
        if epoch != self._epoch:
            known = self._list()
            assert not known or epoch > known[-1][0], f"epoch {epoch} comes after {known[-1][0]} in the access log"
            self.sync()
            self._open(epoch)
            self._drop_oldest()
        if len(self._leaves) >= EPOCH_RECORDS_MAX:
            self.omitted += 1
            return None
        data = encode_record(access)
        assert len(data) <= RECORD_BYTES_MAX, f"a record of {len(data)} bytes"
        _write_all(self._descriptor, _HEAD.pack(len(data), zlib.crc32(data)) + data)
        self._leaves.append(merkle.leaf_hash(data))
        return len(self._leaves) - 1

    def seal(self, epoch: int) -> Seal:
        """Close an epoch and return its root and count.  Again gives the same; no record can be added any more."""
        sealed = self._path("sealed", epoch)
        if not sealed.exists():
            opened = self._path("open", epoch)
            if epoch == self._epoch:
                self.close()
            elif not opened.exists():
                known = self._list()
                assert not known or epoch > known[-1][0], f"epoch {epoch} was never logged, and is past"
                opened.touch(mode=0o600)
            else:
                os.close(_open_cut(opened)[0])
            os.replace(opened, sealed)
            _sync_folder(self._folder)
            self._drop_oldest()
        leaves = [merkle.leaf_hash(record) for record in _read_whole(sealed)]
        return Seal(epoch, merkle.compute_root(leaves), len(leaves))

    def unsealed(self) -> list[int]:
        """Return the epochs whose files can still be sealed, the oldest first."""
        return [epoch for epoch, name in self._list() if name == "open"]

    def read(self, epoch: int) -> list[Access]:
        """Return the records of an epoch; none where it has no file (any more)."""
        for name in ("sealed", "open"):
            path = self._path(name, epoch)
            if path.exists():
                return [decode_record(Access, record) for record in _read_frames(path.read_bytes())[0]]
        return []

    def prove(self, epoch: int, index: int) -> AccessProof:
        """Return the proof that a record is in a sealed epoch.  Raises LookupError where there is none."""
        sealed = self._path("sealed", epoch)
        if not sealed.exists():
            raise LookupError(f"expected a sealed epoch, got {epoch}")
        records = _read_whole(sealed)
        if not 0 <= index < len(records):
            raise LookupError(f"expected an index below {len(records)}, got {index}")
        leaves = [merkle.leaf_hash(record) for record in records]
        seal = Seal(epoch, merkle.compute_root(leaves), len(leaves))
        return AccessProof(records[index], index, merkle.compute_inclusion_path(leaves, index), seal)

    def sync(self) -> None:
        """Wait until all records are durable."""
        if self._descriptor >= 0:
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Sync and close; closing twice is allowed."""
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor, self._epoch = -1, -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, epoch: int) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, records = _open_cut(self._path("open", epoch))
        self._leaves = [merkle.leaf_hash(record) for record in records]
        self._epoch, self.omitted = epoch, 0

    def _drop_oldest(self) -> None:
        for epoch, name in self._list()[:-EPOCHS_KEPT]:
            self._path(name, epoch).unlink()

    def _list(self) -> list[tuple[int, str]]:
        found = [_NAME.fullmatch(path.name) for path in self._folder.iterdir()]
        return sorted((int(match[2]), match[1]) for match in found if match is not None)

    def _path(self, name: str, epoch: int) -> Path:
        return self._folder / f"{name}-{epoch:020}.log"


def verify_access(proof: AccessProof, root: bytes, count: int) -> Access:
    """Return the record that a proof shows to be under a seal's root.  Raises ProofInvalid."""
    merkle.verify_inclusion(merkle.leaf_hash(proof.record), proof.index, count, proof.path, root)
    return decode_record(Access, proof.record)


def _open_cut(path: Path) -> tuple[int, list[bytes]]:
    """Open a file to append to it, with its records; a torn end is cut off.  Raises AccessLogDamaged."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    data = path.read_bytes()
    records, end = _read_frames(data)
    if any(_read_frame(data, later) is not None for later in range(end + 1, len(data))):
        os.close(descriptor)
        raise AccessLogDamaged(path, end)
    if end < len(data):
        os.ftruncate(descriptor, end)
    os.fsync(descriptor)
    return descriptor, records


def _read_whole(path: Path) -> list[bytes]:
    data = path.read_bytes()
    records, end = _read_frames(data)
    if end < len(data):
        raise AccessLogDamaged(path, end)
    return records


def _read_frames(data: bytes) -> tuple[list[bytes], int]:
    """Return the records from the beginning, and where the last good one ends."""
    records: list[bytes] = []
    offset = 0
    while (record := _read_frame(data, offset)) is not None:
        records.append(record)
        offset += _HEAD.size + len(record)
    return records, offset


def _read_frame(data: bytes, offset: int) -> bytes | None:
    """Return the record whose frame begins here, or None."""
    if len(data) < offset + _HEAD.size:
        return None
    length, crc = _HEAD.unpack_from(data, offset)
    if not 0 < length <= RECORD_BYTES_MAX:
        return None
    record = data[offset + _HEAD.size : offset + _HEAD.size + length]
    return record if len(record) == length and zlib.crc32(record) == crc else None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
