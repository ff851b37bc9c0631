"""A correct replica that fetches blocks votes for nothing new: what it would vote on rests on what it has not got.

What it said before it may say again.  Votes for places that it has executed are not judged: a crash between the disk
and the link can leave one that nobody was sent yet.
"""

from collections.abc import Collection

from consensus.messages import AnySigned, Checkpoint, Commit, NewView, Prepare, PrePrepare
from simulations.observations import BlockMade, CheckFailed, Crashed, Observation, Restarted, Sent, Syncing


class Quiet:
    """Remembers who is fetching, and what each replica has said."""

    name = "quiet"

    def __init__(self, correct: Collection[int]) -> None:
        self._correct = frozenset(correct)
        self._fetching: set[int] = set()
        self._heights = dict.fromkeys(sorted(self._correct), 0)
        self._said: set[tuple[int, str, int, int]] = set()

    def observe(self, observation: Observation) -> None:
        match observation:
            case Syncing(_, replica, active) if replica in self._correct:
                (self._fetching.add if active else self._fetching.discard)(replica)
            case Crashed(_, replica, _):
                self._fetching.discard(replica)
            case Restarted(_, replica, _, height) if replica in self._correct:
                self._heights[replica] = height
            case BlockMade(_, replica, executed, _) if replica in self._correct:
                self._heights[replica] = executed.header.height
            case Sent(_, source, _, signed, _) if source in self._correct and signed.message.replica == source:
                self._on_sent(source, signed)
            case _:
                pass

    def finish(self) -> None:
        """Nothing is owed at the end."""

    def _on_sent(self, source: int, signed: AnySigned) -> None:
        message = signed.message
        match message:
            case PrePrepare() | Prepare() | Commit():
                view, seq = message.view, message.seq
            case Checkpoint():
                view, seq = 0, message.seq
            case NewView():
                view, seq = message.view, 0
            case _:
                return
        kind = type(message).__name__
        if (source, kind, view, seq) in self._said:
            return
        self._said.add((source, kind, view, seq))
        is_old = isinstance(message, PrePrepare | Prepare | Commit) and seq <= self._heights[source]
        if source in self._fetching and not is_old:
            expected = f"no new vote of replica {source} while it fetches blocks, at height {self._heights[source]}"
            raise CheckFailed(self.name, expected, f"{kind} for view {view}, place {seq}")
