"""The record of the newest block in a store."""

from ledger import keyspace
from ledger.primitives.encoding import EncodingError, decode, encode


def encode_head(height: int, header_hash: bytes) -> bytes:
    """Return the record of the newest block."""
    return encode([height, header_hash])


def decode_head(data: bytes) -> tuple[int, bytes]:
    """Return the newest block's height and header hash.  Raises EncodingError."""
    match decode(data):
        case [int(height), bytes(header_hash)] if 0 <= height <= keyspace.HEIGHT_MAX:
            return height, header_hash
        case other:
            raise EncodingError(f"expected a height and a header hash, got {other!r}")
