"""Building the state tree beside the execution of blocks: begun when an epoch begins, needed when the next does."""

from collections.abc import Callable
from threading import Lock

import trio

from ledger.chain import Chain
from ledger.transition import Executed


class TreeBuilder:
    """Takes the building of the state tree over from the chain's `commit`."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._lock = Lock()
        self._epoch = chain.head.header.epoch
        self._wake = trio.Event()
        chain.tree_builder = self.build

    def build(self) -> None:
        """Bring the tree up to the head's epoch.  Blocks; callable from any thread."""
        with self._lock:
            self._chain.build_tree()

    def exclude(self, change: Callable[[], None]) -> None:
        """Run `change` while nothing is built.  Blocks."""
        with self._lock:
            change()

    def saw_block(self, executed: Executed) -> None:
        """To be called in the trio thread with each block."""
        if executed.header.epoch != self._epoch:
            self._epoch = executed.header.epoch
            self._wake.set()

    async def run(self) -> None:
        """Build when an epoch has begun; runs until cancelled, and ends when a build that goes on has."""
        await trio.to_thread.run_sync(self.build)
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await trio.to_thread.run_sync(self.build)
