"""The archivist: a running node's archive grows epoch by epoch, and its store stays small."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.archive.collection import HotAndCold
from ledger.archive.erasure import erase_payloads
from ledger.history import Gap, History, encode_history, read_history
from ledger.primitives.records import decode_record, encode_record
from ledger.proofs import make_event_proof, verify_event_proof
from node.archive_store import ArchiveStore, name_segment
from node.archivist import Archivist
from node.block_fetch import BlockRange, Blocks, answer_range
from node.cold_epochs import ColdEpochs
from node.executor import Executor
from node.history_fill import Contents, answer_history
from node.replay import replay_archive
from tests.archive.chains import EPOCHS, SECRET, SETS, ArchivedWorld
from tests.ledger.changing_sets import ChangingWorld
from tests.ledger.world import id_of
from tests.node.test_block_sync import HONEST, Syncing

KEEP_EPOCHS = 2


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ArchivedWorld]:
    world = ArchivedWorld(tmp_path / "ledger")
    yield world
    world.store.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "archive")


def make_archivist(world: ArchivedWorld, url: str, *, writes: bool = True, keep_epochs: int = KEEP_EPOCHS) -> Archivist:
    return Archivist(world.chain, Executor(world.chain), url, writes=writes, keep_epochs=keep_epochs)


def list_files(url: str) -> list[Path]:
    return list(Path(url).iterdir()) if Path(url).exists() else []


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def holds_secret(world: ArchivedWorld) -> bool:
    return any(SECRET.encode() in value for _, value in world.store.iterate(b"", b"\xff"))


async def test_whole_epochs_are_written_and_all_but_the_newest_dropped(world: ArchivedWorld, url: str) -> None:
    with world.store.snapshot() as snapshot:
        before = make_event_proof(snapshot, world.chain.head.height, id_of(world.events[0]))
    assert holds_secret(world)

    await make_archivist(world, url).work()

    archive = ArchiveStore(url).open_archive()
    assert len(archive.segments) == EPOCHS
    epoch = world.chain.head.header.epoch
    assert read_history(world.store).pruned_to == archive.segments[epoch - KEEP_EPOCHS].summary.last_height
    assert not holds_secret(world), "it was said in the first epoch"
    with world.store.snapshot() as snapshot:
        after = make_event_proof(HotAndCold(snapshot, archive), world.chain.head.height, id_of(world.events[0]))
    assert after == before
    assert verify_event_proof(after, world.chain.genesis, world.verify_certificate).receipt.height == 1
    replayed = replay_archive(archive, world.chain.genesis, world.chain.registry)
    assert replayed.height == archive.height


async def test_what_is_pruned_is_served_from_the_archive_byte_for_byte(world: ArchivedWorld, url: str) -> None:
    wanted = encode_record(BlockRange(1, world.chain.head.height))
    blocks, contents = answer_range(world.chain, wanted), answer_history(world.chain, wanted)

    await make_archivist(world, url).work()

    assert decode_record(Blocks, answer_range(world.chain, wanted)).blocks == ()
    assert decode_record(Contents, answer_history(world.chain, wanted)).blocks == ()
    cold = ColdEpochs(url)
    assert answer_range(world.chain, wanted, cold.open) == blocks
    assert answer_history(world.chain, wanted, cold.open) == contents


async def test_a_newcomer_executes_everything_from_a_pruned_node(
    world: ArchivedWorld, url: str, tmp_path: Path
) -> None:
    await make_archivist(world, url).work()
    cold = ColdEpochs(url)

    async def answer(body: bytes) -> bytes:
        return answer_range(world.chain, body, cold.open)

    newcomer = ChangingWorld(tmp_path / "newcomer", SETS)
    node = Syncing(newcomer, {HONEST: answer})
    await node.run_until_idle(world.chain.head.height)

    certified = decode_record(Blocks, await answer(encode_record(BlockRange(1, world.chain.head.height)))).blocks
    assert newcomer.chain.head.height == len(certified)
    assert node.blamed == []
    newcomer.close()


async def test_a_damaged_archive_is_not_pruned_by_and_the_node_goes_on(world: ArchivedWorld, url: str) -> None:
    await make_archivist(world, url, keep_epochs=0).work()
    flip_a_byte(sorted(list_files(url))[0])

    await make_archivist(world, url).work()

    assert read_history(world.store).pruned_to == 0
    assert holds_secret(world)


async def test_nothing_is_pruned_that_has_yet_to_come(world: ArchivedWorld, url: str) -> None:
    await make_archivist(world, url, keep_epochs=0).work()
    world.store.write([encode_history(History(gaps=(Gap(2, 3),)))], [])

    await make_archivist(world, url, writes=False).work()

    assert read_history(world.store) == History(gaps=(Gap(2, 3),))
    assert holds_secret(world)


async def test_without_an_archive_nothing_is_pruned(world: ArchivedWorld, url: str) -> None:
    await make_archivist(world, url, writes=False).work()

    assert read_history(world.store).pruned_to == 0
    assert list_files(url) == []


async def test_a_killed_pruning_is_finished_by_the_next(world: ArchivedWorld, url: str) -> None:
    archivist = make_archivist(world, url, keep_epochs=0)
    await archivist.work()
    height = ArchiveStore(url).open_archive().segments[0].summary.last_height
    world.store.write([encode_history(History(pruned_to=height))], [])  # it said so, and was killed
    assert holds_secret(world)

    await make_archivist(world, url).work()

    assert not holds_secret(world)
    assert read_history(world.store).pruned_to > height


def test_a_segment_that_is_written_anew_is_opened_anew(world: ArchivedWorld, url: str) -> None:
    """A text was erased while the node had the archive open: what it knew of the file is no longer so."""
    store = ArchiveStore(url)
    for number, data in enumerate(world.write_segments()):
        store.write(name_segment(number, number), [data])
    cold = ColdEpochs(url)
    opened = cold.open()
    assert opened is not None
    assert cold.open() is opened, "as long as nothing changes it stays open"
    place = opened.find_event(world.id_of_secret())
    assert place is not None
    stored = opened.read_event(place).stored
    assert stored is not None
    assert stored.content is not None

    segment = opened.segments[0]
    store.write(segment.name, erase_payloads(segment, [stored.content]))

    again = cold.open()
    assert again is not None
    assert again is not opened
    assert again.read_event(place).payload is None
