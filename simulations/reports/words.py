"""The words that both reports use: what a message says, what an observation tells."""

from collections.abc import Iterable, Iterator

from consensus.messages import (
    AnySigned,
    Body,
    Certificate,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Recall,
    Recalled,
    Status,
    ViewChange,
)
from simulations.observations import (
    Accused,
    BlockMade,
    Certified,
    Crashed,
    Delivered,
    Dropped,
    EnteredView,
    FaultChanged,
    Halted,
    Observation,
    Paced,
    ProposalRefused,
    Restarted,
    Scripted,
    Sent,
    Sized,
    Submitted,
    Syncing,
)

KINDS = {
    PrePrepare: "PRE-PREPARE",
    Prepare: "PREPARE",
    Commit: "COMMIT",
    Checkpoint: "CHECKPOINT",
    ViewChange: "VIEW-CHANGE",
    NewView: "NEW-VIEW",
    Status: "STATUS",
    Body: "BODY",
    Recall: "RECALL",
    Recalled: "RECALLED",
}
DIGEST_CHARS = 8


def select(observations: Iterable[Observation], from_ms: int, to_ms: int | None) -> Iterator[Observation]:
    """Yield what happened in a time window; both ends belong to it, None is the end of the run."""
    for observation in observations:
        if observation.at_ms >= from_ms and (to_ms is None or observation.at_ms <= to_ms):
            yield observation


def get_replica(observation: Observation) -> int | None:
    """Return the replica at which it happened; None for faults of the scenario."""
    match observation:
        case Sent():
            return observation.source
        case Delivered() | Dropped():
            return observation.to
        case FaultChanged() | Scripted():
            return None
        case _:
            return observation.replica


def tell_message(signed: AnySigned) -> str:
    """Return kind, view, place and digest of a message, and whose it is."""
    message = signed.message
    kind = f"{KINDS[type(message)]} of {message.replica}"
    match message:
        case PrePrepare() | Prepare() | Commit():
            return f"{kind}: view {message.view}, place {message.seq}, {_short(message.digest)}"
        case Checkpoint():
            return f"{kind}: place {message.seq}, {_short(message.digest)}"
        case ViewChange():
            places = [f"{proof.seq}@{proof.view}" for proof in message.prepared]
            return f"{kind}: to view {message.view}, stable {_seq(message.stable)}, prepared [{', '.join(places)}]"
        case NewView():
            places = [f"{each.seq}" for each in message.proposals]
            return f"{kind}: view {message.view}, {len(message.view_changes)} left, places [{', '.join(places)}]"
        case Status():
            where = f"{'in' if message.in_view else 'to'} view {message.view}"
            return f"{kind}: {where}, executed {message.last_executed}, stable {_seq(message.stable)}"
        case Body():
            return f"{kind}: {_short(message.digest)}"
        case Recall():
            return kind
        case Recalled():
            return f"{kind}: {len(message.said)} votes of {message.to}, stable {message.stable}"


def tell(observation: Observation) -> str:
    """Return what happened, without the time and the replica."""
    match observation:
        case Sent(_, _, to, signed, batch):
            return f"sends to {to}: {tell_message(signed)}" + (
                "" if batch is None else f", batch of {len(batch)} bytes"
            )
        case Delivered(at_ms, source, _, signed, sent_ms):
            return f"receives from {source} after {at_ms - sent_ms} ms: {tell_message(signed)}"
        case Dropped(_, source, _, why):
            return f"loses a frame of {source}: {why}"
        case BlockMade(_, _, executed, fetched):
            header = executed.header
            how = "fetches" if fetched else "executes"
            return f"{how} height {header.height}: {_short(executed.hash)}, {len(executed.receipts)} receipts"
        case Certified(_, _, certificate):
            signers = ", ".join(str(vote.replica) for vote in certificate.signatures)
            return f"has a certificate of height {certificate.seq}: {_short(certificate.digest)} by {signers}"
        case EnteredView(_, _, view):
            return f"enters view {view}"
        case Crashed(_, _, why):
            return f"CRASHES: {why}"
        case Restarted(_, _, life, height):
            return f"RESTARTS at height {height}, life {life}"
        case Halted(_, _, reason):
            return f"HALTS: {reason}"
        case Accused(_, _, first, second):
            return f"ACCUSES {first.message.replica}: {tell_message(first)}; {tell_message(second)}"
        case Submitted(_, _, event_id, accepted):
            return f"{'accepts' if accepted else 'refuses'} event {_short(event_id)}"
        case Sized(_, _, held):
            return "holds " + ", ".join(f"{name} {size}/{bound}" for name, size, bound in held)
        case Syncing(_, _, active):
            return "fetches blocks" if active else "has the blocks that it fetched"
        case ProposalRefused(_, _, view, seq, why):
            return f"refuses proposal {seq} of view {view}: {why}"
        case Paced(_, _, timeout_ms):
            return f"waits {timeout_ms} ms for a primary"
        case Scripted(_, act, facts):
            return " ".join(("SCRIPT:", act, *(f"{name} {value}" for name, value in facts)))
        case FaultChanged(_, what):
            return f"FAULT: {what}"


def _short(digest: bytes) -> str:
    return digest.hex()[:DIGEST_CHARS]


def _seq(certificate: Certificate | None) -> int:
    return 0 if certificate is None else certificate.seq
