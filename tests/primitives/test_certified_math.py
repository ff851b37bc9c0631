"""CertifiedMath: within one raw unit of the true value everywhere, monotonic where the function is, exact at the ends.

The true values are computed here, by other series and with 110 digits, so that at least 50 are right in any result.
"""

import json
import random
from collections.abc import Callable
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest

from ledger.primitives import certified_math as certified
from ledger.primitives.certified_math import EXP_MAX, EXP_MIN, ONE, RAW_MIN
from ledger.primitives.fixed_point import RAW_MAX, SCALE, DivisorZero, parse_decimal

DIGITS = 110
POINTS = 750
"""For each function; in all more than 10,000."""
VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "certified_math.json").read_text(encoding="utf-8")
)["cases"]


def true_arctan(x: Decimal) -> Decimal:
    """Halve the angle until the series is quick: atan x = 2 atan(x / (1 + sqrt(1 + x**2)))."""
    halvings = 0
    while abs(x) > Decimal("0.01"):
        x = x / (1 + (1 + x * x).sqrt())
        halvings += 1
    total, power, n = Decimal(0), x, 1
    while power and abs(power) > Decimal(10) ** -(DIGITS + 5):
        total += power / n if n % 4 == 1 else -power / n
        power *= x * x
        n += 2
    return total * Decimal(2**halvings)


def compute_pi() -> Decimal:
    with localcontext() as context:
        context.prec = DIGITS + 40
        return 16 * true_arctan(Decimal(1) / 5) - 4 * true_arctan(Decimal(1) / 239)


PI = compute_pi()


def true_sin(x: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec = DIGITS + 40
        x = x - 2 * PI * (x / (2 * PI)).to_integral_value()
        total, term, n = Decimal(0), x, 1
        while abs(term) > Decimal(10) ** -DIGITS:
            total += term
            term = -term * x * x / ((n + 1) * (n + 2))
            n += 2
        return total


def true_erf(x: Decimal) -> Decimal:
    """2 / sqrt(pi) * sum of (-1)**n x**(2n+1) / (n! (2n+1))."""
    if abs(x) > 15:
        return Decimal(1).copy_sign(x)
    with localcontext() as context:
        context.prec = DIGITS + 120  # the terms grow to e**(x**2) before they fall
        total, term, n = Decimal(0), x, 0
        while abs(term) > Decimal(10) ** -DIGITS or n < x * x:
            total += term / (2 * n + 1)
            n += 1
            term = -term * x * x / n
        return 2 * total / PI.sqrt()


def true_sigmoid(x: Decimal) -> Decimal:
    return 1 / (1 + (-x).exp())


def true_tanh(x: Decimal) -> Decimal:
    return 2 * true_sigmoid(2 * x) - 1


def true_softplus(x: Decimal) -> Decimal:
    return max(x, Decimal(0)) + (1 + (-abs(x)).exp()).ln()


def spread(low: int, high: int) -> Callable[[random.Random], int]:
    """Draw a raw number: evenly, by its magnitude, or near an end."""

    def draw(pick: random.Random) -> int:
        match pick.randrange(4):
            case 0:
                return pick.randint(low, high)
            case 1:
                size = pick.randrange(1, max(abs(low), high).bit_length() + 1)
                number = pick.getrandbits(size) * (1 if low >= 0 or pick.random() < 0.5 else -1)
                return min(high, max(low, number))
            case 2:
                return min(high, max(low, pick.choice((low, high, 0, SCALE, -SCALE)) + pick.randint(-3, 3)))
            case _:
                return min(high, max(low, pick.randint(-50 * SCALE, 50 * SCALE)))

    return draw


ANY = spread(RAW_MIN, RAW_MAX)
ABOVE_0 = spread(1, RAW_MAX)
EXPONENT = spread(EXP_MIN, EXP_MAX)
FUNCTIONS: dict[str, tuple[Callable[[int], int], Callable[[Decimal], Decimal], Callable[[random.Random], int]]] = {
    "sqrt": (certified.sqrt, Decimal.sqrt, spread(0, RAW_MAX)),
    "exp": (certified.exp, Decimal.exp, EXPONENT),
    "exp2": (certified.exp2, lambda x: (x * Decimal(2).ln()).exp(), spread(-100 * SCALE, 67 * SCALE)),
    "ln": (certified.ln, Decimal.ln, ABOVE_0),
    "log2": (certified.log2, lambda x: x.ln() / Decimal(2).ln(), ABOVE_0),
    "log10": (certified.log10, Decimal.log10, ABOVE_0),
    "sin": (certified.sin, true_sin, ANY),
    "cos": (certified.cos, lambda x: true_sin(x + PI / 2), ANY),
    "arctan": (certified.arctan, true_arctan, ANY),
    "tanh": (certified.tanh, true_tanh, spread(-30 * SCALE, 30 * SCALE)),
    "sigmoid": (certified.sigmoid, true_sigmoid, spread(-60 * SCALE, 60 * SCALE)),
    "erf": (certified.erf, true_erf, spread(-9 * SCALE, 9 * SCALE)),
    "softplus": (certified.softplus, true_softplus, spread(-60 * SCALE, 60 * SCALE)),
}
RISING = ("sqrt", "exp", "exp2", "ln", "log2", "log10", "arctan", "tanh", "sigmoid", "erf", "softplus")


def is_close(result: int, true: Decimal) -> bool:
    """Whether a result is within one raw unit of the true value."""
    return abs(Decimal(result) - true * SCALE) <= 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_within_one_unit_of_the_true_value(name: str) -> None:
    function, true, draw = FUNCTIONS[name]
    pick = random.Random(f"certified {name}")
    with localcontext() as context:
        context.prec = DIGITS + 40
        for _ in range(POINTS):
            x = draw(pick)
            assert is_close(function(x), true(Decimal(x) / SCALE)), f"{name}({x}) = {function(x)}"


@pytest.mark.parametrize("name", RISING)
def test_where_a_function_rises_its_results_never_fall(name: str) -> None:
    function, _, draw = FUNCTIONS[name]
    pick = random.Random(f"rising {name}")
    points = sorted(draw(pick) for _ in range(400))
    points = sorted({x + step for x in points[1:-1] for step in (0, 1) if x + step <= points[-1]})
    results = [function(x) for x in points]

    assert results == sorted(results)


def test_powers_are_within_one_unit_of_the_true_value() -> None:
    pick, checked = random.Random("powers"), 0
    with localcontext() as context:
        context.prec = DIGITS + 40
        while checked < POINTS:
            x, y = ABOVE_0(pick), spread(-60 * SCALE, 60 * SCALE)(pick)
            true = (Decimal(y) / SCALE * (Decimal(x) / SCALE).ln()).exp()
            if true * SCALE > RAW_MAX + 1:
                with pytest.raises(OverflowError):
                    certified.power(x, y)
                continue
            assert is_close(certified.power(x, y), true), (x, y)
            checked += 1


def test_arithmetic_is_the_exact_floor() -> None:
    pick = random.Random("arithmetic")
    small = spread(-(10**10) * SCALE, 10**10 * SCALE)
    for _ in range(POINTS):
        x, y = small(pick), small(pick) or 1
        assert certified.add(x, y) == x + y
        assert certified.sub(x, y) == x - y
        assert certified.mul(x, y) * SCALE <= x * y < (certified.mul(x, y) + 1) * SCALE
        if abs(x * SCALE // y) <= RAW_MAX:
            quotient = certified.div(x, y)
            assert (x * SCALE - quotient * y) * (1 if y > 0 else -1) >= 0
            assert abs(x * SCALE - quotient * y) < abs(y)
        assert certified.mod(x, y) == x % y


def test_sigmoid_and_tanh_are_symmetric() -> None:
    pick = random.Random("symmetry")
    for _ in range(POINTS):
        x = spread(-60 * SCALE, 60 * SCALE)(pick)
        assert 0 <= ONE - certified.sigmoid(x) - certified.sigmoid(-x) <= 1
        assert -1 <= certified.tanh(x) + certified.tanh(-x) <= 0


def test_integer_powers_floor_at_each_step() -> None:
    assert certified.pow_int(3 * SCALE, 2) == 9 * SCALE
    assert certified.pow_int(0, 0) == ONE
    assert certified.pow_int(-2 * SCALE, 3) == -8 * SCALE
    assert certified.pow_int(SCALE // 2, 60) == SCALE >> 60
    with pytest.raises(OverflowError):
        certified.pow_int(10 * SCALE, 21)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['function']} {vector['arguments']}")
def test_published_values_are_met(vector: dict[str, Any]) -> None:
    arguments = [
        -parse_decimal(each[1:]) if each.startswith("-") else parse_decimal(each) for each in vector["arguments"]
    ]
    if vector["function"] == "pow_int":
        arguments[1] //= SCALE
    result = getattr(certified, vector["function"])(*arguments)
    decimals = len(vector["digits"].partition(".")[2])

    printed = Decimal(vector["digits"]) * SCALE
    half_of_last = Decimal(SCALE) / 10**decimals if decimals < 18 else Decimal(1)
    assert abs(Decimal(result) - printed) <= half_of_last


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: certified.exp(EXP_MAX + 1), ValueError),
        (lambda: certified.ln(0), ValueError),
        (lambda: certified.ln(-1), ValueError),
        (lambda: certified.log2(0), ValueError),
        (lambda: certified.log10(-SCALE), ValueError),
        (lambda: certified.sqrt(-1), ValueError),
        (lambda: certified.power(0, SCALE), ValueError),
        (lambda: certified.pow_int(SCALE, -1), ValueError),
        (lambda: certified.clamp(0, 2, 1), ValueError),
        (lambda: certified.div(SCALE, 0), DivisorZero),
        (lambda: certified.mod(SCALE, 0), DivisorZero),
        (lambda: certified.add(RAW_MAX, 1), OverflowError),
        (lambda: certified.sub(RAW_MIN, 1), OverflowError),
        (lambda: certified.mul(RAW_MAX, 2 * SCALE), OverflowError),
        (lambda: certified.div(RAW_MAX, SCALE // 2), OverflowError),
        (lambda: certified.exp2(70 * SCALE), OverflowError),
        (lambda: certified.power(RAW_MAX, 2 * SCALE), OverflowError),
    ],
)
def test_outside_the_domain_a_function_raises(call: Callable[[], int], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"expected|beyond"):
        call()


def test_the_ends_of_the_domains_hold() -> None:
    assert certified.exp(EXP_MIN - 1) == 0
    assert certified.exp(RAW_MIN) == 0
    assert certified.exp(EXP_MIN) == 1
    assert certified.exp2(RAW_MIN) == 0
    assert certified.exp(0) == certified.exp2(0) == certified.cos(0) == ONE
    assert certified.ln(ONE) == certified.sin(0) == certified.tanh(0) == certified.erf(0) == 0
    assert certified.sigmoid(0) == SCALE // 2
    assert certified.log2(8 * SCALE) == 3 * SCALE
    assert certified.log10(1_000 * SCALE) == 3 * SCALE
    assert certified.tanh(RAW_MAX) == certified.sigmoid(RAW_MAX) == certified.erf(RAW_MAX) == ONE - 1
    assert certified.tanh(RAW_MIN) == certified.erf(RAW_MIN) == -ONE
    assert certified.sigmoid(RAW_MIN) == certified.softplus(RAW_MIN) == 0
    assert certified.softplus(RAW_MAX) == RAW_MAX
