"""A replica's disk: a store and a vote log in memory that lose in a crash what was not synced.

Whoever runs a node learns of a crash in the middle of a write by `PowerLost`, raised from inside that write.
"""

import random
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self


class PowerLost(Exception):  # not an OSError: no part of a node may handle it
    """The node ends here and now."""


Point = Callable[[str], None]
"""Called at each place where a crash or a failure may happen, with its name; raises PowerLost or OSError."""


def never(point: str) -> None:
    """No faults."""


class MemorySnapshot:
    """The store as it was; closed when it is left."""

    def __init__(self, store: "MemoryStore", keys: list[bytes], values: dict[bytes, bytes]) -> None:
        self._store = store
        self._keys = keys
        self._values = values

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def iterate(
        self, start: bytes, stop: bytes, *, reverse: bool = False, values: bool = True
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) with start <= key < stop, in key order or its reverse; value b"" without `values`."""
        found = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, stop)]
        for key in reversed(found) if reverse else found:
            yield key, self._values[key] if values else b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._store.forget(self)


class MemoryStore:
    """Sorted keys, as `ledger.storage.Storage` asks; all writes go through one log, so a sync covers those before."""

    def __init__(self, name: str, values: dict[bytes, bytes] | None = None, point: Point = never) -> None:
        self.path = Path(name)
        self.point = point
        self._values = dict(values or {})
        self._keys = sorted(self._values)
        self._unsynced: list[list[tuple[bytes, bytes | None]]] = []  # for each write, what its keys held before
        self._snapshots: list[MemorySnapshot] = []  # that look at these very keys and values

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def iterate(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self.snapshot() as snapshot:
            yield from snapshot.iterate(start, stop)

    def snapshot(self) -> MemorySnapshot:
        snapshot = MemorySnapshot(self, self._keys, self._values)
        self._snapshots.append(snapshot)
        return snapshot

    def erase_key(self, key: bytes) -> None:
        """Delete a key; memory keeps no older values."""
        self.write([], [key])

    def forget(self, snapshot: MemorySnapshot) -> None:
        """A snapshot was closed."""
        if snapshot in self._snapshots:
            self._snapshots.remove(snapshot)

    def write(self, puts: list[tuple[bytes, bytes]], deletes: list[bytes], *, sync: bool = True) -> None:
        self.point("store write")
        before = self._apply([*((key, None) for key in deletes), *puts])
        if sync:
            self._unsynced.clear()
        else:
            self._unsynced.append(before)
        self.point("store written")

    def close(self) -> None:
        pass

    def flip_bit(self, key: bytes) -> None:
        """Damage the lowest bit of a value, as a bad disk or wrong code would, and tell nobody."""
        value = self._values[key]
        self._apply([(key, value[:-1] + bytes((value[-1] ^ 1,)))])

    def copy_contents(self) -> dict[bytes, bytes]:
        return dict(self._values)

    def crash(self, stream: random.Random) -> None:
        """Lose an end of what was not synced."""
        kept = stream.randint(0, len(self._unsynced))
        for before in reversed(self._unsynced[kept:]):
            self._apply(before)
        self._unsynced.clear()
        self._snapshots.clear()

    def _apply(self, changes: list[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes | None]]:
        """Set keys, None for absent; return what undoes it, when it is applied in turn."""
        if self._snapshots:
            self._keys, self._values = list(self._keys), dict(self._values)
            self._snapshots.clear()
        undo: list[tuple[bytes, bytes | None]] = []
        for key, value in changes:
            before = self._values.get(key)
            undo.append((key, before))
            if value is None:
                if before is not None:
                    del self._values[key]
                    del self._keys[bisect_left(self._keys, key)]
            else:
                if before is None:
                    insort(self._keys, key)
                self._values[key] = value
        undo.reverse()
        return undo


class MemoryLog:
    """A file as `node.vote_log.LogFile` asks: appended bytes are durable after `sync`, or some of them in a crash."""

    def __init__(self, name: str, point: Point = never) -> None:
        self.path = Path(name)
        self.point = point
        self.tear: int | None = None
        """How many of the bytes that are not synced the next crash leaves; None: chance says."""
        self._data: bytearray | None = None
        self._synced = 0

    @property
    def unsynced(self) -> int:
        """How many bytes a crash may take."""
        return len(self._data or b"") - self._synced

    def read(self) -> bytes | None:
        return None if self._data is None else bytes(self._data)

    def append(self, data: bytes) -> None:
        self.point("log append")
        assert self._data is not None, "a log begins with its header"
        self._data += data
        self.point("log appended")

    def sync(self) -> None:
        self._synced = len(self._data or b"")
        self.point("log synced")

    def truncate(self, size_bytes: int) -> None:
        self.point("log truncate")
        assert self._data is not None
        del self._data[size_bytes:]
        self._synced = len(self._data)

    def replace(self, data: bytes) -> None:
        self.point("log replace")
        self._data = bytearray(data)
        self._synced = len(data)
        self.point("log replaced")

    def close(self) -> None:
        pass

    def crash(self, stream: random.Random) -> None:
        """Keep what was synced, and of the rest as many bytes as chance leaves, or as `tear` says."""
        if self._data is not None:
            kept = stream.randint(self._synced, len(self._data)) if self.tear is None else self._synced + self.tear
            del self._data[kept:]
            self._synced = len(self._data)
        self.tear = None

    def flip_byte(self, at: int) -> None:
        """Damage one byte that was durable."""
        assert self._data is not None, "a log that was begun"
        self._data[at] ^= 1

    def flip_bit(self, stream: random.Random) -> None:
        """Damage one bit that was durable."""
        if self._data:
            self._data[stream.randrange(len(self._data))] ^= 1 << stream.randrange(8)


class Disk:
    """What outlives a crash of one replica."""

    def __init__(self, name: str, values: dict[bytes, bytes], point: Point = never) -> None:
        self.store = MemoryStore(f"{name}/ledger", values, point)
        self.log = MemoryLog(f"{name}/votes.log", point)

    def crash(self, stream: random.Random) -> None:
        self.store.crash(stream)
        self.log.crash(stream)
