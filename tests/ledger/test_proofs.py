"""Proof files: a valid one proves its event offline, and one changed byte proves nothing."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from ledger.events import SignedEvent
from ledger.primitives.canonical_json import canonical_json
from ledger.primitives.signing import Purpose, SigningKey, verify_signature
from ledger.proofs import ProofInvalid, ProofUnavailable, Proven, make_event_proof, verify_event_proof
from ledger.receipts import APPLIED, SKIPPED
from ledger.service import Validators
from social.posts import PostPublished
from tests.ledger.world import World, id_of, make_genesis

NOTARY = SigningKey(bytes([7]) * 32)
"""One key in the place of a quorum: consensus tests its certificates itself."""


def certify(world: World, height: int) -> None:
    known = world.chain.references(height)
    assert known is not None
    world.chain.write_certificate(height, NOTARY.sign(known[0], Purpose.CHECKPOINT, height.to_bytes(8, "big")))


def verify(data: bytes, name: str = "test") -> Proven:
    def verify_certificate(validators: Validators, height: int, header_hash: bytes, certificate: bytes) -> None:
        verify_signature(NOTARY.public, header_hash, Purpose.CHECKPOINT, height.to_bytes(8, "big"), certificate)

    return verify_event_proof(data, make_genesis(name), verify_certificate)


def prove(world: World, event_id: bytes) -> bytes:
    with world.store.snapshot() as snapshot:
        return make_event_proof(snapshot, world.chain.head.height, event_id)


@pytest.fixture
def posted(tmp_path: Path) -> Iterator[tuple[World, SignedEvent]]:
    """A certified chain of four blocks, and an event in its second."""
    world = World(tmp_path)
    events = [world.sign(world.ada, PostPublished, text=str(number), tags=()) for number in range(6)]
    world.execute(events[0], beat=True)
    world.execute(*events[1:4])
    world.execute(*events[4:])
    world.execute(beat=True)
    for height in range(1, 5):
        certify(world, height)
    yield world, events[2]
    world.close()


def test_a_proof_shows_the_event_and_its_receipt(posted: tuple[World, SignedEvent]) -> None:
    world, event = posted

    proven = verify(prove(world, id_of(event)))

    assert proven.event_id == id_of(event)
    assert proven.event is not None
    assert (proven.event.author, proven.event.nonce) == (world.ada.account, 3)
    assert (proven.receipt.outcome, proven.receipt.height, proven.header.height) == (APPLIED, 2, 2)


def test_a_later_certificate_serves_as_well(tmp_path: Path) -> None:
    world = World(tmp_path)
    event = world.sign(world.ada, PostPublished, text="x", tags=())
    world.execute(event)
    world.execute(beat=True)
    certify(world, 2)

    proven = verify(prove(world, id_of(event)))

    assert (proven.receipt.height, proven.header.height) == (1, 2)
    world.close()


def test_a_beat_is_proven_without_a_signature(posted: tuple[World, SignedEvent]) -> None:
    world, _ = posted
    receipt = world.execute(beat=True).receipts[0]
    certify(world, 5)

    proven = verify(prove(world, receipt.event_id))

    assert (proven.event, proven.receipt.event_type) == (None, "infra.BeatStarted")


def test_what_was_skipped_as_malformed_is_proven_as_that(posted: tuple[World, SignedEvent]) -> None:
    world, _ = posted
    malformed = SignedEvent(b"junk", None, bytes(64))
    world.execute(malformed)
    certify(world, 5)

    proven = verify(prove(world, id_of(malformed)))

    assert (proven.event, proven.receipt.outcome) == (None, SKIPPED)


def test_there_is_no_proof_of_what_is_not_in_the_ledger(posted: tuple[World, SignedEvent]) -> None:
    with pytest.raises(ProofUnavailable, match="no event of this id"):
        prove(posted[0], bytes(32))


def test_there_is_no_proof_before_the_certificate(posted: tuple[World, SignedEvent]) -> None:
    world, _ = posted
    receipt = world.do(world.ben, PostPublished, text="x", tags=())

    with pytest.raises(ProofUnavailable, match="no certificate yet"):
        prove(world, receipt.event_id)


def test_no_changed_byte_proves_anything(posted: tuple[World, SignedEvent]) -> None:
    proof = prove(posted[0], id_of(posted[1]))
    survivors = []

    for place in range(len(proof)):
        for flip in (0x01, 0x20) if place % 16 else (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF):
            changed = bytearray(proof)
            changed[place] ^= flip
            try:
                verify(bytes(changed))
            except ProofInvalid:
                continue
            survivors.append((place, flip))

    assert survivors == []


@pytest.mark.parametrize("cut", [0, 1, 100, -2, -1])
def test_no_part_of_a_proof_proves_anything(posted: tuple[World, SignedEvent], cut: int) -> None:
    with pytest.raises(ProofInvalid):
        verify(prove(posted[0], id_of(posted[1]))[:cut])


@pytest.mark.parametrize("more", [b"\n", b" ", b"{}", b"\0"])
def test_nothing_can_be_added_to_a_proof(posted: tuple[World, SignedEvent], more: bytes) -> None:
    with pytest.raises(ProofInvalid):
        verify(prove(posted[0], id_of(posted[1])) + more)


def test_a_proof_is_of_one_chain(posted: tuple[World, SignedEvent]) -> None:
    with pytest.raises(ProofInvalid, match="another chain"):
        verify(prove(posted[0], id_of(posted[1])), name="another")


@pytest.mark.parametrize(
    "members",
    [
        ["certificate"],
        ["event"],
        ["header"],
        ["path"],
        ["receipt"],
        ["signature"],
        ["event", "signature"],
        ["path", "receipt"],
    ],
)
def test_members_of_two_proofs_do_not_mix(posted: tuple[World, SignedEvent], members: list[str]) -> None:
    world, event = posted
    with world.store.snapshot() as snapshot:
        others = world.chain.read_block(3)
        assert others is not None
        mine = orjson.loads(make_event_proof(snapshot, 4, id_of(event)))
        theirs = orjson.loads(make_event_proof(snapshot, 4, id_of(others.items[0])))

    with pytest.raises(ProofInvalid):
        verify(canonical_json(mine | {member: theirs[member] for member in members}) + b"\n")


def test_the_signed_event_can_not_be_left_out(posted: tuple[World, SignedEvent]) -> None:
    document = orjson.loads(prove(posted[0], id_of(posted[1])))

    with pytest.raises(ProofInvalid, match="event: missing"):
        verify(canonical_json(document | {"event": "", "signature": ""}) + b"\n")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"handovers": {}},
        {"handovers": [5]},
        {"handovers": [{"header": ""}]},
        {"version": True},
        {"version": "1"},
        {"path": {}},
        {"path": ["ab"] * 66},
        {"path": [5]},
        {"path": ["AB" * 32]},
        {"receipt": 5},
        {"header": None},
        {"more": 1},
    ],
)
def test_members_have_one_form(posted: tuple[World, SignedEvent], changes: dict[str, object]) -> None:
    document = orjson.loads(prove(posted[0], id_of(posted[1])))

    with pytest.raises(ProofInvalid):
        verify(canonical_json(document | changes) + b"\n")


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"[]\n", b"5\n", b"null\n", b'"x"\n', b"\xff\n", b"[" * 100_000, bytes(2**21)]
)
def test_what_is_no_proof_file_is_refused(data: bytes) -> None:
    with pytest.raises(ProofInvalid):
        verify(data)
