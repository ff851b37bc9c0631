"""LtHash: the digest of a set, whatever the way to it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.primitives.hashing import tagged_hash
from ledger.primitives.lthash import EMPTY, combine, compute_element, digest

VECTORS = Path(__file__).parents[1] / "vectors"
PAIRS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), unique=True, max_size=12)


def lanes_by_hand(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """The same sums in plain integers, without numpy."""
    sums = [0] * 1_024
    for key, value in pairs:
        stretched = blake3(b"atlas/lthash/1\0\0" + len(key).to_bytes(8, "big") + key + value).digest(2_048)
        for lane in range(1_024):
            sums[lane] += int.from_bytes(stretched[2 * lane : 2 * lane + 2], "little")
    return b"".join((lane % 2**16).to_bytes(2, "little") for lane in sums)


@pytest.mark.parametrize("vector", json.loads((VECTORS / "blake3.json").read_text())["vectors"])
def test_the_blake3_library_stretches_as_its_official_vectors_say(vector: dict[str, str]) -> None:
    output = bytes.fromhex(vector["output"])
    data = bytes(index % 251 for index in range(int(vector["input_bytes"])))

    assert blake3(data).digest(len(output)) == output
    assert blake3(data).digest(2_048)[: len(output)] == output


@pytest.mark.parametrize("vector", json.loads((VECTORS / "lthash.json").read_text())["vectors"])
def test_digests_are_our_published_ones(vector: dict[str, Any]) -> None:
    pairs = [(bytes.fromhex(key), bytes.fromhex(value)) for key, value in vector["pairs"]]

    assert digest(combine(EMPTY, [], pairs)).hex() == vector["digest"]
    assert tagged_hash("atlas/lthash", lanes_by_hand(pairs)).hex() == vector["digest"]


@given(PAIRS)
@settings(max_examples=25)
def test_the_lanes_are_sums_of_16_bits(pairs: list[tuple[bytes, bytes]]) -> None:
    assert combine(EMPTY, [], pairs) == lanes_by_hand(pairs)


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_adding_does_not_matter(pairs: list[tuple[bytes, bytes]], random: object) -> None:
    other = sorted(pairs, key=lambda pair: blake3(repr((pair, random)).encode()).digest())

    assert combine(EMPTY, [], other) == combine(EMPTY, [], pairs)


@given(PAIRS, st.integers(0, 12))
def test_adding_at_once_or_in_steps_is_the_same(pairs: list[tuple[bytes, bytes]], cut: int) -> None:
    assert combine(combine(EMPTY, [], pairs[:cut]), [], pairs[cut:]) == combine(EMPTY, [], pairs)


@given(PAIRS, PAIRS)
def test_removing_undoes_adding(kept: list[tuple[bytes, bytes]], passing: list[tuple[bytes, bytes]]) -> None:
    before = combine(EMPTY, [], kept)

    assert combine(combine(before, [], passing), passing, []) == before
    assert combine(before, passing, passing) == before


@given(PAIRS, st.integers(0, 11), st.binary(max_size=8))
def test_a_changed_value_is_the_same_as_a_set_made_with_it(
    pairs: list[tuple[bytes, bytes]], place: int, value: bytes
) -> None:
    if not pairs:
        return
    old = pairs[place % len(pairs)]
    new = (old[0], value)
    changed = [new if pair == old else pair for pair in pairs]

    assert combine(combine(EMPTY, [], pairs), [old], [new]) == combine(EMPTY, [], changed)


def test_more_pairs_than_are_added_at_once_give_the_same_sum() -> None:
    pairs = [(index.to_bytes(2, "big"), b"v") for index in range(200)]
    step = EMPTY
    for pair in pairs:
        step = combine(step, [], [pair])

    assert combine(EMPTY, [], iter(pairs)) == step
    assert combine(step, iter(pairs), []) == EMPTY


def test_the_place_where_a_key_ends_is_part_of_the_pair() -> None:
    assert compute_element(b"ab", b"c") != compute_element(b"a", b"bc")
    assert compute_element(b"", b"") != compute_element(b"\0", b"")


def test_nothing_changed_gives_the_same_lanes() -> None:
    lanes = os.urandom(2_048)

    assert combine(lanes, [], []) == lanes


def test_lanes_of_another_length_are_our_own_fault() -> None:
    with pytest.raises(AssertionError):
        combine(b"", [], [])
    with pytest.raises(AssertionError):
        digest(bytes(2_047))
