"""The silent and the slow: some hear nothing, or only every k-th frame, so that retransmission must bring the rest."""

from collections.abc import Collection

from consensus.messages import Message
from simulations.observations import Sent


class Mute:
    """Says nothing to `towards`, or nothing of these kinds."""

    def __init__(self, towards: Collection[int], kinds: Collection[type[Message]] = ()) -> None:
        self._towards = frozenset(towards)
        self._kinds = tuple(kinds)

    def __call__(self, sent: Sent) -> list[Sent]:
        wanted = not self._kinds or isinstance(sent.signed.message, self._kinds)
        return [] if sent.to in self._towards and wanted else [sent]


class Sluggish:
    """Lets only every k-th frame to each receiver pass."""

    def __init__(self, every: int) -> None:
        assert every >= 1, f"expected at least 1, got {every}"
        self._every = every
        self._counts: dict[int, int] = {}

    def __call__(self, sent: Sent) -> list[Sent]:
        count = self._counts[sent.to] = self._counts.get(sent.to, 0) + 1
        return [] if count % self._every else [sent]
