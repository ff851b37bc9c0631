"""Amounts: exact or refused."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.primitives.fixed_point import (
    RAW_MAX,
    SCALE,
    DecimalInvalid,
    DivisorZero,
    checked_add,
    checked_div,
    checked_mul,
    checked_sub,
    format_decimal,
    format_decimal_short,
    mul_div_floor,
    parse_decimal,
    whole_to_raw,
)

RAW = st.integers(0, RAW_MAX)


@given(RAW)
def test_an_amount_comes_back_from_both_its_texts(raw: int) -> None:
    assert parse_decimal(format_decimal(raw)) == raw
    assert parse_decimal(format_decimal_short(raw)) == raw


@given(RAW)
def test_the_text_is_the_exact_quotient(raw: int) -> None:
    text = format_decimal(raw)

    assert Fraction(text) == Fraction(raw, SCALE)
    assert len(text.partition(".")[2]) == 18


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("0", 0),
        ("1", SCALE),
        ("0.000000000000000001", 1),
        ("12.340", 12_340_000_000_000_000_000),
        ("007.5", 7_500_000_000_000_000_000),
        ("1.0000000000000000000000", SCALE),
        ("340282366920938463463.374607431768211455", RAW_MAX),
        ("340282366920938463463.374607431768211455000", RAW_MAX),
    ],
)
def test_digits_with_at_most_one_point_are_read(text: str, raw: int) -> None:
    assert parse_decimal(text) == raw


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "1.", ".5", "-1", "+1", "1e3", "1E3", "0x10", "1_000", "1,5", "1 000", " 1", "1 ", "1\n", "1.2.3",
        "nan", "inf", "Infinity", "٣", "１", "²", "1.٣", "0.0000000000000000001", "1.1234567890123456789",
        "340282366920938463463.374607431768211456", "340282366920938463464", "9" * 65, "1" + "0" * 5_000,
    ],
)  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(DecimalInvalid):
        parse_decimal(text)


@given(st.text(max_size=12))
def test_foreign_text_is_exact_or_refused(text: str) -> None:
    try:
        raw = parse_decimal(text)
    except DecimalInvalid:
        return

    assert Fraction(text) == Fraction(raw, SCALE)


@pytest.mark.parametrize(
    ("raw", "long", "short"),
    [
        (0, "0.000000000000000000", "0"),
        (1, "0.000000000000000001", "0.000000000000000001"),
        (SCALE, "1.000000000000000000", "1"),
        (10 * SCALE, "10.000000000000000000", "10"),
        (15 * SCALE // 10, "1.500000000000000000", "1.5"),
        (RAW_MAX, "340282366920938463463.374607431768211455", "340282366920938463463.374607431768211455"),
    ],
)
def test_amounts_are_written_with_18_decimals_or_without_trailing_zeros(raw: int, long: str, short: str) -> None:
    assert format_decimal(raw) == long
    assert format_decimal_short(raw) == short


@given(RAW, RAW)
def test_a_sum_is_exact_or_refused(left: int, right: int) -> None:
    if left + right <= RAW_MAX:
        assert checked_add(left, right) == left + right
    else:
        with pytest.raises(OverflowError):
            checked_add(left, right)


@given(RAW, RAW)
def test_a_difference_is_exact_or_refused_and_never_zero_instead(left: int, right: int) -> None:
    if left >= right:
        assert checked_sub(left, right) == left - right
    else:
        with pytest.raises(OverflowError):
            checked_sub(left, right)


def test_the_ends_of_the_range_hold() -> None:
    assert checked_add(RAW_MAX, 0) == RAW_MAX
    assert checked_sub(0, 0) == 0
    with pytest.raises(OverflowError):
        checked_add(RAW_MAX, 1)
    with pytest.raises(OverflowError):
        checked_sub(0, 1)


@given(RAW, st.integers(0, 2**200), st.integers(1, 2**200))
def test_a_share_is_rounded_down_from_the_exact_product(value: int, numerator: int, denominator: int) -> None:
    exact = Fraction(value) * numerator / denominator
    if exact >= RAW_MAX + 1:
        with pytest.raises(OverflowError):
            mul_div_floor(value, numerator, denominator)
    else:
        assert mul_div_floor(value, numerator, denominator) == exact.numerator // exact.denominator


@given(RAW, RAW)
def test_products_and_quotients_are_those_of_the_numbers_rounded_down(left: int, right: int) -> None:
    product = left * right // SCALE
    if product <= RAW_MAX:
        assert checked_mul(left, right) == product
    else:
        with pytest.raises(OverflowError):
            checked_mul(left, right)
    if right and left * SCALE // right <= RAW_MAX:
        assert checked_div(left, right) == left * SCALE // right
    else:
        with pytest.raises(OverflowError if right else DivisorZero):
            checked_div(left, right)


def test_whole_tokens_are_within_the_range_or_refused() -> None:
    assert whole_to_raw(0) == 0
    assert whole_to_raw(340_282_366_920_938_463_463) == 340_282_366_920_938_463_463 * SCALE
    for whole in (-1, 340_282_366_920_938_463_464):
        with pytest.raises(OverflowError):
            whole_to_raw(whole)


def test_amounts_outside_the_range_are_our_own_fault() -> None:
    for value in (-1, RAW_MAX + 1):
        with pytest.raises(AssertionError):
            format_decimal(value)
        with pytest.raises(AssertionError):
            checked_add(value, 1)
        with pytest.raises(AssertionError):
            checked_sub(5, value)
        with pytest.raises(AssertionError):
            mul_div_floor(value, 1, 1)
        with pytest.raises(AssertionError):
            checked_mul(1, value)
        with pytest.raises(AssertionError):
            checked_div(1, value)
    with pytest.raises(AssertionError):
        mul_div_floor(1, -1, 1)
    with pytest.raises(AssertionError):
        mul_div_floor(1, 1, 0)
