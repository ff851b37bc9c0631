"""Canonical JSON: RFC 8785 for the values we have."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.primitives.canonical_json import canonical_json, record_to_json_value
from ledger.primitives.encoding import DEPTH_MAX, EncodingError
from ledger.primitives.records import U32, U128, Bytes32

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "json_rfc8785.json").read_text())["vectors"]
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)


@dataclass(frozen=True, slots=True)
class Inner:
    n: U32


@dataclass(frozen=True, slots=True)
class Shown:
    to: Bytes32
    atoms: U128
    small: U128
    urgent: bool
    memo: str | None
    parts: tuple[Inner, ...]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_text_is_that_of_the_rfc_s_test_data(vector: dict[str, Any]) -> None:
    assert canonical_json(vector["value"]).decode() == vector["canonical"]


def test_strings_are_escaped_as_in_the_rfc_s_example() -> None:
    # RFC 8785 section 3.2.2, the member "string".
    value = {"string": '\u20ac$\u000f\nA\'B"\\\\"/'}

    assert canonical_json(value).hex(" ") == (
        "7b 22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d"
    )


@pytest.mark.parametrize("code", range(0x20))
def test_control_characters_have_their_short_or_four_digit_escape(code: int) -> None:
    short = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}

    assert canonical_json(chr(code)).decode() == f'"{short.get(code, f"{chr(92)}u{code:04x}")}"'


@given(JSON_VALUES)
def test_a_json_value_comes_back(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(JSON_VALUES)
def test_the_canonical_form_of_the_canonical_form_is_itself(value: Any) -> None:
    text = canonical_json(value)

    assert canonical_json(json.loads(text)) == text


@given(st.lists(st.text(max_size=4), unique=True, max_size=6))
def test_keys_are_sorted_by_utf16_code_units(keys: list[str]) -> None:
    found = list(json.loads(canonical_json(dict.fromkeys(keys, 0))))

    assert [key.encode("utf-16-be") for key in found] == sorted(key.encode("utf-16-be") for key in keys)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53 - 1, "9007199254740991"),
        (2**53, '"9007199254740992"'),
        (-(2**53) + 1, "-9007199254740991"),
        (-(2**53), '"-9007199254740992"'),
        (2**128 - 1, '"340282366920938463463374607431768211455"'),
        (b"", '"0x"'),
        (b"\x00\xab", '"0x00ab"'),
        (True, "true"),
        (None, "null"),
        ((1, (2,)), "[1,[2]]"),
        ([], "[]"),
    ],
)
def test_large_integers_and_bytes_are_text(value: object, text: str) -> None:
    assert canonical_json(value).decode() == text


@pytest.mark.parametrize(
    "value",
    [1.0, float("inf"), "\ud800", ["a\udfff"], {"\ud800": 1}, {1: 2}, {b"a": 1}, {1}, object(), bytearray(b"x")],
    ids=lambda value: type(value).__name__,
)
def test_values_that_have_no_canonical_json_are_refused(value: object) -> None:
    with pytest.raises(EncodingError):
        canonical_json(value)


def test_nesting_beyond_the_limit_is_refused() -> None:
    value: Any = 1
    for _ in range(DEPTH_MAX):
        value = {"a": value}
    canonical_json(value)

    with pytest.raises(EncodingError):
        canonical_json([value])


def test_a_record_is_shown_with_all_its_fields() -> None:
    record = Shown(bytes(31) + b"\xff", 2**100, 5, False, None, (Inner(1), Inner(2)))

    assert record_to_json_value(record) == {
        "atoms": "1267650600228229401496703205376",
        "memo": None,
        "parts": [{"n": 1}, {"n": 2}],
        "small": 5,
        "to": "0x" + "00" * 31 + "ff",
        "urgent": False,
    }
    assert json.loads(canonical_json(record_to_json_value(record)))["small"] == 5


def test_a_record_that_breaks_its_type_is_not_shown() -> None:
    with pytest.raises(EncodingError):
        record_to_json_value(Inner(-1))
