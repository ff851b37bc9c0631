"""The harmonic metrics keep their invariants I1 to I6, over all inputs that an action can have."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger import hsmf
from ledger.hsmf import Metrics
from ledger.primitives.fixed_point import SCALE

UNIT = st.one_of(st.sampled_from([0, 1, SCALE - 1, SCALE, hsmf.PHI_INVERSE]), st.integers(0, SCALE))
LAMBDA = st.one_of(st.sampled_from([1, hsmf.PHI, hsmf.PHI_INVERSE, 10 * SCALE]), st.integers(1, 10 * SCALE))
WINDOWS = st.lists(st.one_of(st.just(0), st.integers(0, 10**14)), max_size=hsmf.WINDOWS_KEPT)
TERMS = ("s_res", "s_flx", "s_psi", "f_atr")


@dataclass(frozen=True)
class Terms:
    """What the cost is computed from."""

    s_res: int
    s_flx: int
    s_psi: int
    f_atr: int

    def with_more(self, term: str, more: int) -> "Terms":
        values = {name: getattr(self, name) for name in TERMS}
        return Terms(**{**values, term: values[term] + more})

    def cost(self, lambda_flx: int, lambda_psi: int) -> int:
        return hsmf.compute_cost(self.s_res, self.s_flx, self.s_psi, self.f_atr, lambda_flx, lambda_psi)

    def c_holo(self) -> int:
        return hsmf.compute_c_holo(self.s_res, self.s_flx, self.s_psi)

    def metrics(self, s_chr: int) -> Metrics:
        return Metrics(s_chr, self.s_res, self.s_flx, self.s_psi, self.f_atr, self.cost(SCALE, SCALE), self.c_holo())


ALL_TERMS = st.builds(Terms, UNIT, UNIT, UNIT, UNIT)
ACTIONS = st.fixed_dictionaries(
    {
        "s_chr": st.integers(-SCALE, 2 * SCALE),
        "windows": WINDOWS,
        "beat": st.integers(0, 10**6),
        "reference_beat": st.integers(0, 10**6),
        "multiplier": st.integers(SCALE, 10 * SCALE),
        "weight": st.integers(0, 20 * SCALE),
        "beta": st.integers(0, 100),
        "lambda_flx": LAMBDA,
        "lambda_psi": LAMBDA,
    }
)


# I1: what dissonates more costs more.


@given(ALL_TERMS, st.sampled_from(TERMS), st.integers(1, SCALE), LAMBDA, LAMBDA)
def test_i1_cost_never_falls_and_grows_by_what_its_term_grew(
    terms: Terms, term: str, more: int, lambda_flx: int, lambda_psi: int
) -> None:
    """Exactly: by the growth itself for s_res and f_atr; for the two weighed terms by lambda * growth, floored once
    before and once after, so it is strict as soon as lambda * growth is at least 10**-18."""
    grown = terms.with_more(term, more).cost(lambda_flx, lambda_psi) - terms.cost(lambda_flx, lambda_psi)

    weight = {"s_flx": lambda_flx, "s_psi": lambda_psi}.get(term, SCALE)
    assert grown - more * weight // SCALE in (0, 1)
    assert weight != SCALE or grown == more
    if more * weight >= SCALE:
        assert grown > 0


@given(ALL_TERMS, st.sampled_from(("s_flx", "s_psi")), st.integers(1, SCALE))
def test_i1_under_the_first_policy_every_step_that_counts_costs_more(terms: Terms, term: str, more: int) -> None:
    """lambda_flx is above 1, so there every step costs; lambda_psi is 1/phi, so there every second one."""
    grown = terms.with_more(term, more).cost(hsmf.PHI, hsmf.PHI_INVERSE) - terms.cost(hsmf.PHI, hsmf.PHI_INVERSE)

    assert grown > 0 or (term == "s_psi" and more == 1)


@given(UNIT, UNIT, st.integers(1, 100))
def test_i1_lower_standing_never_costs_less(s_chr: int, other: int, beta: int) -> None:
    low, high = sorted((s_chr, other))

    assert hsmf.compute_s_res(low, beta) >= hsmf.compute_s_res(high, beta)


def test_resistance_is_beta_times_the_square_of_what_standing_lacks() -> None:
    assert [hsmf.compute_s_res(share * SCALE // 10, 1) for share in (0, 5, 9, 10, 11)] == [
        SCALE, SCALE // 4, SCALE // 100, 0, 0,
    ]  # fmt: skip
    assert hsmf.compute_s_res(SCALE // 2, 2) == SCALE // 2
    assert hsmf.compute_s_res(SCALE // 2, 5) == SCALE
    assert hsmf.compute_s_res(0, 0) == 0


# I2: coherence.


@given(ALL_TERMS)
def test_i2_coherence_is_above_0_and_1_exactly_without_dissonance(terms: Terms) -> None:
    c_holo, dissonance = terms.c_holo(), terms.s_res + terms.s_flx + terms.s_psi

    assert SCALE // 4 <= c_holo <= SCALE
    assert (c_holo == SCALE) == (dissonance == 0)


@given(ALL_TERMS, st.sampled_from(TERMS[:3]), st.integers(1, SCALE))
def test_i2_coherence_never_grows_with_dissonance(terms: Terms, term: str, more: int) -> None:
    """It falls strictly once it falls by the resolution: at most 16 steps, as coherence is at least a quarter."""
    before, after = terms.c_holo(), terms.with_more(term, more).c_holo()

    assert after <= before
    if more > 25:
        assert after < before


# I3: no reward grows with dissonance or with the price.


@given(ALL_TERMS, st.sampled_from(TERMS), st.integers(1, SCALE), UNIT)
def test_i3_no_weight_of_a_reward_grows_with_dissonance(terms: Terms, term: str, more: int, s_chr: int) -> None:
    more = min(more, SCALE - getattr(terms, term))
    before, after = terms.metrics(s_chr), terms.with_more(term, more).metrics(s_chr)

    for weigh in (hsmf.weigh_chr, hsmf.weigh_flx, hsmf.weigh_psi):
        assert 0 <= weigh(after) <= weigh(before) <= SCALE


# I4: totals are exact sums.


@given(ALL_TERMS, LAMBDA, LAMBDA)
def test_i4_cost_is_the_exact_sum_of_its_terms(terms: Terms, lambda_flx: int, lambda_psi: int) -> None:
    nothing = Terms(0, 0, 0, 0)
    parts = [nothing.with_more(term, getattr(terms, term)) for term in TERMS]

    assert terms.cost(lambda_flx, lambda_psi) == sum(part.cost(lambda_flx, lambda_psi) for part in parts)


@given(ACTIONS)
def test_i4_what_is_measured_together_is_what_is_measured_apart(action: dict[str, Any]) -> None:
    found = hsmf.measure(**action)

    assert found.s_res == hsmf.compute_s_res(action["s_chr"], action["beta"])
    assert found.s_flx == hsmf.compute_s_flx(action["windows"])
    assert found.s_psi == hsmf.compute_s_psi(action["beat"], action["reference_beat"])
    assert found.f_atr == hsmf.compute_f_atr(action["multiplier"], action["weight"])
    whole = found.s_res + found.f_atr
    weighed = action["lambda_flx"] * found.s_flx // SCALE + action["lambda_psi"] * found.s_psi // SCALE
    assert found.cost == whole + weighed
    assert found.c_holo == SCALE**2 // (SCALE + found.s_res + found.s_flx + found.s_psi)


# I5: the same inputs give the same bits.


@given(ACTIONS)
def test_i5_a_replay_gives_the_same_bits(action: dict[str, Any]) -> None:
    again = {name: action[name] for name in sorted(action, reverse=True)} | {"windows": tuple(action["windows"])}

    first, second = hsmf.measure(**action), hsmf.measure(**again)

    assert first == second
    assert all(type(getattr(first, name)) is int for name in (*TERMS, "cost", "c_holo"))


def test_i5_known_values_do_not_change() -> None:
    """Else a replay of old blocks would give other digests."""
    found = hsmf.measure(  # s_flx: the ratios 2/3 and 10 are inside the band, and far above it
        hsmf.S_CHR_START, (5 * 10**9, 0, 90 * 10**9), beat=700, reference_beat=188, multiplier=3 * SCALE // 2,
        weight=SCALE, beta=1, lambda_flx=hsmf.PHI, lambda_psi=hsmf.PHI_INVERSE,
    )  # fmt: skip

    assert found.s_psi == SCALE // 4
    assert found.f_atr == 75 * SCALE // 1_000
    assert (found.s_res, found.s_flx, found.cost, found.c_holo) == KNOWN


KNOWN = (145_898_033_750_315_455, 500_000_000_000_000_000, 1_184_423_525_312_736_591, 527_454_526_666_647_328)


# I6: everything is in 0..1.


@given(ACTIONS)
def test_i6_every_metric_is_in_0_to_1(action: dict[str, Any]) -> None:
    found = hsmf.measure(**action)

    assert all(0 <= getattr(found, name) <= SCALE for name in (*TERMS, "c_holo"))
    assert 0 <= found.cost <= 22 * SCALE


@given(UNIT, st.none() | st.integers(-SCALE, 2 * SCALE), st.integers(SCALE // 100, 3 * SCALE // 10))
def test_i6_standing_stays_in_0_to_1(s_chr: int, performance: int | None, alpha: int) -> None:
    after = hsmf.next_s_chr(s_chr, performance, alpha)

    assert 0 <= after <= SCALE
    if performance is None:
        assert abs(after - hsmf.S_CHR_START) <= abs(s_chr - hsmf.S_CHR_START)


@given(WINDOWS)
def test_inside_the_golden_band_there_is_no_dissonance(windows: list[int]) -> None:
    magnitudes = [hsmf.WINDOW_FLOOR + spent for spent in windows]
    inside = all(hsmf.PHI_INVERSE <= after * SCALE // before <= hsmf.PHI for before, after in pairwise(magnitudes))

    assert (hsmf.compute_s_flx(windows) == 0) >= inside
    assert hsmf.compute_s_flx([0] * len(windows)) == 0
