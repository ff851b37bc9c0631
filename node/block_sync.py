"""Catching up: certified blocks from peers by range, each executed here and compared before it is written.

A source can be wrong, slow or lying: nothing it says is believed without a certificate of the validators, and a
source that fails is left for the next one.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from consensus.messages import Certificate
from ledger.block import StoredBlock
from ledger.chain import Chain
from ledger.primitives.records import decode_record
from ledger.transition import Executed
from node.block_fetch import (
    RANGE_BLOCKS_MAX,
    Fetched,
    SourceFault,
    find_named,
    make_request,
    open_block,
    read_answer,
    read_height,
    split_at_era,
)
from node.eras import make_parameters
from node.event_cache import EventCache
from node.executor import Executor
from node.snapshot_sync import SnapshotSync
from p2p.errors import PeerFault, PeerUnreachable

logger = logging.getLogger(__name__)

FAILURES_REMEMBERED_MAX = 1_024
SNAPSHOT_BLOCKS_MIN = 64
"""Who is fewer blocks behind does not even ask for the headers that would show whether a snapshot pays."""
SNAPSHOT_AGAIN_BLOCKS = 1_024
"""After so many blocks, and still behind, it is asked again for a snapshot that skips enough."""
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
    ) -> None:
        """trusts_quorum: events of certified blocks are executed, but their authors' signatures not checked again.

        snapshots: None: never begin from a snapshot.  caught_up: told when what was wanted is here, or nobody has it.
        """
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
        """Ask peer after peer until the target is reached or nobody has more."""
        while self._chain.head.height < self._target:
            before = self._chain.head.height
            if self._snapshots is not None and self._target - before >= SNAPSHOT_BLOCKS_MIN:
                await self._snapshots.try_install(self._target)
            # Whoever failed before is asked last, or a slow liar could hold up every round.
            for peer in sorted(self._peers(), key=lambda each: self._failures.get(each, 0)):
                try:
                    await self._fetch_from(peer)
                except SourceFault as fault:
                    logger.warning("blocks from %s refused: %s", peer.hex()[:16], fault)
                    self._count_failure(peer)
                    self._blame(peer, fault)
                except (PeerUnreachable, PeerFault) as error:
                    logger.info("blocks from %s failed: %s", peer.hex()[:16], error)
                    self._count_failure(peer)
                if self._chain.head.height >= self._target:
                    break
            if self._chain.head.height == before:
                self._target = before  # nobody could prove a higher block; whoever shows one again wakes us
                await trio.sleep(FRUITLESS_PAUSE_S)

    def _count_failure(self, peer: bytes) -> None:
        if len(self._failures) >= FAILURES_REMEMBERED_MAX:
            self._failures.clear()
        self._failures[peer] = self._failures.get(peer, 0) + 1

    async def _fetch_from(self, peer: bytes) -> None:
        stop = self._target
        if self._snapshots is not None:  # who had none to give before may have one later
            stop = min(stop, self._chain.head.height + SNAPSHOT_AGAIN_BLOCKS)
        while self._chain.head.height < stop:
            height = self._chain.head.height
            answer = await self._request(peer, make_request(height, self._target))
            blocks = read_answer(answer, height + 1)
            if not blocks:
                return
            await self._install_all(blocks)
            if self._chain.head.height < min(self._target, height + RANGE_BLOCKS_MAX):
                self._count_failure(peer)  # a drip holds up as silence does: let the others go first
                return

    async def _install_all(self, blocks: Sequence[StoredBlock]) -> None:
        """Install what each validator set certifies; who is in the next one, its last block says."""
        while blocks := [block for block in blocks if read_height(block) > self._chain.head.height]:
            of_set, blocks = split_at_era(blocks, self._chain.head.header.validators_hash)
            named = find_named(make_parameters(self._chain.chain_id, self._chain.validators), of_set)
            for block in of_set:
                await self._install(block, named)

    async def _replay(self, fetched: Fetched) -> Executed | None:
        return await self._executor.replay(
            fetched.height, fetched.proposal, fetched.header_hash, fetched.check_again
        )  # fmt: skip

    async def _install(self, block: StoredBlock, named: Mapping[int, bytes]) -> None:
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
        )
        await trio.lowlevel.checkpoint()
        if fetched.certificate:  # before the block: the last of an era is of no use to others without it
            self._chain.write_certificate(fetched.height, fetched.certificate)
        if await self._replay(fetched) is None:
            return
        if fetched.certificate:
            self._installed(fetched.height, decode_record(Certificate, fetched.certificate))
