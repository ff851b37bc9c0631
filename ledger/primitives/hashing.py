"""Domain-separated SHA-256: no two uses of a hash can be mistaken for each other.

hash = SHA-256(SHA-256(tag) || SHA-256(tag) || for each part: its length as 8 bytes big-endian, then the part).
The doubled tag fills one SHA-256 block, so its state is computed once (after BIP 340); the lengths make the list of
parts unambiguous.  SHA-256 was taken because every browser's WebCrypto has it: a page can check what a node says.
"""

import hashlib
from functools import cache

HASH_BYTES = 32
ZERO_HASH = bytes(HASH_BYTES)


@cache
def _midstate(tag: str) -> "hashlib._Hash":  # pyright: ignore[reportPrivateUsage]
    digest = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(digest + digest)


def tagged_hash(tag: str, *parts: bytes) -> bytes:
    """Return the 32-byte hash of `parts` under `tag`, one of our constant names such as "atlas/event"."""
    state = _midstate(tag).copy()
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()
