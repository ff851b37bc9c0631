"""Whether a message may be believed: its own signature, and that of everything inside it.

Pure, and done before a replica sees the message: an invalid message has no effect but on its sender's reputation.  What
is invalid inside a VIEW-CHANGE spoils that VIEW-CHANGE alone.
"""

from itertools import pairwise

from consensus.errors import InvalidMessage
from consensus.messages import (
    AnySigned,
    Body,
    Checkpoint,
    Cited,
    Commit,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    Recall,
    Recalled,
    Status,
    ViewChange,
    decode_view_change,
    restore_said,
)
from consensus.new_view import compute_plan
from consensus.parameters import Parameters
from consensus.quorum import verify_bytes, verify_certificate, verify_signers, verify_vote


def verify_signed(parameters: Parameters, signed: AnySigned) -> None:
    """Raise InvalidMessage unless the message is one that a correct replica could have sent."""
    message = signed.message
    if message.replica >= parameters.n:
        raise InvalidMessage("replica", f"expected a replica below {parameters.n}, got {message.replica}")
    _verify_sender(parameters, signed)
    verify_bytes(parameters, type(message), message.replica, signed.encoded, signed.signature)
    match message:
        case ViewChange():
            verify_view_change(parameters, message)
        case NewView():
            verify_new_view(parameters, message)
        case Status():
            if message.stable is not None:
                verify_certificate(parameters, message.stable)
        case Recalled():
            verify_recalled(parameters, message)
        case PrePrepare() | Prepare() | Commit() | Checkpoint() | Body() | Recall():
            pass


def verify_view_change(parameters: Parameters, message: ViewChange) -> None:
    """Section 4.4: the stable certificate, and for each prepared place its proof.  Raises InvalidMessage."""
    if message.view < 1:
        raise InvalidMessage("view", "nobody changes to view 0", message.replica)
    low = parameters.base
    if message.stable is not None:
        verify_certificate(parameters, message.stable)
        low = message.stable.seq
    previous = low
    for proof in message.prepared:
        if not previous < proof.seq <= low + parameters.window:
            raise InvalidMessage(
                "prepared_seq",
                f"expected ascending places in ({low}, {low + parameters.window}], got {proof.seq} after {previous}",
                message.replica,
            )
        if proof.view >= message.view:
            raise InvalidMessage("prepared_view", f"prepared in view {proof.view}, not below {message.view}")
        previous = proof.seq
        verify_prepared(parameters, proof)


def verify_recalled(parameters: Parameters, message: Recalled) -> None:
    """Raise InvalidMessage unless all of it was signed by the replica that asked."""
    if message.to >= parameters.n:
        raise InvalidMessage("recalled_to", f"expected a replica below {parameters.n}, got {message.to}")
    for said in message.said:
        verify_vote(parameters, restore_said(message.to, said), said.signature)
    if message.view_change is not None:
        cited = message.view_change
        if decode_view_change(cited.message).replica != message.to:
            raise InvalidMessage("recalled_view_change", "a VIEW-CHANGE of another replica", message.replica)
        verify_bytes(parameters, ViewChange, message.to, cited.message, cited.signature)


def verify_prepared(parameters: Parameters, proof: PreparedProof) -> None:
    """Raise InvalidMessage unless the primary proposed it and a quorum less one of backups prepared it."""
    primary = parameters.primary(proof.view)
    verify_signers(parameters, proof.prepares, parameters.quorum - 1)
    if any(vote.replica == primary for vote in proof.prepares):
        raise InvalidMessage("signers", f"the primary {primary} of view {proof.view} does not prepare")
    verify_vote(parameters, PrePrepare(proof.digest, primary, proof.seq, proof.view), proof.pre_prepare)
    for vote in proof.prepares:
        verify_vote(parameters, Prepare(proof.digest, vote.replica, proof.seq, proof.view), vote.signature)


def verify_new_view(parameters: Parameters, message: NewView) -> None:
    """Section 4.4: check each VIEW-CHANGE that is cited, compute O from them, and compare.  Raises InvalidMessage."""
    view_changes = [decode_view_change(cited.message) for cited in message.view_changes]
    replicas = [view_change.replica for view_change in view_changes]
    if len(replicas) < parameters.quorum:
        raise InvalidMessage("too_few_signers", f"expected {parameters.quorum} VIEW-CHANGEs, got {len(replicas)}")
    if replicas[-1] >= parameters.n or any(a >= b for a, b in pairwise(replicas)):
        raise InvalidMessage("signers", f"expected distinct replicas in order, got {replicas}", message.replica)
    for view_change, cited in zip(view_changes, message.view_changes, strict=True):
        _verify_cited(parameters, message.view, view_change, cited)
    plan = compute_plan(view_changes, parameters.base)
    if [(each.seq, each.digest) for each in message.proposals] != plan.proposals:
        raise InvalidMessage("new_view_proposals", "O does not follow from the VIEW-CHANGEs cited", message.replica)
    for each in message.proposals:
        verify_vote(parameters, PrePrepare(each.digest, message.replica, each.seq, message.view), each.signature)


def _verify_cited(parameters: Parameters, view: int, view_change: ViewChange, cited: Cited) -> None:
    if view_change.view != view:
        raise InvalidMessage("view", f"expected VIEW-CHANGEs to view {view}, got one to {view_change.view}")
    verify_bytes(parameters, ViewChange, view_change.replica, cited.message, cited.signature)
    verify_view_change(parameters, view_change)


def _verify_sender(parameters: Parameters, signed: AnySigned) -> None:
    message = signed.message
    match message:
        case PrePrepare() | NewView():
            if message.replica != parameters.primary(message.view):
                raise InvalidMessage("not_primary", f"not the primary of view {message.view}", message.replica)
            if isinstance(message, NewView) and message.view < 1:
                raise InvalidMessage("view", "view 0 begins without NEW-VIEW", message.replica)
        case Prepare():
            if message.replica == parameters.primary(message.view):
                raise InvalidMessage("primary_prepares", f"the primary of view {message.view}", message.replica)
        case Checkpoint():
            if message.seq % parameters.checkpoint_interval:
                raise InvalidMessage("checkpoint_seq", f"{message.seq} has no checkpoint", message.replica)
        case Commit() | ViewChange() | Status() | Body() | Recall() | Recalled():
            pass
