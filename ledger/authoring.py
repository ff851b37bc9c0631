"""Making events: what a wallet does before it signs.  Used by the command line, the API's `prepare` and the loaders."""

from dataclasses import dataclass
from typing import Any

from ledger.events import Event, EventType, SignedEvent
from ledger.payloads import Payload, encode_payload
from ledger.primitives.records import encode_record
from ledger.primitives.signing import Purpose, SigningKey

EXPIRY_BEATS = 512
"""How long a prepared event stays valid by default: about 2 h 25 min on a public network."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A recent block to which an event is bound."""

    height: int
    hash: bytes
    beat: int


def make_event(
    kind: EventType[Any],
    body: Any,
    *,
    author: bytes,
    key: bytes,
    nonce: int,
    reference: Reference,
    expiry_beats: int = EXPIRY_BEATS,
) -> bytes:
    """Return the canonical bytes of an event, ready to be signed."""
    event = Event(
        type=kind.name,
        version=kind.version,
        author=author,
        key=key,
        nonce=nonce,
        reference_height=reference.height,
        reference_hash=reference.hash,
        expires_beat=reference.beat + expiry_beats,
        body=encode_record(body),
    )
    return encode_record(event)


def sign_event(key: SigningKey, chain_id: bytes, event: bytes, payload: Payload | None = None) -> SignedEvent:
    """Return an event with its signature and payload, ready to be submitted."""
    signature = key.sign(chain_id, Purpose.EVENT, event)
    return SignedEvent(event, None if payload is None else encode_payload(payload), signature)
