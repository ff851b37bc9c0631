"""O4: a correct replica never says two things at one place, restarts included, and never votes in a view it left.

Judged is all that a correct replica signed and a correct replica sent; a PRE-PREPARE that is inside a NEW-VIEW counts.
"""

from collections.abc import Collection, Iterator

from consensus.messages import (
    AnySigned,
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    ViewChange,
)
from simulations.observations import Accused, CheckFailed, Observation, Sent

Place = tuple[int, str, int, int]  # replica, kind, view, seq


class Votes:
    """Remembers 32 bytes for each vote: what was said at one place can be asked for as long as the run lasts."""

    name = "votes"

    def __init__(self, correct: Collection[int]) -> None:
        self._correct = frozenset(correct)
        self._said: dict[Place, bytes] = {}
        self._left: dict[int, int] = {}  # replica: the highest view it changed to
        self._latest: dict[int, bytes] = {}  # replica: signature of what it sent last; a broadcast is seen n - 1 times

    def observe(self, observation: Observation) -> None:
        match observation:
            case Sent(_, source, _, signed, _) if source in self._correct:
                if signed.message.replica in self._correct and self._latest.get(source) != signed.signature:
                    self._latest[source] = signed.signature
                    self._on_sent(source, signed)
            case Accused(_, replica, first, second) if replica in self._correct:
                accused = self._correct.intersection((first.message.replica, second.message.replica))
                if accused:
                    found = f"{first.message!r} and {second.message!r}"
                    raise CheckFailed(self.name, f"nothing to accuse the correct replica {min(accused)} of", found)
            case _:
                pass

    def finish(self) -> None:
        """Nothing is owed at the end."""

    def _on_sent(self, source: int, signed: AnySigned) -> None:
        message = signed.message
        for place, said in _list_said(signed):
            known = self._said.get(place)
            if known is None and source == message.replica:
                self._verify_not_left(place)
            if known is None:
                self._said[place] = said
            elif known != said:
                replica, kind, view, seq = place
                where = f"view {view}, place {seq}"
                expected = f"one {kind} of replica {replica} for {where}: {known.hex()[:16]}"
                raise CheckFailed(self.name, expected, said.hex()[:16])
        if isinstance(message, ViewChange):
            self._left[message.replica] = max(message.view, self._left.get(message.replica, 0))

    def _verify_not_left(self, place: Place) -> None:
        replica, kind, view, seq = place
        left = self._left.get(replica, 0)
        if kind in ("PrePrepare", "Prepare", "Commit") and view < left:
            expected = f"no vote of replica {replica} below view {left}, to which it changed"
            raise CheckFailed(self.name, expected, f"its first {kind} for view {view}, place {seq}")


def _list_said(signed: AnySigned) -> Iterator[tuple[Place, bytes]]:
    message: Message = signed.message
    kind = type(message).__name__
    match message:
        case PrePrepare() | Prepare() | Commit():
            yield (message.replica, kind, message.view, message.seq), message.digest
        case Checkpoint():
            yield (message.replica, kind, 0, message.seq), message.digest
        case ViewChange():
            yield (message.replica, kind, message.view, 0), signed.signature
        case NewView():
            yield (message.replica, kind, message.view, 0), signed.signature
            for each in message.proposals:
                yield (message.replica, "PrePrepare", message.view, each.seq), each.digest
        case _:
            pass
