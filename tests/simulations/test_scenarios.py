"""The fault scenarios: each with a few fixed seeds, each with what it must show beside the rules that hold always."""

from pathlib import Path

import pytest

from simulations.scenario import FOLDER, find_scenario, load_scenario, run_scenario

SEEDS = {
    "equivocation": 3,
    "equivocation_batches": 3,
    "carry_over": 2,
    "carry_over_four": 2,
    "cascade": 4,
    "star": 3,
    "stranded": 3,
    "torture": 3,
    "laggard": 4,
    "rejoin": 2,
    "replays": 2,
    "replays_in_flight": 2,
    "divergence": 2,
    "divergence_beyond_f": 4,
    "censorship": 2,
    "slow_primary": 3,
    "flooding": 1,
    "membership": 3,
    "membership_expelled": 2,
}
"""How many seeds, from 1 on, CI runs of each; the other files have tests of their own."""
OTHERS = ("lossy", "slow", "soup", "usurper")
DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name in SEEDS for seed in range(1, SEEDS[name] + 1)])
def test_a_scenario_shows_what_it_must(name: str, seed: int) -> None:
    outcome = run_scenario(load_scenario(find_scenario(name)), seed)

    repeat = f"python -m simulations {name} --seed {seed}"
    assert outcome.failure is None, f"{outcome.failure}\n{outcome.where}\nrepeat: {repeat}"


def test_every_file_is_run_and_described() -> None:
    files = {path.stem for path in FOLDER.glob("*.toml")}
    described = (DOCS / "simulator.md").read_text()

    assert files == {*SEEDS, *OTHERS}
    assert [name for name in sorted(files) if f"`{name}`" not in described] == []
    wrong = [name for name in sorted(SEEDS) if f"| `{name}` | {SEEDS[name]} |" not in described]
    assert wrong == [], "docs/simulator.md tells how many seeds CI runs"


def test_equal_seeds_give_equal_runs_of_a_script_as_well() -> None:
    scenario = load_scenario(find_scenario("stranded"))

    assert run_scenario(scenario, 2).trace_hash == run_scenario(scenario, 2).trace_hash
