"""The state tree: a sparse Merkle tree over all keys of the state, for proofs of single facts and for snapshots.

A key lies at its path, the 256 bits of tagged_hash("atlas/state-path", key), most significant bit first.

    leaf            SHA-256(0x00 || path || SHA-256(value))
    node            SHA-256(0x01 || left || right)
    empty subtree   32 zero bytes
    subtree with exactly one leaf: that leaf's hash, wherever it stands

So the root depends on the set of keys and values alone, whatever order they came in.  A proof is the siblings of one
place, from its depth up to the root; that a key is absent is shown by what stands at its place instead: nothing, or the
leaf of another path.  Source: the compact sparse Merkle trees of Dahlberg, Pulls and Peeters, "Efficient Sparse Merkle
Trees", https://eprint.iacr.org/2016/683, with the single-leaf rule of LIP-0039 (https://github.com/LiskHQ/lips).
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ledger.primitives.hashing import tagged_hash
from ledger.primitives.merkle import ProofInvalid

EMPTY = bytes(32)
PATH_BITS = 256

_sha256 = hashlib.sha256

Leaf: TypeAlias = tuple[bytes, bytes]
"""A path and the hash of the leaf there."""


@dataclass(frozen=True, slots=True)
class Subtree:
    """The hash over a subtree, and how many leaves it has: 0, 1, or 2 for more."""

    hash: bytes
    leaves: int


NOTHING = Subtree(EMPTY, 0)


@dataclass(frozen=True, slots=True)
class StateProof:
    """What shows the value of one key, or that it has none.

    siblings: from the place up to the root.  other: the leaf of another path that stands at the place of an absent key,
    as its path and its value's hash; None where nothing stands there, or where the key itself does.
    """

    siblings: tuple[bytes, ...]
    other: tuple[bytes, bytes] | None = None


def compute_path(key: bytes) -> bytes:
    """Return the 32 bytes that tell where a key lies."""
    return tagged_hash("atlas/state-path", key)


def hash_leaf(path: bytes, value_hash: bytes) -> bytes:
    """Return the hash of the leaf at `path`, from the SHA-256 of its value."""
    return _sha256(b"\x00" + path + value_hash).digest()


def make_leaf(key: bytes, value: bytes) -> Leaf:
    path = compute_path(key)
    return path, hash_leaf(path, _sha256(value).digest())


def join(left: Subtree, right: Subtree) -> Subtree:
    """Return the subtree over two halves."""
    leaves = left.leaves + right.leaves
    if leaves <= 1:
        return left if left.leaves else right
    return Subtree(_sha256(b"\x01" + left.hash + right.hash).digest(), 2)


def join_sparse(row: Sequence[tuple[int, Subtree]], bits: int) -> Subtree:
    """Return the subtree over 2**bits subtrees of one depth, of which `row` has those with leaves, by their place."""
    if not row:
        return NOTHING
    if bits == 0 or (len(row) == 1 and row[0][1].leaves == 1):
        return row[0][1]
    below = bits - 1
    middle = bisect_left(row, 1, key=lambda each: each[0] >> below & 1)
    return join(join_sparse(row[:middle], below), join_sparse(row[middle:], below))


def compute_subtree(leaves: Sequence[Leaf], depth: int = 0) -> Subtree:
    """Return the subtree at `depth` over leaves in order of their paths, which share their first `depth` bits."""
    if len(leaves) <= 1:
        return Subtree(leaves[0][1], 1) if leaves else NOTHING
    return Subtree(_hash_leaves(leaves, 0, len(leaves), depth), 2)


def _hash_leaves(leaves: Sequence[Leaf], start: int, stop: int, depth: int) -> bytes:
    count = stop - start
    if count <= 1:
        return leaves[start][1] if count else EMPTY
    middle = _find_middle(leaves, start, stop, depth)
    left = _hash_leaves(leaves, start, middle, depth + 1)
    right = _hash_leaves(leaves, middle, stop, depth + 1)
    return _sha256(b"\x01" + left + right).digest()


def _find_middle(leaves: Sequence[Leaf], start: int, stop: int, depth: int) -> int:
    """Return where the leaves whose bit at `depth` is 1 begin."""
    byte, mask = depth >> 3, 0x80 >> (depth & 7)
    if stop - start > 16:
        return bisect_left(leaves, 1, start, stop, key=lambda leaf: 1 if leaf[0][byte] & mask else 0)
    while start < stop and not leaves[start][0][byte] & mask:
        start += 1
    return start


def get_bit(path: bytes, depth: int) -> int:
    return path[depth >> 3] >> (7 - (depth & 7)) & 1


def find_siblings(leaves: Sequence[Leaf], path: bytes, depth: int = 0) -> tuple[list[bytes], int | None]:
    """Return the siblings of a path inside of a subtree, from below, and which leaf stands at its place, if any."""
    siblings: list[bytes] = []
    start, stop = 0, len(leaves)
    while stop - start > 1:
        middle = _find_middle(leaves, start, stop, depth)
        depth += 1
        if get_bit(path, depth - 1):
            siblings.append(_hash_leaves(leaves, start, middle, depth))
            start = middle
        else:
            siblings.append(_hash_leaves(leaves, middle, stop, depth))
            stop = middle
    return siblings[::-1], start if start < stop else None


def verify_state(root: bytes, key: bytes, value: bytes | None, proof: StateProof) -> None:
    """Raise ProofInvalid unless the state with this root has `value` under `key`, or nothing where it is None."""
    path = compute_path(key)
    depth = len(proof.siblings)
    if depth > PATH_BITS or any(len(sibling) != 32 for sibling in proof.siblings):
        raise ProofInvalid(f"expected at most {PATH_BITS} siblings of 32 bytes, got {depth}")
    if value is not None:
        if proof.other is not None:
            raise ProofInvalid("expected no other leaf beside a value")
        found = hash_leaf(path, _sha256(value).digest())
    elif proof.other is not None:
        found = _hash_other(path, depth, *proof.other)
    else:
        found = EMPTY
    for level, sibling in enumerate(proof.siblings):
        left, right = (sibling, found) if get_bit(path, depth - level - 1) else (found, sibling)
        found = _sha256(b"\x01" + left + right).digest()
    if found != root:
        raise ProofInvalid(f"expected the state root {root.hex()}, the proof gives {found.hex()}")


def _hash_other(path: bytes, depth: int, other: bytes, value_hash: bytes) -> bytes:
    if len(other) != 32 or len(value_hash) != 32 or other == path:
        raise ProofInvalid("expected another leaf of 32 bytes of path and 32 of hash at the key's place")
    if any(get_bit(path, place) != get_bit(other, place) for place in range(depth)):
        raise ProofInvalid(f"expected the other leaf to share the key's first {depth} bits")
    return hash_leaf(other, value_hash)
