"""Blocks as a segment keeps them.

    frame     for each block: certificate, core
    core      header, number of receipts as 4 bytes, for each receipt: receipt, stored event (empty for derived events)
    payloads  for each payload, in the order of content hashes: content hash (32 bytes), payload

Every part but numbers and content hashes has its length before it, as 4 bytes.  The core is a leaf of the segment's
Merkle tree.  Certificates are not: two nodes may hold signatures of different quorums, but one root; and a certificate
proves itself.  Payloads are not, so that one can be erased; their hashes are, inside the stored events.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ledger import keyspace
from ledger.archive.layout import SegmentDamaged
from ledger.block import StoredBlock, StoredEvent, decode_header
from ledger.events import SignedEvent
from ledger.payloads import PAYLOAD_BYTES_MAX, compute_content_ref, decode_payload
from ledger.primitives.encoding import EncodingError
from ledger.primitives.hashing import HASH_BYTES
from ledger.primitives.records import decode_record
from ledger.reading import Snapshot

LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class ArchivedBlock:
    """One block with all that it made."""

    header: bytes
    certificate: bytes  # empty where a block above proves this one
    receipts: tuple[bytes, ...]
    events: tuple[bytes, ...]  # a StoredEvent for each receipt; empty for derived events
    payloads: Mapping[bytes, bytes] = field(default_factory=dict[bytes, bytes])  # by content hash; what is still held


def read_archived_block(snapshot: Snapshot, height: int) -> ArchivedBlock | None:
    """Return a block out of a store; None above its head."""
    header_bytes = snapshot.get(keyspace.header(height))
    if header_bytes is None:
        return None
    header = decode_header(header_bytes)
    first, stop = header.log_size - header.event_count, header.log_size
    receipts = tuple(data for _, data in snapshot.iterate(keyspace.receipt(first), keyspace.receipt(stop)))
    stored = dict(snapshot.iterate(keyspace.event(first), keyspace.event(stop)))
    events = tuple(stored.get(keyspace.event(log_index), b"") for log_index in range(first, stop))
    payloads: dict[bytes, bytes] = {}
    for content in list_contents(events):
        payload = snapshot.get(keyspace.payload(content))
        if payload is not None:
            payloads[content] = payload
    certificate = snapshot.get(keyspace.certificate(height)) or b""
    return ArchivedBlock(header_bytes, certificate, receipts, events, payloads)


def list_contents(events: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content hashes that stored events name.  Raises EncodingError."""
    for data in events:
        if data:
            content = decode_record(StoredEvent, data).content
            if content is not None:
                yield content


def to_stored_block(block: ArchivedBlock) -> StoredBlock:
    """Return a block as peers exchange it.  Raises EncodingError."""
    items: list[SignedEvent] = []
    for data in block.events:
        if data:
            stored = decode_record(StoredEvent, data)
            payload = None if stored.content is None else block.payloads.get(stored.content)
            items.append(SignedEvent(stored.event, payload, stored.signature))
    return StoredBlock(block.certificate, block.header, tuple(items))


def encode_core(block: ArchivedBlock) -> bytes:
    """Return what the Merkle tree of a segment covers of a block."""
    parts = [_sized(block.header), len(block.receipts).to_bytes(LENGTH_BYTES, "big")]
    for receipt, event in zip(block.receipts, block.events, strict=True):
        parts += (_sized(receipt), _sized(event))
    return b"".join(parts)


def encode_entry(certificate: bytes, core: bytes) -> bytes:
    """Return a block as it lies in its frame."""
    return _sized(certificate) + _sized(core)


def encode_payloads(payloads: Mapping[bytes, bytes]) -> bytes:
    return b"".join(content + _sized(payloads[content]) for content in sorted(payloads))


def decode_frame(data: bytes) -> list[ArchivedBlock]:
    """Return the blocks of an unpacked frame, without payloads.  Raises SegmentDamaged."""
    frame = _Cursor(data)
    blocks: list[ArchivedBlock] = []
    while not frame.is_at_end:
        certificate = frame.take_sized()
        core = _Cursor(frame.take_sized())
        header = core.take_sized()
        receipts: list[bytes] = []
        events: list[bytes] = []
        for _ in range(core.take_number()):
            receipts.append(core.take_sized())
            events.append(core.take_sized())
        if not core.is_at_end:
            raise SegmentDamaged("a block has more bytes than its parts")
        blocks.append(ArchivedBlock(header, certificate, tuple(receipts), tuple(events)))
    return blocks


def decode_payloads(data: bytes) -> dict[bytes, bytes]:
    """Return payloads by content hash, each compared with it.  Raises SegmentDamaged."""
    cursor = _Cursor(data)
    payloads: dict[bytes, bytes] = {}
    last = b""
    while not cursor.is_at_end:
        content, payload = cursor.take(HASH_BYTES), cursor.take_sized()
        if content <= last:
            raise SegmentDamaged("payloads are not in the order of their content hashes")
        if compute_content_hash(payload) != content:
            raise SegmentDamaged(f"the payload of content {content.hex()} is not the one whose hash was signed")
        payloads[content] = payload
        last = content
    return payloads


def compute_content_hash(payload: bytes) -> bytes | None:
    """Return the hash that an event gives for a payload's bytes; None when they are no payload."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        return None
    try:
        decoded = decode_payload(payload)
    except (EncodingError, UnicodeEncodeError):
        return None
    return compute_content_ref(decoded).hash


def distribute(blocks: Sequence[ArchivedBlock], payloads: Mapping[bytes, bytes]) -> list[ArchivedBlock]:
    """Return a frame's blocks, each with its own payloads.  Raises SegmentDamaged."""
    if not payloads:
        return list(blocks)
    try:
        return [
            ArchivedBlock(
                block.header,
                block.certificate,
                block.receipts,
                block.events,
                {content: payloads[content] for content in list_contents(block.events) if content in payloads},
            )
            for block in blocks
        ]
    except EncodingError as error:
        raise SegmentDamaged(f"a stored event is malformed: {error}") from error


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


class _Cursor:
    """A place in some bytes; taking more than there is raises SegmentDamaged."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise SegmentDamaged(f"expected {count} more bytes, got {len(self._data) - self._at}")
        self._at += count
        return self._data[self._at - count : self._at]

    def take_number(self) -> int:
        return int.from_bytes(self.take(LENGTH_BYTES), "big")

    def take_sized(self) -> bytes:
        return self.take(self.take_number())
