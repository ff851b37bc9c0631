"""An auditor among liars: three of its four sources lie, and it ends with the validators' chain, every byte checked."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from ledger import keyspace
from ledger.block import decode_header, encode_header
from ledger.primitives.ids import IdKind, encode_id
from ledger.primitives.records import encode_record
from node import block_pool, block_sync
from node.block_fetch import BlockRange, Blocks
from node.checkpoint import Checkpoint, CheckpointInvalid, parse_checkpoint
from node.snapshot_fetch import HEADERS_REQUEST, Headers
from p2p.errors import PeerUnreachable
from tests.ledger.changing_sets import EPOCH_BEATS, ChangingWorld
from tests.node.joining import BLOCKS, SETS, Answer, Joining, honest, make_source
from tests.node.snapshot_lies import TRICKS, edit_header, lying

BEATS = 5 * EPOCH_BEATS + 2
HEIGHT = 2 * BEATS
HONEST = b"\x04" * 32
LIARS = tuple(bytes([number]) * 32 for number in (1, 2, 3))


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
def _is_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_sync, "HEADERS_FIRST_BLOCKS_MIN", 2)
    monkeypatch.setattr(block_sync, "SNAPSHOT_BLOCKS_MIN", 2)


# Tricks with blocks: those with headers are in `snapshot_lies`.


def drip(source: ChangingWorld) -> Answer:
    return lying(source, BLOCKS, Blocks, lambda found: replace(found, blocks=found.blocks[:1]))


def false_heights(source: ChangingWorld) -> Answer:
    right = honest(source)

    async def answer(kind: str, body: bytes) -> bytes:
        if kind == BLOCKS:
            return encode_record(Blocks((), 2**60))
        return await right(kind, body) if kind != HEADERS_REQUEST else encode_record(Headers((), (), None))

    return answer


def forged_certificates(source: ChangingWorld) -> Answer:
    def forge(found: Blocks) -> Blocks:
        first, *others = found.blocks
        return replace(found, blocks=(replace(first, certificate=first.certificate[:-1] + b"\x01"), *others))

    return lying(source, BLOCKS, Blocks, lambda found: forge(found) if found.blocks else found)


def another_set(source: ChangingWorld) -> Answer:
    """Every block names another validator set for the next height."""

    def edit(found: Blocks) -> Blocks:
        headers = [replace(decode_header(block.header), validators_hash=bytes(32)) for block in found.blocks]
        pairs = zip(found.blocks, headers, strict=True)
        return replace(found, blocks=tuple(replace(block, header=encode_header(header)) for block, header in pairs))

    return lying(source, BLOCKS, Blocks, edit)


def other_events(source: ChangingWorld) -> Answer:
    def swap(found: Blocks) -> Blocks:
        return replace(found, blocks=tuple(replace(block, items=block.items[::-1][:1]) for block in found.blocks))

    return lying(source, BLOCKS, Blocks, swap)


def other_headers(source: ChangingWorld) -> Answer:
    return lying(
        source,
        HEADERS_REQUEST,
        Headers,
        lambda found: edit_header(found, state_root=bytes(32)) if found.headers else found,
    )


def silent(source: ChangingWorld) -> Answer:
    async def answer(kind: str, body: bytes) -> bytes:
        raise PeerUnreachable("no answer in time")

    return answer


def garbage(source: ChangingWorld) -> Answer:
    async def answer(kind: str, body: bytes) -> bytes:
        return b"\xc1" * 1_000

    return answer


def unasked_blocks(source: ChangingWorld) -> Answer:
    right = honest(source)

    async def answer(kind: str, body: bytes) -> bytes:
        return await right(kind, encode_record(BlockRange(1, 10)) if kind == BLOCKS else body)

    return answer


LIES: dict[str, Callable[[ChangingWorld], Answer]] = {
    "drip": drip,
    "false heights": false_heights,
    "forged certificates": forged_certificates,
    "another set": another_set,
    "other events": other_events,
    "other headers": other_headers,
    "silent": silent,
    "garbage": garbage,
    "unasked blocks": unasked_blocks,
}


def read_rows(world: ChangingWorld) -> dict[bytes, bytes]:
    kinds = (
        keyspace.STATE, keyspace.INDEX, keyspace.HEADER, keyspace.EVENT, keyspace.RECEIPT, keyspace.LOG_NODE,
        keyspace.PAYLOAD,
    )  # fmt: skip
    return {
        key: value for kind in kinds for key, value in world.chain.store.iterate(kind, keyspace.after(kind))
    }  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("audits", [True, False])
async def test_three_with_the_same_lie_of_four_do_not_keep_it_from_the_right_chain(
    world: ChangingWorld, source: ChangingWorld, lie: str, audits: bool
) -> None:
    """Executing everything, or from a snapshot; the three are asked first."""
    node = Joining(
        world, {**{liar: LIES[lie](source) for liar in LIARS}, HONEST: honest(source)}, audits=audits
    )  # fmt: skip

    await node.run_until_idle(2**60)
    if not audits:
        await node.fill_history()

    assert HONEST not in node.blamed
    assert world.chain.head.height == HEIGHT
    assert read_rows(world) == read_rows(source)


@pytest.mark.parametrize("seed", range(12))
async def test_three_that_lie_in_different_ways_now_and_then(
    world: ChangingWorld, source: ChangingWorld, seed: int
) -> None:
    stream = random.Random(seed)
    right = honest(source)
    kinds = [LIES[stream.choice(sorted(LIES))](source) for _ in LIARS]
    kind, shape, change = TRICKS[stream.choice(sorted(TRICKS))]
    kinds[0] = lying(source, kind, shape, lambda found: change(found) if _has_something(found) else found)

    def sometimes(lie: Answer) -> Answer:
        async def answer(kind: str, body: bytes) -> bytes:
            return await (lie if stream.random() < 0.7 else right)(kind, body)

        return answer

    sources = {liar: sometimes(lie) for liar, lie in zip(LIARS, kinds, strict=True)}
    node = Joining(world, {**sources, HONEST: right}, audits=stream.random() < 0.7)

    await node.run_until_idle(2**60)
    await node.fill_history()

    assert HONEST not in node.blamed
    assert world.chain.head.height == HEIGHT
    assert read_rows(world) == read_rows(source)


def _has_something(found: object) -> bool:
    return any(getattr(found, name, None) for name in ("headers", "manifest", "pages"))


async def test_a_peer_that_never_answers_costs_only_its_own_range(
    world: ChangingWorld, source: ChangingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_pool, "OVERDUE_S", 0.05)

    async def hangs(kind: str, body: bytes) -> bytes:
        if kind == BLOCKS:
            await trio.sleep_forever()
        return await honest(source)(kind, body)

    node = Joining(world, {LIARS[0]: hangs, HONEST: honest(source)}, audits=True)

    await node.run_until_idle(HEIGHT)

    assert (LIARS[0], BLOCKS) in node.asked
    assert world.chain.head.height == HEIGHT


async def test_headers_are_proven_before_a_block_is_asked_for(world: ChangingWorld, source: ChangingWorld) -> None:
    node = Joining(world, {HONEST: honest(source)}, audits=True)

    await node.run_until_idle(2**60)

    kinds = [kind for _, kind in node.asked]
    first_block = kinds.index(BLOCKS)
    assert set(kinds[:first_block]) == {HEADERS_REQUEST}
    staged = world.chain.store.iterate(keyspace.STAGED, keyspace.after(keyspace.STAGED))
    assert list(staged) == [], "what was staged is dropped when its blocks are here"


# The pinned checkpoint.


def block_of(world: ChangingWorld, height: int) -> bytes:
    reference = world.chain.references(height)
    assert reference is not None
    return reference[0]


@pytest.mark.parametrize("audits", [True, False])
async def test_a_chain_with_the_pinned_block_is_taken(
    world: ChangingWorld, source: ChangingWorld, audits: bool
) -> None:
    pinned = Checkpoint(40, block_of(source, 40))
    node = Joining(world, {HONEST: honest(source)}, audits=audits, checkpoint=pinned)

    await node.run_until_idle(HEIGHT)

    assert node.blamed == []
    assert world.chain.head.hash == source.chain.head.hash
    pinned.verify_chain(world.chain)


@pytest.mark.parametrize("audits", [True, False])
@pytest.mark.parametrize("headers_first", [True, False])
async def test_a_certified_chain_without_the_pinned_block_is_refused(
    world: ChangingWorld,
    source: ChangingWorld,
    audits: bool,
    headers_first: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its certificates are right: it is the history that somebody made with old keys."""
    if not headers_first:
        monkeypatch.setattr(block_sync, "HEADERS_FIRST_BLOCKS_MIN", 2**60)
        monkeypatch.setattr(block_sync, "SNAPSHOT_BLOCKS_MIN", 2**60)
    node = Joining(world, {HONEST: honest(source)}, audits=audits, checkpoint=Checkpoint(40, bytes(32)))

    await node.run_until_idle(HEIGHT)

    assert node.blamed
    assert world.chain.head.height < 40


def test_a_folder_with_another_chain_is_named(source: ChangingWorld) -> None:
    with pytest.raises(CheckpointInvalid, match="another block at height 40 than the pinned"):
        Checkpoint(40, bytes(32)).verify_chain(source.chain)
    Checkpoint(HEIGHT + 1, bytes(32)).verify_chain(source.chain)  # it has not come to that


def test_a_checkpoint_is_read_as_the_api_shows_it() -> None:
    text = encode_id(IdKind.BLOCK, bytes(32))
    assert parse_checkpoint("") is None
    assert parse_checkpoint(f"12:{text}") == Checkpoint(12, bytes(32))
    for wrong in (
        text,
        f":{text}",
        f"0:{text}",
        f"-1:{text}",
        f"1²:{text}",
        f"1:{text[:-1]}",
        "12:",
        f"{10**20}:{text}",
    ):
        with pytest.raises(CheckpointInvalid, match="expected a checkpoint like 1000:blk1…"):
            parse_checkpoint(wrong)
