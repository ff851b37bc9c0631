"""After a crash: the view, our own votes and all that was prepared, from the records of the vote log.

What was voted before the crash is set as it was, so the same place never gets another vote of ours.
"""

from collections.abc import Sequence

from consensus import recall, view_change
from consensus.effects import Broadcast
from consensus.messages import (
    AnySigned,
    Certificate,
    Commit,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    ViewChange,
    encode_signed,
    holds,
)
from consensus.records import decode_vote_record, encode_proof
from consensus.retransmission import make_status
from consensus.state import State


def restore(
    state: State,
    executed_seq: int,
    executed_digest: bytes,
    stable: Certificate | None,
    records: Sequence[bytes],
    header_digests: Sequence[tuple[int, bytes]],
) -> None:
    """Set `state` to what the node had made durable.  Raises ValueError for records that are not ours."""
    base = state.parameters.base
    assert executed_seq >= base, f"era {state.parameters.era} begins above height {base}, got {executed_seq}"
    assert stable is None or base < stable.seq <= executed_seq, "the stable checkpoint is the era's, and executed here"
    for seq, digest in header_digests:
        state.digests[seq] = digest
    if executed_seq > base:
        state.digests[executed_seq] = executed_digest
    state.last_executed = state.last_ordered = executed_seq
    if stable is not None:
        state.stable = stable
        state.log.raise_low(stable.seq)
        state.certificates[stable.seq] = stable
        state.proof_floor = stable.seq
    for record in records:
        _restore_record(state, record)
    for slot in state.log.ascending():
        if slot.batch is None and slot.digest is not None:
            slot.batch = state.log.find_body(slot.digest)
        slot.accepted = slot.accepted or slot.kept or slot.reproposed
        if slot.pre_prepare is not None:
            state.last_proposed = max(state.last_proposed, slot.seq)


def make_start_effects(state: State) -> None:
    """Say again what was said last, and ask for what was missed: others may have it, or may have not."""
    if not state.in_view:
        state.broadcast(state.view_changes[state.me])
    elif state.is_primary and state.new_view is not None:
        state.broadcast(state.new_view)
    for slot in state.log.ascending():
        if slot.seq <= state.last_executed or not state.in_view:
            continue
        if slot.kept and state.is_primary and not slot.reproposed and slot.pre_prepare is not None:
            state.broadcast(slot.pre_prepare, slot.batch)
        own: list[AnySigned | None] = [slot.prepares.votes.get(state.me), slot.commits.votes.get(state.me)]
        state.effects.extend(Broadcast(signed) for signed in own if signed is not None)
    recall.ask(state)
    state.broadcast(make_status(state))
    state.recheck_all()


def get_live_records(state: State) -> list[bytes]:
    """Return the records that `restore` needs beside the stable checkpoint: the view, and all above it.

    The view comes first: `restore` takes what belongs to it into slots, and of older views only bodies and proofs.
    """
    records: list[bytes] = []
    if state.new_view is not None:
        records.append(encode_signed(state.new_view))
    if not state.in_view:
        records.append(encode_signed(state.view_changes[state.me]))
    for seq in sorted(state.log.bodies):
        bodies = state.log.bodies[seq]
        records.extend(encode_signed(bodies[digest].pre_prepare, bodies[digest].batch) for digest in sorted(bodies))
    records.extend(encode_proof(state.log.prepared[seq]) for seq in sorted(state.log.prepared))
    for slot in state.log.ascending() if state.in_view else []:
        own: list[AnySigned | None] = [slot.prepares.votes.get(state.me), slot.commits.votes.get(state.me)]
        records.extend(encode_signed(signed) for signed in own if signed is not None)
    return records


def _restore_record(state: State, record: bytes) -> None:
    decoded = decode_vote_record(record, state.parameters)
    if isinstance(decoded, PreparedProof):
        if decoded.seq > state.log.low:
            state.log.keep_proof(decoded)
        return
    signed, batch = decoded
    if holds(signed, ViewChange):
        if signed.message.view > state.view:
            state.view, state.in_view, state.new_view = signed.message.view, False, None
            state.progressed = False
            state.view_changes[state.me] = signed
    elif holds(signed, NewView):
        if signed.message.view >= state.view:
            view_change.install(state, signed)
    elif holds(signed, PrePrepare) and batch is not None:
        if signed.message.seq > state.log.low:
            state.log.keep_body(signed, batch)
        slot = state.log.get_slot(signed.message.seq) if _is_current(state, signed) else None
        if slot is not None:
            slot.pre_prepare, slot.batch, slot.kept = signed, batch, True
    elif holds(signed, Prepare):
        slot = state.log.get_slot(signed.message.seq) if _is_current(state, signed) else None
        if slot is not None:
            slot.prepares.add(signed)
    elif holds(signed, Commit):
        slot = state.log.get_slot(signed.message.seq) if _is_current(state, signed) else None
        if slot is not None:
            slot.commits.add(signed)
    else:
        raise ValueError(f"expected votes of our own in the vote log, got {type(signed.message).__name__}")


def _is_current(state: State, signed: AnySigned) -> bool:
    message = signed.message
    return isinstance(message, PrePrepare | Prepare | Commit) and message.view == state.view and state.in_view
