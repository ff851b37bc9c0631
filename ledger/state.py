"""Reading the small values of the state: counters and records under the keys of `keyspace`."""

from functools import lru_cache
from typing import TypeVar, cast

from ledger.events import View
from ledger.primitives.encoding import encode_plain
from ledger.primitives.records import decode_record

R = TypeVar("R")

RECORDS_CACHED = 4_096
"""Records of the state that stay decoded; they can't be changed, and nothing but speed depends on it."""
NUMBER_BYTES = 16
"""A number in the state is an unsigned integer of so many bytes, big-endian."""

PRESENT = encode_plain(True)


def read_number(view: View, key: bytes) -> int:
    """Return the number stored under `key`; 0 where nothing is."""
    data = view.get(key)
    return 0 if data is None else decode_number(data)


def decode_number(data: bytes) -> int:
    """Return the number whose stored form is `data`."""
    assert len(data) == NUMBER_BYTES, f"expected a number of {NUMBER_BYTES} bytes in the state, got {data.hex()}"
    return int.from_bytes(data, "big")


def encode_number(number: int) -> bytes:
    """Return the stored form of a number.  Raises OverflowError below 0 and from 2**128 on."""
    return number.to_bytes(NUMBER_BYTES, "big")


def read_record(view: View, key: bytes, kind: type[R]) -> R | None:
    """Return the record stored under `key`, or None."""
    data = view.get(key)
    return None if data is None else cast(R, _decode(kind, data))  # type: ignore[arg-type]


@lru_cache(RECORDS_CACHED)
def _decode(kind: type[object], data: bytes) -> object:
    return decode_record(kind, data)
