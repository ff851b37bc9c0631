"""The series under the certified functions: numbers scaled by 2**WORK_BITS, 96 digits, in and out.

Arguments come as exact quotients of integers, so that nothing is lost before the first step.  Each function reduces its
argument, sums a fixed number of terms, and is right to 2**-300, relative to the result for `compute_exp`, absolute for
the others: 90 digits, which tests compare with Python's decimal.  Our flooring to 18 decimals is in certified_math.
"""

from ledger.primitives.certified_constants import (
    ARCTAN_STEPS,
    ARCTAN_TABLE,
    CONSTANT_BITS,
    COS_COEFFICIENTS,
    EXP_COEFFICIENTS,
    EXP_HALVINGS,
    HALF_PI,
    HALF_PI_LONG,
    LN2,
    LOGARITHM_COEFFICIENTS,
    SIN_COEFFICIENTS,
    WORK_BITS,
    WORK_ONE,
    compute_arctan_of_small,
    horner,
)


def compute_exp(x: int) -> tuple[int, int]:
    """Return (m, k) with e**x = m * 2**k, m scaled and from 1 to 2; x scaled, |x| up to 2**9."""
    k, rest = divmod(x, LN2)
    power = horner(rest >> EXP_HALVINGS, EXP_COEFFICIENTS)
    for _ in range(EXP_HALVINGS):
        power = power * power >> WORK_BITS
    return power, k


def compute_exp_of_negative(x: int) -> int:
    """Return e**x, scaled, for x <= 0."""
    m, k = compute_exp(x)
    return m << k if k > 0 else m >> -k


def compute_logarithm(numerator: int, denominator: int) -> tuple[int, int]:
    """Return (k, l) with ln(numerator / denominator) = k ln 2 + l, l scaled and |l| <= ln 2 / 2.  Both above 0.

    A power of two gives l = 0, exactly.
    """
    k = numerator.bit_length() - denominator.bit_length()
    if k > 0:
        denominator <<= k
    else:
        numerator <<= -k
    # Now the quotient is between 1/2 and 2.  Bring it to between 1 / sqrt 2 and sqrt 2.
    if numerator * numerator > 2 * denominator * denominator:
        k, denominator = k + 1, 2 * denominator
    elif 2 * numerator * numerator < denominator * denominator:
        k, numerator = k - 1, 2 * numerator
    z = ((numerator - denominator) << WORK_BITS) // (numerator + denominator)
    return k, 2 * z * horner(z * z >> WORK_BITS, LOGARITHM_COEFFICIENTS) >> WORK_BITS


def compute_ln(numerator: int, denominator: int) -> int:
    """Return ln(numerator / denominator), scaled.  Both above 0."""
    k, rest = compute_logarithm(numerator, denominator)
    return k * LN2 + rest


def compute_sin(numerator: int, denominator: int, quadrants: int = 0) -> int:
    """Return sin(numerator / denominator + quadrants * pi / 2), scaled.  |numerator / denominator| up to 2**70.

    The nearest multiple of pi / 2 is taken away.  It can be the 2**70th: that eats 70 of the 415 bits known of pi / 2.
    """
    angle = (numerator << CONSTANT_BITS) // denominator
    turns = (2 * angle + HALF_PI_LONG) // (2 * HALF_PI_LONG)
    rest = (angle - turns * HALF_PI_LONG) >> (CONSTANT_BITS - WORK_BITS)
    square = rest * rest >> WORK_BITS
    match (turns + quadrants) % 4:
        case 0:
            return rest * horner(square, SIN_COEFFICIENTS) >> WORK_BITS
        case 1:
            return horner(square, COS_COEFFICIENTS)
        case 2:
            return -(rest * horner(square, SIN_COEFFICIENTS) >> WORK_BITS)
        case _:
            return -horner(square, COS_COEFFICIENTS)


def compute_arctan(numerator: int, denominator: int) -> int:
    """Return arctan(numerator / denominator), scaled.  0 <= numerator, 0 < denominator."""
    if numerator > denominator:
        return HALF_PI - compute_arctan(denominator, numerator)
    # arctan t = arctan c + arctan((t - c) / (1 + t c)), with c = step / 16 the nearest to t.
    step = (2 * ARCTAN_STEPS * numerator + denominator) // (2 * denominator)
    return ARCTAN_TABLE[step] + compute_arctan_of_small(
        ARCTAN_STEPS * numerator - step * denominator, ARCTAN_STEPS * denominator + step * numerator
    )


def compute_tanh(numerator: int, denominator: int) -> int:
    """Return tanh(numerator / denominator), scaled.  0 <= numerator, 0 < denominator, and a quotient up to 2**8."""
    e = compute_exp_of_negative(-((2 * numerator << WORK_BITS) // denominator))
    return ((WORK_ONE - e) << WORK_BITS) // (WORK_ONE + e)
