"""Planted bugs: each changes what the code does while it is planted, and nothing afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consensus.authentication import verify_signed
from consensus.effects import FetchBlocks
from consensus.errors import InvalidMessage
from consensus.inputs import Executed, TimerFired, TimerKind
from consensus.messages import (
    NULL_DIGEST,
    Checkpoint,
    Cited,
    NewView,
    Prepare,
    PrePrepare,
    Reproposal,
    ViewChange,
)
from consensus.new_view import compute_plan
from consensus.quorum import VoteSet
from consensus.replica import Replica
from ledger.identity import read_nonce
from node.vote_log import DiskFile, VoteLog
from simulations.bugs import BUGS, plant
from simulations.byzantine.seize import SeizeView
from simulations.checkers import Checker
from simulations.checkers.certificates import Certificates, compute_proposals
from simulations.checkers.durability import Durability
from simulations.checkers.votes import Votes
from simulations.observations import CheckFailed, Delivered, Sent
from tests.consensus.harness import (
    CHAIN_ID,
    KEYS,
    Cluster,
    Faults,
    commit,
    digest_of,
    judged,
    make_parameters,
    make_proof,
    make_replica,
    make_sign,
    pre_prepare,
    prepare,
    received,
    sent,
    sign,
)
from tests.ledger.world import World
from tests.simulations.observed import Watched, make_blocks, post

PARAMETERS = make_parameters()
A = digest_of(b"a")


@contextmanager
def planted_or_not(name: str, planted: bool) -> Iterator[bool]:
    """Run the code with the bug, or as it is: the test says what differs."""
    if not planted:
        yield False
        return
    with plant(name):
        yield True


both = pytest.mark.parametrize("planted", [False, True])


def order(replica: Replica, seq: int, batch: bytes) -> None:
    """Have a backup of view 0 order a batch."""
    replica.step(pre_prepare(seq, batch))
    replica.step(judged(seq, batch))
    for other in (0, 1, 2, 3):
        if other != 0:
            replica.step(prepare(other, seq, batch))
        replica.step(commit(other, seq, batch))


def leave(replica: Replica, view: int = 1) -> list[ViewChange]:
    """Two others leave, so this one follows."""
    changes = [sent(replica.step(received(ViewChange((), other, None, view))), ViewChange) for other in (1, 3)]
    return [each for change in changes for each in change]


def test_the_list_has_thirteen_that_can_all_be_planted() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) == 13
    for bug in BUGS:
        assert bug.summary.endswith(".")
        with plant(bug.name):
            pass
    with pytest.raises(ValueError, match="expected one of prepared-dropped"):
        plant("unknown")


@both
def test_prepared_dropped(planted: bool) -> None:
    replica = make_replica(2)
    order(replica, 1, b"a")

    with planted_or_not("prepared-dropped", planted):
        (change,) = leave(replica)

    assert [proof.seq for proof in change.prepared] == ([] if planted else [1])


@both
def test_new_view_from_anyone(planted: bool) -> None:
    usurper = SeizeView(2, make_sign(2), PARAMETERS.quorum)
    for other in (0, 3):
        usurper.observe(Delivered(0, other, 2, sign(ViewChange((), other, None, 1)), 0))
    _, seized = usurper(Sent(0, 2, 0, sign(ViewChange((make_proof(0, 1, b"a"),), 2, None, 1)), None))
    assert isinstance(seized.signed.message, NewView)
    assert [each.digest for each in seized.signed.message.proposals] == [A]

    with planted_or_not("new-view-from-anyone", planted):
        if planted:
            verify_signed(PARAMETERS, seized.signed)
        else:
            with pytest.raises(InvalidMessage, match="not the primary of view 1"):
                verify_signed(PARAMETERS, seized.signed)


@both
def test_sync_skipped(planted: bool, tmp_path: Path) -> None:
    class Counting(DiskFile):
        syncs = 0

        def sync(self) -> None:
            self.syncs += 1

    file = Counting(tmp_path / "votes")
    with planted_or_not("sync-skipped", planted):
        log = VoteLog.recover(file, CHAIN_ID)
        log.append([b"vote"])
        log.sync()

    assert file.syncs == (0 if planted else 1)
    assert VoteLog.recover(file, CHAIN_ID).records == (b"vote",)
    log.close()


@both
def test_duplicates_counted(planted: bool) -> None:
    votes = VoteSet[Prepare]()

    with planted_or_not("duplicates-counted", planted):
        for _ in range(3):
            votes.add(sign(Prepare(A, 1, 1, 0)))

    assert votes.count(A) == (3 if planted else 1)


@both
def test_quorum_2f(planted: bool) -> None:
    with planted_or_not("quorum-2f", planted):
        assert PARAMETERS.quorum == (2 if planted else 3)


@both
def test_gaps_left(planted: bool) -> None:
    left = [ViewChange(tuple(make_proof(0, seq, b"a") for seq in (1, 3)), 0, None, 1)]
    left += [ViewChange((), other, None, 1) for other in (1, 2)]
    signed = [sign(each) for each in left]
    proposals = [(1, A), (3, A)] if planted else [(1, A), (2, NULL_DIGEST), (3, A)]
    message = NewView(
        tuple(Reproposal(digest, seq, sign(PrePrepare(digest, 1, seq, 1)).signature) for seq, digest in proposals),
        1,
        1,
        tuple(Cited(each.encoded, each.signature) for each in signed),
    )
    assert compute_plan(left, 0).proposals == compute_proposals(left)

    with planted_or_not("gaps-left", planted):
        verify_signed(PARAMETERS, sign(message))
        primary = make_replica(1)
        effects = [effect for each in left for effect in primary.step(received(each))]

    (begun,) = sent(effects, NewView) or [message]
    assert [(each.seq, each.digest) for each in begun.proposals] == proposals


@both
def test_collected_early(planted: bool) -> None:
    replica = make_replica(2)
    order(replica, 1, b"a")
    order(replica, 2, b"b")

    with planted_or_not("collected-early", planted):
        replica.step(Executed(1, bytes(32)))
        (change,) = leave(replica)

    assert change.stable is None
    assert [proof.seq for proof in change.prepared] == ([2] if planted else [1, 2])


@both
def test_checkpoint_of_ordering(planted: bool) -> None:
    replica = make_replica(2)
    order(replica, 1, b"a")
    order(replica, 2, b"b")

    with planted_or_not("checkpoint-of-ordering", planted):
        effects = replica.step(Executed(1, A))

    expected = [Checkpoint(A, 2, 1), Checkpoint(A, 2, 2)] if planted else [Checkpoint(A, 2, 1)]
    assert sent(effects, Checkpoint) == expected


@both
def test_view_change_once(planted: bool) -> None:
    replica = make_replica(2)
    leave(replica, view=3)

    with planted_or_not("view-change-once", planted):
        effects = replica.step(TimerFired(TimerKind.RETRANSMIT, 3))

    assert len(sent(effects, ViewChange)) == (0 if planted else 1)


@both
def test_nonces_forgotten(planted: bool, world: World) -> None:
    world.execute(post(world))
    world.close()

    with planted_or_not("nonces-forgotten", planted):
        again = World(Path(str(world.store.path)))

    assert read_nonce(again.store, again.ada.account) == (0 if planted else 1)
    again.close()


@both
def test_votes_while_fetching(planted: bool) -> None:
    replica = make_replica(2)
    effects = [effect for number in (0, 1, 3) for effect in replica.step(received(Checkpoint(A, number, 9)))]
    assert [effect.to_seq for effect in effects if isinstance(effect, FetchBlocks)]
    assert replica.syncing

    with planted_or_not("votes-while-fetching", planted):
        replica.step(pre_prepare(1, b"a"))
        effects = replica.step(judged(1, b"a"))

    assert bool(sent(effects, Prepare)) == planted


@both
def test_timeout_constant(planted: bool) -> None:
    replica = make_replica(2)
    for view in (1, 2, 3):
        leave(replica, view)

    with planted_or_not("timeout-constant", planted):
        timeout_ms = replica.status().timeout_ms

    assert (timeout_ms > PARAMETERS.view_timeout_ms) == (not planted)


@both
def test_timer_of_exact_view(planted: bool) -> None:
    replica = make_replica(0)

    with planted_or_not("timer-of-exact-view", planted):
        effects = replica.step(received(ViewChange((), 1, None, 2)))
        effects += replica.step(received(ViewChange((), 3, None, 3)))

    started = [effect for effect in effects if getattr(effect, "kind", None) is TimerKind.NEW_VIEW]
    assert [sent_.view for sent_ in sent(effects, ViewChange)] == [2]
    assert bool(started) == (not planted)


def stir(seed: int, world: World) -> None:
    """A lossy cluster whose primaries crash, watched by the checkers of messages."""
    cluster = Cluster(4, seed, Faults(loss_percent=25, delay_ms_max=60, execute_ms_max=200))
    everyone = range(4)
    certificates = Certificates(CHAIN_ID, [key.public for key in KEYS[:4]], everyone)
    rules: list[Checker] = [Votes(everyone), certificates, Durability(everyone)]
    watched = Watched(cluster, rules, make_blocks(world, 1)[0])
    for number in range(12):
        cluster.submit(b"one %d" % number, b"two %d" % number)
        cluster.run(120)
        primary = cluster.nodes[0].replica.primary
        if number % 2:
            cluster.crash(primary)
            cluster.run(900)
            watched.restart(primary)


@pytest.mark.parametrize(
    ("name", "checker"),
    [
        ("prepared-dropped", "durability"),
        ("collected-early", "durability"),
        ("checkpoint-of-ordering", "durability"),
        ("quorum-2f", "certificates"),
    ],
)
def test_checkers_find_some_without_a_scenario_made_for_them(name: str, checker: str, world: World) -> None:
    def run() -> None:
        for seed in range(4):
            stir(seed, world)

    with plant(name), pytest.raises(CheckFailed) as caught:
        run()

    assert caught.value.checker == checker


def test_the_same_runs_pass_without_bugs(world: World) -> None:
    for seed in range(2):
        stir(seed, world)
