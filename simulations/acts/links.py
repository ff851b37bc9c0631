"""Links: parts of the network cut off for a while, and messages that come late or never."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

from consensus.messages import Checkpoint, Commit, NewView, Prepare, PrePrepare, ViewChange
from simulations.network import Rule
from simulations.observations import FaultChanged, Sent
from simulations.world import World

VIEW_MAX = 2**63 - 1
Kind = Literal["pre-prepare", "prepare", "commit", "checkpoint", "view-change", "new-view"]
KINDS: dict[Kind, type[object]] = {
    "pre-prepare": PrePrepare,
    "prepare": Prepare,
    "commit": Commit,
    "checkpoint": Checkpoint,
    "view-change": ViewChange,
    "new-view": NewView,
}


@dataclass(frozen=True, slots=True)
class Cut:
    """Takes away all links between these replicas and the rest."""

    name: ClassVar[str] = "cut"
    at_ms: int
    replicas: tuple[int, ...]
    for_ms: int

    def get_replicas(self) -> Collection[int]:
        return self.replicas

    def get_faulty(self) -> Collection[int]:
        return ()

    def begin(self, world: World) -> None:
        cut_for(world, lambda a, b: (a in self.replicas) != (b in self.replicas), self.for_ms)


@dataclass(frozen=True, slots=True)
class Star:
    """Leaves only the links of one replica, as in hyperledger-archives/fabric#1917."""

    name: ClassVar[str] = "star"
    at_ms: int
    replica: int
    for_ms: int

    def get_replicas(self) -> Collection[int]:
        return (self.replica,)

    def get_faulty(self) -> Collection[int]:
        return ()

    def begin(self, world: World) -> None:
        cut_for(world, lambda a, b: self.replica not in (a, b), self.for_ms)


@dataclass(frozen=True, slots=True)
class Lose:
    """Messages of these kinds, of these replicas to those, for these views, do not arrive."""

    name: ClassVar[str] = "lose"
    at_ms: int
    kinds: tuple[Kind, ...]
    for_ms: int
    sources: tuple[int, ...] = ()  # none named: all
    to: tuple[int, ...] = ()
    views: tuple[int, int] = (0, VIEW_MAX)

    def get_replicas(self) -> Collection[int]:
        return (*self.sources, *self.to)

    def get_faulty(self) -> Collection[int]:
        return ()

    def begin(self, world: World) -> None:
        matches = make_match(self.kinds, self.sources, self.to, self.views)
        apply_for(world, Rule(matches), self.for_ms)


@dataclass(frozen=True, slots=True)
class Delay:
    """Messages of these kinds come later: a primary that proposes just in time, for one."""

    name: ClassVar[str] = "delay"
    at_ms: int
    kinds: tuple[Kind, ...]
    delay_ms: int
    for_ms: int
    sources: tuple[int, ...] = ()
    to: tuple[int, ...] = ()
    views: tuple[int, int] = (0, VIEW_MAX)

    def get_replicas(self) -> Collection[int]:
        return (*self.sources, *self.to)

    def get_faulty(self) -> Collection[int]:
        return ()

    def begin(self, world: World) -> None:
        matches = make_match(self.kinds, self.sources, self.to, self.views)
        apply_for(world, Rule(matches, self.delay_ms), self.for_ms)


def cut_for(world: World, is_cut: Callable[[int, int], bool], for_ms: int) -> None:
    """Cut links for a while; the healed core gets new ones anyway."""
    cut = [pair for pair in sorted(world.network.links) if is_cut(*pair)]
    for pair in cut:
        world.network.cut(*pair)

    def mend() -> None:
        if not world.core:
            for pair in cut:
                world.network.mend(*pair)
            world.show(FaultChanged(world.now_ms, "mended what the script cut"))

    world.schedule.after(for_ms, mend)


def apply_for(world: World, rule: Rule, for_ms: int) -> None:
    """Let a rule hold for a while."""
    world.network.rules.append(rule)
    world.schedule.after(for_ms, lambda: world.network.rules.remove(rule))


def make_match(
    kinds: Collection[Kind], sources: Collection[int], to: Collection[int], views: tuple[int, int]
) -> Callable[[Sent], bool]:
    """Return what tells whether a message is meant; empty collections mean all."""
    classes = tuple(KINDS[kind] for kind in kinds)

    def matches(sent: Sent) -> bool:
        message = sent.signed.message
        return (
            (not classes or isinstance(message, classes))
            and (not sources or sent.source in sources)
            and (not to or sent.to in to)
            and views[0] <= getattr(message, "view", views[0]) <= views[1]
        )

    return matches
