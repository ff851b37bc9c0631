"""Which timers should run.  Each watches one subject; a changed subject starts it anew, and nothing else does.

So a primary that orders other batches does not win time for the oldest request, and messages alone win none at all.
"""

from consensus import view_change
from consensus.effects import StartTimer, StopTimer
from consensus.inputs import TimerKind
from consensus.state import State


def compute_timeout_ms(state: State) -> int:
    """Section 4.5.2: doubled for each view that failed in a row, capped, and halved with each batch ordered since."""
    parameters = state.parameters
    return min(parameters.view_timeout_ms << state.failures, parameters.view_timeout_ms_max)


def update(state: State) -> None:
    """Start and stop timers so that they watch what is waited for now."""
    waiting = state.in_view and not state.is_primary and not state.is_mute and state.halted is None
    request = (state.view, state.oldest_request) if waiting and state.oldest_request is not None else None
    proposal = (state.view, state.last_ordered) if waiting and has_open_proposal(state) else None
    new_view = state.view if view_change.has_left_with_quorum(state) and state.halted is None else None
    _watch(state, TimerKind.REQUEST, request)
    _watch(state, TimerKind.PROPOSAL, proposal)
    _watch(state, TimerKind.NEW_VIEW, new_view)
    if TimerKind.RETRANSMIT not in state.armed and state.halted is None:
        state.armed[TimerKind.RETRANSMIT] = True
        state.emit(StartTimer(TimerKind.RETRANSMIT, state.view, state.parameters.retransmit_ms))


def has_open_proposal(state: State) -> bool:
    """Tell whether a place above what is ordered has a proposal."""
    slots = state.log.slots
    return any(slots[seq].pre_prepare is not None and seq > state.last_ordered for seq in slots)


def on_fired(state: State, kind: TimerKind, view: int) -> None:
    """A timer ran out: RETRANSMIT is not handled here; the others condemn the view they were started in."""
    if view != state.view or state.armed.pop(kind, None) is None:
        return
    if kind is TimerKind.NEW_VIEW or state.in_view:
        state.suspicion = f"the {kind.value} timer of view {view} ran out"


def _watch(state: State, kind: TimerKind, subject: object) -> None:
    if state.armed.get(kind) == subject:
        return
    if subject is None:
        del state.armed[kind]
        state.emit(StopTimer(kind))
    else:
        state.armed[kind] = subject
        state.emit(StartTimer(kind, state.view, compute_timeout_ms(state)))
