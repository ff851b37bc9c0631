"""Records: dataclasses to canonical bytes and back, every field checked."""

import os
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.primitives.encoding import EncodingError, encode
from ledger.primitives.records import (
    U32,
    U32_MAX,
    U64,
    U64_MAX,
    U128,
    U128_MAX,
    Between,
    Bytes32,
    Length,
    decode_record,
    encode_record,
    record_from_plain,
    record_to_plain,
)


@dataclass(frozen=True, slots=True)
class Part:
    weight: Annotated[int, Between(-5, 5)]
    name: Annotated[str, Length(1, 8)]


@dataclass(frozen=True, slots=True)
class Transfer:
    to: Bytes32
    atoms: U128
    nonce: U64
    urgent: bool
    memo: Annotated[str, Length(0, 20)] | None
    parts: Annotated[tuple[Part, ...], Length(0, 3)]
    first: Part | None
    tags: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Stranger:
    weight: int
    name: str


PARTS = st.builds(Part, st.integers(-5, 5), st.text("abcdefghé", min_size=1, max_size=4))
TRANSFERS = st.builds(
    Transfer,
    to=st.binary(min_size=32, max_size=32),
    atoms=st.integers(0, U128_MAX),
    nonce=st.integers(0, U64_MAX),
    urgent=st.booleans(),
    memo=st.none() | st.text(max_size=5),
    parts=st.lists(PARTS, max_size=3).map(tuple),
    first=st.none() | PARTS,
    tags=st.lists(st.binary(max_size=3), max_size=3).map(tuple),
)
TRANSFER = Transfer(bytes(32), 2**100, 7, True, "thanks", (Part(1, "a"), Part(-5, "b")), None, (b"x",))


def plain(**changes: object) -> dict[str, Any]:
    """TRANSFER as a map, with some fields changed; a change to ... leaves the field out."""
    whole = record_to_plain(TRANSFER)
    assert isinstance(whole, dict)
    return {key: value for key, value in {**whole, **changes}.items() if value is not ...}


@given(TRANSFERS)
def test_a_record_comes_back_from_its_bytes(record: Transfer) -> None:
    assert decode_record(Transfer, encode_record(record)) == record


@given(TRANSFERS)
def test_a_record_has_the_bytes_of_its_map(record: Transfer) -> None:
    assert encode_record(record) == encode(record_to_plain(record))


@given(TRANSFERS, st.data())
def test_other_bytes_are_another_record_or_refused(record: Transfer, data: st.DataObject) -> None:
    encoded = bytearray(encode_record(record))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))

    try:
        other = decode_record(Transfer, bytes(encoded))
    except EncodingError:
        return

    assert other != record
    assert encode_record(other) == bytes(encoded)


def test_every_strict_prefix_of_a_record_is_refused() -> None:
    data = encode_record(TRANSFER)

    for end in range(len(data)):
        with pytest.raises(EncodingError):
            decode_record(Transfer, data[:end])


@pytest.mark.parametrize("name", [field.name for field in fields(Transfer)])
def test_a_missing_field_is_refused_and_named(name: str) -> None:
    with pytest.raises(EncodingError, match=rf"missing \['{name}'\]"):
        decode_record(Transfer, encode(plain(**{name: ...})))


def test_an_unknown_field_is_refused_and_named() -> None:
    with pytest.raises(EncodingError, match=r"unknown \['tip'\]"):
        decode_record(Transfer, encode(plain(tip=1)))


def test_a_field_under_another_name_is_refused() -> None:
    with pytest.raises(EncodingError, match=r"unknown \['too'\], missing \['to'\]"):
        decode_record(Transfer, encode(plain(to=..., too=bytes(32))))


WRONG: dict[str, list[object]] = {
    "to": ["x" * 32, None, 1, bytes(31), bytes(33), b"", [0] * 32],
    "atoms": [-1, True, False, None, "1", b"\x01", [1]],
    "nonce": [2**64, -1, True],
    "urgent": [0, 1, None, "true"],
    "memo": ["x" * 21, "é" * 11, b"x", 1, False],
    "parts": [None, {}, "abc", [1], [{"name": "a"}], [{"name": "", "weight": 0}], [{"name": "a", "weight": 6}], [None]],
    "first": [0, [], "x", {"name": "a", "weight": -6}, {"name": "a", "weight": 0, "x": 0}],
    "tags": [[""], [1], [None], b"x", {"0": b"x"}],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_value_that_the_annotation_does_not_allow_is_refused(name: str, value: object) -> None:
    with pytest.raises(EncodingError):
        decode_record(Transfer, encode(plain(**{name: value})))


def test_a_list_longer_than_its_bound_is_refused() -> None:
    part = {"name": "a", "weight": 0}

    assert len(decode_record(Transfer, encode(plain(parts=[part] * 3))).parts) == 3
    with pytest.raises(EncodingError):
        decode_record(Transfer, encode(plain(parts=[part] * 4)))


@pytest.mark.parametrize("value", [None, 1, "x", b"x", [], [1, 2], {}, {"weight": 1}])
def test_what_is_not_a_map_of_the_fields_is_refused(value: object) -> None:
    with pytest.raises(EncodingError):
        decode_record(Part, encode(value))


@pytest.mark.parametrize(
    "data",
    [
        "82a677656967687401a46e616d65a161",  # unsorted: weight, name
        "82c4046e616d65a161a677656967687401",  # a key of bytes
        "83a46e616d65a161a46e616d65a161a677656967687401",  # a key twice
        "82a46e616d65a161a6776569676874cc01",  # a number in two bytes where one is enough
        "82a46e616d65a161a6776569676874ca3f800000",  # a float
        "82a46e616d65a161a6776569676874d6ff00000001",  # a timestamp
        "82a46e616d65a161a67765696768740100",  # a byte too many
    ],
)
def test_bytes_of_a_record_in_another_form_are_refused(data: str) -> None:
    assert encode_record(Part(1, "a")).hex() == "82a46e616d65a161a677656967687401"

    with pytest.raises(EncodingError):
        decode_record(Part, bytes.fromhex(data))


@pytest.mark.parametrize(
    "record",
    [
        Part(6, "a"),
        Part(-6, "a"),
        Part(True, "a"),
        Part(10**5_000, "a"),
        Part(1, ""),
        Part(1, "123456789"),
        Part(1, "éééééé"),
        Part(1, "\ud800"),
        Part(1.0, "a"),  # type: ignore[arg-type]
        Part(1, b"a"),  # type: ignore[arg-type]
    ],
)
def test_a_record_that_holds_what_its_type_does_not_allow_is_not_encoded(record: Part) -> None:
    with pytest.raises(EncodingError):
        encode_record(record)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("parts", [Part(1, "a")]),
        ("parts", (Part(1, "a"),) * 4),
        ("parts", None),
        ("tags", "abc"),
        ("tags", b"abc"),
        ("first", Stranger(1, "a")),
        ("first", {"weight": 1, "name": "a"}),
    ],
)
def test_a_field_of_another_class_than_declared_is_not_encoded(name: str, value: object) -> None:
    record = Transfer(**{**{field.name: getattr(TRANSFER, field.name) for field in fields(Transfer)}, name: value})

    with pytest.raises(EncodingError):
        encode_record(record)


def test_a_record_can_be_read_from_a_map_in_any_order() -> None:
    assert record_from_plain(Part, {"weight": 1, "name": "a"}) == Part(1, "a")
    assert record_from_plain(Part, {"name": "a", "weight": 1}) == Part(1, "a")


def test_what_is_no_record_is_not_encoded() -> None:
    for value in (1, "x", {"a": 1}, object(), None):
        with pytest.raises(EncodingError):
            encode_record(value)


@dataclass(frozen=True)
class Loop:
    inner: "Loop | None"


@dataclass(frozen=True)
class Real:
    value: float


@dataclass(frozen=True)
class Either:
    value: int | str


@dataclass(frozen=True)
class Pair:
    value: tuple[int, str]


@dataclass(frozen=True)
class LengthOfInt:
    value: Annotated[int, Length(3)]


@dataclass(frozen=True)
class RangeOfBytes:
    value: Annotated[bytes, Between(1, 2)]


@dataclass(frozen=True)
class RuleOutsideOptional:
    value: Annotated[bytes | None, Length(32)]


@dataclass(frozen=True)
class RuleOfBool:
    value: Annotated[bool, Between(0, 1)]


@dataclass(frozen=True)
class TwoRules:
    value: Annotated[U32, Between(0, 5)]


@pytest.mark.parametrize(
    "kind", [Loop, Real, Either, Pair, LengthOfInt, RangeOfBytes, RuleOutsideOptional, RuleOfBool, TwoRules, int]
)
def test_a_class_whose_fields_have_no_single_meaning_has_no_codec(kind: type[Any]) -> None:
    with pytest.raises(EncodingError):
        decode_record(kind, encode({"value": 1}))


@dataclass(frozen=True, kw_only=True)
class KeywordOnly:
    b: U32
    a: U32 = 5


def test_keyword_only_fields_and_defaults_are_read_like_others() -> None:
    assert decode_record(KeywordOnly, encode_record(KeywordOnly(b=U32_MAX))) == KeywordOnly(b=U32_MAX)
    with pytest.raises(EncodingError):
        decode_record(KeywordOnly, encode({"b": 1}))


def test_a_record_without_lists_refuses_a_list_by_its_header() -> None:
    # Nested headers that each claim many items would cost memory and time before the first item is read.
    hostile = b"\x82\xa4name" + b"\xdc\xff\xff" * 900

    with pytest.raises(EncodingError, match="exceeds max_array_len"):
        decode_record(Part, hostile)


def test_records_have_the_same_bytes_whatever_the_hash_seed() -> None:
    program = (
        "from dataclasses import dataclass\n"
        "from ledger.primitives.canonical_json import canonical_json\n"
        "from ledger.primitives.encoding import encode\n"
        "from ledger.primitives.lthash import EMPTY, combine, digest\n"
        "from ledger.primitives.records import encode_record\n"
        "@dataclass(frozen=True)\n"
        "class R:\n"
        "    zeta: int\n    alpha: str\n    mid: bytes\n    beta: bool\n"
        "plain = {name: index for index, name in enumerate(sorted({'q', 'b', 'zz', 'aa', 'x1', 'x2'}, key=hash))}\n"
        "same = {name: len(name) for name in plain}\n"
        "pairs = {(bytes([n]), bytes(n)) for n in range(9)}\n"
        "print(encode_record(R(1, 'a', b'm', True)).hex(), encode(same).hex(), canonical_json(same).hex())\n"
        "print(digest(combine(EMPTY, [], pairs)).hex())\n"
    )

    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }

    assert len(outputs) == 1
