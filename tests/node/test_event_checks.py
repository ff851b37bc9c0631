"""Events of fetched blocks, checked in a process of their own: the same verdicts, and no harm when it goes."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from ledger import events
from ledger.primitives.records import encode_record
from ledger.primitives.signing import Purpose, is_valid_signature
from ledger.receipts import APPLIED, SKIPPED
from node import block_sync
from node.block_fetch import BlockRange, ReplayDiffers, answer_range
from node.event_checks import CheckerGone, EventChecker
from social.posts import PostPublished
from tests.ledger.world import World
from tests.node.test_block_sync import HONEST, Syncing, certify, honest

BLOCKS = 5


@pytest.fixture
def source(tmp_path: Path) -> Iterator[World]:
    """Posts, and at height 4 one whose signature is wrong, so that all skipped it."""
    world = World(tmp_path / "source")
    for height in range(1, BLOCKS + 1):
        if height == 4:
            signed = world.sign(world.ben, PostPublished, text="Not by Ben.", tags=())
            receipt = world.execute(replace(signed, payload=None, signature=bytes(64))).receipts[0]
            assert receipt.outcome == SKIPPED
        else:
            world.do(world.ada, PostPublished, text=f"Post {height}.", tags=())
        world.chain.write_certificate(height, certify(world, height))
    yield world
    world.close()


@pytest.fixture
async def checker(world: World) -> AsyncIterator[EventChecker]:
    checker = EventChecker(world.chain.chain_id)
    yield checker
    await checker.aclose()


def read_all(world: World) -> bytes:
    return answer_range(world.chain, encode_record(BlockRange(1, world.chain.head.height)))


async def test_the_process_finds_what_is_wrong_and_nothing_else(source: World, checker: EventChecker) -> None:
    assert await checker.check(read_all(source)) == {(4, 0)}
    assert await checker.check(read_all(source)) == {(4, 0)}, "it goes on after an answer"


async def test_garbage_does_not_end_the_process(source: World, checker: EventChecker) -> None:
    assert await checker.check(b"\xc1" * 50) == frozenset()
    assert await checker.check(read_all(source)) == {(4, 0)}


async def test_a_process_that_was_killed_is_told_and_the_next_one_works(source: World, checker: EventChecker) -> None:
    await checker.check(read_all(source))
    assert checker.process is not None
    checker.process.kill()
    await checker.process.wait()

    with pytest.raises(CheckerGone, match="ended"):
        await checker.check(read_all(source))
    assert await checker.check(read_all(source)) == {(4, 0)}


async def test_a_check_that_was_given_up_leaves_no_answer_for_the_next(source: World, checker: EventChecker) -> None:
    await checker.check(b"\xc1" * 50)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checker.check, read_all(source))
        await trio.testing.wait_all_tasks_blocked()  # the question is sent, the answer not read
        nursery.cancel_scope.cancel()

    assert await checker.check(b"\xc1" * 50) == frozenset()
    assert await checker.check(read_all(source)) == {(4, 0)}


@pytest.mark.parametrize("is_killed", [False, True])
async def test_whoever_is_far_behind_has_events_checked_apart_with_the_same_result(
    world: World, source: World, checker: EventChecker, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    monkeypatch.setattr(block_sync, "CHECKED_APART_BLOCKS_MIN", 2)
    if is_killed:
        await checker.check(read_all(source))
        assert checker.process is not None
        checker.process.kill()
    checked_here: list[bytes] = []

    def check(public: bytes, chain_id: bytes, purpose: Purpose, message: bytes, signature: bytes) -> bool:
        checked_here.append(signature)
        return is_valid_signature(public, chain_id, purpose, message, signature)

    monkeypatch.setattr(events, "is_valid_signature", check)
    node = Syncing(world, {HONEST: honest(source)}, checker=checker)

    await node.run_until_idle(BLOCKS)

    assert node.blamed == []
    assert world.chain.head.hash == source.chain.head.hash
    assert len(checked_here) == (BLOCKS if is_killed else 1), "what the process refuses is looked at here once more"
    assert checker.process is None, "it ends when nothing is left to fetch"


async def test_a_quorum_that_applied_an_event_which_nobody_signed_is_found_out(
    world: World, source: World, checker: EventChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All validators together lie: their certificates are right, what they certify is not."""
    monkeypatch.setattr(block_sync, "CHECKED_APART_BLOCKS_MIN", 2)
    signed = source.sign(source.ada, PostPublished, text="Never signed by Ada.", tags=())
    with monkeypatch.context() as bribed:
        bribed.setattr(events, "is_valid_signature", lambda *given: True)
        assert source.execute(replace(signed, payload=None, signature=bytes(64))).receipts[0].outcome == APPLIED
    source.chain.write_certificate(BLOCKS + 1, certify(source, BLOCKS + 1))
    node = Syncing(world, {HONEST: honest(source)}, checker=checker)

    with pytest.RaisesGroup(ReplayDiffers, flatten_subgroups=True):
        await node.run_until_idle(BLOCKS + 1)

    assert node.height == BLOCKS
