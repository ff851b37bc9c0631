"""Tally: the arithmetic of votes holds for all numbers."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.primitives.fixed_point import SCALE
from social.governance.tally import NO_QUORUM, PASSED, REJECTED, compute_outcome

weights = st.integers(0, 10**24)
shares = st.integers(0, SCALE)


@given(weights, weights, weights, weights, shares, st.integers(SCALE // 2, SCALE))
def test_an_outcome_is_what_the_definition_says(
    yes: int, no: int, abstain: int, absent: int, quorum: int, majority: int
) -> None:
    eligible = yes + no + abstain + absent

    outcome = compute_outcome(yes, no, abstain, eligible=eligible, quorum=quorum, majority=majority)

    if (yes + no + abstain) * SCALE < quorum * eligible:
        assert outcome == NO_QUORUM
    else:
        passed = yes > no and yes * SCALE >= majority * (yes + no)
        assert outcome == (PASSED if passed else REJECTED)


@given(weights, weights, weights, shares, st.integers(SCALE // 2, SCALE))
def test_a_tie_never_passes(votes: int, abstain: int, absent: int, quorum: int, majority: int) -> None:
    eligible = 2 * votes + abstain + absent

    assert compute_outcome(votes, votes, abstain, eligible=eligible, quorum=quorum, majority=majority) != PASSED


@given(weights, weights, weights, weights, weights, shares, st.integers(SCALE // 2, SCALE))
def test_another_yes_never_hurts_and_another_no_never_helps_once_there_is_a_quorum(
    yes: int, no: int, abstain: int, more: int, absent: int, quorum: int, majority: int
) -> None:
    eligible = yes + no + abstain + more + absent

    def decide(yes: int, no: int) -> str:
        return compute_outcome(yes, no, abstain, eligible=eligible, quorum=quorum, majority=majority)

    before = decide(yes, no)
    if before == PASSED:
        assert decide(yes + more, no) == PASSED
    if before == REJECTED:
        assert decide(yes, no + more) == REJECTED


def test_sixty_six_percent_pass_and_a_little_less_does_not() -> None:
    rules = {"eligible": 100, "quorum": 3 * SCALE // 10, "majority": 66 * SCALE // 100}

    assert compute_outcome(66, 34, 0, **rules) == PASSED
    assert compute_outcome(65, 34, 0, **rules) == REJECTED
    assert compute_outcome(30, 0, 0, **rules) == PASSED
    assert compute_outcome(29, 0, 0, **rules) == NO_QUORUM
    assert compute_outcome(0, 0, 30, **rules) == REJECTED
