"""Who lies in a run, and how: drawn from the seed, never more than f."""

from dataclasses import dataclass

from simulations.byzantine import Behaviour
from simulations.byzantine.equivocate import MakeOther, make_fewer, make_later, make_reordered
from simulations.byzantine.random_mix import RandomMix
from simulations.byzantine.seize import SeizeView
from simulations.faults import draw
from simulations.world import World

BATCHES: tuple[MakeOther | None, ...] = (None, make_fewer, make_later, make_reordered)
"""What a liar tells the second half in place of its batch; None: the same."""


@dataclass(frozen=True, slots=True)
class Liars:
    """How many replicas lie; together at most f do."""

    count: tuple[int, int] = (0, 0)  # of those that mix all kinds of lies
    usurpers: int = 0  # begin views that are not theirs


def choose_liars(world: World, liars: Liars) -> tuple[int, ...]:
    """Make some replicas lie from the start; return which."""
    stream = world.schedule.stream("liars")
    count = min(world.f, draw(stream, liars.count))
    usurpers = min(world.f - count, liars.usurpers)
    chosen = stream.sample(range(world.n), count + usurpers)
    behaviours: dict[int, Behaviour] = {}
    for replica in chosen[count:]:
        seize = SeizeView(replica, world.signer(replica), world.setting.parameters.quorum)
        world.observe(seize.observe)
        behaviours[replica] = seize
    for replica in chosen[:count]:
        others = [number for number in range(world.n) if number != replica]
        behaviours[replica] = RandomMix(
            replica,
            world.signer(replica),
            world.schedule.stream(f"liar {replica}"),
            n=world.n,
            window=world.setting.parameters.window,
            second_half=stream.sample(others, len(others) // 2),
            make_other=stream.choice(BATCHES),
        )
    world.misbehave(behaviours.get)
    return tuple(sorted(chosen))
