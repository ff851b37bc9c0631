"""RFC 6962 Merkle trees over SHA-256: the log of all receipts, and the event and receipt roots of one block.

A leaf hash is SHA-256(0x00 || data), a node SHA-256(0x01 || left || right); the tree of n leaves splits at the largest
power of two below n.  So every node that covers a full power of two of leaves is final: a growing log stores these by
(level, index), where (level, index) covers the leaves from index * 2**level to (index + 1) * 2**level - 1, and level 0
holds the leaf hashes.  What is not full is on the right edge, and is computed from at most log2(size) stored nodes.

Sources: https://www.rfc-editor.org/rfc/rfc6962 section 2.1; the verifiers follow RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
SIZE_MAX = 2**64 - 1
"""No log is larger; so no path is longer than 65 hashes."""

ReadNode: TypeAlias = Callable[[int, int], bytes]
"""Returns the stored hash of the complete subtree at (level, index)."""

_sha256 = hashlib.sha256


class ProofInvalid(ValueError):
    """An inclusion or consistency proof does not show what it was given for."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf that holds `data`."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two subtrees, given by their 32-byte hashes."""
    return _sha256(b"\x01" + left + right).digest()


def compute_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree over these leaf hashes; of no leaves, SHA-256 of nothing."""
    row = leaf_hashes
    while len(row) > 1:
        row = _parents(row) + list(row[len(row) & ~1 :])  # an odd last node moves up unchanged
    return row[0] if row else EMPTY_ROOT


def compute_inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the siblings of leaf `index`, from the leaves up."""
    assert 0 <= index < len(leaf_hashes), f"no leaf {index} among {len(leaf_hashes)}"
    path: list[bytes] = []
    row = leaf_hashes
    while len(row) > 1:
        if index ^ 1 < len(row):
            path.append(row[index ^ 1])
        row = _parents(row) + list(row[len(row) & ~1 :])
        index >>= 1
    return tuple(path)


def verify_inclusion(leaf_hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raise ProofInvalid unless `path` shows `leaf_hash` at `index` in the tree of `size` leaves with this root."""
    _check_form(size, leaf_hash, root, *path)
    if not 0 <= index < size:
        raise ProofInvalid(f"expected an index below the tree's size {size}, got {index}")
    computed, place, last = leaf_hash, index, size - 1
    for sibling in path:
        if last == 0:
            raise ProofInvalid(f"expected a shorter path for leaf {index} of {size}, got {len(path)} hashes")
        if place & 1 or place == last:
            computed = node_hash(sibling, computed)
            while place and not place & 1:  # no sibling on these levels: the subtree is on the right edge
                place, last = place >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofInvalid(f"expected a longer path for leaf {index} of {size}, got {len(path)} hashes")
    if computed != root:
        raise ProofInvalid(f"expected the root {root.hex()}, the path of leaf {index} of {size} gives {computed.hex()}")


def verify_consistency(
    first_size: int, first_root: bytes, second_size: int, second_root: bytes, path: Sequence[bytes]
) -> None:
    """Raise ProofInvalid unless `path` shows that the first tree's leaves are the first leaves of the second's.

    Of an empty first tree nothing has to be shown: the path is empty, and its root must be EMPTY_ROOT.
    """
    _check_form(second_size, first_root, second_root, *path)
    if not 0 <= first_size <= second_size:
        raise ProofInvalid(f"expected the first size to be at most the second, got {first_size} and {second_size}")
    if first_size == 0 or first_size == second_size:
        if path:
            raise ProofInvalid(f"expected an empty path from {first_size} to {second_size}, got {len(path)} hashes")
        expected = second_root if first_size else EMPTY_ROOT
        if first_root != expected:
            raise ProofInvalid(f"expected the first root {expected.hex()}, got {first_root.hex()}")
        if second_size == 0 and second_root != EMPTY_ROOT:
            raise ProofInvalid(f"expected the root of nothing {EMPTY_ROOT.hex()}, got {second_root.hex()}")
        return
    # The largest complete subtree that ends where the first tree ends: the proof starts there.
    place, last = first_size - 1, second_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    hashes = list(path)
    if place == 0:  # the first tree is that subtree, so its hash is known and not sent
        hashes.insert(0, first_root)
    if not hashes:
        raise ProofInvalid(f"expected a path from {first_size} to {second_size}, got none")
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofInvalid(f"expected a shorter path from {first_size} to {second_size}, got {len(path)} hashes")
        if place & 1 or place == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofInvalid(f"expected a longer path from {first_size} to {second_size}, got {len(path)} hashes")
    if first != first_root:
        raise ProofInvalid(f"expected the first root {first_root.hex()}, the path gives {first.hex()}")
    if second != second_root:
        raise ProofInvalid(f"expected the second root {second_root.hex()}, the path gives {second.hex()}")


def append_leaves(
    size: int, leaf_hashes: Sequence[bytes], read: ReadNode
) -> tuple[dict[tuple[int, int], bytes], bytes]:
    """Append to a log of `size` leaves; return the nodes that became complete, leaves included, and the new root.

    Reads the complete subtrees on the right edge, one for each bit set in `size`; hashes about once per new leaf and
    once per level.  The caller stores the nodes by (level, index).
    """
    assert 0 <= size <= SIZE_MAX - len(leaf_hashes), f"a log of {size} leaves cannot take {len(leaf_hashes)} more"
    nodes: dict[tuple[int, int], bytes] = {}
    root: bytes | None = None
    level, start, row = 0, size, list(leaf_hashes)
    while start or row:
        nodes.update(zip(((level, index) for index in range(start, start + len(row))), row, strict=True))
        if start & 1:
            start -= 1
            row.insert(0, read(level, start))
        if len(row) & 1:  # without a right sibling: one of the subtrees that the root is made of
            root = row[-1] if root is None else node_hash(row[-1], root)
        level, start, row = level + 1, start >> 1, _parents(row)
    return nodes, EMPTY_ROOT if root is None else root


def root_at(size: int, read: ReadNode) -> bytes:
    """Return the root that the log had when it held `size` leaves."""
    return _right_edge(size.bit_length(), size, read) if size else EMPTY_ROOT


def inclusion_path_at(index: int, size: int, read: ReadNode) -> tuple[bytes, ...]:
    """Return the path of leaf `index` to the root that the log had at `size` leaves."""
    assert 0 <= index < size, f"no leaf {index} in a log of {size}"
    return _path_from(0, index, size, read)


def consistency_path_at(first: int, second: int, read: ReadNode) -> tuple[bytes, ...]:
    """Return the path that shows the log at `first` leaves to be the beginning of the log at `second`."""
    assert 0 <= first <= second, f"a log of {second} leaves does not begin with {first}"
    if first in (0, second):
        return ()
    level = (first & -first).bit_length() - 1
    index = (first >> level) - 1
    own = () if index == 0 else (read(level, index),)  # where it is all of the first tree, the verifier knows it
    return own + _path_from(level, index, second, read)


def _path_from(level: int, index: int, size: int, read: ReadNode) -> tuple[bytes, ...]:
    """The siblings of the complete subtree (level, index), from its level up to the root at `size` leaves."""
    path: list[bytes] = []
    while 1 << level < size:
        sibling = index ^ 1
        if (sibling + 1) << level <= size:
            path.append(read(level, sibling))
        elif sibling << level < size:
            path.append(_right_edge(level, size, read))
        level, index = level + 1, index >> 1
    return tuple(path)


def _right_edge(level: int, size: int, read: ReadNode) -> bytes:
    """The hash over the last size mod 2**level leaves: complete subtrees, joined from the smallest."""
    root: bytes | None = None
    for below in range(level):
        if size >> below & 1:
            left = read(below, (size >> below) - 1)
            root = left if root is None else node_hash(left, root)
    assert root is not None, f"no leaves beside the complete subtree at level {level} of {size}"
    return root


def _parents(row: Sequence[bytes]) -> list[bytes]:
    """The hashes of each two neighbours; an odd last one is left out."""
    return [_sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row) - 1, 2)]


def _check_form(size: int, *hashes: bytes) -> None:
    if not 0 <= size <= SIZE_MAX:
        raise ProofInvalid(f"expected a size from 0 to 2**64-1, got {size}")
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise ProofInvalid(f"expected hashes of {HASH_BYTES} bytes, got one of {len(value)}")
