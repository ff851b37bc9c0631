"""Nothing is lost for good: a replica that makes no progress says where it is, and others send what it lacks.

Asking is on a timer, answering on demand and a few times per tick: what a peer can make us send is bounded.
"""

from consensus import checkpoints, recall, view_change
from consensus.inputs import TimerKind
from consensus.messages import Body, Certificate, Signed, Status, ViewChange
from consensus.parameters import Parameters
from consensus.state import State
from consensus.timers import has_open_proposal

IDLE_TICKS = 8
"""Retransmission ticks between two STATUS of a replica that misses nothing it knows of."""


def on_tick(state: State) -> None:
    """Section 4.6 of the thesis: repeat VIEW-CHANGE until the view begins, and ask when nothing moves."""
    state.armed.pop(TimerKind.RETRANSMIT, None)
    state.replies.clear()
    state.attempt += 1
    if not state.in_view:
        state.broadcast(state.view_changes[state.me])
    recall.ask(state)
    view_change.follow_stranded(state)
    mark = (state.view, state.in_view, state.last_executed, state.log.low, len(get_wanted(state)))
    stalled = mark == state.mark and is_waiting(state)
    state.mark = mark
    if stalled:
        checkpoints.consider_sync(state, stalled=True)
    if stalled or state.attempt % IDLE_TICKS == 0:
        state.broadcast(make_status(state))


def is_waiting(state: State) -> bool:
    """Tell whether this replica knows of something that it has not got."""
    if not state.in_view or state.syncing or state.ahead is not None or state.oldest_request is not None:
        return True
    if state.last_executed > state.log.low or checkpoints.get_unproven(state):
        return True
    return has_open_proposal(state) or any(seq > state.last_ordered for seq in state.log.slots)


def make_status(state: State) -> Signed[Status]:
    return state.make_signed(
        Status(
            attempt=state.attempt % 2**32,
            in_view=state.in_view,
            last_executed=state.last_executed,
            missing=_get_missing(state),
            replica=state.me,
            stable=get_highest_certificate(state),
            unproven=checkpoints.get_unproven(state),
            view=state.view,
            wanted=get_wanted(state),
        )
    )


def get_highest_certificate(state: State) -> Certificate | None:
    """Return the highest certificate that is known here, be its block executed here or not.

    Whoever has the block but not the certificate can't show it to others, and this replica may be the only one that was
    told: it waits for a block that nobody will send until it passes the certificate on.
    """
    if state.ahead is not None and (state.stable is None or state.ahead.seq > state.stable.seq):
        return state.ahead
    return state.stable


def get_wanted(state: State) -> tuple[bytes, ...]:
    """Return the digests of batches that NEW-VIEW carried over and that are not here."""
    digests: list[bytes] = []
    for slot in state.log.ascending():
        if slot.digest is not None and slot.batch is None and slot.digest not in digests:
            digests.append(slot.digest)
    return tuple(digests[: state.parameters.window])


def on_status(state: State, status: Status) -> None:
    """Send again what this replica said, and what another one lacks, as far as it is still kept here."""
    if status.stable is not None:
        checkpoints.adopt_certificate(state, status.stable)
    peer = status.replica
    if not state.may_reply(peer) or state.halted is not None:
        return
    stable_seq = state.parameters.base if status.stable is None else status.stable.seq
    if stable_seq < state.log.low:
        state.send(peer, make_status(state))  # it holds the certificate
    _send_view(state, peer, status.view, status.in_view)
    _send_checkpoints(state, peer, stable_seq, status.unproven)
    if status.view == state.view and state.in_view:
        _send_votes(state, status)
    if is_relay(state.parameters, state.me, peer, status.attempt):
        for digest in status.wanted[: state.parameters.window]:
            batch = state.log.find_body(digest)
            if batch is not None:
                state.send(peer, state.make_signed(Body(digest, state.me)), batch)


def on_late_view_change(state: State, message: ViewChange) -> None:
    """Help a replica that still tries to enter the view that we are in, or an older one."""
    if state.in_view and message.view <= state.view and state.may_reply(message.replica):
        _send_view(state, message.replica, message.view, False)


def is_relay(parameters: Parameters, me: int, peer: int, attempt: int) -> bool:
    """Tell whether `me` is among the f + 1 replicas that answer this attempt with batches; attempts go round."""
    return (me - peer - attempt) % parameters.n <= parameters.f


def _send_view(state: State, peer: int, view: int, in_view: bool) -> None:
    if view > state.view or (view == state.view and in_view):
        return
    if state.in_view:
        if state.new_view is not None:
            state.send(peer, state.new_view)
    elif state.me in state.view_changes:
        state.send(peer, state.view_changes[state.me])


def _send_checkpoints(state: State, peer: int, stable_seq: int, unproven: tuple[int, ...]) -> None:
    above = [seq for seq in sorted(state.checkpoints) if seq > stable_seq]
    for seq in sorted({*above, *unproven}):
        votes = state.checkpoints.get(seq)
        if votes is not None and state.me in votes.votes:
            state.send(peer, votes.votes[state.me])


def _send_votes(state: State, status: Status) -> None:
    relays = state.is_primary or is_relay(state.parameters, state.me, status.replica, status.attempt)
    for slot in state.log.ascending():
        if slot.seq <= status.last_executed:
            continue
        if slot.pre_prepare is not None and slot.batch is not None and slot.seq in status.missing and relays:
            state.send(status.replica, slot.pre_prepare, slot.batch)
        if state.me in slot.prepares.votes:
            state.send(status.replica, slot.prepares.votes[state.me])
        if state.me in slot.commits.votes:
            state.send(status.replica, slot.commits.votes[state.me])


def _get_missing(state: State) -> tuple[int, ...]:
    if not state.in_view:
        return ()
    slots = state.log.slots
    first = max(state.last_ordered, state.log.low) + 1
    return tuple(
        seq for seq in range(first, state.log.high + 1) if seq not in slots or slots[seq].pre_prepare is None
    )  # fmt: skip
