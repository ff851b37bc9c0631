"""A node that begins from a snapshot, with sources that a test scripts; no network, real stores."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import trio
import trio.lowlevel

from ledger.chain import Chain
from ledger.events import SignedEvent
from ledger.primitives.signing import SigningKey
from node.block_fetch import SourceFault, answer_range
from node.block_sync import BlockSync
from node.checkpoint import Checkpoint
from node.event_cache import EventCache
from node.executor import Executor
from node.history_fill import HISTORY_REQUEST, HistoryFill, answer_history
from node.snapshot_fetch import (
    HEADERS_REQUEST,
    MANIFEST_REQUEST,
    PAGES_REQUEST,
    ManifestAnswers,
    answer_headers,
    answer_pages,
)
from node.snapshot_sync import SnapshotSync
from node.tree_builder import TreeBuilder
from social.posts import PostPublished
from tests.ledger.changing_sets import JOINER, ChangingWorld
from tests.ledger.world import VALIDATORS

BLOCKS = "blocks"
ASKED_MAX = 2_000
FRESH = tuple(SigningKey(bytes([220 + number]) * 32) for number in range(3))
SETS = {0: (*VALIDATORS, JOINER), 2: (*VALIDATORS[1:], JOINER), 3: (JOINER, *FRESH)}
Answer = Callable[[str, bytes], Awaitable[bytes]]
"""(kind, body) to the answer; raises PeerUnreachable and PeerFault."""

_ANSWERS: Mapping[str, Callable[[Chain, bytes], bytes]] = {
    BLOCKS: answer_range,
    HEADERS_REQUEST: answer_headers,
    HISTORY_REQUEST: answer_history,
    MANIFEST_REQUEST: ManifestAnswers(),
    PAGES_REQUEST: answer_pages,
}


def make_source(folder: Path, beats: int) -> ChangingWorld:
    """Return a chain of so many beats, with a certified post after each, whose set changes three times.

    Early and again at the end there are events that are skipped: wrongly signed, without the nonce before, and twice.
    """
    world = ChangingWorld(folder, SETS)
    skipped: list[SignedEvent] = []
    for number in range(beats):
        world.beat()
        post = world.sign(world.ada, PostPublished, text=f"Post {number}.", tags=("sun",))
        if number == 1:
            early = world.sign(world.ben, PostPublished, text="Too early.", tags=(), nonce=1_000, expiry_beats=40)
            forged = replace(
                world.sign(world.ben, PostPublished, text="Not mine.", tags=(), nonce=1), signature=bytes(64)
            )
            skipped = [early, forged, post]
        again = skipped if number in (1, beats - 1) else []
        world.execute(post, *again)
        world.chain.write_certificate(world.chain.head.height, world.certify(world.chain.head.height))
    return world


def honest(source: ChangingWorld) -> Answer:
    async def answer(kind: str, body: bytes) -> bytes:
        return _ANSWERS[kind](source.chain, body)

    return answer


class Joining:
    """A node that syncs from the sources given, in that order, and may take any snapshot that skips something."""

    def __init__(
        self,
        world: ChangingWorld,
        sources: dict[bytes, Answer],
        *,
        events_min: int = 1,
        audits: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """audits: it executes everything from genesis and checks every signature, headers first, and no snapshots."""
        self.world = world
        self.chain = world.chain
        self.asked: list[tuple[bytes, str]] = []
        self.blamed: list[bytes] = []
        self.paused = 0
        self._sources = sources
        self._executor = Executor(world.chain)
        self._tree = TreeBuilder(world.chain)
        self.history = HistoryFill(
            self.chain,
            check=lambda items: self.chain.check_events(items, certified=True),
            request=lambda peer, body: self._request(peer, HISTORY_REQUEST, body),
            peers=lambda: list(sources),
            blame=self._blame,
        )
        self.snapshots = SnapshotSync(
            self.chain,
            self._executor,
            request=self._request,
            peers=lambda: list(sources),
            blame=self._blame,
            pause=self._pause,
            exclude=self._tree.exclude,
            events_min=events_min,
            checkpoint=checkpoint,
        )
        self.sync = BlockSync(
            self.chain,
            self._executor,
            EventCache(self.chain.registry, self.chain.chain_id),
            request=lambda peer, body: self._request(peer, BLOCKS, body),
            peers=lambda: list(sources),
            blame=self._blame,
            installed=lambda height, certificate: None,
            trusts_quorum=not audits,
            snapshots=None if audits else self.snapshots,
            caught_up=self.history.resume,
            headers=self.snapshots.headers if audits else None,
            checkpoint=checkpoint,
        )

    async def _pause(self) -> None:
        self.paused += 1
        await self.history.pause()

    def _blame(self, peer: bytes, fault: SourceFault) -> None:
        self.blamed.append(peer)

    async def _request(self, peer: bytes, kind: str, body: bytes) -> bytes:
        self.asked.append((peer, kind))
        assert len(self.asked) < ASKED_MAX, "the same is asked for over and over"
        await trio.lowlevel.checkpoint()
        return await self._sources[peer](kind, body)

    def count_asked(self, kind: str) -> int:
        return sum(1 for _, each in self.asked if each == kind)

    async def run_until_idle(self, height: int) -> None:
        """Catch up to a height, and fill what was skipped."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sync.run)
            self.sync.want(height)
            with trio.fail_after(20):
                await self.sync.wait_idle()
            nursery.cancel_scope.cancel()

    async def fill_history(self) -> None:
        """Run until nothing is missing."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.history.run)
            with trio.fail_after(20):
                while self.history.missing.gaps:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
