"""Section 4.3: checkpoints, the certificates that a quorum of them makes, garbage collection, and catching up."""

from consensus.effects import FetchBlocks, Stable
from consensus.messages import UNPROVEN_MAX, Certificate, Checkpoint, Signed
from consensus.quorum import VoteSet
from consensus.state import State


def on_executed(state: State, seq: int, digest: bytes) -> None:
    """A block is durable here: sign its header, and see whether a quorum made the same."""
    known = state.digests.get(seq)
    assert known is None or known == digest or seq <= state.log.low, f"two headers for {seq}"
    if seq <= state.last_executed:
        return  # it was fetched meanwhile, or the driver repeats itself
    assert seq == state.last_executed + 1, f"expected {state.last_executed + 1} to be executed next, got {seq}"
    state.digests[seq] = digest
    state.last_executed = seq
    state.last_ordered = max(state.last_ordered, seq)
    if state.syncing:
        return
    vote_checkpoints(state)
    _adopt_ahead(state)


def on_installed(state: State, seq: int, certificate: Certificate) -> None:
    """The driver fetched, verified and executed blocks up to here; their certificate makes the last of them stable."""
    assert certificate.seq == seq, f"a certificate for {certificate.seq} with block {seq}"
    own = state.digests.get(seq)
    if own is not None and own != certificate.digest:
        state.halt(f"own header {own.hex()} at {seq} differs from the quorum's {certificate.digest.hex()}")
        return
    state.digests[seq] = certificate.digest
    state.last_executed = max(state.last_executed, seq)
    state.last_ordered = max(state.last_ordered, seq)
    state.certificates[seq] = certificate
    _raise_stable(state, certificate)
    if not state.syncing:
        vote_checkpoints(state)
    _adopt_ahead(state)
    state.recheck_all()


def on_checkpoint(state: State, signed: Signed[Checkpoint]) -> None:
    """Count a CHECKPOINT.  Of those too far ahead only each replica's highest seq is remembered."""
    message = signed.message
    state.claims[message.replica] = max(message.seq, state.claims.get(message.replica, 0))
    if not state.checkpoint_floor < message.seq <= state.log.high + state.parameters.window:
        consider_sync(state, stalled=False)
        return
    votes = state.checkpoints.get(message.seq)
    if votes is None:
        votes = state.checkpoints[message.seq] = VoteSet[Checkpoint]()
    earlier = votes.add(signed)
    if earlier is not None:
        if earlier.message.digest != message.digest:
            state.accuse_once((message.replica, message.seq), earlier, signed)
        return
    if message.seq in state.certificates:
        return
    if votes.count(message.digest) >= state.quorum:
        signatures = votes.collect(message.digest, state.quorum)
        adopt_certificate(state, Certificate(message.digest, message.seq, signatures))
    elif votes.count_most() + state.parameters.n - len(votes.votes) < state.quorum:
        # Correct replicas sign one header, and are a quorum: more than f are faulty, or execution is not deterministic.
        headers = len({vote.message.digest for vote in votes.votes.values()})
        state.halt(f"no header can be certified at {message.seq}: {len(votes.votes)} replicas signed {headers} of them")


def adopt_certificate(state: State, certificate: Certificate) -> None:
    """Take a verified certificate: compare it with our own header, or remember how far others are."""
    seq = certificate.seq
    if seq in state.certificates or seq <= state.checkpoint_floor:
        return
    if seq > state.last_executed:
        if state.ahead is None or seq > state.ahead.seq:
            state.ahead = certificate
        consider_sync(state, stalled=False)
        return
    own = state.digests.get(seq)
    if own is not None and own != certificate.digest:
        state.halt(f"own header {own.hex()} at {seq} differs from the quorum's {certificate.digest.hex()}")
        return
    state.certificates[seq] = certificate
    state.emit(Stable(certificate))
    _raise_stable(state, certificate)


def consider_sync(state: State, *, stalled: bool) -> None:
    """Fetch blocks when messages cannot bring us to where others are, or have not for a while.

    Inside the window the missing messages usually arrive; outside of it, or while changing views, they cannot.
    """
    target, replicas = _find_target(state)
    if target <= state.last_ordered:
        return  # it is here, or about to be
    near = state.in_view and target <= state.log.high
    if near and not stalled:
        return
    if target > state.sync_target or stalled:
        state.sync_target = max(state.sync_target, target)
        state.emit(FetchBlocks(state.last_executed, state.sync_target, replicas))


def get_unproven(state: State) -> tuple[int, ...]:
    """Return places at which our header has no certificate yet."""
    interval = state.parameters.checkpoint_interval
    low = max(state.proof_floor, state.checkpoint_floor)
    executed = range(low + 1, state.last_executed + 1)
    return tuple(seq for seq in executed if seq % interval == 0 and seq not in state.certificates)[:UNPROVEN_MAX]


def _find_target(state: State) -> tuple[int, tuple[int, ...]]:
    """Return a place up to which blocks and certificates exist at correct replicas, and who should have them.

    A certificate says so itself.  Of f + 1 replicas that claim a checkpoint one is correct, and what it executed is
    stable up to a window below.
    """
    target, replicas = 0, tuple(state.others())
    if state.ahead is not None:
        target = state.ahead.seq
        replicas = tuple(vote.replica for vote in state.ahead.signatures if vote.replica != state.me)
    claims = sorted((state.claims[replica] for replica in sorted(state.claims)), reverse=True)
    if len(claims) > state.parameters.f:
        claimed = claims[state.parameters.f] - state.parameters.window
        if claimed > target:
            target, replicas = claimed, tuple(r for r in sorted(state.claims) if state.claims[r] >= claimed)
    return target, tuple(replica for replica in replicas if replica != state.me)


def vote_checkpoints(state: State) -> None:
    """Sign and send our checkpoints above the stable one that were not sent yet."""
    for seq in range(max(state.log.low, state.checkpoint_floor) + 1, state.last_executed + 1):
        votes = state.checkpoints.get(seq)
        if seq % state.parameters.checkpoint_interval or (votes is not None and state.me in votes.votes):
            continue
        digest = state.digests.get(seq)
        if digest is not None and state.halted is None:
            signed = state.make_signed(Checkpoint(digest, state.me, seq))
            state.broadcast(signed)
            on_checkpoint(state, signed)


def _adopt_ahead(state: State) -> None:
    """Certificates that were complete before we had executed that far."""
    for seq in [seq for seq in sorted(state.checkpoints) if state.log.low < seq <= state.last_executed]:
        votes, own = state.checkpoints[seq], state.digests.get(seq)
        if seq in state.certificates or own is None:
            continue
        for digest in sorted({vote.message.digest for vote in votes.votes.values()}):
            if votes.count(digest) >= state.quorum:
                adopt_certificate(state, Certificate(digest, seq, votes.collect(digest, state.quorum)))
    if state.ahead is not None and state.ahead.seq <= state.last_executed:
        ahead, state.ahead = state.ahead, None
        adopt_certificate(state, ahead)


def _raise_stable(state: State, certificate: Certificate) -> None:
    """Move the water marks and forget what lies below; the vote log is cut later, by the driver."""
    if certificate.seq <= state.log.low:
        return
    high = state.log.high
    state.stable = certificate
    state.log.raise_low(certificate.seq)
    for old in [seq for seq in state.ordered if seq <= state.log.low]:
        del state.ordered[old]
    for held in (state.digests, state.checkpoints, state.certificates):
        for old in [seq for seq in held if seq <= state.checkpoint_floor]:
            del held[old]
    state.recheck.extend(range(max(high, state.log.low) + 1, state.log.high + 1))
