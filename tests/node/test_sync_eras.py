"""Catching up across changes of the validator set: each set's blocks by its own certificates, and none by another's."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.block import StoredBlock
from ledger.primitives.records import decode_record, encode_record
from ledger.primitives.signing import SigningKey
from node.block_fetch import BlockRange, Blocks, answer_range
from node.replay import ReplayFailed, replay_chain
from tests.ledger.changing_sets import EPOCH_BEATS, JOINER, ChangingWorld
from tests.ledger.world import VALIDATORS
from tests.node.test_block_sync import HONEST, LIAR, Answer, Syncing, honest

FRESH = tuple(SigningKey(bytes([220 + number]) * 32) for number in range(3))
SETS = {0: (*VALIDATORS, JOINER), 1: (*VALIDATORS[1:], JOINER), 2: (JOINER, *FRESH)}
LAST = (EPOCH_BEATS, 2 * EPOCH_BEATS, 3 * EPOCH_BEATS)
HEIGHT = LAST[2] + 3


@pytest.fixture
def source(tmp_path: Path) -> Iterator[ChangingWorld]:
    """A chain whose set changed three times, the last time to others altogether but one."""
    world = ChangingWorld(tmp_path / "source", SETS)
    while world.chain.head.height < HEIGHT:
        world.beat()
    yield world
    world.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ChangingWorld]:
    world = ChangingWorld(tmp_path / "ours", SETS)
    yield world
    world.close()


async def test_blocks_of_all_eras_are_fetched_in_one_go(world: ChangingWorld, source: ChangingWorld) -> None:
    node = Syncing(world, {HONEST: honest(source)})

    await node.run_until_idle(HEIGHT)

    assert node.blamed == []
    assert len(node.asked) == 1
    assert world.chain.head.hash == source.chain.head.hash
    assert world.chain.validators.era == 3
    assert [world.chain.validators_at(last + 1).since for last in LAST] == [last + 1 for last in LAST]


@pytest.mark.parametrize("last", LAST)
async def test_a_block_of_the_new_set_certified_by_the_old_one_is_refused(
    world: ChangingWorld, source: ChangingWorld, last: int
) -> None:
    quorum = source.chain.validators_at(last).quorum
    forged = source.certify(last + 1, source.keys_at(last)[:quorum])
    node = Syncing(world, {LIAR: lying_at(source, last + 1, lambda block: replace(block, certificate=forged))})

    await node.run_until_idle(HEIGHT)

    assert frozenset(node.blamed) == {LIAR}
    assert node.height == last


async def test_the_last_block_of_an_era_is_not_proven_by_one_of_the_next(
    world: ChangingWorld, source: ChangingWorld
) -> None:
    """The next set is what that block says: whoever invents the block could invent the set."""
    node = Syncing(world, {LIAR: lying_at(source, LAST[0], lambda block: replace(block, certificate=b""))})

    await node.run_until_idle(HEIGHT)

    assert frozenset(node.blamed) == {LIAR}
    assert node.height == 0


async def test_a_source_that_lacks_the_certificate_of_a_hand_over_gives_what_is_below(
    world: ChangingWorld, source: ChangingWorld
) -> None:
    source.chain.write_certificate(LAST[0], b"")
    node = Syncing(world, {HONEST: honest(source)})

    await node.run_until_idle(HEIGHT)

    assert node.blamed == []
    assert node.height == LAST[0] - 1


async def test_a_block_inside_an_era_may_lack_its_certificate(world: ChangingWorld, source: ChangingWorld) -> None:
    source.chain.write_certificate(LAST[0] + 1, b"")
    node = Syncing(world, {HONEST: honest(source)})

    await node.run_until_idle(HEIGHT)

    assert node.height == HEIGHT


def test_replay_follows_the_sets(source: ChangingWorld) -> None:
    replayed = replay_chain(source.store, source.chain.genesis, source.chain.registry)
    assert (replayed.height, replayed.certificates) == (HEIGHT, HEIGHT)

    source.chain.write_certificate(LAST[2] + 1, source.certify(LAST[2] + 1, source.keys_at(LAST[2])))
    with pytest.raises(ReplayFailed, match=f"height {LAST[2] + 1}: the certificate does not verify"):
        replay_chain(source.store, source.chain.genesis, source.chain.registry)


def lying_at(source: ChangingWorld, height: int, change: Callable[[StoredBlock], StoredBlock]) -> Answer:
    """Answer with honest blocks, but one of them changed."""

    async def answer(body: bytes) -> bytes:
        found = decode_record(Blocks, answer_range(source.chain, body))
        first = decode_record(BlockRange, body).first
        blocks = tuple(
            change(block) if first + at == height else block for at, block in enumerate(found.blocks)
        )  # fmt: skip
        return encode_record(replace(found, blocks=blocks))

    return answer
