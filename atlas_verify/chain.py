"""Who may certify what: the chain's genesis, its changes of validators, and the certificate of one header."""

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from atlas_verify.canonical import U32_MAX, Field, Invalid, check_members, encode, read_hex, read_record
from atlas_verify.hashes import is_signed, tagged_hash

GENESIS_VERSION, HEADER_VERSION = 2, 3
VALIDATORS_MIN, VALIDATORS_MAX, HANDOVERS_MAX = 4, 100, 1_024
SEQ_MAX = 2**63 - 1
NUMBER, HASH = Field(int), Field(bytes, 32, 32)
CERTIFICATE = {"digest": HASH, "seq": Field(int, 1, SEQ_MAX), "signatures": Field(list, 1, VALIDATORS_MAX)}
VOTE = {"replica": Field(int, 0, U32_MAX), "signature": Field(bytes, 64, 64)}
HANDOVER = {"certificate": Field(str), "header": Field(str), "validators": Field(list, 0, VALIDATORS_MAX)}
HEADER = {
    **dict.fromkeys(("beat", "epoch", "height", "log_size", "state_height", "time_ms", "view"), NUMBER),
    **dict.fromkeys(("chain_id", "event_root", "log_root", "policy_root", "previous", "receipt_root"), HASH),
    **dict.fromkeys(("rules_root", "state_digest", "state_root", "validators_hash"), HASH),
    **dict.fromkeys(("event_count", "version"), Field(int, 0, U32_MAX)),
    "proposer": Field(int, 0, U32_MAX, optional=True),
}
GENESIS = {
    **dict.fromkeys(("allocations", "validators"), Field(list, 0, 10_000)),
    **dict.fromkeys(("beat_ms", "epoch_beats", "time_ms", "version"), NUMBER),
    "name": Field(str, 1, 64),
    "policies": Field(dict),
}


@dataclass(frozen=True, slots=True)
class Validators:
    """The keys that certify from a height on, replica 0 first."""

    keys: tuple[bytes, ...]
    era: int = 0
    since: int = 1


@dataclass(frozen=True, slots=True)
class Genesis:
    chain_id: bytes
    validators: Validators


@dataclass(frozen=True, slots=True)
class Certified:
    """A header that a quorum of these validators signed."""

    header: dict[str, Any]
    header_hash: bytes
    validators: Validators


def read_genesis(data: bytes) -> Genesis:
    """Return what a genesis file begins: its chain's id is the hash of all that it says.  Raises Invalid."""
    try:
        members = check_members("genesis", json.loads(data), GENESIS)
        if members["version"] != GENESIS_VERSION:
            raise Invalid(f"version: expected {GENESIS_VERSION}, got {members['version']}")
        members["validators"] = [read_hex("validators", key, 32) for key in members["validators"]]
        members["allocations"] = [
            {"atoms": _read_atoms(each["atoms"]), "key": read_hex("allocations", each["key"], 32)}
            for each in members["allocations"]
        ]
        members["policies"] = [
            {"field": field, "policy": policy, "value": int(value)}
            for policy, fields in sorted(members["policies"].items())
            for field, value in sorted(fields.items())
        ]
        return Genesis(tagged_hash("atlas/genesis", encode(members)), Validators(tuple(members["validators"])))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Invalid(f"genesis: expected a genesis file: {error}") from error


def _read_atoms(text: str) -> int:
    found = re.fullmatch(r"([0-9]+)(?:\.([0-9]{1,18})0*)?", text)
    if found is None:
        raise Invalid(f"allocations: expected a number of at most 18 decimals, got {text!r}")
    return int(found[1]) * 10**18 + int((found[2] or "").ljust(18, "0"))


def verify_certified(document: dict[str, Any], genesis: Genesis) -> Certified:
    """Check header, hand-overs and certificate of a proof.  Raises Invalid."""
    validators = genesis.validators
    if len(document["handovers"]) > HANDOVERS_MAX:
        raise Invalid(f"handovers: expected at most {HANDOVERS_MAX}")
    for number, each in enumerate(document["handovers"]):
        where = f"handovers[{number}]"
        handover = check_members(where, each, HANDOVER)
        certified = _verify_header(f"{where}: ", handover, genesis.chain_id, validators)
        keys = tuple(read_hex(f"{where}: validators", key, 32) for key in handover["validators"])
        if tagged_hash("atlas/validators", encode(list(keys))) != certified.header["validators_hash"]:
            raise Invalid(f"{where}: validators: not those that the header names")
        validators = Validators(keys, validators.era + 1, certified.header["height"] + 1)
    return _verify_header("", document, genesis.chain_id, validators)


def _verify_header(where: str, holder: dict[str, Any], chain_id: bytes, validators: Validators) -> Certified:
    data = read_hex(f"{where}header", holder["header"])
    header = read_record(f"{where}header", data, HEADER)
    if header["version"] != HEADER_VERSION:
        raise Invalid(f"{where}header: expected version {HEADER_VERSION}, got {header['version']}")
    if header["chain_id"] != chain_id:
        raise Invalid(f"{where}header: of another chain than the genesis")
    if header["height"] < validators.since:
        raise Invalid(f"{where}header: height {header['height']} is below {validators.since}, where its set begins")
    header_hash = tagged_hash("atlas/header", data)
    _verify_certificate(
        f"{where}certificate", holder["certificate"], chain_id, validators, header["height"], header_hash
    )
    return Certified(header, header_hash, validators)


def _verify_certificate(
    where: str, text: object, chain_id: bytes, validators: Validators, height: int, header_hash: bytes
) -> None:
    """Raise Invalid unless a quorum of the set signed CHECKPOINT for this header."""
    keys = validators.keys
    if not VALIDATORS_MIN <= len(keys) <= VALIDATORS_MAX or len(set(keys)) < len(keys):
        raise Invalid(f"{where}: expected {VALIDATORS_MIN} to {VALIDATORS_MAX} validators, each once")
    certificate = read_record(where, read_hex(where, text), CERTIFICATE)
    if (certificate["seq"], certificate["digest"]) != (height, header_hash):
        raise Invalid(f"{where}: for another block than the header's")
    votes = [check_members(where, vote, VOTE) for vote in certificate["signatures"]]
    faulty_max = (len(keys) - 1) // 3
    quorum = (len(keys) + faulty_max + 2) // 2
    if len(votes) < quorum:
        raise Invalid(f"{where}: expected at least {quorum} signatures, got {len(votes)}")
    signers: list[int] = [vote["replica"] for vote in votes]
    if signers[-1] >= len(keys) or any(a >= b for a, b in pairwise(signers)):
        raise Invalid(f"{where}: expected distinct validators below {len(keys)} in order, got {signers}")
    for signer, vote in zip(signers, votes, strict=True):
        message = encode({"digest": header_hash, "replica": signer, "seq": height})
        if not is_signed(keys[signer], chain_id, "checkpoint", message, vote["signature"]):
            raise Invalid(f"{where}: the signature of validator {signer} fails")
