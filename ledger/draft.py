"""A draft: writes on top of a view that are seen by later reads, and kept or dropped as one."""

from collections.abc import Iterable, Iterator

from ledger.events import Delete, Put, View, Write


class Draft:
    """A view with writes on top.  Dropping it leaves the view below as it was."""

    def __init__(self, below: View) -> None:
        self._below = below
        self._after: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        if key in self._after:
            return self._after[key]
        return self._below.get(key)

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

    def changes(self) -> list[tuple[bytes, bytes | None, bytes | None]]:
        """Return (key, value below, value now) of every key that was written, in key order."""
        return [(key, self._below.get(key), self._after[key]) for key in sorted(self._after)]
