"""Reading the small values of the state: counters and records under the keys of `keyspace`."""

from typing import TypeVar

from ledger.events import View
from ledger.primitives.encoding import decode_plain, encode_plain
from ledger.primitives.records import decode_record

R = TypeVar("R")

ONE = encode_plain(1)
PRESENT = encode_plain(True)


def read_number(view: View, key: bytes) -> int:
    """Return the number stored under `key`; 0 where nothing is."""
    data = view.get(key)
    if data is None:
        return 0
    number = decode_plain(data)
    assert type(number) is int, f"expected a number under {key.hex()}"
    return number


def encode_number(number: int) -> bytes:
    """Return the stored form of a number."""
    return encode_plain(number)


def read_record(view: View, key: bytes, kind: type[R]) -> R | None:
    """Return the record stored under `key`, or None."""
    data = view.get(key)
    return None if data is None else decode_record(kind, data)
