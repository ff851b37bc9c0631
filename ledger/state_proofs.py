"""State proofs: a file that shows, offline, what value a key of the state had, or that it had none.

Beside what every proof file has (`ledger.certified`):

    key, value   the key, and its value's bytes; null when nothing was there
    place        where the key lies; so that no changed letter of the key makes another true statement of the file
    siblings     the hashes beside the way from the key's place in the state tree up to the header's state root
    other        for an absent key whose place another leaf takes: that leaf's path and its value's hash; else null

The fact held after block `state_height` of the header, in which its epoch began, or the one before while the header is
in its epoch's first quarter: of the header's own block it says nothing.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from ledger import keyspace
from ledger.block import Header, decode_header
from ledger.certified import (
    ProofInvalid,
    ProofUnavailable,
    VerifyCertificate,
    decode_document,
    encode_document,
    find_certified,
    read_hex,
    read_list,
    verify_certified,
)
from ledger.genesis import Genesis
from ledger.reading import Snapshot
from ledger.service import Validators
from ledger.state import decode_number
from ledger.state_pages import TreeAt, TreeVersion, read_version
from ledger.state_tree import PATH_BITS, StateProof, compute_path, verify_state
from ledger.tokens import TOKENS
from ledger.undo import StateAt

STATE_PROOF_VERSION = 1
KIND = "state"
UNCERTIFIED_MAX = 64
"""How far below the head a certificate is looked for; in a network that goes on, the head or its parent has one."""

_MEMBERS = (
    "certificate", "handovers", "header", "key", "kind", "other", "place", "siblings", "value", "version",
)  # fmt: skip
FACT_MEMBERS = ("key", "other", "place", "siblings", "value")
_OTHER_MEMBERS = ("path", "value_hash")


@dataclass(frozen=True, slots=True)
class ProvenState:
    """What a valid proof shows: the value of a key after block `header.state_height`; None for an absent key."""

    key: bytes
    value: bytes | None
    header: Header
    validators: Validators
    """Those who certified the header."""


class Balance(NamedTuple):
    account: bytes
    token: str
    atoms: int


def make_state_proof(snapshot: Snapshot, head_height: int, key: bytes) -> bytes:
    """Return the proof file of a key of the state, present or not, as the newest certified header commits to it.

    Raises ProofUnavailable.
    """
    assert key.startswith(keyspace.STATE), f"no key of the state: {key.hex()}"
    at, certified = find_certified(snapshot, range(head_height, max(0, head_height - UNCERTIFIED_MAX), -1))
    header_bytes = snapshot.get(keyspace.header(at))
    assert header_bytes is not None, f"header {at} is missing"
    fact = make_fact(snapshot, decode_header(header_bytes), head_height, key)
    return encode_document(certified | fact | {"kind": KIND, "version": STATE_PROOF_VERSION})


def make_fact(snapshot: Snapshot, header: Header, head_height: int, key: bytes) -> dict[str, object]:
    """Return what shows a key of the state, present or not, under a header's state root.  Raises ProofUnavailable."""
    version = _find_version(snapshot, header)
    state = StateAt(snapshot, version.height, head_height)
    proof = TreeAt(snapshot, version.version).prove(key, state.get)
    value = state.get(key)
    other = (
        None if proof.other is None else dict(zip(_OTHER_MEMBERS, (part.hex() for part in proof.other), strict=True))
    )
    return {
        "key": key.hex(),
        "other": other,
        "place": compute_path(key).hex(),
        "siblings": [sibling.hex() for sibling in proof.siblings],
        "value": None if value is None else value.hex(),
    }


def _find_version(snapshot: Snapshot, header: Header) -> TreeVersion:
    """Return the version of the state tree that a header commits to: its epoch's, or that of the one before."""
    for epoch in range(header.epoch, max(0, header.epoch - 1) - 1, -1):
        version = read_version(snapshot, epoch)
        if version is not None and version.height == header.state_height:
            assert version.root == header.state_root, f"height {header.height} names another state tree"
            return version
    raise ProofUnavailable(f"the state tree of height {header.state_height} is no longer kept here")


def verify_state_proof(data: bytes, genesis: Genesis, verify_certificate: VerifyCertificate) -> ProvenState:
    """Check a proof file against a genesis, with nothing else.  Raises ProofInvalid."""
    document = decode_document(data, _MEMBERS, STATE_PROOF_VERSION)
    if document["kind"] != KIND:
        raise ProofInvalid(f"kind: expected {KIND}")
    certified = verify_certified(document, genesis, verify_certificate)
    key, value = verify_fact(document, certified.header)
    return ProvenState(key, value, certified.header, certified.validators)


def verify_fact(document: dict[str, Any], header: Header) -> tuple[bytes, bytes | None]:
    """Check a key and its value, None for an absent one, under a header's state root.  Raises ProofInvalid."""
    key = read_hex("key", document["key"])
    if not key.startswith(keyspace.STATE):
        raise ProofInvalid("key: not one of the state, of which alone the state tree tells")
    if document["place"] != compute_path(key).hex():
        raise ProofInvalid("place: not where the key lies")
    value = None if document["value"] is None else read_hex("value", document["value"])
    siblings = tuple(read_hex("siblings", each) for each in read_list("siblings", document["siblings"], PATH_BITS))
    try:
        proof = StateProof(siblings, _decode_other(document["other"]))
        verify_state(header.state_root, key, value, proof)
    except ValueError as error:
        raise error if isinstance(error, ProofInvalid) else ProofInvalid(f"siblings: {error}") from error
    return key, value


def find_balance(key: bytes, value: bytes | None) -> Balance | None:
    """Return the balance that a key of the state and its value tell of, if they do; an absent one is zero."""
    token, account = key[2:-33].decode(errors="replace"), key[-32:]
    if token not in TOKENS or key != keyspace.balance(token, account):
        return None
    return Balance(account, token, 0 if value is None else decode_number(value))


def _decode_other(other: object) -> tuple[bytes, bytes] | None:
    if other is None:
        return None
    if type(other) is not dict or tuple(sorted(cast("dict[str, object]", other))) != _OTHER_MEMBERS:
        raise ProofInvalid("other: expected null, or a path and a value's hash")
    parts = cast("dict[str, Any]", other)
    return read_hex("other", parts["path"]), read_hex("other", parts["value_hash"])
