"""The executor: ordered batches into the chain, one at a time, in a thread; tells of each block whoever listens."""

from collections.abc import Callable
from typing import TypeVar

import trio

from ledger.chain import Chain
from ledger.transition import Executed
from node.block_fetch import replay_block
from node.judgement import Proposal

Listener = Callable[[Executed], None]
T = TypeVar("T")


class Executor:
    """Owns the writing side of the chain."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self._lock = trio.Lock()
        self._listeners: list[Listener] = []
        self._on_replaced: list[Callable[[], None]] = []
        self._thread = trio.CapacityLimiter(1)

    def listen(self, listener: Listener) -> None:
        """Call `listener` in the trio thread after each block is durable, in order of height."""
        self._listeners.append(listener)

    async def execute(self, height: int, proposal: Proposal) -> Executed | None:
        """Execute the batch of a height; None when the chain has that height already."""
        async with self._lock:
            if height <= self.chain.head.height:
                return None
            assert height == self.chain.head.height + 1, "batches are executed in order"
            executed = await trio.to_thread.run_sync(
                self.chain.execute, proposal.batch, proposal.checked, limiter=self._thread
            )
            self._tell(executed)
            return executed

    async def replay(
        self,
        height: int,
        proposal: Proposal,
        header_hash: bytes,
        check_again: Callable[[], Proposal] | None = None,
        *,
        synced: bool = True,
    ) -> Executed | None:
        """Execute a fetched block, and write it only when it gives the header that a quorum signed: see `replay_block`.

        Raises ReplayDiffers otherwise; nothing is written then.
        """
        async with self._lock:
            if height <= self.chain.head.height:
                return None
            executed = await trio.to_thread.run_sync(
                replay_block, self.chain, proposal, header_hash, check_again, synced, limiter=self._thread
            )
            self._tell(executed)
            return executed

    async def replace(self, change: Callable[[], None]) -> None:
        """Let `change` put another head into the chain, while nothing is executed; tell who listens for that."""
        async with self._lock:
            await trio.to_thread.run_sync(change, limiter=self._thread)
            for listener in self._on_replaced:
                listener()

    async def between_blocks(self, work: Callable[[], T]) -> T:
        """Return what `work` gives, which runs in the executor's thread while nothing is executed or replaced."""
        async with self._lock:
            return await trio.to_thread.run_sync(work, limiter=self._thread)

    def listen_replaced(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the trio thread when the chain has another head that was not executed here."""
        self._on_replaced.append(listener)

    def _tell(self, executed: Executed) -> None:
        for listener in self._listeners:
            listener(executed)
