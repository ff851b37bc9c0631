"""After a crash: the same votes or none, and nothing prepared is lost."""

import pytest

from consensus.effects import Effect, Persist
from consensus.inputs import Input, OldestRequest, Propose, Received, Started, TimerFired, TimerKind
from consensus.messages import Checkpoint, Commit, Prepare, PrePrepare, Status, ViewChange
from consensus.replica import Replica
from tests.consensus.harness import (
    Cluster,
    commit,
    digest_of,
    judged,
    make_parameters,
    make_proof,
    make_sign,
    pre_prepare,
    prepare,
    sent,
)
from tests.consensus.test_view_change import new_view, view_change

PARAMETERS = make_parameters()
A, B = b"batch a", b"batch b"


def run(me: int, *inputs: Input) -> tuple[Replica, list[bytes]]:
    """A replica after these inputs, and what it had persisted."""
    replica = Replica(PARAMETERS, me, make_sign(me))
    effects = [effect for item in (Started(), *inputs) for effect in replica.step(item)]
    return replica, persisted(effects)


def persisted(effects: list[Effect]) -> list[bytes]:
    return [effect.record for effect in effects if isinstance(effect, Persist)]


def recover(me: int, records: list[bytes]) -> tuple[Replica, list[Effect]]:
    replica = Replica.recover(PARAMETERS, me, make_sign(me), 0, bytes(32), None, records, asks=False)
    return replica, replica.step(Started())


def test_a_backup_never_prepares_another_batch_after_a_crash() -> None:
    _, records = run(3, pre_prepare(1, A), judged(1, A))

    replica, started = recover(3, records)
    effects = replica.step(pre_prepare(1, B)) + replica.step(judged(1, B))

    assert sent(started, Prepare) == [Prepare(digest_of(A), 3, 1, 0)]
    assert sent(effects, Prepare) == []


def test_a_primary_never_proposes_another_batch_at_its_place_after_a_crash() -> None:
    _, records = run(0, Propose(A))

    replica, started = recover(0, records)

    assert sent(started, PrePrepare) == [PrePrepare(digest_of(A), 0, 1, 0)]
    assert replica.next_proposal_seq() == 2


def test_a_replica_that_left_a_view_does_not_return_to_it_after_a_crash() -> None:
    before, records = run(3, OldestRequest(b"request"), TimerFired(TimerKind.REQUEST, 0))

    replica, started = recover(3, records)
    effects = replica.step(pre_prepare(1, A)) + replica.step(judged(1, A))

    assert (replica.view, replica.in_view_change) == (before.view, True)
    assert [message.view for message in sent(started, ViewChange)] == [1]
    assert sent(effects, Prepare) == []


def test_what_was_prepared_before_a_crash_is_in_the_view_change_after_it() -> None:
    _, records = run(3, pre_prepare(1, A), judged(1, A), prepare(1, 1, A))

    replica, started = recover(3, records)
    replica.step(OldestRequest(b"request"))
    effects = replica.step(TimerFired(TimerKind.REQUEST, 0))

    assert sent(started, Commit) == [Commit(digest_of(A), 3, 1, 0)]
    (change,) = sent(effects, ViewChange)
    assert [proof.digest for proof in change.prepared] == [digest_of(A)]


def test_a_view_that_was_entered_is_entered_after_a_crash_with_its_carried_batches() -> None:
    signed = new_view([view_change(0), view_change(1, prepared=(make_proof(0, 1, A),)), view_change(2)])
    _, records = run(3, pre_prepare(1, A), judged(1, A), Received(signed, None))

    replica, started = recover(3, records)
    effects = replica.step(prepare(2, 1, A, view=1))

    assert (replica.view, replica.in_view_change) == (1, False)
    assert sent(started, Prepare) == [Prepare(digest_of(A), 3, 1, 1)]
    assert sent(effects, Commit) == [Commit(digest_of(A), 3, 1, 1)]


def test_a_batch_voted_for_in_an_older_view_is_still_here_after_a_crash() -> None:
    """View 1 does not carry it; view 2, through another replica's proof, does."""
    empty = new_view([view_change(0), view_change(1), view_change(2)])
    replica, records = run(3, pre_prepare(1, A), judged(1, A), Received(empty, None))
    change = view_change(1, 2, (make_proof(0, 1, A),))
    carrying = new_view([view_change(0, 2), change, view_change(2, 2)], view=2)

    for kept in (records, replica.live_records()):
        recovered, _ = recover(3, kept)
        effects = recovered.step(Received(carrying, None))
        assert sent(effects, Prepare) == [Prepare(digest_of(A), 3, 1, 2)]


def test_live_records_say_the_same_as_the_whole_log() -> None:
    signed = new_view([view_change(0), view_change(1, prepared=(make_proof(0, 1, A),)), view_change(2)])
    items: list[Input] = [
        pre_prepare(1, A),
        judged(1, A),
        prepare(1, 1, A),
        Received(signed, None),
        pre_prepare(2, B, view=1),
    ]
    items += [judged(2, B, view=1), prepare(2, 1, A, view=1), prepare(2, 2, B, view=1)]
    for count in range(len(items) + 1):
        replica, records = run(3, *items[:count])

        from_all, started_all = recover(3, records)
        from_live, started_live = recover(3, replica.live_records())

        assert started_all == started_live
        assert from_all.status() == from_live.status()
        assert from_all.live_records() == from_live.live_records()


def test_live_records_of_an_idle_replica_are_few() -> None:
    cluster = Cluster(4)
    cluster.submit(*[b"request %d" % number for number in range(50)])
    cluster.run_until(cluster.is_done)

    assert [node.replica.live_records() for node in cluster.nodes] == [[]] * 4


def test_a_restarted_replica_asks_its_peers_where_they_are() -> None:
    _, started = recover(3, [])

    assert len(sent(started, Status)) == 1


def test_a_record_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ValueError, match="kind"):
        recover(3, [b"\x33" * 200])


def test_replay_of_any_beginning_of_the_log_gives_the_same_votes_or_none() -> None:
    """A crash can come after any record; the rest of the messages then come again, with another batch first."""
    items: list[Input] = [pre_prepare(1, A), judged(1, A), prepare(1, 1, A), commit(1, 1, A), commit(2, 1, A)]
    _, records = run(3, *items)
    for count in range(len(records) + 1):
        replica, started = recover(3, records[:count])
        effects = list(started)
        for item in (pre_prepare(1, B), judged(1, B), prepare(1, 1, B), prepare(2, 1, B)):
            effects += replica.step(item)

        digests = {message.digest for message in sent(effects, Prepare)}
        digests |= {message.digest for message in sent(effects, Commit)}
        assert digests == ({digest_of(B)} if count == 0 else {digest_of(A)})


def test_checkpoints_above_the_certificate_are_signed_again() -> None:
    headers = [(seq, bytes([seq]) * 32) for seq in (1, 2)]
    replica = Replica.recover(PARAMETERS, 3, make_sign(3), 2, headers[1][1], None, [], headers)

    started = replica.step(Started())

    assert replica.last_executed == 2
    assert sent(started, Checkpoint) == [Checkpoint(digest, 3, seq) for seq, digest in headers]


@pytest.mark.parametrize("seed", range(5))
def test_all_replicas_crash_at_once_and_go_on(seed: int) -> None:
    cluster = Cluster(4, seed)
    for number in range(6):
        cluster.submit(*[b"request %d.%d" % (number, each) for each in range(5)])
        cluster.run(cluster.random.randrange(1, 40))
        for node in cluster.nodes:
            cluster.crash(node.number)
        for node in cluster.nodes:
            cluster.restart(node.number)

    cluster.run_until(cluster.is_done)

    assert len({tuple(node.batches) for node in cluster.nodes}) == 1
