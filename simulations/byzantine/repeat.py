"""Second batches that order events again: what a primary gives `Equivocate` to tell everyone in place of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ledger.block import Batch, decode_batch, encode_batch
from ledger.primitives.encoding import EncodingError

HONEST_FIRST = 5
"""Proposals that are left as they are, so that there is something to repeat."""
Repeat = Literal["in_flight", "batch", "events", "twice"]


class RepeatEvents:
    """Lies in the order given, one for each proposal after the first few; then no more.

    in_flight: the events of the batch before come once more, perhaps before they are executed.  batch: an old batch as
    it was.  events: those of an old batch at this place.  twice: the first event is in the batch two times.
    """

    def __init__(self, repeats: Sequence[Repeat]) -> None:
        self._left = list(repeats)
        self._old: list[Batch] = []

    def __call__(self, data: bytes) -> bytes | None:
        try:
            batch = decode_batch(data)
        except EncodingError:
            return None  # a null request
        if not batch.items:
            return None
        self._old.append(batch)
        if len(self._old) <= HONEST_FIRST or not self._left:
            return None
        first, before = self._old[0], self._old[-2]
        repeat = self._left.pop(0)
        if repeat == "batch":
            return encode_batch(first)
        items = {
            "in_flight": (*before.items, *batch.items),
            "events": first.items,
            "twice": (batch.items[0], *batch.items),
        }[repeat]
        return encode_batch(replace(batch, items=items))
