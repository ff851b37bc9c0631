"""O3: every signed event is executed once, in its account's order, and is one that its key signed for this chain.

A block is judged once, in order of height, when the first correct replica shows it; every other one must have executed
the same list at that height.  Events that execution skipped have no effect, and are not counted.
"""

import hashlib
from collections.abc import Collection

from ledger.events import Event
from ledger.primitives.encoding import EncodingError
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import decode_record
from ledger.primitives.signing import Purpose, is_valid_signature
from ledger.receipts import SKIPPED, Receipt
from ledger.transition import Executed
from simulations.observations import BlockMade, CheckFailed, Observation

UNJUDGED_MAX = 64
"""Blocks kept until the one below them is shown: who crashes in the moment that a block is durable never shows it."""


class ExactlyOnce:
    """Remembers each executed event's id, each account's last nonce, and a digest for each height."""

    name = "exactly_once"

    def __init__(self, chain_id: bytes, correct: Collection[int]) -> None:
        self._chain_id = chain_id
        self._correct = frozenset(correct)
        self._executed: dict[bytes, int] = {}  # event id: height
        self._nonces: dict[bytes, int] = {}
        self._lists: dict[int, tuple[bytes, int]] = {}  # height: digest of what was executed, and who was first
        self._judged = 0
        self._unjudged: dict[int, Executed] = {}

    def observe(self, observation: Observation) -> None:
        if not isinstance(observation, BlockMade) or observation.replica not in self._correct:
            return
        executed, height = observation.executed, observation.executed.header.height
        digest = _compute_list_digest(executed)
        known = self._lists.get(height)
        if known is None:
            self._lists[height] = (digest, observation.replica)
            self._unjudged[height] = executed
            self._judge_ready()
        elif known[0] != digest:
            expected = f"the events of height {height} that replica {known[1]} executed"
            raise CheckFailed(self.name, expected, f"another list at replica {observation.replica}")

    def finish(self) -> None:
        """Nothing is owed at the end."""

    def _judge_ready(self) -> None:
        while (executed := self._unjudged.pop(self._judged + 1, None)) is not None:
            self._judged += 1
            self._judge(executed)
        if len(self._unjudged) > UNJUDGED_MAX:
            expected = f"some correct replica to show height {self._judged + 1}"
            raise CheckFailed(self.name, expected, f"{len(self._unjudged)} blocks above it")

    def _judge(self, executed: Executed) -> None:
        height = executed.header.height
        for stored, receipt, nonce in zip(executed.stored, executed.receipts, executed.nonces, strict=True):
            if stored is None or receipt.outcome == SKIPPED:
                continue
            event = self._decode(height, stored.event)
            event_id = tagged_hash("atlas/event", stored.event)
            named = f"event {event_id.hex()[:16]} at height {height}"
            if (receipt.event_id, receipt.author, nonce) != (event_id, event.author, event.nonce):
                raise CheckFailed(self.name, f"the receipt of {named}", _describe(receipt, nonce))
            before = self._executed.setdefault(event_id, height)
            if before != height or event.nonce <= self._nonces.get(event.author, 0):
                found = f"it at height {before} too" if before != height else f"nonce {event.nonce} used before"
                raise CheckFailed(self.name, f"{named} to be executed once", found)
            next_nonce = self._nonces.get(event.author, 0) + 1
            if event.nonce != next_nonce:
                raise CheckFailed(self.name, f"nonce {next_nonce} of {event.author.hex()[:16]}", f"{event.nonce}")
            if not is_valid_signature(event.key, self._chain_id, Purpose.EVENT, stored.event, stored.signature):
                raise CheckFailed(self.name, f"{named} to be signed by its key for this chain", "another signature")
            self._nonces[event.author] = event.nonce

    def _decode(self, height: int, data: bytes) -> Event:
        try:
            return decode_record(Event, data)
        except EncodingError as error:
            raise CheckFailed(self.name, f"an event at height {height}", str(error)) from error


def _describe(receipt: Receipt, nonce: int) -> str:
    return f"event {receipt.event_id.hex()[:16]} of {receipt.author.hex()[:16]} with nonce {nonce}"


def _compute_list_digest(executed: Executed) -> bytes:
    """A digest of the signed events, their nonces and what became of them."""
    hasher = hashlib.sha256()
    for stored, receipt, nonce in zip(executed.stored, executed.receipts, executed.nonces, strict=True):
        event = b"" if stored is None else stored.event + stored.signature
        outcome = receipt.outcome.encode()
        hasher.update(b"".join(len(part).to_bytes(4, "big") + part for part in (event, receipt.event_id, outcome)))
        hasher.update(nonce.to_bytes(8, "big"))
    return hasher.digest()
