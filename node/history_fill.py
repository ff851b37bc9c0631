"""Filling what a snapshot skipped: events and receipts of older blocks, from peers, while everything else goes on.

The headers are here and proven, so whatever a source sends is checked against them alone.  It takes turns: after each
answer it rests three times as long as the answer took to check and write.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import trio

from ledger.archive.blocks import to_stored_block
from ledger.backfill import BlockContent, BlockInvalid, fill_block, read_content
from ledger.block import Header
from ledger.chain import Chain
from ledger.events import CheckedEvent, EventRefused, SignedEvent
from ledger.history import History, read_history
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import Length, decode_record, encode_record
from node.block_fetch import RANGE_BLOCKS_MAX, RANGE_BYTES_MAX, BlockRange, ColdBlocks, OpenArchive, SourceFault
from node.clock import monotonic_ms
from p2p.errors import PeerFault, PeerUnreachable

logger = logging.getLogger(__name__)

HISTORY_REQUEST = "history"
REST_FACTOR = 3
RETRY_S = 5.0
"""After a round in which no peer had what is missing."""
Check = Callable[[tuple[SignedEvent, ...]], Sequence[CheckedEvent | EventRefused]]


@dataclass(frozen=True, slots=True)
class Contents:
    """The answer: what consecutive blocks hold, from the first that was asked for, as many as fit, perhaps none."""

    blocks: Annotated[tuple[BlockContent, ...], Length(0, RANGE_BLOCKS_MAX)]


def answer_history(chain: Chain, request: bytes, open_archive: OpenArchive = lambda: None) -> bytes:
    """Return what the blocks that a peer asked for hold, those that are pruned here from the archive.  EncodingError.

    Reads the disk: call it in a thread.
    """
    wanted = decode_record(BlockRange, request)
    blocks: list[BlockContent] = []
    size = 0
    cold = ColdBlocks(open_archive)
    with chain.store.snapshot() as snapshot:
        last = min(wanted.last, wanted.first + RANGE_BLOCKS_MAX - 1, chain.head.height)
        for height in range(wanted.first, last + 1):
            content = read_content(snapshot, height) or _read_cold(cold, height)
            if content is None:
                break
            size += sum(map(len, content.receipts))
            size += sum(len(item.event) + len(item.payload or b"") + 128 for item in content.items)
            if blocks and size > RANGE_BYTES_MAX:
                break
            blocks.append(content)
    return encode_record(Contents(tuple(blocks)))


def _read_cold(cold: ColdBlocks, height: int) -> BlockContent | None:
    block = cold.read(height)
    return None if block is None else BlockContent(to_stored_block(block).items, block.receipts)


class HistoryFill:
    """Fills the gaps of a chain, the lowest first.  `request(peer, body)` asks one peer."""

    def __init__(
        self,
        chain: Chain,
        *,
        check: Check,
        request: Callable[[bytes, bytes], Awaitable[bytes]],
        peers: Callable[[], list[bytes]],
        blame: Callable[[bytes, SourceFault], None],
    ) -> None:
        """check: gives what `check_event` gives or raises for events that a quorum executed."""
        self._chain = chain
        self._check = check
        self._request = request
        self._peers = peers
        self._blame = blame
        self._free = trio.Lock()
        self._is_paused = False
        self._wake = trio.Event()
        self.missing = read_history(chain.store)

    async def pause(self) -> None:
        """Write nothing until `resume`; to be called by the task that resumes."""
        if not self._is_paused:
            await self._free.acquire()
            self._is_paused = True

    def resume(self) -> None:
        """Go on, with whatever gaps there are now; nothing happens when there was no pause."""
        if self._is_paused:
            self._is_paused = False
            self._free.release()
        self.look()

    def look(self) -> None:
        """See what is missing now."""
        self.missing = read_history(self._chain.store)
        self._wake.set()

    async def run(self) -> None:
        """Fill gaps as they come; runs until cancelled."""
        while True:
            if not self.missing.gaps:
                self._wake = trio.Event()
                await self._wake.wait()
            elif not await self._fill_some():
                await trio.sleep(RETRY_S)

    async def _fill_some(self) -> bool:
        """Fill a part of the lowest gap from any peer; return whether one had it."""
        for peer in self._peers():
            first = self.missing.gaps[0].first
            body = encode_record(BlockRange(first, min(self.missing.gaps[0].last, first + RANGE_BLOCKS_MAX - 1)))
            try:
                answer = await self._request(peer, body)
                async with self._free:
                    started_ms = monotonic_ms()
                    filled = await trio.to_thread.run_sync(self._write, answer, first)
                    took_s = (monotonic_ms() - started_ms) / 1000
            except SourceFault as fault:
                logger.warning("history from %s refused: %s", peer.hex()[:16], fault)
                self._blame(peer, fault)
                continue
            except (PeerUnreachable, PeerFault) as error:
                logger.info("history from %s failed: %s", peer.hex()[:16], error)
                continue
            if filled is None:
                continue
            self.missing = filled
            if not filled.gaps:
                logger.info("the history is complete")
            await trio.sleep(REST_FACTOR * took_s)
            return True
        return False

    def _write(self, answer: bytes, first: int) -> History | None:
        """Write what an answer has; return what is missing then, or None when it had nothing.  Raises SourceFault."""
        history = read_history(self._chain.store)
        if not history.gaps or history.gaps[0].first != first:
            return history  # a snapshot was installed meanwhile
        try:
            blocks = decode_record(Contents, answer).blocks
            for height, content in enumerate(blocks, start=first):
                header = self._read_header(height)
                if not history.misses(height):
                    break
                fill_block(self._chain.store, header, content, self._check)
        except (EncodingError, BlockInvalid) as error:
            raise SourceFault(f"history: {error}") from error
        return read_history(self._chain.store) if blocks else None

    def _read_header(self, height: int) -> Header:
        header = self._chain.read_header(height)
        assert header is not None, f"the header of height {height} is missing"
        return header
