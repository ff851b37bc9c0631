"""Receipts: one form, there and back."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.primitives.encoding import EncodingError, decode, encode
from ledger.receipts import Receipt, decode_receipt, encode_receipt
from ledger.verdict import SEVERITIES, Verdict

texts = st.text(st.characters(codec="utf-8"), max_size=20)
facts = st.dictionaries(texts, st.integers(-(2**63), 2**128 - 1) | texts | st.booleans(), max_size=4)
severities = st.sampled_from(SEVERITIES)
allowed = st.builds(Verdict, st.just(True), texts, st.just(""), facts, severities, texts, texts)
denied = st.builds(Verdict, st.just(False), texts, texts, facts, severities, texts, texts)
numbers = st.integers(0, 2**63)
receipts = st.builds(
    Receipt,
    event_id=st.binary(min_size=32, max_size=32),
    event_type=texts,
    event_version=numbers,
    author=st.binary(min_size=32, max_size=32),
    height=numbers,
    index=numbers,
    log_index=numbers,
    beat=numbers,
    modules=st.lists(texts, max_size=2).map(tuple),
    inputs=facts,
    verdicts=st.lists(allowed | denied, max_size=3).map(tuple),
    outcome=st.sampled_from(("applied", "denied", "skipped")),
    explanation=texts,
)
RECEIPT = Receipt(
    bytes(32), "a.B", 1, bytes(32), 1, 0, 0, 0, ("a",), {"x": 1}, (Verdict(False, "c", "why", {}),), "denied", "why"
)


@given(receipts)
def test_a_receipt_comes_back_as_it_was(receipt: Receipt) -> None:
    assert decode_receipt(encode_receipt(receipt)) == receipt


@given(receipts)
def test_its_bytes_are_the_canonical_ones(receipt: Receipt) -> None:
    data = encode_receipt(receipt)

    assert encode(decode(data)) == data


def test_the_reason_of_a_verdict_is_kept_only_where_it_denies() -> None:
    spoken = replace(RECEIPT, verdicts=(Verdict(True, "c", "fine", {}),))

    assert decode_receipt(encode_receipt(spoken)).verdicts == (Verdict(True, "c", "", {}),)


def edited(**changes: Any) -> bytes:
    plain: Any = decode(encode_receipt(RECEIPT))
    return encode({name: value for name, value in (plain | changes).items() if value is not ...})


def test_a_usual_verdict_takes_no_more_than_its_texts_and_numbers() -> None:
    plain: Any = decode(
        encode_receipt(replace(RECEIPT, verdicts=(Verdict(True, "c", "", {"n": 1}, "info", "g", "p"),)))
    )

    assert plain["verdicts"] == [["c", "g", "p", {"n": 1}]]


VERDICT: list[Any] = ["c", "g", "p", {}, "error", "why"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode([]),
        encode({}),
        edited(height=...),
        edited(more=1),
        edited(height="1"),
        edited(height=True),
        edited(author="x"),
        edited(inputs=[]),
        edited(inputs={"x": None}),
        edited(modules=[1]),
        edited(verdicts={}),
        edited(verdicts=[1]),
        edited(verdicts=[VERDICT[:3]]),
        edited(verdicts=[[*VERDICT, ""]]),
        edited(verdicts=[["c", "g", "p", {"x": b""}]]),
        edited(verdicts=[["c", "g", "p", []]]),
        edited(verdicts=[["c", "g", 1, {}]]),
        edited(verdicts=[["c", "g", "p", {}, "info"]]),
        edited(verdicts=[["c", "g", "p", {}, "mild"]]),
        edited(verdicts=[["c", "g", "p", {}, "error", 1]]),
    ],
)
def test_what_is_no_receipt_is_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        decode_receipt(data)
