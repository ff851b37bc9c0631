"""How the validator set changed, and that nothing stood still for it."""

from collections.abc import Collection

from simulations.checkers.expected import Expect
from simulations.observations import BlockMade, CheckFailed, Dropped, Observation, TookSeat


class ExpectedMembers:
    """Judged at the end: the sets that correct replicas took their seats in, and the time between two sets' blocks."""

    name = "expected_members"

    def __init__(self, expect: Expect, correct: Collection[int]) -> None:
        self._expect = expect
        self._correct = frozenset(correct)
        self._sets: dict[int, tuple[int, ...]] = {}
        self._set_hash: dict[int, bytes] = {}  # height: what its header says of the set of the next
        self._made_ms: dict[int, int] = {}  # height: when the first correct replica had it
        self._other_eras = 0

    def observe(self, observation: Observation) -> None:
        match observation:
            case TookSeat(_, replica, era, members) if replica in self._correct:
                known = self._sets.setdefault(era, members)
                if known != members:
                    raise CheckFailed(self.name, f"era {era} to be of {known}", f"{members} at replica {replica}")
            case BlockMade(at_ms, replica, executed, _) if replica in self._correct:
                self._made_ms.setdefault(executed.header.height, at_ms)
                self._set_hash.setdefault(executed.header.height, executed.header.validators_hash)
            case Dropped(_, _, to, why) if to in self._correct and why.startswith("era "):
                self._other_eras += 1
            case _:
                pass

    def finish(self) -> None:
        """Judge what the run came to."""
        expect = self._expect
        if expect.members is not None:
            self._verify_sets(expect.members)
        if self._other_eras < expect.other_eras_min:
            raise CheckFailed(
                self.name, f"{expect.other_eras_min} frames of other eras not taken", f"{self._other_eras}"
            )  # fmt: skip
        if expect.handover_ms_max:
            self._verify_handovers(expect.handover_ms_max)

    def _verify_sets(self, members: tuple[int, ...]) -> None:
        last = self._sets[max(self._sets)]
        if last != members:
            raise CheckFailed(self.name, f"{members} to be the set at the end", f"{last}, of era {max(self._sets)}")
        largest = max(len(each) for each in self._sets.values())
        if largest < self._expect.members_max_min:
            raise CheckFailed(self.name, f"a set of {self._expect.members_max_min} at some time", f"{largest}")

    def _verify_handovers(self, within_ms: int) -> None:
        for height in sorted(self._set_hash):
            before, after = self._set_hash.get(height - 1), self._made_ms.get(height + 1)
            if before is None or before == self._set_hash[height] or after is None:
                continue
            took_ms = after - self._made_ms[height]
            if took_ms > within_ms:
                expected = f"the first block of the set after height {height} within {within_ms} ms"
                raise CheckFailed(self.name, expected, f"{took_ms} ms")
