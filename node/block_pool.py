"""Blocks on their way: which ranges several peers are asked for at once, and what has come and waits for its turn.

An answer stays whole, with the peer that gave it: it is taken when the chain has come to where it begins, so whoever
lied in it is known.  A range that a peer sits on is asked of another one too, when nothing else is left to ask for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from ledger.block import StoredBlock
from node.block_fetch import RANGE_BLOCKS_MAX, BlockRange

AHEAD_BYTES_MAX = 24 * 1024 * 1024
"""Answers that wait for their turn; beyond this only what comes next is asked for."""
AHEAD_BLOCKS_MAX = 32 * RANGE_BLOCKS_MAX
OVERDUE_S = 3.0
"""A range that is under way for so long is asked of an idle peer too."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Blocks that a peer gave, from height `first` on, not verified yet."""

    peer: bytes
    first: int
    blocks: tuple[StoredBlock, ...]
    size: int
    """Bytes of the answer."""
    refused: frozenset[tuple[int, int]] | None
    """(height, place) of the events that are not valid by themselves; None: nobody has checked that yet."""

    @property
    def last(self) -> int:
        return self.first + len(self.blocks) - 1


@dataclass(slots=True)
class _Asked:
    wanted: BlockRange
    since: float
    has_answered: bool = False


class BlockPool:
    """What lies between the chain's head and `stop`: asked for, come, or neither."""

    def __init__(self, head: int, stop: int, now: Callable[[], float] = trio.current_time) -> None:
        """head: the height of the chain.  stop: the height to come to, perhaps a peer's claim.  now: seconds."""
        self._head = head
        self._stop = stop
        self._now = now
        self._asked: dict[bytes, _Asked] = {}
        self._come: dict[int, Answered] = {}
        self._taken: Answered | None = None  # what is being installed
        self._ends: dict[bytes, int] = {}  # the highest block of whoever has said that it has no more
        self._left: set[bytes] = set()
        self._is_closed = False
        self._changed = trio.Event()

    # Asking.

    async def next_range(self, peer: bytes) -> BlockRange | None:
        """Return what to ask a peer for, once there is something; None when it is not to be asked any more."""
        while not self._is_closed and peer not in self._left and self._head < self._stop:
            found = self._find_gap() or self._find_overdue()
            if found is not None and found.first > self._ends.get(peer, found.first):
                if found.first == self._head + 1:
                    return None  # all that it has is here
                found = None
            if found is not None:
                self._asked[peer] = _Asked(found, self._now())
                return found
            with trio.move_on_after(OVERDUE_S):
                await self._changed.wait()
        return None

    def _find_gap(self) -> BlockRange | None:
        """Return the lowest heights that nobody was asked for, if there is room for them."""
        covered = sorted(
            [(each.wanted.first, each.wanted.last) for each in self._asked.values()]
            + [(each.first, each.last) for each in self._list_here()]
        )
        first = self._head + 1
        last = self._stop
        for low, high in covered:
            if low > first:
                last = min(last, low - 1)
                break
            first = max(first, high + 1)
        is_next = first == self._head + 1
        waiting = sum(each.size for each in self._list_here())
        if first > self._stop or not (
            is_next or (waiting < AHEAD_BYTES_MAX and first <= self._head + AHEAD_BLOCKS_MAX)
        ):
            return None
        return BlockRange(first, min(last, first + RANGE_BLOCKS_MAX - 1))

    def _find_overdue(self) -> BlockRange | None:
        """Return the range that holds everything up, when whoever was asked for it takes long."""
        if any(each.first <= self._head + 1 for each in self._list_here()):
            return None
        waited = [each for each in self._asked.values() if each.wanted.first <= self._head + 1 <= each.wanted.last]
        if not waited or any(each.has_answered or self._now() - each.since < OVERDUE_S for each in waited):
            return None
        return BlockRange(self._head + 1, waited[0].wanted.last)

    def _list_here(self) -> list[Answered]:
        return list(self._come.values()) + ([] if self._taken is None else [self._taken])

    def answered(self, peer: bytes) -> None:
        """The peer's answer is here and is being looked at: it holds nothing up any more."""
        if peer in self._asked:
            self._asked[peer].has_answered = True

    def put(self, answer: Answered) -> None:
        """Keep an answer until its turn."""
        self._asked.pop(answer.peer, None)
        known = self._come.get(answer.first)
        if answer.peer not in self._left and answer.last > self._head and (known is None or known.last < answer.last):
            self._come[answer.first] = answer
        self._tell()

    def leave(self, peer: bytes) -> None:
        """Ask this peer for nothing more, and forget what it gave."""
        self._left.add(peer)
        self._asked.pop(peer, None)
        self._come = {first: each for first, each in self._come.items() if each.peer != peer}
        self._tell()

    def lacks(self, peer: bytes, height: int) -> None:
        """The peer has nothing from this height on: ask it only for what lies below."""
        self._asked.pop(peer, None)
        self._ends[peer] = height - 1
        self._tell()

    def rest(self, peer: bytes) -> None:
        """Ask this peer for nothing more; what it gave stays."""
        self._left.add(peer)
        self._asked.pop(peer, None)
        self._tell()

    def is_left(self, peer: bytes) -> bool:
        return peer in self._left

    def close(self) -> None:
        """Nobody is left to ask."""
        self._is_closed = True
        self._tell()

    # Taking.

    async def next_answer(self) -> Answered | None:
        """Return the answer that goes on from the chain's head, once it is here; None when none will come."""
        while True:
            found = [each for each in self._come.values() if each.first <= self._head + 1 <= each.last]
            if found:
                best = max(found, key=lambda each: (each.last, each.peer))
                self._taken = self._come.pop(best.first)
                return best
            if self._is_closed or self._head >= self._stop:
                return None
            await self._changed.wait()

    def advance(self, head: int) -> None:
        """What was taken is installed, or refused, and the chain is at this height: drop what lies below."""
        self._taken = None
        self._head = max(self._head, head)
        self._come = {first: each for first, each in self._come.items() if each.last > self._head}
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
