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

Place = tuple[int, str, int, int, int]  # replica, kind, era, view, seq


class Votes:
    """Remembers 32 bytes for each vote: what was said at one place can be asked for as long as the run lasts."""

    name = "votes"

    def __init__(self, correct: Collection[int]) -> None:
        self._correct = frozenset(correct)
        self._said: dict[Place, bytes] = {}
        self._left: dict[tuple[int, int], int] = {}  # replica and era: the highest view it changed to
        self._latest: dict[int, bytes] = {}  # replica: signature of what it sent last; a broadcast is seen n - 1 times

    def observe(self, observation: Observation) -> None:
        match observation:
            case Sent(_, source, _, signed, _) if source in self._correct:
                if observation.speaker in self._correct and self._latest.get(source) != signed.signature:
                    self._latest[source] = signed.signature
                    self._on_sent(source, observation)
            case Accused(_, replica, first, second) if replica in self._correct:
                accused = observation.accused
                if accused in self._correct:
                    found = f"{first.message!r} and {second.message!r}"
                    raise CheckFailed(self.name, f"nothing to accuse the correct replica {accused} of", found)
            case _:
                pass

    def finish(self) -> None:
        """Nothing is owed at the end."""

    def _on_sent(self, source: int, sent: Sent) -> None:
        message, speaker, era = sent.signed.message, sent.speaker, sent.era
        for kind, view, seq, said in _list_said(sent.signed):
            place = (speaker, kind, era, view, seq)
            known = self._said.get(place)
            if known is None and source == speaker:
                self._verify_not_left(place)
            if known is None:
                self._said[place] = said
            elif known != said:
                where = f"view {view}, place {seq} of era {era}"
                expected = f"one {kind} of replica {speaker} for {where}: {known.hex()[:16]}"
                raise CheckFailed(self.name, expected, said.hex()[:16])
        if isinstance(message, ViewChange):
            self._left[speaker, era] = max(message.view, self._left.get((speaker, era), 0))

    def _verify_not_left(self, place: Place) -> None:
        replica, kind, era, view, seq = place
        left = self._left.get((replica, era), 0)
        if kind in ("PrePrepare", "Prepare", "Commit") and view < left:
            expected = f"no vote of replica {replica} below view {left}, to which it changed"
            raise CheckFailed(self.name, expected, f"its first {kind} for view {view}, place {seq}")


def _list_said(signed: AnySigned) -> Iterator[tuple[str, int, int, bytes]]:
    """Yield kind, view, place and what was said."""
    message: Message = signed.message
    kind = type(message).__name__
    match message:
        case PrePrepare() | Prepare() | Commit():
            yield kind, message.view, message.seq, message.digest
        case Checkpoint():
            yield kind, 0, message.seq, message.digest
        case ViewChange():
            yield kind, message.view, 0, signed.signature
        case NewView():
            yield kind, message.view, 0, signed.signature
            for each in message.proposals:
                yield "PrePrepare", message.view, each.seq, each.digest
        case _:
            pass
