"""Whole networks: equal seeds give equal runs, and no seed of the soup breaks a rule."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.messages import Commit, make_signed
from simulations.__main__ import main
from simulations.faults import Faults
from simulations.liars import Liars
from simulations.observations import Accused, Observation, Sent
from simulations.scenario import (
    Outcome,
    Scenario,
    ScenarioInvalid,
    find_scenario,
    load_scenario,
    run_scenario,
)
from simulations.world import Load, World

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = Scenario(
    "small",
    duration_ms=4_000,
    faults=Faults(delay_ms=(1, 30), loss_permille=(50, 50), crash_gap_ms=(800, 1_500), crash_point_ppm=(500, 500)),
    load=Load(events=20, careless_events=10, over_ms=3_500),
)


def run(scenario: Scenario, seed: int) -> Outcome:
    return run_scenario(scenario, seed)


def soup(seed: int, replicas: int) -> None:
    outcome = run(load_scenario(find_scenario("soup"), replicas), seed)

    repeat = f"python -m simulations soup --seed {seed} --replicas {replicas}"
    assert outcome.failure is None, f"{outcome.failure}\n{outcome.where}\nrepeat: {repeat}"


@pytest.mark.parametrize("seed", [*range(1, 36), 1079, 10482])
def test_four_replicas_keep_every_rule_in_the_soup(seed: int) -> None:
    """1079: a liar withheld its signature of a height, and whoever lagged was never given that block.

    10482: only one that lagged was told the certificate of a block, and kept it to itself.
    """
    soup(seed, 4)


@pytest.mark.parametrize("seed", range(1, 11))
def test_seven_replicas_keep_every_rule_in_the_soup(seed: int) -> None:
    soup(seed, 7)


@pytest.mark.parametrize("seed", range(1, 5))
def test_ten_replicas_keep_every_rule_in_the_soup(seed: int) -> None:
    soup(seed, 10)


@pytest.mark.parametrize("seed", range(1, 3))
def test_thirty_one_replicas_keep_every_rule_in_a_short_soup(seed: int) -> None:
    scenario = load_scenario(find_scenario("soup"), 31)
    outcome = run(replace(scenario, duration_ms=4_000, load=replace(scenario.load, events=40, over_ms=3_500)), seed)

    assert outcome.failure is None, f"{outcome.failure}\n{outcome.where}"


def test_a_block_that_became_durable_in_the_moment_of_a_crash_is_seen() -> None:
    soup(24, 4)


def test_a_seed_gives_the_same_run_twice_and_another_seed_another() -> None:
    first, second, other = run(SMALL, 5), run(SMALL, 5), run(SMALL, 6)

    assert first.failure is second.failure is None
    assert first.trace_hash == second.trace_hash
    assert first.observations > 500
    assert other.trace_hash != first.trace_hash


def test_another_process_with_other_hashes_gives_the_same_run() -> None:
    code = (
        "from tests.simulations.test_worlds import SMALL, run; outcome = run(SMALL, 5); "
        "print(outcome.trace_hash, outcome.observations)"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT}:{ROOT / 'client-api'}"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    here = run(SMALL, 5)

    assert found == [f"{here.trace_hash} {here.observations}\n"] * 2


def test_the_simulator_loads_nothing_that_waits_for_real() -> None:
    code = "import sys, simulations.__main__; print([name for name in sys.argv[1:] if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code, "trio", "aiohttp", "libp2p", "plyvel"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )

    assert done.stdout == "[]\n"


def test_a_calm_network_executes_everything_and_nobody_leaves_view_0() -> None:
    outcome = run(Scenario("calm", duration_ms=3_000, load=Load(events=30, over_ms=2_500)), 1)

    assert outcome.failure is None
    assert outcome.views == outcome.crashes == 0


def test_a_silent_primary_is_replaced() -> None:
    def silence(world: World) -> None:
        world.misbehave(lambda replica: (lambda sent: []) if replica == 0 else None)

    scenario = Scenario("silent", duration_ms=4_000, load=Load(events=20, over_ms=3_000))
    outcome = run_scenario(scenario, 1, prepare=silence)

    assert outcome.failure is None
    assert outcome.views > 0


def test_a_forked_primary_is_seen_by_the_rules_and_changes_nothing_among_the_correct() -> None:
    accused: list[Observation] = []

    def fork(world: World) -> None:
        sign = world.signer(0)

        def behave(sent: Sent) -> list[Sent]:
            message = sent.signed.message
            if isinstance(message, Commit):
                other = make_signed(replace(message, digest=bytes(32)), sign)
                return [sent, replace(sent, signed=other)]
            return [sent]

        world.misbehave(lambda replica: behave if replica == 0 else None)
        world.observe(lambda seen: accused.append(seen) if isinstance(seen, Accused) else None)

    outcome = run_scenario(Scenario("fork", duration_ms=3_000, load=Load(events=20, over_ms=2_000)), 1, prepare=fork)

    assert outcome.failure is None
    assert accused


@pytest.mark.parametrize("seed", range(1, 5))
def test_twins_of_the_first_primary_break_no_rule_among_the_others(seed: int) -> None:
    def prepare(world: World) -> None:
        world.twin(0)

    outcome = run_scenario(replace(load_scenario(find_scenario("soup")), liars=Liars()), seed, prepare=prepare)

    assert outcome.failure is None, f"{outcome.failure}\n{outcome.where}"


def test_a_replica_whose_vote_log_is_damaged_holds_nobody_up() -> None:
    scenario = load_scenario(find_scenario("soup"))
    damaged = replace(scenario, liars=Liars(), faults=replace(scenario.faults, flip_permille=(100, 300)))

    outcomes = [run(damaged, seed) for seed in (4, 8, 9)]

    assert [outcome.failure for outcome in outcomes] == [None] * 3
    assert all("a good one follows" in outcome.where for outcome in outcomes)  # it does not vote on what it forgot


def test_twins_in_a_calm_network_are_accused() -> None:
    accused: set[int] = set()

    def prepare(world: World) -> None:
        def see(seen: Observation) -> None:
            if isinstance(seen, Accused):
                accused.add(seen.first.message.replica)

        world.twin(0)
        world.observe(see)

    scenario = Scenario("twins", duration_ms=5_000, load=Load(events=30, over_ms=4_000))
    for seed in range(8, 14):  # seldom does one replica hear both at one place
        outcome = run_scenario(scenario, seed, prepare=prepare)
        assert outcome.failure is None, f"{outcome.failure}\n{outcome.where}"

    assert accused == {0}


def test_the_command_prints_the_seed_first_and_fails_with_how_to_repeat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hopeless = tmp_path / "hopeless.toml"
    hopeless.write_text("duration_ms = 1000\ncommit_within_ms = 0\n[load]\nevents = 50\nover_ms = 1000\n")

    code = main([str(hopeless), "--seed", "3"])

    printed = capsys.readouterr().out.splitlines()
    assert code == 1
    assert printed[0] == "seed 3"
    assert any("checker:  liveness" in line for line in printed)
    assert any(f"python -m simulations {hopeless} --seed 3" in line for line in printed)


@pytest.mark.parametrize("line", ["replicaz = 4", "replicas = 'four'", "[faults]\nloss = 3", "[faults]\ndelay_ms = 3"])
def test_a_scenario_that_says_something_unknown_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(line)

    with pytest.raises(ScenarioInvalid, match=r"wrong\.toml"):
        load_scenario(path)
