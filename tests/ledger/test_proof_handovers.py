"""Proofs across changes of the validator set: each set's right to sign follows from the one before, back to genesis."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from consensus.messages import Certificate
from consensus.quorum import verify_certificate
from ledger.primitives.canonical_json import canonical_json
from ledger.primitives.records import decode_record
from ledger.primitives.signing import SigningKey
from ledger.proofs import ProofInvalid, ProofUnavailable, Proven, make_event_proof, verify_event_proof
from ledger.service import Validators
from node.eras import make_parameters
from social.posts import PostPublished
from tests.ledger.changing_sets import JOINER, ChangingWorld
from tests.ledger.world import VALIDATORS, id_of

FRESH = tuple(SigningKey(bytes([220 + number]) * 32) for number in range(3))
SETS = {0: (*VALIDATORS, JOINER), 1: (JOINER, *FRESH)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ChangingWorld]:
    world = ChangingWorld(tmp_path / "ledger", SETS)
    yield world
    world.close()


def post(world: ChangingWorld) -> bytes:
    """Publish a post in a certified block; return its id."""
    signed = world.sign(world.ada, PostPublished, text="hello", tags=())
    height = world.execute(signed).header.height
    world.chain.write_certificate(height, world.certify(height))
    return id_of(signed)


def prove(world: ChangingWorld, event_id: bytes) -> bytes:
    with world.store.snapshot() as snapshot:
        return make_event_proof(snapshot, world.chain.head.height, event_id)


def verify(world: ChangingWorld, proof: bytes) -> Proven:
    def verify_own(validators: Validators, height: int, header_hash: bytes, data: bytes) -> None:
        certificate = decode_record(Certificate, data)
        if (certificate.seq, certificate.digest) != (height, header_hash):
            raise ValueError("for another block")
        verify_certificate(make_parameters(world.chain.chain_id, validators), certificate)

    return verify_event_proof(proof, world.chain.genesis, verify_own)


def test_an_event_of_any_era_is_proven_by_the_genesis_alone(world: ChangingWorld) -> None:
    events = [post(world)]
    for closed in range(2):
        while world.chain.validators.era == closed:
            world.beat()
        events.append(post(world))

    proofs = [prove(world, event_id) for event_id in events]

    assert [verify(world, proof).validators.era for proof in proofs] == [0, 1, 2]
    assert [len(orjson.loads(proof)["handovers"]) for proof in proofs] == [0, 1, 2]


def drop_one(handovers: list[Any]) -> list[Any]:
    return handovers[1:]


def drop_all(handovers: list[Any]) -> list[Any]:
    return []


def swap(handovers: list[Any]) -> list[Any]:
    return handovers[::-1]


def name_others(handovers: list[Any]) -> list[Any]:
    return [*handovers[:-1], handovers[-1] | {"validators": [key.public.hex() for key in VALIDATORS]}]


def name_nobody(handovers: list[Any]) -> list[Any]:
    return [*handovers[:-1], handovers[-1] | {"validators": []}]


def repeat_one(handovers: list[Any]) -> list[Any]:
    return [*handovers, handovers[-1]]


@pytest.mark.parametrize("change", [drop_one, drop_all, swap, name_others, name_nobody, repeat_one])
def test_other_handovers_prove_nothing(world: ChangingWorld, change: Callable[[list[Any]], list[Any]]) -> None:
    while world.chain.validators.era < 2:
        world.beat()
    document = orjson.loads(prove(world, post(world)))

    with pytest.raises(ProofInvalid):
        verify(world, canonical_json(document | {"handovers": change(document["handovers"])}) + b"\n")


def test_whoever_names_keys_of_his_own_proves_nothing(world: ChangingWorld) -> None:
    """The hand-over is real, and the new keys certify the header; but they are not those that the old set certified."""
    while world.chain.validators.era < 1:
        world.beat()
    event_id = post(world)
    height = world.chain.head.height
    world.chain.write_certificate(height, world.certify(height, (JOINER, *FRESH)))
    document = orjson.loads(prove(world, event_id))
    invented = [key.public.hex() for key in (JOINER, *FRESH)]
    handover = document["handovers"][0] | {"validators": invented}

    with pytest.raises(ProofInvalid, match="the header names other keys"):
        verify(world, canonical_json(document | {"handovers": [handover]}) + b"\n")


def test_a_header_below_the_last_handover_is_refused_whatever_the_verifier_says(world: ChangingWorld) -> None:
    early = orjson.loads(prove(world, post(world)))
    while world.chain.validators.era < 1:
        world.beat()
    late = orjson.loads(prove(world, post(world)))

    with pytest.raises(ProofInvalid, match="above the header"):
        verify_event_proof(
            canonical_json(early | {"handovers": late["handovers"]}) + b"\n", world.chain.genesis, lambda *given: None
        )


def test_a_set_does_not_certify_what_the_next_one_orders(world: ChangingWorld) -> None:
    while world.chain.validators.era < 2:
        world.beat()
    event_id = post(world)
    height = world.chain.head.height
    world.chain.write_certificate(height, world.certify(height, (*VALIDATORS, JOINER)))

    with pytest.raises(ProofInvalid, match="certificate"):
        verify(world, prove(world, event_id))


def test_a_handover_without_its_certificate_is_no_proof(world: ChangingWorld) -> None:
    while world.chain.validators.era == 0:
        world.beat(certified=False)
    event_id = post(world)

    with pytest.raises(ProofUnavailable, match="changed the validator set"):
        prove(world, event_id)


def test_no_changed_byte_of_a_handover_proves_anything(world: ChangingWorld) -> None:
    while world.chain.validators.era == 0:
        world.beat()
    proof = prove(world, post(world))
    start = proof.index(b'"handovers"')
    survivors: list[int] = []

    for place in range(start, proof.index(b'"path"')):
        changed = bytearray(proof)
        changed[place] ^= 1
        try:
            verify(world, bytes(changed))
        except ProofInvalid:
            continue
        survivors.append(place)

    assert survivors == []
