"""The node's clocks: the wall clock for display times, a monotonic one for beats and timers.

Nothing below the node sees them.
"""

import time
from collections import deque
from collections.abc import Callable

CLOCK_TOLERANCE_MS = 15_000
"""A first proposal whose display time differs by more from our clock is refused."""
BEATS_WATCHED = 32
BEATS_AHEAD_MAX = 2
"""Beats may come this much sooner than our clock allows over the last BEATS_WATCHED: messages are delayed unevenly."""


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Return a clock that never goes back, in milliseconds."""
    return time.monotonic_ns() // 1_000_000


class BeatClock:
    """Says when a beat may be proposed, and whether a proposed one comes too early.

    Counted from when this node first saw each beat proposed: over the last BEATS_WATCHED, the rate must be right within
    BEATS_AHEAD_MAX beats.  After catching up it starts anew, since beats that were fetched say nothing about time.
    """

    def __init__(self, beat_ms: int, clock: Callable[[], int] = monotonic_ms) -> None:
        self._beat_ms = beat_ms
        self._clock = clock
        self._last_at = clock()
        self._newest = 0
        self._seen: deque[tuple[int, int]] = deque(maxlen=BEATS_WATCHED)

    def next_due_ms(self) -> int:
        """Return in how many milliseconds the next beat is due; 0 or less when it is."""
        return self._last_at + self._beat_ms - self._clock()

    def is_overdue(self, beats: int) -> bool:
        """Tell whether the next beat should have been proposed this many beats ago."""
        return self.next_due_ms() < -beats * self._beat_ms

    def saw_proposed(self, beat: int) -> None:
        """Remember when a beat was first proposed."""
        if beat > self._newest:
            self._newest, self._last_at = beat, self._clock()
            self._seen.append((beat, self._last_at))

    def saw_executed(self, beat: int) -> None:
        """Take note of the ledger's beat; one that we did not see proposed came by catching up."""
        if beat > self._newest:
            self._newest, self._last_at = beat, self._clock()
            self._seen.clear()

    def is_too_early(self, beat: int) -> bool:
        """Tell whether our clock disagrees with starting this beat now."""
        if not self._seen or beat <= self._newest:
            return False
        oldest, first_at = self._seen[0]
        return self._clock() - first_at < (beat - oldest - BEATS_AHEAD_MAX) * self._beat_ms
