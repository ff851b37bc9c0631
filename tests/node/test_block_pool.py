"""Several peers at once: nobody is asked for what another one has under way, and nobody who is slow holds it up."""

from collections.abc import Callable

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from ledger.block import StoredBlock
from node.block_fetch import RANGE_BLOCKS_MAX, BlockRange
from node.block_pool import AHEAD_BLOCKS_MAX, AHEAD_BYTES_MAX, OVERDUE_S, Answered, BlockPool

PEERS = tuple(bytes([number]) * 32 for number in range(1, 6))
BLOCK = StoredBlock(b"", b"\x01", ())


def make_answer(peer: bytes, wanted: BlockRange, count: int | None = None, size: int = 1_000) -> Answered:
    asked = wanted.last - wanted.first + 1
    return Answered(peer, wanted.first, (BLOCK,) * (asked if count is None else min(count, asked)), size, None)


async def take_now(pool: BlockPool, peer: bytes) -> BlockRange | None:
    """Return what the peer is to be asked for right now, None where that is nothing."""
    with trio.move_on_after(0):
        return await pool.next_range(peer)
    return None


def overlap(one: BlockRange, other: BlockRange) -> bool:
    return one.first <= other.last and other.first <= one.last


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "answer", "part", "lack", "rest", "leave", "install"]), st.integers(0, 4)),
    max_size=120,
)


@given(STEPS, st.integers(1, 2_000))
def test_no_range_is_under_way_twice_and_all_of_them_are_taken_in_order(
    steps: list[tuple[str, int]], stop: int
) -> None:
    """Whatever peers do; what is left in the end, one honest peer can still give."""

    async def run() -> None:
        pool = BlockPool(0, stop, Clock())
        under_way: dict[bytes, BlockRange] = {}
        head = 0
        for action, number in steps:
            peer = PEERS[number]
            if action == "ask" and peer not in under_way:
                wanted = await take_now(pool, peer)
                if wanted is not None:
                    assert head < wanted.first <= wanted.last <= stop
                    assert wanted.last - wanted.first < RANGE_BLOCKS_MAX
                    assert wanted.first <= head + AHEAD_BLOCKS_MAX
                    assert not any(overlap(wanted, other) for other in under_way.values())
                    under_way[peer] = wanted
            elif action in ("answer", "part") and peer in under_way:
                pool.put(make_answer(peer, under_way.pop(peer), None if action == "answer" else 1))
            elif action == "lack" and peer in under_way:
                pool.lacks(peer, under_way.pop(peer).first)
            elif action in ("rest", "leave"):
                getattr(pool, action)(peer)
                under_way.pop(peer, None)
            elif action == "install":
                head = await install_what_is_here(pool, head)
        # Whoever was asked answers or ends; then one honest peer gives all that is missing.
        for peer in under_way:
            pool.leave(peer)
        honest = b"\xff" * 32
        while head < stop:
            wanted = await take_now(pool, honest)
            if wanted is not None:
                pool.put(make_answer(honest, wanted))
            before = head
            head = await install_what_is_here(pool, head)
            assert wanted is not None or head > before, "something is missing, and nobody is asked for it"
        assert head == stop

    trio.run(run)


async def install_what_is_here(pool: BlockPool, head: int) -> int:
    while True:
        answer: Answered | None = None
        with trio.move_on_after(0):
            answer = await pool.next_answer()
        if answer is None:
            return head
        assert answer.first <= head + 1 <= answer.last, "what is taken goes on from the head"
        head = answer.last
        pool.advance(head)


async def test_answers_that_wait_are_bounded_and_what_comes_next_is_asked_for_all_the_same() -> None:
    pool = BlockPool(0, 10_000)
    first = await take_now(pool, PEERS[0])
    second = await take_now(pool, PEERS[1])
    assert first is not None
    assert second is not None
    pool.put(make_answer(PEERS[1], second, size=AHEAD_BYTES_MAX))

    assert await take_now(pool, PEERS[2]) is None
    pool.rest(PEERS[0])
    assert await take_now(pool, PEERS[2]) == first


async def test_who_lacks_a_later_range_is_asked_for_an_earlier_one_and_then_no_more() -> None:
    """The height to come to may be a lie: then whoever was asked for the lie's end is the only one with the begin."""
    pool = BlockPool(0, 2**60)
    first, later = await take_now(pool, PEERS[0]), await take_now(pool, PEERS[1])
    assert first is not None
    assert later is not None
    pool.lacks(PEERS[1], later.first)
    assert await take_now(pool, PEERS[1]) is None
    pool.leave(PEERS[0])

    assert await take_now(pool, PEERS[1]) == first
    pool.put(make_answer(PEERS[1], first))
    assert await pool.next_answer() is not None
    pool.advance(first.last)
    assert await pool.next_range(PEERS[1]) is None


async def test_what_a_liar_gave_is_forgotten_and_asked_of_others() -> None:
    pool = BlockPool(0, 100)
    first = await take_now(pool, PEERS[0])
    assert first is not None
    pool.put(make_answer(PEERS[0], first))
    assert await pool.next_answer() is not None

    pool.leave(PEERS[0])
    pool.advance(0)

    assert await take_now(pool, PEERS[0]) is None
    assert await take_now(pool, PEERS[1]) == first


async def test_a_range_that_somebody_sits_on_is_asked_of_an_idle_peer_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool = BlockPool(0, 10)
    slow = await take_now(pool, PEERS[0])
    began = trio.current_time()

    again = await pool.next_range(PEERS[1])

    assert again == slow
    assert OVERDUE_S <= trio.current_time() - began <= 2 * OVERDUE_S + 1
    assert await take_now(pool, PEERS[2]) is None, "a third one only when these two take long"


async def test_an_answer_that_is_being_looked_at_is_not_overdue(autojump_clock: trio.testing.MockClock) -> None:
    pool = BlockPool(0, 10)
    assert await take_now(pool, PEERS[0]) is not None
    pool.answered(PEERS[0])

    with trio.move_on_after(10 * OVERDUE_S) as scope:
        await pool.next_range(PEERS[1])

    assert scope.cancelled_caught


async def test_nothing_more_comes_when_nobody_is_left_to_ask() -> None:
    waits: list[Callable[[BlockPool], None]] = [BlockPool.close, lambda pool: pool.advance(10)]
    for end in waits:
        pool = BlockPool(0, 10)
        async with trio.open_nursery() as nursery:

            async def wait(pool: BlockPool = pool) -> None:
                assert await pool.next_answer() is None

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            end(pool)
        assert await pool.next_range(PEERS[0]) is None
