"""The check of the simulator itself: plant each known bug, and count the seeds until a checker sees it.

    python -m simulations.mutations [--seeds 60] [--bug NAME] [--json]

A bug that no seed shows is one that the suite would not notice in our own code.
"""

import argparse
import gc
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track
from rich.table import Table

from simulations.bugs import BUGS, Bug
from simulations.scenario import find_scenario, load_scenario, run_scenario

SEEDS_MAX = 60
SCENARIO_OF = {
    "gaps-left": "lossy",
    "new-view-from-anyone": "usurper",
    "timeout-constant": "slow",
    "timer-of-exact-view": "stranded",
    "votes-while-fetching": "rejoin",
}
"""Bugs that need a scenario of their own; the others are found in the soup."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The first seed that shows a bug; `seeds` counts those that were run, 0 stands for none that did."""

    bug: str
    scenario: str
    seed: int
    checker: str
    seeds: int

    @property
    def is_found(self) -> bool:
        return bool(self.checker)


def seek(bug: Bug, seeds_max: int = SEEDS_MAX, first: int = 1) -> Finding:
    """Run seeds with the bug planted until one fails."""
    name = SCENARIO_OF.get(bug.name, "soup")
    scenario = load_scenario(find_scenario(name))
    for seed in range(first, first + seeds_max):
        with bug.plant():
            outcome = run_scenario(scenario, seed)
        if outcome.failure is not None:
            return Finding(bug.name, name, seed, outcome.failure.checker, seed - first + 1)
    return Finding(bug.name, name, 0, "", seeds_max)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print a table, and return 1 when a bug was not found."""
    parser = argparse.ArgumentParser(
        prog="python -m simulations.mutations",
        description="Plant each known bug of PBFT, and see whether the simulator finds it.",
    )
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help=f"at most so many for each bug ({SEEDS_MAX})")
    parser.add_argument("--bug", choices=[bug.name for bug in BUGS], help="only this one")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each bug")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    gc.set_threshold(50_000, 20, 50)
    chosen = [bug for bug in BUGS if options.bug in (None, bug.name)]
    console = Console(stderr=True)
    findings = [
        seek(bug, options.seeds) for bug in track(chosen, "bugs", console=console, disable=not console.is_terminal)
    ]
    if options.json:
        for each in findings:
            print(json.dumps({name: getattr(each, name) for name in Finding.__slots__}, sort_keys=True))
    else:
        table = Table("bug", "scenario", "seeds until found", "checker", "repeat")
        for each in findings:
            count = str(each.seeds) if each.is_found else f"[red]not in {each.seeds}[/red]"
            table.add_row(each.bug, each.scenario, count, each.checker, f"seed {each.seed}" if each.is_found else "")
        Console().print(table)
    return 0 if all(each.is_found for each in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
