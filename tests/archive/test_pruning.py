"""Pruning: what the archive holds goes from the node, and every proof can still be made, the first event's included."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_api.shapes import event_text

from ledger import keyspace
from ledger.archive.collection import Archive, HotAndCold
from ledger.chain import Chain
from ledger.history import read_history
from ledger.primitives.records import decode_record, encode_record
from ledger.proofs import ProofUnavailable, make_event_proof, verify_event_proof
from ledger.pruning import prune
from node.block_fetch import BlockRange, Blocks, answer_range
from node.replay import ReplayFailed, replay_archive, replay_chain
from simulations.disk import MemoryStore, PowerLost, never
from tests.archive.chains import SECRET, ArchivedWorld, open_archive
from tests.client_api.api import Api
from tests.ledger.changing_sets import EPOCH_BEATS
from tests.ledger.world import id_of

GONE = (keyspace.EVENT, keyspace.RECEIPT, keyspace.PAYLOAD, keyspace.INDEX, keyspace.MOVES)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ArchivedWorld]:
    world = ArchivedWorld(tmp_path / "ledger")
    yield world
    world.store.close()


@pytest.fixture
def archive(world: ArchivedWorld) -> Archive:
    return open_archive(world.write_segments())


def prove_all(world: ArchivedWorld, archive: Archive | None) -> dict[bytes, bytes]:
    """Return the proof of every event that can be proven."""
    proofs: dict[bytes, bytes] = {}
    with world.store.snapshot() as snapshot:
        ledger = snapshot if archive is None else HotAndCold(snapshot, archive)
        for key, _ in snapshot.iterate(keyspace.EVENT_ID, keyspace.after(keyspace.EVENT_ID)):
            try:
                proofs[key[1:]] = make_event_proof(ledger, world.chain.head.height, key[1:])
            except ProofUnavailable:
                continue
    return proofs


def test_proofs_are_the_same_bytes_before_and_after(world: ArchivedWorld, archive: Archive) -> None:
    before = prove_all(world, None)
    assert id_of(world.events[0]) in before

    prune(world.store, archive.height)

    assert prove_all(world, archive) == before
    first = before[id_of(world.events[0])]
    assert verify_event_proof(first, world.chain.genesis, world.verify_certificate).receipt.height == 1
    assert id_of(world.events[0]) not in prove_all(world, None)


def test_what_is_pruned_is_gone_and_the_state_is_not(world: ArchivedWorld, archive: Archive) -> None:
    state = dict(world.store.iterate(keyspace.STATE, keyspace.after(keyspace.STATE)))

    dropped = prune(world.store, archive.height)

    assert dropped > 0
    assert all(SECRET.encode() not in value for _, value in world.store.iterate(b"", b"\xff"))
    for prefix in GONE:
        for key, _ in world.store.iterate(prefix, keyspace.after(prefix)):
            assert prefix == keyspace.PAYLOAD or int.from_bytes(key[-8:], "big") >= archive.log_size
    assert dict(world.store.iterate(keyspace.STATE, keyspace.after(keyspace.STATE))) == state
    assert read_history(world.store).pruned_to == archive.height
    assert read_history(world.store).blocks == 0


def test_a_pruned_chain_opens_executes_and_serves_no_pruned_block(world: ArchivedWorld, archive: Archive) -> None:
    prune(world.store, archive.height)

    again = Chain(world.store, world.chain.genesis, world.chain.registry)
    assert again.head.hash == world.chain.head.hash
    world.beat()
    for _ in range(EPOCH_BEATS):
        world.beat()
    answer = decode_record(Blocks, answer_range(world.chain, encode_record(BlockRange(1, archive.height))))
    assert answer.blocks == ()
    with pytest.raises(ReplayFailed, match="pruned"):
        replay_chain(world.store, world.chain.genesis, world.chain.registry)


def test_replay_from_the_archive_gives_the_digest_of_the_chain(world: ArchivedWorld, archive: Archive) -> None:
    header = world.chain.read_header(archive.height)
    assert header is not None
    prune(world.store, archive.height)

    replayed = replay_archive(archive, world.chain.genesis, world.chain.registry)

    assert replayed.state_digest == header.state_digest


@pytest.mark.parametrize("point", range(4))
def test_pruning_that_was_cut_off_is_done_again(
    world: ArchivedWorld, archive: Archive, point: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.pruning.KEYS_AT_ONCE", 8)
    store = MemoryStore("cut off", dict(world.store.iterate(b"", b"\xff")))
    points = iter(range(1_000))

    def lose_power(name: str) -> None:
        if name == "store written" and next(points) == point:
            raise PowerLost

    store.point = lose_power
    with pytest.raises(PowerLost):
        prune(store, archive.height)
    store.point = never
    assert read_history(store).misses(archive.height)

    prune(store, archive.height)
    prune(world.store, archive.height)

    assert dict(store.iterate(b"", b"\xff")) == dict(world.store.iterate(b"", b"\xff"))


def test_the_api_reads_what_is_pruned_from_the_archive(world: ArchivedWorld, archive: Archive, tmp_path: Path) -> None:
    first = event_text(id_of(world.events[0]))
    api = Api(tmp_path, world)
    try:
        before = [api.call("getEvent", event_id=first), api.call("getBlock", height=1)]
        proof = api.try_call("getProof", event_id=first).body
        prune(world.store, archive.height)

        assert api.problem("getEvent", event_id=first)["type"].endswith("history-missing")
        assert api.problem("getBlock", height=1)["type"].endswith("history-missing")
        assert api.problem("getProof", event_id=first)["status"] == 409

        api.node.archive = archive
        assert [api.call("getEvent", event_id=first), api.call("getBlock", height=1)] == before
        assert api.try_call("getProof", event_id=first).body == proof
    finally:
        api.server.stop()
