"""The kinds of proof documents: what members each has, and what it shows."""
# pyright: reportConstantRedefinition=false

from typing import Any

from atlas_verify.canonical import Field, Invalid, check_members, encode_json, many, read_hex, read_json, read_record
from atlas_verify.chain import CERTIFIED, HASH, HEX, NUMBER, U32, Certified, Validators, verify_certified
from atlas_verify.hashes import compute_log_root, compute_state_root, is_signed, sha256, tagged_hash

DOCUMENT_BYTES_MAX = 4 * 1024 * 1024
PATH_MAX, PATH_BITS = 65, 256
NOBODY, NOTHING = bytes(32), bytes(32)
ENTRY = many("event receipt signature", HEX) | {"path": Field(list, 0, PATH_MAX)}
FACT = many("key place", HEX) | {"other": Field(dict, optional=True)}
FACT |= {"siblings": Field(list, 0, PATH_BITS), "value": Field(str, optional=True)}
EVENT = many("author key reference_hash", HASH)
EVENT |= many("expires_beat nonce reference_height", NUMBER)
EVENT |= {"body": Field(bytes, 0, 2_048), "type": Field(str, 3, 64), "version": U32}
RECEIPT = many("beat event_version height index log_index version", NUMBER)
RECEIPT |= many("event_type explanation outcome", Field(str))
RECEIPT |= many("evidence inputs", Field(dict)) | many("modules verdicts", Field(list))
RECEIPT |= {"author": Field(bytes), "event_id": HASH}
EVENT_PROOF = CERTIFIED | ENTRY | {"version": Field(int, 2, 2)}
STATE_PROOF = CERTIFIED | FACT | {"kind": Field(str), "version": Field(int, 1, 1)}
BUNDLE = CERTIFIED | many("kind node signature subject", HEX) | {"version": Field(int, 1, 1)}
BUNDLE |= {"columns": Field(list, 1, 16), "events": Field(list, 0, 256), "next": Field(str, 1, 4_096, optional=True)}
BUNDLE |= {"query": Field(dict, 0, 16), "rows": Field(list, 0, 8_192), "states": Field(list, 0, 16)}


def verify(data: bytes, genesis: Validators, csv: bytes | None = None) -> dict[str, Any]:
    """Return what a proof file shows, as JSON-ready facts; `csv` is what a bundle must say too.  Raises Invalid."""
    if len(data) > DOCUMENT_BYTES_MAX:
        raise Invalid(f"file: expected at most {DOCUMENT_BYTES_MAX} bytes")
    document = read_json("file", data)
    kinds = {"bundle": (BUNDLE, _show_bundle), "state": (STATE_PROOF, _show_state)}
    fields, show = kinds.get(str(document.get("kind")), (EVENT_PROOF, _show_event))  # these came first, and have none
    check_members("proof", document, fields)
    certified = verify_certified(document, genesis)
    shown = show(document, certified)
    if csv is not None and (fields is not BUNDLE or csv != format_csv([document["columns"], *document["rows"]])):
        raise Invalid("csv: expected exactly the columns and rows of a bundle")
    return {
        **shown,
        "certified_height": certified.header["height"],
        "header_hash": certified.header_hash.hex(),
        "era": certified.validators.era,
        "chain_id": genesis.chain_id.hex(),
    }


def format_csv(table: list[list[str]]) -> bytes:
    """Return rows of text as CSV (RFC 4180)."""

    def quote(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\r\n') else cell

    return "".join(",".join(map(quote, row)) + "\r\n" for row in table).encode()


def _show_event(document: dict[str, Any], certified: Certified) -> dict[str, Any]:
    """An event, if anybody signed it, and its receipt at one place of the log."""
    receipt = verify_entry(document, certified.header)
    return {
        "kind": "event",
        "event_id": receipt["event_id"].hex(),
        "author": receipt["author"].hex() if document["event"] else None,
        **{name: receipt[name] for name in ("event_type", "outcome", "explanation", "height", "log_index")},
    }


def _show_state(document: dict[str, Any], certified: Certified) -> dict[str, Any]:
    """The value of a key of the state, or that it has none, after the header's `state_height`."""
    key, value = verify_fact(document, certified.header)
    fact = {"kind": "state", "key": key.hex(), "value": None if value is None else value.hex()}
    if key[:2] == b"sb" and key[-33:-32] == b"/" and len(value or bytes(16)) == 16:
        token, account = key[2:-33].decode(errors="replace"), key[-32:].hex()
        fact |= {"token": token, "account": account, "balance_atoms": str(int.from_bytes(value or b"", "big"))}
    return {**fact, "state_height": certified.header["state_height"]}


def verify_entry(entry: dict[str, Any], header: dict[str, Any]) -> dict[str, Any]:
    """Return the receipt of an event, at its place of the header's log.  Raises Invalid."""
    receipt_bytes = read_hex("receipt", entry["receipt"])
    receipt = read_record("receipt", receipt_bytes, RECEIPT)
    path = [read_hex("path", node, 32) for node in entry["path"]]
    if compute_log_root(receipt_bytes, receipt["log_index"], header["log_size"], path) != header["log_root"]:
        raise Invalid("path: does not lead from the receipt to the header's log root")
    event, signature = (read_hex(member, entry[member]) for member in ("event", "signature"))
    if event or signature:
        if tagged_hash("atlas/event", event) != receipt["event_id"]:
            raise Invalid("event: not the one of the receipt")
        key = read_record("event", event, EVENT)["key"]
        if not is_signed(key, header["chain_id"], "event", event, signature):
            raise Invalid("signature: not one of the event's key for this chain")
    elif receipt["author"] != NOBODY:
        raise Invalid("event: missing, though the receipt names an author")
    return receipt


def verify_fact(fact: dict[str, Any], header: dict[str, Any]) -> tuple[bytes, bytes | None]:
    """Return a key of the state and its value after the header's `state_height`, None if absent.  Raises Invalid."""
    key = read_hex("key", fact["key"])
    if key[:1] != b"s":
        raise Invalid("key: not one of the state, of which alone the state tree tells")
    path, found, value = tagged_hash("atlas/state-path", key), NOTHING, None
    if fact["place"] != path.hex():
        raise Invalid("place: not where the key lies")
    siblings = [read_hex("siblings", each, 32) for each in fact["siblings"]]
    if fact["value"] is not None:
        value = read_hex("value", fact["value"])
        found = sha256(b"\0" + path + sha256(value))
    if fact["other"] is not None:
        other = check_members("other", fact["other"], {"path": HEX, "value_hash": HEX})
        place, value_hash = (read_hex("other", other[name], 32) for name in ("path", "value_hash"))
        apart = int.from_bytes(place, "big") ^ int.from_bytes(path, "big")
        if value is not None or not apart or apart >> (PATH_BITS - len(siblings)):
            raise Invalid("other: not another leaf in the place of an absent key")
        found = sha256(b"\0" + place + value_hash)
    if compute_state_root(found, path, siblings) != header["state_root"]:
        raise Invalid("siblings: do not lead from the key's place to the header's state root")
    return key, value


def _show_bundle(document: dict[str, Any], certified: Certified) -> dict[str, Any]:
    """A table that a node signed, and the events and the state that it was made from."""
    header, signed = certified.header, {name: value for name, value in document.items() if name != "signature"}
    node, signature = (read_hex(name, document[name]) for name in ("node", "signature"))
    if not is_signed(node, header["chain_id"], "bundle", encode_json(signed), signature):
        raise Invalid("signature: not the node's over all other members")
    receipts = [verify_entry(check_members("events", each, ENTRY), header) for each in document["events"]]
    state = [verify_fact(check_members("states", each, FACT), header)[0] for each in document["states"]]
    table = [document["columns"], *document["rows"]]
    if any(type(row) is not list or any(type(cell) is not str for cell in row) for row in table):
        raise Invalid("columns, rows: expected lists of texts")
    places = [receipt["log_index"] for receipt in receipts]
    if places != sorted(set(places)) or len(state) != len(set(state)):
        raise Invalid("events, states: expected each once, events in order of the log")
    told = {"subject": document["subject"], "rows_say": "what the node says; atlas_tables computes them again"}
    return {"kind": "bundle", **told, "events": len(places), "states": len(state), "node": node.hex()}
