"""Section 4.2: what leads to a vote, and what does not."""

import pytest

from consensus.effects import Broadcast, Evidence, Execute, JudgeBatch, Persist, StartTimer
from consensus.inputs import Executed, OldestRequest, Propose, TimerKind
from consensus.messages import Commit, Prepare, PrePrepare, ViewChange
from tests.consensus.harness import (
    Cluster,
    Faults,
    checkpoint,
    commit,
    digest_of,
    judged,
    make_parameters,
    make_replica,
    pre_prepare,
    prepare,
    sent,
)

A, B = b"batch a", b"batch b"


def test_backup_prepares_only_after_the_application_accepted_the_first_proposal() -> None:
    replica = make_replica(3)

    asked = replica.step(pre_prepare(1, A))
    answered = replica.step(judged(1, A))

    assert JudgeBatch(0, 1, digest_of(A), A) in asked
    assert sent(asked, Prepare) == []
    assert sent(answered, Prepare) == [Prepare(digest_of(A), 3, 1, 0)]


def test_votes_are_persisted_before_they_are_sent() -> None:
    replica = make_replica(3)

    effects = replica.step(pre_prepare(1, A)) + replica.step(judged(1, A))
    effects += replica.step(prepare(1, 1, A)) + replica.step(prepare(2, 1, A))

    kinds = [type(effect) for effect in effects if isinstance(effect, Persist | Broadcast)]
    assert kinds == [Persist, Persist, Broadcast, Persist, Persist, Broadcast]  # body, PREPARE; proof, COMMIT


def test_commits_once_2f_backups_have_prepared_what_the_primary_proposed() -> None:
    replica = make_replica(3)
    replica.step(pre_prepare(1, A))
    replica.step(judged(1, A))

    first = replica.step(prepare(1, 1, A))
    second = replica.step(prepare(2, 1, A))

    assert sent(first, Commit) == [Commit(digest_of(A), 3, 1, 0)]  # with its own that makes 2f
    assert sent(second, Commit) == []


def test_executes_with_a_quorum_of_commits_and_not_before() -> None:
    replica = make_replica(3)
    replica.step(pre_prepare(1, A))
    replica.step(judged(1, A))
    replica.step(prepare(1, 1, A))

    one = replica.step(commit(1, 1, A))
    two = replica.step(commit(2, 1, A))

    assert [type(effect) for effect in one if isinstance(effect, Execute)] == []
    assert Execute(1, 0, digest_of(A), A) in two


def test_a_quorum_of_commits_waits_until_the_batch_is_prepared_here() -> None:
    replica = make_replica(3)
    replica.step(pre_prepare(1, A))
    replica.step(judged(1, A))

    early = [effect for sender in (0, 1, 2) for effect in replica.step(commit(sender, 1, A))]
    prepared = replica.step(prepare(1, 1, A))

    assert not any(isinstance(effect, Execute) for effect in early)
    assert Execute(1, 0, digest_of(A), A) in prepared


def test_foreign_commits_alone_commit_nothing() -> None:
    replica = make_replica(3)

    effects = [effect for sender in (0, 1, 2) for effect in replica.step(commit(sender, 1, A))]

    assert not any(isinstance(effect, Execute) for effect in effects)


def test_votes_for_another_digest_do_not_count() -> None:
    replica = make_replica(3)
    replica.step(pre_prepare(1, A))
    replica.step(judged(1, A))

    effects = replica.step(prepare(1, 1, B)) + replica.step(prepare(2, 1, B))

    assert sent(effects, Commit) == []


def test_repeated_votes_of_one_replica_count_once() -> None:
    replica = make_replica(1, make_parameters(7))
    replica.step(pre_prepare(1, A, n=7))
    replica.step(judged(1, A))

    effects = [effect for _ in range(6) for effect in replica.step(prepare(2, 1, A))]

    assert sent(effects, Commit) == []


def test_second_proposal_for_a_place_is_evidence_and_changes_nothing() -> None:
    replica = make_replica(3)
    first, second = pre_prepare(1, A), pre_prepare(1, B)
    replica.step(first)

    effects = replica.step(second) + replica.step(pre_prepare(1, B))
    prepared = replica.step(judged(1, A))

    assert [effect for effect in effects if isinstance(effect, Evidence)] == [Evidence(first.signed, second.signed)]
    assert sent(prepared, Prepare) == [Prepare(digest_of(A), 3, 1, 0)]


def test_second_vote_of_a_replica_is_evidence_and_the_first_counts() -> None:
    replica = make_replica(3)

    effects = replica.step(prepare(1, 1, A)) + replica.step(prepare(1, 1, B)) + replica.step(commit(1, 1, A))
    effects += replica.step(commit(1, 1, B))

    assert len([effect for effect in effects if isinstance(effect, Evidence)]) == 1  # once for replica and place


def test_refused_proposal_is_not_prepared_and_its_primary_is_left() -> None:
    replica = make_replica(3)
    replica.step(pre_prepare(1, A))

    effects = replica.step(judged(1, A, accepted=False))

    assert sent(effects, Prepare) == []
    assert [message.view for message in sent(effects, ViewChange)] == [1]


def test_executes_in_order_without_gaps_however_commits_complete() -> None:
    replica = make_replica(3)
    for seq, batch in ((1, A), (2, B)):
        replica.step(pre_prepare(seq, batch))
        replica.step(judged(seq, batch))
        replica.step(prepare(1, seq, batch))

    later = [effect for sender in (1, 2) for effect in replica.step(commit(sender, 2, B))]
    both = [effect for sender in (1, 2) for effect in replica.step(commit(sender, 1, A))]

    assert not any(isinstance(effect, Execute) for effect in later)
    assert [effect.seq for effect in both if isinstance(effect, Execute)] == [1, 2]


def test_proposals_are_judged_in_order_of_place() -> None:
    replica = make_replica(3)

    early = replica.step(pre_prepare(2, B))
    first = replica.step(pre_prepare(1, A))
    accepted = replica.step(judged(1, A))

    assert not any(isinstance(effect, JudgeBatch) for effect in early)
    assert [effect.seq for effect in first if isinstance(effect, JudgeBatch)] == [1]
    assert [effect.seq for effect in accepted if isinstance(effect, JudgeBatch)] == [2]


@pytest.mark.parametrize("window", [1, 2, 8])
def test_primary_proposes_up_to_the_window_and_no_further(window: int) -> None:
    replica = make_replica(0, make_parameters(window=window))

    seqs: list[int] = []
    while (seq := replica.next_proposal_seq()) is not None:
        seqs.append(seq)
        replica.step(Propose(b"batch %d" % seq))

    assert seqs == list(range(1, window + 1))
    assert replica.pending_batches() == [b"batch %d" % seq for seq in seqs]


def test_a_place_above_the_window_is_not_voted_on_until_the_checkpoint_moves() -> None:
    replica = make_replica(3, make_parameters(window=1))
    for item in (pre_prepare(1, A), judged(1, A), prepare(1, 1, A), commit(1, 1, A), commit(2, 1, A)):
        replica.step(item)

    early = replica.step(pre_prepare(2, B)) + replica.step(Executed(1, bytes(32)))
    stable = replica.step(checkpoint(0, 1, bytes(32))) + replica.step(checkpoint(1, 1, bytes(32)))

    assert not any(isinstance(effect, JudgeBatch) for effect in early)
    assert [effect.seq for effect in stable if isinstance(effect, JudgeBatch)] == [2]


def test_messages_outside_of_the_water_marks_leave_no_trace() -> None:
    replica = make_replica(3)

    for seq in (17, 18, 10**6, 2**60):
        replica.step(pre_prepare(seq, A))
        replica.step(prepare(1, seq, A))
        replica.step(commit(1, seq, A))

    assert replica.status().slots == 0


def test_the_request_timer_is_not_prolonged_by_other_progress() -> None:
    replica = make_replica(3)
    started = replica.step(OldestRequest(b"request"))
    effects = replica.step(pre_prepare(1, A)) + replica.step(judged(1, A)) + replica.step(prepare(1, 1, A))
    effects += replica.step(commit(1, 1, A)) + replica.step(commit(2, 1, A)) + replica.step(Executed(1, bytes(32)))

    restarted = [effect.kind for effect in effects if isinstance(effect, StartTimer)]

    assert StartTimer(TimerKind.REQUEST, 0, 500) in started
    assert TimerKind.REQUEST not in restarted
    assert TimerKind.PROPOSAL in restarted


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10])
def test_everyone_executes_everything(n: int) -> None:
    cluster = Cluster(n)

    cluster.submit(*[b"request %d" % number for number in range(30)])
    cluster.run_until(cluster.is_done)

    assert [node.executed for node in cluster.nodes] == [30] * n
    assert [node.views for node in cluster.nodes] == [[]] * n
    assert all(sorted(node.certificates) == list(range(1, 31)) for node in cluster.nodes)


def test_f_silent_replicas_do_not_matter() -> None:
    cluster = Cluster(7)
    cluster.crash(5)
    cluster.crash(6)

    cluster.submit(*[b"request %d" % number for number in range(10)])
    cluster.run_until(cluster.is_done)

    assert [node.executed for node in cluster.nodes[:5]] == [10] * 5


def test_same_inputs_give_the_same_effects() -> None:
    traces: list[list[str]] = []
    for _ in range(2):
        cluster = Cluster(4, seed=7, faults=Faults(loss_percent=10, duplicate_percent=10, delay_ms_max=40))
        cluster.submit(*[b"request %d" % number for number in range(20)])
        cluster.run(5_000)
        traces.append(cluster.trace)

    assert traces[0] == traces[1]
    assert len(traces[0]) > 500


def test_messages_of_a_view_not_entered_are_kept_within_bounds() -> None:
    replica = make_replica(3)

    for number in range(1_000):
        replica.step(prepare(2, 1 + number % 8, b"%d" % number, view=1))
        replica.step(pre_prepare(1, b"x" * 1_000 + b"%d" % number, view=1))

    assert replica.status().future_messages <= 2 * 64


def test_the_primary_has_no_place_while_it_is_not_primary() -> None:
    assert make_replica(1).next_proposal_seq() is None
    assert sent(make_replica(1).step(Propose(A)), PrePrepare) == []
