"""One validator: the node's own core, replica, chain, vote log, mempool and clocks, driven by events in virtual time.

Left out of a node: the API, the reporter (telemetry and evidence on the ledger), and what libp2p does to a connection.
"""

from collections.abc import Callable
from functools import partial

from consensus.effects import JudgeBatch
from consensus.errors import InvalidMessage
from consensus.inputs import Input, Installed, Started
from consensus.message_log import FUTURE_MESSAGES_PER_WINDOW
from consensus.messages import AnySigned, Certificate, Checkpoint, Sign, decode_signed
from consensus.parameters import Parameters
from ledger.events import SignedEvent
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import decode_record
from ledger.primitives.signing import Purpose
from ledger.storage import StoreDamaged
from ledger.transition import Executed
from node.block_fetch import answer_range
from node.clock import BeatClock
from node.consensus_core import INPUTS_MAX, ConsensusCore, Outgoing, Work
from node.eras import encode_frame, split_frame
from node.event_cache import EventCache
from node.mempool import BYTES_MAX, EVENTS_MAX, Answer, Mempool
from node.replica import recover_replica
from node.vote_log import RECORD_BYTES_MAX, VoteLog, VoteLogCorrupt
from simulations.faults import Faults, Range, draw
from simulations.fetching import Answered, Fetching
from simulations.machine import Machine, WatchedChain
from simulations.network import Network
from simulations.observations import (
    Accused,
    BlockMade,
    Certified,
    Delivered,
    Dropped,
    EnteredView,
    Halted,
    Observer,
    Paced,
    ProposalRefused,
    Restarted,
    Sent,
    Sized,
    Syncing,
    TookSeat,
)
from simulations.relaying import Relaying
from simulations.schedule import Action, Lane, Schedule
from simulations.seat import Seat, find_seat, take_seat
from simulations.setting import TIME_MS, Setting, make_replica_key

JUDGE_MS = (0, 2)
EXECUTE_MS = (1, 4)
SYNC_MS = (0, 3)
ANSWER_MS = (1, 3)
HEARTBEAT_MS = 1_000
"""How often a replica tells its height, and looks at those of others."""
LAG_BLOCKS = 8
"""As in `node.run`: further behind than this, blocks are fetched without waiting for consensus to ask."""
Behaviour = Callable[[Sent], list[Sent]]
"""What a lying replica sends in place of a frame: nothing, the frame, other frames, frames to others."""
BlockAnswers = Callable[[bytes, bytes], bytes | None]
"""What a lying replica answers, given a request for blocks and the true answer; None for silence."""


Route = Callable[[int, int], "Validator"]
"""(source, to): the machine that gets what `source` sends to replica `to`; with twins there are two."""


class Validator(Machine):
    """A machine that runs a node: a replica while the validator set has its key, and else a follower of the chain."""

    def __init__(
        self,
        number: int,
        schedule: Schedule,
        setting: Setting,
        faults: Faults,
        network: Network,
        route: "Route",
        observe: Observer,
        name: str,
    ) -> None:
        super().__init__(number, schedule, faults, observe, name, setting.initial)
        self.behaviour: Behaviour | None = None
        self.block_answers: BlockAnswers | None = None
        self.answer_ms: Range = ANSWER_MS
        self.height_claim: int | None = None
        """The height that it tells others, if not its own."""
        self.ignored_authors: frozenset[bytes] = frozenset()
        """Accounts whose events it takes from clients and others, and drops."""
        self.make_mempool: Callable[[], Mempool] = Mempool
        """What a liar's events wait in may choose otherwise."""
        self.audience: frozenset[int] | None = None
        """The replicas that hear it, if not all do: a twin has the others."""
        self.seat: Seat | None = None
        """Its place in consensus; None while its key is not in the validator set, and it follows the chain."""
        self._setting = setting
        self._network = network
        self._route = route

    # What the world does.

    def start(self) -> None:
        """Start, or start again from what is on disk."""
        assert not self.up, "a node starts when it does not run"
        self.up = True
        self._guard(self._start)

    def submit(self, signed: SignedEvent) -> Answer:
        """Take a client's event.  Only of a node that runs."""
        assert self.up
        answer = self.relay.submit(signed)
        self._wake()
        return answer

    @property
    def core(self) -> ConsensusCore:
        """What drives its replica.  Only of a machine whose key is in the set."""
        assert self.seat is not None, f"machine {self.number} is in the validator set"
        return self.seat.core

    def sign(self, purpose: Purpose, message: bytes) -> bytes:
        """Sign as its replica of the era that it is in: for its behaviour."""
        parameters = self._setting.parameters if self.seat is None else self.seat.parameters
        return make_replica_key(self.number).sign(parameters.domain(purpose), purpose, message)

    def describe(self) -> str:
        """One line for people."""
        if not self.up:
            return f"replica {self.number}: down; {self.refuses or ''}"
        return (
            f"replica {self.number}: height {self.chain.head.height}, mempool {len(self.mempool)}, "
            f"{'follows' if self.seat is None else self.seat.core.replica.status()}"
        )

    # Starting.

    def _start(self) -> None:
        try:
            self._open()
            self._open_seat()
        except (VoteLogCorrupt, StoreDamaged) as damaged:
            self.up = False
            self.life += 1
            self.refuses = str(damaged)
            self._observe(Halted(self._schedule.now_ms, self.number, str(damaged)))
            return
        self._observe(Restarted(self._schedule.now_ms, self.number, self.life, self.chain.head.height))
        self._begin_era()
        self._beat_heart()

    def _open(self) -> None:
        setting = self._setting
        self._halted = None
        self._syncing = False
        self._told_syncing = False
        self._wake_at: int | None = None
        self.chain = WatchedChain(self.disk.store, setting.genesis, setting.registry)
        self.chain.on_durable = self._on_durable
        self._is_replaying = False
        self._cache = cache = EventCache(setting.registry, self.chain.chain_id, setting.check_once)
        self.mempool = self.make_mempool()
        self._beats = BeatClock(setting.genesis.beat_ms, self.local_ms)
        self._judging = Lane(self.after, lambda: draw(self._stream, JUDGE_MS))
        self._writing = Lane(self.after, lambda: draw(self._stream, EXECUTE_MS))
        self._peers = [number for number in range(setting.machines) if number != self.number]
        self.fetching = Fetching(self, self.chain, setting.make_parameters, cache, self._peers)
        self.relay = Relaying(
            self.chain,
            self.mempool,
            cache,
            clock=self.local_ms,
            after=self.after,
            broadcast=self.broadcast_events,
            ignores=lambda author: author in self.ignored_authors,
        )

    def _open_seat(self) -> None:
        self.seat = take_seat(self._setting, self.chain, self.number, self.disk.log, self._make_core)

    def _begin_era(self) -> None:
        """Vote in the era that goes on, if the set of it has this machine's key."""
        if self.seat is not None:
            self._observe(TookSeat(self._schedule.now_ms, self.number, self.seat.era, self.seat.machines))
            self.put(Started())

    def _make_core(self, parameters: Parameters, me: int, sign: Sign, vote_log: VoteLog) -> ConsensusCore:
        asks = self.audience is None  # one beside a twin is to lie
        return ConsensusCore(
            recover_replica(parameters, me, sign, self.chain, vote_log.records, asks=asks),
            parameters,
            me,
            chain=self.chain,
            mempool=self.mempool,
            cache=self._cache,
            beats=self._beats,
            monotonic_ms=self.local_ms,
            wall_ms=lambda: TIME_MS + self._wall_offset_ms + self._schedule.now_ms,
            on_stable=self._on_stable,
            on_vote=_ignore_vote,
            events_max=self._setting.timing.batch_events_max,
            batch_wait_ms=self._setting.timing.batch_wait_ms,
            pass_on=self.relay.adopt,
        )

    # The driver: as `node.consensus_driver`, but what waits there is an event here.

    def put(self, item: Input) -> None:
        """Give an input to the core, if there is one."""
        if self.seat is not None:
            self.seat.core.put(item)
            self._wake()

    def _wake(self) -> None:
        """Advance when there is something to do, or when the next timer is due."""
        seat = self.seat
        if seat is None or self._syncing or self._halted is not None:
            return
        now = self._schedule.now_ms
        at = now if seat.core.inputs_waiting else max(now, self._true_ms(seat.core.next_deadline_ms()))
        if self._wake_at is None or at < self._wake_at:
            self._wake_at = at
            self.after(at - now, lambda: self._advance(at))

    def _advance(self, at: int) -> None:
        seat = self.seat
        if seat is None or self._wake_at != at or self._syncing or self._halted is not None:
            return
        self._wake_at = None
        work = seat.core.advance()
        if not seat.core.replica.syncing or work.fetch_to:  # a new target: it may have voted between the two
            self._tell_syncing(False)
        now = self._schedule.now_ms
        for view in work.entered:
            self._observe(EnteredView(now, self.number, view))
        for evidence in work.evidence:
            machine = seat.machines[evidence.first.message.replica]
            self._observe(Accused(now, self.number, evidence.first, evidence.second, seat.era, machine))
        for judge in work.judge:
            self._judging.put(partial(self._judge, seat, judge))
        for order in work.execute:
            self._writing.put(partial(self._execute, seat, order.seq, order.batch))
        for height in work.fetch_to:
            self.fetching.want(height)
        seat.vote_log.append(work.records)
        if work.records or seat.vote_log.size_bytes > self._setting.timing.rewrite_after_bytes:
            self._syncing = True
            self.after(draw(self._stream, SYNC_MS), lambda: self._sync(seat, work))
        else:
            self._send_all(seat, work)

    def _sync(self, seat: Seat, work: Work) -> None:
        """Make the records durable; only then the messages leave."""
        if seat.vote_log.size_bytes > self._setting.timing.rewrite_after_bytes:
            seat.vote_log.rewrite(seat.core.make_certificate_durable())
        else:
            seat.vote_log.sync()
        self._syncing = False
        self._send_all(seat, work)

    def _send_all(self, seat: Seat, work: Work) -> None:
        for outgoing in work.outgoing:
            self._send(seat, outgoing)
        self._tell_syncing(seat.core.replica.syncing)
        if seat.core.halted is not None:
            self._halt(seat.core.halted)
        if seat.core.has_ended:
            seat.core.make_certificate_durable()
            self._tell_syncing(False)
            self._open_seat()
            self._begin_era()
        self._wake()

    def _tell_syncing(self, active: bool) -> None:
        if active != self._told_syncing:
            self._told_syncing = active
            self._observe(Syncing(self._schedule.now_ms, self.number, active))

    def _judge(self, seat: Seat, judge: JudgeBatch) -> None:
        judged = seat.core.judge(judge) if seat is self.seat else None
        if judged is not None:
            if not judged.accepted:
                now = self._schedule.now_ms
                self._observe(ProposalRefused(now, self.number, judged.view, judged.seq, judged.why))
            self.put(judged)

    def _execute(self, seat: Seat, seq: int, batch: bytes) -> None:
        if seat is not self.seat:
            return
        if seq <= self.chain.head.height:
            self.put(seat.core.compute_executed(seq, None))
            return
        proposal = seat.core.open(batch)
        executed = self.chain.execute(proposal.batch, proposal.checked)
        self.told(executed)
        self.put(seat.core.compute_executed(seq, executed.hash))

    # What the parts tell each other, as in `node.run`.

    def _on_durable(self, executed: Executed) -> None:
        self._observe(BlockMade(self._schedule.now_ms, self.number, executed, self._is_replaying))

    def told(self, executed: Executed) -> None:
        """A block was made, by execution or by replay."""
        self._beats.saw_executed(executed.header.beat)
        done, lost = self.mempool.remove_block(executed)
        self.relay.forget([*done, *(event_id for event_id, _ in lost)])
        if self.seat is None and find_seat(self._setting, self.chain, self.number) is not None:
            self._open_seat()
            self._begin_era()

    def installed(self, height: int, certificate: Certificate) -> None:
        """A certified block was fetched."""
        self._observe(Certified(self._schedule.now_ms, self.number, certificate))
        self.put(Installed(height, certificate))

    def write(self, action: Action) -> None:
        self._writing.put(partial(self._replay, action))

    def _replay(self, action: Action) -> None:
        self._is_replaying = True
        try:
            action()
        finally:
            self._is_replaying = False

    def _on_stable(self, height: int) -> None:
        data = self.chain.read_certificate(height)
        assert data is not None, "it was just written"
        self._observe(Certified(self._schedule.now_ms, self.number, decode_record(Certificate, data)))

    def _beat_heart(self) -> None:
        height = self.chain.head.height if self.height_claim is None else self.height_claim
        for peer in self._peers:
            self._post(peer, "height", lambda other: other.hear_height(self.number, height))
        self._consider_height()
        self._observe(Sized(self._schedule.now_ms, self.number, self._measure()))
        if self.seat is not None:
            status = self.seat.core.replica.status()
            self._observe(Paced(self._schedule.now_ms, self.number, status.timeout_ms))
        self.after(HEARTBEAT_MS, self._beat_heart)

    def hear_height(self, peer: int, height: int) -> None:
        self.fetching.heights[peer] = height

    def _consider_height(self) -> None:
        highest = max(self.fetching.heights.values())
        lag_max = 0 if self.seat is None else LAG_BLOCKS
        if highest - self.chain.head.height > lag_max and self._halted is None:
            self.fetching.want(highest)

    def _measure(self) -> tuple[tuple[str, int, int], ...]:
        mempool = (
            ("mempool events", len(self.mempool), EVENTS_MAX),
            ("mempool bytes", self.mempool.size_bytes, BYTES_MAX),
        )
        if self.seat is None:
            return mempool
        status, parameters = self.seat.core.replica.status(), self.seat.parameters
        log_bytes_max = self._setting.timing.rewrite_after_bytes + RECORD_BYTES_MAX
        return (
            *mempool,
            ("inputs", self.seat.core.inputs_waiting, INPUTS_MAX),
            ("slots", status.slots, 2 * parameters.window),  # up to one window above the high water mark
            ("future messages", status.future_messages, FUTURE_MESSAGES_PER_WINDOW * parameters.window * parameters.n),
            ("vote log bytes", self.seat.vote_log.size_bytes, log_bytes_max),
        )

    # Messages out.

    def _send(self, seat: Seat, outgoing: Outgoing) -> None:
        era, envelope = split_frame(outgoing.frame)
        signed, batch = decode_signed(envelope, seat.parameters)
        speaker = seat.machines[signed.message.replica]
        for to in seat.machines if outgoing.replica is None else (seat.machines[outgoing.replica],):
            if to == self.number:
                continue
            self._pass_point("send")
            sent = Sent(self._schedule.now_ms, self.number, to, signed, batch, era, speaker)
            if self.behaviour is None:
                self._transmit(sent, outgoing.frame)
            else:
                for other in self.behaviour(sent):
                    self._transmit(other, encode_frame(era, other.signed, other.batch))

    def _transmit(self, sent: Sent, frame: bytes) -> None:
        self._observe(sent)
        what = type(sent.signed.message).__name__
        later_ms = self._network.get_delay_ms(sent)
        if later_ms is None:
            self._observe(Dropped(sent.at_ms, self.number, sent.to, f"scripted {what}"))
            return
        arrive = partial(_receive, sent=sent, frame=frame)
        self._post(sent.to, what, arrive, later_ms)

    def _post(self, to: int, what: str, arrive: Callable[["Validator"], None], later_ms: int = 0) -> None:
        if self.audience is not None and to not in self.audience:
            return
        other = self._route(self.number, to)

        def arrived() -> None:
            if other.up:
                other._guard(lambda: arrive(other))
            else:
                self._observe(Dropped(self._schedule.now_ms, self.number, to, f"down {what}"))

        self._network.post(self.number, to, what, arrived, later_ms)

    def broadcast_events(self, frame: bytes) -> None:
        """Relay events to all others."""
        for peer in self._peers:
            self._post(peer, "events", lambda other: other.receive_events(self.number, frame))

    def request(self, peer: int, body: bytes, answered: Answered) -> None:
        """Ask a peer for blocks; the answer comes to this life or not at all."""
        life = self.life

        def answer(other: "Validator") -> None:
            true = answer_range(other.chain, body)
            data = true if other.block_answers is None else other.block_answers(body, true)
            if data is None:
                return
            found = data

            def arrive(me: Validator) -> None:
                if me.life == life:
                    answered(found)

            other._post(self.number, "blocks", arrive)

        self._post(
            peer, "request", lambda other: other.after(draw(other._stream, other.answer_ms), lambda: answer(other))
        )

    # Messages in.

    def receive(self, source: int, signed: AnySigned, frame: bytes, sent_ms: int) -> None:
        """Take a consensus frame."""
        if self._halted is not None or self.seat is None:
            return
        now = self._schedule.now_ms
        try:
            era, _ = split_frame(frame)
            taken = self.seat.core.receive(frame)
        except (InvalidMessage, EncodingError) as refused:
            self._observe(Dropped(now, source, self.number, f"refused {type(signed.message).__name__}: {refused}"))
            return
        if not taken or era != self.seat.era:
            why = "queue full" if era == self.seat.era else f"era {era}"
            self._observe(Dropped(now, source, self.number, why))
            self._wake()
            return
        self._observe(Delivered(now, source, self.number, signed, sent_ms, self.seat.era))
        self._wake()

    def receive_events(self, source: int, frame: bytes) -> None:
        """Take events that another replica accepted."""
        if self._halted is not None:
            return
        if not self.relay.receive(frame):
            self._observe(Dropped(self._schedule.now_ms, source, self.number, "refused events"))
        self._wake()


def _receive(other: Validator, *, sent: Sent, frame: bytes) -> None:
    other.receive(sent.source, sent.signed, frame, sent.at_ms)


def _ignore_vote(vote: Checkpoint, signature: bytes) -> None:
    """A node's reporter collects these; there is none here."""
