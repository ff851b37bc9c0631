"""Blocks: what consensus orders (a batch), and what execution makes of it (a header over all results).

The header is made after execution, so its hash commits to the events, the receipts, the whole log and the whole state.
Validators sign that hash in CHECKPOINT; a quorum of those signatures is the block's certificate.
"""

from dataclasses import dataclass
from typing import Annotated

from ledger.events import EVENT_BYTES_MAX, SignedEvent
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.merkle import leaf_hash
from ledger.primitives.records import U32, U64, Bytes32, Bytes64, Length, decode_record, encode_record

BATCH_EVENTS_MAX = 1_024
BATCH_BYTES_MAX = 2 * 1024 * 1024
HEADER_VERSION = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """What a primary proposes for one height.  A null request is the empty byte string instead."""

    beat: bool  # a new beat begins with this block
    height: U64
    items: Annotated[tuple[SignedEvent, ...], Length(0, BATCH_EVENTS_MAX)]
    proposer: U32
    time_ms: U64  # the proposer's clock; display only
    view: U64  # in which it was first proposed


@dataclass(frozen=True, slots=True)
class Header:
    """The commitment to one block and everything before it."""

    beat: U64
    chain_id: Bytes32
    epoch: U64
    event_count: U32
    event_root: Bytes32  # RFC 6962 over event || signature
    height: U64
    log_root: Bytes32  # RFC 6962 over all receipts ever
    log_size: U64
    policy_root: Bytes32  # over all policies in force after this block
    previous: Bytes32  # hash of the header below
    proposer: U32 | None  # None for a null request
    receipt_root: Bytes32  # RFC 6962 over this block's receipts
    rules_root: Bytes32
    state_digest: Bytes32
    state_height: U64  # in which this epoch began, or the one before in its first quarter
    state_root: Bytes32  # of the state tree over the state after that height
    time_ms: U64
    validators_hash: Bytes32
    version: U32
    view: U64


def encode_batch(batch: Batch) -> bytes:
    return encode_record(batch)


def decode_batch(data: bytes) -> Batch:
    """Return the batch in `data`.  The caller bounds len(data).  Raises EncodingError."""
    return decode_record(Batch, data)


def encode_header(header: Header) -> bytes:
    return encode_record(header)


def decode_header(data: bytes) -> Header:
    """Return the header in `data`.  Raises EncodingError."""
    return decode_record(Header, data)


def compute_header_hash(header: bytes) -> bytes:
    """Return the hash that validators sign, of a header's canonical bytes."""
    return tagged_hash("atlas/header", header)


def compute_event_leaf(signed: "SignedEvent | StoredEvent") -> bytes:
    """Return an event's leaf in the block's event tree."""
    return leaf_hash(signed.event + signed.signature)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as the store keeps it; its payload, if any, lies under its content hash and can be erased there."""

    content: Bytes32 | None
    event: Annotated[bytes, Length(1, EVENT_BYTES_MAX)]
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block as peers exchange it: enough to check it against its certificate and to execute it again."""

    certificate: Annotated[bytes, Length(0, 64 * 1024)]
    header: Annotated[bytes, Length(1, 2_048)]
    items: Annotated[tuple[SignedEvent, ...], Length(0, BATCH_EVENTS_MAX)]
