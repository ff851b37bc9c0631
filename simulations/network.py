"""The links between replicas: each direction with its own delay, loss, repeats, cuts and clogs.

Frames go one way each, and may overtake each other.  A real link is a stream, which loses nothing without breaking and
keeps the order: what survives this survives that.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from simulations.faults import CALM, Faults, draw
from simulations.observations import Sent
from simulations.schedule import Action, Schedule

Lost = Callable[[int, int, str], None]
"""(source, to, why)"""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a script does to some consensus messages: they come later, or not at all (None)."""

    matches: Callable[[Sent], bool]
    delay_ms: int | None = None


@dataclass(slots=True)
class Link:
    """One direction between two replicas."""

    delay_ms: tuple[int, int]
    loss_permille: int
    repeat_permille: int
    reorder_permille: int
    cuts: int = 0  # how many of the cuts now in force take it away
    held: deque[tuple[str, Action]] | None = None  # frames in a clogged link


class Network:
    """All links.  `lost` is told of every frame that does not arrive."""

    def __init__(self, schedule: Schedule, n: int, faults: Faults, lost: Lost) -> None:
        self._schedule = schedule
        self._stream = schedule.stream("network")
        self._faults = faults
        self._lost = lost
        self.rules: list[Rule] = []
        """Of scripts; they do not hold among healed replicas."""
        self._core: frozenset[int] = frozenset()
        self.links = {(a, b): _make_link(self._stream, faults) for a in range(n) for b in range(n) if a != b}

    def get_delay_ms(self, sent: Sent) -> int | None:
        """Return by how much the scripts delay a message beside what its link does; None: it is lost."""
        if sent.source in self._core and sent.to in self._core:
            return 0
        delay_ms = 0
        for rule in self.rules:
            if rule.matches(sent):
                if rule.delay_ms is None:
                    return None
                delay_ms += rule.delay_ms
        return delay_ms

    def post(self, source: int, to: int, what: str, arrive: Action, later_ms: int = 0) -> None:
        """Send a frame; `arrive` is called for each copy that gets through.  what: names it when it is lost."""
        link, stream = self.links[source, to], self._stream
        copies = 1 + (stream.randrange(1000) < link.repeat_permille)
        for _ in range(copies):
            if stream.randrange(1000) < link.loss_permille:
                self._lost(source, to, f"lost {what}")
                continue
            delay_ms = draw(stream, link.delay_ms) + later_ms
            if stream.randrange(1000) < link.reorder_permille:
                delay_ms += draw(stream, self._faults.reorder_ms)
            self._carry(source, to, what, arrive, delay_ms)

    def cut(self, source: int, to: int) -> None:
        """Take one direction away; cuts add up."""
        self.links[source, to].cuts += 1

    def mend(self, source: int, to: int) -> None:
        """Undo one cut of this direction."""
        link = self.links[source, to]
        link.cuts = max(0, link.cuts - 1)

    def clog(self, source: int, to: int) -> None:
        """Hold back what this direction carries, up to a bound."""
        link = self.links[source, to]
        if link.held is None:
            link.held = deque()

    def release(self, source: int, to: int) -> None:
        """Let go what a clogged direction held, all at once."""
        link = self.links[source, to]
        held, link.held = link.held, None
        for what, arrive in held or ():
            self._carry(source, to, what, arrive, draw(self._stream, link.delay_ms))

    def heal(self, core: list[int]) -> None:
        """Make the links among these replicas perfect and leave the others as they are."""
        self._core = frozenset(core)
        for source, to in self.links:
            if source in core and to in core:
                self.release(source, to)
                self.links[source, to] = Link(CALM.delay_ms, 0, 0, 0)

    def _carry(self, source: int, to: int, what: str, arrive: Action, delay_ms: int) -> None:
        self._schedule.after(delay_ms, lambda: self._arrive(source, to, what, arrive))

    def _arrive(self, source: int, to: int, what: str, arrive: Action) -> None:
        link = self.links[source, to]
        if link.cuts:
            self._lost(source, to, f"cut {what}")
        elif link.held is None:
            arrive()
        elif len(link.held) < self._faults.clog_frames_max:
            link.held.append((what, arrive))
        else:
            self._lost(source, to, f"clogged {what}")


def _make_link(stream: random.Random, faults: Faults) -> Link:
    low, high = faults.delay_ms
    return Link(
        delay_ms=(low, stream.randint(low, high)),
        loss_permille=draw(stream, faults.loss_permille),
        repeat_permille=draw(stream, faults.repeat_permille),
        reorder_permille=draw(stream, faults.reorder_permille),
    )
