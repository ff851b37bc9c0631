"""The kinds of proof documents: what each has for members, and what it shows."""

from typing import Any

from atlas_verify.canonical import U32_MAX, Field, Invalid, check_members, read_hex, read_json, read_record
from atlas_verify.chain import HASH, NUMBER, Certified, Genesis, verify_certified
from atlas_verify.hashes import compute_log_root, is_signed, tagged_hash

DOCUMENT_BYTES_MAX = 4 * 1024 * 1024
EVENT_PROOF_VERSION, PATH_MAX = 2, 65
NOBODY = bytes(32)
HEX, LIST, TEXT, FACTS = Field(str), Field(list), Field(str), Field(dict)
CERTIFIED = {"certificate": HEX, "handovers": LIST, "header": HEX, "version": NUMBER}
EVENT_PROOF = {**CERTIFIED, "event": HEX, "path": Field(list, 0, PATH_MAX), "receipt": HEX, "signature": HEX}
EVENT = {
    **dict.fromkeys(("author", "key", "reference_hash"), HASH),
    **dict.fromkeys(("expires_beat", "nonce", "reference_height"), NUMBER),
    "body": Field(bytes, 0, 2_048),
    "type": Field(str, 3, 64),
    "version": Field(int, 0, U32_MAX),
}
RECEIPT = {
    **dict.fromkeys(("beat", "event_version", "height", "index", "log_index", "version"), NUMBER),
    **dict.fromkeys(("event_type", "explanation", "outcome"), TEXT),
    **dict.fromkeys(("evidence", "inputs"), FACTS),
    **dict.fromkeys(("modules", "verdicts"), LIST),
    "author": Field(bytes),
    "event_id": HASH,
}


def verify(data: bytes, genesis: Genesis) -> dict[str, Any]:
    """Return what a proof file shows, as JSON-ready facts.  Raises Invalid."""
    if len(data) > DOCUMENT_BYTES_MAX:
        raise Invalid(f"file: expected at most {DOCUMENT_BYTES_MAX} bytes")
    document = read_json("file", data)
    return _verify_event(check_members("file", document, EVENT_PROOF), genesis)


def _verify_event(document: dict[str, Any], genesis: Genesis) -> dict[str, Any]:
    """An event, if anybody signed it, and its receipt at one place of the log."""
    _check_version(document, EVENT_PROOF_VERSION)
    certified = verify_certified(document, genesis)
    receipt_bytes = read_hex("receipt", document["receipt"])
    receipt = read_record("receipt", receipt_bytes, RECEIPT)
    path = [read_hex("path", node, 32) for node in document["path"]]
    header = certified.header
    if compute_log_root(receipt_bytes, receipt["log_index"], header["log_size"], path) != header["log_root"]:
        raise Invalid("path: does not lead from the receipt to the header's log root")
    event, signature = (read_hex(member, document[member]) for member in ("event", "signature"))
    if event or signature:
        if tagged_hash("atlas/event", event) != receipt["event_id"]:
            raise Invalid("event: not the one of the receipt")
        key = read_record("event", event, EVENT)["key"]
        if not is_signed(key, genesis.chain_id, "event", event, signature):
            raise Invalid("signature: not one of the event's key for this chain")
    elif receipt["author"] != NOBODY:
        raise Invalid("event: missing, though the receipt names an author")
    told = ("event_type", "outcome", "explanation", "height", "log_index")
    return {
        "kind": "event",
        "event_id": receipt["event_id"].hex(),
        "author": None if receipt["author"] == NOBODY else receipt["author"].hex(),
        "signed": bool(event),
        **{name: receipt[name] for name in told},
        **_describe(certified, genesis),
    }


def _check_version(document: dict[str, Any], version: int) -> None:
    if document["version"] != version:
        raise Invalid(f"version: expected {version}, got {document['version']}")


def _describe(certified: Certified, genesis: Genesis) -> dict[str, Any]:
    return {
        "certified_height": certified.header["height"],
        "header_hash": certified.header_hash.hex(),
        "era": certified.validators.era,
        "chain_id": genesis.chain_id.hex(),
    }
