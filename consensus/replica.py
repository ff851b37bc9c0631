"""One replica: `step` takes an input and returns effects; the handlers lie beside this file, by section of the paper.

M. Castro, B. Liskov: Practical Byzantine Fault Tolerance, OSDI 1999; sections and names are theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, assert_never

from consensus import checkpoints, normal_case, recall, recovery, retransmission, timers, view_change
from consensus.effects import Effect
from consensus.inputs import (
    BatchFetched,
    BatchJudged,
    Executed,
    Input,
    Installed,
    OldestRequest,
    Propose,
    Received,
    Started,
    TimerFired,
    TimerKind,
)
from consensus.message_log import FUTURE_VIEWS_MAX
from consensus.messages import (
    Body,
    Certificate,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Recall,
    Recalled,
    Sign,
    Status,
    ViewChange,
    holds,
)
from consensus.parameters import Parameters
from consensus.state import State


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """For people and dashboards; decides nothing."""

    view: int
    primary: int
    in_view_change: bool
    syncing: bool
    abstains: bool  # the others have yet to say what it said before, or know of more than it does
    halted: str | None
    low_water_mark: int
    last_ordered: int
    last_executed: int
    slots: int
    future_messages: int
    view_changes: tuple[int, ...]  # replicas whose VIEW-CHANGE is held
    timeout_ms: int


class Replica:
    """Not thread-safe: one owner.  `sign` must be deterministic, and is asked for this replica's own messages only."""

    def __init__(self, parameters: Parameters, me: int, sign: Sign) -> None:
        self._state = State(parameters, me, sign)
        self._started = False

    @classmethod
    def recover(
        cls,
        parameters: Parameters,
        me: int,
        sign: Sign,
        executed_seq: int,
        executed_digest: bytes,
        stable: Certificate | None,
        records: Sequence[bytes],
        header_digests: Sequence[tuple[int, bytes]] = (),
        *,
        asks: bool = True,
        forgot: bool = False,
    ) -> Self:
        """Return the replica as it was, from what its node had made durable.

        executed_seq and executed_digest: the highest block and its header's hash (the era's base for a new one).
        stable: the highest certificate of this era that is known, not above executed_seq.
        records: of the vote log, in order.
        header_digests: seq and header hash of blocks above `stable`, so that their checkpoints can be signed again.
        asks: whether it votes only once the others have shown nothing of it that the log lacks, see `recall`.
        forgot: whether the log is known to lack votes; then it abstains until all that it may have said is over.
        Raises ValueError for records that are not those of a vote log of this chain.
        """
        replica = cls(parameters, me, sign)
        recovery.restore(replica._state, executed_seq, executed_digest, stable, records, header_digests)
        if asks or forgot:
            recall.begin(replica._state, forgot=forgot)
        return replica

    def step(self, input: Input) -> list[Effect]:
        """Take one input; return the effects, in the order in which they must be carried out."""
        state = self._state
        if state.halted is not None:
            return []
        if not self._started:
            self._started = True
            recovery.make_start_effects(state)
            checkpoints.vote_checkpoints(state)
        was_mute = state.is_mute
        self._handle(input)
        recall.consider_end(state)
        self._settle(was_mute)
        effects, state.effects = state.effects, []
        return effects

    @property
    def view(self) -> int:
        return self._state.view

    @property
    def primary(self) -> int:
        """The primary of the current view, also while it is being changed to."""
        return self._state.primary

    @property
    def is_primary(self) -> bool:
        return self._state.is_primary

    @property
    def in_view_change(self) -> bool:
        return not self._state.in_view

    @property
    def syncing(self) -> bool:
        return self._state.syncing

    @property
    def halted(self) -> str | None:
        return self._state.halted

    @property
    def low_water_mark(self) -> int:
        """h: the sequence number of the stable checkpoint, the era's base without one."""
        return self._state.log.low

    @property
    def last_executed(self) -> int:
        return self._state.last_executed

    @property
    def stable_certificate(self) -> Certificate | None:
        return self._state.stable

    def next_proposal_seq(self) -> int | None:
        """Return the place for the next Propose; None when it may not propose: see `normal_case`."""
        return normal_case.get_next_proposal_seq(self._state)

    def pending_batches(self) -> list[bytes]:
        """Return the batches above last_executed that were proposed or accepted here, in order of place.

        Whoever makes or judges the next batch must not take their events for still waiting.  Without null requests.
        """
        state = self._state
        slots = [slot for slot in state.log.ascending() if slot.seq > state.last_executed and slot.accepted]
        return [slot.batch for slot in slots if slot.batch]

    def live_records(self) -> list[bytes]:
        """Return what the vote log must still hold: write these in place of all before, once the stable certificate is
        durable."""
        return recovery.get_live_records(self._state)

    def status(self) -> ReplicaStatus:
        state = self._state
        return ReplicaStatus(
            view=state.view,
            primary=state.primary,
            in_view_change=not state.in_view,
            syncing=state.syncing,
            abstains=state.recalling or state.abstains_to is not None,
            halted=state.halted,
            low_water_mark=state.log.low,
            last_ordered=state.last_ordered,
            last_executed=state.last_executed,
            slots=len(state.log.slots),
            future_messages=len(state.future),
            view_changes=tuple(sorted(state.view_changes)),
            timeout_ms=timers.compute_timeout_ms(state),
        )

    def _handle(self, input: Input) -> None:
        state = self._state
        match input:
            case Received():
                self._on_received(input)
            case Propose(batch):
                normal_case.on_propose(state, batch)
            case BatchJudged():
                normal_case.on_judged(state, input)
            case BatchFetched(digest, batch):
                normal_case.on_body(state, digest, batch)
            case Executed(seq, header_digest):
                checkpoints.on_executed(state, seq, header_digest)
            case Installed(seq, certificate):
                checkpoints.on_installed(state, seq, certificate)
            case OldestRequest(token):
                state.oldest_request = token
            case TimerFired(kind, view):
                if kind is TimerKind.RETRANSMIT:
                    retransmission.on_tick(state)
                else:
                    timers.on_fired(state, kind, view)
            case Started():
                pass
            case _:
                assert_never(input)

    def _on_received(self, received: Received) -> None:
        state, signed = self._state, received.signed
        if holds(signed, PrePrepare) or holds(signed, Prepare) or holds(signed, Commit):
            self._on_ordering(received)
        elif holds(signed, Checkpoint):
            checkpoints.on_checkpoint(state, signed)
        elif holds(signed, ViewChange):
            retransmission.on_late_view_change(state, signed.message)
            view_change.on_view_change(state, signed)
        elif holds(signed, NewView):
            view_change.on_new_view(state, signed)
        elif holds(signed, Status):
            retransmission.on_status(state, signed.message)
        elif holds(signed, Recall):
            recall.on_recall(state, signed.message)
        elif holds(signed, Recalled):
            recall.on_recalled(state, signed.message)
        elif holds(signed, Body) and received.batch is not None:
            normal_case.on_body(state, signed.message.digest, received.batch)

    def _on_ordering(self, received: Received) -> None:
        """Ordering messages count in their own view only; those of a view not entered yet wait for it."""
        state, signed = self._state, received.signed
        if not (holds(signed, PrePrepare) or holds(signed, Prepare) or holds(signed, Commit)):
            return
        view = signed.message.view
        if view == state.view and state.in_view:
            if holds(signed, PrePrepare) and received.batch is not None:
                normal_case.on_pre_prepare(state, signed, received.batch)
            elif holds(signed, Prepare):
                normal_case.on_prepare(state, signed)
            elif holds(signed, Commit):
                normal_case.on_commit(state, signed)
        elif state.view <= view <= state.view + FUTURE_VIEWS_MAX:
            state.future.add(view, received)

    def _settle(self, was_mute: bool) -> None:
        """Do what the input made possible: places to go on with, a view to leave or to enter, timers to set."""
        state = self._state
        if was_mute and not state.is_mute:
            view_change.join(state)
            view_change.consider_new_view(state)
            state.recheck_all()
        if state.suspicion is not None and not state.is_mute and state.halted is None:
            view_change.start(state, state.view + 1)
        if state.in_view:
            for received in state.future.take(state.view):
                self._on_received(received)
        while True:
            normal_case.execute_ready(state)
            if not state.recheck:
                break
            slot = state.log.slots.get(state.recheck.pop(0))
            if slot is not None and state.in_view:
                normal_case.advance(state, slot)
        timers.update(state)
