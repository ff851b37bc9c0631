"""Section 4.3: stable checkpoints, catching up, and what happens to a replica that differs."""

import pytest

from consensus.effects import FetchBlocks, Halt, JudgeBatch, Stable
from consensus.errors import InvalidMessage
from consensus.inputs import Executed, Installed, TimerFired, TimerKind
from consensus.messages import Certificate, Checkpoint, Commit, Prepare, Status, Vote
from consensus.parameters import Parameters
from consensus.quorum import verify_certificate
from consensus.replica import Replica
from tests.consensus.harness import (
    Cluster,
    Faults,
    checkpoint,
    commit,
    judged,
    make_certificate,
    make_parameters,
    make_replica,
    pre_prepare,
    prepare,
    received,
    sent,
)

PARAMETERS = make_parameters()
A, B = b"batch a", b"batch b"
HEADER, OTHER = bytes([1]) * 32, bytes([2]) * 32


def make_executing_replica() -> Replica:
    """Replica 3, which has ordered batch A at place 1."""
    replica = make_replica(3)
    for item in (pre_prepare(1, A), judged(1, A), prepare(1, 1, A), commit(1, 1, A), commit(2, 1, A)):
        replica.step(item)
    return replica


def test_what_was_executed_is_signed() -> None:
    effects = make_executing_replica().step(Executed(1, HEADER))

    assert sent(effects, Checkpoint) == [Checkpoint(HEADER, 3, 1)]


def test_a_quorum_of_equal_checkpoints_is_stable_and_verifies_by_public_keys_alone() -> None:
    replica = make_executing_replica()
    replica.step(Executed(1, HEADER))

    one = replica.step(checkpoint(0, 1, HEADER))
    two = replica.step(checkpoint(1, 1, HEADER))

    (certificate,) = [effect.certificate for effect in two if isinstance(effect, Stable)]
    assert not any(isinstance(effect, Stable) for effect in one)
    assert [vote.replica for vote in certificate.signatures] == [0, 1, 3]
    assert replica.low_water_mark == 1
    verify_certificate(PARAMETERS, certificate)


@pytest.mark.parametrize(
    ("certificate", "code"),
    [
        (make_certificate(1, HEADER, (0, 1)), "too_few_signers"),
        (make_certificate(1, HEADER, (0, 1, 1)), "signers"),
        (make_certificate(1, HEADER, (1, 0, 2)), "signers"),
        (make_certificate(1, HEADER, (0, 1, 4)), "signers"),
        (Certificate(OTHER, 1, make_certificate(1, HEADER).signatures), "signature"),
        (Certificate(HEADER, 2, make_certificate(1, HEADER).signatures), "signature"),
        (Certificate(HEADER, 1, tuple(Vote(r, bytes(64)) for r in range(3))), "signature"),
    ],
)
def test_a_wrong_certificate_is_refused(certificate: Certificate, code: str) -> None:
    with pytest.raises(InvalidMessage) as raised:
        verify_certificate(PARAMETERS, certificate)
    assert raised.value.code == code


def test_a_certificate_is_of_one_chain_only() -> None:
    other = Parameters(b"other chain", PARAMETERS.replicas)

    with pytest.raises(InvalidMessage):
        verify_certificate(other, make_certificate(1, HEADER))


def test_quorums_of_every_n_share_a_correct_replica() -> None:
    for n in range(4, 32):
        parameters = make_parameters(n)
        assert 2 * parameters.quorum - n >= parameters.f + 1
        assert n - parameters.f >= parameters.quorum
    assert [make_parameters(n).quorum for n in (4, 5, 6, 7, 10)] == [3, 4, 4, 5, 7]


def test_a_replica_whose_header_differs_from_the_quorum_halts() -> None:
    replica = make_executing_replica()
    replica.step(Executed(1, OTHER))

    effects = [effect for sender in (0, 1, 2) for effect in replica.step(checkpoint(sender, 1, HEADER))]

    assert [type(effect) for effect in effects if isinstance(effect, Halt | Stable)] == [Halt]
    assert replica.step(pre_prepare(2, B)) == []
    assert replica.halted is not None


def test_a_replica_that_executes_differently_after_the_quorum_is_known_halts() -> None:
    replica = make_executing_replica()
    for sender in (0, 1, 2):
        replica.step(checkpoint(sender, 1, HEADER))

    effects = replica.step(Executed(1, OTHER))

    assert any(isinstance(effect, Halt) for effect in effects)


def test_f_wrong_checkpoints_change_nothing() -> None:
    replica = make_executing_replica()
    replica.step(Executed(1, HEADER))
    replica.step(checkpoint(0, 1, OTHER))
    replica.step(checkpoint(1, 1, HEADER))

    effects = replica.step(checkpoint(2, 1, HEADER))

    assert any(isinstance(effect, Stable) for effect in effects)
    assert replica.halted is None


def test_more_than_f_wrong_checkpoints_halt_whoever_hears_of_them() -> None:
    """Otherwise ordering would go on for a window and then stop without a word."""
    replica = make_executing_replica()
    replica.step(Executed(1, HEADER))
    effects = [*replica.step(checkpoint(0, 1, OTHER)), *replica.step(checkpoint(1, 1, OTHER))]
    assert replica.halted is None  # the fourth may still make it a quorum

    effects += replica.step(checkpoint(2, 1, HEADER))

    assert [type(effect) for effect in effects if isinstance(effect, Halt | Stable)] == [Halt]
    assert replica.halted == "no header can be certified at 1: 4 replicas signed 2 of them"


def test_wrong_checkpoints_of_a_place_with_a_certificate_halt_nobody() -> None:
    replica = make_executing_replica()
    replica.step(Executed(1, HEADER))
    for sender in (0, 1):
        replica.step(checkpoint(sender, 1, HEADER))

    replica.step(checkpoint(2, 1, OTHER))

    assert replica.halted is None


def test_every_block_gets_its_certificate_also_when_the_next_is_certified_first() -> None:
    replica = make_executing_replica()
    for item in (pre_prepare(2, B), judged(2, B), prepare(1, 2, B), commit(1, 2, B), commit(2, 2, B)):
        replica.step(item)
    replica.step(Executed(1, HEADER))
    replica.step(Executed(2, OTHER))
    for sender in (0, 1):
        replica.step(checkpoint(sender, 2, OTHER))

    late = [effect for sender in (0, 1) for effect in replica.step(checkpoint(sender, 1, HEADER))]

    assert [effect.certificate.seq for effect in late if isinstance(effect, Stable)] == [1]
    assert replica.low_water_mark == 2


def test_a_certificate_far_ahead_makes_a_replica_fetch_blocks() -> None:
    replica = make_replica(3)

    effects = [effect for sender in (0, 1, 2) for effect in replica.step(checkpoint(sender, 12, HEADER))]

    assert [effect for effect in effects if isinstance(effect, FetchBlocks)] == [FetchBlocks(0, 12, (0, 1, 2))]


def test_f_plus_1_replicas_far_ahead_make_a_replica_fetch_what_must_be_stable() -> None:
    """One of the two is correct; what it has executed is stable up to a window below."""
    replica = make_replica(3)

    effects = replica.step(checkpoint(0, 40, HEADER)) + replica.step(checkpoint(1, 30, OTHER))

    assert [effect for effect in effects if isinstance(effect, FetchBlocks)] == [FetchBlocks(0, 22, (0, 1))]


def test_one_liar_about_height_makes_nobody_fetch() -> None:
    replica = make_replica(3)

    effects = [effect for seq in (5, 100, 2**60) for effect in replica.step(checkpoint(0, seq, HEADER))]

    assert not any(isinstance(effect, FetchBlocks) for effect in effects)
    assert not replica.syncing


def test_a_replica_that_fetches_blocks_votes_nothing_until_it_has_them() -> None:
    replica = make_replica(3)
    for sender in (0, 1, 2):
        replica.step(checkpoint(sender, 12, HEADER))

    effects = replica.step(pre_prepare(13, A)) + replica.step(prepare(1, 13, A)) + replica.step(prepare(2, 13, A))
    syncing = replica.syncing
    installed = replica.step(Installed(12, make_certificate(12, HEADER)))

    assert syncing
    assert sent(effects, Prepare) == []
    assert sent(effects, Commit) == []
    assert not replica.syncing
    assert replica.low_water_mark == 12
    assert replica.last_executed == 12
    assert [effect.seq for effect in installed if isinstance(effect, JudgeBatch)] == [13]


def test_a_small_lag_waits_for_messages_and_then_fetches() -> None:
    replica = make_replica(3)

    near = [effect for sender in (0, 1, 2) for effect in replica.step(checkpoint(sender, 1, HEADER))]
    ticks = [replica.step(TimerFired(TimerKind.RETRANSMIT, 0)) for _ in range(2)]

    assert not any(isinstance(effect, FetchBlocks) for effect in near)
    assert FetchBlocks(0, 1, (0, 1, 2)) in ticks[1]


def test_a_replica_that_fetches_blocks_inside_its_window_votes_nothing_there_either() -> None:
    replica = make_replica(3)
    for sender in (0, 1, 2):
        replica.step(checkpoint(sender, 1, HEADER))
    for _ in range(2):
        replica.step(TimerFired(TimerKind.RETRANSMIT, 0))

    effects = replica.step(pre_prepare(1, A)) + replica.step(judged(1, A))
    effects += replica.step(prepare(1, 1, A)) + replica.step(prepare(2, 1, A))

    assert replica.syncing
    assert not any(isinstance(effect, JudgeBatch) for effect in effects)
    assert sent(effects, Prepare) == []
    assert sent(effects, Commit) == []


def test_fetching_is_repeated_while_nothing_comes() -> None:
    replica = make_replica(3)
    for sender in (0, 1, 2):
        replica.step(checkpoint(sender, 12, HEADER))

    ticks = [replica.step(TimerFired(TimerKind.RETRANSMIT, 0)) for _ in range(3)]

    assert [any(isinstance(effect, FetchBlocks) for effect in tick) for tick in ticks] == [False, True, True]


def test_checkpoints_may_be_every_kth() -> None:
    replica = Replica(make_parameters(window=8, checkpoint_interval=4), 3, lambda purpose, message: bytes(64))
    for seq in range(1, 5):
        batch = b"%d" % seq
        for item in (pre_prepare(seq, batch), judged(seq, batch), prepare(1, seq, batch)):
            replica.step(item)
        for sender in (1, 2):
            replica.step(commit(sender, seq, batch))

    effects = [replica.step(Executed(seq, HEADER)) for seq in range(1, 5)]

    assert [len(sent(each, Checkpoint)) for each in effects] == [0, 0, 0, 1]


def test_a_replica_far_behind_catches_up_and_votes_again() -> None:
    cluster = Cluster(4)
    cluster.crash(3)
    cluster.submit(*[b"request %d" % number for number in range(40)])
    cluster.run_until(lambda: cluster.is_done([0, 1, 2]))
    cluster.restart(3)
    cluster.run_until(cluster.is_done)
    cluster.crash(2)
    cluster.submit(b"needs replica 3")

    cluster.run_until(lambda: cluster.is_done([0, 1, 3]))

    assert cluster.nodes[3].fetched_blocks > 0
    assert {node.replica.view for node in cluster.nodes} == {0}


def test_a_replica_that_missed_the_last_message_of_an_idle_chain_hears_of_it() -> None:
    cluster = Cluster(4)
    cluster.partition((0, 1, 2))
    cluster.submit(b"request")
    cluster.run_until(lambda: cluster.is_done([0, 1, 2]))
    cluster.requests.clear()  # replica 3 does not even know that there was one

    cluster.heal()
    cluster.run_until(lambda: cluster.nodes[3].executed == 1, 3_000)

    assert cluster.nodes[3].replica.low_water_mark == 1


@pytest.mark.parametrize("seed", range(5))
def test_lost_messages_are_made_up_for_without_a_view_change_where_time_allows(seed: int) -> None:
    cluster = Cluster(4, seed, Faults(loss_percent=10))
    cluster.submit(*[b"request %d" % number for number in range(20)])

    cluster.run_until(cluster.is_done)

    assert all(node.executed >= 20 for node in cluster.nodes)


def test_memory_stays_within_bounds_whatever_a_peer_sends() -> None:
    replica = make_replica(3)

    for number in range(2_000):
        replica.step(checkpoint(1, number + 1, HEADER))
        replica.step(prepare(1, number + 1, b"%d" % number))
        replica.step(commit(1, number + 1, b"%d" % number, view=number % 20))
    status = replica.status()

    assert status.slots <= 2 * 8
    assert status.future_messages <= 64


def test_a_certificate_is_passed_on_by_whoever_lacks_its_block() -> None:
    """The others have the block but no certificate, so they can't show it; found by the simulator, seed 10482."""
    replica = make_replica(3)
    certificate = make_certificate(1, b"h" * 32)
    replica.step(received(Status(1, True, 1, (), 0, certificate, (), 0, ())))

    told: list[Status] = []
    for _ in range(3):
        told += sent(replica.step(TimerFired(TimerKind.RETRANSMIT, 0)), Status)

    assert [message.stable for message in told] == [certificate] * len(told) != []
    behind = make_replica(1)
    for item in (pre_prepare(1, A), judged(1, A), prepare(2, 1, A), prepare(3, 1, A), commit(0, 1, A), commit(2, 1, A)):
        behind.step(item)
    behind.step(Executed(1, b"h" * 32))
    assert behind.low_water_mark == 0
    behind.step(received(told[-1]))
    assert behind.low_water_mark == 1
