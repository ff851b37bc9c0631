"""The equivocating primary: one batch for one half and another for the other half, with votes to match."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeAlias

from consensus.messages import Commit, Prepare, PrePrepare, Sign, compute_batch_digest
from ledger.block import decode_batch, encode_batch
from ledger.primitives.encoding import EncodingError
from simulations.byzantine.resign import Signer
from simulations.observations import Sent

PLACES_MAX = 256
"""Places at which it still knows what it told the second half."""
MakeOther: TypeAlias = Callable[[bytes], bytes | None]
"""Gives a second valid batch for the place of the first; None where it has none."""


class Equivocate:
    """As primary, tells `second_half` of another batch than the rest; its votes match what each was told.

    It has but one replica's key: for either batch to be committed, that half and this replica must be a quorum.
    """

    def __init__(self, me: int, sign: Sign, second_half: Collection[int], make_other: MakeOther) -> None:
        self._signer = Signer(me, sign)
        self._second_half = frozenset(second_half)
        self._make_other = make_other
        self._others: dict[bytes, bytes | None] = {}  # digest of the first batch: the second batch

    def __call__(self, sent: Sent) -> list[Sent]:
        message = sent.signed.message
        if not self._signer.is_own(sent.signed):
            return [sent]
        if isinstance(message, PrePrepare) and sent.batch is not None:
            other = self._get_other(message.digest, sent.batch)
            if other is None or sent.to not in self._second_half:
                return [sent]
            told = self._signer.put(sent, replace(message, digest=compute_batch_digest(other)))
            # Its own PREPARE would not count, but its COMMIT does, and comes before the others prepared.
            commit = Commit(compute_batch_digest(other), message.replica, message.seq, message.view)
            return [replace(told, batch=other), replace(sent, signed=self._signer.sign(commit), batch=None)]
        if isinstance(message, Prepare | Commit) and sent.to in self._second_half:
            other = self._others.get(message.digest)
            if other is not None:
                return [self._signer.put(sent, replace(message, digest=compute_batch_digest(other)))]
        return [sent]

    def _get_other(self, digest: bytes, batch: bytes) -> bytes | None:
        if digest not in self._others:
            other = self._make_other(batch)
            self._others[digest] = None if other == batch else other
            while len(self._others) > PLACES_MAX:
                del self._others[next(iter(self._others))]
        return self._others[digest]


def make_fewer(batch: bytes) -> bytes | None:
    """Return a batch of this ledger without its last event; valid wherever the first is."""
    try:
        decoded = decode_batch(batch)
    except EncodingError:
        return None  # a null request
    if len(decoded.items) < 2 and not (decoded.items and decoded.beat):
        return None
    return encode_batch(replace(decoded, items=decoded.items[:-1]))


def make_later(batch: bytes) -> bytes | None:
    """Return the same batch with a display time one millisecond later: it executes alike, but to another header."""
    try:
        decoded = decode_batch(batch)
    except EncodingError:
        return None
    return encode_batch(replace(decoded, time_ms=decoded.time_ms + 1))


def make_reordered(batch: bytes) -> bytes | None:
    """Return the batch with its events in another order; where authors have several, their nonces break."""
    try:
        decoded = decode_batch(batch)
    except EncodingError:
        return None
    return None if len(decoded.items) < 2 else encode_batch(replace(decoded, items=decoded.items[::-1]))
