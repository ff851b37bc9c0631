"""Canonical msgpack: one byte string for a value, one value for a byte string."""

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.primitives.encoding import (
    DEPTH_MAX,
    INT_MAX,
    INT_MIN,
    ITEMS_MAX,
    EncodingError,
    Value,
    decode,
    decode_plain,
    encode,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.sampled_from([2**n + d for n in (5, 7, 8, 15, 16, 31, 32, 63, 64, 127) for d in (-1, 0, 1)])
    | st.text(max_size=40)
    | st.binary(max_size=40)
)
VALUES: st.SearchStrategy[Value] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=6), inner, max_size=5),
    max_leaves=12,
)


@given(VALUES)
def test_a_value_comes_back_from_its_bytes(value: Value) -> None:
    assert decode(encode(value)) == value


@given(VALUES)
def test_the_bytes_of_a_value_come_back_from_decoding_them(value: Value) -> None:
    data = encode(value)

    assert encode(decode(data)) == data


@given(VALUES, st.data())
def test_other_bytes_are_another_value_or_refused(value: Value, data: st.DataObject) -> None:
    encoded = bytearray(encode(value))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))

    try:
        other = decode(bytes(encoded))
    except EncodingError:
        return

    # As bytes, since Python takes True and 1 for equal.
    assert encode(other) != encode(value)


@given(st.binary(max_size=60))
def test_foreign_bytes_are_canonical_or_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except EncodingError:
        return

    assert encode(value) == data


@given(VALUES)
@settings(max_examples=50)
def test_every_strict_prefix_is_refused(value: Value) -> None:
    data = encode(value)

    for end in range(len(data)):
        with pytest.raises(EncodingError):
            decode(data[:end])


@given(VALUES, st.binary(min_size=1, max_size=3))
def test_trailing_bytes_are_refused(value: Value, tail: bytes) -> None:
    with pytest.raises(EncodingError):
        decode(encode(value) + tail)


@given(st.dictionaries(st.text(max_size=6), st.integers(0, 9), min_size=2, max_size=6))
def test_the_order_in_which_a_map_was_filled_does_not_matter(value: dict[str, int]) -> None:
    other = dict(reversed(list(value.items())))

    assert encode(other) == encode(value)


def test_map_keys_are_sorted_by_their_utf8_bytes() -> None:
    value = {"\U0001f602": 1, "\ufb33": 2, "b": 3, "": 4, "aa": 5, "a": 6}

    decoded = decode(encode(value))

    assert isinstance(decoded, dict)
    assert [key.encode() for key in decoded] == sorted(key.encode() for key in value)


def test_a_tuple_has_the_bytes_of_a_list() -> None:
    assert encode((1, (2, "x"))) == encode([1, [2, "x"]])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "c0"),
        (False, "c2"),
        (True, "c3"),
        (0, "00"),
        (-1, "ff"),
        (127, "7f"),
        (128, "cc80"),
        (-33, "d0df"),
        (2**64 - 1, "cfffffffffffffffff"),
        (2**64, "c70901010000000000000000"),
        (INT_MAX, "d801" + "ff" * 16),
        (INT_MIN, "d38000000000000000"),
        ("é", "a2c3a9"),
        (b"\x01", "c40101"),
        ([1, [2]], "92019102"),
        ({"b": 1, "a": 2}, "82a16102a16201"),
    ],
)
def test_the_bytes_are_those_of_the_msgpack_specification(value: object, expected: str) -> None:
    assert encode(value).hex() == expected


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("cb3ff8000000000000", "float64"),
        ("ca3fc00000", "float32"),
        ("d6ff00000001", "timestamp32"),
        ("d7ff0000000000000001", "timestamp64"),
        ("c70cff000000000000000000000001", "timestamp96"),
        ("cc01", "uint8 for a fixint"),
        ("cd0080", "uint16 for a uint8"),
        ("ce0000ffff", "uint32 for a uint16"),
        ("cf0000000000000001", "uint64 for a fixint"),
        ("d001", "int8 for a positive fixint"),
        ("d0ff", "int8 for a negative fixint"),
        ("d10080", "int16 for a uint8"),
        ("d90161", "str8 for a fixstr"),
        ("da000161", "str16 for a fixstr"),
        ("c5000161", "bin16 for a bin8"),
        ("dc000101", "array16 for a fixarray"),
        ("dd0000000101", "array32 for a fixarray"),
        ("de0001a16101", "map16 for a fixmap"),
        ("82a16101a16102", "a repeated key"),
        ("82a16201a16102", "unsorted keys"),
        ("810102", "an integer as key"),
        ("81c4016102", "bytes as key"),
        ("82a16101c4016102", "a text and a bytes key"),
        ("81c002", "nil as key"),
        ("c1", "the byte that is never used"),
        ("a1ff", "text that is not UTF-8"),
        ("a3eda080", "text that is a surrogate"),
        ("a2c080", "text in overlong UTF-8"),
        ("d80200000000000000010000000000000000", "another extension type"),
        ("d80100000000000000010000000000000000", "a big integer with leading zeros"),
        ("d7010000000000000001", "a big integer of 8 bytes"),
        ("c711010100000000000000000000000000000000", "a big integer of 17 bytes"),
        ("c7090100ffffffffffffffff", "a big integer below 2**64"),
        ("c7100100000000000000010000000000000000", "ext8 for a fixext16"),
        ("", "nothing"),
        ("c0c0", "two values"),
        ("91", "a list without its item"),
        ("ddffffffff", "a list that claims four billion items"),
        ("dfffffffff", "a map that claims four billion pairs"),
        ("c6ffffffff", "bytes that claim four gigabytes"),
    ],
)
def test_bytes_that_are_not_the_canonical_form_are_refused(data: str, what: str) -> None:
    with pytest.raises(EncodingError):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        {1: 2},
        {b"a": 1},
        {None: 1},
        {1, 2},
        object(),
        bytearray(b"x"),
        INT_MAX + 1,
        INT_MIN - 1,
        10**5_000,
        "\ud800",
        {"\udfff": 1},
        ["ok", {"x": [1.5]}],
        type("Text", (str,), {})("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_without_a_canonical_form_are_refused(value: object) -> None:
    with pytest.raises(EncodingError):
        encode(value)


def nested(depth: int) -> Value:
    value: Value = 1
    for _ in range(depth):
        value = [value]
    return value


def test_nesting_is_allowed_to_the_limit_and_refused_beyond_it() -> None:
    data = encode(nested(DEPTH_MAX))

    assert decode(data) == nested(DEPTH_MAX)
    with pytest.raises(EncodingError):
        encode(nested(DEPTH_MAX + 1))
    with pytest.raises(EncodingError):
        decode(b"\x91" + data)


@pytest.mark.parametrize("depth", [100, 600, 2_000, 100_000])
def test_nesting_far_beyond_the_limit_is_refused_before_it_harms(depth: int) -> None:
    with pytest.raises(EncodingError):
        decode(b"\x91" * depth + b"\x01")
    with pytest.raises(EncodingError):
        decode(b"\x81\xa1a" * depth + b"\x01")


def test_a_list_longer_than_the_limit_is_refused_on_both_sides() -> None:
    with pytest.raises(EncodingError):
        encode([0] * (ITEMS_MAX + 1))
    with pytest.raises(EncodingError):
        decode(msgpack.packb([0] * (ITEMS_MAX + 1)))

    assert decode(encode([0] * ITEMS_MAX)) == [0] * ITEMS_MAX


def test_a_list_longer_than_the_caller_expects_is_refused() -> None:
    data = encode([1, 2, 3])

    assert decode_plain(data, list_items_max=3) == [1, 2, 3]
    with pytest.raises(EncodingError):
        decode_plain(data, list_items_max=2)


def test_true_and_one_have_different_bytes() -> None:
    assert encode(True) != encode(1)
    assert encode(b"a") != encode("a")
