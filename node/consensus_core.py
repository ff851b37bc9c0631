"""What the driver decides in one era, without waiting: inputs in, and what to do for them out, in the order given.

The core owns the replica and all that its decisions look at; the clocks are given.  Whoever runs it (`ConsensusDriver`
under trio) waits, syncs the vote log, sends, and runs judging and execution beside.

A block that closes an epoch may end the era, so nothing is proposed or judged above it until it is executed.  When it
is certified too, `has_ended` says so, and whoever runs the core goes on with another one, in the next era.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

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
    TimerFired,
    TimerKind,
)
from consensus.messages import Checkpoint, decode_signed, holds
from consensus.parameters import Parameters
from consensus.replica import Replica
from ledger.block import BATCH_BYTES_MAX, Batch, encode_batch
from ledger.chain import Chain
from ledger.events import CheckedEvent
from ledger.primitives.records import encode_record
from ledger.service import read_era
from node.clock import BeatClock
from node.eras import encode_frame, split_frame
from node.event_cache import EventCache
from node.fairness import Fairness
from node.judgement import BatchRefused, Proposal, judge_proposal, open_proposal
from node.mempool import Mempool

logger = logging.getLogger(__name__)

INPUTS_MAX = 4_096
"""Waiting inputs; beyond, messages of peers are dropped, which retransmission mends."""
PROPOSALS_KEPT = 64
BATCH_MARGIN_BYTES = 64 * 1024
BEATS_MISSED_MAX = 3
POLL_MS = 250
"""How often the driver looks at its clock when nothing happens."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A frame for one other replica, or for all of them (None)."""

    replica: int | None
    frame: bytes


@dataclass(slots=True)
class Work:
    """What a round of inputs asks for: first make `records` durable, then send; the rest may run beside."""

    records: list[bytes] = field(default_factory=list[bytes])
    outgoing: list[Outgoing] = field(default_factory=list[Outgoing])
    judge: list[JudgeBatch] = field(default_factory=list[JudgeBatch])
    execute: list[Execute] = field(default_factory=list[Execute])
    fetch_to: list[int] = field(default_factory=list[int])
    """Heights that others have: ask peers for the blocks up to there."""
    entered: list[int] = field(default_factory=list[int])
    """Views that began."""
    evidence: list[Evidence] = field(default_factory=list[Evidence])
    """Votes of one replica that contradict each other: keep them, and put them on the ledger."""


class ConsensusCore:
    """Drives one replica in one era.

    Not thread-safe: one owner.  monotonic_ms is for timers, wall_ms for display times.
    """

    def __init__(
        self,
        replica: Replica,
        parameters: Parameters,
        me: int,
        *,
        chain: Chain,
        mempool: Mempool,
        cache: EventCache,
        beats: BeatClock,
        monotonic_ms: Callable[[], int],
        wall_ms: Callable[[], int],
        on_stable: Callable[[int], None],
        on_vote: Callable[[Checkpoint, bytes], None],
        events_max: int,
        batch_wait_ms: int,
        pass_on: Callable[[CheckedEvent], object],
    ) -> None:
        self.replica = replica
        self.halted: str | None = None
        self._parameters = parameters
        self._me = me
        self._chain = chain
        self._mempool = mempool
        self._cache = cache
        self._beats = beats
        self._monotonic_ms = monotonic_ms
        self._wall_ms = wall_ms
        self._tell_stable = on_stable
        self._tell_vote = on_vote
        self._events_max = events_max
        self._batch_wait_ms = batch_wait_ms
        self._fairness = Fairness(mempool, events_max=events_max, pass_on=pass_on)
        self._inputs: deque[Input] = deque()
        self._timers: dict[TimerKind, tuple[int, TimerFired]] = {}
        self._proposals: OrderedDict[bytes, Proposal] = OrderedDict()
        self._oldest: bytes | None = None
        self._events_since_ms: int | None = None
        self._deferred: JudgeBatch | None = None
        self._last_height: int | None = None
        self._is_behind = False
        self._asked_ms = self._monotonic_ms()

    def put(self, item: Input) -> None:
        """Hand over an input; our own are never dropped."""
        self._inputs.append(item)

    def receive(self, frame: bytes) -> bool:
        """Take a consensus frame; tell whether it gives work.  Raises InvalidMessage, at the sender's expense.

        A frame of an earlier era is nobody's fault, and of no use.  One of a later era says that blocks are missing
        here.
        """
        if len(self._inputs) >= INPUTS_MAX:
            return False
        era, envelope = split_frame(frame)
        if era != self._parameters.era:
            self._is_behind = self._is_behind or era > self._parameters.era
            return self._is_behind
        signed, batch = decode_signed(envelope, self._parameters)
        verify_signed(self._parameters, signed)
        if holds(signed, Checkpoint):
            self._tell_vote(signed.message, signed.signature)
        self.put(Received(signed, batch))
        return True

    @property
    def inputs_waiting(self) -> int:
        return len(self._inputs)

    def next_deadline_ms(self) -> int:
        """Return the monotonic time at which `advance` is due even when nothing comes."""
        now = self._monotonic_ms()
        deadlines = [deadline for deadline, _ in self._timers.values()]
        deadlines.append(now + POLL_MS)
        if self._find_place() is not None:
            deadlines.append(now + max(1, self._beats.next_due_ms()))
            # One that has passed waits for what is in flight: looking again at once would change nothing.
            if self._events_since_ms is not None and self._events_since_ms + self._batch_wait_ms > now:
                deadlines.append(self._events_since_ms + self._batch_wait_ms)
        return min(deadlines)

    def advance(self) -> Work:
        """Fire timers, take all waiting inputs, propose; return what is to be done."""
        effects: list[Effect] = []
        self._fire_timers()
        for _ in range(len(self._inputs)):
            effects.extend(self.replica.step(self._inputs.popleft()))
        effects.extend(self._watch_oldest())
        effects.extend(self._propose())
        work = Work()
        for effect in effects:
            self._carry_out(effect, work)
        if self._deferred is not None and not self._closes_epoch(self._list_flying()):
            deferred, self._deferred = self._deferred, None
            work.judge.append(deferred)
        self._ask_when_behind(work)
        return work

    @property
    def has_ended(self) -> bool:
        """Tell whether the last block of this era is executed and certified: the next era has begun."""
        last, stable = self._find_last_height(), self.replica.stable_certificate
        return last is not None and stable is not None and stable.seq >= last

    def judge(self, judge: JudgeBatch) -> BatchJudged | None:
        """Answer whether this node votes for a first proposal; None when its place was decided meanwhile, or waits."""
        if judge.seq <= self._chain.head.height or self._find_last_height() is not None:
            return None  # executed or fetched since: its nonces are used, and that is nobody's fault
        flying = self._list_flying()
        if self._closes_epoch(flying):
            self._deferred = judge
            return None
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
                now_ms=self._wall_ms(),
                clock=self._beats,
                cache=self._cache,
            )
            self._fairness.judge(
                proposal,
                view_number=judge.view,
                seq=judge.seq,
                in_flight=_get_events(flying),
                state=self._chain.store,
                beat=beat,
                now_ms=self._monotonic_ms(),
            )
        except BatchRefused as refused:
            logger.warning("proposal %d in view %d refused: %s", judge.seq, judge.view, refused)
            return BatchJudged(judge.view, judge.seq, judge.digest, False, str(refused))
        if proposal.batch is not None and proposal.batch.beat:
            self._beats.saw_proposed(beat + 1)
        self._keep(judge.batch, proposal)
        return BatchJudged(judge.view, judge.seq, judge.digest, True, "")

    def open(self, batch: bytes) -> Proposal:
        """Return an ordered batch ready for execution."""
        return self._open(batch)

    def compute_executed(self, seq: int, header_hash: bytes | None) -> Executed:
        """Return the answer to Execute; header_hash is None for a block that the chain had already."""
        return Executed(seq, self._hash_at(seq) if header_hash is None else header_hash)

    def make_certificate_durable(self) -> list[bytes]:
        """Sync the stable certificate, then return the records that the vote log must still hold.  Blocks."""
        stable = self.replica.stable_certificate
        if stable is not None:
            self._chain.write_certificate(stable.seq, encode_record(stable), sync=True)
        return self.replica.live_records()

    def _fire_timers(self) -> None:
        now = self._monotonic_ms()
        for kind in [kind for kind, (deadline, _) in self._timers.items() if deadline <= now]:
            _, fired = self._timers.pop(kind)
            self._inputs.append(fired)

    def _watch_oldest(self) -> list[Effect]:
        beat = self._chain.head.header.beat
        is_over = self._find_last_height() is not None
        oldest = None if is_over else self._mempool.oldest(self._chain.store, beat)
        if not is_over and self._beats.is_overdue(BEATS_MISSED_MAX if oldest is not None else 1):
            oldest = b"beat" + (beat + 1).to_bytes(8, "big")  # a primary owes beats too, and most of all when idle
        if oldest == self._oldest:
            return []
        self._oldest = oldest
        return self.replica.step(OldestRequest(oldest))

    # Proposing.

    def _propose(self) -> list[Effect]:
        effects: list[Effect] = []
        while (seq := self._find_place()) is not None:
            batch = self._make_batch(seq, self._list_flying())
            if batch is None:
                break
            effects.extend(self.replica.step(Propose(batch)))
            if self.replica.next_proposal_seq() == seq:
                break
        return effects

    def _find_place(self) -> int | None:
        """Return the place that this node may propose a batch for, if any."""
        if self.halted or self._find_last_height() is not None:
            return None
        seq = self.replica.next_proposal_seq()
        return None if seq is None or self._closes_epoch(self._list_flying()) else seq

    def _list_flying(self) -> list[Proposal]:
        """Return what was accepted here and is not known to be executed, in order of place."""
        return [self._open(batch) for batch in self.replica.pending_batches()]

    # Eras.

    def _closes_epoch(self, flying: list[Proposal]) -> bool:
        """Tell whether one of these, once it is executed, closes an epoch: who orders the places above is open."""
        head, epoch_beats = self._chain.head, self._chain.genesis.epoch_beats
        beat = head.header.beat
        for proposal in flying:
            if proposal.batch is not None and proposal.batch.height > head.height and proposal.batch.beat:
                beat += 1
                if beat % epoch_beats == 0:
                    return True
        return False

    def _find_last_height(self) -> int | None:
        """Return the last height of this era once it is executed; None while nothing says that the era ends."""
        era = self._parameters.era
        if self._last_height is None and self._chain.validators.era > era:
            following = read_era(self._chain.store, era + 1)
            assert following is not None, f"era {era + 1} has begun"
            self._last_height = following.since - 1
        return self._last_height

    def _ask_when_behind(self, work: Work) -> None:
        """Frames of a later era can't be read, but blocks can be fetched; whoever lies costs a request now and then."""
        now = self._monotonic_ms()
        if self._is_behind and now - self._asked_ms >= self._parameters.retransmit_ms:
            self._is_behind, self._asked_ms = False, now
            work.fetch_to.append(self._chain.head.height + 1)

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
            time_ms=self._wall_ms(),
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
        flying = _get_events(pending)
        fresh = waiting - len(flying)
        if pending and fresh < self._events_max:
            return []
        if fresh > 1 and fresh < self._events_max:
            now = self._monotonic_ms()
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

    def _carry_out(self, effect: Effect, work: Work) -> None:
        match effect:
            case Persist(record):
                work.records.append(record)
            case Broadcast(signed, batch):
                if holds(signed, Checkpoint):
                    self._tell_vote(signed.message, signed.signature)
                work.outgoing.append(Outgoing(None, encode_frame(self._parameters.era, signed, batch)))
            case Send(replica, signed, batch):
                work.outgoing.append(Outgoing(replica, encode_frame(self._parameters.era, signed, batch)))
            case JudgeBatch():
                work.judge.append(effect)
            case Execute():
                work.execute.append(effect)
            case Stable(certificate):
                self._chain.write_certificate(certificate.seq, encode_record(certificate))
                self._tell_stable(certificate.seq)
            case StartTimer(kind, view, delay_ms):
                self._timers[kind] = (self._monotonic_ms() + delay_ms, TimerFired(kind, view))
            case StopTimer(kind):
                self._timers.pop(kind, None)
            case FetchBlocks():
                work.fetch_to.append(effect.to_seq)
            case ViewChanged(view, primary):
                work.entered.append(view)
                logger.info("view %d begins, primary is replica %d", view, primary)
            case Evidence(first, second):
                logger.warning("evidence of equivocation by replica %d: %r / %r", first.message.replica, first, second)
                work.evidence.append(effect)
            case Halt(reason):
                self.halted = reason
                logger.error("this replica stops voting: %s", reason)
            case FetchBatch():
                pass

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


def _get_events(pending: Iterable[Proposal]) -> list[CheckedEvent]:
    return [event for proposal in pending for event in proposal.checked if isinstance(event, CheckedEvent)]
