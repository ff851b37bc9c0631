"""Hashes with their tags, ways to the roots of both trees, and Ed25519 signatures bound to chain and purpose."""

import hashlib
from collections.abc import Sequence

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from atlas_verify.canonical import Invalid


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def tagged_hash(tag: str, *parts: bytes) -> bytes:
    """Return SHA-256(SHA-256(tag) || SHA-256(tag) || each part after its length in 8 bytes)."""
    return sha256(2 * sha256(tag.encode()) + b"".join(len(part).to_bytes(8, "big") + part for part in parts))


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)


def compute_log_root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root of the log of `size` leaves to which a path leads, from the leaf up (RFC 6962).  Raises Invalid.

    The left subtree is the largest complete one that leaves something for the right; the last sibling is the other.
    """
    if not 0 <= index < size:
        raise Invalid(f"path: expected a place below the log's size {size}, got {index}")
    if (size > 1) != bool(path):
        raise Invalid(f"path: too {'many' if path else 'few'} hashes for the leaf's place")
    if size == 1:
        return sha256(b"\x00" + leaf)
    left = 1 << ((size - 1).bit_length() - 1)
    if index < left:
        return node_hash(compute_log_root(leaf, index, left, path[:-1]), path[-1])
    return node_hash(path[-1], compute_log_root(leaf, index - left, size - left, path[:-1]))


def compute_state_root(found: bytes, path: bytes, siblings: Sequence[bytes]) -> bytes:
    """Return the root of the state tree to which the siblings lead, from what is found at their end of a path."""
    places = int.from_bytes(path, "big") >> (256 - len(siblings))
    for level, sibling in enumerate(siblings):
        found = node_hash(sibling, found) if places >> level & 1 else node_hash(found, sibling)
    return found


def is_signed(key: bytes, chain_id: bytes, purpose: str, message: bytes, signature: bytes) -> bool:
    """Tell whether a key signed a message for this chain and purpose."""
    try:
        VerifyKey(key).verify(tagged_hash(f"atlas/sign/{purpose}", chain_id, message), signature)
    except (CryptoError, ValueError):  # a signature that fails, or of another length
        return False
    return True
