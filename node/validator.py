"""A node as a validator: its part in consensus, era after era, and what it reports about service.

A node whose key is not in the validator set follows the chain like any other.  When the set takes it in, it begins to
vote at that height, having executed everything below; when the set leaves it out, it goes back to following.
"""

import logging
from collections.abc import Callable, Collection
from pathlib import Path

import trio

from consensus.effects import Evidence
from consensus.inputs import Installed
from consensus.messages import Certificate
from ledger.chain import Chain
from ledger.primitives.signing import Purpose, SigningKey
from ledger.service import Validators
from ledger.transition import Executed
from node.clock import BeatClock
from node.config import Config
from node.consensus_driver import ConsensusDriver
from node.eras import choose_validators, find_replica, make_parameters, open_vote_log, split_frame
from node.event_cache import EventCache
from node.evidence_book import EvidenceBook
from node.executor import Executor
from node.mempool import Mempool
from node.relay import Relay
from node.replica import recover_replica
from node.reporter import Reporter, Request
from node.restored import clear_mark, is_marked
from node.vote_log import DiskFile, VoteLog
from p2p.errors import PeerFault

logger = logging.getLogger(__name__)


def open_own_vote_log(chain: Chain, path: Path, public_key: bytes) -> VoteLog | None:
    """Return the votes of the era that goes on; None when the key has no vote in it.

    Blocks on the disk.  Raises VoteLogCorrupt and OSError.
    """
    validators = choose_validators(chain)
    if find_replica(validators, public_key) is None:
        return None
    return open_vote_log(DiskFile(path), chain, validators)


class Validator:
    """Runs one driver after another.  `send(public key, frame)` queues a frame for a validator and never waits."""

    def __init__(
        self,
        config: Config,
        key: SigningKey,
        vote_log: VoteLog | None,
        *,
        chain: Chain,
        executor: Executor,
        mempool: Mempool,
        cache: EventCache,
        beats: BeatClock,
        relay: Relay,
        send: Callable[[bytes, bytes], bool],
        request: Request,
        connected: Callable[[], Collection[bytes]],
        request_sync: Callable[[int], None],
        on_stable: Callable[[int], None],
    ) -> None:
        """vote_log: as `open_own_vote_log` gave it."""
        self.driver: ConsensusDriver | None = None
        """None while the set does not have this node's key."""
        self.me: int | None = None
        """This node's replica number, which changes with the era."""
        self._config = config
        self._key = key
        self._chain = chain
        self._executor = executor
        self._mempool = mempool
        self._cache = cache
        self._beats = beats
        self._send = send
        self._request_sync = request_sync
        self._tell_stable = on_stable
        self._pass_on = relay.adopt
        self._vote_log = vote_log
        self._set_changed = trio.Event()
        self._driving = trio.CancelScope()
        self._resting = trio.Event()
        self._resumed: trio.Event | None = None
        self._evidence = EvidenceBook(config.data_folder / "evidence")
        self._reporter = Reporter(
            chain,
            key,
            submit=relay.submit,
            is_waiting=lambda event_id: event_id in mempool,
            request=request,
            connected=connected,
            evidence=self._evidence,
        )
        executor.listen(self._saw_block)
        executor.listen_replaced(lambda: self._set_changed.set())
        self._begin_era()

    @property
    def halted(self) -> str | None:
        """Why this node votes no more, if so."""
        return None if self.driver is None else self.driver.halted

    def put_installed(self, height: int, certificate: Certificate) -> None:
        """A certified block was fetched, and executed here."""
        if self.driver is not None:
            self.driver.put(Installed(height, certificate))

    def receive(self, public_key: bytes, frame: bytes) -> None:
        """Take a consensus frame.  Raises InvalidMessage, and PeerFault for one from outside of the validator set."""
        if self.driver is None:
            return
        if public_key in self._validators.keys:
            self.driver.receive(frame)
            return
        era, _ = split_frame(frame)
        # Whoever has left does not know it yet, and who has joined since is not known here.
        if era == self._validators.era or (era < self._validators.era and public_key not in self._left):
            raise PeerFault("not_a_validator", 20, "expected consensus messages from validators only")

    def events_arrived(self) -> None:
        """Tell that the mempool has more than before."""
        if self.driver is not None:
            self.driver.events_arrived()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Vote, propose and report until cancelled.  Raises VoteLogCorrupt."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reporter.run)
            task_status.started()
            while True:
                if self.driver is None:
                    await self._wait_for_place()
                else:
                    with trio.CancelScope() as self._driving:
                        await self.driver.run()
                        era = self._validators.era
                        logger.info("era %d ended at height %d", era, self._chain.validators.since - 1)
                self.close()
                if (resumed := self._resumed) is not None:
                    self._resting.set()
                    await resumed.wait()
                self._vote_log = await trio.to_thread.run_sync(
                    open_own_vote_log, self._chain, self._votes_path, self._key.public
                )
                self._begin_era()

    async def pause(self) -> None:
        """Take no part in consensus until `resume`: another state is about to replace the one that was voted on."""
        if self._resumed is not None:
            return
        self._resumed = trio.Event()
        if self.driver is not None:
            self._resting = trio.Event()
            self.driver = None
            self._driving.cancel()
            await self._resting.wait()

    def resume(self) -> None:
        """Take part again, as after a restart; nothing happens when there was no pause."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    def close(self) -> None:
        """Close the vote log; the node stops, or its era is over."""
        if self._vote_log is not None:
            self._vote_log.close()

    @property
    def _votes_path(self) -> Path:
        return get_votes_path(self._config)

    def _begin_era(self) -> None:
        self._validators = validators = choose_validators(self._chain)
        self._left = self._chain.validators_at(validators.since - 1).keys if validators.era else ()
        self.me = find_replica(validators, self._key.public)
        if self.me is None:
            self.driver = None
            logger.info(
                "this node's key is not in the validator set of era %d: it follows the chain until it is admitted",
                validators.era,
            )
            return
        assert self._vote_log is not None, "the era's votes were opened"
        self.driver = self._make_driver(self.me, validators, self._vote_log)
        if validators.era:
            logger.info("era %d: replica %d of %d", validators.era, self.me, len(validators.keys))

    def _make_driver(self, me: int, validators: Validators, vote_log: VoteLog) -> ConsensusDriver:
        parameters = make_parameters(self._chain.chain_id, validators, self._config)

        def sign(purpose: Purpose, message: bytes) -> bytes:
            return self._key.sign(parameters.domain(purpose), purpose, message)

        data = self._config.data_folder
        forgot = is_marked(data)
        if forgot:
            logger.warning(
                "this node was restored from a backup and may have voted since: it votes for nothing until that is over"
            )
        replica = recover_replica(parameters, me, sign, self._chain, vote_log.records, forgot=forgot)
        if replica.stable_certificate is not None:
            self._tell_stable(replica.stable_certificate.seq)
        return ConsensusDriver(
            replica,
            parameters,
            me,
            chain=self._chain,
            executor=self._executor,
            mempool=self._mempool,
            cache=self._cache,
            beats=self._beats,
            vote_log=vote_log,
            send=lambda to, frame: self._send(validators.keys[to], frame),
            request_sync=self._request_sync,
            on_stable=self._tell_stable,
            on_vote=self._reporter.saw_vote,
            on_evidence=lambda found: self._keep_evidence(found, validators),
            events_max=self._config.consensus.batch_events_max,
            batch_wait_ms=self._config.consensus.batch_wait_ms,
            pass_on=self._pass_on,
            on_remembered=self._saw_remembered if forgot else None,
        )

    def _saw_remembered(self) -> None:
        clear_mark(self._config.data_folder)
        logger.info("all that this node may have voted before it was restored is over: it votes again")

    async def _wait_for_place(self) -> None:
        while find_replica(choose_validators(self._chain), self._key.public) is None:
            self._set_changed = trio.Event()
            await self._set_changed.wait()

    def _saw_block(self, executed: Executed) -> None:
        self._reporter.saw_block(executed)
        if self.driver is None:
            self._set_changed.set()

    def _keep_evidence(self, found: Evidence, validators: Validators) -> None:
        body = self._evidence.keep(found, validators)
        if body is not None:
            logger.error(
                "validator %s signed two votes that contradict each other (%s)", body.key.hex()[:16], body.kind
            )


def get_votes_path(config: Config) -> Path:
    """Return where a node keeps its votes."""
    return config.data_folder / "votes.log"
