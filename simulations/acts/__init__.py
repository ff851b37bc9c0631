"""What a script can do to a world: each act is a table of a scenario file, and a frozen dataclass here.

`at_ms = 0` is before the start, so that lies are told from the first message on.  An act says which replicas it makes
faulty: those are judged by no checker, and the healed core does without them.
"""

from collections.abc import Collection
from typing import ClassVar, Protocol

from simulations.world import World


class Act(Protocol):
    """One thing done at one time."""

    name: ClassVar[str]

    @property
    def at_ms(self) -> int: ...

    def get_replicas(self) -> Collection[int]:
        """Return the replicas that it names, so that a wrong number is refused when the file is read."""
        ...

    def get_faulty(self) -> Collection[int]:
        """Return the replicas that are not correct any more, from the start of the run on."""
        ...

    def begin(self, world: World) -> None: ...
