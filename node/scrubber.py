"""The scrubber: removes what is left of erased texts in this node's files.

A block that erases a text drops it from the ledger at once.  Traces stay where the text went before: in LevelDB's
older files, in the vote log and the submission log, and in the archive.  The store notes which texts those are, so a
node that is stopped goes on with them; each note goes when nothing is left.
"""

import logging
from collections.abc import Awaitable, Callable

import trio

from ledger import keyspace
from ledger.archive.erasure import erase_payloads, find_held
from ledger.chain import Chain
from ledger.erasure import list_erased
from ledger.transition import Executed
from node.archive_store import ArchiveStore
from node.archivist import FAULTS

logger = logging.getLogger(__name__)

SETTLE_BLOCKS = 8
"""A text is scrubbed when so many blocks have followed: then no vote needs it any more."""
ERASED_AT_ONCE = 1_024


class Scrubber:
    """Works beside everything else; one owner."""

    def __init__(
        self,
        chain: Chain,
        archive_url: str,
        *,
        archive_lock: trio.Lock,
        shorten_logs: Callable[[], Awaitable[bool]],
    ) -> None:
        """archive_lock: held by whoever writes to the archive.

        shorten_logs: rewrites the logs of votes and submissions without what is needless; False: try again later.
        """
        self._chain = chain
        self._archive_url = archive_url
        self._archive_lock = archive_lock
        self._shorten_logs = shorten_logs
        self._waits = True  # for what an earlier run has left
        self._due_height = 0
        self._wake = trio.Event()

    def saw_block(self, executed: Executed) -> None:
        """To be called in the trio thread with each block."""
        height = executed.header.height
        if list_erased(executed.changes):
            self._waits, self._due_height = True, height + SETTLE_BLOCKS
        if self._waits and height >= self._due_height:
            self._waits = False
            self._wake.set()

    async def run(self) -> None:
        """Scrub whenever something is due; runs until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await self.work()

    async def work(self) -> None:
        """Scrub what was erased at least `SETTLE_BLOCKS` below the head."""
        contents = await trio.to_thread.run_sync(self._list_due)
        if not contents:
            return
        try:
            async with self._archive_lock:
                await trio.to_thread.run_sync(self._scrub_archive, contents)
        except FAULTS as fault:
            logger.warning("erased texts may still lie in the archive %s: %s", self._archive_url, fault)
            self._waits, self._due_height = True, self._chain.head.height + SETTLE_BLOCKS
            return
        if not await self._shorten_logs():
            self._waits, self._due_height = True, self._chain.head.height + SETTLE_BLOCKS
            return
        await trio.to_thread.run_sync(self._scrub_store, contents)
        logger.info("%d erased texts are gone from the files of this node", len(contents))

    def _list_due(self) -> list[bytes]:
        settled = self._chain.head.height - SETTLE_BLOCKS
        due: list[bytes] = []
        for key, height in self._chain.store.iterate(keyspace.META_SCRUB, keyspace.after(keyspace.META_SCRUB)):
            if int.from_bytes(height, "big") <= settled and len(due) < ERASED_AT_ONCE:
                due.append(key[len(keyspace.META_SCRUB) :])
        return due

    def _scrub_archive(self, contents: list[bytes]) -> None:
        store = ArchiveStore(self._archive_url)
        if not store.list_names():
            return
        for segment in store.open_archive().segments:
            held = find_held(segment, contents)
            if held:
                segment.verify_bytes()
                store.write(segment.name, erase_payloads(segment, held))
                logger.info("%d erased texts are gone from %s", len(held), segment.name)

    def _scrub_store(self, contents: list[bytes]) -> None:
        for content in contents:
            self._chain.store.erase_key(keyspace.payload(content))
        self._chain.store.write([], [keyspace.scrub(content) for content in contents])
