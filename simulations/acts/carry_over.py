"""Section 4.4 under the worst cut: a place is committed at k replicas alone when the primary dies.

Places are s, s + 1 and s + 2 of the primary's next proposals: s is prepared by a quorum and committed by k; s + 1 is
prepared nowhere; s + 2 is prepared and committed nowhere.  So the new view must keep s and s + 2, and fill s + 1.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from consensus.messages import Commit, Prepare, PrePrepare
from simulations.acts.links import cut_for
from simulations.acts.power import kill_for
from simulations.network import Rule
from simulations.observations import Observation, Scripted, Sent
from simulations.world import World

POLL_MS = 5
LATER_PLACES_MS = 600
"""How long to wait, once k replicas executed s, until s + 2 is prepared as well; less than a timeout."""


@dataclass(frozen=True, slots=True)
class CarryOver:
    """Waits for a primary that may propose, cuts, and kills it once `committed` replicas executed its next place.

    Where a quorum is left without it, one of those k is cut off, too: then others must prove the place.
    """

    name: ClassVar[str] = "carry_over"
    at_ms: int
    committed: int
    hold_ms: int

    def get_replicas(self) -> Collection[int]:
        return ()

    def get_faulty(self) -> Collection[int]:
        return ()

    def begin(self, world: World) -> None:
        _Attempt(world, self).look()


class _Attempt:
    """From the choice of a place to the kill; begins anew when the view ends before."""

    def __init__(self, world: World, act: CarryOver) -> None:
        self._world = world
        self._act = act
        self._digest: bytes | None = None
        self._view = self._seq = self._primary = -1
        self._committed: list[int] = []
        self._rule: Rule | None = None
        self._committers: set[int] = set()  # who sent COMMIT for s + 2
        self._since_ms = 0
        world.observe(self._observe)

    def look(self) -> None:
        """Find the place, or come again."""
        world = self._world
        if world.core:
            return
        self._view = self._get_view()
        self._primary = self._view % world.n
        node = world.nodes[self._primary]
        seq = node.core.replica.next_proposal_seq() if node.up else None
        if seq is None or node.core.replica.view != self._view:
            world.schedule.after(POLL_MS, self.look)
            return
        self._seq, self._digest, self._since_ms = seq, None, 0
        self._committers.clear()
        others = [(self._primary + 1 + each) % world.n for each in range(world.n - 1)]
        able = [each for each in others if each in world.correct and world.nodes[each].up]
        self._committed = able[: self._act.committed]
        self._rule = self._make_rule(frozenset(self._committed), frozenset(able[len(able) - world.f :]))
        world.network.rules.append(self._rule)
        self._wait()

    def _get_view(self) -> int:
        """Return a view that more than f replicas have come to; one that is cut off may be ahead alone."""
        views = sorted((node.core.replica.view for node in self._world.nodes if node.up), reverse=True)
        return views[min(self._world.f, len(views) - 1)]

    def _make_rule(self, committed: frozenset[int], unprepared: frozenset[int]) -> Rule:
        assert not committed & unprepared, "enough replicas for both"

        def matches(sent: Sent) -> bool:
            message = sent.signed.message
            if not isinstance(message, Prepare | Commit) or message.view != self._view or message.seq < self._seq:
                return False
            if isinstance(message, Commit):
                return message.seq > self._seq or sent.to not in committed
            return message.seq == self._seq + 1 or sent.to in unprepared

        return Rule(matches)

    def _observe(self, observation: Observation) -> None:
        if isinstance(observation, Sent):
            message = observation.signed.message
            if isinstance(message, PrePrepare) and (message.view, message.seq) == (self._view, self._seq):
                self._digest, self._since_ms = message.digest, observation.at_ms
            if isinstance(message, Commit) and (message.view, message.seq) == (self._view, self._seq + 2):
                self._committers.add(message.replica)

    def _wait(self) -> None:
        world, rule = self._world, self._rule
        assert rule is not None
        if world.core:
            return
        executed = [node.number for node in world.nodes if node.up and node.chain.head.height >= self._seq]
        is_ripe = len(self._committers) >= world.setting.parameters.quorum
        is_ripe = is_ripe or world.now_ms > self._since_ms + LATER_PLACES_MS
        if self._digest is not None and set(self._committed) <= set(executed) and is_ripe:
            self._kill(executed, self._digest)
            world.schedule.after(self._act.hold_ms, lambda: world.network.rules.remove(rule))
        elif self._get_view() > self._view:
            world.network.rules.remove(rule)
            world.schedule.after(POLL_MS, self.look)
        else:
            world.schedule.after(POLL_MS, self._wait)

    def _kill(self, executed: list[int], digest: bytes) -> None:
        world, first = self._world, self._committed[0]
        facts = (("view", self._view), ("seq", self._seq), ("digest", digest.hex()), ("asked", self._act.committed))
        found = ("executed", len(executed))
        world.show(Scripted(world.now_ms, "primary dies", (*facts, found)))
        kill_for(world, world.nodes[self._primary], self._act.hold_ms)
        if world.n - 2 >= world.setting.parameters.quorum:
            cut_for(world, lambda a, b: first in (a, b), self._act.hold_ms)
