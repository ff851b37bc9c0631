"""Undo records: for each height, what each changed state key held before.  They give the state as of recent heights.

The value of a key at height H is the one saved by the first block above H that changed it, or today's if none did.
"""

from collections.abc import Iterator

from ledger import keyspace
from ledger.primitives.encoding import decode, encode
from ledger.reading import Snapshot

UNDO_BLOCKS = 4_096
"""Reads can be pinned to any of this many last heights."""

_ABSENT, _PRESENT = b"\0", b"\1"


def encode_undo(height: int, changes: list[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes]]:
    """Return what to put for a block that changed these state keys from these values."""
    puts = [
        (keyspace.undo(key, height), _ABSENT if before is None else _PRESENT + before) for key, before in changes
    ]  # fmt: skip
    puts.append((keyspace.undo_keys(height), encode([key for key, _ in changes])))
    return puts


def list_changed(undo_keys: bytes) -> list[bytes]:
    """Return the state keys that a block changed; `undo_keys` is what `encode_undo` stored for its height."""
    keys = decode(undo_keys)
    assert type(keys) is list
    return [key for key in keys if type(key) is bytes]


def list_undo_keys(height: int, undo_keys: bytes) -> list[bytes]:
    """Return every key to delete when a height leaves the range; `undo_keys` is what `encode_undo` stored for it."""
    return [*(keyspace.undo(key, height) for key in list_changed(undo_keys)), keyspace.undo_keys(height)]


class StateAt:
    """The state as of one height."""

    def __init__(self, snapshot: Snapshot, height: int, head: int) -> None:
        self._snapshot = snapshot
        self._height = height
        self._is_head = height == head

    def get(self, key: bytes) -> bytes | None:
        if not self._is_head and key[:1] == keyspace.STATE:
            start, stop = keyspace.undo(key, self._height + 1), keyspace.undo(key, keyspace.HEIGHT_MAX)
            for found, saved in self._snapshot.iterate(start, stop):
                # A longer key that starts with this one may follow; every height's first byte is 0, so it comes after.
                if len(found) == len(start) and found.startswith(keyspace.UNDO + key):
                    return None if saved == _ABSENT else saved[1:]
                break
        return self._snapshot.get(key)

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of all state keys with this prefix, in key order, as of the height."""
        keys = {key for key, _ in self._snapshot.iterate(prefix, keyspace.after(prefix), values=False)}
        if not self._is_head:
            start, stop = keyspace.UNDO + prefix, keyspace.UNDO + keyspace.after(prefix)
            undone = (key[1:-8] for key, _ in self._snapshot.iterate(start, stop, values=False))
            keys.update(key for key in undone if key.startswith(prefix))
        for key in sorted(keys):
            value = self.get(key)
            if value is not None:
                yield key, value
