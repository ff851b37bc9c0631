"""Eras at a node: when one ends, whose votes count in the next, and which votes may be forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.effects import JudgeBatch
from consensus.errors import InvalidMessage
from consensus.inputs import Executed, Started
from consensus.messages import Checkpoint, Commit, Kind, M, Prepare, PrePrepare, compute_batch_digest, make_signed
from ledger.block import Batch, decode_batch, encode_batch
from node.clock import BeatClock
from node.consensus_core import ConsensusCore, Work
from node.eras import ERA_BYTES, choose_validators, encode_frame, make_parameters, open_vote_log
from node.event_cache import EventCache
from node.mempool import Mempool
from node.replica import recover_replica
from node.vote_log import DiskFile, VoteLog, VoteLogCorrupt
from tests.ledger.changing_sets import EPOCH_BEATS, JOINER, ChangingWorld
from tests.ledger.world import TIME_MS, VALIDATORS

JOINED = (*VALIDATORS, JOINER)
LAST = EPOCH_BEATS
"""The height that closes the first epoch, where every block begins a beat."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ChangingWorld]:
    """A chain one beat before the end of an epoch, which takes the joiner into the set."""
    world = ChangingWorld(tmp_path / "ledger", {0: JOINED})
    for _ in range(LAST - 1):
        world.beat()
    yield world
    world.close()


class Seat:
    """The core of one replica of the first era, and what the others send it."""

    def __init__(self, world: ChangingWorld, me: int) -> None:
        self.world, self.me = world, me
        self.now_ms = 1_000
        chain = world.chain
        self.parameters = parameters = make_parameters(chain.chain_id, choose_validators(chain))
        self.core = ConsensusCore(
            recover_replica(
                parameters,
                me,
                lambda purpose, message: VALIDATORS[me].sign(parameters.domain(purpose), purpose, message),
                chain,
                (),
                asks=False,
            ),
            parameters,
            me,
            chain=chain,
            mempool=Mempool(),
            cache=EventCache(chain.registry, chain.chain_id),
            beats=BeatClock(chain.genesis.beat_ms, lambda: self.now_ms),
            monotonic_ms=lambda: self.now_ms,
            wall_ms=lambda: TIME_MS,
            on_stable=lambda height: None,
            on_vote=lambda vote, signature: None,
            events_max=16,
            batch_wait_ms=10,
            pass_on=lambda checked: None,
        )
        self.core.put(Started())
        self.core.advance()

    def hear(self, message: M, batch: bytes | None = None, era: int = 0) -> bool:
        """Take what another replica of an era says."""
        parameters = self.parameters if era == 0 else make_parameters(b"x" * 32, self.world.chain.validators)
        key = VALIDATORS[message.replica]
        signed = make_signed(message, lambda purpose, data: key.sign(parameters.domain(purpose), purpose, data))
        return self.core.receive(encode_frame(era, signed, batch))

    def hear_proposal(self, seq: int, *, beat: bool = True) -> bytes:
        batch = encode_batch(Batch(beat=beat, height=seq, items=(), proposer=0, time_ms=TIME_MS, view=0))
        self.hear(PrePrepare(compute_batch_digest(batch), 0, seq, 0), batch)
        return batch

    def judge(self, work: Work) -> list[int]:
        """Judge what is asked; return the places that got an answer."""
        answered: list[int] = []
        for judge in work.judge:
            judged = self.core.judge(judge)
            if judged is not None:
                assert judged.accepted, judged.why
                answered.append(judged.seq)
                self.core.put(judged)
        return answered

    def execute_last(self, batch: bytes) -> None:
        """Let the others vote for the batch that closes the epoch, and execute it."""
        digest = compute_batch_digest(batch)
        for other in (each for each in range(4) if each != self.me):
            if other != 0:
                self.hear(Prepare(digest, other, LAST, 0))
            self.hear(Commit(digest, other, LAST, 0))
        work = self.core.advance()
        assert [order.seq for order in work.execute] == [LAST]
        assert decode_batch(work.execute[0].batch).beat
        self.world.beat(certified=False)
        self.core.put(Executed(LAST, self.world.chain.head.hash))

    def hear_checkpoints(self, *replicas: int) -> None:
        for replica in replicas:
            self.hear(Checkpoint(self.world.chain.head.hash, replica, LAST))


def test_nothing_is_judged_above_a_batch_that_closes_an_epoch_until_it_is_executed(world: ChangingWorld) -> None:
    world.sets = {}
    seat = Seat(world, me=1)
    batch = seat.hear_proposal(LAST)
    assert seat.judge(seat.core.advance()) == [LAST]
    seat.hear_proposal(LAST + 1)

    work = seat.core.advance()
    assert [judge.seq for judge in work.judge] == [LAST + 1]
    assert seat.judge(work) == []  # it waits
    assert seat.core.advance().judge == []

    seat.execute_last(batch)
    work = seat.core.advance()
    assert [judge.seq for judge in work.judge] == [LAST + 1]
    assert seat.judge(work) == []  # another set orders it
    assert world.chain.validators.era == 1


def test_an_epoch_that_changes_nothing_goes_on_at_once(tmp_path: Path) -> None:
    world = ChangingWorld(tmp_path / "still", {})
    for _ in range(LAST - 1):
        world.beat()
    seat = Seat(world, me=1)
    batch = seat.hear_proposal(LAST)
    seat.judge(seat.core.advance())
    seat.hear_proposal(LAST + 1)
    assert seat.judge(seat.core.advance()) == []

    seat.execute_last(batch)

    seat.now_ms += 5_000
    assert seat.judge(seat.core.advance()) == [LAST + 1]
    assert not seat.core.has_ended
    world.close()


def test_the_primary_proposes_nothing_above_a_batch_that_closes_an_epoch(world: ChangingWorld) -> None:
    seat = Seat(world, me=0)
    seat.now_ms += world.chain.genesis.beat_ms
    proposed = seat.core.advance().outgoing
    assert Kind.PRE_PREPARE in [outgoing.frame[ERA_BYTES] for outgoing in proposed]
    assert seat.core.replica.next_proposal_seq() == LAST + 1  # consensus alone would go on

    seat.now_ms += world.chain.genesis.beat_ms
    assert Kind.PRE_PREPARE not in [outgoing.frame[ERA_BYTES] for outgoing in seat.core.advance().outgoing]
    assert seat.core.next_deadline_ms() > seat.now_ms + 100  # and it does not spin


def test_an_era_ends_when_its_last_block_is_certified(world: ChangingWorld) -> None:
    seat = Seat(world, me=1)
    batch = seat.hear_proposal(LAST)
    seat.judge(seat.core.advance())
    seat.execute_last(batch)
    seat.core.advance()
    assert not seat.core.has_ended

    seat.hear_checkpoints(0, 2)
    seat.core.advance()

    assert seat.core.has_ended
    assert world.chain.read_certificate(LAST) is not None
    assert choose_validators(world.chain).keys == tuple(key.public for key in JOINED)


def test_whoever_hears_of_a_later_era_fetches_blocks_and_not_all_the_time(world: ChangingWorld) -> None:
    seat = Seat(world, me=1)
    seat.now_ms += 10_000

    assert seat.hear(Prepare(bytes(32), 2, LAST + 1, 0), era=7)
    assert seat.core.advance().fetch_to == [world.chain.head.height + 1]

    assert seat.hear(Prepare(bytes(32), 2, LAST + 1, 0), era=7)
    assert seat.core.advance().fetch_to == []
    seat.now_ms += seat.parameters.retransmit_ms
    assert seat.core.advance().fetch_to == [world.chain.head.height + 1]


def test_a_frame_of_an_earlier_era_is_nobodys_fault(world: ChangingWorld) -> None:
    world.beat()
    seat = Seat(world, me=1)
    assert seat.parameters.era == 1
    key = VALIDATORS[2]
    old = make_signed(Prepare(bytes(32), 2, 1, 0), lambda purpose, data: key.sign(world.chain.chain_id, purpose, data))

    assert not seat.core.receive(encode_frame(0, old))
    with pytest.raises(InvalidMessage):
        seat.core.receive(encode_frame(1, old))
    with pytest.raises(InvalidMessage):
        seat.core.receive(b"\x00\x00")


def test_the_set_changes_here_once_the_hand_over_is_certified(world: ChangingWorld) -> None:
    world.beat(certified=False)
    assert choose_validators(world.chain).era == 0

    world.chain.write_certificate(LAST, world.certify(LAST))
    assert choose_validators(world.chain).era == 1


def test_a_block_above_the_hand_over_is_proof_enough(world: ChangingWorld) -> None:
    world.beat(certified=False)
    world.beat()

    assert choose_validators(world.chain).era == 1


def test_votes_of_an_earlier_era_are_dropped_and_those_of_this_one_kept(world: ChangingWorld, tmp_path: Path) -> None:
    path = tmp_path / "votes"
    with open_vote_log(DiskFile(path), world.chain, choose_validators(world.chain)) as log:
        log.append([b"of era 0"])
    world.beat()
    after = choose_validators(world.chain)

    with open_vote_log(DiskFile(path), world.chain, after) as log:
        assert log.records == ()
        log.append([b"of era 1"])
    with open_vote_log(DiskFile(path), world.chain, after) as log:
        assert log.records == (b"of era 1",)
        log.rewrite([b"all that is needed"])
    with open_vote_log(DiskFile(path), world.chain, after) as log:
        assert log.records == (b"all that is needed",)


def test_votes_of_a_later_era_than_the_chains_are_refused(tmp_path: Path) -> None:
    """The chain beside them was put back from a copy: what was voted since is not in it."""
    with VoteLog.open(tmp_path / "votes", b"c" * 32, era=3) as log:
        log.append([b"a vote"])

    with pytest.raises(VoteLogCorrupt, match="era 3"):
        VoteLog.open(tmp_path / "votes", b"c" * 32, era=2)


def test_a_judge_of_the_last_era_is_not_asked_again(world: ChangingWorld) -> None:
    world.beat()
    seat = Seat(world, me=1)
    batch = encode_batch(Batch(beat=True, height=LAST, items=(), proposer=0, time_ms=TIME_MS, view=0))

    assert seat.core.judge(JudgeBatch(0, LAST, compute_batch_digest(batch), batch)) is None
