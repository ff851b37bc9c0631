"""Payloads: text and media beside the ledger.  A signed event holds only the salted hash and the length.

Erasing a payload drops salt and text; the hash alone then says nothing about them, and every proof stays valid.
"""

from dataclasses import dataclass
from typing import Annotated

from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U32, Bytes32, Length, decode_record, encode_record

SALT_BYTES = 16
TEXT_BYTES_MAX = 10_000
PAYLOAD_BYTES_MAX = TEXT_BYTES_MAX + 64


@dataclass(frozen=True, slots=True)
class ContentRef:
    """What a signed event says of its payload."""

    bytes: U32  # of the text as UTF-8
    hash: Bytes32  # compute_payload_hash(salt, text)


@dataclass(frozen=True, slots=True)
class Payload:
    """The text itself, and the salt that keeps its hash from being guessed."""

    salt: Annotated[bytes, Length(SALT_BYTES)]
    text: Annotated[str, Length(0, TEXT_BYTES_MAX)]


def compute_content_ref(payload: Payload) -> ContentRef:
    """Return the reference to `payload` that its event carries."""
    text = payload.text.encode()
    return ContentRef(len(text), tagged_hash("atlas/payload", payload.salt, text))


def encode_payload(payload: Payload) -> bytes:
    """Return the canonical bytes of a payload, as they are stored and sent."""
    return encode_record(payload)


def decode_payload(data: bytes) -> Payload:
    """Return the payload in `data`.  Raises EncodingError."""
    return decode_record(Payload, data)
