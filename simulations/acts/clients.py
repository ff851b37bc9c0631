"""Events: an account that a replica ignores, events that come again, and floods of what nobody should take."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from ledger.events import compute_event_id, encode_signed_event
from ledger.primitives.encoding import encode
from node.mempool import Refused
from simulations.observations import Scripted
from simulations.relaying import FRAME_EVENTS_MAX
from simulations.setting import get_account_id
from simulations.world import World

REPLAYED_MAX = 8


@dataclass(frozen=True, slots=True)
class Censor:
    """These replicas drop what an account sends, say that they took it, and propose everything else."""

    name: ClassVar[str] = "censor"
    at_ms: int
    replicas: tuple[int, ...]
    account: int

    def get_replicas(self) -> Collection[int]:
        return self.replicas

    def get_faulty(self) -> Collection[int]:
        return self.replicas

    def begin(self, world: World) -> None:
        for number in self.replicas:
            node = world.nodes[number]
            node.ignored_authors |= {get_account_id(world.setting.chain_id, self.account)}


@dataclass(frozen=True, slots=True)
class Resubmit:
    """A client gives a replica events that were executed long ago; what it answered is in the run."""

    name: ClassVar[str] = "resubmit"
    at_ms: int
    replica: int

    def get_replicas(self) -> Collection[int]:
        return (self.replica,)

    def get_faulty(self) -> Collection[int]:
        return ()

    def begin(self, world: World) -> None:
        node, executed = world.nodes[self.replica], world.executed[self.replica]
        old = [signed for signed in world.workload.sent if compute_event_id(signed.event) in executed]
        for signed in old[:REPLAYED_MAX] if node.up else []:
            answer = node.submit(signed)
            code = answer.verdict.code if isinstance(answer, Refused) else "accepted"
            world.show(Scripted(world.now_ms, "resubmitted", (("replica", self.replica), ("answer", code))))


@dataclass(frozen=True, slots=True)
class FloodEvents:
    """These replicas relay full frames of events to all others: forged ones, and such as were executed before."""

    name: ClassVar[str] = "flood_events"
    at_ms: int
    replicas: tuple[int, ...]
    frames: int
    over_ms: int

    def get_replicas(self) -> Collection[int]:
        return self.replicas

    def get_faulty(self) -> Collection[int]:
        return self.replicas

    def begin(self, world: World) -> None:
        stream = world.schedule.stream(f"event flood {self.at_ms}")
        for number in self.replicas:
            for _ in range(self.frames):
                world.schedule.after(stream.randrange(self.over_ms), partial(self._send, world, number))

    def _send(self, world: World, number: int) -> None:
        node, sent = world.nodes[number], world.workload.sent
        if not sent or not node.up or world.core:
            return
        first = sent[len(sent) // 2]
        forged = replace(first, signature=bytes((first.signature[0] ^ 1,)) + first.signature[1:])
        events = [forged if place % 2 else sent[place % len(sent)] for place in range(FRAME_EVENTS_MAX)]
        node.broadcast_events(encode([encode_signed_event(each) for each in events]))
