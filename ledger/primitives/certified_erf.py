"""The error function under certified_math.erf: scaled by 2**WORK_BITS, right to 2**-300.

From a table of centres c = 0, 1/4, 2/4 .. 26/4, by Taylor's series around the nearest:

    erf(c + h) = erf(c) + h * (a0 + a1 h / 2 + a2 h**2 / 3 + ..),  |h| <= 1/8

where a0 + a1 h + .. is the series of y(t) = 2 / sqrt pi * e**-t**2 at t = c + h.  From y' = -2 t y follows
(n + 1) a[n+1] = -2 (c a[n] + a[n-1]).  The series of two neighbours meet halfway: that gives erf(c), step by step.
"""

from ledger.primitives.certified_constants import TWO_OVER_ROOT_PI, WORK_BITS, WORK_ONE, horner
from ledger.primitives.certified_series import compute_exp_of_negative

STEPS = 4
"""Centres per whole number."""
CENTRES = 27
TERMS = 72

_HALF_STEP = WORK_ONE // (2 * STEPS)


def _compute_coefficients(centre: int) -> tuple[int, ...]:
    """a[n] / (n + 1) at c = centre / STEPS, the highest n first."""
    bell = compute_exp_of_negative(-centre * centre * WORK_ONE // (STEPS * STEPS))
    before, current = 0, TWO_OVER_ROOT_PI * bell >> WORK_BITS
    coefficients = [current]
    for n in range(1, TERMS):
        before, current = current, -2 * (centre * current + STEPS * before) // (STEPS * n)
        coefficients.append(current // (n + 1))
    return tuple(reversed(coefficients))


def _compute_table() -> tuple[tuple[int, tuple[int, ...]], ...]:
    """(erf(c), coefficients) for each centre."""
    value, coefficients = 0, _compute_coefficients(0)
    table = [(value, coefficients)]
    for centre in range(1, CENTRES):
        value += _HALF_STEP * horner(_HALF_STEP, coefficients) >> WORK_BITS
        coefficients = _compute_coefficients(centre)
        value += _HALF_STEP * horner(-_HALF_STEP, coefficients) >> WORK_BITS
        table.append((value, coefficients))
    return tuple(table)


_TABLE = _compute_table()


def compute_erf(numerator: int, denominator: int) -> int:
    """Return erf(numerator / denominator), scaled.  0 <= numerator, 0 < denominator, and a quotient up to 13/2."""
    centre = (2 * STEPS * numerator + denominator) // (2 * denominator)
    h = ((STEPS * numerator - centre * denominator) << WORK_BITS) // (STEPS * denominator)
    value, coefficients = _TABLE[centre]
    return value + (h * horner(h, coefficients) >> WORK_BITS)
