"""The executor: heights in order, once each, told when durable."""

import pytest
import trio

from ledger.transition import Executed
from node.block_fetch import ReplayDiffers
from node.executor import Executor
from node.judgement import NULL_PROPOSAL, Proposal
from social.posts import PostPublished
from tests.ledger.world import World


def proposal(world: World) -> Proposal:
    signed = world.sign(world.ada, PostPublished, text="Hello.", tags=())
    return Proposal(world.batch(signed), world.check(signed))


async def test_a_block_is_told_when_it_is_the_head(world: World) -> None:
    executor, told = Executor(world.chain), list[tuple[int, bool]]()

    def listen(executed: Executed) -> None:
        told.append((executed.header.height, executed.hash == world.chain.head.hash))

    executor.listen(listen)

    executed = await executor.execute(1, proposal(world))

    assert executed is not None
    assert told == [(1, True)]


async def test_a_height_that_is_there_is_not_executed_again(world: World) -> None:
    executor = Executor(world.chain)
    await executor.execute(1, NULL_PROPOSAL)

    assert await executor.execute(1, proposal(world)) is None
    assert world.chain.head.height == 1


async def test_a_height_is_not_left_out(world: World) -> None:
    with pytest.raises(AssertionError, match="in order"):
        await Executor(world.chain).execute(2, NULL_PROPOSAL)


async def test_two_callers_do_not_execute_a_height_twice(world: World) -> None:
    executor, results = Executor(world.chain), list[Executed | None]()

    async def run() -> None:
        results.append(await executor.execute(1, NULL_PROPOSAL))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        nursery.start_soon(run)

    assert [result is None for result in results] == [False, True]


async def test_a_replayed_block_must_give_the_header_that_was_certified(world: World) -> None:
    executor, told = Executor(world.chain), list[Executed]()
    executor.listen(told.append)
    good = proposal(world)
    expected = world.chain.compute(good.batch, good.checked).hash

    with pytest.raises(ReplayDiffers, match="height 1"):
        await executor.replay(1, good, bytes(32))
    nothing = (world.chain.head.height, told)[0]
    replayed = await executor.replay(1, good, expected)

    assert nothing == 0
    assert replayed is not None
    assert [executed.hash for executed in told] == [expected]
