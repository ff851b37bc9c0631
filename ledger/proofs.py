"""Event proofs: a file that shows, offline, that an event has its receipt in the ledger.

The file is canonical JSON and one newline, so any changed byte breaks the form or changes a value that is checked:

    event, signature   the bytes that the author signed        receipt            the ledger's answer, a leaf of the log
    path               RFC 6962 inclusion path of the receipt   header             commits to the log's root and size
    certificate        a quorum of validators' signatures over the header's hash
    handovers          for each change of the validator set up to there: the header that names the new set, the
                       certificate of the old one over it, and the keys of the new one

`event` and `signature` are empty for what nobody validly signed: derived events, and what was skipped as malformed.

Who may sign comes from the genesis that the verifier trusts, and from what its validators signed since.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import orjson

from ledger import keyspace
from ledger.block import Header, StoredEvent, compute_header_hash, decode_header
from ledger.events import Event, View, compute_event_id
from ledger.genesis import Genesis, compute_chain_id, compute_validators_hash
from ledger.primitives import merkle
from ledger.primitives.canonical_json import canonical_json
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import decode_record
from ledger.primitives.signing import Purpose, SignatureInvalid, verify_signature
from ledger.receipts import Receipt, decode_receipt
from ledger.service import VALIDATORS_MAX, Validators, read_era

PROOF_VERSION = 2
PROOF_BYTES_MAX = 4 * 1024 * 1024
HANDOVERS_MAX = 1_024
PATH_MAX = 65
"""No path in a log of at most 2**64 - 1 receipts is longer."""
NOBODY = bytes(32)
"""The author in receipts of derived events and of what could not be decoded."""

VerifyCertificate: TypeAlias = Callable[[Validators, int, bytes, bytes], None]
"""(set, height, header hash, certificate bytes): raises ValueError unless a quorum of the set signed."""


class ProofInvalid(ValueError):
    """A proof file that does not prove what it claims; the message says which part fails."""


class ProofUnavailable(LookupError):
    """The event is unknown here, or its block has no certificate yet."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What a valid proof shows."""

    event: Event | None  # None for derived events, and for what was skipped as malformed
    event_id: bytes
    receipt: Receipt
    header: Header
    validators: Validators
    """Those who certified the header."""


_MEMBERS = ("certificate", "event", "handovers", "header", "path", "receipt", "signature", "version")
_HANDOVER_MEMBERS = ("certificate", "header", "validators")


def make_event_proof(snapshot: View, head_height: int, event_id: bytes) -> bytes:
    """Return the proof file of an event, against its own block's certificate.  Raises ProofUnavailable.

    snapshot: of a store, or an archive, read by the same keys.
    """
    place = snapshot.get(keyspace.event_id(event_id))
    if place is None:
        raise ProofUnavailable("no event of this id is in the ledger")
    log_index = int.from_bytes(place, "big")
    receipt_bytes = snapshot.get(keyspace.receipt(log_index))
    assert receipt_bytes is not None, f"receipt {log_index} is missing"
    receipt = decode_receipt(receipt_bytes)
    height = receipt.height
    # A later certificate serves as well: its log holds all earlier receipts.
    for at in range(height, head_height + 1):
        certificate = snapshot.get(keyspace.certificate(at))
        if certificate is not None:
            break
    else:
        raise ProofUnavailable("the event's block has no certificate yet; try again in a moment")
    header_bytes = snapshot.get(keyspace.header(at))
    assert header_bytes is not None, f"header {at} is missing"
    size = decode_header(header_bytes).log_size

    def read_node(level: int, index: int) -> bytes:
        node = snapshot.get(keyspace.log_node(level, index))
        if node is None:
            raise ProofUnavailable("older receipts are still being fetched here; try again later, or ask another node")
        return node

    stored_bytes = snapshot.get(keyspace.event(log_index)) if receipt.author != NOBODY else None
    stored = None if stored_bytes is None else decode_record(StoredEvent, stored_bytes)
    document = {
        "certificate": certificate.hex(),
        "event": "" if stored is None else stored.event.hex(),
        "handovers": _list_handovers(snapshot, at),
        "header": header_bytes.hex(),
        "path": [node.hex() for node in merkle.inclusion_path_at(log_index, size, read_node)],
        "receipt": receipt_bytes.hex(),
        "signature": "" if stored is None else stored.signature.hex(),
        "version": PROOF_VERSION,
    }
    return canonical_json(document) + b"\n"


def _list_handovers(snapshot: View, height: int) -> list[dict[str, object]]:
    """Return what shows who may certify a height.  Raises ProofUnavailable."""
    handovers: list[dict[str, object]] = []
    while (following := read_era(snapshot, len(handovers) + 1)) is not None and following.since <= height:
        last = following.since - 1
        header, certificate = snapshot.get(keyspace.header(last)), snapshot.get(keyspace.certificate(last))
        if header is None or certificate is None:
            raise ProofUnavailable(f"height {last}, which changed the validator set, has no certificate here")
        keys = [key.hex() for key in following.keys]
        handovers.append({"certificate": certificate.hex(), "header": header.hex(), "validators": keys})
    return handovers


def verify_event_proof(data: bytes, genesis: Genesis, verify_certificate: VerifyCertificate) -> Proven:
    """Check a proof file against a genesis, with nothing else.  Raises ProofInvalid."""
    document = _decode_document(data)
    try:
        header_bytes = _hex_bytes("header", document["header"])
        header = decode_header(header_bytes)
        receipt_bytes = _hex_bytes("receipt", document["receipt"])
        receipt = decode_receipt(receipt_bytes)
    except EncodingError as error:
        raise ProofInvalid(f"header or receipt: {error}") from error
    if header.chain_id != compute_chain_id(genesis):
        raise ProofInvalid("header: of another chain than the genesis")
    validators = _follow_handovers(document["handovers"], genesis, verify_certificate)
    if header.height < validators.since:
        raise ProofInvalid(f"handovers: the last begins a set at height {validators.since}, above the header")
    try:
        certificate = _hex_bytes("certificate", document["certificate"])
        verify_certificate(validators, header.height, compute_header_hash(header_bytes), certificate)
    except ValueError as error:
        raise ProofInvalid(f"certificate: {error}") from error
    path = [_hex_bytes("path", node) for node in document["path"]]
    try:
        leaf = merkle.leaf_hash(receipt_bytes)
        merkle.verify_inclusion(leaf, receipt.log_index, header.log_size, tuple(path), header.log_root)
    except ValueError as error:
        raise ProofInvalid(f"path: {error}") from error
    event_bytes, signature = (_hex_bytes(member, document[member]) for member in ("event", "signature"))
    if not event_bytes and not signature:
        if receipt.author != NOBODY:
            raise ProofInvalid("event: missing, though the receipt names an author")
        return Proven(None, receipt.event_id, receipt, header, validators)
    if compute_event_id(event_bytes) != receipt.event_id:
        raise ProofInvalid("event: not the one of the receipt")
    try:
        event = decode_record(Event, event_bytes)
        verify_signature(event.key, header.chain_id, Purpose.EVENT, event_bytes, signature)
    except (EncodingError, SignatureInvalid) as error:
        raise ProofInvalid(f"event: {error}") from error
    return Proven(event, receipt.event_id, receipt, header, validators)


def _follow_handovers(handovers: list[Any], genesis: Genesis, verify_certificate: VerifyCertificate) -> Validators:
    """Return the set that the last hand-over names, each certified by the set before it.  Raises ProofInvalid."""
    validators = Validators(genesis.validators)
    for number, handover in enumerate(handovers):
        where = f"handovers[{number}]"
        if type(handover) is not dict or tuple(sorted(cast("dict[str, object]", handover))) != _HANDOVER_MEMBERS:
            raise ProofInvalid(f"{where}: expected exactly its three members")
        parts = cast("dict[str, Any]", handover)
        if type(parts["validators"]) is not list or len(cast("list[object]", parts["validators"])) > VALIDATORS_MAX:
            raise ProofInvalid(f"{where}: validators: expected a list of at most {VALIDATORS_MAX} keys")
        keys = tuple(_hex_bytes(where, key) for key in cast("list[object]", parts["validators"]))
        header_bytes = _hex_bytes(where, parts["header"])
        try:
            header = decode_header(header_bytes)
            certificate = _hex_bytes(where, parts["certificate"])
            verify_certificate(validators, header.height, compute_header_hash(header_bytes), certificate)
            if header.validators_hash != compute_validators_hash(keys):
                raise ProofInvalid(f"{where}: the header names other keys")
            validators = Validators(keys, validators.era + 1, header.height + 1)
        except ValueError as error:
            raise error if isinstance(error, ProofInvalid) else ProofInvalid(f"{where}: {error}") from error
    return validators


def _decode_document(data: bytes) -> dict[str, Any]:
    if len(data) > PROOF_BYTES_MAX:
        raise ProofInvalid(f"expected at most {PROOF_BYTES_MAX} bytes, got {len(data)}")
    try:
        document = cast("dict[str, Any]", orjson.loads(data))
        is_canonical = canonical_json(document) + b"\n" == data
    except (orjson.JSONDecodeError, ValueError, TypeError) as error:
        raise ProofInvalid(f"expected a proof file in canonical JSON: {error}") from error
    if not is_canonical or type(document) is not dict or tuple(sorted(document)) != _MEMBERS:
        raise ProofInvalid("expected a proof file in canonical JSON with exactly its eight members")
    if type(document["version"]) is not int or document["version"] != PROOF_VERSION:
        raise ProofInvalid(f"expected proof version {PROOF_VERSION}, got {document['version']!r}")
    if type(document["path"]) is not list or len(cast("list[object]", document["path"])) > PATH_MAX:
        raise ProofInvalid(f"path: expected a list of at most {PATH_MAX} texts")
    handovers = document["handovers"]
    if type(handovers) is not list or len(cast("list[object]", handovers)) > HANDOVERS_MAX:
        raise ProofInvalid(f"handovers: expected a list of at most {HANDOVERS_MAX}")
    return document


def _hex_bytes(member: str, text: object) -> bytes:
    if type(text) is not str or len(text) % 2 or any(character not in "0123456789abcdef" for character in text):
        raise ProofInvalid(f"{member}: expected lower-case hex")
    return bytes.fromhex(text)
