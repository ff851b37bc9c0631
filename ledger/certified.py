"""Certified headers: what proof files of every kind have in common, and how it is made and checked.

A proof file is canonical JSON and one newline, so any changed byte breaks the form or changes a value that is checked.
Of its members these three lead from the genesis that the verifier trusts to a header that a quorum signed:

    header       canonical bytes of the header
    certificate  a quorum of validators' signatures over the header's hash
    handovers    for each change of the validator set up to there: the header that names the new set, the certificate of
                 the old one over it, and the keys of the new one

Bytes are lower-case hex.  docs/proofs.md specifies all of it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import orjson

from ledger import keyspace
from ledger.block import Header, compute_header_hash, decode_header
from ledger.events import View
from ledger.genesis import Genesis, compute_chain_id, compute_validators_hash
from ledger.primitives.canonical_json import canonical_json
from ledger.primitives.encoding import EncodingError
from ledger.service import VALIDATORS_MAX, Validators, read_era

PROOF_BYTES_MAX = 4 * 1024 * 1024
HANDOVERS_MAX = 1_024

VerifyCertificate: TypeAlias = Callable[[Validators, int, bytes, bytes], None]
"""(set, height, header hash, certificate bytes): raises ValueError unless a quorum of the set signed."""

_HANDOVER_MEMBERS = ("certificate", "header", "validators")


class ProofInvalid(ValueError):
    """A proof file that does not prove what it claims; the message says which part fails."""


class ProofUnavailable(LookupError):
    """What is to be proven is unknown here, or has no certificate yet."""


@dataclass(frozen=True, slots=True)
class Certified:
    """A header, and the validators who certified it."""

    header: Header
    validators: Validators


def find_certified(snapshot: View, heights: Iterable[int]) -> tuple[int, dict[str, object]]:
    """Return the first certified height of these, and its three members.  Raises ProofUnavailable."""
    for at in heights:
        certificate = snapshot.get(keyspace.certificate(at))
        if certificate is not None:
            break
    else:
        raise ProofUnavailable("the block has no certificate yet; try again in a moment")
    header = snapshot.get(keyspace.header(at))
    assert header is not None, f"header {at} is missing"
    members: dict[str, object] = {"certificate": certificate.hex(), "header": header.hex()}
    return at, members | {"handovers": _list_handovers(snapshot, at)}


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


def encode_document(document: dict[str, object]) -> bytes:
    """Return a proof file."""
    return canonical_json(document) + b"\n"


def decode_document(data: bytes, members: tuple[str, ...], version: int) -> dict[str, Any]:
    """Return the document in a proof file that has exactly these members, in order.  Raises ProofInvalid."""
    document = _decode_canonical(data)
    if tuple(sorted(document)) != members:
        raise ProofInvalid(f"expected a proof file with exactly its {len(members)} members")
    if type(document["version"]) is not int or document["version"] != version:
        raise ProofInvalid(f"expected proof version {version}, got {document['version']!r}")
    read_list("handovers", document["handovers"], HANDOVERS_MAX)
    return document


def decode_kind(data: bytes) -> str:
    """Return what a proof file says it proves; those of events, which came first, do not say.  Raises ProofInvalid."""
    kind = _decode_canonical(data).get("kind", "event")
    if type(kind) is not str:
        raise ProofInvalid("kind: expected text")
    return kind


def _decode_canonical(data: bytes) -> dict[str, Any]:
    if len(data) > PROOF_BYTES_MAX:
        raise ProofInvalid(f"expected at most {PROOF_BYTES_MAX} bytes, got {len(data)}")
    try:
        document = cast("dict[str, Any]", orjson.loads(data))
        is_canonical = canonical_json(document) + b"\n" == data
    except (orjson.JSONDecodeError, ValueError, TypeError) as error:
        raise ProofInvalid(f"expected a proof file in canonical JSON: {error}") from error
    if not is_canonical or type(document) is not dict:
        raise ProofInvalid("expected a proof file in canonical JSON: an object and one newline")
    return document


def read_hex(member: str, text: object) -> bytes:
    """Return the bytes in a member.  Raises ProofInvalid."""
    if type(text) is not str or len(text) % 2 or any(character not in "0123456789abcdef" for character in text):
        raise ProofInvalid(f"{member}: expected lower-case hex")
    return bytes.fromhex(text)


def read_list(member: str, value: object, items_max: int) -> list[object]:
    """Return the list in a member.  Raises ProofInvalid."""
    if type(value) is not list or len(cast("list[object]", value)) > items_max:
        raise ProofInvalid(f"{member}: expected a list of at most {items_max}")
    return cast("list[object]", value)


def verify_certified(document: dict[str, Any], genesis: Genesis, verify_certificate: VerifyCertificate) -> Certified:
    """Check a document's hand-overs, header and certificate against a genesis.  Raises ProofInvalid."""
    header_bytes = read_hex("header", document["header"])
    try:
        header = decode_header(header_bytes)
    except EncodingError as error:
        raise ProofInvalid(f"header: {error}") from error
    if header.chain_id != compute_chain_id(genesis):
        raise ProofInvalid("header: of another chain than the genesis")
    validators = _follow_handovers(document["handovers"], genesis, verify_certificate)
    if header.height < validators.since:
        raise ProofInvalid(f"handovers: the last begins a set at height {validators.since}, above the header")
    try:
        certificate = read_hex("certificate", document["certificate"])
        verify_certificate(validators, header.height, compute_header_hash(header_bytes), certificate)
    except ValueError as error:
        raise ProofInvalid(f"certificate: {error}") from error
    return Certified(header, validators)


def _follow_handovers(handovers: list[Any], genesis: Genesis, verify_certificate: VerifyCertificate) -> Validators:
    """Return the set that the last hand-over names, each certified by the set before it.  Raises ProofInvalid."""
    validators = Validators(genesis.validators)
    for number, handover in enumerate(handovers):
        where = f"handovers[{number}]"
        if type(handover) is not dict or tuple(sorted(cast("dict[str, object]", handover))) != _HANDOVER_MEMBERS:
            raise ProofInvalid(f"{where}: expected exactly its three members")
        parts = cast("dict[str, Any]", handover)
        keys = tuple(
            read_hex(where, key) for key in read_list(f"{where}: validators", parts["validators"], VALIDATORS_MAX)
        )
        header_bytes = read_hex(where, parts["header"])
        try:
            header = decode_header(header_bytes)
            certificate = read_hex(where, parts["certificate"])
            verify_certificate(validators, header.height, compute_header_hash(header_bytes), certificate)
            if header.validators_hash != compute_validators_hash(keys):
                raise ProofInvalid(f"{where}: the header names other keys")
            validators = Validators(keys, validators.era + 1, header.height + 1)
        except ValueError as error:
            raise error if isinstance(error, ProofInvalid) else ProofInvalid(f"{where}: {error}") from error
    return validators
