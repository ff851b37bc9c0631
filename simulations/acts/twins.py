"""Twins: a second machine with a replica's key, and who of the others hears which."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from simulations.world import World


@dataclass(frozen=True, slots=True)
class Twins:
    """`second` hears the twin and the rest the original; `both` hears the two.  At 0 ms first, later to change it."""

    name: ClassVar[str] = "twins"
    at_ms: int
    replica: int
    second: tuple[int, ...]
    both: tuple[int, ...] = ()

    def get_replicas(self) -> Collection[int]:
        return (self.replica, *self.second, *self.both)

    def get_faulty(self) -> Collection[int]:
        return (self.replica,)

    def begin(self, world: World) -> None:
        world.share(self.replica, self.second, self.both)
