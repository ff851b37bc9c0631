"""Who lies in a run, and how: drawn from the seed, never more than f."""

from dataclasses import dataclass

from simulations.byzantine import Behaviour
from simulations.byzantine.equivocate import MakeOther, make_fewer, make_later, make_reordered
from simulations.byzantine.random_mix import RandomMix
from simulations.faults import draw
from simulations.world import World

BATCHES: tuple[MakeOther | None, ...] = (None, make_fewer, make_later, make_reordered)
"""What a liar tells the second half in place of its batch; None: the same."""


@dataclass(frozen=True, slots=True)
class Liars:
    """How many replicas lie; what is above f counts as f."""

    count: tuple[int, int] = (0, 0)


def choose_liars(world: World, liars: Liars) -> tuple[int, ...]:
    """Make some replicas lie from the start; return which."""
    stream = world.schedule.stream("liars")
    count = min(world.f, draw(stream, liars.count))
    chosen = sorted(stream.sample(range(world.n), count))
    behaviours: dict[int, Behaviour] = {}
    for replica in chosen:
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
    return tuple(chosen)
