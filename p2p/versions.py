"""Versions of the link's protocol: each side says which it speaks, and the highest that both speak is used.

From some height on an older version may not be spoken any more: an upgrade that all operators agreed on beforehand.  A
node says that in its own HELLO, so that both ends know why there is no link.

1  frames, requests for the chain, challenges
2  also requests for addresses of peers (p2p/discovery.py)
"""

from dataclasses import dataclass

from p2p.errors import PeerFault

VERSION_MIN = 1
VERSION_MAX = 2
ADDRESSES_SINCE = 2


@dataclass(frozen=True, slots=True)
class Upgrade:
    """From `height` on (above 0) links speak at least `version`."""

    height: int
    version: int


@dataclass(frozen=True, slots=True)
class Versions:
    """What this software speaks, and what its network asks for."""

    upgrades: tuple[Upgrade, ...] = ()
    low: int = VERSION_MIN
    high: int = VERSION_MAX

    def lowest_at(self, height: int) -> int:
        """Return the lowest version that may be spoken when the chain is at a height; it may be above `high`."""
        return max([self.low, *(each.version for each in self.upgrades if each.height <= height)])

    def is_obsolete_at(self, height: int) -> bool:
        """Tell whether this software itself is too old for its network at a height."""
        return self.lowest_at(height) > self.high

    def choose(self, low: int, high: int, height: int) -> int:
        """Return the version to speak with a peer that speaks low..high.  Raises PeerFault when there is none.

        It costs the peer no points: once it, or we, are upgraded, it is let in at once.
        """
        if low > high:
            raise PeerFault("hello_malformed", 20, f"expected versions from low to high, got {low} to {high}")
        lowest = self.lowest_at(height)
        if lowest > self.high:
            detail = (
                f"at height {height} peers speak version {lowest} or newer, we up to {self.high}: upgrade this node"
            )
        elif high < lowest:
            detail = f"at height {height} peers speak version {lowest} or newer, this one {low} to {high}: upgrade it"
        elif low > self.high:
            detail = f"the peer speaks version {low} or newer, we up to {self.high}: upgrade this node"
        else:
            return min(high, self.high)
        raise PeerFault("wrong_protocol_version", 0, detail)
