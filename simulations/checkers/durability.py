"""O8: what a correct replica has said and shown, it still has after a crash.

Provable from outside is: it restarts with every block that it had made or seen certified; it signs CHECKPOINT only for
a block that is durable here, and for its header; and every VIEW-CHANGE proves each place above its stable checkpoint at
which it ever sent COMMIT, since that batch may have been executed somewhere.
"""

from collections.abc import Collection

from consensus.messages import Checkpoint, Commit, ViewChange
from simulations.observations import BlockMade, Certified, CheckFailed, Observation, Restarted, Sent, TookSeat

COMMITS_KEPT = 128
"""Places below a certified height whose COMMITs are still remembered: a restart may go back to an older checkpoint."""


class Durability:
    """Remembers one hash for each height, and of each replica its COMMITs near the head."""

    name = "durability"

    def __init__(self, correct: Collection[int]) -> None:
        self._correct = frozenset(correct)
        self._heights = dict.fromkeys(sorted(self._correct), 0)  # durable, as far as was shown
        self._certified = dict.fromkeys(sorted(self._correct), 0)
        self._hashes: dict[int, bytes] = {}
        self._eras: dict[int, int] = {}
        self._commits: dict[int, dict[int, Commit]] = {replica: {} for replica in sorted(self._correct)}

    def observe(self, observation: Observation) -> None:
        match observation:
            case Sent(_, source, _, signed, _) if source in self._correct and observation.speaker == source:
                message = signed.message
                if isinstance(message, Checkpoint):
                    self._on_checkpoint(source, message)
                elif isinstance(message, Commit):
                    self._on_commit(source, message)
                elif isinstance(message, ViewChange):
                    self._on_view_change(source, message)
            case BlockMade(_, replica, executed, _) if replica in self._correct:
                height = executed.header.height
                self._heights[replica] = max(height, self._heights[replica])
                self._hashes.setdefault(height, executed.hash)
            case Certified(_, replica, certificate) if replica in self._correct:
                self._on_certified(replica, certificate.seq)
            case Restarted(_, replica, _, height) if replica in self._correct:
                self._on_restarted(replica, height)
            case TookSeat(_, replica, era, _) if era > self._eras.get(replica, 0) and replica in self._correct:
                self._eras[replica] = era
                self._commits[replica].clear()  # all places of the era before are certified
            case _:
                pass

    def finish(self) -> None:
        """Nothing is owed at the end."""

    def _on_checkpoint(self, replica: int, message: Checkpoint) -> None:
        seq = message.seq
        if seq > self._heights[replica]:
            expected = f"CHECKPOINTs of replica {replica} up to its durable height {self._heights[replica]}"
            raise CheckFailed(self.name, expected, f"one for {seq}")
        known = self._hashes.get(seq)
        if known is not None and known != message.digest:
            expected = f"replica {replica} to sign header {known.hex()[:16]} of height {seq}"
            raise CheckFailed(self.name, expected, message.digest.hex()[:16])

    def _on_commit(self, replica: int, message: Commit) -> None:
        commits = self._commits[replica]
        known = commits.get(message.seq)
        if known is None or message.view > known.view:
            commits[message.seq] = message

    def _on_view_change(self, replica: int, message: ViewChange) -> None:
        low = 0 if message.stable is None else message.stable.seq
        proofs = {proof.seq: proof for proof in message.prepared}
        for seq, commit in sorted(self._commits[replica].items()):
            if seq <= low or commit.view >= message.view:
                continue
            proof = proofs.get(seq)
            if (
                proof is None
                or proof.view < commit.view
                or (proof.view == commit.view and proof.digest != commit.digest)
            ):
                expected = (
                    f"the VIEW-CHANGE of replica {replica} to view {message.view} to prove place {seq}, which "
                    f"it committed to in view {commit.view}"
                )
                raise CheckFailed(self.name, expected, "no proof" if proof is None else f"one of view {proof.view}")

    def _on_certified(self, replica: int, seq: int) -> None:
        self._certified[replica] = max(seq, self._certified[replica])
        commits, floor = self._commits[replica], seq - COMMITS_KEPT
        for old in [each for each in commits if each <= floor]:
            del commits[old]

    def _on_restarted(self, replica: int, height: int) -> None:
        made, certified = self._heights[replica], min(self._certified[replica], self._heights[replica])
        if height < made:
            expected = f"replica {replica} to have its blocks up to {made}, certified up to {certified}"
            raise CheckFailed(self.name, expected, f"height {height} after the restart")
        self._heights[replica] = height
