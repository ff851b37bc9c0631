"""O2: at one height all correct replicas have the same state, the same receipts and the same changes, byte for byte.

The header commits to state and receipts; here the bytes themselves are compared, since they are what is stored.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from ledger.primitives import lthash
from ledger.transition import Executed
from simulations.observations import BlockMade, CheckFailed, Observation


@dataclass(frozen=True, slots=True)
class Results:
    """What execution gave at one height."""

    state_digest: bytes
    receipts: bytes
    changes: bytes


class Digests:
    """Remembers three digests for each height."""

    name = "digests"

    def __init__(self, correct: Collection[int]) -> None:
        self._correct = frozenset(correct)
        self._known: dict[int, tuple[Results, int]] = {}

    def observe(self, observation: Observation) -> None:
        if not isinstance(observation, BlockMade) or observation.replica not in self._correct:
            return
        executed, replica = observation.executed, observation.replica
        height = executed.header.height
        if lthash.digest(executed.lanes) != executed.header.state_digest:
            expected = f"the header of {height} to commit to the state's lanes"
            raise CheckFailed(self.name, expected, f"another digest at replica {replica}")
        results = compute_results(executed)
        known, first = self._known.setdefault(height, (results, replica))
        for what in ("state_digest", "receipts", "changes"):
            ours, theirs = getattr(known, what), getattr(results, what)
            if ours != theirs:
                expected = f"{what} {ours.hex()[:16]} at height {height}, as replica {first} has them"
                raise CheckFailed(self.name, expected, f"{theirs.hex()[:16]} at replica {replica}")

    def finish(self) -> None:
        """Nothing is owed at the end."""


def compute_results(executed: Executed) -> Results:
    """Return what two replicas must have alike."""
    changes = (part for key, before, after in executed.changes for part in (key, before, after))
    return Results(executed.header.state_digest, _digest(executed.receipt_bytes), _digest(changes))


def _digest(parts: Iterable[bytes | None]) -> bytes:
    return hashlib.sha256(b"".join(_framed(parts))).digest()


def _framed(parts: Iterable[bytes | None]) -> Iterator[bytes]:
    """Each part behind its length, so that no two lists give the same bytes."""
    for part in parts:
        yield b"\xff" * 8 if part is None else len(part).to_bytes(8, "big") + part
