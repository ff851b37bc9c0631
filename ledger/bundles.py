"""Bundles: a table that a node signed, with the proofs of all that it was made from, to be checked offline.

Beside what every proof file has (`ledger.certified`):

    subject    "events", "ranking" or "wallet": which table it is, and so how it follows from what is proven
    query      what was asked for, as text by name        next     the cursor of the page that follows, or null
    columns, rows   the table, all text; its CSV twin is exactly this
    events     for each event that the rows name, in order of the log: event, path, receipt, signature
    states     keys of the state as they were after the header's `state_height`: key, other, place, siblings, value
    node, signature   the node's public key, and its signature over the document without `signature`

The proofs show that events and balances are the ledger's.  That no row was left out is only as good as the node's word,
where sums do not show it: hence the signature, which makes a lie provable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from ledger import keyspace
from ledger.block import Header, decode_header
from ledger.certified import (
    PROOF_BYTES_MAX,
    Certified,
    ProofInvalid,
    VerifyCertificate,
    decode_document,
    encode_document,
    find_certified,
    read_hex,
    read_list,
    verify_certified,
)
from ledger.events import View
from ledger.genesis import Genesis
from ledger.primitives.canonical_json import canonical_json
from ledger.primitives.signing import Purpose, SignatureInvalid, verify_signature
from ledger.proofs import ENTRY_MEMBERS, make_entry, verify_entry
from ledger.reading import Snapshot
from ledger.receipts import Receipt
from ledger.state_proofs import FACT_MEMBERS, UNCERTIFIED_MAX, make_fact, verify_fact

BUNDLE_KIND, BUNDLE_VERSION = "bundle", 1
EVENTS_MAX = 256
"""Events of one bundle; so it stays below the size of a proof file, and a reader's work is bounded."""
STATES_MAX = 16
ROWS_MAX = 8_192
COLUMNS_MAX = 16
CELL_CHARACTERS_MAX = 4_096
QUERY_MAX = 16
EVENTS, RANKING, WALLET = "events", "ranking", "wallet"

_MEMBERS = (
    "certificate", "columns", "events", "handovers", "header", "kind", "next", "node", "query", "rows", "signature",
    "states", "subject", "version",
)  # fmt: skip


class BundleTooLarge(ValueError):
    """A bundle would be larger than a proof file may be; the remedy is to ask for fewer events."""


class Finding(NamedTuple):
    """What a valid bundle shows, and what it leaves to trust: sentences for people."""

    proven: tuple[str, ...]
    not_proven: tuple[str, ...]


Table = Sequence[Sequence[str]]
Sign = Callable[[bytes], bytes]
"""Gives the node's signature over a message, for Purpose.BUNDLE of its chain."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle is made of, before it is proven and signed."""

    subject: str
    query: dict[str, str]
    columns: tuple[str, ...]
    rows: Table
    log_indexes: Sequence[int] = ()  # of the events that the rows name, ascending
    keys: Sequence[bytes] = ()  # of the state
    next: str | None = None


@dataclass(frozen=True, slots=True)
class ProvenBundle:
    """What a valid bundle shows: every event and every fact of the state is proven, and the node signed the whole."""

    subject: str
    query: dict[str, str]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    receipts: dict[int, Receipt]  # by log index
    state: dict[bytes, bytes | None]  # after height `certified.header.state_height`
    next: str | None
    node: bytes
    certified: Certified


def find_certified_height(snapshot: View, head_height: int) -> int:
    """Return the newest height that a bundle can be proven at.  Raises ProofUnavailable."""
    return find_certified(snapshot, range(head_height, max(0, head_height - UNCERTIFIED_MAX), -1))[0]


def make_bundle(
    snapshot: Snapshot, ledger: View, head_height: int, height: int, bundle: Bundle, node: bytes, sign: Sign
) -> bytes:
    """Return the file of a bundle against the certified header of a height.

    Raises ProofUnavailable and BundleTooLarge.

    ledger: the snapshot, or that and the archive behind it, from which events are read.
    """
    assert len(bundle.log_indexes) <= EVENTS_MAX, f"expected at most {EVENTS_MAX} events, got {len(bundle.log_indexes)}"
    _, members = find_certified(snapshot, (height,))
    header_bytes = snapshot.get(keyspace.header(height))
    assert header_bytes is not None, f"header {height} is missing"
    header = decode_header(header_bytes)
    document: dict[str, object] = members | {
        "columns": list(bundle.columns),
        "events": [make_entry(ledger, log_index, header.log_size) for log_index in bundle.log_indexes],
        "kind": BUNDLE_KIND,
        "next": bundle.next,
        "node": node.hex(),
        "query": bundle.query,
        "rows": [list(row) for row in bundle.rows],
        "states": [make_fact(snapshot, header, head_height, key) for key in bundle.keys],
        "subject": bundle.subject,
        "version": BUNDLE_VERSION,
    }
    data = encode_document(document | {"signature": sign(canonical_json(document)).hex()})
    if len(data) > PROOF_BYTES_MAX:
        raise BundleTooLarge(f"expected a bundle of at most {PROOF_BYTES_MAX} bytes, got {len(data)}")
    return data


def encode_csv(columns: Sequence[str], rows: Table) -> bytes:
    """Return a table as CSV (RFC 4180) in UTF-8: a line of names, then the rows; lines end in CR LF."""
    return b"".join((",".join(_quote(cell) for cell in row) + "\r\n").encode() for row in (columns, *rows))


def _quote(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(letter in cell for letter in ',"\r\n') else cell


def decode_bundle(data: bytes) -> dict[str, Any]:
    """Return the document of a bundle in its form, of which nothing is proven yet.  Raises ProofInvalid."""
    document = decode_document(data, _MEMBERS, BUNDLE_VERSION)
    if document["kind"] != BUNDLE_KIND:
        raise ProofInvalid(f"kind: expected {BUNDLE_KIND}")
    return document


def verify_bundle(data: bytes, genesis: Genesis, verify_certificate: VerifyCertificate) -> ProvenBundle:
    """Check a bundle's form, certificate, signature, events and facts against a genesis.  Raises ProofInvalid.

    What the rows say is checked by the subject's own file: see `ledger.bundle_tables`.
    """
    document = decode_bundle(data)
    certified = verify_certified(document, genesis, verify_certificate)
    header = certified.header
    node = read_hex("node", document["node"])
    signed = {name: document[name] for name in _MEMBERS if name != "signature"}
    try:
        signature = read_hex("signature", document["signature"])
        verify_signature(node, header.chain_id, Purpose.BUNDLE, canonical_json(signed), signature)
    except SignatureInvalid as error:
        raise ProofInvalid(f"signature: {error}") from error
    return ProvenBundle(
        subject=_read_text("subject", document["subject"]),
        query=_read_query(document["query"]),
        columns=_read_texts("columns", document["columns"]),
        rows=tuple(_read_texts("rows", row) for row in read_list("rows", document["rows"], ROWS_MAX)),
        receipts=_verify_events(document["events"], header),
        state=_verify_states(document["states"], header),
        next=None if document["next"] is None else _read_text("next", document["next"]),
        node=node,
        certified=certified,
    )


def _verify_events(entries: object, header: Header) -> dict[int, Receipt]:
    receipts: dict[int, Receipt] = {}
    last = -1
    for number, each in enumerate(read_list("events", entries, EVENTS_MAX)):
        where = f"events[{number}]"
        entry = _read_members(where, each, ENTRY_MEMBERS)
        try:
            _, receipt = verify_entry(entry, header)
        except ProofInvalid as error:
            raise ProofInvalid(f"{where}: {error}") from error
        if receipt.log_index <= last:
            raise ProofInvalid(f"{where}: expected events in order of the log, each once")
        last = receipt.log_index
        receipts[last] = receipt
    return receipts


def _verify_states(facts: object, header: Header) -> dict[bytes, bytes | None]:
    state: dict[bytes, bytes | None] = {}
    for number, each in enumerate(read_list("states", facts, STATES_MAX)):
        where = f"states[{number}]"
        fact = _read_members(where, each, FACT_MEMBERS)
        try:
            key, value = verify_fact(fact, header)
        except ProofInvalid as error:
            raise ProofInvalid(f"{where}: {error}") from error
        if key in state:
            raise ProofInvalid(f"{where}: expected each key once")
        state[key] = value
    return state


def _read_members(where: str, value: object, members: tuple[str, ...]) -> dict[str, Any]:
    if type(value) is not dict or tuple(sorted(cast("dict[str, object]", value))) != members:
        raise ProofInvalid(f"{where}: expected exactly the members {', '.join(members)}")
    return cast("dict[str, Any]", value)


def _read_text(where: str, value: object) -> str:
    if type(value) is not str or len(value) > CELL_CHARACTERS_MAX:
        raise ProofInvalid(f"{where}: expected text of at most {CELL_CHARACTERS_MAX} characters")
    return value


def _read_texts(where: str, value: object) -> tuple[str, ...]:
    return tuple(_read_text(where, cell) for cell in read_list(where, value, COLUMNS_MAX))


def _read_query(value: object) -> dict[str, str]:
    if type(value) is not dict or len(cast("dict[str, object]", value)) > QUERY_MAX:
        raise ProofInvalid(f"query: expected an object of at most {QUERY_MAX} members")
    query = cast("dict[str, object]", value)
    return {name: _read_text(f"query: {name}", query[name]) for name in sorted(query)}
