"""O6: whatever peers send, a correct replica holds no more than it allows itself."""

from collections.abc import Collection

from simulations.observations import CheckFailed, Observation, Sized


class Bounds:
    """Remembers the highest filling of each, for reports."""

    name = "bounds"

    def __init__(self, correct: Collection[int]) -> None:
        self._correct = frozenset(correct)
        self.highest: dict[str, tuple[int, int]] = {}
        """The largest size seen at a correct replica, and its bound, by name."""

    def observe(self, observation: Observation) -> None:
        if not isinstance(observation, Sized) or observation.replica not in self._correct:
            return
        for name, size, bound in observation.held:
            if size > bound:
                raise CheckFailed(self.name, f"at most {bound} {name} at replica {observation.replica}", str(size))
            if size >= self.highest.get(name, (0, 0))[0]:
                self.highest[name] = (size, bound)

    def finish(self) -> None:
        """Nothing is owed at the end."""
