"""Section 4.4: leaving a view, and entering the next without losing what may have been committed."""

from consensus import checkpoints
from consensus.effects import FetchBatch, ViewChanged
from consensus.message_log import Slot
from consensus.messages import (
    NULL_BATCH,
    NULL_DIGEST,
    Cited,
    NewView,
    PrePrepare,
    Reproposal,
    Signed,
    ViewChange,
    decode_view_change,
)
from consensus.new_view import compute_plan
from consensus.state import State
from ledger.primitives.records import encode_record

FOLLOW_TICKS = 40
"""Retransmission ticks after which a replica that left a working view alone is followed."""
FAILURES_MAX = 32
"""Views in a row counted as failed; the timeout has long reached its cap."""


def start(state: State, view: int) -> None:
    """Leave for `view`: vote no more in this one, and tell what is prepared here."""
    assert view > state.view, f"expected a view above {state.view}, got {view}"
    if not state.progressed:
        state.failures = min(state.failures + 1, FAILURES_MAX)
    state.progressed = False
    state.view, state.in_view, state.new_view, state.suspicion = view, False, None, None
    state.stranded_ticks = 0
    prepared = tuple(state.log.prepared[seq] for seq in sorted(state.log.prepared))
    signed = state.make_signed(ViewChange(prepared, state.me, state.stable, view))
    state.view_changes[state.me] = signed
    state.persist(signed)
    state.broadcast(signed)
    consider_new_view(state)


def on_view_change(state: State, signed: Signed[ViewChange]) -> None:
    """Keep each replica's latest VIEW-CHANGE; follow f + 1 of them, and begin the view when it is ours to begin."""
    message = signed.message
    if message.stable is not None:
        checkpoints.adopt_certificate(state, message.stable)
    if message.view < state.view or (message.view == state.view and state.in_view):
        return
    known = state.view_changes.get(message.replica)
    if known is not None and known.message.view >= message.view:
        return
    state.view_changes[message.replica] = signed
    join(state)
    consider_new_view(state)


def join(state: State) -> None:
    """Section 4.5.2: follow f + 1 others to the smallest view above ours that one of them left for."""
    while not state.is_mute and state.halted is None:
        views = sorted(signed.message.view for signed in state.view_changes.values())
        higher = [view for view in views if view > state.view]
        if len(higher) <= state.parameters.f:
            return
        start(state, higher[0])


def follow_stranded(state: State) -> None:
    """On each retransmission tick: after a long while, follow even one replica that left alone.

    It cannot come back, as its VIEW-CHANGE says that it votes no more here; without this, a replica that was cut off
    for a moment would be lost as a voter until the next view change.  A liar gains by it one view change in
    FOLLOW_TICKS.
    """
    near = range(state.view + 1, state.view + state.parameters.n + 1)
    views = sorted(signed.message.view for signed in state.view_changes.values() if signed.message.view in near)
    state.stranded_ticks = state.stranded_ticks + 1 if views and state.in_view else 0
    if state.stranded_ticks >= FOLLOW_TICKS and not state.is_mute:
        start(state, views[0])


def has_quorum(state: State) -> bool:
    """Tell whether a quorum, ourselves included, left for the view that we are changing to."""
    if state.in_view or state.me not in state.view_changes:
        return False
    return len(_get_for_view(state)) >= state.quorum


def has_left_with_quorum(state: State) -> bool:
    """Tell whether a quorum, ourselves included, left for the view that we are changing to or for a higher one.

    Then its primary is timed.  Whoever gave up waiting for it and went on counts too: else one replica that is ahead
    would leave the others to wait for ever, too few for a quorum without it, and it too alone to be followed.
    """
    if state.in_view or state.me not in state.view_changes:
        return False
    views = sorted(signed.message.view for signed in state.view_changes.values())
    return sum(1 for view in views if view >= state.view) >= state.quorum


def consider_new_view(state: State) -> None:
    """The primary of the view begins it when a quorum has left for it."""
    if not state.is_primary or not has_quorum(state) or state.is_mute or state.halted is not None:
        return
    cited = _get_for_view(state)[: state.quorum]
    plan = compute_plan([signed.message for signed in cited], state.parameters.base)
    proposals = tuple(
        Reproposal(digest, seq, state.make_signed(PrePrepare(digest, state.me, seq, state.view)).signature)
        for seq, digest in plan.proposals
    )
    view_changes = tuple(Cited(signed.encoded, signed.signature) for signed in cited)
    enter(state, state.make_signed(NewView(proposals, state.me, state.view, view_changes)))


def on_new_view(state: State, signed: Signed[NewView]) -> None:
    """Enter a view whose NEW-VIEW was checked; whoever lags may skip the views between."""
    view = signed.message.view
    if view > state.view or (view == state.view and not state.in_view):
        enter(state, signed)
    elif state.new_view is not None and view == state.view and signed.encoded != state.new_view.encoded:
        state.accuse_once(("new-view", view), state.new_view, signed)


def enter(state: State, signed: Signed[NewView]) -> None:
    """Begin a view with the places that NEW-VIEW gives; their digests are those that were prepared before."""
    message = signed.message
    if message.view > state.view and not state.progressed:
        state.failures = min(state.failures + 1, FAILURES_MAX)
    state.progressed = False
    state.suspicion = None
    state.persist(signed)
    if message.replica == state.me:
        state.broadcast(signed)
    cited = [decode_view_change(each.message) for each in message.view_changes]
    plan = compute_plan(cited, state.parameters.base)
    install(state, signed)
    state.emit(ViewChanged(state.view, state.primary))
    if plan.stable is not None:
        checkpoints.adopt_certificate(state, plan.stable)
        if plan.stable.seq > state.last_ordered and not state.syncing:
            checkpoints.consider_sync(state, stalled=True)  # the view begins above what we have
    for slot in state.log.ascending():
        if slot.reproposed and slot.batch is None and slot.digest is not None:
            state.emit(FetchBatch(slot.digest, tuple(state.others())))
    state.recheck_all()


def install(state: State, signed: Signed[NewView]) -> None:
    """Set view and slots as NEW-VIEW says; also after a restart."""
    message = signed.message
    bodies = {each.digest: state.log.find_body(each.digest) for each in message.proposals}
    bodies[NULL_DIGEST] = NULL_BATCH
    state.view, state.in_view, state.new_view = message.view, True, signed
    for replica in [r for r in state.view_changes if state.view_changes[r].message.view <= message.view]:
        del state.view_changes[replica]
    state.log.slots = {}
    state.last_proposed = 0
    for each in message.proposals:
        state.last_proposed = each.seq
        ordered = state.ordered.get(each.seq)
        if ordered is not None and ordered != each.digest:
            state.halt(f"view {message.view} gives place {each.seq} to another batch than the one executed here")
            return
        slot = state.log.get_slot(each.seq)
        if slot is None:
            continue  # stable here already, or far above what we have
        _fill(state, slot, each, bodies[each.digest])


def _fill(state: State, slot: Slot, each: Reproposal, batch: bytes | None) -> None:
    pre_prepare = PrePrepare(each.digest, state.primary, each.seq, state.view)
    slot.pre_prepare = Signed(pre_prepare, each.signature, encode_record(pre_prepare))
    slot.batch, slot.reproposed = batch, True


def _get_for_view(state: State) -> list[Signed[ViewChange]]:
    ordered = [state.view_changes[replica] for replica in sorted(state.view_changes)]
    return [signed for signed in ordered if signed.message.view == state.view]
