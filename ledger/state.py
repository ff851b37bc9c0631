"""Reading the small values of the state: counters and records under the keys of `keyspace`."""

from functools import lru_cache
from typing import TypeVar

from ledger.events import View
from ledger.primitives.encoding import decode_plain, encode_plain
from ledger.primitives.records import decode_record

R = TypeVar("R")

NUMBERS_CACHED = 16_384
"""Most counters and nonces are small, so their forms come again and again."""

PRESENT = encode_plain(True)


def read_number(view: View, key: bytes) -> int:
    """Return the number stored under `key`; 0 where nothing is."""
    data = view.get(key)
    return 0 if data is None else decode_number(data)


@lru_cache(NUMBERS_CACHED)
def decode_number(data: bytes) -> int:
    number = decode_plain(data)
    assert type(number) is int, f"expected a number in the state, got {data.hex()}"
    return number


@lru_cache(NUMBERS_CACHED, typed=True)  # True is not 1 here
def encode_number(number: int) -> bytes:
    """Return the stored form of a number."""
    return encode_plain(number)


def read_record(view: View, key: bytes, kind: type[R]) -> R | None:
    """Return the record stored under `key`, or None."""
    data = view.get(key)
    return None if data is None else decode_record(kind, data)
