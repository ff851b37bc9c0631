"""The genesis file: what is wrong is named."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ledger.chain import compute_genesis_block
from ledger.genesis import GenesisInvalid, compute_chain_id, decode_genesis_file, encode_genesis_file
from ledger.primitives import lthash
from ledger.primitives.fixed_point import RAW_MAX, format_decimal
from tests.ledger.world import REGISTRY, make_genesis

KEY = "ab" * 32
DOCUMENT: dict[str, Any] = json.loads(encode_genesis_file(make_genesis()))


def test_a_genesis_file_comes_back_as_it_was() -> None:
    genesis = make_genesis()

    assert decode_genesis_file(encode_genesis_file(genesis)) == genesis


def test_the_layout_of_the_file_does_not_matter() -> None:
    shuffled = json.dumps(dict(reversed(DOCUMENT.items())), indent=7).encode()

    assert compute_chain_id(decode_genesis_file(shuffled)) == compute_chain_id(make_genesis())


def test_every_member_is_in_the_chain_id() -> None:
    genesis = make_genesis()
    others = [
        replace(genesis, allocations=genesis.allocations[:1]),
        replace(genesis, beat_ms=genesis.beat_ms + 1),
        replace(genesis, epoch_beats=genesis.epoch_beats + 1),
        replace(genesis, name="other"),
        replace(genesis, time_ms=genesis.time_ms + 1),
        replace(genesis, validators=genesis.validators[::-1]),
    ]

    assert len({compute_chain_id(each) for each in (genesis, *others)}) == len(others) + 1


def test_the_genesis_header_commits_to_the_genesis_state() -> None:
    header, lanes, state = compute_genesis_block(make_genesis(), REGISTRY)

    assert lanes == lthash.combine(lthash.EMPTY, [], state)
    assert header.state_digest == lthash.digest(lanes)
    assert header.chain_id == compute_chain_id(make_genesis())


FAULTS = [
    ({"name": ...}, "missing ['name']"),
    ({"beatms": 5}, "unknown ['beatms']"),
    ({"name": 5}, "name: expected text"),
    ({"name": ""}, "name: expected 1 to 64 bytes"),
    ({"name": "x" * 65}, "name: expected 1 to 64 bytes"),
    ({"beat_ms": "1000"}, "beat_ms: expected an integer"),
    ({"beat_ms": 1.5}, "beat_ms: expected an integer"),
    ({"beat_ms": True}, "beat_ms: expected an integer"),
    ({"beat_ms": 99}, "beat_ms: expected 100..3600000, got 99"),
    ({"epoch_beats": 1}, "epoch_beats: expected 2..1000000, got 1"),
    ({"time_ms": -1}, "time_ms: expected 0.."),
    ({"version": 1}, "version: expected 2, got 1"),
    ({"version": None}, "version: expected 2, got None"),
    ({"policies": []}, "policies: expected an object"),
    ({"policies": {"energy": 1}}, "policies.energy: expected an object of fields"),
    ({"policies": {"energy": {"base_cost": 1}}}, "policies.energy.base_cost: expected a whole number as text"),
    ({"policies": {"energy": {"base_cost": "1"}}}, "policy energy: base_cost: expected 100000000000000000000.."),
    ({"policies": {"energy": {"x": "1"}}}, "policy energy: expected fields among"),
    ({"policies": {"x": {"y": "1"}}}, "policies: expected some of aegis, coherence"),
    ({"validators": 5}, "validators: expected a list"),
    ({"validators": DOCUMENT["validators"][:3]}, "validators: expected 4 to 100, got 3"),
    ({"validators": ["x"] * 4}, "validators[0]: expected a public key as 64 lower-case hex digits"),
    ({"validators": [*DOCUMENT["validators"], KEY.upper()]}, "validators[4]: expected a public key"),
    ({"validators": [*DOCUMENT["validators"], 5]}, "validators[4]: expected a public key"),
    ({"validators": DOCUMENT["validators"] * 2}, "validators: a key is named twice"),
    ({"allocations": {}}, "allocations: expected a list"),
    ({"allocations": [5]}, "allocations[0]: expected an object"),
    ({"allocations": [{"key": KEY}]}, "allocations[0]: expected the members atoms, key; missing ['atoms']"),
    ({"allocations": [{"key": KEY, "atoms": 5}]}, "allocations[0].atoms: expected a decimal number as text"),
    ({"allocations": [{"key": KEY, "atoms": "-1"}]}, "allocations[0].atoms: expected digits"),
    ({"allocations": [{"key": KEY, "atoms": "1e3"}]}, "allocations[0].atoms: expected digits"),
    ({"allocations": [{"key": "ab", "atoms": "1"}]}, "allocations[0].key: expected a public key"),
    ({"allocations": [{"key": KEY, "atoms": "1"}] * 2}, "allocations: a key is named twice"),
    (
        {"allocations": [{"key": key * 32, "atoms": format_decimal(RAW_MAX)} for key in ("ab", "cd")]},
        "allocations: expected at most",
    ),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS, ids=[message[:40] for _, message in FAULTS])
def test_a_fault_is_named_by_its_member(changes: dict[str, Any], message: str) -> None:
    document = {name: value for name, value in (DOCUMENT | changes).items() if value is not ...}

    with pytest.raises(GenesisInvalid) as invalid:
        decode_genesis_file(json.dumps(document).encode())

    assert message in str(invalid.value)
    assert str(invalid.value).startswith("genesis")


@pytest.mark.parametrize("data", [b"", b"[", b"[]", b"5", b"\xff"])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(GenesisInvalid):
        decode_genesis_file(data)
