"""Who starts asks what it said before, and says nothing that could contradict it.

A vote log can be of an older copy of the disk than the votes that were sent, and a second node can run with the same
key. Either way the key has signed what this replica does not know of.  So a replica that comes back asks all others
(RECALL), and votes for nothing, nor leaves its view, until so many have answered (RECALLED) that a quorum knows,
itself included.

When one of them shows a message of this replica that its log lacks, it abstains until its stable checkpoint is two
windows above what was stable then: whatever it may have said is below.  Then it asks again.  Beside another instance
that votes it so abstains for ever.  Who is restored from a backup abstains so in any case (`begin`, forgot): a vote may
have reached only those who do not answer.  Others count it as one of the f that may be faulty meanwhile.

The idea is that of CometBFT's double_sign_check_height; that one looks at blocks, this one at the votes themselves.
"""

from consensus.messages import (
    Checkpoint,
    Cited,
    Commit,
    Prepare,
    PrePrepare,
    Recall,
    Recalled,
    Said,
    SaidKind,
    Signed,
    decode_view_change,
    restore_said,
)
from consensus.state import State


def ask(state: State) -> None:
    """Ask everybody; once more on each retransmission tick until enough have answered."""
    if state.recalling:
        state.broadcast(state.make_signed(Recall(state.me)))


def on_recall(state: State, message: Recall) -> None:
    """Tell a replica what it said in the places that are open here, and its last CHECKPOINT and VIEW-CHANGE."""
    peer = message.replica
    if not state.may_reply(peer) or state.halted is not None:
        return
    said: list[Said] = []
    for slot in state.log.ascending():
        found: list[Signed[PrePrepare] | Signed[Prepare] | Signed[Commit] | None] = [
            slot.pre_prepare,
            slot.prepares.votes.get(peer),
            slot.commits.votes.get(peer),
        ]
        for kind, signed in zip((SaidKind.PRE_PREPARE, SaidKind.PREPARE, SaidKind.COMMIT), found, strict=True):
            if signed is not None and signed.message.replica == peer:
                vote = signed.message
                said.append(Said(vote.digest, kind.value, vote.seq, signed.signature, vote.view))
    signed_at = [seq for seq in state.checkpoints if peer in state.checkpoints[seq].votes]
    if signed_at:
        last = state.checkpoints[max(signed_at)].votes[peer]
        said.append(Said(last.message.digest, SaidKind.CHECKPOINT.value, last.message.seq, last.signature, 0))
    left = state.view_changes.get(peer)
    cited = None if left is None else Cited(left.encoded, left.signature)
    state.send(peer, state.make_signed(Recalled(state.me, tuple(said), state.log.low, peer, cited)))


def on_recalled(state: State, message: Recalled) -> None:
    """Compare what another replica has of ours with what we know; go on when a quorum knows of nothing else."""
    if not state.recalling or message.to != state.me or message.replica == state.me:
        return
    if not all(_is_known(state, restore_said(state.me, said)) for said in message.said) or _has_left(state, message):
        state.forgot = True
    state.recalled[message.replica] = message.stable
    if len(state.recalled) < state.quorum - 1:
        return
    state.recalling = False
    if state.forgot:
        # Of f + 1 claims one is a correct replica's; correct ones are at most a window apart.
        claims = sorted(state.recalled.values(), reverse=True)
        state.abstains_to = max(state.log.low, claims[state.parameters.f]) + 2 * state.parameters.window
        state.recalled.clear()


def consider_end(state: State) -> None:
    """Ask again once everything that may have been said is below the stable checkpoint."""
    if state.abstains_to is not None and state.log.low >= state.abstains_to:
        begin(state)
        ask(state)


def begin(state: State, *, forgot: bool = False) -> None:
    """Vote for nothing until the others have said what they know.

    forgot: it is known already that votes are missing, so it abstains whatever they say; their answers bound for how
    long.
    """
    state.recalling, state.forgot, state.abstains_to = True, forgot, None
    state.recalled.clear()


def _is_known(state: State, message: PrePrepare | Prepare | Commit | Checkpoint) -> bool:
    """Tell whether this replica knows of a message of its own; of older views it need not, since they are over."""
    if isinstance(message, Checkpoint):
        return message.seq <= state.last_executed
    if message.view < state.view or message.seq <= state.log.low:
        return True
    slot = state.log.slots.get(message.seq)
    if message.view > state.view or not state.in_view or slot is None:
        return False
    known = {
        PrePrepare: slot.pre_prepare,
        Prepare: slot.prepares.votes.get(state.me),
        Commit: slot.commits.votes.get(state.me),
    }[type(message)]
    return known is not None and known.message == message


def _has_left(state: State, message: Recalled) -> bool:
    """Tell whether this replica left for a view that it does not know of."""
    if message.view_change is None:
        return False
    view = decode_view_change(message.view_change.message).view
    return view > state.view or (view == state.view and state.in_view and state.new_view is None)
