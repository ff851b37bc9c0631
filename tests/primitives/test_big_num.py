"""BigNum128: amounts that carry their unit; exact, floored, or refused."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.primitives.big_num import BigNum128
from ledger.primitives.fixed_point import RAW_MAX, SCALE, DecimalInvalid, DivisorZero

AMOUNTS = st.one_of(
    st.integers(0, RAW_MAX), st.integers(0, 10 * SCALE), st.sampled_from([0, 1, SCALE, RAW_MAX - 1, RAW_MAX])
).map(BigNum128.from_raw)
LARGEST = BigNum128.from_raw(RAW_MAX)
ZERO = BigNum128.from_raw(0)
ONE = BigNum128.from_whole(1)


def exact(amount: BigNum128) -> Fraction:
    return Fraction(amount.raw, SCALE)


def floored(value: Fraction) -> int:
    return value.numerator * SCALE // value.denominator


def test_the_two_constructors_are_named_for_their_units() -> None:
    assert BigNum128.from_raw(5).raw == 5
    assert BigNum128.from_whole(5).raw == 5 * SCALE
    assert BigNum128.from_whole(340_282_366_920_938_463_463).raw <= RAW_MAX


def test_a_bare_number_is_no_amount() -> None:
    with pytest.raises(TypeError):
        BigNum128(5)  # type: ignore[call-arg]  # pyright: ignore
    for wrong in (1.5, True, "5", None):
        with pytest.raises(TypeError):
            BigNum128.from_raw(wrong)  # type: ignore[arg-type]  # pyright: ignore

    assert BigNum128(raw=5) == BigNum128.from_raw(5)


@pytest.mark.parametrize("raw", [-1, -SCALE, RAW_MAX + 1, 2**200])
def test_no_amount_is_outside_the_range(raw: int) -> None:
    with pytest.raises(OverflowError):
        BigNum128.from_raw(raw)
    with pytest.raises(OverflowError):
        BigNum128(raw=raw)


@pytest.mark.parametrize("whole", [-1, 340_282_366_920_938_463_464, 2**128])
def test_no_whole_amount_is_outside_the_range(whole: int) -> None:
    with pytest.raises(OverflowError):
        BigNum128.from_whole(whole)


def test_an_amount_never_changes() -> None:
    with pytest.raises(FrozenInstanceError):
        ONE.raw = 2  # type: ignore[misc]  # pyright: ignore


@given(AMOUNTS, AMOUNTS)
def test_sums_and_differences_are_exact_or_refused(left: BigNum128, right: BigNum128) -> None:
    if left.raw + right.raw <= RAW_MAX:
        assert left.add(right).raw == left.raw + right.raw
    else:
        with pytest.raises(OverflowError):
            left.add(right)
    if left.raw >= right.raw:
        assert left.sub(right).raw == left.raw - right.raw
    else:
        with pytest.raises(OverflowError):
            left.sub(right)


@given(AMOUNTS, AMOUNTS)
def test_a_product_is_floored_or_refused(left: BigNum128, right: BigNum128) -> None:
    expected = floored(exact(left) * exact(right))
    if expected <= RAW_MAX:
        assert left.mul(right).raw == expected
    else:
        with pytest.raises(OverflowError):
            left.mul(right)


@given(AMOUNTS, AMOUNTS)
def test_a_quotient_is_floored_or_refused(left: BigNum128, right: BigNum128) -> None:
    expected = floored(exact(left) / exact(right)) if right.raw else RAW_MAX + 1
    if expected <= RAW_MAX:
        assert left.div(right).raw == expected
    else:
        with pytest.raises(OverflowError if right.raw else DivisorZero):
            left.div(right)


def test_products_and_quotients_round_down() -> None:
    half, third = ONE.div(BigNum128.from_whole(2)), ONE.div(BigNum128.from_whole(3))

    assert third.raw == 333_333_333_333_333_333
    assert BigNum128.from_raw(1).mul(half) == ZERO
    assert BigNum128.from_raw(3).mul(half).raw == 1


def test_a_division_by_zero_is_both_kinds_of_error() -> None:
    for kind in (ZeroDivisionError, ValueError):
        with pytest.raises(kind, match="other than 0"):
            ONE.div(ZERO)


def test_the_ends_of_the_range_hold() -> None:
    assert LARGEST.add(ZERO) == LARGEST.mul(ONE) == LARGEST.div(ONE) == LARGEST
    overflows: tuple[Callable[[], BigNum128], ...] = (
        lambda: LARGEST.add(BigNum128.from_raw(1)),
        lambda: ZERO.sub(BigNum128.from_raw(1)),
        lambda: LARGEST.mul(BigNum128.from_raw(SCALE + 1)),
        lambda: LARGEST.div(BigNum128.from_raw(SCALE - 1)),
    )
    for overflow in overflows:
        with pytest.raises(OverflowError):
            overflow()


@given(AMOUNTS, AMOUNTS)
def test_amounts_are_ordered_as_their_numbers(left: BigNum128, right: BigNum128) -> None:
    assert (left < right, left <= right, left == right) == (
        left.raw < right.raw,
        left.raw <= right.raw,
        left.raw == right.raw,
    )
    assert max(left, right).raw == max(left.raw, right.raw)


@given(AMOUNTS)
def test_an_amount_comes_back_from_its_text(amount: BigNum128) -> None:
    assert BigNum128.parse(amount.format()) == amount
    assert str(amount) == amount.format()


def test_texts_are_decimal_numbers_of_at_most_18_decimals() -> None:
    assert BigNum128.parse("1.5").format() == "1.500000000000000000"
    for text in ("", "-1", "1e3", "0.0000000000000000001", "340282366920938463464"):
        with pytest.raises(DecimalInvalid):
            BigNum128.parse(text)
