"""CertifiedMath: functions of signed fixed-point numbers, the same on every machine.  Integers only.

A number is a plain int, "raw": the value times SCALE = 10**18, from RAW_MIN to RAW_MAX.  That is a sign and the range
of amounts, so that every amount is a number here, and so is e**47, the end of the domain of `exp`.

* Every result is floored: toward minus infinity.  Those of the series (certified_series) are known to 90 digits, and
  are lifted by less than 10**-32 of a raw unit before, so that a value that is a whole number of units never falls
  below it.  The result is then within 1 raw unit of the true value, for every argument, and never falls where the
  function rises.  Exempt are `pow_int`, which floors at each step, and `exp` below its domain.
* A result outside the range raises OverflowError.
* An argument outside a function's domain raises ValueError; a divisor of zero raises the kind of it that is called
  DivisorZero.  An argument outside the range of numbers is our own fault.

Vectors: tests/vectors/certified_math.json.
"""

from ledger.primitives import certified_erf
from ledger.primitives import certified_series as series
from ledger.primitives.certified_constants import LN2, LN10, WORK_BITS, WORK_ONE
from ledger.primitives.fixed_point import RAW_MAX, SCALE, DivisorZero

RAW_MIN = -RAW_MAX
ONE = SCALE

PHI = 1_618_033_988_749_894_848
"""The golden ratio, (1 + sqrt 5) / 2."""
PHI_INVERSE = 618_033_988_749_894_848
PHI_INVERSE_SQUARED = 381_966_011_250_105_151
PI = 3_141_592_653_589_793_238
E = 2_718_281_828_459_045_235

EXP_MIN = -41 * SCALE
EXP_MAX = 47 * SCALE
"""The domain of `exp`, both ends included."""
FLAT_FROM = 42 * SCALE
"""e**-42 is below one raw unit: from here on sigmoid and softplus are their asymptotes, floored."""
TANH_FLAT_FROM = 22 * SCALE
ERF_FLAT_FROM = 13 * SCALE // 2

LIFT = WORK_ONE >> 300
"""Added before flooring: more than the error of a series, less than 10**-72 of a raw unit."""
LIFT_OF_POWERS = WORK_ONE >> 170
"""The same for e**x, 2**x and x**y, up to 2**68 times as large, as are their errors: below 10**-32 of a raw unit."""


# Arithmetic.


def add(x: int, y: int) -> int:
    return _in_range(_check(x) + _check(y), "add", x, y)


def sub(x: int, y: int) -> int:
    return _in_range(_check(x) - _check(y), "sub", x, y)


def mul(x: int, y: int) -> int:
    """Return x * y, floored."""
    return _in_range(_check(x) * _check(y) // SCALE, "mul", x, y)


def div(x: int, y: int) -> int:
    """Return x / y, floored.  y: not 0."""
    _refuse_zero(y, "div")
    return _in_range(_check(x) * SCALE // _check(y), "div", x, y)


def mod(x: int, y: int) -> int:
    """Return x - y * floor(x / y): exact, with the sign of y.  y: not 0."""
    _refuse_zero(y, "mod")
    return _check(x) % _check(y)


def absolute(x: int) -> int:
    return abs(_check(x))


def minimum(x: int, y: int) -> int:
    return min(_check(x), _check(y))


def maximum(x: int, y: int) -> int:
    return max(_check(x), _check(y))


def clamp(x: int, low: int, high: int) -> int:
    """Return x, or the nearest of `low` and `high`.  low <= high."""
    _refuse_unless(_check(low) <= _check(high), "clamp", f"a lower end of at most {high}", low)
    return max(low, min(_check(x), high))


def pow_int(x: int, exponent: int) -> int:
    """Return x to a power that is a plain integer, 0 or more, by squaring; each step is floored.  pow_int(0, 0) is 1.

    The error grows with the result and the exponent; `power` is within 1 raw unit, for x above 0.
    """
    _check(x)
    _refuse_unless(0 <= exponent <= RAW_MAX, "pow_int", f"an exponent from 0 to {RAW_MAX}", exponent)
    result, base, rest = ONE, x, exponent
    while True:
        if rest % 2:
            result = _in_range(result * base // SCALE, "pow_int", x, exponent)
        rest //= 2
        if not rest:
            return result
        base = _in_range(base * base // SCALE, "pow_int", x, exponent)


def sqrt(x: int) -> int:
    """Return the square root of x, the exact floor.  x: 0 or more."""
    _refuse_unless(_check(x) >= 0, "sqrt", "0 or more", x)
    return _compute_integer_root(x * SCALE)


# Powers and logarithms.


def exp(x: int) -> int:
    """Return e**x for x from -41 to 47; 0 below, where the true value is at most 1.57 raw units."""
    _refuse_unless(_check(x) <= EXP_MAX, "exp", f"at most {EXP_MAX}", x)
    if x < EXP_MIN:
        return 0
    return _floor_power(*series.compute_exp(_widen(x)), "exp", x)


def exp2(x: int) -> int:
    """Return 2**x.  A whole x gives the exact power, floored."""
    k, part = divmod(_check(x), SCALE)
    m, more = series.compute_exp(part * LN2 // SCALE)
    return _floor_power(m, k + more, "exp2", x)


def power(x: int, y: int) -> int:
    """Return x**y = e**(y ln x).  x: above 0.  y: any number, also negative."""
    _refuse_unless(_check(x) > 0, "power", "a base above 0", x)
    exponent = _check(y) * series.compute_ln(x, SCALE) // SCALE
    if exponent < -FLAT_FROM // SCALE * WORK_ONE:
        return 0
    if exponent > (EXP_MAX // SCALE + 1) * WORK_ONE:
        raise OverflowError(_describe("power", x, y))
    return _floor_power(*series.compute_exp(exponent), "power", x, y)


def ln(x: int) -> int:
    """Return the natural logarithm.  x: above 0."""
    _refuse_unless(_check(x) > 0, "ln", "a number above 0", x)
    return _floor(series.compute_ln(x, SCALE))


def log2(x: int) -> int:
    """Return the logarithm to base 2; exact for the powers of 2.  x: above 0."""
    _refuse_unless(_check(x) > 0, "log2", "a number above 0", x)
    k, rest = series.compute_logarithm(x, SCALE)
    return _floor((k << WORK_BITS) + (rest << WORK_BITS) // LN2)


def log10(x: int) -> int:
    """Return the logarithm to base 10; exact for the powers of 10.  x: above 0."""
    _refuse_unless(_check(x) > 0, "log10", "a number above 0", x)
    return _floor((series.compute_ln(x, SCALE) << WORK_BITS) // LN10)


# The circle.


def sin(x: int) -> int:
    """Return the sine of x radians; right for every x in the range."""
    return _floor(series.compute_sin(_check(x), SCALE))


def cos(x: int) -> int:
    """Return the cosine of x radians; right for every x in the range."""
    return _floor(series.compute_sin(_check(x), SCALE, quadrants=1))


def arctan(x: int) -> int:
    """Return the arc tangent, in radians: what the sources call the "phi series"."""
    return _floor(_odd(series.compute_arctan(absolute(x), SCALE), x))


# Curves that level off.


def tanh(x: int) -> int:
    """Return the hyperbolic tangent.  From 22 it is 1 less one raw unit, to -22 it is -1: the floor."""
    if absolute(x) >= TANH_FLAT_FROM:
        return ONE - 1 if x > 0 else -ONE
    return _floor(_odd(series.compute_tanh(abs(x), SCALE), x))


def sigmoid(x: int) -> int:
    """Return 1 / (1 + e**-x).  From 42 it is 1 less one raw unit, to -42 it is 0: the floor."""
    if absolute(x) >= FLAT_FROM:
        return ONE - 1 if x > 0 else 0
    e = series.compute_exp_of_negative(-_widen(abs(x)))
    return _floor(((WORK_ONE if x > 0 else e) << WORK_BITS) // (WORK_ONE + e))


def erf(x: int) -> int:
    """Return the error function.  From 6.5 it is 1 less one raw unit, to -6.5 it is -1: the floor."""
    if absolute(x) >= ERF_FLAT_FROM:
        return ONE - 1 if x > 0 else -ONE
    return _floor(_odd(certified_erf.compute_erf(abs(x), SCALE), x))


def softplus(x: int) -> int:
    """Return ln(1 + e**x).  From 42 it is x, to -42 it is 0: the floor."""
    if absolute(x) >= FLAT_FROM:
        return max(x, 0)
    e = series.compute_exp_of_negative(-_widen(abs(x)))
    return max(x, 0) + _floor(series.compute_ln(WORK_ONE + e, WORK_ONE))


def _check(x: int) -> int:
    assert RAW_MIN <= x <= RAW_MAX, f"expected a raw number from -(2**128-1) to 2**128-1, got {x}"
    return x


def _describe(name: str, *arguments: int) -> str:
    return f"{name}: the result for raw {' and '.join(map(str, arguments))} is beyond {RAW_MAX}"


def _in_range(result: int, name: str, *arguments: int) -> int:
    if not RAW_MIN <= result <= RAW_MAX:
        raise OverflowError(_describe(name, *arguments))
    return result


def _refuse_unless(fits: bool, name: str, expected: str, got: int) -> None:
    if not fits:
        raise ValueError(f"{name}: expected {expected}, got raw {got}")


def _refuse_zero(divisor: int, name: str) -> None:
    if divisor == 0:
        raise DivisorZero(f"{name}: expected a divisor other than 0, got 0")


def _widen(x: int) -> int:
    """From SCALE to the scale of the series."""
    return (x << WORK_BITS) // SCALE


def _odd(value: int, x: int) -> int:
    """Give the result for |x| the sign of x, for a function with f(-x) = -f(x)."""
    return -value if x < 0 else value


def _floor(value: int) -> int:
    """From the scale of the series to SCALE."""
    return (value + LIFT) * SCALE >> WORK_BITS


def _floor_power(m: int, k: int, name: str, *arguments: int) -> int:
    """From m * 2**k to SCALE."""
    if k > RAW_MAX.bit_length():
        raise OverflowError(_describe(name, *arguments))
    value = m << k if k > 0 else m >> -k
    return _in_range((value + LIFT_OF_POWERS) * SCALE >> WORK_BITS, name, *arguments)


def _compute_integer_root(n: int) -> int:
    """Return the largest r with r * r <= n, by Newton's method from above."""
    if n == 0:
        return 0
    root = 1 << (n.bit_length() + 1) // 2
    while True:
        better = (root + n // root) // 2
        if better >= root:
            return root
        root = better
