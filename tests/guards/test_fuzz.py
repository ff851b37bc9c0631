"""Fuzzed inputs: no guard raises an error, whatever it is given, and one seed gives the same every time."""

import pytest

from ledger.judgement import Case
from ledger.verdict import Verdict
from tests.guards.court import changed
from tools import fuzz_guards
from tools.fuzz_guards import GUARDS, fuzz, list_targets

COUNT = 2_500


@pytest.mark.parametrize("name", list_targets())
def test_no_guard_raises_an_error(name: str) -> None:
    report = fuzz(name, COUNT, seed=20_261_124)

    assert report.first == ""
    assert (report.count, report.errors, len(report.nanoseconds)) == (COUNT, 0, COUNT)


def test_the_cases_reach_most_of_what_a_guard_can_say() -> None:
    """Else the fuzzing would look at one branch only."""
    reached = {name: fuzz(f"{name}.judge", COUNT, seed=3).codes for name in ("economics", "safety", "sybil")}

    assert reached["safety"] == set(GUARDS["safety"].codes)
    assert reached["sybil"] == set(GUARDS["sybil"].codes)
    assert len(reached["economics"]) == 5
    assert fuzz("aegis.decide", COUNT, seed=3).codes == set(GUARDS["aegis"].codes)
    audited = fuzz("constitution.audit", COUNT, seed=3).codes
    assert audited >= {
        "INVARIANT_VIOLATION_NOD_TRANSFER", "K1_MINTED", "K1_NOT_CONSERVED", "K2_OVERFLOW", "K3_NOT_TRANSFERABLE",
        "K6_TIME_GOES_BACK", "K10_POLICY_WITHOUT_PROCEDURE",
    }  # fmt: skip


def test_a_guard_that_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_sometimes(case: Case) -> tuple[Verdict, ...]:
        if case.standing is None:
            raise KeyError("planted")
        return ()

    guard = changed(GUARDS["safety"], judge=fail_sometimes)
    monkeypatch.setitem(GUARDS, "safety", guard)

    report = fuzz("safety.judge", COUNT, seed=5)

    assert 0 < report.errors < COUNT
    assert "planted" in report.first


def test_a_seed_gives_the_same_cases() -> None:
    first, again, other = (fuzz_guards.Fuzzer(seed).case() for seed in (7, 7, 8))

    assert (first.entry, first.policies, first.standing) == (again.entry, again.policies, again.standing)
    assert first.entry != other.entry
