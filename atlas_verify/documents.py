"""The kinds of proof documents: what members each has, and what it shows."""

from typing import Any

from atlas_verify.canonical import U32_MAX, Field, Invalid, check_members, read_hex, read_json, read_record
from atlas_verify.chain import HASH, HEX, NUMBER, Certified, Validators, verify_certified
from atlas_verify.hashes import compute_log_root, compute_state_root, is_signed, sha256, tagged_hash

DOCUMENT_BYTES_MAX, HANDOVERS_MAX, PATH_MAX, PATH_BITS = 4 * 1024 * 1024, 1_024, 65, 256
NOBODY, NOTHING = bytes(32), bytes(32)
CERTIFIED = {"certificate": HEX, "handovers": Field(list, 0, HANDOVERS_MAX), "header": HEX}
EVENT_PROOF = {
    **CERTIFIED,
    **dict.fromkeys(("event", "receipt", "signature"), HEX),
    "path": Field(list, 0, PATH_MAX),
    "version": Field(int, 2, 2),
}
STATE_PROOF = {
    **CERTIFIED,
    **dict.fromkeys(("key", "kind", "place"), Field(str)),
    "other": Field(dict, optional=True),
    "siblings": Field(list, 0, PATH_BITS),
    "value": Field(str, optional=True),
    "version": Field(int, 1, 1),
}
EVENT = {
    **dict.fromkeys(("author", "key", "reference_hash"), HASH),
    **dict.fromkeys(("expires_beat", "nonce", "reference_height"), NUMBER),
    "body": Field(bytes, 0, 2_048),
    "type": Field(str, 3, 64),
    "version": Field(int, 0, U32_MAX),
}
RECEIPT = {
    **dict.fromkeys(("beat", "event_version", "height", "index", "log_index", "version"), NUMBER),
    **dict.fromkeys(("event_type", "explanation", "outcome"), Field(str)),
    **dict.fromkeys(("evidence", "inputs"), Field(dict)),
    **dict.fromkeys(("modules", "verdicts"), Field(list)),
    "author": Field(bytes),
    "event_id": HASH,
}


def verify(data: bytes, genesis: Validators) -> dict[str, Any]:
    """Return what a proof file shows, as JSON-ready facts.  Raises Invalid."""
    if len(data) > DOCUMENT_BYTES_MAX:
        raise Invalid(f"file: expected at most {DOCUMENT_BYTES_MAX} bytes")
    document = read_json("file", data)
    is_state = document.get("kind") == "state"  # proofs of events came first, and have no kind
    check_members("proof", document, STATE_PROOF if is_state else EVENT_PROOF)
    certified = verify_certified(document, genesis)
    return {
        **(_verify_state(document, certified) if is_state else _verify_event(document, certified)),
        "certified_height": certified.header["height"],
        "header_hash": certified.header_hash.hex(),
        "era": certified.validators.era,
        "chain_id": genesis.chain_id.hex(),
    }


def _verify_event(document: dict[str, Any], certified: Certified) -> dict[str, Any]:
    """An event, if anybody signed it, and its receipt at one place of the log."""
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
        if not is_signed(key, header["chain_id"], "event", event, signature):
            raise Invalid("signature: not one of the event's key for this chain")
    elif receipt["author"] != NOBODY:
        raise Invalid("event: missing, though the receipt names an author")
    return {
        "kind": "event",
        "event_id": receipt["event_id"].hex(),
        "author": receipt["author"].hex() if event else None,
        **{name: receipt[name] for name in ("event_type", "outcome", "explanation", "height", "log_index")},
    }


def _verify_state(document: dict[str, Any], certified: Certified) -> dict[str, Any]:
    """The value of a key of the state, or that it has none, after the header's `state_height`."""
    key = read_hex("key", document["key"])
    if key[:1] != b"s":
        raise Invalid("key: not one of the state, of which alone the state tree tells")
    path, found, value = tagged_hash("atlas/state-path", key), NOTHING, None
    if document["place"] != path.hex():
        raise Invalid("place: not where the key lies")
    siblings = [read_hex("siblings", each, 32) for each in document["siblings"]]
    if document["value"] is not None:
        value = read_hex("value", document["value"])
        found = sha256(b"\0" + path + sha256(value))
    if document["other"] is not None:
        other = check_members("other", document["other"], {"path": HEX, "value_hash": HEX})
        place, value_hash = (read_hex("other", other[name], 32) for name in ("path", "value_hash"))
        apart = int.from_bytes(place, "big") ^ int.from_bytes(path, "big")
        if value is not None or not apart or apart >> (PATH_BITS - len(siblings)):
            raise Invalid("other: not another leaf in the place of an absent key")
        found = sha256(b"\0" + place + value_hash)
    if compute_state_root(found, path, siblings) != certified.header["state_root"]:
        raise Invalid("siblings: do not lead from the key's place to the header's state root")
    fact = {"kind": "state", "key": key.hex(), "value": None if value is None else value.hex()}
    if key[:2] == b"sb" and key[-33:-32] == b"/" and len(value or bytes(16)) == 16:
        token, account = key[2:-33].decode(errors="replace"), key[-32:].hex()
        fact |= {"token": token, "account": account, "balance_atoms": str(int.from_bytes(value or b"", "big"))}
    return {**fact, "state_height": certified.header["state_height"]}
