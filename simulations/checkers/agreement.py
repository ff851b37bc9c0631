"""O1: correct replicas have one chain.

One header hash for each height, each header on the one below, no height left out by a replica.  A restarted replica
goes on from a height that it had.  A quorum certifies nothing but that chain, so no correct replica has to halt.
"""

from collections.abc import Collection

from ledger.primitives.hashing import tagged_hash
from ledger.transition import Executed
from simulations.observations import BlockMade, Certified, CheckFailed, Halted, Observation, Restarted


class Agreement:
    """Remembers one hash for each height, and each replica's height."""

    name = "agreement"

    def __init__(self, correct: Collection[int], may_halt: Collection[int] = ()) -> None:
        self._correct = frozenset(correct)
        self._may_halt = frozenset(may_halt)
        self._made: dict[int, tuple[bytes, int]] = {}  # height: hash, and who had it first
        self._certified: dict[int, bytes] = {}
        self._heights = dict.fromkeys(sorted(self._correct), 0)

    def observe(self, observation: Observation) -> None:
        match observation:
            case BlockMade(_, replica, executed, _) if replica in self._correct:
                self._on_block(replica, executed)
            case Certified(_, replica, certificate) if replica in self._correct:
                self._on_certified(replica, certificate.seq, certificate.digest)
            case Restarted(_, replica, _, height) if replica in self._correct:
                self._on_restarted(replica, height)
            case Halted(_, replica, reason) if replica in self._correct - self._may_halt:
                raise CheckFailed(self.name, "no correct replica to halt", f"replica {replica}: {reason}")
            case _:
                pass

    def finish(self) -> None:
        """Nothing is owed at the end."""

    def _on_block(self, replica: int, executed: Executed) -> None:
        header, height = executed.header, executed.header.height
        if height != self._heights[replica] + 1:
            expected = f"height {self._heights[replica] + 1} next at replica {replica}"
            raise CheckFailed(self.name, expected, f"height {height}")
        if tagged_hash("atlas/header", executed.header_bytes) != executed.hash:
            raise CheckFailed(self.name, f"replica {replica} to hash its header of {height}", executed.hash.hex())
        known, first = self._made.setdefault(height, (executed.hash, replica))
        if known != executed.hash:
            expected = f"header {known.hex()[:16]} at height {height}, as replica {first} has it"
            raise CheckFailed(self.name, expected, f"{executed.hash.hex()[:16]} at replica {replica}")
        below = self._made.get(height - 1)
        if below is not None and header.previous != below[0]:
            expected = f"height {height} on header {below[0].hex()[:16]}"
            raise CheckFailed(self.name, expected, f"on {header.previous.hex()[:16]} at replica {replica}")
        self._compare(height)
        self._heights[replica] = height

    def _on_certified(self, replica: int, height: int, digest: bytes) -> None:
        known = self._certified.setdefault(height, digest)
        if known != digest:
            expected = f"one certified header at height {height}, {known.hex()[:16]}"
            raise CheckFailed(self.name, expected, f"{digest.hex()[:16]} at replica {replica}")
        self._compare(height)

    def _compare(self, height: int) -> None:
        made, certified = self._made.get(height), self._certified.get(height)
        if made is not None and certified is not None and made[0] != certified:
            expected = f"header {made[0].hex()[:16]} at height {height}, as replica {made[1]} has it"
            raise CheckFailed(self.name, expected, f"a certificate for {certified.hex()[:16]}")

    def _on_restarted(self, replica: int, height: int) -> None:
        had = self._heights[replica]
        if not 0 <= height <= had + 1:  # one block may have become durable in the moment of the crash
            raise CheckFailed(self.name, f"replica {replica} to restart at a height it had, {had}", f"{height}")
        self._heights[replica] = height
