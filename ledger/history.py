"""Which blocks' events and receipts are not here: a snapshot's are fetched later, those that were pruned are archived.

Headers are always complete.  What is to be fetched is a few ranges of heights, each filled from below; what is pruned
is all up to one height, and stays away.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from ledger import keyspace
from ledger.events import View
from ledger.primitives.records import U64, Length, encode_record
from ledger.state import read_record

GAPS_MAX = 256
"""A node with so many gaps takes no further snapshot before it has filled some."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The heights first..last, of which only the headers are here."""

    first: U64
    last: U64


@dataclass(frozen=True, slots=True)
class History:
    """All gaps, in order of height, and the height up to which everything is pruned."""

    gaps: Annotated[tuple[Gap, ...], Length(0, GAPS_MAX)] = ()
    pruned_to: U64 = 0

    @property
    def blocks(self) -> int:
        """How many blocks are still to be fetched."""
        return sum(gap.last - gap.first + 1 for gap in self.gaps)

    def misses(self, height: int) -> bool:
        return 1 <= height <= self.pruned_to or any(gap.first <= height <= gap.last for gap in self.gaps)

    def with_gap(self, first: int, last: int) -> "History":
        """Return the history that lacks first..last too, heights above all others."""
        if self.gaps and self.gaps[-1].last == first - 1:
            return replace(self, gaps=(*self.gaps[:-1], Gap(self.gaps[-1].first, last)))
        return replace(self, gaps=(*self.gaps, Gap(first, last)))

    def filled_to(self, height: int) -> "History":
        """Return the history when the lowest gap has been filled up to a height."""
        lowest, *others = self.gaps
        assert lowest.first <= height <= lowest.last, f"height {height} is not in the lowest gap"
        return replace(self, gaps=(Gap(height + 1, lowest.last), *others) if height < lowest.last else tuple(others))


COMPLETE = History()


def read_history(view: View) -> History:
    """Return what is missing in a store."""
    return read_record(view, keyspace.META_HISTORY, History) or COMPLETE


def encode_history(history: History) -> tuple[bytes, bytes]:
    """Return what to put into the store."""
    return keyspace.META_HISTORY, encode_record(history)
