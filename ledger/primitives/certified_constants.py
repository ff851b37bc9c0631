"""Constants and series coefficients of the certified functions, as integers; nothing here is of use by itself.

Every number x is held as floor(x * 2**WORK_BITS), or with CONSTANT_BITS where more digits are needed.  WORK_BITS are 96
decimal digits; the contract asks for 64.  The decimal texts are the published digits, cut after the 130th.
"""

from itertools import pairwise

WORK_BITS = 320
CONSTANT_BITS = 416
"""For what is multiplied by numbers of up to 69 bits: pi, when an angle is brought into one quadrant."""
WORK_ONE = 1 << WORK_BITS

PI_DIGITS = (
    "3.14159265358979323846264338327950288419716939937510582097494459230"
    "78164062862089986280348253421170679821480865132823066470938446095"
)
LN2_DIGITS = (
    "0.69314718055994530941723212145817656807550013436025525412068000949"
    "33936219696947156058633269964186875420014810205706857336855202357"
)
LN10_DIGITS = (
    "2.30258509299404568401799145468436420760110148862877297603332790096"
    "75726096773524802359972050895982983419677840422862486334095254650"
)
TWO_OVER_ROOT_PI_DIGITS = (
    "1.12837916709551257389615890312154517168810125865799771368817144342"
    "12849368829868289734873204042147268860566958127234147033798629896"
)


def to_binary(digits: str, bits: int) -> int:
    """Return the decimal number `digits` as floor(number * 2**bits)."""
    whole, _, decimals = digits.partition(".")
    scale: int = 10 ** len(decimals)
    return (int(whole + decimals) << bits) // scale


HALF_PI_LONG = to_binary(PI_DIGITS, CONSTANT_BITS - 1)
HALF_PI = HALF_PI_LONG >> (CONSTANT_BITS - WORK_BITS)
LN2 = to_binary(LN2_DIGITS, WORK_BITS)
LN10 = to_binary(LN10_DIGITS, WORK_BITS)
TWO_OVER_ROOT_PI = to_binary(TWO_OVER_ROOT_PI_DIGITS, WORK_BITS)

EXP_TERMS = 30
EXP_HALVINGS = 8
"""The argument of the exponential series is below ln 2 / 2**8; the result is then squared 8 times."""
LOGARITHM_TERMS = 66
"""Of the series of artanh(z), |z| < 0.1716."""
CIRCLE_TERMS = 35
"""Of the series of sine and cosine, up to an eighth of a circle."""
ARCTAN_TERMS = 34
"""Of the series of arctan(z), |z| <= 1/32."""
ARCTAN_STEPS = 16
"""arctan is known at 0/16, 1/16 .. 16/16; the series gives the rest."""


def horner(x: int, coefficients: tuple[int, ...]) -> int:
    """Return the polynomial with these coefficients, the highest power first.  |x| <= 1, or the result is inexact.

    The error is below 2 units per coefficient, and below 4 in all when |x| is below 1/2.
    """
    total = 0
    for coefficient in coefficients:
        total = (total * x >> WORK_BITS) + coefficient
    return total


def _compute_exp_coefficients() -> tuple[int, ...]:
    """1 / n!"""
    factorial, coefficients = 1, [WORK_ONE]
    for n in range(1, EXP_TERMS):
        factorial *= n
        coefficients.append(WORK_ONE // factorial)
    return tuple(reversed(coefficients))


def _compute_circle_coefficients(first: int) -> tuple[int, ...]:
    """(-1)**n / (2 n + first)!: with `first` 0 those of the cosine, with 1 those of the sine."""
    factorial, coefficients = 1, [WORK_ONE]
    for n in range(1, CIRCLE_TERMS):
        factorial *= (2 * n - 1 + first) * (2 * n + first)
        coefficients.append((1 - n % 2 * 2) * (WORK_ONE // factorial))
    return tuple(reversed(coefficients))


EXP_COEFFICIENTS = _compute_exp_coefficients()
LOGARITHM_COEFFICIENTS = tuple(WORK_ONE // (2 * n + 1) for n in reversed(range(LOGARITHM_TERMS)))
COS_COEFFICIENTS = _compute_circle_coefficients(0)
SIN_COEFFICIENTS = _compute_circle_coefficients(1)
ARCTAN_COEFFICIENTS = tuple((1 - n % 2 * 2) * (WORK_ONE // (2 * n + 1)) for n in reversed(range(ARCTAN_TERMS)))


def compute_arctan_of_small(numerator: int, denominator: int) -> int:
    """Return arctan(numerator / denominator) by its series.  |numerator / denominator| <= 1/32."""
    z = (numerator << WORK_BITS) // denominator
    return z * horner(z * z >> WORK_BITS, ARCTAN_COEFFICIENTS) >> WORK_BITS


def _compute_arctan_table() -> tuple[int, ...]:
    """arctan(j / 16) for j from 0 to 16, each from the one before by the rule for sums, in two half-steps."""
    halves = [0]
    for a, b in pairwise(range(2 * ARCTAN_STEPS + 1)):
        halves.append(halves[-1] + compute_arctan_of_small(2 * ARCTAN_STEPS, (2 * ARCTAN_STEPS) ** 2 + a * b))
    return tuple(halves[::2])


ARCTAN_TABLE = _compute_arctan_table()
