"""Known bugs of PBFT implementations, to be planted: a simulator that does not find them proves nothing.

`with plant("quorum-2f"): ...` replaces one thing in the running code, for every replica of this process, and puts it
back afterwards.  A name that the code has no more raises AttributeError, so that no bug silently stops being planted.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from consensus import authentication, checkpoints, new_view, retransmission, timers, view_change
from consensus.effects import Broadcast
from consensus.messages import Checkpoint, NewView, Signed, ViewChange
from consensus.parameters import Parameters
from consensus.quorum import VoteSet
from consensus.state import State
from ledger import keyspace
from ledger.chain import Chain
from node.vote_log import LogFile, VoteLog

Plant = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug: its name, what the code does wrong, and what plants it."""

    name: str
    summary: str
    plant: Plant


def plant(name: str) -> AbstractContextManager[object]:
    """Return the context in which the named bug is in the code."""
    bug = next((bug for bug in BUGS if bug.name == name), None)
    if bug is None:
        raise ValueError(f"expected one of {', '.join(bug.name for bug in BUGS)}; got {name}")
    return bug.plant()


def _original(owner: object, name: str) -> Any:
    """Return what the patch calls, or not; a private name of the code may be asked for, here alone."""
    return getattr(owner, name)


@contextmanager
def _all(*patches: AbstractContextManager[object]) -> Generator[None, None, None]:
    with ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        yield


# View changes.


def _drop_prepared() -> AbstractContextManager[object]:
    def make(prepared: object, me: int, stable: Any, view: int) -> ViewChange:
        return ViewChange((), me, stable, view)

    return patch.object(view_change, "ViewChange", make)


def _accept_any_new_view() -> AbstractContextManager[object]:
    original = _original(authentication, "_verify_sender")

    def verify(parameters: Parameters, signed: Any) -> None:
        if not isinstance(signed.message, NewView):
            original(parameters, signed)

    return patch.object(authentication, "_verify_sender", verify)


def _leave_gaps() -> AbstractContextManager[object]:
    original = new_view.compute_plan

    def compute(view_changes: Any, base: int) -> new_view.Plan:
        plan = original(view_changes, base)
        filled = {proof.seq for each in view_changes for proof in each.prepared}
        return new_view.Plan(plan.stable, [each for each in plan.proposals if each[0] in filled])

    return _all(
        patch.object(view_change, "compute_plan", compute), patch.object(authentication, "compute_plan", compute)
    )


def _send_view_change_once() -> AbstractContextManager[object]:
    """Neither on the tick nor as an answer: either of them alone would make up for the other."""
    on_tick, send_view = retransmission.on_tick, _original(retransmission, "_send_view")

    def tick(state: State) -> None:
        said = None if state.in_view else state.view_changes[state.me]
        on_tick(state)
        state.effects = [each for each in state.effects if not (isinstance(each, Broadcast) and each.signed is said)]

    def answer(state: State, peer: int, view: int, in_view: bool) -> None:
        if state.in_view:
            send_view(state, peer, view, in_view)

    return _all(patch.object(retransmission, "on_tick", tick), patch.object(retransmission, "_send_view", answer))


def _keep_timeout() -> AbstractContextManager[object]:
    def compute(state: State) -> int:
        return state.parameters.view_timeout_ms

    return patch.object(timers, "compute_timeout_ms", compute)


def _time_exact_view() -> AbstractContextManager[object]:
    return patch.object(view_change, "has_left_with_quorum", view_change.has_quorum)


# Counting.


def _count_duplicates() -> AbstractContextManager[object]:
    original = VoteSet[Checkpoint].add

    def add(votes: Any, signed: Signed[Any]) -> Signed[Any] | None:
        earlier: Signed[Any] | None = original(votes, signed)
        if earlier is not None:
            digest = signed.message.digest
            votes._counts[digest] = votes._counts.get(digest, 0) + 1
        return earlier

    return patch.object(VoteSet, "add", add)


def _shrink_quorum() -> AbstractContextManager[object]:
    return patch.object(Parameters, "quorum", property(lambda parameters: 2 * parameters.f))


# Checkpoints and catching up.


def _collect_early() -> AbstractContextManager[object]:
    original = checkpoints.on_executed

    def on_executed(state: State, seq: int, digest: bytes) -> None:
        original(state, seq, digest)
        held: tuple[dict[int, Any], ...] = (state.log.prepared, state.log.bodies)
        for each in held:
            for old in [at for at in each if at <= state.last_executed]:
                del each[old]

    return patch.object(checkpoints, "on_executed", on_executed)


def _sign_what_is_ordered() -> AbstractContextManager[object]:
    def vote(state: State) -> None:
        for seq in range(max(state.log.low, state.checkpoint_floor) + 1, state.last_ordered + 1):
            votes = state.checkpoints.get(seq)
            if seq % state.parameters.checkpoint_interval or (votes is not None and state.me in votes.votes):
                continue
            digest = state.digests.get(seq, state.digests.get(state.last_executed))
            if digest is not None and state.halted is None:
                signed = state.make_signed(Checkpoint(digest, state.me, seq))
                state.broadcast(signed)
                checkpoints.on_checkpoint(state, signed)

    return patch.object(checkpoints, "vote_checkpoints", vote)


def _vote_while_fetching() -> AbstractContextManager[object]:
    def may_vote(state: State, seq: int) -> bool:
        return state.in_view and state.halted is None and state.log.low < seq <= state.log.high

    return patch.object(State, "may_vote", may_vote)


# Durability.


class _NeverSynced:
    """A log file that says it is synced when it is not."""

    def __init__(self, file: LogFile) -> None:
        self._file = file

    @property
    def path(self) -> Path:
        return self._file.path

    def read(self) -> bytes | None:
        return self._file.read()

    def append(self, data: bytes) -> None:
        self._file.append(data)

    def sync(self) -> None:
        pass

    def truncate(self, size_bytes: int) -> None:
        self._file.truncate(size_bytes)

    def replace(self, data: bytes) -> None:
        self._file.replace(data)

    def close(self) -> None:
        self._file.close()


def _skip_sync() -> AbstractContextManager[object]:
    original = VoteLog.recover

    def recover(cls: type[VoteLog], file: LogFile, chain_id: bytes, era: int = 0) -> VoteLog:
        return original(_NeverSynced(file), chain_id, era)

    return patch.object(VoteLog, "recover", classmethod(recover))


def _forget_nonces() -> AbstractContextManager[object]:
    """Nonces are state, so it is the chain that loses them as it opens; the digest goes on as if they were there."""
    original = _original(Chain, "_open")
    prefix = keyspace.nonce(b"")

    def open_chain(chain: Chain) -> Any:
        opened = original(chain)
        keys = [key for key, _ in chain.store.iterate(prefix, keyspace.after(prefix))]
        chain.store.write([], keys)
        return opened

    return patch.object(Chain, "_open", open_chain)


BUGS = (
    Bug("prepared-dropped", "VIEW-CHANGE carries no prepared proofs.", _drop_prepared),
    Bug("new-view-from-anyone", "NEW-VIEW is accepted from others than the primary.", _accept_any_new_view),
    Bug("sync-skipped", "The vote log is not synced before messages leave.", _skip_sync),
    Bug("duplicates-counted", "A vote that comes twice counts twice.", _count_duplicates),
    Bug("quorum-2f", "A quorum is 2f replicas, so two quorums may share no correct one.", _shrink_quorum),
    Bug("gaps-left", "NEW-VIEW does not fill gaps between prepared places with null requests.", _leave_gaps),
    Bug("collected-early", "Proofs and bodies are forgotten before the checkpoint is stable.", _collect_early),
    Bug("checkpoint-of-ordering", "CHECKPOINT is signed for what is ordered, not yet executed.", _sign_what_is_ordered),
    Bug("view-change-once", "VIEW-CHANGE is never sent again.", _send_view_change_once),
    Bug("nonces-forgotten", "A restarted replica does not know the accounts' nonces.", _forget_nonces),
    Bug("votes-while-fetching", "A replica votes while it fetches blocks.", _vote_while_fetching),
    Bug("timeout-constant", "Timeouts do not grow with views that failed.", _keep_timeout),
    Bug("timer-of-exact-view", "The NEW-VIEW timer needs a quorum for exactly this view.", _time_exact_view),
)  # fmt: skip
"""In the order of the list that they come from; the last was found here by chance."""
