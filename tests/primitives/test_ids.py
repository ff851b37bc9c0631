"""Checksummed ids: BIP 350, and our kinds on top of it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.primitives.hashing import tagged_hash
from ledger.primitives.ids import (
    IdInvalid,
    IdKind,
    compute_account_id,
    decode_bech32m,
    decode_id,
    encode_bech32m,
    encode_id,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "bech32m_bip350.json").read_text())
KINDS = st.sampled_from(IdKind)
RAW = st.binary(min_size=32, max_size=32)
TEXT = encode_id(IdKind.ACCOUNT, bytes(range(32)))


@pytest.mark.parametrize("text", VECTORS["valid"])
def test_what_bip_350_calls_valid_is_read_and_written_again(text: str) -> None:
    prefix, groups = decode_bech32m(text)

    assert encode_bech32m(prefix, groups) == text.lower()


@pytest.mark.parametrize(("text", "reason"), VECTORS["invalid"])
def test_what_bip_350_calls_invalid_is_refused(text: str, reason: str) -> None:
    with pytest.raises(IdInvalid):
        decode_bech32m(text)


@given(KINDS, RAW)
def test_an_id_comes_back_from_its_text(kind: IdKind, raw: bytes) -> None:
    text = encode_id(kind, raw)

    assert decode_id(kind, text) == raw
    assert re.fullmatch(kind.value + "1[02-9ac-hj-np-z]{58}", text)


@given(KINDS, RAW)
def test_the_table_gives_the_checksum_that_bip_350_computes(kind: IdKind, raw: bytes) -> None:
    bits = int.from_bytes(raw, "big") << 4
    groups = [bits >> shift & 31 for shift in range(255, -1, -5)]

    assert encode_id(kind, raw) == encode_bech32m(kind.value, groups)


@given(RAW, st.integers(0, 57), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_any_one_wrong_letter_is_found(raw: bytes, place: int, letter: str) -> None:
    text = encode_id(IdKind.POST, raw)
    at = len("post1") + place
    wrong = text[:at] + letter + text[at + 1 :]

    if wrong != text:
        with pytest.raises(IdInvalid, match="checksum"):
            decode_id(IdKind.POST, wrong)


@given(RAW, st.sets(st.integers(0, 57), min_size=2, max_size=4), st.data())
def test_up_to_four_wrong_letters_are_found(raw: bytes, places: set[int], data: st.DataObject) -> None:
    text = list(encode_id(IdKind.POST, raw))
    for place in sorted(places):
        old = text[5 + place]
        text[5 + place] = data.draw(st.sampled_from([c for c in "qpzry9x8gf2tvdw0s3jn54khce6mua7l" if c != old]))

    with pytest.raises(IdInvalid, match="checksum"):
        decode_id(IdKind.POST, "".join(text))


def test_an_id_of_another_kind_is_refused_and_both_kinds_are_named() -> None:
    with pytest.raises(IdInvalid, match="kind post, got one of kind acct"):
        decode_id(IdKind.POST, TEXT)


def test_all_capitals_are_read_and_a_mixture_is_refused() -> None:
    assert decode_id(IdKind.ACCOUNT, TEXT.upper()) == bytes(range(32))
    for mixed in (TEXT[:-1] + TEXT[-1].upper(), TEXT[0].upper() + TEXT[1:], TEXT.title()):
        if mixed != TEXT:
            with pytest.raises(IdInvalid, match="mixture"):
                decode_id(IdKind.ACCOUNT, mixed)


@pytest.mark.parametrize("count", [0, 1, 51, 53, 64])
def test_an_id_of_another_length_is_refused(count: int) -> None:
    with pytest.raises(IdInvalid, match=f"52 letters .* got {count}"):
        decode_id(IdKind.ACCOUNT, encode_bech32m("acct", [0] * count))


@pytest.mark.parametrize("padding", [1, 2, 8, 15])
def test_bits_after_the_payload_must_be_zero(padding: int) -> None:
    with pytest.raises(IdInvalid, match="padding"):
        decode_id(IdKind.ACCOUNT, encode_bech32m("acct", [0] * 51 + [padding]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no kind"),
        ("acct", "no kind"),
        ("1" + "q" * 58, "no kind"),
        ("acct1", "checksum of 6"),
        ("acct1qqqqq", "checksum of 6"),
        ("acct1" + "b" * 58, "got 'b'"),
        ("acct1" + "é" * 58, "got 'é'"),
        (" " + TEXT, "printable"),
        (TEXT + " ", "got ' '"),
        (TEXT + "\n", "got '\\\\n'"),
        ("x" * 1_000_000, "at most 90"),
        ("İ1qqqqqq", "got"),
        ("ﬀ1qqqqqq", "got"),
    ],
)
def test_a_text_that_is_no_id_is_refused_with_what_was_wrong(text: str, message: str) -> None:
    with pytest.raises(IdInvalid, match=message):
        decode_id(IdKind.ACCOUNT, text)


@given(st.text(max_size=95))
def test_foreign_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(IdInvalid):
        decode_id(IdKind.ACCOUNT, text)


@pytest.mark.parametrize("size", [0, 20, 31, 33])
def test_a_payload_of_another_length_is_not_encoded(size: int) -> None:
    with pytest.raises(IdInvalid, match=f"32 bytes for an id of kind evt, got {size}"):
        encode_id(IdKind.EVENT, bytes(size))


def test_ids_keep_their_published_form() -> None:
    # Our own vector: made with encode_bech32m, which the vectors of BIP 350 check.
    assert TEXT == "acct1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0st3cpft"


def test_an_account_id_depends_on_chain_and_key() -> None:
    chain, public = bytes(32), b"\x01" * 32

    assert compute_account_id(chain, public) == tagged_hash("atlas/account", chain, public)
    assert compute_account_id(public, chain) != compute_account_id(chain, public)
