"""Stable pages: a cursor binds the filter, the height and the place, so pages never shift while the ledger grows."""

from dataclasses import dataclass
from typing import Annotated

from client_api.errors import CursorInvalid
from ledger.primitives.encoding import EncodingError
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U64, Bytes32, Length, decode_record, encode_record

LIMIT_DEFAULT = 50
LIMIT_MAX = 100


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a listing that runs from new to old: items with a log index below `before`, or above `after`."""

    after: U64 | None
    before: U64 | None
    filter: Bytes32
    height: U64
    version: Annotated[bytes, Length(1)] = b"\1"


def hash_filter(*parts: object) -> bytes:
    """Return what binds a cursor to its listing and filter."""
    return tagged_hash("atlas/cursor", repr(parts).encode())


def encode_cursor(cursor: Cursor) -> str:
    return encode_record(cursor).hex()


def decode_cursor(text: str, filter_hash: bytes) -> Cursor:
    """Return the cursor in `text`.  Raises CursorInvalid."""
    try:
        cursor = decode_record(Cursor, bytes.fromhex(text))
    except (ValueError, EncodingError) as error:
        raise CursorInvalid(f"not a cursor: {error}") from error
    if cursor.filter != filter_hash:
        raise CursorInvalid("the cursor belongs to another listing or filter")
    return cursor


def make_cursors(
    lowest: int, highest: int, filter_hash: bytes, height: int, *, older: bool, newer: bool
) -> tuple[str | None, str | None]:
    """Return (next, prev) of a page that covers these log indexes; None where nothing follows."""
    following = encode_cursor(Cursor(None, lowest, filter_hash, height)) if older else None
    preceding = encode_cursor(Cursor(highest, None, filter_hash, height)) if newer else None
    return following, preceding
