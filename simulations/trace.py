"""The run as lines, one for each observation, and a hash over them: equal seeds give equal hashes."""

import hashlib
from collections.abc import Callable

from consensus.messages import AnySigned
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

DIGEST_SHOWN = 12


class Trace:
    """An observer; `write` gets every line."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self.count = 0
        self._hash = hashlib.sha256()
        self._write = write

    def observe(self, observation: Observation) -> None:
        line = format_observation(observation) + "\n"
        self.count += 1
        self._hash.update(line.encode())
        if self._write is not None:
            self._write(line)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def format_observation(observation: Observation) -> str:
    """Return one line: time, what, who, and the numbers that tell it from others."""
    what = type(observation).__name__
    match observation:
        case Sent(at, source, to, signed, _):
            return f"{at} {what} {source}-{to} {format_signed(signed)}"
        case Delivered(at, source, to, signed, sent_ms):
            return f"{at} {what} {source}-{to} {format_signed(signed)} sent {sent_ms}"
        case Dropped(at, source, to, why):
            return f"{at} {what} {source}-{to} {why}"
        case BlockMade(at, replica, executed, fetched):
            how = "fetched" if fetched else "executed"
            return f"{at} {what} {replica} {executed.header.height} {_short(executed.hash)} {how}"
        case Certified(at, replica, certificate):
            signers = ",".join(str(vote.replica) for vote in certificate.signatures)
            return f"{at} {what} {replica} {certificate.seq} {_short(certificate.digest)} by {signers}"
        case EnteredView(at, replica, view):
            return f"{at} {what} {replica} {view}"
        case Crashed(at, replica, why) | Halted(at, replica, why):
            return f"{at} {what} {replica} {why}"
        case Restarted(at, replica, life, height):
            return f"{at} {what} {replica} life {life} at height {height}"
        case Accused(at, replica, first, second):
            return f"{at} {what} {replica} {format_signed(first)} / {format_signed(second)}"
        case Submitted(at, replica, event_id, accepted):
            return f"{at} {what} {replica} {_short(event_id)} {'accepted' if accepted else 'refused'}"
        case Sized(at, replica, held):
            sizes = ", ".join(f"{name} {size}" for name, size, _ in held)
            return f"{at} {what} {replica} {sizes}"
        case Syncing(at, replica, active):
            return f"{at} {what} {replica} {'begins' if active else 'ends'}"
        case ProposalRefused(at, replica, view, seq, why):
            return f"{at} {what} {replica} view {view} seq {seq} {why}"
        case Paced(at, replica, timeout_ms):
            return f"{at} {what} {replica} {timeout_ms}"
        case Scripted(at, act, facts):
            return f"{at} {what} {act} {', '.join(f'{name} {value}' for name, value in facts)}"
        case FaultChanged(at, fault):
            return f"{at} {what} {fault}"


def format_signed(signed: AnySigned) -> str:
    """Return a message's class and its small fields; the signature stands for the rest."""
    message = signed.message
    fields = [type(message).__name__, f"by {message.replica}"]
    for name in ("view", "seq"):
        value = getattr(message, name, None)
        if value is not None:
            fields.append(f"{name} {value}")
    return f"{' '.join(fields)} {_short(signed.signature)}"


def _short(data: bytes) -> str:
    return data.hex()[:DIGEST_SHOWN]
