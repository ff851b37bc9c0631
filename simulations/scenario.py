"""Scenarios: what goes wrong, as a TOML file; the seed draws the rest.  Two phases: faults, then a healed core.

Safety is checked at every observation; afterwards every valid event that a replica accepted must be executed by the
whole core, within the virtual time that the scenario states.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from simulations import script as scripts
from simulations.acts import Act
from simulations.checkers import Checker, get_progress, make_checkers
from simulations.checkers.expected import Expect
from simulations.checkers.expected.places import ExpectedPlaces
from simulations.checkers.expected.replicas import ExpectedReplicas
from simulations.checkers.expected.views import ExpectedViews
from simulations.checkers.expected.work import ExpectedWork
from simulations.faults import Faults
from simulations.liars import Liars, choose_liars
from simulations.observations import CheckFailed, Observation
from simulations.setting import Timing, get_account_id
from simulations.tables import ScenarioInvalid as ScenarioInvalid
from simulations.tables import read_table
from simulations.trace import Trace
from simulations.world import Load, World

FOLDER = Path(__file__).parent / "scenarios"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file."""

    name: str
    replicas: int = 4
    duration_ms: int = 15_000
    commit_within_ms: int = 60_000
    faults: Faults = field(default_factory=Faults)
    timing: Timing = field(default_factory=Timing)
    load: Load = field(default_factory=Load)
    liars: Liars = field(default_factory=Liars)
    script: tuple[Act, ...] = ()
    settle_ms: int = 0
    """How long the run goes on after everything is executed."""
    expect: Expect = field(default_factory=Expect)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to; `failure` is None when every rule held."""

    scenario: str
    seed: int
    replicas: int
    failure: CheckFailed | None
    trace_hash: str
    observations: int
    virtual_ms: int
    healed_ms: int
    height: int
    views: int
    crashes: int
    events: int
    where: str


def find_scenario(name: str) -> Path:
    """Return the file of a scenario, named by its path or as one of ours.  Raises ScenarioInvalid."""
    for path in (Path(name), FOLDER / f"{name}.toml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.toml")))
    raise ScenarioInvalid(f"{name}: expected a file, or one of: {known}")


def load_scenario(path: Path, replicas: int | None = None) -> Scenario:
    """Return the scenario in a file.  Raises ScenarioInvalid."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ScenarioInvalid(f"{path}: {error}") from error
    sections = {"faults": Faults, "timing": Timing, "load": Load, "liars": Liars, "expect": Expect}
    values: dict[str, Any] = {"name": path.stem}
    known = {each.name for each in fields(Scenario)} - {"name"}
    for key, value in document.items():
        if key not in known:
            raise ScenarioInvalid(f"{path}: {key}: expected one of {', '.join(sorted(known))}")
        if key in sections:
            values[key] = read_table(sections[key], value, f"{path}: {key}")
        elif key == "script":
            values[key] = scripts.read_script(value, f"{path}: script")
        elif type(value) is not int:
            raise ScenarioInvalid(f"{path}: {key}: expected a whole number, got {value!r}")
        else:
            values[key] = value
    if replicas is not None:
        values["replicas"] = replicas
    scenario = Scenario(**values)
    scripts.verify_script(scenario.script, scenario.replicas, scenario.duration_ms, f"{path}: script")
    return scenario


def make_world(scenario: Scenario, seed: int) -> World:
    """Return the world of a scenario and a seed, not started."""
    return World(seed, scenario.replicas, scenario.faults, scenario.timing, scenario.load)


VIEWS_MAX_PER_REPLICA = 4
"""After healing, the core may pass so many views times n: liars and the unhealed have their turns too."""


def run_scenario(
    scenario: Scenario,
    seed: int,
    *,
    write_line: Callable[[str], object] | None = None,
    prepare: Callable[[World], None] | None = None,
) -> Outcome:
    """Run both phases.  prepare: what is to be done to the world before it starts, such as lying replicas."""
    world = make_world(scenario, seed)
    choose_liars(world, scenario.liars)
    world.faulty |= scripts.get_faulty(scenario.script)
    if prepare is not None:
        prepare(world)
    trace = Trace(write_line)
    world.observe(trace.observe)
    counts = Counts()
    world.observe(counts.observe)
    parameters = world.setting.parameters
    checkers = make_checkers(
        world.setting.chain_id,
        parameters.replicas,
        world.correct,
        may_halt=scenario.expect.halted or (),
        within_ms=scenario.commit_within_ms,
        views_max=VIEWS_MAX_PER_REPLICA * world.n,
    )
    checkers += _make_expected(scenario.expect, world)
    for checker in checkers:
        world.observe(checker.observe)
    failure: CheckFailed | None = None
    healed_ms = 0
    try:
        scripts.prepare(scenario.script, world)
        world.start()
        world.run(scenario.duration_ms)
        world.heal()
        healed_ms = world.now_ms
        if scenario.expect.progress:
            _wait_until_done(scenario, world, checkers, healed_ms)
        for checker in checkers:
            checker.finish()
    except CheckFailed as failed:
        failure = failed
    return Outcome(
        scenario=scenario.name,
        seed=seed,
        replicas=world.n,
        failure=failure,
        trace_hash=trace.hexdigest(),
        observations=trace.count,
        virtual_ms=world.now_ms,
        healed_ms=healed_ms,
        height=max(len(set(each.values())) and max(each.values()) for each in world.executed),
        views=counts.view,
        crashes=counts.crashes,
        events=len(world.workload.accepted),
        where=world.describe(),
    )


def _make_expected(expect: Expect, world: World) -> list[Checker]:
    account = expect.waiting_account or 0
    parameters = world.setting.parameters
    return [
        ExpectedViews(expect, world.correct, parameters.f, parameters.quorum),
        ExpectedReplicas(expect, world.correct, parameters.f),
        ExpectedPlaces(expect),
        ExpectedWork(expect, world.correct, get_account_id(world.setting.chain_id, account)),
    ]


def _wait_until_done(scenario: Scenario, world: World, checkers: list[Checker], healed_ms: int) -> None:
    get_progress(checkers).expect(world.workload.accepted, world.core, healed_ms)
    if not world.run_until(world.is_done, scenario.commit_within_ms):
        raise CheckFailed(
            "liveness",
            f"every accepted event executed by {world.core} within {scenario.commit_within_ms} ms of healing",
            world.workload.describe(world.core),
        )
    get_progress(checkers).expect(world.workload.accepted, world.core, healed_ms)  # and what came since
    world.run(scenario.settle_ms)


class Counts:
    """What a summary shows of a run."""

    def __init__(self) -> None:
        self.view = 0
        self.crashes = 0

    def observe(self, observation: Observation) -> None:
        kind = type(observation).__name__
        if kind == "Crashed":
            self.crashes += 1
        elif kind == "EnteredView":
            self.view = max(self.view, getattr(observation, "view", 0))
