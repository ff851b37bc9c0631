"""The node's clocks: the wall clock for display times, a monotonic one for beats and timers.  Nothing below sees them."""

import time
from collections import deque
from collections.abc import Callable

CLOCK_TOLERANCE_MS = 15_000
"""A first proposal whose display time differs by more from our clock is refused."""
BEAT_GAP_SHARE_PERCENT = 50
BEATS_WATCHED = 8
BEAT_RATE_SHARE_PERCENT = 90


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Return a clock that never goes back, in milliseconds."""
    return time.monotonic_ns() // 1_000_000


class BeatClock:
    """Says when a beat may be proposed, and whether a proposed one comes too early.

    One gap may be as short as half a beat, since messages are delayed unevenly; over the last eight beats the rate must be
    right within a tenth.  Counted from when this node first saw each beat; after catching up it starts anew.
    """

    def __init__(self, beat_ms: int, clock: Callable[[], int] = monotonic_ms) -> None:
        self._beat_ms = beat_ms
        self._clock = clock
        self._started = clock()
        self._seen: deque[tuple[int, int]] = deque(maxlen=BEATS_WATCHED)

    def next_due_ms(self) -> int:
        """Return in how many milliseconds the next beat is due; 0 or less when it is."""
        last = self._seen[-1][1] if self._seen else self._started
        return last + self._beat_ms - self._clock()

    def saw(self, beat: int) -> None:
        """Remember when a beat was first proposed or executed here."""
        if not self._seen or beat > self._seen[-1][0]:
            self._seen.append((beat, self._clock()))

    def reset(self) -> None:
        """Forget the beats seen: they came by catching up, and their times say nothing."""
        self._started = self._clock()
        self._seen.clear()

    def is_too_early(self, beat: int) -> bool:
        """Tell whether our clock disagrees with starting this beat now."""
        if not self._seen or beat <= self._seen[-1][0]:
            return False
        now = self._clock()
        if (now - self._seen[-1][1]) * 100 < self._beat_ms * BEAT_GAP_SHARE_PERCENT:
            return True
        oldest, first_at = self._seen[0]
        full = len(self._seen) == BEATS_WATCHED
        return full and (now - first_at) * 100 < (beat - oldest) * self._beat_ms * BEAT_RATE_SHARE_PERCENT
