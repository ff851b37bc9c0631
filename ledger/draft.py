"""A draft: writes on top of a view that are seen by later reads, and kept or dropped as one."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from ledger import keyspace
from ledger.events import Delete, Put, View, Write

Change: TypeAlias = tuple[bytes, bytes | None, bytes | None]
"""Key, value before, value after.  Keys of the index are only ever added: they have no value before."""


class Draft:
    """A view with writes on top.  Dropping it leaves the view below as it was."""

    def __init__(self, below: View) -> None:
        self._read = below.get
        self._after: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        return self._after[key] if key in self._after else self._read(key)

    def put(self, key: bytes, value: bytes) -> None:
        self._after[key] = value

    def delete(self, key: bytes) -> None:
        self._after[key] = None

    def write(self, writes: Iterable[Write]) -> None:
        """Take writes; the transition that yields them is run to its end before the first is seen."""
        for write in list(writes):
            self._after[write.key] = write.value if isinstance(write, Put) else None

    def writes(self) -> Iterator[Write]:
        """Yield what was written, in key order."""
        for key in sorted(self._after):
            value = self._after[key]
            yield Delete(key) if value is None else Put(key, value)

    def changes(self) -> list[Change]:
        """Return every key that was written, in key order."""
        after, read, index = self._after, self._read, keyspace.INDEX
        return [(key, None if key[:1] == index else read(key), after[key]) for key in sorted(after)]


class Overlay:
    """A view of the state with a block's changes on top; remembers what it read, and what changed since the digest."""

    def __init__(self, read: Callable[[bytes], bytes | None]) -> None:
        self._read = read
        self._now: dict[bytes, bytes | None] = {}  # all that was read or written
        self._before: dict[bytes, bytes | None] = {}  # of what was written
        self._undigested: dict[bytes, bytes | None] = {}  # of state that was written since the last digest

    def get(self, key: bytes) -> bytes | None:
        if key in self._now:
            return self._now[key]
        value = self._now[key] = self._read(key)
        return value

    def apply(self, changes: Iterable[Change]) -> None:
        """Take what a draft on this overlay changed."""
        now, first, undigested, state = self._now, self._before, self._undigested, keyspace.STATE
        for key, before, after in changes:
            if key not in first:
                first[key] = before
            if key[:1] == state and key not in undigested:
                undigested[key] = before
            now[key] = after

    def write(self, writes: Iterable[Write]) -> None:
        """Take the writes of a transition that reads this overlay; it is run to its end before the first is seen."""
        draft = Draft(self)
        draft.write(writes)
        self.apply(draft.changes())

    def take_undigested(self) -> list[Change]:
        """Return the changes of the state since the last call, in key order."""
        changed = [
            (key, before, self._now[key])
            for key, before in sorted(self._undigested.items())
            if before != self._now[key]
        ]
        self._undigested.clear()
        return changed

    def changes(self) -> list[Change]:
        """Return every key whose value is another than before, in key order."""
        now = self._now
        return [(key, before, now[key]) for key, before in sorted(self._before.items()) if before != now[key]]
