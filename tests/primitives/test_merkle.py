"""RFC 6962 trees: known roots and proofs, and agreement with the recursive definition in the RFC's text."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.primitives.merkle import (
    EMPTY_ROOT,
    ProofInvalid,
    append_leaves,
    compute_inclusion_path,
    compute_root,
    consistency_path_at,
    inclusion_path_at,
    leaf_hash,
    node_hash,
    root_at,
    verify_consistency,
    verify_inclusion,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "merkle_rfc6962.json").read_text())
LEAVES = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]
MANY = [leaf_hash(index.to_bytes(2, "big")) for index in range(70)]


# The definitions of RFC 6962 section 2.1, word for word, on the data of the leaves.


def largest_power_below(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(data: Sequence[bytes]) -> bytes:
    if not data:
        return hashlib.sha256(b"").digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = largest_power_below(len(data))
    return hashlib.sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def rfc_path(m: int, data: Sequence[bytes]) -> list[bytes]:
    if len(data) == 1:
        return []
    k = largest_power_below(len(data))
    if m < k:
        return [*rfc_path(m, data[:k]), mth(data[k:])]
    return [*rfc_path(m - k, data[k:]), mth(data[:k])]


def rfc_subproof(m: int, data: Sequence[bytes], whole: bool) -> list[bytes]:
    if m == len(data):
        return [] if whole else [mth(data)]
    k = largest_power_below(len(data))
    if m <= k:
        return [*rfc_subproof(m, data[:k], whole), mth(data[k:])]
    return [*rfc_subproof(m - k, data[k:], False), mth(data[:k])]


class StoredLog:
    """A log as the node keeps it, and a count of what was read."""

    def __init__(self, leaves: Sequence[bytes] = ()) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.size = 0
        self.root = EMPTY_ROOT
        self.reads = 0
        self.append(leaves)

    def append(self, leaves: Sequence[bytes]) -> None:
        added, self.root = append_leaves(self.size, leaves, self.read)
        assert not added.keys() & self.nodes.keys(), "a complete node is written once"
        self.nodes |= added
        self.size += len(leaves)

    def read(self, level: int, index: int) -> bytes:
        self.reads += 1
        return self.nodes[level, index]


DATA = [index.to_bytes(2, "big") for index in range(70)]
LOG = StoredLog(MANY)


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert compute_root(LEAVES[:size]) == ROOTS[size]
    assert StoredLog(LEAVES[:size]).root == ROOTS[size]


@pytest.mark.parametrize("vector", VECTORS["inclusion"])
def test_inclusion_paths_are_those_of_certificate_transparency(vector: dict[str, Any]) -> None:
    index, size = vector["index"], vector["size"]
    path = tuple(bytes.fromhex(part) for part in vector["path"])

    verify_inclusion(LEAVES[index], index, size, path, ROOTS[size])

    assert compute_inclusion_path(LEAVES[:size], index) == path
    assert inclusion_path_at(index, size, StoredLog(LEAVES).read) == path


@pytest.mark.parametrize("vector", VECTORS["consistency"])
def test_consistency_paths_are_those_of_certificate_transparency(vector: dict[str, Any]) -> None:
    first, second = vector["first"], vector["second"]
    path = tuple(bytes.fromhex(part) for part in vector["path"])

    verify_consistency(first, ROOTS[first], second, ROOTS[second], path)

    assert consistency_path_at(first, second, StoredLog(LEAVES).read) == path


@pytest.mark.parametrize("size", range(len(DATA) + 1))
def test_every_root_and_inclusion_path_is_that_of_the_definition(size: int) -> None:
    root = mth(DATA[:size])

    assert compute_root(MANY[:size]) == root_at(size, LOG.read) == root
    for index in range(size):
        path = tuple(rfc_path(index, DATA[:size]))
        assert compute_inclusion_path(MANY[:size], index) == path
        assert inclusion_path_at(index, size, LOG.read) == path
        verify_inclusion(MANY[index], index, size, path, root)


@pytest.mark.parametrize("second", range(1, 35))
def test_every_consistency_path_is_that_of_the_definition(second: int) -> None:
    for first in range(1, second + 1):
        path = consistency_path_at(first, second, LOG.read)

        assert path == tuple(rfc_subproof(first, DATA[:second], True))
        verify_consistency(first, mth(DATA[:first]), second, mth(DATA[:second]), path)


@given(st.lists(st.integers(0, 40), max_size=8))
@settings(max_examples=60)
def test_a_log_has_the_same_nodes_however_its_leaves_were_grouped(groups: list[int]) -> None:
    leaves = [leaf_hash(index.to_bytes(4, "big")) for index in range(sum(groups))]
    log = StoredLog()
    for group in groups:
        log.append(leaves[log.size : log.size + group])

    assert log.root == compute_root(leaves)
    assert log.nodes == StoredLog(leaves).nodes


def test_stored_nodes_are_exactly_the_complete_subtrees() -> None:
    expected = {(level, index) for level in range(7) for index in range(70 >> level)}

    assert LOG.nodes.keys() == expected
    assert LOG.nodes[2, 3] == mth(DATA[12:16])


def test_an_empty_append_changes_nothing() -> None:
    assert append_leaves(70, [], LOG.read) == ({}, LOG.root)
    assert append_leaves(0, [], LOG.read) == ({}, EMPTY_ROOT)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 70])
def test_reads_are_at_most_two_for_each_level(size: int) -> None:
    levels = size.bit_length()
    log = StoredLog(MANY[:size])

    for action in (
        lambda: append_leaves(size, MANY[:5], log.read),
        lambda: root_at(size, log.read),
        lambda: inclusion_path_at(size // 2, size, log.read),
        lambda: consistency_path_at(max(1, size // 3), size, log.read),
    ):
        log.reads = 0
        action()
        assert log.reads <= 2 * levels


@given(st.integers(1, 70), st.data())
def test_a_changed_inclusion_proof_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root, path = root_at(size, LOG.read), list(inclusion_path_at(index, size, LOG.read))
    wrong = bytes(32)

    bad: list[tuple[bytes, int, int, Sequence[bytes], bytes]] = [
        (wrong, index, size, path, root),
        (MANY[index], index, size, path, wrong),
        (MANY[index], index, size, [*path, wrong], root),
        (MANY[index], size, size, path, root),
        (MANY[index], -1, size, path, root),
        (MANY[index], index, 0, path, root),
        (MANY[index], index, -1, path, root),
        (MANY[index], index, 2**64, path, root),
        (MANY[index][:31], index, size, path, root),
    ]
    for place in range(len(path)):
        bad.append((MANY[index], index, size, [*path[:place], wrong, *path[place + 1 :]], root))
        bad.append((MANY[index], index, size, path[:place] + path[place + 1 :], root))
    for other in range(size):
        if other != index:
            bad.append((MANY[index], other, size, path, root))

    for leaf, place, claimed, proof, claimed_root in bad:
        with pytest.raises(ProofInvalid):
            verify_inclusion(leaf, place, claimed, proof, claimed_root)


@given(st.integers(1, 70), st.data())
def test_a_changed_consistency_proof_is_refused(second: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, second))
    old, new = root_at(first, LOG.read), root_at(second, LOG.read)
    path = list(consistency_path_at(first, second, LOG.read))
    wrong = bytes(32)

    bad: list[tuple[int, bytes, int, bytes, Sequence[bytes]]] = [
        (first, wrong, second, new, path),
        (first, old, second, wrong, path),
        (first, old, second, new, [*path, wrong]),
        (second + 1, old, second, new, path),
        (-1, old, second, new, path),
        (first, old, second, new[:31], path),
    ]
    for place in range(len(path)):
        bad.append((first, old, second, new, [*path[:place], wrong, *path[place + 1 :]]))
        bad.append((first, old, second, new, path[:place] + path[place + 1 :]))

    for first_size, first_root, second_size, second_root, proof in bad:
        with pytest.raises(ProofInvalid):
            verify_consistency(first_size, first_root, second_size, second_root, proof)


def test_of_an_empty_log_only_its_root_has_to_be_right() -> None:
    verify_consistency(0, EMPTY_ROOT, 70, LOG.root, [])
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])

    with pytest.raises(ProofInvalid):
        verify_consistency(0, bytes(32), 70, LOG.root, [])
    with pytest.raises(ProofInvalid):
        verify_consistency(0, EMPTY_ROOT, 70, LOG.root, [bytes(32)])
    with pytest.raises(ProofInvalid):
        verify_consistency(0, EMPTY_ROOT, 0, bytes(32), [])


def test_a_hash_of_another_length_cannot_hide_in_a_path() -> None:
    # Without a check, two siblings glued together and one of no bytes would hash the same.
    path = list(compute_inclusion_path(MANY[:4], 0))
    glued = [path[0] + path[1][:1], path[1][1:]]

    with pytest.raises(ProofInvalid, match="32 bytes"):
        verify_inclusion(MANY[0], 0, 4, glued, compute_root(MANY[:4]))


def test_a_proof_from_a_larger_tree_does_not_pass_for_one_of_a_smaller() -> None:
    root = node_hash(MANY[0], MANY[1])

    with pytest.raises(ProofInvalid, match="shorter path"):
        verify_inclusion(MANY[1], 0, 1, [MANY[0]], root)


def test_two_trees_under_a_common_node_do_not_pass_for_longer_ones() -> None:
    before = bytes(32)  # stands for leaves in front of both trees, which the claimed sizes do not count
    old, new = node_hash(before, compute_root(MANY[:3])), node_hash(before, compute_root(MANY[:4]))
    path = [*consistency_path_at(3, 4, LOG.read), before]

    with pytest.raises(ProofInvalid, match="shorter path"):
        verify_consistency(3, old, 4, new, path)


def test_a_node_is_never_a_leaf() -> None:
    left, right = MANY[:2]

    assert leaf_hash(left + right) != node_hash(left, right)
    with pytest.raises(ProofInvalid):
        verify_inclusion(node_hash(left, right), 0, 1, [], leaf_hash(left + right))


def test_a_log_of_a_million_reads_one_node_for_each_bit_of_its_size() -> None:
    size, reads = 1_000_000, list[tuple[int, int]]()

    def read(level: int, index: int) -> bytes:
        reads.append((level, index))
        return leaf_hash(bytes([level]))

    append_leaves(size, MANY, read)

    assert len(reads) == size.bit_count()
