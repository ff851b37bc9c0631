"""Power: replicas that are killed, at a time or at each point of their work in turn, and logs that are damaged."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from node.vote_log import MARKER
from simulations.disk import PowerLost
from simulations.node import Validator
from simulations.observations import Scripted
from simulations.world import World

POINTS = (
    "log append",
    "log appended",
    "log truncate",  # of what the kill before has torn
    "log synced",
    "log replace",
    "log replaced",
    "store write",
    "store written",
    "send",
)
"""Where a node may lose its power: before and after each write, and between two sends."""
FRAMES_MIN = 4
WAIT_FOR_FRAMES_MS = 20
TEAR_START_BYTES_MAX = 1_000
TEAR_STEP_BYTES = 13
"""From one torn append to the next: coprime to the sizes, so that seeds and lives come to ever other bytes."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Takes power away from these replicas at once; they start again after a while, or never (for_ms = 0)."""

    name: ClassVar[str] = "kill"
    at_ms: int
    replicas: tuple[int, ...]
    for_ms: int

    def get_replicas(self) -> Collection[int]:
        return self.replicas

    def get_faulty(self) -> Collection[int]:
        return () if self.for_ms else self.replicas

    def begin(self, world: World) -> None:
        for number in self.replicas:
            kill_for(world, world.nodes[number], self.for_ms)


@dataclass(frozen=True, slots=True)
class KillAtPoints:
    """Kills these replicas at one point of their work after the other, each life a little further.

    A life begins `gap_ms` after the point; the last append of the vote log is torn one step further each time.
    """

    name: ClassVar[str] = "kill_at_points"
    at_ms: int
    replicas: tuple[int, ...]
    times: int

    def get_replicas(self) -> Collection[int]:
        return self.replicas

    def get_faulty(self) -> Collection[int]:
        return ()

    def begin(self, world: World) -> None:
        for number in self.replicas:
            world.nodes[number].trap = _Trap(world, world.nodes[number], self.times).spring


class _Trap:
    """Waits for each kind of point in turn, and there for the next one that comes by."""

    def __init__(self, world: World, node: Validator, times: int) -> None:
        self._world = world
        self._node = node
        self._left = times
        self._stream = world.schedule.stream(f"trap {node.number}")
        self._next = self._stream.randrange(len(POINTS))
        self._skip = 0
        self._tear = self._stream.randrange(TEAR_START_BYTES_MAX)
        self._waits_since_ms = world.now_ms

    def spring(self, point: str) -> None:
        """Raises PowerLost when this is the point that it waits for."""
        if self._left == 0:
            return
        waits_ms = self._world.now_ms - self._waits_since_ms
        if point != POINTS[self._next] and waits_ms < WAIT_FOR_POINT_MS:
            return
        if self._skip and point != "log truncate":
            self._skip -= 1
            return
        log = self._node.disk.log
        facts: list[tuple[str, int | str]] = [("replica", self._node.number), ("point", point)]
        if point == "log appended":
            log.tear = self._tear % (log.unsynced + 1)
            facts += [("kept", log.tear), ("of", log.unsynced)]
            self._tear += TEAR_STEP_BYTES
        self._left -= 1
        self._next = (self._next + 1) % len(POINTS)
        self._skip = self._stream.randrange(3)
        self._waits_since_ms = self._world.now_ms
        self._world.show(Scripted(self._world.now_ms, "killed at", tuple(facts)))
        raise PowerLost(point)


WAIT_FOR_POINT_MS = 1_000
"""Some points are rare (a log is rewritten when it has grown): after so long, any other will do."""


@dataclass(frozen=True, slots=True)
class DamageLog:
    """Flips a bit of a vote log that has good frames behind it: whoever starts on that must refuse to vote."""

    name: ClassVar[str] = "damage_log"
    at_ms: int
    replica: int

    def get_replicas(self) -> Collection[int]:
        return (self.replica,)

    def get_faulty(self) -> Collection[int]:
        return (self.replica,)

    def begin(self, world: World) -> None:
        node = world.nodes[self.replica]
        data = node.disk.log.read() or b""
        if not node.up or data.count(MARKER) < FRAMES_MIN:
            world.schedule.after(WAIT_FOR_FRAMES_MS, lambda: self.begin(world))
            return
        kill_for(world, node, 1)
        node.disk.log.flip_byte(data.index(MARKER) + len(MARKER))


def kill_for(world: World, node: Validator, for_ms: int) -> None:
    """Kill, keep down, and start again when the time has passed; 0 is for good."""
    if node.up:
        node.crash("killed by the script")
    node.kept_down = True

    def start() -> None:
        node.kept_down = False
        if not node.up and node.refuses is None:
            node.start()

    if for_ms:
        world.schedule.after(for_ms, start)
