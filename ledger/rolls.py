"""Rolls: numbered lists of ids in the state, such as the members of a community.

When one leaves, the last takes its place: so the order says nothing, and is the same on every node.
"""

from dataclasses import dataclass

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import View
from ledger.state import encode_number, read_number

EVERYBODY = bytes(32)
"""The owner of a roll of which there is only one."""


@dataclass(frozen=True, slots=True)
class Roll:
    """One list.  name: a letter, its kind; owner: 32 bytes."""

    name: str
    owner: bytes = EVERYBODY

    def count(self, view: View) -> int:
        """Return how many ids it has."""
        return read_number(view, keyspace.roll(self.name, "n", self.owner))

    def has(self, view: View, member: bytes) -> bool:
        """Whether an id is on it."""
        return view.get(keyspace.roll(self.name, "o", self.owner, member)) is not None

    def read(self, view: View, first: int = 0, most: int | None = None) -> list[bytes]:
        """Return the ids from a place on, by place: at most `most`, or all."""
        count = self.count(view)
        stop = count if most is None else min(count, first + most)
        return [self._at(view, place) for place in range(first, stop)]

    def add(self, draft: Draft, member: bytes) -> None:
        """Put an id at the end; it must not be on the roll."""
        assert not self.has(draft, member), "an id is on a roll once"
        place = self.count(draft)
        self._put(draft, place, member)
        draft.put(keyspace.roll(self.name, "n", self.owner), encode_number(place + 1))

    def remove(self, draft: Draft, member: bytes) -> None:
        """Take an id off; it must be on the roll."""
        assert self.has(draft, member), "only what is on a roll can leave it"
        place = read_number(draft, keyspace.roll(self.name, "o", self.owner, member))
        last = self.count(draft) - 1
        if place != last:
            self._put(draft, place, self._at(draft, last))
        draft.delete(keyspace.roll(self.name, "p", self.owner, keyspace.u64(last)))
        draft.delete(keyspace.roll(self.name, "o", self.owner, member))
        draft.put(keyspace.roll(self.name, "n", self.owner), encode_number(last))

    def _put(self, draft: Draft, place: int, member: bytes) -> None:
        draft.put(keyspace.roll(self.name, "p", self.owner, keyspace.u64(place)), member)
        draft.put(keyspace.roll(self.name, "o", self.owner, member), encode_number(place))

    def _at(self, view: View, place: int) -> bytes:
        found = view.get(keyspace.roll(self.name, "p", self.owner, keyspace.u64(place)))
        assert found is not None, "a place that was counted is kept"
        return found
