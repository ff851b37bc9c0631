"""The validator set: who is admitted to it, who leaves it, and who goes on in whose place."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from simulations.world import World


@dataclass(frozen=True, slots=True)
class Admit:
    """Votes admit a machine where an epoch closes, from `first_epoch` to `last_epoch`, unless it is in or admitted."""

    name: ClassVar[str] = "admit"
    at_ms: int
    machine: int
    first_epoch: int
    last_epoch: int

    def get_replicas(self) -> Collection[int]:
        return (self.machine,)

    def get_faulty(self) -> Collection[int]:
        return ()

    def begin(self, world: World) -> None:
        """Nothing: what votes decide is part of the chain, and known before the world is made."""


@dataclass(frozen=True, slots=True)
class Resign:
    """The operator of a validator takes it out of the set."""

    name: ClassVar[str] = "resign"
    at_ms: int
    machine: int

    def get_replicas(self) -> Collection[int]:
        return (self.machine,)

    def get_faulty(self) -> Collection[int]:
        return ()

    def begin(self, world: World) -> None:
        world.operators.resign(self.machine)


@dataclass(frozen=True, slots=True)
class Rotate:
    """The operator of a validator gives it the key of another machine, which goes on in its place."""

    name: ClassVar[str] = "rotate"
    at_ms: int
    machine: int
    successor: int

    def get_replicas(self) -> Collection[int]:
        return (self.machine, self.successor)

    def get_faulty(self) -> Collection[int]:
        return ()

    def begin(self, world: World) -> None:
        world.operators.rotate(self.machine, self.successor)
