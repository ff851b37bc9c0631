"""Amounts: unsigned integers from 0 to 2**128 - 1, counted in atoms of 10**-18.  Floor, never wrap, never saturate.

"raw" is that integer; a decimal text is for people and for JSON.  Functions, not a class: the type of an amount is int.
Where a value that carries its unit is wanted, big_num.BigNum128 is the class over these functions.
"""

SCALE = 10**18
DECIMALS = 18
RAW_MAX = 2**128 - 1
TEXT_LENGTH_MAX = 64


class DecimalInvalid(ValueError):
    """A text is not a decimal number in our range."""


class DivisorZero(ZeroDivisionError, ValueError):
    """A division by zero: an argument outside the domain, and what Python calls it."""


def parse_decimal(text: str) -> int:
    """Return the raw integer of "12", "0.5" or "12.340"; exact, or refused.

    ASCII digits, and at most one point between digits; no sign, exponent, space or separator.  Decimals after the
    eighteenth must be zero.  Raises DecimalInvalid.
    """
    if len(text) > TEXT_LENGTH_MAX:
        raise DecimalInvalid(f"expected a decimal number of at most {TEXT_LENGTH_MAX} characters, got {len(text)}")
    whole, point, decimals = text.partition(".")
    if not _is_digits(whole) or (point and not _is_digits(decimals)):
        raise DecimalInvalid(f'expected digits, or digits "." digits, got {text!r}')
    if decimals[DECIMALS:].strip("0"):
        raise DecimalInvalid(f"expected at most {DECIMALS} decimals, got {len(decimals)} in {text!r}")
    raw = int(whole) * SCALE + int(decimals[:DECIMALS].ljust(DECIMALS, "0"))
    if raw > RAW_MAX:
        raise DecimalInvalid(f"expected at most {format_decimal(RAW_MAX)}, got {text!r}")
    return raw


def format_decimal(raw: int) -> str:
    """Return `raw` with exactly 18 decimals: 1.500000000000000000."""
    _check(raw)
    whole, part = divmod(raw, SCALE)
    return f"{whole}.{part:018d}"


def format_decimal_short(raw: int) -> str:
    """Return `raw` without trailing zeros: 1.5, or 3."""
    return format_decimal(raw).rstrip("0").rstrip(".")


def whole_to_raw(whole: int) -> int:
    """Return the raw integer of `whole` tokens.  Raises OverflowError below zero and above RAW_MAX."""
    if not 0 <= whole <= RAW_MAX // SCALE:
        raise OverflowError(f"expected a whole number from 0 to {RAW_MAX // SCALE}, got {whole}")
    return whole * SCALE


def checked_add(left: int, right: int) -> int:
    """Return left + right.  Raises OverflowError above RAW_MAX."""
    _check(left)
    _check(right)
    total = left + right
    if total > RAW_MAX:
        raise OverflowError(f"{left} + {right} is above {RAW_MAX}")
    return total


def checked_sub(left: int, right: int) -> int:
    """Return left - right.  Raises OverflowError below zero."""
    _check(left)
    _check(right)
    if right > left:
        raise OverflowError(f"{left} - {right} is below zero")
    return left - right


def checked_mul(left: int, right: int) -> int:
    """Return left * right, both as the numbers they stand for, rounded down.  Raises OverflowError above RAW_MAX."""
    _check(right)
    return mul_div_floor(left, right, SCALE)


def checked_div(left: int, right: int) -> int:
    """Return left / right, both as the numbers they stand for, rounded down.  Raises DivisorZero, OverflowError."""
    _check(right)
    if right == 0:
        raise DivisorZero(f"expected a divisor other than 0 for {left}, got 0")
    return mul_div_floor(left, SCALE, right)


def mul_div_floor(value: int, numerator: int, denominator: int) -> int:
    """Return value * numerator / denominator, rounded down.  The product is exact, of any size.

    numerator: 0 or more.  denominator: > 0.  Raises OverflowError when the result is above RAW_MAX.
    """
    _check(value)
    assert numerator >= 0, f"expected a numerator of 0 or more, got {numerator}"
    assert denominator > 0, f"expected a denominator above 0, got {denominator}"
    result = value * numerator // denominator
    if result > RAW_MAX:
        raise OverflowError(f"{value} * {numerator} / {denominator} is above {RAW_MAX}")
    return result


def _check(raw: int) -> None:
    assert 0 <= raw <= RAW_MAX, f"expected a raw amount from 0 to 2**128-1, got {raw}"


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()  # isdigit alone knows digits of other scripts too
