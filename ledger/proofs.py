"""Event proofs: a file that shows, offline, that an event has its receipt in the ledger.

Beside what every proof file has (`ledger.certified`):

    event, signature   the bytes that the author signed        receipt            the ledger's answer, a leaf of the log
    path               RFC 6962 inclusion path of the receipt to the header's log root

`event` and `signature` are empty for what nobody validly signed: derived events, and what was skipped as malformed.
"""

from dataclasses import dataclass
from typing import Any

from ledger import keyspace
from ledger.block import Header, StoredEvent, decode_header
from ledger.certified import ProofInvalid as ProofInvalid
from ledger.certified import ProofUnavailable as ProofUnavailable
from ledger.certified import (
    VerifyCertificate,
    decode_document,
    encode_document,
    find_certified,
    read_hex,
    read_list,
    verify_certified,
)
from ledger.events import Event, View, compute_event_id
from ledger.genesis import Genesis
from ledger.primitives import merkle
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import decode_record
from ledger.primitives.signing import Purpose, SignatureInvalid, verify_signature
from ledger.receipts import Receipt, decode_receipt
from ledger.service import Validators

PROOF_VERSION = 2
PATH_MAX = 65
"""No path in a log of at most 2**64 - 1 receipts is longer."""
NOBODY = bytes(32)
"""The author in receipts of derived events and of what could not be decoded."""

ENTRY_MEMBERS = ("event", "path", "receipt", "signature")
_MEMBERS = ("certificate", "event", "handovers", "header", "path", "receipt", "signature", "version")


@dataclass(frozen=True, slots=True)
class Proven:
    """What a valid proof shows."""

    event: Event | None  # None for derived events, and for what was skipped as malformed
    event_id: bytes
    receipt: Receipt
    header: Header
    validators: Validators
    """Those who certified the header."""


def make_event_proof(snapshot: View, head_height: int, event_id: bytes) -> bytes:
    """Return the proof file of an event, against its own block's certificate.  Raises ProofUnavailable.

    snapshot: of a store, or an archive, read by the same keys.
    """
    place = snapshot.get(keyspace.event_id(event_id))
    if place is None:
        raise ProofUnavailable("no event of this id is in the ledger")
    log_index = int.from_bytes(place, "big")
    receipt = decode_receipt(_read_receipt(snapshot, log_index))
    # A later certificate serves as well: its log holds all earlier receipts.
    at, certified = find_certified(snapshot, range(receipt.height, head_height + 1))
    header_bytes = snapshot.get(keyspace.header(at))
    assert header_bytes is not None, f"header {at} is missing"
    entry = make_entry(snapshot, log_index, decode_header(header_bytes).log_size)
    return encode_document(certified | entry | {"version": PROOF_VERSION})


def make_entry(snapshot: View, log_index: int, size: int) -> dict[str, object]:
    """Return what shows an event at its place of the log of `size` receipts.  Raises ProofUnavailable."""
    receipt_bytes = _read_receipt(snapshot, log_index)
    receipt = decode_receipt(receipt_bytes)

    def read_node(level: int, index: int) -> bytes:
        node = snapshot.get(keyspace.log_node(level, index))
        if node is None:
            raise ProofUnavailable("older receipts are still being fetched here; try again later, or ask another node")
        return node

    stored_bytes = snapshot.get(keyspace.event(log_index)) if receipt.author != NOBODY else None
    stored = None if stored_bytes is None else decode_record(StoredEvent, stored_bytes)
    return {
        "event": "" if stored is None else stored.event.hex(),
        "path": [node.hex() for node in merkle.inclusion_path_at(log_index, size, read_node)],
        "receipt": receipt_bytes.hex(),
        "signature": "" if stored is None else stored.signature.hex(),
    }


def _read_receipt(snapshot: View, log_index: int) -> bytes:
    data = snapshot.get(keyspace.receipt(log_index))
    if data is None:
        raise ProofUnavailable("the event is pruned here, and in no archive that this node can read; ask another node")
    return data


def verify_event_proof(data: bytes, genesis: Genesis, verify_certificate: VerifyCertificate) -> Proven:
    """Check a proof file against a genesis, with nothing else.  Raises ProofInvalid."""
    document = decode_document(data, _MEMBERS, PROOF_VERSION)
    certified = verify_certified(document, genesis, verify_certificate)
    event, receipt = verify_entry(document, certified.header)
    return Proven(event, receipt.event_id, receipt, certified.header, certified.validators)


def verify_entry(document: dict[str, Any], header: Header) -> tuple[Event | None, Receipt]:
    """Check an event at its place of a certified header's log.  Raises ProofInvalid."""
    path = [read_hex("path", node) for node in read_list("path", document["path"], PATH_MAX)]
    receipt_bytes = read_hex("receipt", document["receipt"])
    try:
        receipt = decode_receipt(receipt_bytes)
    except EncodingError as error:
        raise ProofInvalid(f"receipt: {error}") from error
    try:
        leaf = merkle.leaf_hash(receipt_bytes)
        merkle.verify_inclusion(leaf, receipt.log_index, header.log_size, tuple(path), header.log_root)
    except ValueError as error:
        raise ProofInvalid(f"path: {error}") from error
    event_bytes, signature = (read_hex(member, document[member]) for member in ("event", "signature"))
    if not event_bytes and not signature:
        if receipt.author != NOBODY:
            raise ProofInvalid("event: missing, though the receipt names an author")
        return None, receipt
    if compute_event_id(event_bytes) != receipt.event_id:
        raise ProofInvalid("event: not the one of the receipt")
    try:
        event = decode_record(Event, event_bytes)
        verify_signature(event.key, header.chain_id, Purpose.EVENT, event_bytes, signature)
    except (EncodingError, SignatureInvalid) as error:
        raise ProofInvalid(f"event: {error}") from error
    return event, receipt
