"""Catching up: certified blocks from several peers at once, each executed here and compared before it is written.

A source can be wrong, slow or lying: nothing it says is believed without a certificate of the validators, and a
source that fails is left for the next one.  While a block is executed, the next ranges are on their way, and what their
authors signed is checked in another process.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from consensus.messages import Certificate
from ledger.block import StoredBlock
from ledger.chain import Chain
from ledger.primitives.records import decode_record, encode_record
from ledger.transition import Executed
from node.block_fetch import (
    RANGE_BYTES_MAX,
    BlockRange,
    Fetched,
    SourceFault,
    find_named,
    open_block,
    read_answer,
    read_height,
    split_at_era,
)
from node.block_pool import Answered, BlockPool
from node.checkpoint import Checkpoint
from node.eras import make_parameters
from node.event_cache import EventCache
from node.event_checks import CheckerGone, EventChecker
from node.executor import Executor
from node.header_sync import HeaderSync
from node.snapshot_sync import SnapshotSync
from p2p.errors import PeerFault, PeerUnreachable

logger = logging.getLogger(__name__)

FAILURES_REMEMBERED_MAX = 1_024
SNAPSHOT_BLOCKS_MIN = 64
"""Who is fewer blocks behind does not even ask for the headers that would show whether a snapshot pays."""
SNAPSHOT_AGAIN_BLOCKS = 1_024
"""After so many blocks, and still behind, it is asked again for a snapshot that skips enough."""
PEERS_AT_ONCE = 4
FULL_ANSWER_BYTES_MIN = RANGE_BYTES_MAX // 2
"""An answer of so many bytes may hold fewer blocks than were asked for."""
HEADERS_FIRST_BLOCKS_MIN = 64
CHECKED_APART_BLOCKS_MIN = 64
"""Whoever is less behind checks events where it executes them: a process costs a second to start."""
UNSYNCED_BLOCKS_MIN = 64
"""Further behind than this, an observer does not wait for the disk at each block."""
FRUITLESS_PAUSE_S = 0.2
"""After a round in which nobody had more: whoever claims absurd heights costs a few requests a second, no more."""


class BlockSync:
    """Fetches what is missing.  `request(peer, body)` asks one peer; `peers()` names who may be asked, best first."""

    def __init__(
        self,
        chain: Chain,
        executor: Executor,
        cache: EventCache,
        *,
        request: Callable[[bytes, bytes], Awaitable[bytes]],
        peers: Callable[[], list[bytes]],
        blame: Callable[[bytes, SourceFault], None],
        installed: Callable[[int, Certificate], None],
        trusts_quorum: bool = False,
        snapshots: SnapshotSync | None = None,
        caught_up: Callable[[], None] = lambda: None,
        checker: EventChecker | None = None,
        headers: HeaderSync | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """trusts_quorum: events of certified blocks are executed, but their authors' signatures not checked again.

        snapshots: None: never begin from a snapshot.  caught_up: told when what was wanted is here, or nobody has it.
        checker: of use to whoever checks signatures.  headers: whoever is far behind proves first how much there is.
        checkpoint: another block at its height is refused.
        """
        self._headers = headers
        self._checkpoint = checkpoint
        self.proven_height = 0
        """The height that proven headers reach while what they cover is on its way; 0 otherwise."""
        self._checker = None if trusts_quorum else checker
        self._snapshots = snapshots
        self._tell_caught_up = caught_up
        self._chain = chain
        self._executor = executor
        self._cache = cache
        self._request = request
        self._peers = peers
        self._blame = blame
        self._installed = installed
        self._trusts_quorum = trusts_quorum
        self._target = 0
        self._wake = trio.Event()
        self._failures: dict[bytes, int] = {}
        self.active = False
        self._idle = trio.Event()

    @property
    def target(self) -> int:
        """The height that was wanted last; what nobody could prove is not wanted any more."""
        return self._target

    def want(self, height: int) -> None:
        """Ask to catch up to a height that a peer claims; a lie costs one request."""
        if height > self._target:
            self._target = height
        self._idle = trio.Event()
        self._wake.set()

    async def wait_idle(self) -> None:
        """Wait until what was wanted has been fetched, or nobody has it."""
        await self._idle.wait()

    async def run(self) -> None:
        """Fetch whenever wanted; runs until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            self.active = True
            await self._catch_up()
            self._tell_caught_up()
            self.active = False
            self._idle.set()

    async def _catch_up(self) -> None:
        """Ask peers until the target is reached or nobody has more."""
        while self._chain.head.height < self._target:
            before = self._chain.head.height
            if self._snapshots is not None and self._target - before >= SNAPSHOT_BLOCKS_MIN:
                await self._snapshots.try_install(self._target)
            stop = self._target
            if self._snapshots is not None:  # who had none to give before may have one later
                stop = min(stop, self._chain.head.height + SNAPSHOT_AGAIN_BLOCKS)
            elif self._headers is not None and stop - before >= HEADERS_FIRST_BLOCKS_MIN:
                self.proven_height = stop = await self._headers.prove(stop)
            await self._fetch_up_to(stop)
            if self._chain.head.height == before:
                self._target = before  # nobody could prove a higher block; whoever shows one again wakes us
                await trio.sleep(FRUITLESS_PAUSE_S)
        if self.proven_height and self._headers is not None:
            await trio.to_thread.run_sync(self._headers.forget)
            self.proven_height = 0
        if self._checker is not None:
            await self._checker.aclose()

    async def _fetch_up_to(self, stop: int) -> None:
        """Ask each peer in its turn, several at once, and install what they give while more is on its way."""
        pool = BlockPool(self._chain.head.height, stop)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_all, pool)
            await self._install_from(pool)
            nursery.cancel_scope.cancel()

    async def _ask_all(self, pool: BlockPool) -> None:
        slots = trio.Semaphore(PEERS_AT_ONCE)
        async with trio.open_nursery() as nursery:
            # Whoever failed before is asked last, or a slow liar could hold up every round.
            for peer in sorted(self._peers(), key=lambda each: self._failures.get(each, 0)):
                await slots.acquire()
                nursery.start_soon(self._ask, peer, pool, slots)
        pool.close()

    async def _ask(self, peer: bytes, pool: BlockPool, slots: trio.Semaphore) -> None:
        """Ask one peer for range after range, until it fails, has no more, or nothing is missing."""
        try:
            while (wanted := await pool.next_range(peer)) is not None:
                data = await self._request(peer, encode_record(wanted))
                blocks = read_answer(data, wanted.first)
                pool.answered(peer)
                if not blocks:
                    pool.lacks(peer, wanted.first)
                    continue
                refused = await self._check(data, wanted)
                pool.put(Answered(peer, wanted.first, blocks, len(data), refused))
                if len(blocks) <= wanted.last - wanted.first and len(data) < FULL_ANSWER_BYTES_MIN:
                    self._count_failure(peer)  # a drip holds up as silence does: let the others go first
                    break
        except SourceFault as fault:
            self._blame_source(peer, fault, pool)
        except (PeerUnreachable, PeerFault) as error:
            logger.info("blocks from %s failed: %s", peer.hex()[:16], error)
            self._count_failure(peer)
        finally:
            pool.rest(peer)
            slots.release()

    async def _check(self, data: bytes, wanted: BlockRange) -> frozenset[tuple[int, int]] | None:
        """Check the events of an answer in another process, when there is enough to be gained by that."""
        if self._checker is None or self._target - self._chain.head.height < CHECKED_APART_BLOCKS_MIN:
            return None
        try:
            return await self._checker.check(data)
        except CheckerGone as gone:
            logger.warning("%s; heights %d to %d are checked here", gone, wanted.first, wanted.last)
            return None

    async def _install_from(self, pool: BlockPool) -> None:
        while (answer := await pool.next_answer()) is not None:
            try:
                await self._install_all(answer)
            except SourceFault as fault:
                self._blame_source(answer.peer, fault, pool)
            pool.advance(self._chain.head.height)

    def _blame_source(self, peer: bytes, fault: SourceFault, pool: BlockPool) -> None:
        logger.warning("blocks from %s refused: %s", peer.hex()[:16], fault)
        self._count_failure(peer)
        self._blame(peer, fault)
        pool.leave(peer)

    def _count_failure(self, peer: bytes) -> None:
        if len(self._failures) >= FAILURES_REMEMBERED_MAX:
            self._failures.clear()
        self._failures[peer] = self._failures.get(peer, 0) + 1

    async def _install_all(self, answer: Answered) -> None:
        """Install what each validator set certifies; who is in the next one, its last block says."""
        blocks: Sequence[StoredBlock] = answer.blocks
        while blocks := [block for block in blocks if read_height(block) > self._chain.head.height]:
            of_set, blocks = split_at_era(blocks, self._chain.head.header.validators_hash)
            named = find_named(make_parameters(self._chain.chain_id, self._chain.validators), of_set)
            for block in of_set:
                await self._install(block, named, answer.refused)

    async def _install(
        self, block: StoredBlock, named: Mapping[int, bytes], refused: frozenset[tuple[int, int]] | None
    ) -> None:
        head = self._chain.head
        if read_height(block) <= head.height:
            return  # consensus was quicker
        fetched = open_block(
            make_parameters(self._chain.chain_id, self._chain.validators),
            block,
            head,
            self._cache,
            named,
            trusts_quorum=self._trusts_quorum,
            refused=refused,
        )
        if self._checkpoint is not None:
            self._checkpoint.verify(fetched.height, fetched.header_hash)
        await trio.lowlevel.checkpoint()
        if fetched.certificate:  # before the block: the last of an era is of no use to others without it
            self._chain.write_certificate(fetched.height, fetched.certificate)
        if await self._replay(fetched) is None:
            return
        if fetched.certificate:
            self._installed(fetched.height, decode_record(Certificate, fetched.certificate))

    async def _replay(self, fetched: Fetched) -> Executed | None:
        # Who votes must not forget what it has seen; the others fetch it again.
        synced = self._trusts_quorum or self._target - fetched.height < UNSYNCED_BLOCKS_MIN
        return await self._executor.replay(
            fetched.height, fetched.proposal, fetched.header_hash, fetched.check_again, synced=synced
        )
