"""Beginning from a snapshot: headers first, then the newest certified state in pages from several peers at once.

Nothing that a source says is believed: headers need the certificates of the validators, and every page must hash to
the root in such a header.  A source that lies is left and reported; one that stalls costs its own share of the pages
until another has fetched them.  What has come is kept on disk, so that a node which is stopped goes on where it was.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from ledger import keyspace
from ledger.block import Header, decode_header
from ledger.chain import Chain
from ledger.primitives.records import encode_record
from ledger.snapshots import Manifest, SnapshotInvalid, verify_manifest
from ledger.staging import SEGMENT_PAGES, SEGMENTS, Plan, Staging
from ledger.state_tree import Subtree
from node.block_fetch import SourceFault
from node.checkpoint import Checkpoint
from node.executor import Executor
from node.header_sync import HeaderSync
from node.snapshot_fetch import (
    MANIFEST_REQUEST,
    PAGES_REQUEST,
    ManifestRequest,
    OpenPages,
    PagesRequest,
    open_manifest,
    open_pages,
)
from node.sources import Request, Sources

logger = logging.getLogger(__name__)

PEERS_AT_ONCE = 4
ROUNDS_MAX = 8
"""Snapshots that grow too old while they are fetched, before blocks are fetched instead."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the pages of a snapshot have come."""

    height: int
    pages: int
    pages_all: int


class SnapshotSync:
    """Fetches and installs a snapshot when that skips enough."""

    def __init__(
        self,
        chain: Chain,
        executor: Executor,
        *,
        request: Request,
        peers: Callable[[], list[bytes]],
        blame: Callable[[bytes, SourceFault], None],
        pause: Callable[[], Awaitable[None]],
        exclude: Callable[[Callable[[], None]], None],
        events_min: int,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """peers: who may be asked, best first.  pause: returns when nothing else executes blocks any more.

        exclude: calls what it is given while the state tree is not built.
        events_min: a snapshot that skips fewer events is not taken.  checkpoint: see `HeaderSync`.
        """
        self._chain = chain
        self._executor = executor
        self._sources = Sources(request, peers, blame)
        self._pause = pause
        self._exclude = exclude
        self._events_min = events_min
        self._staging = Staging(chain.store)
        self.headers = HeaderSync(chain, self._staging, self._sources, checkpoint)
        self.progress: Progress | None = None

    async def try_install(self, target: int) -> bool:
        """Return whether a snapshot was installed, on the way to a height that some peer claims."""
        self._sources.begin()
        try:
            for _ in range(ROUNDS_MAX):
                await self.headers.fetch(target)
                plan = await trio.to_thread.run_sync(self._make_plan)
                if plan is None:
                    return False
                if await self._fetch_state(plan):
                    await self._install(plan)
                    return True
                if not self._sources.askable():
                    return False
                target += 1  # newer headers may name a newer snapshot
        finally:
            self.progress = None
        return False

    def _make_plan(self) -> Plan | None:
        """Return the newest certified snapshot, when it skips enough."""
        staged = self._staging.highest_header(self._chain.head.height)
        if staged is None:
            return None
        newest = decode_header(staged[1])
        header = self._staging.read_header(newest.state_height)
        head = self._chain.head.header
        if header is None or header.height <= head.height or header.log_size - head.log_size < self._events_min:
            return None
        if self._chain.store.get(keyspace.staged(keyspace.certificate(header.height))) is None:
            return None  # the replica goes on from a certified height
        return Plan(header.epoch, header.height, newest.state_root)

    # State.

    async def _fetch_state(self, plan: Plan) -> bool:
        """Stage all pages; return False when nobody who is left has them."""
        header = await trio.to_thread.run_sync(self._staging.read_header, plan.height)
        assert header is not None, "a plan is made from a staged header"
        await trio.to_thread.run_sync(self._staging.begin, plan)
        sums = await self._fetch_manifest(plan, header)
        if sums is None:
            return False
        fetch = _PageFetch(self._staging, plan, sums)
        await trio.to_thread.run_sync(fetch.load)
        while not fetch.is_complete:
            peers = self._sources.askable()[:PEERS_AT_ONCE]
            if not peers:
                return False
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(self._fetch_pages, peer, fetch, nursery.cancel_scope)
        return True

    async def _fetch_manifest(self, plan: Plan, header: Header) -> dict[int, Subtree] | None:
        for peer in self._sources.askable():
            answer = await self._sources.ask(peer, MANIFEST_REQUEST, encode_record(ManifestRequest(plan.height)))
            if answer is None:
                continue
            try:
                return await trio.to_thread.run_sync(self._open_manifest, answer, plan, header)
            except SourceFault as fault:
                self._sources.refuse(peer, fault)
            except _NotKept:
                continue
        return None

    def _open_manifest(self, answer: bytes, plan: Plan, header: Header) -> dict[int, Subtree]:
        manifest: Manifest | None = open_manifest(answer)
        if manifest is None:
            raise _NotKept
        try:
            sums = verify_manifest(manifest, plan.root, header)
        except SnapshotInvalid as error:
            raise SourceFault(f"manifest: {error}") from error
        self._staging.put_sums(sums, manifest.log_edge, header.log_size)
        return sums

    async def _fetch_pages(self, peer: bytes, fetch: "_PageFetch", done: trio.CancelScope) -> None:
        """Fetch segment after segment from one peer; the last ones beside others, so that nobody holds up the end."""
        while (segment := fetch.choose(peer)) is not None:
            first, last = fetch.next_page[segment], (segment + 1) * SEGMENT_PAGES - 1
            answer = await self._sources.ask(
                peer, PAGES_REQUEST, encode_record(PagesRequest(first, fetch.plan.height, last))
            )
            if answer is None:
                return
            try:
                pages = await trio.to_thread.run_sync(open_pages, answer, first, last, fetch.sums)
            except SourceFault as fault:
                self._sources.refuse(peer, fault)
                return
            if pages is None:
                self._sources.leave(peer)
                return
            await trio.to_thread.run_sync(fetch.put, segment, pages)
            self.progress = Progress(fetch.plan.height, fetch.pages_here, SEGMENTS * SEGMENT_PAGES)
            if fetch.is_complete:
                done.cancel()

    async def _install(self, plan: Plan) -> bool:
        before = self._chain.head.height
        logger.info("the state after height %d is here; it replaces that of height %d", plan.height, before)
        await self._pause()
        try:
            await self._executor.replace(lambda: self._exclude(self._chain.install_snapshot))
        except SnapshotInvalid as error:  # the root was certified, so no source is to blame
            logger.error("the snapshot of height %d can't be used: %s", plan.height, error)
            await trio.to_thread.run_sync(self._staging.discard)
            return False
        return True


class _NotKept(Exception):
    """A peer does not keep the snapshot that was asked for."""


class _PageFetch:
    """Which pages of a snapshot have come, and who fetches what."""

    def __init__(self, staging: Staging, plan: Plan, sums: dict[int, Subtree]) -> None:
        self.plan = plan
        self.sums = sums
        self.next_page: list[int] = []
        self._staging = staging
        self._fetching: dict[int, set[bytes]] = {}

    def load(self) -> None:
        """Go on where an earlier attempt ended."""
        self.next_page = [self._staging.next_page(segment) for segment in range(SEGMENTS)]

    @property
    def pages_here(self) -> int:
        return sum(page - segment * SEGMENT_PAGES for segment, page in enumerate(self.next_page))

    @property
    def is_complete(self) -> bool:
        return self.pages_here == SEGMENTS * SEGMENT_PAGES

    def choose(self, peer: bytes) -> int | None:
        """Return the segment that a peer should go on with: its own, one that nobody has, or the least shared one."""
        open_ones = [number for number, page in enumerate(self.next_page) if page < (number + 1) * SEGMENT_PAGES]
        if not open_ones:
            return None
        own = next((number for number in open_ones if peer in self._fetching.get(number, ())), None)
        chosen = min(open_ones, key=lambda number: len(self._fetching.get(number, ()))) if own is None else own
        self._fetching.setdefault(chosen, set()).add(peer)
        return chosen

    def put(self, segment: int, pages: OpenPages) -> None:
        """Keep proven pages; another peer may have been quicker."""
        if pages.following > self.next_page[segment]:
            self._staging.put_pages(segment, pages.pages, pages.following)
            self.next_page[segment] = pages.following
