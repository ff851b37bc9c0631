"""The simulator finds the known bugs: each is planted, and turns a run red within a few seeds."""

import pytest

from simulations.bugs import BUGS, Bug
from simulations.mutations import seek

SEEDS_MAX = 12


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_a_planted_bug_is_found(bug: Bug) -> None:
    finding = seek(bug, SEEDS_MAX)

    assert finding.is_found, f"{finding.bug}: not in {SEEDS_MAX} seeds of {finding.scenario}"
