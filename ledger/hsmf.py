"""The harmonic metrics of an action: how much it dissonates, what that costs, and how coherent it is.

All values are raw integers of 10**-18.  Every metric lies in 0..1; functions are pure and floor once.  Source: DOMAIN
section 2, with the rules that the decisions 0018 and 0019 keep.

    s_res    = beta * (1 - s_chr)**2                       resistance of low standing
    s_flx    = mean of the last day-windows' distance from the golden band
    s_psi    = min(1, (beat included - beat of the reference block) / 2048)
    f_atr    = multiplier * weight / 20
    cost     = s_res + l1 * s_flx + l2 * s_psi + f_atr
    c_holo   = 1 / (1 + s_res + s_flx + s_psi)
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ledger.primitives.fixed_point import SCALE

PHI = 1_618033988749894848
PHI_INVERSE = 618033988749894848
PHI_INVERSE_SQUARED = 381966011250105151
S_CHR_START = PHI_INVERSE
"""Standing of a new account, and what an idle one drifts to."""

SYNC_BEATS_MAX = 2_048
WINDOW_BEATS = 5_082
"""A day of nominal beats: the window of the golden band."""
WINDOWS_KEPT = 8
WINDOW_FLOOR = 10_000 * 10**6
"""Added to each window's energy: sleep and light use then have no dissonance, and no divisor is zero."""
WEIGHT_MAX = 20
"""The greatest weight of an action (a proposal); f_atr is its share."""


class Metrics(NamedTuple):
    """What one action measured; raw, each in 0..1 but `cost`."""

    s_chr: int
    s_res: int
    s_flx: int
    s_psi: int
    f_atr: int
    cost: int
    c_holo: int


def compute_s_res(s_chr: int, beta: int) -> int:
    """Return resistance, clamped to 0..1.  beta: a plain number, 0..100."""
    gap = SCALE - min(max(s_chr, 0), SCALE)
    return min(SCALE, beta * gap * gap // SCALE)


def compute_s_flx(windows: Sequence[int]) -> int:
    """Return the mean distance of successive windows' ratios from the band 1/phi..phi, in 0..1.

    windows: energy spent in successive day-windows, oldest first, in millionths of an ATR; the last WINDOWS_KEPT count.
    """
    magnitudes = [WINDOW_FLOOR + spent for spent in windows[-WINDOWS_KEPT:]]
    distances: list[int] = []
    for before, after in pairwise(magnitudes):
        ratio = after * SCALE // before
        distances.append(min(SCALE, max(0, ratio - PHI) + max(0, PHI_INVERSE - ratio)))
    return sum(distances) // len(distances) if distances else 0


def compute_s_psi(beat: int, reference_beat: int) -> int:
    """Return how late an action was included, in 0..1."""
    return min(SCALE, max(0, beat - reference_beat) * SCALE // SYNC_BEATS_MAX)


def compute_f_atr(multiplier: int, weight: int) -> int:
    """Return the share of the greatest weight that an action takes, clamped to 0..1."""
    return min(SCALE, multiplier * weight // (WEIGHT_MAX * SCALE))


def compute_cost(s_res: int, s_flx: int, s_psi: int, f_atr: int, lambda_flx: int, lambda_psi: int) -> int:
    """Return the action cost; strictly increasing in each metric up to the floor of 10**-18."""
    return s_res + lambda_flx * s_flx // SCALE + lambda_psi * s_psi // SCALE + f_atr


def compute_c_holo(s_res: int, s_flx: int, s_psi: int) -> int:
    """Return coherence in 0..1; 1 exactly when there is no dissonance."""
    return SCALE * SCALE // (SCALE + s_res + s_flx + s_psi)


def measure(
    s_chr: int,
    windows: Sequence[int],
    *,
    beat: int,
    reference_beat: int,
    multiplier: int,
    weight: int,
    beta: int,
    lambda_flx: int,
    lambda_psi: int,
) -> Metrics:
    """Return all metrics of one action."""
    s_res = compute_s_res(s_chr, beta)
    s_flx = compute_s_flx(windows)
    s_psi = compute_s_psi(beat, reference_beat)
    f_atr = compute_f_atr(multiplier, weight)
    cost = compute_cost(s_res, s_flx, s_psi, f_atr, lambda_flx, lambda_psi)
    return Metrics(s_chr, s_res, s_flx, s_psi, f_atr, cost, compute_c_holo(s_res, s_flx, s_psi))


def weigh_chr(metrics: Metrics) -> int:
    """Return an action's weight for CHR, in 0..1."""
    return metrics.s_chr * metrics.c_holo // SCALE


def weigh_flx(metrics: Metrics) -> int:
    """Return an action's weight for FLX, in 0..1: dissonance lowers it."""
    return metrics.c_holo * (SCALE - metrics.s_flx) // SCALE


def weigh_psi(metrics: Metrics) -> int:
    """Return an action's weight for PSI, in 0..1: delay lowers it."""
    return metrics.c_holo * (SCALE - metrics.s_psi) // SCALE


def next_s_chr(s_chr: int, performance: int | None, alpha: int) -> int:
    """Return standing after an epoch.

    performance: the mean coherence of the account's settled items less its penalties, clamped to 0..1; None when the
    account had neither, which lets standing drift 1 % of the way to its start.
    """
    if performance is None:
        return s_chr + (S_CHR_START - s_chr) // 100 if s_chr <= S_CHR_START else s_chr - (s_chr - S_CHR_START) // 100
    clamped = min(max(performance, 0), SCALE)
    return ((SCALE - alpha) * s_chr + alpha * clamped) // SCALE
