"""Tagged hashes: own vectors, and no two lists of parts that hash alike."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.primitives.hashing import HASH_BYTES, ZERO_HASH, tagged_hash

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "tagged_hash.json").read_text())["vectors"]
PARTS = st.lists(st.binary(max_size=6), max_size=4)


@pytest.mark.parametrize("vector", VECTORS)
def test_hashes_are_our_published_ones(vector: dict[str, Any]) -> None:
    parts = [bytes.fromhex(part) for part in vector["parts"]]

    assert tagged_hash(vector["tag"], *parts).hex() == vector["hash"]


@given(st.text("abc/", max_size=8), PARTS)
def test_the_hash_is_sha256_of_the_doubled_tag_and_the_parts_with_their_lengths(tag: str, parts: list[bytes]) -> None:
    start = hashlib.sha256(tag.encode()).digest() * 2
    rest = b"".join(len(part).to_bytes(8, "big") + part for part in parts)

    assert tagged_hash(tag, *parts) == hashlib.sha256(start + rest).digest()


@given(PARTS, PARTS)
def test_other_parts_have_another_hash(one: list[bytes], other: list[bytes]) -> None:
    assert (tagged_hash("atlas/test", *one) == tagged_hash("atlas/test", *other)) == (one == other)


@given(PARTS)
def test_another_tag_gives_another_hash(parts: list[bytes]) -> None:
    assert tagged_hash("atlas/one", *parts) != tagged_hash("atlas/two", *parts)


def test_a_tag_can_be_used_again_after_other_parts() -> None:
    first = tagged_hash("atlas/test", b"x")
    tagged_hash("atlas/test", b"y")

    assert tagged_hash("atlas/test", b"x") == first
    assert len(first) == HASH_BYTES == len(ZERO_HASH)
