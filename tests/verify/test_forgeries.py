"""A corpus of forged proofs, which neither verifier believes: members exchanged, fields changed, signers invented."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace as replace_field
from typing import Any, cast

import orjson
import pytest

from atlas_verify.canonical import Invalid
from atlas_verify.chain import read_genesis
from atlas_verify.documents import verify
from consensus.messages import Certificate, Checkpoint, Vote
from ledger.block import Header, compute_header_hash, decode_header, encode_header
from ledger.genesis import compute_validators_hash, encode_genesis_file
from ledger.primitives.canonical_json import canonical_json
from ledger.primitives.encoding import Value, decode, encode
from ledger.primitives.records import decode_record, encode_record
from ledger.primitives.signing import Purpose, SigningKey
from tests.ledger.world import VALIDATORS
from tests.verify.chains import FRESH
from tests.verify.conftest import Proofs

ERAS = (0, 1, 2, 3)
FORGERIES_MIN = 200
Proof = dict[str, Any]
Change = Callable[[Proof, Proof], Proof]
"""Of a proof and one of another event, a forged one."""


def replace(member: str, value: object) -> Change:
    return lambda proof, other: proof | {member: value}


def take(*members: str) -> Change:
    return lambda proof, other: proof | {member: other[member] for member in members}


def change_handovers(change: Callable[[list[Any]], list[Any]]) -> Change:
    return lambda proof, other: proof | {"handovers": change(proof["handovers"])}


DOCUMENTS: dict[str, Change] = {
    **{f"{member} of another": take(member) for member in ("certificate", "event", "header", "path", "receipt")},
    **{f"no {member}": replace(member, "") for member in ("certificate", "event", "header", "receipt", "signature")},
    **{f"{member} is null": replace(member, None) for member in ("certificate", "handovers", "header", "path")},
    "handovers of another": take("handovers"),
    "signature of another": take("signature"),
    "event and signature of another": take("event", "signature"),
    "header and certificate of another": take("header", "certificate"),
    "event and receipt of another": take("event", "receipt", "signature"),
    "nothing signed": lambda proof, other: proof | {"event": "", "signature": ""},
    "first handover left out": change_handovers(lambda handovers: handovers[1:]),
    "last handover left out": change_handovers(lambda handovers: handovers[:-1]),
    "handovers swapped": change_handovers(lambda handovers: handovers[::-1]),
    "handover repeated": change_handovers(lambda handovers: [*handovers, handovers[-1]]),
    "handover names nobody": change_handovers(lambda handovers: [*handovers[:-1], handovers[-1] | {"validators": []}]),
    "handover names others": change_handovers(
        lambda handovers: [*handovers[:-1], handovers[-1] | {"validators": [key.public.hex() for key in FRESH[::-1]]}]
    ),
    "handover with more": change_handovers(lambda handovers: [*handovers[:-1], handovers[-1] | {"more": 1}]),
    "version 1": replace("version", 1),
    "version as text": replace("version", "2"),
    "version as truth": replace("version", True),
    "another member": replace("more", 1),
    "a kind": replace("kind", "event"),
    "long path": replace("path", ["00" * 32] * 66),
    "longer path": lambda proof, other: proof | {"path": [*proof["path"], "00" * 32]},
    "shorter path": lambda proof, other: proof | {"path": proof["path"][:-1]},
    "path of short hashes": replace("path", ["00"]),
    "capitals": lambda proof, other: proof | {"receipt": proof["receipt"].upper()},
}


def list_field_changes(member: str, data: bytes) -> Iterator[tuple[str, Proof]]:
    """Yield the member with each of its fields changed, and with a field more and one fewer."""
    record = cast("dict[str, Value]", decode(data))
    for name in sorted(record):
        yield f"{member}.{name}", {member: encode(record | {name: change_value(record[name])}).hex()}
        yield f"{member} without {name}", {member: encode({n: record[n] for n in record if n != name}).hex()}
    yield f"{member} with more", {member: encode(record | {"zz": 1}).hex()}


def change_value(value: Value) -> Value:
    """Return another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "x"
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:]
        case list():
            return [*value, ""]
        case dict():
            return value | {"zz": 1}
        case None:
            return 1


def list_certificate_changes(certificate: Certificate) -> Iterator[tuple[str, Certificate]]:
    votes = certificate.signatures
    signature = votes[0].signature
    yield "signers reversed", Certificate(certificate.digest, certificate.seq, votes[::-1])
    yield "a signer twice", Certificate(certificate.digest, certificate.seq, (votes[0], *votes))
    yield (
        "a signer in the place of another",
        Certificate(certificate.digest, certificate.seq, (votes[0], Vote(1, signature), *votes[2:])),
    )
    yield "a signer who is nobody", Certificate(certificate.digest, certificate.seq, (*votes, Vote(99, signature)))
    yield "too few signers", Certificate(certificate.digest, certificate.seq, votes[: len(votes) // 2])
    yield (
        "one signature changed",
        Certificate(certificate.digest, certificate.seq, (*votes[:-1], Vote(votes[-1].replica, bytes(64)))),
    )
    yield "another height", Certificate(certificate.digest, certificate.seq + 1, votes)
    yield "another digest", Certificate(bytes(32), certificate.seq, votes)


def list_forgeries(proof: Proof, other: Proof) -> Iterator[tuple[str, Proof]]:
    """Yield forged proofs with their names."""
    for name, change in DOCUMENTS.items():
        if len(proof["handovers"]) > 1 or "handover" not in name:
            yield name, change(proof, other)
    for member in ("header", "receipt", "event", "certificate"):
        for name, changes in list_field_changes(member, bytes.fromhex(proof[member])):
            yield name, proof | changes
    certificate = decode_record(Certificate, bytes.fromhex(proof["certificate"]))
    for name, forged in list_certificate_changes(certificate):
        yield name, proof | {"certificate": encode_record(forged).hex()}


@pytest.mark.parametrize("era", ERAS)
def test_neither_believes_a_forgery(proofs: Proofs, era: int) -> None:
    proof, other = (orjson.loads(proofs.of_posts[number]) for number in (era, (era + 2) % 4))
    believed: list[str] = []

    forgeries = list(list_forgeries(proof, other))
    for name, forged in forgeries:
        if proofs.both.list_believers(canonical_json(forged) + b"\n"):
            believed.append(name)

    assert believed == []
    assert len(forgeries) * len(ERAS) >= FORGERIES_MIN


def test_a_certificate_of_just_a_quorum_is_enough_and_one_less_is_not(proofs: Proofs) -> None:
    """Of 4, 5, 4 and 7 validators 3, 4, 3 and 5 are a quorum."""
    for era, quorum in zip(ERAS, (3, 4, 3, 5), strict=True):
        proof = orjson.loads(proofs.of_posts[era])
        full = decode_record(Certificate, bytes.fromhex(proof["certificate"]))
        for count, believers in ((quorum, ["node", "atlas_verify"]), (quorum - 1, [])):
            fewer = encode_record(Certificate(full.digest, full.seq, full.signatures[-count:])).hex()
            assert proofs.both.list_believers(canonical_json(proof | {"certificate": fewer}) + b"\n") == believers


def certify(header: Header, keys: Sequence[SigningKey]) -> Proof:
    """Return the members that these keys make of any header, as replicas 0, 1, …"""
    data = encode_header(header)
    digest = compute_header_hash(data)
    votes = tuple(
        Vote(number, key.sign(header.chain_id, Purpose.CHECKPOINT, encode_record(vote)))
        for number, key in enumerate(keys)
        if (vote := Checkpoint(digest, number, header.height))
    )
    return {"header": data.hex(), "certificate": encode_record(Certificate(digest, header.height, votes)).hex()}


def hand_over(header: Header, to: Sequence[SigningKey], by: Sequence[SigningKey]) -> Proof:
    """Return a hand-over that is certified as it should be."""
    keys = tuple(key.public for key in to)
    certified = certify(replace_field(header, validators_hash=compute_validators_hash(keys)), by)
    return certified | {"validators": [key.hex() for key in keys]}


def test_keys_that_the_old_set_did_not_name_certify_nothing(proofs: Proofs) -> None:
    proof = orjson.loads(proofs.of_posts[1])
    header = decode_header(bytes.fromhex(proof["header"]))
    invented = proof["handovers"][0] | {"validators": [key.public.hex() for key in FRESH]}

    forged = proof | certify(header, FRESH) | {"handovers": [invented]}

    assert proofs.both.list_believers(canonical_json(forged) + b"\n") == []


def test_a_set_certifies_nothing_below_where_it_begins(proofs: Proofs) -> None:
    early, late = (orjson.loads(proofs.of_posts[era]) for era in (0, 2))
    header = decode_header(bytes.fromhex(early["header"]))

    forged = early | certify(header, FRESH) | {"handovers": late["handovers"]}

    assert proofs.both.list_believers(canonical_json(forged) + b"\n") == []


@pytest.mark.parametrize("to", [FRESH[:3], (*FRESH[:3], FRESH[0])])
def test_no_set_has_fewer_than_four_keys_or_one_twice(proofs: Proofs, to: Sequence[SigningKey]) -> None:
    proof = orjson.loads(proofs.of_posts[0])
    header = decode_header(bytes.fromhex(proof["header"]))
    before = replace_field(header, height=header.height - 1)

    honest = proof | certify(header, FRESH) | {"handovers": [hand_over(before, FRESH, VALIDATORS)]}
    forged = proof | certify(header, to) | {"handovers": [hand_over(before, to, VALIDATORS)]}

    assert proofs.both.list_believers(canonical_json(honest) + b"\n") == ["node", "atlas_verify"]
    assert proofs.both.list_believers(canonical_json(forged) + b"\n") == []


def test_headers_of_another_version_are_not_guessed_at(proofs: Proofs) -> None:
    proof = orjson.loads(proofs.of_posts[0])
    header = decode_header(bytes.fromhex(proof["header"]))
    genesis = read_genesis(encode_genesis_file(proofs.world.chain.genesis))

    forged = proof | certify(replace_field(header, version=header.version + 1), VALIDATORS)

    with pytest.raises(Invalid, match=r"^header: version: expected 3, got 4$"):
        verify(canonical_json(forged) + b"\n", genesis)


def test_only_the_canonical_form_is_read(proofs: Proofs) -> None:
    proof = proofs.of_posts[0]
    document = orjson.loads(proof)
    reversed_members = {name: document[name] for name in sorted(document, reverse=True)}

    for other in (proof[:-1], proof + b"\n", b" " + proof, orjson.dumps(reversed_members) + b"\n"):
        assert proofs.both.list_believers(other) == []


@pytest.mark.parametrize(
    ("member", "forged"),
    [
        ("certificate", take("certificate")),
        ("header", replace("header", "80")),
        ("path", take("path")),
        ("event", take("event")),
        ("signature", take("signature")),
        ("handovers[0]: certificate", change_handovers(lambda handovers: handovers[1:])),
        ("proof: version", replace("version", 7)),
        ("receipt", replace("receipt", "c0")),
    ],
)
def test_an_error_begins_with_the_member_that_fails_and_has_one_line(
    proofs: Proofs, member: str, forged: Change
) -> None:
    proof, other = (orjson.loads(proofs.of_posts[era]) for era in (2, 3))
    genesis = read_genesis(encode_genesis_file(proofs.world.chain.genesis))

    with pytest.raises(Invalid) as raised:
        verify(canonical_json(forged(proof, other)) + b"\n", genesis)

    assert str(raised.value).startswith(f"{member}:")
    assert "\n" not in str(raised.value)
