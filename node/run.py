"""A running node: who runs under which nursery, what starts before what, and what a failure stops.

Start: store and its checks, vote log and replica, network, driver and relay, and the API last.  Shutdown goes the other
way: the API refuses first, then consensus stops, links close, and the store is closed when nothing writes any more.
"""

import gc
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import trio
from client_api.server import ApiServer
from client_api.services import NodeStatus

from consensus.errors import InvalidMessage
from consensus.messages import Certificate
from ledger.chain import Chain
from ledger.events import SIGNED_EVENT_BYTES_MAX
from ledger.genesis import Genesis, decode_genesis_file
from ledger.policies import read_policies
from ledger.primitives.encoding import EncodingError
from ledger.primitives.signing import Purpose, SigningKey
from ledger.store import Store
from ledger.transition import Executed
from node.archivist import Archivist
from node.block_sync import BlockSync
from node.catalogue import CATALOGUE_REQUEST, Catalogues
from node.checkpoint import parse_checkpoint
from node.clock import BeatClock, monotonic_ms
from node.cold_epochs import ColdEpochs
from node.config import AUDITOR, VALIDATOR, Config, ConfigInvalid
from node.eras import choose_validators
from node.event_cache import EventCache
from node.event_checks import EventChecker
from node.history_fill import HISTORY_REQUEST, HistoryFill
from node.integrity import EXECUTION, RULES, STATE, Integrity, WatchedExecutor
from node.mempool import Mempool
from node.modules import make_registry, verify_safety_model
from node.peer_answers import BLOCKS_REQUEST
from node.peering import Peering
from node.relay import Relay, SubmissionMalformed
from node.services import Services
from node.snapshot_sync import SnapshotSync
from node.submission_log import SubmissionLog
from node.tree_builder import TreeBuilder
from node.validator import Validator, get_votes_path, open_own_vote_log
from node.vote_log import VoteLog
from p2p.errors import PeerFault
from p2p.links import Inbound
from p2p.network import PeerEvent
from p2p.wire import FrameKind

logger = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter while another waits: the API's thread must not hold up consensus."""
COLLECTION_THRESHOLDS = (50_000, 20, 50)
"""Execution makes many short-lived objects and hardly any cycles: looking for those less often saves a tenth."""
HEALTHY_BEATS = 5
HEALTHY_MS_MIN = 5_000
SYNC_POLL_S = 1.0
VALIDATOR_LAG_BLOCKS = 8
"""A validator that sees a height this far above its own fetches blocks without waiting for consensus to ask."""


def spare_collections() -> None:
    """Let the interpreter look for cycles less often than it would by itself."""
    gc.set_threshold(*COLLECTION_THRESHOLDS)


def load_genesis(config: Config) -> Genesis:
    """Return the configured genesis.  Raises ConfigInvalid and GenesisInvalid."""
    try:
        data = config.genesis_file.read_bytes()
    except OSError as error:
        raise ConfigInvalid(f"{config.genesis_file}: node.genesis: not readable: {error}") from error
    return decode_genesis_file(data)


@dataclass(frozen=True, slots=True)
class Running:
    """What `run_node` reports when the node is ready."""

    api_url: str | None
    p2p_port: int
    chain: Chain
    status: Callable[[], NodeStatus]


class Node:
    """All parts of one node, wired together."""

    def __init__(
        self,
        config: Config,
        config_path: Path,
        seed: bytes,
        chain: Chain,
        vote_log: VoteLog | None,
        submissions: SubmissionLog,
        integrity: Integrity,
    ) -> None:
        self.integrity = integrity
        self.config = config
        self.chain = chain
        self._key = SigningKey(seed)
        self._started_ms = monotonic_ms()
        self._advanced_ms = monotonic_ms()
        self._certified_height = 0
        self.cache = EventCache(chain.registry, chain.chain_id)
        self.mempool = Mempool()
        self.beats = BeatClock(chain.genesis.beat_ms)
        self.executor = WatchedExecutor(chain, integrity)
        cold = ColdEpochs(config.archive_url)
        checkpoint = parse_checkpoint(config.sync.checkpoint)
        if checkpoint is not None:
            checkpoint.verify_chain(chain)
        self.peering = Peering(
            config, config_path, seed, chain, self._on_peer, lambda: integrity.alert is None, cold.open
        )
        self.network = self.peering.network
        self.archivist = Archivist(
            chain,
            self.executor,
            config.archive_url,
            writes=config.archive.write,
            keep_epochs=config.archive.keep_epochs,
        )
        self.catalogues = Catalogues(
            chain,
            request=lambda peer, body: self.network.request(peer, CATALOGUE_REQUEST, body),
            peers=self.peering.list_sources,
            blame=self.peering.blame,
        )
        self.tree_builder = TreeBuilder(chain)
        self.history = HistoryFill(
            chain,
            check=lambda items: chain.check_events(items, certified=True),
            request=lambda peer, body: self.network.request(peer, HISTORY_REQUEST, body),
            peers=self.peering.list_sources,
            blame=self.peering.blame,
        )
        self.snapshots = SnapshotSync(
            chain,
            self.executor,
            request=self.network.request,
            peers=self.peering.list_sources,
            blame=self.peering.blame,
            pause=self._pause,
            exclude=self.tree_builder.exclude,
            events_min=config.sync.snapshot_events_min,
            checkpoint=checkpoint,
        )
        self.sync = BlockSync(
            chain,
            self.executor,
            self.cache,
            request=lambda peer, body: self.network.request(peer, BLOCKS_REQUEST, body),
            peers=self.peering.list_sources,
            blame=self.peering.blame,
            installed=self._on_installed,
            trusts_quorum=config.node.role == VALIDATOR,
            snapshots=self.snapshots if config.begins_from_snapshots else None,
            caught_up=self._resume,
            checker=EventChecker(chain.chain_id),
            checkpoint=checkpoint,
            headers=None if config.begins_from_snapshots else self.snapshots.headers,
        )
        self.relay = Relay(
            chain,
            self.mempool,
            self.cache,
            broadcast=lambda frame: self._broadcast_events(frame),
            events_arrived=self._events_arrived,
            log=submissions,
        )
        self.validator: Validator | None = None
        if config.node.role == VALIDATOR and integrity.alert is None:
            self.validator = self._make_validator(vote_log)
        self.services = Services(
            chain,
            self.mempool,
            self.relay,
            trio.lowlevel.current_trio_token(),
            self.status,
            lambda: integrity.alert,
            sign_bundle=lambda message: self._key.sign(chain.chain_id, Purpose.BUNDLE, message),
            takes_events=config.node.role != AUDITOR,
            open_archive=cold.open,
            list_catalogues=self.catalogues.list_known,
        )
        self.executor.listen(self._on_executed)
        self.executor.listen(self.tree_builder.saw_block)
        self.executor.listen(self.archivist.saw_block)
        self.executor.listen_replaced(self._on_replaced)

    def _make_validator(self, vote_log: VoteLog | None) -> Validator:
        return Validator(
            self.config,
            self._key,
            vote_log,
            chain=self.chain,
            executor=self.executor,
            mempool=self.mempool,
            cache=self.cache,
            beats=self.beats,
            relay=self.relay,
            send=lambda key, frame: self.network.send(key, FrameKind.CONSENSUS, frame),
            request=self.peering.challenge,
            connected=self.network.connected,
            request_sync=self.sync.want,
            on_stable=self._on_stable,
        )

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop` is set; ready when the API answers."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.peering.run)
            nursery.start_soon(self._serve_inbound)
            nursery.start_soon(self._watch_peers)
            nursery.start_soon(self.catalogues.run)
            self._restore_submissions()
            await nursery.start(self._write)
            api: ApiServer | None = None
            url = None
            if self.config.api.enabled:
                api = ApiServer(self.services, self.config.api.host, self.config.api.port)
                url = await trio.to_thread.run_sync(api.start)
            logger.info("node %s ready: API %s, p2p port %d", self.config.node.name, url, self.network.listen_port)
            task_status.started(Running(url, self.network.listen_port, self.chain, self.status))
            try:
                await stop.wait()
            finally:
                # The API refuses first, while what it accepted before can still be sent on.
                if api is not None:
                    with trio.CancelScope(shield=True):
                        await trio.to_thread.run_sync(api.stop)
                nursery.cancel_scope.cancel()

    async def _write(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run what votes, proposes, executes and passes events on, until this node's integrity is lost."""
        if self.integrity.alert is not None:
            task_status.started()
            return
        async with trio.open_nursery() as nursery:
            if self.services.takes_events:
                nursery.start_soon(self.relay.run)
            nursery.start_soon(self.sync.run)
            nursery.start_soon(self.history.run)
            nursery.start_soon(self.tree_builder.run)
            nursery.start_soon(self.archivist.run)
            if self.validator is not None:
                await nursery.start(self.validator.run)
            task_status.started()
            await self.integrity.wait_raised()
            nursery.cancel_scope.cancel()

    def _restore_submissions(self) -> None:
        if self.integrity.alert is None and (count := self.relay.restore()):
            logger.info("%d events that were accepted before the restart wait again", count)

    # News.

    def _on_executed(self, executed: Executed) -> None:
        header = executed.header
        self._advanced_ms = monotonic_ms()
        self.beats.saw_executed(header.beat)
        done, lost = self.mempool.remove_block(executed)
        self.relay.forget([*done, *(event_id for event_id, _ in lost)])
        self.services.tell_block(executed)
        self.services.tell_lost(lost)
        self.peering.follow_chain()

    def _on_replaced(self) -> None:
        """A snapshot is the state now: forget what it has overtaken."""
        header = self.chain.head.header
        self._advanced_ms = monotonic_ms()
        self.history.look()
        self.beats.saw_executed(header.beat)
        self.relay.forget(self.mempool.remove_overtaken(self.chain.store))
        self.services.tell_lost(self.mempool.remove_expired(header.beat))
        self.peering.follow_chain()

    async def _pause(self) -> None:
        """Let nothing vote, execute or write history any more: a snapshot is about to replace the state."""
        if self.validator is not None:
            await self.validator.pause()
        await self.history.pause()

    def _resume(self) -> None:
        self.history.resume()
        if self.validator is not None:
            self.validator.resume()

    def _on_stable(self, height: int) -> None:
        self._certified_height = max(self._certified_height, height)
        validators = choose_validators(self.chain).keys
        observers = [key for key in self.network.connected() if key not in validators]
        if observers:
            self.network.broadcast(FrameKind.ANNOUNCEMENT, height.to_bytes(8, "big"), observers)

    def _on_installed(self, height: int, certificate: Certificate) -> None:
        self._certified_height = max(self._certified_height, height)
        if self.validator is not None:
            self.validator.put_installed(height, certificate)

    def _on_peer(self, event: PeerEvent) -> None:
        logger.info("peer %s %s", event.public_key.hex()[:16], "connected" if event.up else "gone")
        if event.up and event.height > self.chain.head.height:
            self._consider_height(event.height)

    def _events_arrived(self) -> None:
        if self.validator is not None:
            self.validator.events_arrived()

    def _broadcast_events(self, frame: bytes) -> None:
        self.network.broadcast(FrameKind.SUBMISSION, frame, self.chain.validators.keys)

    def _consider_height(self, height: int) -> None:
        lag = height - self.chain.head.height
        follows = self.validator is None or self.validator.driver is None
        if follows or lag > VALIDATOR_LAG_BLOCKS:
            self.sync.want(height)

    async def _watch_peers(self) -> None:
        """Peers tell their height with each heartbeat; fall behind, and fetch."""
        while True:
            halted = None if self.validator is None else self.validator.halted
            if halted is not None:  # a quorum signed what we do not have
                self.integrity.raise_alert(EXECUTION, halted, self.chain.head.header)
            height = self.peering.look()
            if height is not None:
                self._consider_height(height)
            await trio.sleep(SYNC_POLL_S)

    # Frames.

    async def _serve_inbound(self) -> None:
        async for frame in self.network.inbound:
            try:
                await self._serve_frame(frame)
            except PeerFault as fault:
                self.network.penalize(frame.public_key, fault)

    async def _serve_frame(self, frame: Inbound) -> None:
        """Take one frame.  Raises PeerFault for what no correct peer sends."""
        if self.integrity.alert is not None:
            return
        match frame.kind:
            case FrameKind.CONSENSUS:
                if self.validator is None:
                    return
                try:
                    self.validator.receive(frame.public_key, frame.body)
                except (InvalidMessage, EncodingError) as error:
                    raise PeerFault("consensus_message_invalid", 20, str(error)) from error
            case FrameKind.SUBMISSION if self.services.takes_events:
                try:
                    await self.relay.receive(frame.body)
                except SubmissionMalformed as error:
                    raise PeerFault("submission_malformed", 20, str(error)) from error
            case FrameKind.ANNOUNCEMENT:
                if len(frame.body) != 8:
                    raise PeerFault("announcement_malformed", 20, f"expected 8 bytes, got {len(frame.body)}")
                self._consider_height(int.from_bytes(frame.body, "big"))
            case _:
                raise PeerFault("frame_unexpected", 20, f"expected no frame of kind {frame.kind!r} here")

    # Status.

    def status(self) -> NodeStatus:
        """Return the state of the node; callable from any thread."""
        validator = self.validator
        driver = None if validator is None else validator.driver
        replica = None if driver is None else driver.replica
        head = self.chain.head
        return NodeStatus(
            name=self.config.node.name,
            role=self.config.node.role,
            version=metadata.version("atlas-node"),
            public_key=self._key.public,
            replica=None if validator is None else validator.me,
            view=None if replica is None else replica.view,
            primary=None if replica is None else replica.primary,
            in_view_change=False if replica is None else replica.in_view_change,
            abstains=replica is not None and replica.status().abstains,
            syncing=self.sync.active,
            sync_target=self.sync.target,
            proven_height=max(self.sync.proven_height, head.height),
            history_missing=self.history.missing.blocks,
            halted=self._why_halted(),
            height=head.height,
            certified_height=self._certified_height,
            height_age_ms=monotonic_ms() - self._advanced_ms,
            healthy_age_ms_max=max(HEALTHY_MS_MIN, HEALTHY_BEATS * self.chain.genesis.beat_ms),
            mempool_events=len(self.mempool),
            mempool_bytes=self.mempool.size_bytes,
            uptime_ms=monotonic_ms() - self._started_ms,
            peers=self.peering.status(),
            protocol_min=self.peering.protocol_min,
            protocol_max=self.peering.protocol_max,
            addresses_known=self.peering.addresses_known,
            addresses_verified=self.peering.addresses_verified,
            alert=self.integrity.alert,
        )

    def _why_halted(self) -> str | None:
        if self.integrity.alert is not None:
            return f"{self.integrity.alert.code}: {self.integrity.alert.why}"
        return None if self.validator is None else self.validator.halted


async def run_node(
    config: Config,
    config_path: Path,
    seed: bytes,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Open everything, run the node until `stop` is set, close everything."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    spare_collections()
    genesis = load_genesis(config)
    data = config.data_folder

    integrity = Integrity()

    def open_chain() -> tuple[Chain, VoteLog | None]:
        store = Store(data / "ledger")
        faults: list[tuple[str, str]] = []
        try:
            chain = Chain(
                store,
                genesis,
                make_registry(),
                on_fault=lambda what, why: faults.append((what, why)),
                on_migration=logger.info,
            )
            if not faults:
                try:
                    verify_safety_model(read_policies(store))
                except ConfigInvalid as other:
                    faults.append((RULES, str(other)))
        except Exception:
            store.close()
            raise
        log = None
        # A damaged state says more than other rules: then nothing is read from it.
        for what, why in sorted(faults, key=lambda fault: fault[0] != STATE)[:1]:
            integrity.raise_alert(what, why, chain.head.header)
        if config.node.role == VALIDATOR and not faults:
            log = open_own_vote_log(chain, get_votes_path(config), SigningKey(seed).public)
        return chain, log

    chain, vote_log = await trio.to_thread.run_sync(open_chain)
    submissions = SubmissionLog(data / "submissions.log", SIGNED_EVENT_BYTES_MAX)
    node: Node | None = None
    try:
        node = Node(config, config_path, seed, chain, vote_log, submissions, integrity)
        await node.run(stop, task_status=task_status)
    finally:
        submissions.close()
        if node is not None and node.validator is not None:
            node.validator.close()
        elif vote_log is not None:
            vote_log.close()
        chain.store.close()
        logger.info("node %s stopped at height %d", config.node.name, chain.head.height)
