"""Who may certify what: the chain's genesis, its changes of validators, and the certificate of one header."""
# pyright: reportConstantRedefinition=false

import json
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from atlas_verify.canonical import U32_MAX, Field, Invalid, check_members, encode, many, read_hex, read_record
from atlas_verify.hashes import is_signed, tagged_hash

VALIDATORS_MIN, VALIDATORS_MAX, ALLOCATIONS_MAX, HANDOVERS_MAX = 4, 100, 10_000, 1_024
NUMBER, U32, HASH, HEX = Field(int), Field(int, 0, U32_MAX), Field(bytes, 32, 32), Field(str)
CERTIFIED = {"certificate": HEX, "handovers": Field(list, 0, HANDOVERS_MAX), "header": HEX}
CERTIFICATE = {"digest": HASH, "seq": Field(int, 1, 2**63 - 1), "signatures": Field(list, 1, VALIDATORS_MAX)}
VOTE = {"replica": U32, "signature": Field(bytes, 64, 64)}
HANDOVER = {"certificate": HEX, "header": HEX, "validators": Field(list, 0, VALIDATORS_MAX)}
HEADER = many("beat epoch height log_size state_height time_ms view", NUMBER)
HEADER |= many("chain_id event_root log_root policy_root previous receipt_root", HASH)
HEADER |= many("rules_root state_digest state_root validators_hash", HASH)
HEADER |= {"event_count": U32, "proposer": Field(int, 0, U32_MAX, optional=True), "version": Field(int, 3, 3)}
GENESIS = many("beat_ms epoch_beats time_ms", NUMBER) | {"version": Field(int, 2, 2)}
GENESIS |= {"allocations": Field(list, 0, ALLOCATIONS_MAX), "name": Field(str, 1, 64), "policies": Field(dict)}
GENESIS |= {"validators": Field(list, VALIDATORS_MIN, VALIDATORS_MAX)}


class Validators(NamedTuple):
    """The keys that certify the chain's headers from a height on, that of replica 0 first."""

    chain_id: bytes
    keys: tuple[bytes, ...]
    era: int = 0
    since: int = 1


class Certified(NamedTuple):
    """A header that a quorum of these validators signed."""

    header: dict[str, Any]
    header_hash: bytes
    validators: Validators


def read_genesis(data: bytes) -> Validators:
    """Return what a genesis file begins: its chain's id is the hash of all that it says.  Raises Invalid."""
    try:
        members = check_members("members", json.loads(data), GENESIS)
        members["validators"] = [read_hex("validators", key, 32) for key in members["validators"]]
        members["allocations"] = [
            {"atoms": int(Fraction(each["atoms"]) * 10**18), "key": read_hex("allocations", each["key"], 32)}
            for each in members["allocations"]
        ]
        members["policies"] = [
            {"field": field, "policy": policy, "value": int(value)}
            for policy, fields in sorted(members["policies"].items())
            for field, value in sorted(fields.items())
        ]
        return Validators(tagged_hash("atlas/genesis", encode(members)), tuple(members["validators"]))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise Invalid(f"genesis: expected a genesis file: {error}") from error


def verify_certified(document: dict[str, Any], validators: Validators) -> Certified:
    """Check the hand-overs from the genesis validators on, then header and certificate.  Raises Invalid."""
    for number, each in enumerate(document["handovers"]):
        where = f"handovers[{number}]: "
        handover = check_members(where[:-2], each, HANDOVER)
        header = _verify_header(where, handover, validators).header
        keys = tuple(read_hex(f"{where}validators", key, 32) for key in handover["validators"])
        if tagged_hash("atlas/validators", encode(list(keys))) != header["validators_hash"]:
            raise Invalid(f"{where}validators: not those that the header names")
        if not VALIDATORS_MIN <= len(keys) == len(set(keys)):
            raise Invalid(f"{where}validators: expected at least {VALIDATORS_MIN}, each once")
        validators = Validators(validators.chain_id, keys, validators.era + 1, header["height"] + 1)
    return _verify_header("", document, validators)


def _verify_header(where: str, holder: dict[str, Any], validators: Validators) -> Certified:
    data = read_hex(f"{where}header", holder["header"])
    header = read_record(f"{where}header", data, HEADER)
    if header["chain_id"] != validators.chain_id:
        raise Invalid(f"{where}header: of another chain than the genesis")
    if header["height"] < validators.since:
        raise Invalid(f"{where}header: height {header['height']} is below {validators.since}, where its set begins")
    where += "certificate"
    certificate = read_record(where, read_hex(where, holder["certificate"]), CERTIFICATE)
    header_hash = tagged_hash("atlas/header", data)
    if (certificate["seq"], certificate["digest"]) != (header["height"], header_hash):
        raise Invalid(f"{where}: for another block than the header's")
    _verify_votes(where, certificate, validators)
    return Certified(header, header_hash, validators)


def _verify_votes(where: str, certificate: dict[str, Any], validators: Validators) -> None:
    """Raise Invalid unless a quorum of the set signed CHECKPOINT for this height and header hash."""
    votes = [check_members(where, vote, VOTE) for vote in certificate["signatures"]]
    signers: list[int] = [vote["replica"] for vote in votes]
    size = len(validators.keys)
    faulty_max = (size - 1) // 3
    quorum = (size + faulty_max + 2) // 2  # (size + faulty_max + 1) / 2, rounded up
    if len(votes) < quorum:
        raise Invalid(f"{where}: expected at least {quorum} signatures, got {len(votes)}")
    if signers[-1] >= size or any(a >= b for a, b in pairwise(signers)):
        raise Invalid(f"{where}: expected distinct validators below {size} in order, got {signers}")
    for signer, vote in zip(signers, votes, strict=True):
        message = encode({"digest": certificate["digest"], "replica": signer, "seq": certificate["seq"]})
        if not is_signed(validators.keys[signer], validators.chain_id, "checkpoint", message, vote["signature"]):
            raise Invalid(f"{where}: the signature of validator {signer} fails")
