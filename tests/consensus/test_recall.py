"""A replica whose vote log is older than its votes, or that has a second instance, does not contradict itself."""

import pytest

from consensus.authentication import verify_signed
from consensus.effects import Broadcast, Effect
from consensus.errors import InvalidMessage
from consensus.inputs import Installed, OldestRequest, Received, Started, TimerFired, TimerKind
from consensus.messages import (
    AnySigned,
    Checkpoint,
    Cited,
    Commit,
    Prepare,
    PrePrepare,
    Recall,
    Recalled,
    Said,
    SaidKind,
    Signed,
    ViewChange,
    encode_signed,
    make_signed,
)
from consensus.replica import Replica
from consensus.state import REPLIES_PER_TICK_MAX
from tests.consensus.harness import (
    Cluster,
    commit,
    digest_of,
    judged,
    make_certificate,
    make_parameters,
    make_sign,
    pre_prepare,
    prepare,
    received,
    sent,
    sign,
)

PARAMETERS = make_parameters()
A, B = b"batch a", b"batch b"


def come_back(me: int = 3, records: tuple[bytes, ...] = ()) -> tuple[Replica, list[Effect]]:
    replica = Replica.recover(PARAMETERS, me, make_sign(me), 0, bytes(32), None, records)
    return replica, replica.step(Started())


KINDS = {
    PrePrepare: SaidKind.PRE_PREPARE,
    Prepare: SaidKind.PREPARE,
    Commit: SaidKind.COMMIT,
    Checkpoint: SaidKind.CHECKPOINT,
}
Voted = PrePrepare | Prepare | Commit | Checkpoint


def said(message: Voted) -> Said:
    view = 0 if isinstance(message, Checkpoint) else message.view
    return Said(message.digest, KINDS[type(message)].value, message.seq, sign(message).signature, view)


def recalled(replica: int, *votes: Voted, to: int = 3, stable: int = 0) -> Received:
    return received(Recalled(replica, tuple(said(vote) for vote in votes), stable, to, None))


def test_who_comes_back_asks_and_votes_only_when_enough_have_answered() -> None:
    replica, started = come_back()
    assert sent(started, Recall) == [Recall(3)]
    replica.step(pre_prepare(1, A))
    effects = replica.step(judged(1, A)) + replica.step(recalled(0))
    assert sent(effects, Prepare) == []

    effects = replica.step(recalled(1))
    assert not replica.status().abstains
    effects += replica.step(judged(1, A))

    assert sent(effects, Prepare) == [Prepare(digest_of(A), 3, 1, 0)]


def test_answers_of_one_replica_count_once_and_those_to_others_never() -> None:
    replica, _ = come_back()

    for answer in (recalled(0), recalled(0), recalled(1, to=2)):
        replica.step(answer)

    assert replica.status().abstains


def test_it_asks_again_until_it_is_answered() -> None:
    replica, _ = come_back()
    assert sent(replica.step(TimerFired(TimerKind.RETRANSMIT, 0)), Recall) == [Recall(3)]

    replica.step(recalled(0))
    replica.step(recalled(1))
    assert sent(replica.step(TimerFired(TimerKind.RETRANSMIT, 0)), Recall) == []


def test_others_tell_what_they_have_of_it() -> None:
    replica = Replica(PARAMETERS, 1, make_sign(1))
    for item in (Started(), pre_prepare(1, A), judged(1, A), prepare(3, 1, A), commit(3, 1, A)):
        replica.step(item)
    of_backup = sent(replica.step(received(Recall(3))), Recalled)
    of_primary = sent(replica.step(received(Recall(0))), Recalled)

    assert [(each.kind, each.seq) for each in of_backup[0].said] == [(SaidKind.PREPARE, 1), (SaidKind.COMMIT, 1)]
    assert [(each.kind, each.seq) for each in of_primary[0].said] == [(SaidKind.PRE_PREPARE, 1)]
    for answer in (*of_backup, *of_primary):
        verify_signed(PARAMETERS, sign(answer))


def test_a_question_is_answered_a_few_times_for_each_tick() -> None:
    replica = Replica(PARAMETERS, 1, make_sign(1))
    replica.step(Started())

    answers = [answer for _ in range(20) for answer in sent(replica.step(received(Recall(3))), Recalled)]

    assert len(answers) == REPLIES_PER_TICK_MAX


@pytest.mark.parametrize(
    "forgotten",
    [
        Prepare(digest_of(B), 3, 1, 0),
        Commit(digest_of(B), 3, 1, 0),
        Prepare(digest_of(B), 3, 5, 0),
        Commit(digest_of(B), 3, 1, 2),
        Checkpoint(bytes(32), 3, 1),
    ],
)
def test_who_has_forgotten_a_vote_neither_votes_nor_leaves(forgotten: Prepare | Commit | Checkpoint) -> None:
    replica, _ = come_back()
    replica.step(recalled(0, forgotten))
    effects = replica.step(recalled(1))
    assert replica.status().abstains

    effects += replica.step(pre_prepare(1, A)) + replica.step(judged(1, A))
    effects += replica.step(OldestRequest(b"request")) + replica.step(TimerFired(TimerKind.REQUEST, 0))

    assert sent(effects, Prepare) == []
    assert sent(effects, ViewChange) == []


def test_a_liar_about_the_stable_checkpoint_silences_nobody_for_longer() -> None:
    replica, _ = come_back()
    replica.step(recalled(0, Prepare(digest_of(B), 3, 1, 0), stable=2**62))
    replica.step(recalled(1, stable=0))
    assert replica.status().abstains
    last = 2 * PARAMETERS.window

    asked = replica.step(Installed(last - 1, make_certificate(last - 1, bytes(32))))
    assert sent(asked, Recall) == []
    asked = replica.step(Installed(last, make_certificate(last, bytes(32))))
    assert sent(asked, Recall) == [Recall(3)]

    replica.step(recalled(0, Prepare(digest_of(B), 3, 1, 0), stable=2**62))
    replica.step(recalled(1, stable=last))
    assert not replica.status().abstains  # what it had forgotten is over


def test_what_the_log_holds_and_what_is_over_is_not_forgotten() -> None:
    before = Replica(PARAMETERS, 3, make_sign(3))
    effects = [effect for item in (Started(), pre_prepare(1, A), judged(1, A)) for effect in before.step(item)]
    records = tuple(before.live_records())
    vote = sent(effects, Prepare)[0]

    replica, _ = come_back(3, records)
    replica.step(recalled(0, vote))
    replica.step(recalled(1, vote))

    assert not replica.status().abstains


def test_who_has_forgotten_that_it_left_a_view_abstains() -> None:
    left = sign(ViewChange((), 3, None, 1))
    replica, _ = come_back()

    replica.step(received(Recalled(0, (), 0, 3, Cited(left.encoded, left.signature))))
    replica.step(recalled(1))

    assert replica.status().abstains


def forge(message: Recalled) -> Signed[Recalled]:
    return make_signed(message, make_sign(message.replica))


def test_nobody_can_invent_what_another_said() -> None:
    vote = said(Prepare(digest_of(B), 1, 1, 0))  # of replica 1, told to 3
    left = sign(ViewChange((), 1, None, 1))
    for message in (
        Recalled(0, (vote,), 0, 3, None),
        Recalled(0, (), 0, 3, Cited(left.encoded, left.signature)),
        Recalled(0, (), 0, 3, Cited(sign(ViewChange((), 3, None, 1)).encoded, left.signature)),
        Recalled(0, (), 0, 9, None),
    ):
        with pytest.raises(InvalidMessage):
            verify_signed(PARAMETERS, forge(message))


def test_the_longest_answer_fits() -> None:
    places = range(1, 2 * PARAMETERS.window + 1)
    kinds = (PrePrepare, Prepare, Commit)
    votes = [said(kind(digest_of(A), 3, 2**62 + seq, 2**62)) for seq in places for kind in kinds]
    votes.append(said(Checkpoint(digest_of(A), 3, 2**62)))
    message = Recalled(0, tuple(votes), 0, 3, None)

    cluster = Cluster()
    cluster.nodes[1].up = False  # it is decoded and verified, which raises when it is too long
    cluster.deliver(1, forge(message))

    assert len(encode_signed(forge(message))) > 48 * 150


def forget(cluster: Cluster, number: int, keep: int) -> None:
    """Put an older copy of the vote log in place of a replica's."""
    cluster.crash(number)
    del cluster.nodes[number].records[keep:]


def drop_commits(source: int, to: int, signed: AnySigned, batch: bytes | None) -> list[tuple[AnySigned, bytes | None]]:
    return [] if isinstance(signed.message, Commit) else [(signed, batch)]


def test_a_replica_with_an_older_log_is_silent_until_what_it_said_is_over() -> None:
    cluster = Cluster()
    cluster.submit(b"first")
    cluster.run_until(cluster.is_done)
    cluster.cut = {(a, b) for a in range(4) for b in range(4) if a != b and 1 in (a, b)}  # 0, 2 and 3 go on
    keep = len(cluster.nodes[3].records)
    cluster.intercept = drop_commits
    cluster.submit(b"second")
    cluster.run(50)
    assert cluster.nodes[3].records[keep:]  # it has voted, and nothing is decided

    forget(cluster, 3, keep)
    cluster.restart(3)
    cluster.intercept = None
    cluster.heal()
    cluster.run(500)
    assert cluster.nodes[3].replica.status().abstains
    window = cluster.parameters.window
    cluster.submit(*[b"request %d" % number for number in range(4 * window)])
    cluster.run_until(cluster.is_done)
    cluster.run(2_000)

    assert not cluster.nodes[3].replica.status().abstains
    cluster.crash(1)  # now its votes are needed
    cluster.submit(b"the last request")
    cluster.run_until(cluster.is_done)


def test_a_second_instance_never_votes_while_the_first_does() -> None:
    cluster = Cluster()
    cluster.submit(b"first")
    cluster.run_until(cluster.is_done)
    second = Replica.recover(cluster.parameters, 3, make_sign(3), 0, bytes(32), None, ())
    asked = second.step(Started())
    for number in range(40):
        cluster.submit(b"request %d" % number)
        cluster.run(3)
        for other in (0, 1, 2):
            node = cluster.nodes[other]
            for answer in sent(node.replica.step(received(Recall(3))), Recalled):
                asked += second.step(Received(forge(answer), None))
        asked += second.step(TimerFired(TimerKind.RETRANSMIT, 0))

    said_by_it = [each.signed.message for each in asked if isinstance(each, Broadcast)]
    voted = [message for message in said_by_it if isinstance(message, Prepare | Commit)]
    assert voted == []
    assert second.status().abstains


def test_all_that_come_back_at_once_go_on() -> None:
    cluster = Cluster()
    cluster.submit(b"first")
    cluster.run_until(cluster.is_done)
    for number in range(4):
        cluster.crash(number)
    for number in range(4):
        cluster.restart(number)

    cluster.submit(b"second")
    cluster.run_until(cluster.is_done, within_ms=2_000)


def test_who_is_restored_from_a_backup_abstains_whatever_the_others_say() -> None:
    replica = Replica.recover(PARAMETERS, 3, make_sign(3), 0, bytes(32), None, (), forgot=True)
    effects = replica.step(Started())
    last = 2 * PARAMETERS.window

    for item in (recalled(0), recalled(1), pre_prepare(1, A), judged(1, A)):
        effects += replica.step(item)
    effects += replica.step(OldestRequest(b"request")) + replica.step(TimerFired(TimerKind.REQUEST, 0))
    assert sent(effects, Prepare) == []
    assert sent(effects, ViewChange) == []
    assert replica.status().abstains

    replica.step(Installed(last, make_certificate(last, bytes(32))))
    replica.step(recalled(0, stable=last))
    replica.step(recalled(1, stable=last))
    assert not replica.status().abstains
