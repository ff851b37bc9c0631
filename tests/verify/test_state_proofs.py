"""State proofs: both verifiers accept what the node makes of any key, and neither believes another value."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import keyspace
from ledger.certified import ProofUnavailable
from ledger.primitives.canonical_json import canonical_json
from ledger.state import encode_number
from ledger.state_tree import compute_path
from ledger.tokens import read_balance
from tests.verify.chains import make_world, prove_state
from tests.verify.conftest import Proofs

Proof = dict[str, Any]


def list_absent_keys() -> list[bytes]:
    """Return keys that nobody writes; so many that some have an empty place and others that of another leaf."""
    return [keyspace.account(bytes([number]) * 32) for number in range(60)]


def test_every_key_of_the_state_is_proven_with_its_value(proofs: Proofs) -> None:
    world = proofs.world
    state = dict(world.state(world.chain.head.header.state_height).iterate(keyspace.STATE))

    assert len(state) > 40
    for key, value in sorted(state.items()):
        ours, theirs = proofs.both.verify_state(prove_state(world, key))
        assert (ours.key, ours.value) == (key, value)
        assert (theirs["kind"], theirs["key"], theirs["value"]) == ("state", key.hex(), value.hex())
        assert theirs["state_height"] == ours.header.state_height


def test_every_absent_key_is_proven_absent_in_both_ways(proofs: Proofs) -> None:
    ways: set[bool] = set()
    for key in list_absent_keys():
        proof = prove_state(proofs.world, key)
        ways.add(orjson.loads(proof)["other"] is None)
        ours, theirs = proofs.both.verify_state(proof)
        assert (ours.value, theirs["value"]) == (None, None)

    assert ways == {True, False}


def test_a_balance_is_told_as_one(proofs: Proofs) -> None:
    ada = proofs.world.ada.account
    state = proofs.world.state(proofs.world.chain.head.header.state_height)

    _, has = proofs.both.verify_state(prove_state(proofs.world, keyspace.balance("FLX", ada)))
    _, has_not = proofs.both.verify_state(prove_state(proofs.world, keyspace.balance("FLX", bytes(32))))

    assert (has["account"], has["token"], has["balance_atoms"]) == (
        ada.hex(),
        "FLX",
        str(read_balance(state, "FLX", ada)),
    )
    assert (has_not["value"], has_not["balance_atoms"]) == (None, "0")


@pytest.mark.parametrize(("beats", "state_height"), [(8, 4), (9, 8), (11, 8)])
def test_the_fact_is_of_when_the_epoch_began_or_in_its_first_quarter_the_one_before(
    tmp_path: Path, beats: int, state_height: int
) -> None:
    world = make_world(tmp_path / "ledger")
    for _ in range(beats):
        world.beat()

    header = world.chain.head.header
    document = orjson.loads(prove_state(world, keyspace.beat()))

    assert (header.epoch, header.state_height) == (2, state_height)
    assert bytes.fromhex(document["value"]) == encode_number(state_height)
    world.close()


def test_there_is_no_proof_before_the_first_certificate(tmp_path: Path) -> None:
    world = make_world(tmp_path / "ledger")

    with pytest.raises(ProofUnavailable, match="no certificate yet"):
        prove_state(world, keyspace.beat())
    world.beat(certified=False)
    with pytest.raises(ProofUnavailable, match="no certificate yet"):
        prove_state(world, keyspace.beat())
    world.close()


def list_forgeries(proof: Proof, other: Proof, early: Proof) -> Iterator[tuple[str, Proof]]:
    """Yield forged proofs; `other` is of another key, `early` is of an event and has other headers."""
    yield "another value", proof | {"value": "00" * 16}
    yield "absent", proof | {"value": None}
    yield "an empty value", proof | {"value": ""}
    yield "another place", proof | {"place": other["place"]}
    yield "another key and its place", proof | {"key": other["key"], "place": other["place"]}
    yield "another key", proof | {"key": other["key"]}
    yield "another key and its value", proof | {name: other[name] for name in ("key", "place", "value")}
    yield "the siblings of another", proof | {"siblings": other["siblings"]}
    yield "no siblings", proof | {"siblings": []}
    yield "a sibling more below", proof | {"siblings": ["00" * 32, *proof["siblings"]]}
    yield "a sibling more above", proof | {"siblings": [*proof["siblings"], "00" * 32]}
    yield "a sibling fewer below", proof | {"siblings": proof["siblings"][1:]}
    yield "a sibling fewer above", proof | {"siblings": proof["siblings"][:-1]}
    yield "the root of nothing", proof | {"siblings": [], "value": None}
    yield "too many siblings", proof | {"siblings": ["00" * 32] * 257}
    yield "short siblings", proof | {"siblings": ["00"]}
    yield "an earlier header", proof | {"header": early["header"], "certificate": early["certificate"]}
    yield "the header of another height", proof | {"header": early["header"]}
    yield "no handovers", proof | {"handovers": []}
    yield "no key", proof | {"key": ""}
    yield "a key of an index", proof | {"key": "69" + proof["key"][2:]}
    yield "another kind", proof | {"kind": "event"}
    yield "no kind", {name: value for name, value in proof.items() if name != "kind"}
    yield "a kind that is no text", proof | {"kind": []}
    yield "another version", proof | {"version": 2}
    yield "a member more", proof | {"more": 1}
    yield "other is text", proof | {"other": ""}
    yield "other is empty", proof | {"other": {}}
    yield "another leaf beside a value", proof | {"other": {"path": "00" * 32, "value_hash": "00" * 32}}
    value_hash = hashlib.sha256(bytes.fromhex(proof["value"] or "")).hexdigest()
    yield (
        "absent because of itself",
        proof | {"value": None, "other": {"path": proof["place"], "value_hash": value_hash}},
    )


@pytest.mark.parametrize("present", [True, False])
def test_neither_believes_a_forgery(proofs: Proofs, present: bool) -> None:
    ada, ben = (keyspace.balance("FLX", person.account) for person in (proofs.world.ada, proofs.world.ben))
    other = orjson.loads(prove_state(proofs.world, ben))
    early = orjson.loads(proofs.of_posts[0])
    key = ada if present else next(key for key in list_absent_keys() if has_other_leaf(proofs, key))
    proof = orjson.loads(prove_state(proofs.world, key))
    # Of an absent key it is no forgery to say that it is absent.
    forgeries = [each for each in list_forgeries(proof, other, early) if each[1] != proof]

    believed = [name for name, forged in forgeries if proofs.both.list_believers(canonical_json(forged) + b"\n")]

    assert believed == []
    assert len(forgeries) > 25


def has_other_leaf(proofs: Proofs, key: bytes) -> bool:
    return orjson.loads(prove_state(proofs.world, key))["other"] is not None


def test_what_stands_in_the_place_of_a_present_key_can_not_hide_it(proofs: Proofs) -> None:
    """The leaf of another key is real, but its path does not share the bits down to the place."""
    ada, ben = (keyspace.balance("FLX", person.account) for person in (proofs.world.ada, proofs.world.ben))
    mine, theirs = (orjson.loads(prove_state(proofs.world, key)) for key in (ada, ben))
    leaf = {"path": compute_path(ben).hex(), "value_hash": hashlib.sha256(bytes.fromhex(theirs["value"])).hexdigest()}

    forged = theirs | {"key": mine["key"], "place": mine["place"], "value": None, "other": leaf}

    assert proofs.both.list_believers(canonical_json(forged) + b"\n") == []


def test_what_is_no_key_of_the_state_is_not_proven_to_be_absent_from_it(proofs: Proofs) -> None:
    """Every other key of the store is absent from the state tree, which does not mean that it holds nothing."""
    absent = next(key for key in list_absent_keys() if has_other_leaf(proofs, key))
    proof = orjson.loads(prove_state(proofs.world, absent))
    beside = 256 - len(proof["siblings"])
    bits = int(proof["place"], 16) >> beside
    places = ((key, compute_path(key)) for key in (b"%s%d" % (keyspace.INDEX, number) for number in range(10**6)))
    key, place = next(each for each in places if int.from_bytes(each[1], "big") >> beside == bits)

    forged = proof | {"key": key.hex(), "place": place.hex()}

    assert proofs.both.list_believers(canonical_json(forged) + b"\n") == []


def make_flip_proofs(proofs: Proofs) -> tuple[bytes, ...]:
    absent = next(key for key in list_absent_keys() if has_other_leaf(proofs, key))
    return tuple(prove_state(proofs.world, key) for key in (keyspace.balance("FLX", proofs.world.ada.account), absent))


@settings(max_examples=400, deadline=None)
@given(which=st.integers(0, 1), place=st.integers(0, 2**32), flip=st.integers(1, 255))
def test_a_changed_byte_is_found_by_both(
    flipped: Callable[[int], bytes], proofs: Proofs, which: int, place: int, flip: int
) -> None:
    changed = bytearray(flipped(which))
    changed[place % len(changed)] ^= flip

    assert proofs.both.list_believers(bytes(changed)) == []


@pytest.fixture(scope="module")
def flipped(proofs: Proofs) -> Callable[[int], bytes]:
    made = make_flip_proofs(proofs)
    return lambda which: made[which]


def test_each_changed_byte_of_small_proofs_is_found_by_both(proofs: Proofs, tmp_path: Path) -> None:
    world = make_world(tmp_path / "ledger")
    world.beat()
    survivors: list[tuple[int, int, list[str]]] = []
    for key in (keyspace.balance("FLX", world.ada.account), keyspace.balance("FLX", bytes(32))):
        proof = prove_state(world, key)
        assert proofs.both.list_believers(proof) == ["node", "atlas_verify"]
        for place in range(len(proof)):
            for flip in (0x01, 0x20):
                changed = bytearray(proof)
                changed[place] ^= flip
                believers = proofs.both.list_believers(bytes(changed))
                if believers:
                    survivors.append((place, flip, believers))

    assert survivors == []
    world.close()
