"""Virtual time, and the named streams of random numbers that one seed gives."""

import heapq
import random
from collections import deque
from collections.abc import Callable

from simulations.observations import CheckFailed

Action = Callable[[], None]
STEPS_PER_MS_MAX = 100_000
"""More, and something goes round in circles without waiting."""


class Schedule:
    """What is still to happen, in order of time, and in the order of asking where times are equal."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now_ms = 0
        self.steps = 0
        self._queue: list[tuple[int, int, Action]] = []
        self._count = 0
        self._steps_at = 0

    def stream(self, name: str) -> random.Random:
        """Return a stream of its own: what one part of the world draws does not change what another part draws."""
        return random.Random(f"{self.seed}/{name}")

    def after(self, delay_ms: int, action: Action) -> None:
        assert delay_ms >= 0, "nothing happens in the past"
        self._count += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._count, action))

    def run(self, for_ms: int) -> None:
        """Let time pass."""
        self.run_until(lambda: False, for_ms)

    def run_until(self, condition: Callable[[], bool], within_ms: int) -> bool:
        """Let time pass until a condition holds; tell whether it did in time."""
        end_ms = self.now_ms + within_ms
        while not condition():
            if not self._queue or self._queue[0][0] > end_ms:
                self.now_ms = end_ms
                return False
            at_ms, _, action = heapq.heappop(self._queue)
            self._steps_at = self._steps_at + 1 if at_ms == self.now_ms else 0
            if self._steps_at > STEPS_PER_MS_MAX:
                raise CheckFailed("time", f"at most {STEPS_PER_MS_MAX} steps in a millisecond", f"more at {at_ms} ms")
            self.now_ms = at_ms
            self.steps += 1
            action()
        return True


class Lane:
    """One thing after the other, each after a delay: what is a thread in a node."""

    def __init__(self, after: Callable[[int, Action], None], delay_ms: Callable[[], int]) -> None:
        self._after = after
        self._delay_ms = delay_ms
        self._waiting: deque[Action] = deque()
        self._busy = False

    def put(self, action: Action) -> None:
        self._waiting.append(action)
        if not self._busy:
            self._busy = True
            self._after(self._delay_ms(), self._run)

    def _run(self) -> None:
        self._waiting.popleft()()
        if self._waiting:
            self._after(self._delay_ms(), self._run)
        else:
            self._busy = False
