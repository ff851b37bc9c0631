"""Scores: penalties add up and fade; at the threshold a peer is banned for a while.

The table is bounded.  When it is full, the entry with the lowest score that is not banned makes room; so a peer cannot
push out its own record by inventing keys faster than it earns penalties, because fresh keys have low scores.
"""

from collections.abc import Callable
from dataclasses import dataclass

from p2p.errors import PeerFault
from p2p.parameters import NetworkLimits


@dataclass(slots=True)
class _Score:
    points: float
    at: float
    banned_until: float


class PeerTable:
    """The scores of peers by their public key.  `now` gives seconds of any steady clock."""

    def __init__(self, limits: NetworkLimits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._scores: dict[bytes, _Score] = {}

    def penalize(self, public_key: bytes, fault: PeerFault) -> bool:
        """Add the fault's penalty.  Tells whether the peer is banned now."""
        now = self._now()
        entry = self._scores.get(public_key)
        if entry is None:
            if fault.penalty <= 0:
                return False
            self._make_room()
            entry = self._scores[public_key] = _Score(0.0, now, 0.0)
        entry.points = self._points(entry, now) + fault.penalty
        entry.at = now
        if entry.points >= self._limits.ban_score:
            entry.banned_until = now + self._limits.ban_s
            entry.points = self._limits.ban_score / 2  # after the ban the peer is on probation
        return entry.banned_until > now

    def score(self, public_key: bytes) -> float:
        """Return the peer's points now; 0 for a peer of which nothing bad is known."""
        entry = self._scores.get(public_key)
        return 0.0 if entry is None else self._points(entry, self._now())

    def is_banned(self, public_key: bytes) -> bool:
        entry = self._scores.get(public_key)
        return entry is not None and entry.banned_until > self._now()

    def __len__(self) -> int:
        return len(self._scores)

    def _points(self, entry: _Score, now: float) -> float:
        return max(0.0, entry.points - (now - entry.at) * self._limits.score_decay_per_s)

    def _make_room(self) -> None:
        if len(self._scores) < self._limits.peers_scored_max:
            return
        now = self._now()
        gone = min(
            self._scores, key=lambda key: (self._scores[key].banned_until > now, self._points(self._scores[key], now))
        )
        del self._scores[gone]
