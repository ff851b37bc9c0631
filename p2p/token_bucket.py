"""A token bucket: how often something may happen in the long run, and how often at once."""


class TokenBucket:
    """Holds `burst` tokens at most and gains `per_second`; times are seconds of any steady clock."""

    __slots__ = ("_at", "_burst", "_per_second", "_tokens")

    def __init__(self, per_second: int, burst: int, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._at = now

    def take(self, count: int, now: float) -> float:
        """Take `count` tokens, and return the seconds to wait before going on; 0 while the bucket is not overdrawn."""
        self._refill(now)
        self._tokens -= count
        return max(0.0, -self._tokens / self._per_second)

    def has_taken(self, now: float) -> bool:
        """Take one token if there is one."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def is_full(self, now: float) -> bool:
        self._refill(now)
        return self._tokens >= self._burst

    def _refill(self, now: float) -> None:
        self._tokens = min(float(self._burst), self._tokens + (now - self._at) * self._per_second)
        self._at = now
