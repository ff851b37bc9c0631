"""The driver: carries inputs into the replica and its effects out, in the order given.

One task owns the replica.  Votes are durable before they are sent: all records that a round of inputs gave are synced
once, and only then its messages leave.  Execution and judging run beside it and come back as inputs.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable

import trio

from consensus.authentication import verify_signed
from consensus.effects import (
    Broadcast,
    Effect,
    Evidence,
    Execute,
    FetchBatch,
    FetchBlocks,
    Halt,
    JudgeBatch,
    Persist,
    Send,
    Stable,
    StartTimer,
    StopTimer,
    ViewChanged,
)
from consensus.inputs import (
    BatchJudged,
    Executed,
    Input,
    OldestRequest,
    Propose,
    Received,
    Started,
    TimerFired,
    TimerKind,
)
from consensus.messages import Checkpoint, decode_signed, encode_signed, holds
from consensus.parameters import Parameters
from consensus.replica import Replica
from ledger.block import BATCH_BYTES_MAX, Batch, encode_batch
from ledger.chain import Chain
from ledger.events import CheckedEvent
from ledger.primitives.records import encode_record
from node.clock import BeatClock, monotonic_ms, now_ms
from node.event_cache import EventCache
from node.executor import Executor
from node.judgement import BatchRefused, Proposal, judge_proposal, open_proposal
from node.mempool import Mempool
from node.vote_log import VoteLog

logger = logging.getLogger(__name__)

INPUTS_MAX = 4_096
"""Waiting inputs; beyond, messages of peers are dropped, which retransmission mends."""
PROPOSALS_KEPT = 64
EVENTS_PER_BREATH = 16
REWRITE_AFTER_BYTES = 8 * 1024 * 1024
BATCH_MARGIN_BYTES = 64 * 1024
BEATS_MISSED_MAX = 3
POLL_MS = 250
"""How often the driver looks at its clock when nothing happens."""

SendFrame = Callable[[int, bytes], bool]
RequestSync = Callable[[int], None]


class ConsensusDriver:
    """Runs one replica.  `send(replica, frame)` queues a frame for another validator and never waits."""

    def __init__(
        self,
        replica: Replica,
        parameters: Parameters,
        me: int,
        *,
        chain: Chain,
        executor: Executor,
        mempool: Mempool,
        cache: EventCache,
        beats: BeatClock,
        vote_log: VoteLog,
        send: SendFrame,
        request_sync: RequestSync,
        on_stable: Callable[[int], None],
        on_vote: Callable[[Checkpoint, bytes], None],
        events_max: int,
        batch_wait_ms: int,
    ) -> None:
        self.replica = replica
        self.halted: str | None = None
        self._parameters = parameters
        self._me = me
        self._chain = chain
        self._executor = executor
        self._mempool = mempool
        self._cache = cache
        self._beats = beats
        self._vote_log = vote_log
        self._send = send
        self._request_sync = request_sync
        self._tell_stable = on_stable
        self._tell_vote = on_vote
        self._events_max = events_max
        self._batch_wait_ms = batch_wait_ms
        self._inputs: deque[Input] = deque()
        self._wake = trio.Event()
        self._timers: dict[TimerKind, tuple[int, TimerFired]] = {}
        self._proposals: OrderedDict[bytes, Proposal] = OrderedDict()
        self._oldest: bytes | None = None
        self._events_since_ms: int | None = None
        self._to_judge, self._judging = trio.open_memory_channel[JudgeBatch](64)
        self._to_execute, self._executing = trio.open_memory_channel[Execute](64)

    # What others call, from the trio thread.

    def put(self, item: Input) -> None:
        """Hand over an input; our own are never dropped."""
        self._inputs.append(item)
        self._wake.set()

    def receive(self, replica: int, frame: bytes) -> None:
        """Take a consensus frame that replica's link carried.  Raises InvalidMessage, at that peer's expense."""
        if len(self._inputs) >= INPUTS_MAX:
            return
        signed, batch = decode_signed(frame, self._parameters)
        verify_signed(self._parameters, signed)
        if holds(signed, Checkpoint):
            self._tell_vote(signed.message, signed.signature)
        self.put(Received(signed, batch))

    def events_arrived(self) -> None:
        """Tell that the mempool has more than before."""
        self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drive the replica until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._judge_proposals)
            nursery.start_soon(self._execute_batches)
            self.put(Started())
            task_status.started()
            while True:
                await self._wait_for_work()
                effects: list[Effect] = []
                self._fire_timers()
                for _ in range(len(self._inputs)):
                    effects.extend(self.replica.step(self._inputs.popleft()))
                effects.extend(self._watch_oldest())
                effects.extend(self._propose())
                await self._carry_out(effects)

    async def _wait_for_work(self) -> None:
        if self._inputs:
            await trio.lowlevel.checkpoint()
            return
        self._wake = trio.Event()
        with trio.move_on_after(max(0, self._next_deadline_ms() - monotonic_ms()) / 1000):
            await self._wake.wait()

    def _next_deadline_ms(self) -> int:
        now = monotonic_ms()
        deadlines = [deadline for deadline, _ in self._timers.values()]
        deadlines.append(now + POLL_MS)
        if self.replica.next_proposal_seq() is not None:
            deadlines.append(now + max(1, self._beats.next_due_ms()))
            if self._events_since_ms is not None:
                deadlines.append(self._events_since_ms + self._batch_wait_ms)
        return min(deadlines)

    def _fire_timers(self) -> None:
        now = monotonic_ms()
        for kind in [kind for kind, (deadline, _) in self._timers.items() if deadline <= now]:
            _, fired = self._timers.pop(kind)
            self._inputs.append(fired)

    def _watch_oldest(self) -> list[Effect]:
        beat = self._chain.head.header.beat
        oldest = self._mempool.oldest(self._chain.store, beat)
        if self._beats.is_overdue(BEATS_MISSED_MAX if oldest is not None else 1):
            oldest = b"beat" + (beat + 1).to_bytes(8, "big")  # a primary owes beats too, and most of all when idle
        if oldest == self._oldest:
            return []
        self._oldest = oldest
        return self.replica.step(OldestRequest(oldest))

    # Proposing.

    def _propose(self) -> list[Effect]:
        effects: list[Effect] = []
        while not self.halted and (seq := self.replica.next_proposal_seq()) is not None:
            pending = [self._open(batch) for batch in self.replica.pending_batches()]
            batch = self._make_batch(seq, pending)
            if batch is None:
                break
            effects.extend(self.replica.step(Propose(batch)))
            if self.replica.next_proposal_seq() == seq:
                break
        return effects

    def _make_batch(self, seq: int, pending: list[Proposal]) -> bytes | None:
        beat_flying = any(proposal.batch is not None and proposal.batch.beat for proposal in pending)
        beat_due = not beat_flying and self._beats.next_due_ms() <= 0
        events = self._choose_events(pending)
        if not events and not beat_due:
            return None
        beat = self._chain.head.header.beat
        batch = Batch(
            beat=beat_due,
            height=seq,
            items=tuple(checked.signed for checked in events),
            proposer=self._me,
            time_ms=now_ms(),
            view=self.replica.view,
        )
        if beat_due:
            self._beats.saw_proposed(beat + 1)
        data = encode_batch(batch)
        self._keep(data, Proposal(batch, tuple(events)))
        return data

    def _choose_events(self, pending: list[Proposal]) -> list[CheckedEvent]:
        """While batches are in flight, only a full one is worth another round; it leaves at once when none is."""
        waiting = len(self._mempool)
        if not waiting:
            self._events_since_ms = None
            return []
        flying = [event for proposal in pending for event in proposal.checked if isinstance(event, CheckedEvent)]
        fresh = waiting - len(flying)
        if pending and fresh < self._events_max:
            return []
        if fresh > 1 and fresh < self._events_max:
            now = monotonic_ms()
            if self._events_since_ms is None:
                self._events_since_ms = now
            if now < self._events_since_ms + self._batch_wait_ms:
                return []
        self._events_since_ms = None
        beat = self._chain.head.header.beat
        return self._mempool.propose(
            self._chain.store, flying, beat, self._events_max, BATCH_BYTES_MAX - BATCH_MARGIN_BYTES
        )  # fmt: skip

    # Carrying out.

    async def _carry_out(self, effects: list[Effect]) -> None:
        outgoing: list[tuple[int | None, bytes]] = []
        persisted = False
        for effect in effects:
            match effect:
                case Persist(record):
                    self._vote_log.append([record])
                    persisted = True
                case Broadcast(signed, batch):
                    if holds(signed, Checkpoint):
                        self._tell_vote(signed.message, signed.signature)
                    outgoing.append((None, encode_signed(signed, batch)))
                case Send(replica, signed, batch):
                    outgoing.append((replica, encode_signed(signed, batch)))
                case _:
                    self._carry_out_local(effect)
        if self._vote_log.size_bytes > REWRITE_AFTER_BYTES:
            await trio.to_thread.run_sync(self._shorten_vote_log)
        elif persisted:
            await trio.to_thread.run_sync(self._vote_log.sync)
        for to, frame in outgoing:
            for replica in range(len(self._parameters.replicas)) if to is None else (to,):
                if replica != self._me:
                    self._send(replica, frame)

    def _carry_out_local(self, effect: Effect) -> None:
        match effect:
            case JudgeBatch():
                self._to_judge.send_nowait(effect)
            case Execute():
                self._to_execute.send_nowait(effect)
            case Stable(certificate):
                self._on_stable(certificate.seq, encode_record(certificate))
            case StartTimer(kind, view, delay_ms):
                self._timers[kind] = (monotonic_ms() + delay_ms, TimerFired(kind, view))
            case StopTimer(kind):
                self._timers.pop(kind, None)
            case FetchBlocks():
                self._request_sync(effect.to_seq)
            case ViewChanged(view, primary):
                logger.info("view %d begins, primary is replica %d", view, primary)
            case Evidence(first, second):
                logger.warning("evidence of equivocation by replica %d: %r / %r", first.message.replica, first, second)
            case Halt(reason):
                self.halted = reason
                logger.error("this replica stops voting: %s", reason)
            case FetchBatch():
                pass
            case _:
                raise AssertionError(f"unknown effect {effect!r}")

    def _on_stable(self, height: int, certificate: bytes) -> None:
        self._chain.write_certificate(height, certificate)
        self._tell_stable(height)

    def _shorten_vote_log(self) -> None:
        """Keep only what is still needed, once the certificate that makes the rest needless is durable."""
        stable = self.replica.stable_certificate
        if stable is not None:
            self._chain.write_certificate(stable.seq, encode_record(stable), sync=True)
        self._vote_log.rewrite(self.replica.live_records())

    # Judging and executing, beside the loop.

    async def _judge_proposals(self) -> None:
        async for judge in self._judging:
            self.put(await self._judge(judge))

    async def _judge(self, judge: JudgeBatch) -> BatchJudged:
        await trio.lowlevel.checkpoint()
        flying = [self._open(batch) for batch in self.replica.pending_batches()]
        beats_flying = sum(
            1 for each in flying if each.batch is not None and each.batch.beat and each.batch.height < judge.seq
        )
        beat = self._chain.head.header.beat + beats_flying
        try:
            proposal = judge_proposal(
                judge.batch,
                view_number=judge.view,
                seq=judge.seq,
                primary=judge.view % len(self._parameters.replicas),
                state=self._chain.store,
                beat=beat,
                clock=self._beats,
                cache=self._cache,
            )
        except BatchRefused as refused:
            logger.warning("proposal %d in view %d refused: %s", judge.seq, judge.view, refused)
            return BatchJudged(judge.view, judge.seq, judge.digest, False, str(refused))
        if proposal.batch is not None and proposal.batch.beat:
            self._beats.saw_proposed(beat + 1)
        self._keep(judge.batch, proposal)
        return BatchJudged(judge.view, judge.seq, judge.digest, True, "")

    async def _execute_batches(self) -> None:
        async for order in self._executing:
            executed = await self._executor.execute(order.seq, self._open(order.batch))
            digest = executed.hash if executed is not None else self._hash_at(order.seq)
            self.put(Executed(order.seq, digest))

    def _hash_at(self, height: int) -> bytes:
        reference = self._chain.references(height)
        assert reference is not None, f"height {height} was executed"
        return reference[0]

    def _keep(self, data: bytes, proposal: Proposal) -> None:
        self._proposals[data] = proposal
        while len(self._proposals) > PROPOSALS_KEPT:
            self._proposals.popitem(last=False)

    def _open(self, data: bytes) -> Proposal:
        known = self._proposals.get(data)
        if known is None:
            known = open_proposal(data, self._cache)
            self._keep(data, known)
        return known
