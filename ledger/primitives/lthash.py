"""LtHash: one digest over a set of (key, value) pairs that is updated in time linear in what changed.

Each pair is stretched by BLAKE3 to 1,024 lanes of 16 bits; the lanes of the set are the sums modulo 2**16.  Adding and
removing are exact inverses, and no order enters.  Two sets with equal lanes would solve a short-integer-solution
problem: at 1,024 lanes of 16 bits, over 200 bits of security (Lewi, Kim, Maykov, Weis: "Securing Update Propagation
with Homomorphic Hashing", https://eprint.iacr.org/2019/227).  That holds for sets: the caller adds no pair twice, and
removes only what is in.

The only file that uses numpy, and only for 16-bit addition: lanes are little-endian on every machine.
"""

from collections.abc import Iterable
from itertools import chain, islice

import numpy
from blake3 import blake3
from numpy.typing import NDArray

from ledger.primitives.hashing import tagged_hash

LANE_COUNT = 1_024
LANES_BYTES = 2 * LANE_COUNT
EMPTY = bytes(LANES_BYTES)
"""The lanes of the empty set."""

_TAG = b"atlas/lthash/1\x00\x00"  # 16 bytes
_PAIRS_AT_ONCE = 64  # 128 KiB of lanes: one addition over what still is in the cache
_LANE = numpy.dtype("<u2")


def compute_element(key: bytes, value: bytes) -> bytes:
    """Return the 2,048 bytes of lanes of one pair.  The length of the key tells where it ends."""
    return blake3(_TAG + len(key).to_bytes(8, "big") + key + value).digest(LANES_BYTES)


def combine(lanes: bytes, removed: Iterable[tuple[bytes, bytes]], added: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the lanes of the set after taking the pairs in `removed` out and putting those in `added` in.

    lanes: 2,048 bytes, as EMPTY or an earlier call gave them.  To change a value, take its old pair out, the new in.
    """
    assert len(lanes) == LANES_BYTES, f"expected {LANES_BYTES} bytes of lanes, got {len(lanes)}"
    total = numpy.frombuffer(lanes, _LANE) - _sum_of_elements(removed) + _sum_of_elements(added)
    return total.astype(_LANE, copy=False).tobytes()


def digest(lanes: bytes) -> bytes:
    """Return the 32-byte digest of the set with these lanes."""
    assert len(lanes) == LANES_BYTES, f"expected {LANES_BYTES} bytes of lanes, got {len(lanes)}"
    return tagged_hash("atlas/lthash", lanes)


def _sum_of_elements(pairs: Iterable[tuple[bytes, bytes]]) -> NDArray[numpy.uint16]:
    total = numpy.zeros(LANE_COUNT, _LANE)
    rest = iter(pairs)
    for pair in rest:
        some = b"".join(
            [compute_element(key, value) for key, value in chain((pair,), islice(rest, _PAIRS_AT_ONCE - 1))]
        )
        total += numpy.frombuffer(some, _LANE).reshape(-1, LANE_COUNT).sum(axis=0, dtype=_LANE)
    return total
