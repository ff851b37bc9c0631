"""However messages arrive, and whoever lies: one vote for each place, one execution, and none without a quorum."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from consensus.effects import Broadcast, Effect, Execute, JudgeBatch, Persist
from consensus.inputs import BatchJudged, Executed, Input, OldestRequest, Received, Started, TimerFired, TimerKind
from consensus.messages import Commit, Message, Prepare, PrePrepare, ViewChange
from consensus.replica import Replica
from tests.consensus.harness import (
    commit,
    digest_of,
    make_certificate,
    make_parameters,
    make_proof,
    make_sign,
    pre_prepare,
    prepare,
    sign,
)
from tests.consensus.test_view_change import new_view, view_change

BATCHES = st.sampled_from([b"a", b"b", b"c"])
SIGNERS = st.integers(0, 2)
SEQS = st.integers(1, 4)
VIEWS = st.integers(0, 3)
ME = 3


class OneCommitPerPlace(RuleBasedStateMachine):
    """Replica 3 of 4 in a storm of signed messages, any of which may contradict any other."""

    @initialize()
    def begin(self) -> None:
        self.replica = Replica(make_parameters(window=4), ME, make_sign(ME))
        self.records: list[bytes] = []
        self.votes: dict[tuple[type[Message], int, int], bytes] = {}
        self.commits_seen: dict[tuple[int, int, bytes], set[int]] = {}
        self.executed: list[bytes] = []
        self.waiting: list[Execute] = []
        self.judging: list[JudgeBatch] = []
        self.step(Started())

    def step(self, item: Input) -> None:
        self.carry_out(self.replica.step(item))

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Persist(record):
                    self.records.append(record)
                case Broadcast(signed):
                    self.check_vote(signed.message)
                case JudgeBatch():
                    self.judging.append(effect)
                case Execute():
                    self.check_execution(effect)
                    self.waiting.append(effect)
                case _:
                    pass

    def check_vote(self, message: Message) -> None:
        if message.replica != ME or not isinstance(message, PrePrepare | Prepare | Commit):
            return
        key = (type(message), message.view, message.seq)
        assert self.votes.setdefault(key, message.digest) == message.digest, f"two votes at {key}"
        if isinstance(message, Commit):
            self.commits_seen.setdefault((message.view, message.seq, message.digest), set()).add(ME)

    def check_execution(self, order: Execute) -> None:
        assert order.seq == len(self.executed) + len(self.waiting) + 1, "executed in order, without gaps, once"
        seen = self.commits_seen.get((order.view, order.seq, order.digest), set())
        assert len(seen) >= 3, f"executed with commits of {seen} only"

    @rule(seq=SEQS, batch=BATCHES, view=VIEWS)
    def primary_proposes(self, seq: int, batch: bytes, view: int) -> None:
        if view % 4 != ME:
            self.step(pre_prepare(seq, batch, view))

    @rule(signer=SIGNERS, seq=SEQS, batch=BATCHES, view=VIEWS)
    def replica_prepares(self, signer: int, seq: int, batch: bytes, view: int) -> None:
        if view % 4 != signer:
            self.step(prepare(signer, seq, batch, view))

    @rule(signer=SIGNERS, seq=SEQS, batch=BATCHES, view=VIEWS)
    def replica_commits(self, signer: int, seq: int, batch: bytes, view: int) -> None:
        self.commits_seen.setdefault((view, seq, digest_of(batch)), set()).add(signer)
        self.step(commit(signer, seq, batch, view))

    @rule(seq=SEQS, batch=BATCHES)
    def all_agree(self, seq: int, batch: bytes) -> None:
        """What usually happens, so that something is executed at all."""
        view = self.replica.view
        self.primary_proposes(seq, batch, view)
        self.application_judges(True)
        for signer in range(3):
            self.replica_prepares(signer, seq, batch, view)
        for signer in range(3):
            self.replica_commits(signer, seq, batch, view)

    @rule(accepted=st.booleans())
    def application_judges(self, accepted: bool) -> None:
        while self.judging:
            asked = self.judging.pop(0)
            self.step(BatchJudged(asked.view, asked.seq, asked.digest, accepted, "test"))

    @precondition(lambda self: bool(self.waiting))
    @rule()
    def block_is_executed(self) -> None:
        order = self.waiting.pop(0)
        self.executed.append(order.batch)
        self.step(Executed(order.seq, bytes([order.seq]) * 32))

    @rule(kind=st.sampled_from(list(TimerKind)))
    def timer_fires(self, kind: TimerKind) -> None:
        self.step(OldestRequest(b"request"))
        self.step(TimerFired(kind, self.replica.view))

    @rule(signer=SIGNERS, view=st.integers(1, 3))
    def replica_leaves(self, signer: int, view: int) -> None:
        self.step(Received(view_change(signer, view), None))

    @rule(view=st.integers(1, 2), carried=st.dictionaries(SEQS, BATCHES, max_size=2))
    def primary_begins_view(self, view: int, carried: dict[int, bytes]) -> None:
        """A NEW-VIEW may carry only what does not contradict what was executed; else more than f replicas lie."""
        if any(seq <= len(self.executed) + len(self.waiting) for seq in carried):
            return
        proofs = tuple(make_proof(0, seq, batch) for seq, batch in sorted(carried.items()))
        height = len(self.executed)
        stable = make_certificate(height, bytes([height]) * 32) if height and not self.waiting else None
        if self.waiting or (height and stable is None):
            return
        change = view_change(1, view)
        if stable is not None or proofs:
            change = sign(ViewChange(proofs, 1, stable, view))
        self.step(Received(new_view([view_change(0, view), change, view_change(2, view)], view), None))

    @rule()
    def replica_restarts(self) -> None:
        """All in memory is lost; blocks and vote log are not, and what was ordered is executed again."""
        height = len(self.executed)
        self.waiting.clear()
        self.judging.clear()
        self.replica = Replica.recover(
            make_parameters(window=4),
            ME,
            make_sign(ME),
            height,
            bytes([height]) * 32,
            None,
            list(self.records),
            [(seq, bytes([seq]) * 32) for seq in range(1, height)],
        )
        self.step(Started())

    @invariant()
    def nothing_grows(self) -> None:
        status = self.replica.status()
        assert status.slots <= 8
        assert status.halted is None
        assert status.future_messages <= 4 * 8 * 4


OneCommitPerPlace.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestOneCommitPerPlace = OneCommitPerPlace.TestCase
