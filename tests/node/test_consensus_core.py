"""What the core decides about time: when it must be looked at again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.effects import JudgeBatch
from consensus.inputs import Started
from consensus.messages import compute_batch_digest
from consensus.parameters import Parameters
from consensus.replica import Replica
from ledger.block import encode_batch
from node.clock import BeatClock
from node.consensus_core import ConsensusCore
from node.event_cache import EventCache
from node.mempool import Accepted, Mempool
from social.posts import PostPublished
from tests.ledger.world import TIME_MS, VALIDATORS, World

BATCH_WAIT_MS = 10


class Primary:
    """The core of replica 0 over a chain at genesis, and its clock."""

    def __init__(self, world: World) -> None:
        chain = world.chain
        self.world = world
        self.now_ms = 1_000
        self.mempool = Mempool()
        self.cache = EventCache(chain.registry, chain.chain_id)
        parameters = Parameters(chain_id=chain.chain_id, replicas=chain.genesis.validators)
        sign = VALIDATORS[0].sign
        self.core = ConsensusCore(
            Replica(parameters, 0, lambda purpose, message: sign(chain.chain_id, purpose, message)),
            parameters,
            0,
            chain=chain,
            mempool=self.mempool,
            cache=self.cache,
            beats=BeatClock(chain.genesis.beat_ms, lambda: self.now_ms),
            monotonic_ms=lambda: self.now_ms,
            wall_ms=lambda: TIME_MS,
            on_stable=lambda height: None,
            on_vote=lambda vote, signature: None,
            events_max=16,
            batch_wait_ms=BATCH_WAIT_MS,
            pass_on=lambda checked: None,
        )
        self.core.put(Started())
        self.core.advance()

    def take_posts(self, count: int) -> None:
        chain = self.world.chain
        for number in range(count):
            signed = self.world.sign(self.world.ada, PostPublished, text=f"Post {number}.", tags=())
            answer = self.mempool.add(self.cache.check(signed), chain.store, 0, chain.references)
            assert isinstance(answer, Accepted)


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Primary]:
    world = World(tmp_path / "ledger")
    yield Primary(world)
    world.close()


def test_events_that_wait_for_a_batch_in_flight_do_not_make_the_core_due_at_once(primary: Primary) -> None:
    primary.take_posts(2)
    primary.now_ms += primary.world.chain.genesis.beat_ms - 1
    primary.core.advance()
    assert primary.core.next_deadline_ms() <= primary.now_ms + BATCH_WAIT_MS  # they may be joined by others until then
    primary.now_ms += 1
    assert primary.core.advance().outgoing  # a beat is due, and is proposed alone

    primary.now_ms += BATCH_WAIT_MS
    primary.core.advance()

    assert primary.core.next_deadline_ms() > primary.now_ms


def test_a_place_that_was_decided_meanwhile_is_not_judged(primary: Primary) -> None:
    """Blocks can be fetched between the question and the answer; the primary did nothing wrong."""
    world = primary.world
    signed = world.sign(world.ada, PostPublished, text="Fetched already.", tags=())
    batch = encode_batch(replace(world.batch(signed), proposer=0))
    world.execute(signed)

    answer = primary.core.judge(JudgeBatch(view=0, seq=1, digest=compute_batch_digest(batch), batch=batch))

    assert answer is None
