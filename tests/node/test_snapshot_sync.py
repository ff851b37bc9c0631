"""Beginning from a snapshot: right, lying, silent and slow sources, cut off anywhere, across changes of the set."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from ledger import keyspace
from ledger.chain import Chain
from ledger.history import Gap, read_history
from ledger.primitives.records import decode_record, encode_record
from ledger.snapshots import SnapshotInvalid
from ledger.staging import Staging
from node import block_sync, replay
from node.block_fetch import BlockRange
from node.history_fill import HISTORY_REQUEST, Contents
from node.snapshot_fetch import (
    HEADERS_REQUEST,
    MANIFEST_REQUEST,
    PAGES_REQUEST,
    HeaderRange,
    ManifestAnswer,
    PagesAnswer,
)
from p2p.errors import PeerUnreachable
from simulations.disk import MemoryStore, PowerLost, never
from tests.ledger.changing_sets import EPOCH_BEATS, ChangingWorld
from tests.node.joining import SETS, Joining, honest, make_source
from tests.node.snapshot_lies import TRICKS, Change, forge, lying

BEATS = 5 * EPOCH_BEATS + 2
HEIGHT = 2 * BEATS
SNAPSHOT = 2 * 5 * EPOCH_BEATS - 1
"""The block in which epoch 5 began: headers commit to the tree of its state one beat later."""
HONEST, LIAR, OTHER = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
KEPT = (
    keyspace.STATE, keyspace.INDEX, keyspace.HEADER, keyspace.EVENT, keyspace.RECEIPT, keyspace.EVENT_ID,
    keyspace.LOG_NODE, keyspace.PAYLOAD,
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChangingWorld]:
    world = make_source(tmp_path_factory.mktemp("source") / "ledger", BEATS)
    yield world
    world.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ChangingWorld]:
    world = ChangingWorld(tmp_path / "ours", SETS)
    yield world
    world.close()


@pytest.fixture(autouse=True)
def _snapshots_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_sync, "SNAPSHOT_BLOCKS_MIN", 2)


def read_rows(chain: Chain, prefixes: tuple[bytes, ...] = KEPT) -> dict[bytes, bytes]:
    return {key: value for prefix in prefixes for key, value in chain.store.iterate(prefix, keyspace.after(prefix))}


async def test_the_state_is_taken_and_the_blocks_above_are_executed(
    world: ChangingWorld, source: ChangingWorld
) -> None:
    node = Joining(world, {HONEST: honest(source)})

    await node.run_until_idle(HEIGHT)

    assert node.blamed == []
    assert node.paused == 1
    assert node.chain.head.hash == source.chain.head.hash
    assert node.chain.validators == source.chain.validators
    assert read_rows(node.chain, (keyspace.STATE,)) == read_rows(source.chain, (keyspace.STATE,))
    assert read_history(node.chain.store).gaps == (Gap(1, SNAPSHOT),)
    assert node.chain.read_header(5) == source.chain.read_header(5)
    assert node.chain.read_block(5) is None
    assert node.chain.read_block(SNAPSHOT + 1) == source.chain.read_block(SNAPSHOT + 1)
    assert next(node.chain.store.iterate(keyspace.STAGED, keyspace.after(keyspace.STAGED)), None) is None


async def test_what_was_skipped_is_filled_until_both_stores_are_equal(
    world: ChangingWorld, source: ChangingWorld
) -> None:
    node = Joining(world, {HONEST: honest(source)})
    await node.run_until_idle(HEIGHT)

    await node.fill_history()

    assert read_rows(node.chain) == read_rows(source.chain)
    replayed = replay.replay_chain(world.store, node.chain.genesis, node.chain.registry)
    assert (replayed.height, replayed.header_hash) == (HEIGHT, source.chain.head.hash)


async def test_who_began_from_a_snapshot_executes_further_and_opens_again(
    world: ChangingWorld, source: ChangingWorld, tmp_path: Path
) -> None:
    node = Joining(world, {HONEST: honest(source)})
    await node.run_until_idle(HEIGHT)
    node.chain.tree_builder = None

    for _ in range(2 * EPOCH_BEATS):
        world.beat()
    height = world.chain.head.height
    world.close()
    again = ChangingWorld(tmp_path / "ours", SETS)

    assert again.chain.head.height == height
    assert again.chain.head.header.state_height > SNAPSHOT
    again.close()


async def test_who_is_behind_keeps_its_own_blocks(world: ChangingWorld, source: ChangingWorld) -> None:
    own = Joining(world, {HONEST: honest(source)}, events_min=10**6)
    await own.run_until_idle(6)
    assert own.count_asked(MANIFEST_REQUEST) == 0

    node = Joining(world, {HONEST: honest(source)})
    await node.run_until_idle(HEIGHT)

    assert read_history(node.chain.store).gaps == (Gap(7, SNAPSHOT),)
    assert node.chain.read_block(6) == source.chain.read_block(6)
    await node.fill_history()
    assert read_rows(node.chain) == read_rows(source.chain)


async def test_a_snapshot_that_skips_little_is_not_taken(world: ChangingWorld, source: ChangingWorld) -> None:
    header = source.chain.read_header(SNAPSHOT)
    assert header is not None
    node = Joining(world, {HONEST: honest(source)}, events_min=header.log_size + 1)

    await node.run_until_idle(HEIGHT)

    assert node.paused == 0
    assert node.chain.head.hash == source.chain.head.hash
    assert not read_history(node.chain.store).gaps


# Lying sources.


@pytest.mark.parametrize("trick", sorted(TRICKS))
async def test_a_lie_is_found_out_and_the_others_are_asked(
    world: ChangingWorld, source: ChangingWorld, trick: str
) -> None:
    kind, shape, change = TRICKS[trick]
    node = Joining(world, {LIAR: lying(source, kind, shape, change), HONEST: honest(source)})

    await node.run_until_idle(HEIGHT)

    assert frozenset(node.blamed) == {LIAR}
    assert node.paused == 1
    assert node.chain.head.hash == source.chain.head.hash
    assert read_rows(node.chain, (keyspace.STATE,)) == read_rows(source.chain, (keyspace.STATE,))


@pytest.mark.parametrize("trick", sorted(TRICKS))
async def test_liars_alone_bring_no_wrong_byte_in(world: ChangingWorld, source: ChangingWorld, trick: str) -> None:
    """They answer requests for blocks honestly: then the node executes everything, and is where it should be."""
    kind, shape, change = TRICKS[trick]
    node = Joining(world, {LIAR: lying(source, kind, shape, change)})

    await node.run_until_idle(HEIGHT)

    assert LIAR in node.blamed
    assert node.paused == 0
    assert node.chain.head.hash == source.chain.head.hash


HISTORY_TRICKS: dict[str, Change] = {
    "an event left out": lambda block: replace(block, items=block.items[1:]),
    "a receipt left out": lambda block: replace(block, receipts=block.receipts[1:]),
    "another receipt": lambda block: replace(block, receipts=(*block.receipts[:-1], block.receipts[-1][:-1] + b"\x01")),
    "another signature": lambda block: replace(
        block, items=tuple(replace(item, signature=bytes(64)) for item in block.items)
    ),
    "another payload": lambda block: replace(
        block, items=tuple(replace(item, payload=b"\xc0") for item in block.items)
    ),
}


@pytest.mark.parametrize("trick", sorted(HISTORY_TRICKS))
async def test_a_lie_about_history_is_found_out(world: ChangingWorld, source: ChangingWorld, trick: str) -> None:
    def change(found: Contents) -> Contents:
        edited = tuple(HISTORY_TRICKS[trick](block) if block.items else block for block in found.blocks)
        return Contents(edited)

    node = Joining(world, {LIAR: lying(source, HISTORY_REQUEST, Contents, change), HONEST: honest(source)})
    await node.run_until_idle(HEIGHT)

    await node.fill_history()

    assert LIAR in node.blamed
    assert read_rows(node.chain) == read_rows(source.chain)


async def test_more_history_than_was_asked_for_is_left(world: ChangingWorld, source: ChangingWorld) -> None:
    right = honest(source)

    async def generous(kind: str, body: bytes) -> bytes:
        if kind == HISTORY_REQUEST:
            body = encode_record(replace(decode_record(BlockRange, body), last=HEIGHT))
        return await right(kind, body)

    node = Joining(world, {HONEST: generous})
    await node.run_until_idle(HEIGHT)

    await node.fill_history()

    assert node.blamed == []
    assert read_rows(node.chain) == read_rows(source.chain)


# Silent and slow sources.


async def test_sources_that_fail_are_left_and_the_rest_is_fetched_from_others(
    world: ChangingWorld, source: ChangingWorld
) -> None:
    right, answered = honest(source), [0]

    async def failing(kind: str, body: bytes) -> bytes:
        answered[0] += kind == PAGES_REQUEST
        if answered[0] > 3:
            raise PeerUnreachable("gone")
        return await right(kind, body)

    async def without(kind: str, body: bytes) -> bytes:
        if kind == MANIFEST_REQUEST:
            return encode_record(ManifestAnswer(None))
        return await right(kind, body)

    node = Joining(world, {LIAR: failing, OTHER: without, HONEST: right})

    await node.run_until_idle(HEIGHT)

    assert node.paused == 1
    assert node.blamed == []
    assert {peer for peer, kind in node.asked if kind == PAGES_REQUEST} == {LIAR, OTHER, HONEST}
    assert node.chain.head.hash == source.chain.head.hash


async def test_a_source_that_never_answers_does_not_hold_up_the_end(
    world: ChangingWorld, source: ChangingWorld
) -> None:
    right = honest(source)

    async def silent(kind: str, body: bytes) -> bytes:
        if kind == PAGES_REQUEST:
            await trio.sleep_forever()
        return await right(kind, body)

    node = Joining(world, {LIAR: silent, HONEST: right})

    await node.run_until_idle(HEIGHT)

    assert node.paused == 1
    assert node.chain.head.hash == source.chain.head.hash


async def test_a_source_that_gives_one_header_at_a_time_does_not_hold_up_the_others(
    world: ChangingWorld, source: ChangingWorld
) -> None:
    right = honest(source)

    async def dripping(kind: str, body: bytes) -> bytes:
        if kind == HEADERS_REQUEST:
            wanted = decode_record(HeaderRange, body)
            body = encode_record(HeaderRange(wanted.first, wanted.first))
        return await right(kind, body)

    node = Joining(world, {LIAR: dripping, HONEST: right})

    await node.run_until_idle(HEIGHT)

    assert node.paused == 1
    assert node.asked.count((LIAR, HEADERS_REQUEST)) == 1
    assert node.chain.head.hash == source.chain.head.hash


async def test_a_snapshot_that_nobody_keeps_leaves_the_blocks(world: ChangingWorld, source: ChangingWorld) -> None:
    def forget(found: PagesAnswer) -> PagesAnswer:
        return replace(found, pages=None)

    node = Joining(world, {HONEST: lying(source, PAGES_REQUEST, PagesAnswer, forget)})

    await node.run_until_idle(HEIGHT)

    assert node.paused == 0
    assert node.blamed == []
    assert node.chain.head.hash == source.chain.head.hash


# Cut off.


async def test_what_was_fetched_before_a_stop_is_not_fetched_again(
    world: ChangingWorld, source: ChangingWorld, tmp_path: Path
) -> None:
    right, answered = honest(source), [0]

    async def stopping(kind: str, body: bytes) -> bytes:
        answered[0] += kind == PAGES_REQUEST
        if answered[0] > 20:
            raise KeyboardInterrupt
        return await right(kind, body)

    node = Joining(world, {HONEST: stopping})
    with pytest.raises(BaseExceptionGroup):
        await node.run_until_idle(HEIGHT)
    assert Staging(world.store).plan is not None
    world.close()

    again = ChangingWorld(tmp_path / "ours", SETS)
    node = Joining(again, {HONEST: right})
    await node.run_until_idle(HEIGHT)

    assert again.chain.head.hash == source.chain.head.hash
    assert node.paused == 1
    assert node.count_asked(HEADERS_REQUEST) == 0
    assert node.count_asked(PAGES_REQUEST) == 64 - 20
    again.close()


async def stage(world: ChangingWorld, source: ChangingWorld) -> None:
    """Fetch a snapshot, and stop before it is installed."""

    class Stopped(Exception):
        pass

    async def stop() -> None:
        raise Stopped

    node = Joining(world, {HONEST: honest(source)})
    node.snapshots._pause = stop  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(BaseExceptionGroup):
        await node.run_until_idle(HEIGHT)


async def test_pages_that_do_not_have_the_digest_of_the_header_change_nothing(
    world: ChangingWorld, source: ChangingWorld
) -> None:
    """Root and digest are two commitments of one header; that they differ would be a fault of those who signed it."""
    await stage(world, source)
    key = keyspace.staged(keyspace.header(SNAPSHOT))
    world.store.write([(key, forge(world.store.get(key) or b"", state_digest=bytes(32)))], [])
    before = world.chain.head

    with pytest.raises(SnapshotInvalid, match="state digest"):
        world.chain.install_snapshot()

    assert world.chain.head == before
    assert Chain(world.store, world.chain.genesis, world.chain.registry).head == before


async def test_an_installation_that_is_cut_off_anywhere_is_finished_at_the_next_start(
    world: ChangingWorld, source: ChangingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever of the unsynced writes is lost: the store opens with the old state as a whole, or the new one."""

    monkeypatch.setattr("ledger.staging.KEYS_AT_ONCE", 16)

    await stage(world, source)
    rows = dict(world.store.iterate(b"", b"\xff"))
    heights: list[int] = []
    for point in range(1_000):
        store = MemoryStore("cut off", rows)
        writes = iter(range(1_000))

        def lose_power(name: str, writes: Iterator[int] = writes, point: int = point) -> None:
            if next(writes) == point:
                raise PowerLost

        store.point = lose_power
        try:
            Staging(store).install()
        except PowerLost:
            store.point = never
            store.crash(random.Random(point))
            chain = Chain(store, world.chain.genesis, world.chain.registry)
            heights.append(chain.head.height)
            continue
        break
    assert heights == [0] * heights.count(0) + [SNAPSHOT] * heights.count(SNAPSHOT)
    assert heights.count(0) <= 2 < heights.count(SNAPSHOT)
