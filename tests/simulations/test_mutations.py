"""The simulator finds the known bugs: each is planted, and turns a run red within a few seeds."""

import pytest

from simulations.bugs import BUGS, Bug
from simulations.mutations import seek

NOT_FOUND = ("votes-while-fetching", "timer-of-exact-view")
"""What no seed has shown yet; docs/simulator.md says so."""
SEEDS_MAX = 12
FOUND = [bug for bug in BUGS if bug.name not in NOT_FOUND]


@pytest.mark.parametrize("bug", FOUND, ids=[bug.name for bug in FOUND])
def test_a_planted_bug_is_found(bug: Bug) -> None:
    finding = seek(bug, SEEDS_MAX)

    assert finding.is_found, f"{finding.bug}: not in {SEEDS_MAX} seeds of {finding.scenario}"


def test_at_least_eleven_are_looked_for() -> None:
    assert len(FOUND) >= 11
