"""O7: once the network has healed, everything that was accepted and is valid is executed by the core, in time.

The core: the replicas that are well from then on, at least a quorum.  Time is virtual; views are those that the core
enters above the one it was in when `expect` was called.
"""

from collections.abc import Collection, Iterable

from ledger.receipts import SKIPPED
from simulations.observations import BlockMade, CheckFailed, EnteredView, Observation, Restarted


class Progress:
    """Remembers each executed event's height, and each replica's height and view."""

    name = "progress"

    def __init__(self, correct: Collection[int], within_ms: int, views_max: int) -> None:
        self._correct = frozenset(correct)
        self._within_ms = within_ms
        self._views_max = views_max
        self._executed: dict[bytes, int] = {}  # event id: height
        self._heights: dict[int, int] = {}
        self._views: dict[int, int] = {}
        self._waiting: dict[bytes, None] = {}  # an ordered set
        self._core: tuple[int, ...] = ()
        self._deadline_ms = 0
        self._view_max = 0

    def expect(self, event_ids: Iterable[bytes], core: Collection[int], healed_ms: int) -> None:
        """Demand that every replica of the core executes these events in time.  Call it again for later ones."""
        assert self._correct.issuperset(core), "only correct replicas owe anything"
        self._core = tuple(sorted(core))
        self._deadline_ms = healed_ms + self._within_ms
        self._view_max = max((self._views.get(replica, 0) for replica in self._core), default=0) + self._views_max
        self._waiting.update(dict.fromkeys(event_ids))
        self._forget_done()

    @property
    def is_done(self) -> bool:
        """Whether nothing is waited for any more."""
        self._forget_done()
        return not self._waiting

    def observe(self, observation: Observation) -> None:
        if self._waiting and observation.at_ms > self._deadline_ms and not self.is_done:
            raise CheckFailed(self.name, f"all executed at {self._deadline_ms} ms", self._describe())
        match observation:
            case BlockMade(_, replica, executed, _) if replica in self._correct:
                height = executed.header.height
                self._heights[replica] = height
                for receipt in executed.receipts:
                    if receipt.outcome != SKIPPED:
                        self._executed.setdefault(receipt.event_id, height)
            case Restarted(_, replica, _, height) if replica in self._correct:
                self._heights[replica] = height
            case EnteredView(_, replica, view) if replica in self._correct:
                self._views[replica] = max(view, self._views.get(replica, 0))
                if replica in self._core and view > self._view_max and not self.is_done:
                    raise CheckFailed(self.name, f"all executed before view {view}", self._describe())
            case _:
                pass

    def finish(self) -> None:
        """Whatever is still waited for will never come."""
        if not self.is_done:
            raise CheckFailed(self.name, "all executed when the run ended", self._describe())

    def _forget_done(self) -> None:
        common = min((self._heights.get(replica, 0) for replica in self._core), default=0)
        executed = self._executed
        self._waiting = {event_id: None for event_id in self._waiting if executed.get(event_id, common + 1) > common}

    def _describe(self) -> str:
        lacking: list[str] = []
        for replica in self._core:
            height = self._heights.get(replica, 0)
            count = sum(1 for event_id in self._waiting if self._executed.get(event_id, height + 1) > height)
            if count:
                lacking.append(
                    f"replica {replica} at height {height}, view {self._views.get(replica, 0)} lacks {count}"
                )
        first = next(iter(self._waiting)).hex()[:16]
        return f"{len(self._waiting)} not at every core replica, first {first}: {'; '.join(lacking)}"
