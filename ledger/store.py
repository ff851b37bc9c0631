"""LevelDB, behind one file: reads, snapshots, and one synced batch per height.

plyvel is thread-safe: the API's thread reads snapshots while the executor writes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import plyvel

from ledger.storage import StoreDamaged, StoreLocked

CACHE_BYTES = 32 * 1024 * 1024
WRITE_BUFFER_BYTES = 64 * 1024 * 1024
"""Two of these at most.  With 16 MiB, merging files in the background cost four times as much: 0.1 ms an event."""
BLOOM_BITS = 10

# The library has no types of its own; these are the parts of it that we use.
_open: Callable[..., Any] = plyvel.DB  # pyright: ignore
_CorruptionError: type[Exception] = plyvel.CorruptionError  # pyright: ignore
_IOError: type[Exception] = plyvel.IOError  # pyright: ignore


class Snapshot:
    """The store as it was at one moment; unaffected by later writes.  Reading raises StoreDamaged."""

    def __init__(self, snapshot: Any, path: Path) -> None:
        self._snapshot = snapshot
        self._path = path

    def get(self, key: bytes) -> bytes | None:
        try:
            found: bytes | None = self._snapshot.get(key)
        except (_CorruptionError, _IOError) as error:
            raise _damaged(self._path, error) from error
        return found

    def iterate(
        self, start: bytes, stop: bytes, *, reverse: bool = False, values: bool = True
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) with start <= key < stop, in key order or its reverse; value b"" without `values`."""
        # plyvel 1.5.1 gives nothing in reverse when `start` is the range's only key, so backwards we stop ourselves.
        lowest = None if reverse else start
        try:
            with self._snapshot.iterator(start=lowest, stop=stop, reverse=reverse, include_value=values) as found:
                for item in found:
                    key, value = item if values else (item, b"")
                    if reverse and key < start:
                        break
                    yield key, value
        except (_CorruptionError, _IOError) as error:
            raise _damaged(self._path, error) from error

    def close(self) -> None:
        self._snapshot.close()

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Store:
    """An open LevelDB.  Raises StoreDamaged and StoreLocked on opening."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _open(
                str(path),
                create_if_missing=True,
                paranoid_checks=True,
                lru_cache_size=CACHE_BYTES,
                write_buffer_size=WRITE_BUFFER_BYTES,
                bloom_filter_bits=BLOOM_BITS,
            )
        except _CorruptionError as error:
            raise _damaged(path, error) from error
        except _IOError as error:
            if "lock" in str(error).lower():
                raise StoreLocked(f"{path}: another process has this store open; stop it first") from error
            raise StoreDamaged(f"{path}: LevelDB cannot open it: {error}") from error
        self.path = path

    def get(self, key: bytes) -> bytes | None:
        try:
            found: bytes | None = self._db.get(key)
        except (_CorruptionError, _IOError) as error:
            raise _damaged(self.path, error) from error
        return found

    def snapshot(self) -> Snapshot:
        return Snapshot(self._db.snapshot(), self.path)

    def iterate(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) with start <= key < stop, checksums verified.  Raises StoreDamaged."""
        try:
            with self._db.iterator(start=start, stop=stop, verify_checksums=True) as found:
                yield from found
        except (_CorruptionError, _IOError) as error:
            raise _damaged(self.path, error) from error

    def write(self, puts: list[tuple[bytes, bytes]], deletes: list[bytes], *, sync: bool = True) -> None:
        """Write all or nothing; with `sync`, durable when this returns.  Blocks: call it from a thread."""
        with self._db.write_batch(transaction=True, sync=sync) as batch:
            for key in deletes:
                batch.delete(key)
            for key, value in puts:
                batch.put(key, value)

    def compact(self) -> None:
        """Compact everything; for measuring the size on disk."""
        self._db.compact_range()

    def close(self) -> None:
        self._db.close()


def _damaged(path: Path, error: Exception) -> StoreDamaged:
    return StoreDamaged(f"{path}: LevelDB reports corruption: {error}")
