"""The archivist: writes each epoch to the archive once it is over, and drops from the node what lies there.

It works in a thread beside everything else, and reads the store as it was at one moment.  Whatever goes wrong with the
archive is logged and tried again when the next epoch begins: a node never stops for its archive.
"""

import logging

import trio

from ledger.archive.collection import ArchiveIncomplete
from ledger.archive.layout import SegmentDamaged
from ledger.archive.tally import ChainBroken
from ledger.chain import Chain
from ledger.history import read_history
from ledger.pruning import drop_pruned, mark_pruned
from ledger.storage import StoreDamaged
from ledger.transition import Executed
from node.archive_store import ArchiveStore, ArchiveUnreachable
from node.archive_writer import ArchiveDiffers, BlocksMissing, Source, find_prunable, write_archive
from node.certificates import make_certificate_verifier
from node.executor import Executor

logger = logging.getLogger(__name__)

EPOCHS_IN_SEGMENT = 1
SETTLE_BLOCKS = 8
"""An epoch is written when so many blocks have followed: its last certificate may come late."""
FAULTS = (
    ArchiveDiffers,
    ArchiveIncomplete,
    ArchiveUnreachable,
    BlocksMissing,
    ChainBroken,
    SegmentDamaged,
    StoreDamaged,
)


class Archivist:
    """Keeps a node's archive up to its chain, and the node's store small."""

    def __init__(
        self,
        chain: Chain,
        executor: Executor,
        url: str,
        *,
        writes: bool,
        keep_epochs: int,
    ) -> None:
        """url: as `ArchiveStore` takes it.  keep_epochs: 0 prunes nothing."""
        self._chain = chain
        self._executor = executor
        self._url = url
        self._writes = writes
        self._keep_epochs = keep_epochs
        self._epoch = -1
        self._due_height: int | None = None
        self._wake = trio.Event()

    @property
    def is_needed(self) -> bool:
        return self._writes or self._keep_epochs > 0

    def saw_block(self, executed: Executed) -> None:
        """To be called in the trio thread with each block."""
        header = executed.header
        if self._due_height is not None and (header.height >= self._due_height or header.epoch != self._epoch):
            self._due_height = None
            self._wake.set()
        if header.epoch != self._epoch:
            self._epoch, self._due_height = header.epoch, header.height + SETTLE_BLOCKS

    async def run(self) -> None:
        """Write and prune now, and whenever an epoch is over; runs until cancelled."""
        if not self.is_needed:
            return
        while True:
            await self.work()
            await self._wake.wait()
            self._wake = trio.Event()

    async def work(self) -> None:
        """Write what the archive lacks, then drop what it has."""
        try:
            if self._writes:
                await trio.to_thread.run_sync(self._write)
            if self._keep_epochs:
                height = await trio.to_thread.run_sync(self._find_prunable)
                if height and await self._executor.between_blocks(lambda: mark_pruned(self._chain.store, height)):
                    dropped = await trio.to_thread.run_sync(drop_pruned, self._chain.store, height, _give_way)
                    logger.info("pruned up to height %d: %d keys, which the archive %s has", height, dropped, self._url)
        except FAULTS as fault:
            logger.warning("the archive %s is not up to date: %s", self._url, fault)

    def _write(self) -> None:
        verify = make_certificate_verifier
        with self._chain.store.snapshot() as snapshot:
            source, store = Source(str(self._chain.store.path), snapshot), ArchiveStore(self._url)
            for written in write_archive(source, store, EPOCHS_IN_SEGMENT, verify, _give_way):
                logger.info("archived %s: %d bytes", written.name, written.bytes)

    def _find_prunable(self) -> int:
        """Return the height up to which something can be dropped; 0 when there is nothing new."""
        pruned = read_history(self._chain.store).pruned_to
        archive = ArchiveStore(self._url).open_archive()
        with self._chain.store.snapshot() as snapshot:
            source = Source(str(self._chain.store.path), snapshot)
            height = find_prunable(source, archive, self._keep_epochs, checked_to=pruned)
        return height if height > pruned else 0


def _give_way(*progress: int) -> None:
    """Called in the thread at each step: a node that stops does not wait for its archive."""
    trio.from_thread.check_cancelled()
