"""Section 4.2, normal-case operation: PRE-PREPARE, PREPARE, COMMIT, and execution in order."""

from consensus.effects import Execute, JudgeBatch, Persist
from consensus.inputs import BatchJudged
from consensus.message_log import Slot
from consensus.messages import (
    Commit,
    Prepare,
    PreparedProof,
    PrePrepare,
    Signed,
    compute_batch_digest,
)
from consensus.records import encode_proof
from consensus.state import State


def get_next_proposal_seq(state: State) -> int | None:
    """Return the place for this primary's next batch; None when it may not propose now."""
    if not state.in_view or not state.is_primary or state.is_mute or state.halted is not None:
        return None
    seq = max(state.last_proposed, state.last_ordered, state.log.low) + 1
    for below in range(state.last_ordered + 1, seq):
        slot = state.log.slots.get(below)
        if slot is not None and slot.pre_prepare is not None and slot.batch is None:
            return None  # NEW-VIEW carried over what is not here yet: its events must not be proposed a second time
    return seq if seq <= state.log.high else None


def on_propose(state: State, batch: bytes) -> None:
    """The primary gives a batch the next place and tells everyone."""
    assert 0 < len(batch) <= state.parameters.batch_bytes_max, f"a batch of {len(batch)} bytes"
    seq = get_next_proposal_seq(state)
    if seq is None:
        return  # the view changed since the batch was made; its events are proposed again by whoever is primary
    signed = state.make_signed(PrePrepare(compute_batch_digest(batch), state.me, seq, state.view))
    slot = state.log.get_slot(seq)
    assert slot is not None, "the next place is inside the window"
    assert slot.pre_prepare is None, "the next place is free"
    slot.pre_prepare, slot.batch, slot.accepted = signed, batch, True
    state.last_proposed = seq
    _keep_body(state, slot, signed, batch)
    state.broadcast(signed, batch)
    advance(state, slot)


def on_pre_prepare(state: State, signed: Signed[PrePrepare], batch: bytes) -> None:
    """Take the first proposal for a place; a different second one is evidence and changes nothing."""
    slot = state.log.get_slot(signed.message.seq)
    if slot is None:
        return
    if slot.pre_prepare is None:
        slot.pre_prepare, slot.batch = signed, batch
        if state.is_primary:
            state.last_proposed = max(state.last_proposed, slot.seq)  # ours, of before a crash
    elif slot.pre_prepare.message.digest != signed.message.digest:
        state.accuse(slot, slot.pre_prepare, signed)
        return
    elif slot.batch is None:
        slot.batch = batch  # NEW-VIEW named it, and here is its body
    advance(state, slot)


def on_prepare(state: State, signed: Signed[Prepare]) -> None:
    slot = state.log.get_slot(signed.message.seq)
    if slot is None:
        return
    earlier = slot.prepares.add(signed)
    if earlier is None:
        advance(state, slot)
    elif earlier.message.digest != signed.message.digest:
        state.accuse(slot, earlier, signed)


def on_commit(state: State, signed: Signed[Commit]) -> None:
    slot = state.log.get_slot(signed.message.seq)
    if slot is None:
        return
    earlier = slot.commits.add(signed)
    if earlier is None:
        advance(state, slot)
    elif earlier.message.digest != signed.message.digest:
        state.accuse(slot, earlier, signed)


def on_judged(state: State, judged: BatchJudged) -> None:
    """A backup prepares what the application accepts, and leaves a primary that proposes anything else."""
    slot = state.log.slots.get(judged.seq)
    if not state.in_view or judged.view != state.view or slot is None or slot.digest != judged.digest:
        return
    if not judged.accepted:
        state.suspicion = f"proposal {judged.seq} of view {judged.view} was refused: {judged.why}"
        return
    slot.accepted = True
    advance(state, slot)
    state.recheck.append(judged.seq + 1)  # it may be judged now


def on_body(state: State, digest: bytes, batch: bytes) -> None:
    """A batch that NEW-VIEW carried over, and that was missing here."""
    for slot in state.log.ascending():
        if slot.digest == digest and slot.batch is None:
            slot.batch = batch
            advance(state, slot)


def advance(state: State, slot: Slot) -> None:
    """Do whatever the messages for one place allow by now."""
    if slot.pre_prepare is None or slot.batch is None:
        return
    if state.may_vote(slot.seq):
        if not slot.accepted:
            _ask(state, slot, slot.pre_prepare, slot.batch)
        if slot.accepted and not state.is_primary and state.me not in slot.prepares.votes:
            _prepare(state, slot, slot.pre_prepare, slot.batch)
        if state.me not in slot.commits.votes and is_prepared(state, slot):
            _commit(state, slot, slot.pre_prepare, slot.batch)
    digest = slot.pre_prepare.message.digest
    if not slot.committed and slot.commits.count(digest) >= state.quorum and is_prepared(state, slot):
        slot.committed = True
        execute_ready(state)


def is_prepared(state: State, slot: Slot) -> bool:
    """The PRE-PREPARE, its batch, and PREPAREs that make a quorum together with the primary."""
    if slot.pre_prepare is None or slot.batch is None:
        return False
    return slot.prepares.count(slot.pre_prepare.message.digest) >= state.quorum - 1


def _ask(state: State, slot: Slot, signed: Signed[PrePrepare], batch: bytes) -> None:
    """First proposals are judged in order of place; what a view change carries over was judged by a quorum before."""
    if slot.reproposed:
        slot.accepted = True
        return
    below = state.log.slots.get(slot.seq - 1)
    in_order = slot.seq - 1 <= state.last_ordered or (below is not None and below.accepted)
    if in_order and not slot.asked:
        slot.asked = True
        state.emit(JudgeBatch(signed.message.view, slot.seq, signed.message.digest, batch))


def _prepare(state: State, slot: Slot, pre_prepare: Signed[PrePrepare], batch: bytes) -> None:
    _keep_body(state, slot, pre_prepare, batch)
    signed = state.make_signed(Prepare(pre_prepare.message.digest, state.me, slot.seq, state.view))
    slot.prepares.add(signed)
    state.persist(signed)
    state.broadcast(signed)


def _commit(state: State, slot: Slot, pre_prepare: Signed[PrePrepare], batch: bytes) -> None:
    """The first time a batch is prepared here: keep the proof, which any later VIEW-CHANGE must carry, and commit."""
    digest = pre_prepare.message.digest
    _keep_body(state, slot, pre_prepare, batch)
    prepares = slot.prepares.collect(digest, state.quorum - 1)
    slot.proof = PreparedProof(digest, pre_prepare.signature, prepares, slot.seq, state.view)
    state.log.keep_proof(slot.proof)
    signed = state.make_signed(Commit(digest, state.me, slot.seq, state.view))
    slot.commits.add(signed)
    state.emit(Persist(encode_proof(slot.proof)))
    state.persist(signed)
    state.broadcast(signed)


def _keep_body(state: State, slot: Slot, pre_prepare: Signed[PrePrepare], batch: bytes) -> None:
    """Whoever votes for a batch keeps it, on disk too: it may be all that is left of it when everyone crashes."""
    if not slot.kept:
        slot.kept = True
        state.log.keep_body(pre_prepare, batch)
        state.persist(pre_prepare, batch)


def execute_ready(state: State) -> None:
    """Execute committed batches, strictly in order and without gaps."""
    while True:
        seq = state.last_ordered + 1
        slot = state.log.slots.get(seq)
        if slot is None or not slot.committed or slot.pre_prepare is None or slot.batch is None:
            return
        digest = slot.pre_prepare.message.digest
        state.last_ordered = seq
        state.ordered[seq] = digest
        state.progressed = True
        state.failures = max(0, state.failures - 1)
        state.recheck.append(seq + 1)
        state.emit(Execute(seq, state.view, digest, slot.batch))
