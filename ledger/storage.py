"""What the chain needs of the store under it, whatever that is: LevelDB in a node, memory where no disk is wanted."""

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from ledger.reading import Snapshot


class StoreDamaged(RuntimeError):
    """The store on disk is not one that this software wrote: torn, edited, or of another format or chain."""


class StoreLocked(RuntimeError):
    """Another process has the store open."""


class OpenSnapshot(Snapshot, Protocol):
    """A snapshot that is closed when it is left."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


class Storage(Protocol):
    """Keys to bytes.  Reading raises StoreDamaged."""

    @property
    def path(self) -> object:
        """Names the store in messages."""
        ...

    def get(self, key: bytes) -> bytes | None: ...

    def iterate(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) with start <= key < stop, in key order, checksums verified."""
        ...

    def snapshot(self) -> OpenSnapshot:
        """Return the store as it is now."""
        ...

    def write(self, puts: list[tuple[bytes, bytes]], deletes: list[bytes], *, sync: bool = True) -> None:
        """Write all or nothing; with `sync`, durable when this returns."""
        ...

    def erase_key(self, key: bytes) -> None:
        """Delete a key, and leave no value of it in any file."""
        ...

    def close(self) -> None: ...
