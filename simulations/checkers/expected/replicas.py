"""Who is accused, who stops and why, who fetches blocks and votes again."""

from collections.abc import Collection

from consensus.messages import Checkpoint, Commit, NewView, Prepare, PrePrepare, ViewChange
from simulations.checkers.expected import Expect
from simulations.observations import (
    Accused,
    BlockMade,
    Certified,
    CheckFailed,
    Halted,
    Observation,
    Restarted,
    Sent,
    Syncing,
)

VOTES = (PrePrepare, Prepare, Commit, Checkpoint, ViewChange, NewView)


class ExpectedReplicas:
    """Looks at faulty replicas as well: what becomes of them is the point."""

    name = "expected_replicas"

    def __init__(self, expect: Expect, correct: Collection[int], f: int) -> None:
        self._expect = expect
        self._correct = frozenset(correct)
        self._f = f
        self._accused: set[int] = set()
        self._halted: dict[int, str] = {}
        self._fetched: dict[int, int] = {}
        self._synced: set[int] = set()  # fetched, and have what they fetched
        self._voted: set[int] = set()  # after that
        self._heights: dict[int, int] = {}
        self._made: dict[int, dict[int, bytes]] = {}  # height: header by replica
        self._certified = 0

    def observe(self, observation: Observation) -> None:
        match observation:
            case Accused(_, replica, first, _) if replica in self._correct:
                self._accused.add(first.message.replica)
            case Halted(_, replica, reason):
                self._halted[replica] = reason
            case Syncing(_, replica, active):
                if active:
                    self._voted.discard(replica)
                    self._synced.discard(replica)
                else:
                    self._synced.add(replica)
            case BlockMade(_, replica, executed, fetched):
                self._heights[replica] = executed.header.height
                self._made.setdefault(executed.header.height, {})[replica] = executed.hash
                self._fetched[replica] = self._fetched.get(replica, 0) + fetched
            case Restarted(_, replica, _, height):
                self._heights[replica] = height
            case Certified(_, replica, certificate) if replica in self._correct:
                self._certified = max(self._certified, certificate.seq)
            case Sent(_, source, _, signed, _) if signed.message.replica == source:
                message = signed.message
                if source in self._halted and isinstance(message, VOTES):
                    found = f"a {type(message).__name__}"
                    raise CheckFailed(self.name, f"no vote of replica {source}, which has stopped", found)
                is_new = isinstance(message, Prepare | Commit) and message.seq > self._heights.get(source, 0)
                if source in self._synced and is_new:
                    self._voted.add(source)
            case _:
                pass

    def finish(self) -> None:
        """Judge what the run came to."""
        expect = self._expect
        if expect.accused is not None and set(expect.accused) != self._accused:
            raise CheckFailed(
                self.name, f"evidence against {sorted(expect.accused)}", f"against {sorted(self._accused)}"
            )
        if expect.halted is not None and set(expect.halted) != set(self._halted):
            raise CheckFailed(self.name, f"{sorted(expect.halted)} to stop", f"{_describe(self._halted) or 'nobody'}")
        for replica, reason in self._halted.items():
            if expect.halted_because not in reason:
                raise CheckFailed(self.name, f"replica {replica} to stop because: {expect.halted_because}", reason)
        for replica in expect.fetched:
            if self._fetched.get(replica, 0) < expect.fetched_min:
                expected = f"replica {replica} to fetch {expect.fetched_min} blocks or more"
                raise CheckFailed(self.name, expected, f"{self._fetched.get(replica, 0)}")
        silent = [replica for replica in expect.voted_again if replica not in self._voted]
        if silent:
            raise CheckFailed(self.name, f"{list(expect.voted_again)} to fetch and then to vote", f"not {silent}")
        if expect.no_stable_after_divergence:
            self._verify_nothing_stable()

    def _verify_nothing_stable(self) -> None:
        diverged = [height for height in sorted(self._made) if self._count_minority(height) > self._f]
        if not diverged:
            raise CheckFailed(self.name, f"more than {self._f} replicas to differ at some height", "none")
        if self._certified >= diverged[0]:
            expected = f"no certificate from height {diverged[0]} on, where too many differ"
            raise CheckFailed(self.name, expected, f"one of {self._certified}")

    def _count_minority(self, height: int) -> int:
        hashes = list(self._made[height].values())
        return len(hashes) - max(hashes.count(each) for each in hashes)


def _describe(halted: dict[int, str]) -> str:
    return "; ".join(f"replica {replica}: {reason}" for replica, reason in sorted(halted.items()))
