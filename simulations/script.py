"""The script of a scenario: acts at their times, read from `[[script]]` tables.

Which acts there are is `simulations/acts/`; what must hold in spite of them is `[expect]`.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

from simulations.acts import Act
from simulations.acts.carry_over import CarryOver
from simulations.acts.clients import Censor, FloodEvents, Resubmit
from simulations.acts.lies import Lie
from simulations.acts.links import Cut, Delay, Lose, Star
from simulations.acts.power import DamageLog, Kill, KillAtPoints
from simulations.acts.sources import LyingSource
from simulations.acts.state import FlipState
from simulations.acts.twins import Twins
from simulations.observations import Scripted
from simulations.tables import ScenarioInvalid, expect_table, read_table
from simulations.world import World

ACTS: tuple[type[Act], ...] = (
    CarryOver,
    Censor,
    Cut,
    DamageLog,
    Delay,
    FlipState,
    FloodEvents,
    Kill,
    KillAtPoints,
    Lie,
    Lose,
    LyingSource,
    Resubmit,
    Star,
    Twins,
)
BY_NAME = {act.name: act for act in ACTS}


def read_script(given: object, where: str) -> tuple[Act, ...]:
    """Return the acts of a list of tables, in order of time.  Raises ScenarioInvalid."""
    if not isinstance(given, list):
        raise ScenarioInvalid(f"{where}: expected tables, got {given!r}")
    acts: list[Act] = []
    for number, each in enumerate(cast("list[object]", given), 1):
        place = f"{where}[{number}]"
        table = dict(expect_table(each, place))
        name = table.pop("act", None)
        kind = BY_NAME.get(name) if isinstance(name, str) else None
        if kind is None:
            raise ScenarioInvalid(f"{place}.act: expected one of {', '.join(sorted(BY_NAME))}, got {name!r}")
        acts.append(read_table(kind, table, place))
    return tuple(sorted(acts, key=lambda act: act.at_ms))


def verify_script(script: Sequence[Act], n: int, duration_ms: int, where: str) -> None:
    """Raise ScenarioInvalid when an act names a replica that is not there, or comes after the world is healed."""
    for act in script:
        if not 0 <= act.at_ms < duration_ms:
            expected = f"expected at_ms below the {duration_ms} ms of faults"
            raise ScenarioInvalid(f"{where}: act {act.name}: {expected}, got {act.at_ms}")
        wrong = [number for number in act.get_replicas() if not 0 <= number < n]
        if wrong:
            raise ScenarioInvalid(
                f"{where}: act {act.name} at {act.at_ms} ms: expected replicas below {n}, got {wrong}"
            )


def get_faulty(script: Sequence[Act]) -> frozenset[int]:
    """Return the replicas that are not correct in this run."""
    return frozenset(number for act in script for number in act.get_faulty())


def prepare(script: Sequence[Act], world: World) -> None:
    """Do what comes before the start, and arrange the rest."""
    for act in script:
        if act.at_ms == 0:
            act.begin(world)
        else:
            world.schedule.after(act.at_ms, partial(_begin, act, world))


def _begin(act: Act, world: World) -> None:
    world.show(Scripted(world.now_ms, act.name))
    act.begin(world)
