"""Lies: replicas whose messages are changed on the way out, each in one way, from `at_ms` on."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from consensus.messages import Checkpoint, Commit
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.signing import Purpose
from simulations.byzantine import Behaviour
from simulations.byzantine.equivocate import Equivocate, make_later
from simulations.byzantine.flood import Flood
from simulations.byzantine.flood_proposals import FloodProposals
from simulations.byzantine.foreign import Foreign
from simulations.byzantine.mutate import DropPrepared, OtherDigest
from simulations.byzantine.repeat import RepeatEvents
from simulations.setting import make_replica_key
from simulations.world import World

How = Literal[
    "equivocate",
    "hide_prepared",
    "two_votes",
    "wrong_checkpoint",
    "foreign",
    "repeat_batch",
    "repeat_events",
    "repeat_twice",
    "repeat_in_flight",
    "flood_votes",
    "flood_proposals",
]


@dataclass(frozen=True, slots=True)
class Lie:
    """These replicas lie so.  total_max: how many messages a flood adds."""

    name: ClassVar[str] = "lie"
    at_ms: int
    replicas: tuple[int, ...]
    how: How
    total_max: int = 10_000

    def get_replicas(self) -> Collection[int]:
        return self.replicas

    def get_faulty(self) -> Collection[int]:
        return self.replicas

    def begin(self, world: World) -> None:
        for number in self.replicas:
            behaviour = MAKERS[self.how](world, number, self)
            node = world.nodes[number]
            node.behaviour = behaviour if node.behaviour is None else _chain(node.behaviour, behaviour)


def _chain(first: Behaviour, second: Behaviour) -> Behaviour:
    return lambda sent: [each for told in first(sent) for each in second(told)]


def _equivocate(world: World, me: int, lie: Lie) -> Behaviour:
    others = [each for each in range(world.n) if each != me]
    return Equivocate(me, world.signer(me), others[: len(others) // 2], make_later)


def _vote_twice(world: World, me: int, lie: Lie) -> Behaviour:
    """Each COMMIT is followed by one for another batch, to everybody: whoever gets both can prove it."""
    other = OtherDigest(me, world.signer(me), (Commit,))
    return lambda sent: [sent, *(each for each in other(sent) if each != sent)]


def _repeat(world: World, me: int, lie: Lie) -> Behaviour:
    others = [each for each in range(world.n) if each != me]
    make = {
        "repeat_batch": RepeatEvents(("batch",)),
        "repeat_events": RepeatEvents(("events",)),
        "repeat_twice": RepeatEvents(("twice",)),
        "repeat_in_flight": RepeatEvents(("in_flight",) * 3),
    }[lie.how]
    return Equivocate(me, world.signer(me), others, make)


def _speak_elsewhere(world: World, me: int, lie: Lie) -> Behaviour:
    key, elsewhere = make_replica_key(me), tagged_hash("test/elsewhere", world.setting.chain_id)

    def sign(purpose: Purpose, message: bytes) -> bytes:
        return key.sign(elsewhere, purpose, message)

    return Foreign(me, world.signer(me), sign)


def _flood_proposals(world: World, me: int, lie: Lie) -> Behaviour:
    batch_bytes_max = world.setting.parameters.batch_bytes_max
    return FloodProposals(me, world.signer(me), world.n, batch_bytes_max, lie.total_max)


MAKERS: dict[How, Callable[[World, int, Lie], Behaviour]] = {
    "equivocate": _equivocate,
    "hide_prepared": lambda world, me, lie: DropPrepared(me, world.signer(me)),
    "two_votes": _vote_twice,
    "wrong_checkpoint": lambda world, me, lie: OtherDigest(me, world.signer(me), (Checkpoint,)),
    "foreign": _speak_elsewhere,
    "repeat_batch": _repeat,
    "repeat_events": _repeat,
    "repeat_twice": _repeat,
    "repeat_in_flight": _repeat,
    "flood_votes": lambda world, me, lie: Flood(me, world.signer(me), world.n, total_max=lie.total_max),
    "flood_proposals": _flood_proposals,
}
assert set(MAKERS) == set(get_args(How)), "each way has its behaviour"
