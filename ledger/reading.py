"""What code that only reads the store needs of it: the store as it was at one moment.

`ledger.store.Snapshot` is one; tests use a dict.  So proofs and reads at a height stay pure.
"""

from collections.abc import Iterator
from typing import Protocol


class Snapshot(Protocol):
    """Keys of `ledger.keyspace` to bytes, unaffected by later writes."""

    def get(self, key: bytes) -> bytes | None: ...

    def iterate(
        self, start: bytes, stop: bytes, *, reverse: bool = False, values: bool = True
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) with start <= key < stop, in key order or its reverse; value b"" without `values`."""
        ...
