"""Real nodes whose validator set changes while they run: one joins, one leaves, one goes on under another key.

The nodes share one process and talk over real libp2p on loopback.  Only what votes decide is the test's word: all else,
from the registration to the joiner's own "ready", are events on the ledger.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from consensus.messages import Certificate
from consensus.quorum import verify_certificate
from ledger import keyspace, membership
from ledger.authoring import Reference, make_event, sign_event
from ledger.events import EventType, SignedEvent, View
from ledger.genesis import Allocation, Genesis, compute_chain_id, encode_genesis_file, make_policy_values
from ledger.identity import read_nonce
from ledger.nodes import NO_GROUP, RELAY, VALIDATOR, NodeRegistered, registration_message
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.ids import compute_account_id
from ledger.primitives.records import decode_record
from ledger.primitives.signing import Purpose, SigningKey
from ledger.proofs import make_event_proof, verify_event_proof
from ledger.registry import Registry
from ledger.service import Validators
from ledger.store import Store
from ledger.validators import VALIDATOR_ADMITTED, ValidatorAdmitted, ValidatorKeyRotated, ValidatorResigned
from node import run as run_module
from node.clock import now_ms
from node.config import ApiSection, Config, ConsensusSection, NodeSection, P2pSection, SyncSection
from node.eras import make_parameters
from node.mempool import Accepted
from node.modules import make_registry
from node.replay import replay_chain
from node.run import Node, run_node
from tests.ledger.world import KINDS
from tests.network.conftest import find_free_port

pytestmark = pytest.mark.network

SEEDS = [bytes([number + 1]) * 32 for number in range(7)]
KEYS = [SigningKey(seed) for seed in SEEDS]
VALIDATORS, JOINER, SUCCESSOR, LATE = (0, 1, 2, 3), 4, 5, 6
EPOCH_BEATS = 8
COMEBACKS_MAX = 4
WITHIN_S = 60
SAID_WITHIN_S = 5


class Votes:
    """What votes of operators decide, at the next end of an epoch."""

    def __init__(self) -> None:
        self.admitted: dict[int, bytes] = {}  # by the epoch that closes

    def make_registry(self) -> Registry:
        real = make_registry()

        def step(view: View, closed: int, beat: int) -> Iterator[tuple[EventType[Any], Any]]:
            if closed in self.admitted:
                yield VALIDATOR_ADMITTED, ValidatorAdmitted(self.admitted[closed])

        steps = tuple(each for each in real.at_close if each != membership.AT_CLOSE)
        return Registry(real.all(), real.stack, (*steps, ("votes", step), membership.AT_CLOSE))


@dataclass(slots=True)
class Town:
    """Nodes in one nursery."""

    folder: Path
    port: int
    genesis: Genesis
    nursery: trio.Nursery
    nodes: dict[int, Node]
    stops: dict[int, trio.Event]
    ended: dict[int, trio.Event]
    block: trio.Event

    async def start(self, number: int, *, snapshot_events_min: int = 20_000) -> None:
        folder = self.folder / f"node-{number}"
        folder.mkdir(exist_ok=True)
        peers = [f"{KEYS[each].public.hex()}@127.0.0.1:{self.port + each}" for each in range(6) if each != number]
        role = "observer" if number == LATE else "validator"
        config = Config(
            folder,
            NodeSection(name=f"node-{number}", data="data", genesis="../genesis.json", role=role),
            P2pSection(port=self.port + number, peers=tuple(peers)),
            ApiSection(enabled=False),
            ConsensusSection(view_timeout_ms=1_500, retransmit_ms=200),
            SyncSection(start="auto", snapshot_events_min=snapshot_events_min),
        )
        self.stops[number], self.ended[number] = stop, ended = trio.Event(), trio.Event()

        async def run(*, task_status: trio.TaskStatus[object]) -> None:
            await run_node(config, folder / "node.toml", SEEDS[number], stop, task_status=task_status)
            ended.set()

        await self.nursery.start(run)

    async def stop(self, number: int) -> None:
        self.stops[number].set()
        await self.ended[number].wait()
        del self.nodes[number]

    def store_of(self, number: int) -> Path:
        return self.folder / f"node-{number}" / "data" / "ledger"

    @property
    def node(self) -> Node:
        """One that runs, and is in the set all the time."""
        return self.nodes[3]

    async def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until it holds; looked at after each block of any node."""
        with trio.move_on_after(WITHIN_S) as scope:
            while not condition():
                await self.next_block()
        assert not scope.cancelled_caught, f"not within {WITHIN_S} s: {what}; {self.describe()}"

    async def next_block(self) -> None:
        self.block = trio.Event()
        await self.block.wait()

    def describe(self) -> str:
        told: list[str] = []
        for number, node in sorted(self.nodes.items()):
            driver = None if node.validator is None else node.validator.driver
            replica = None if driver is None else driver.replica.status()
            told.append(f"node {number}: height {node.chain.head.height}, era {node.chain.validators.era}, {replica}")
        return "; ".join(told)

    async def say(self, number: int, body: object) -> bytes:
        """Have an operator say something; wait until all that run have executed it; return the event's id.

        The reporter signs with the same key, and may take a nonce first; then it is said again.
        """
        while True:
            answer = self.node.relay.submit([self.sign(number, body)])[0]
            if isinstance(answer, Accepted):
                place = keyspace.event_id(answer.event_id)
                with trio.move_on_after(SAID_WITHIN_S):
                    while not all(node.chain.store.get(place) is not None for node in self.nodes.values()):
                        await self.next_block()
                    return answer.event_id
            await self.next_block()

    def sign(self, number: int, body: object) -> SignedEvent:
        chain = self.node.chain
        head, account = chain.head, compute_account_id(chain.chain_id, KEYS[number].public)
        event = make_event(
            KINDS[type(body)],
            body,
            author=account,
            key=KEYS[number].public,
            nonce=read_nonce(chain.store, account) + 1,
            reference=Reference(head.height, head.hash, head.header.beat),
        )
        return sign_event(KEYS[number], chain.chain_id, event)

    async def wait_era(self, era: int, members: list[int]) -> None:
        """Wait until all that run are in an era, and those in its set vote there."""

        def is_there() -> bool:
            for number, node in self.nodes.items():
                validator = node.validator
                if node.chain.validators.era < era or (validator is not None and validator.me != place_of(number)):
                    return False
                if validator is not None and (validator.driver is None) != (number not in members):
                    return False
            return True

        def place_of(number: int) -> int | None:
            return members.index(number) if number in members else None

        await self.wait(f"era {era} of {members}", is_there)
        assert [KEYS.index(key_of(key)) for key in self.node.chain.validators.keys] == members

    async def wait_blocks(self, count: int) -> None:
        """Wait until all that run have so many blocks more than the lowest has now, with certificates."""
        target = min(node.chain.head.height for node in self.nodes.values()) + count
        await self.wait(
            f"height {target}",
            lambda: all(node._certified_height >= target for node in self.nodes.values()),  # pyright: ignore[reportPrivateUsage]
        )


def key_of(public: bytes) -> SigningKey:
    return next(key for key in KEYS if key.public == public)


def registration(chain_id: bytes, number: int) -> NodeRegistered:
    account = compute_account_id(chain_id, KEYS[number].public)
    proof = KEYS[number].sign(
        chain_id, Purpose.NODE_REGISTRATION, registration_message(account, KEYS[number].public)
    )  # fmt: skip
    kind = VALIDATOR if number in VALIDATORS else RELAY
    return NodeRegistered(NO_GROUP, kind, KEYS[number].public, tagged_hash("test/pqc", b"key"), "ML-DSA-65", proof)


async def test_a_validator_joins_one_leaves_and_one_goes_on_under_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    votes = Votes()
    genesis = Genesis(
        allocations=tuple(Allocation(10_000 * SCALE, key.public) for key in KEYS[:6]),
        beat_ms=200,
        epoch_beats=EPOCH_BEATS,
        name="membership",
        policies=make_policy_values({"energy": {"base_cost": 100 * SCALE}, "sybil": {"bond": 0}}),
        time_ms=now_ms(),
        validators=tuple(KEYS[number].public for number in VALIDATORS),
    )
    (tmp_path / "genesis.json").write_bytes(encode_genesis_file(genesis))
    nodes: dict[int, Node] = {}

    class Watched(Node):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.executor.listen(lambda executed: town.block.set())
            nodes[SEEDS.index(given[2])] = self

    monkeypatch.setattr(run_module, "Node", Watched)
    monkeypatch.setattr("node.block_sync.SNAPSHOT_BLOCKS_MIN", 2)
    monkeypatch.setattr(run_module, "make_registry", votes.make_registry)
    async with trio.open_nursery() as nursery:
        town = Town(tmp_path, find_free_port(), genesis, nursery, nodes, {}, {}, trio.Event())
        for number in (*VALIDATORS, JOINER, SUCCESSOR):
            await town.start(number)
        await town.wait_blocks(3)
        chain_id = town.node.chain.chain_id
        said = [await town.say(number, registration(chain_id, number)) for number in (*VALIDATORS, JOINER)]
        joiner = nodes[JOINER].validator
        assert joiner is not None
        assert joiner.driver is None

        # The joiner says by itself that it is ready, and is in the set from the next epoch on.
        epoch = town.node.chain.head.header.epoch
        votes.admitted = {epoch + 1: KEYS[JOINER].public}
        await town.wait_era(1, [0, 1, 2, 3, JOINER])
        await town.stop(0)  # a quorum of five is four: without the joiner's votes nothing goes on
        await town.wait_blocks(6)
        await town.start(0)
        await town.wait_blocks(3)

        await town.say(1, ValidatorResigned(KEYS[1].public))
        await town.wait_era(2, [0, 2, 3, JOINER])
        await town.wait_blocks(4)  # by whoever left, too

        account = compute_account_id(chain_id, KEYS[2].public)
        message = registration_message(account, KEYS[SUCCESSOR].public)
        proof = KEYS[SUCCESSOR].sign(chain_id, Purpose.NODE_REGISTRATION, message)
        await town.say(2, ValidatorKeyRotated(KEYS[SUCCESSOR].public, KEYS[2].public, proof))
        await town.wait_era(3, [0, SUCCESSOR, 3, JOINER])
        await town.stop(2)
        await town.wait_blocks(4)

        # Whoever comes late follows all sets from genesis on.
        await town.start(LATE)
        await town.wait(
            "the late one", lambda: nodes[LATE].chain.head.height + 2 >= town.node.chain.head.height
        )  # fmt: skip
        late = nodes[LATE].chain
        height = min(late.head.height, town.node.chain.head.height)
        assert late.references(height) == town.node.chain.references(height)
        assert late.validators.era == 3
        await come_back_from_a_snapshot(town)
        last = await town.say(3, registration_of_nobody(chain_id))
        await town.wait_blocks(2)
        for number in sorted(nodes):
            await town.stop(number)

    check_offline(town, votes, said[0], last)


async def come_back_from_a_snapshot(town: Town) -> None:
    """A validator that was away for some epochs takes a newer state, votes, and fetches what it skipped.

    Whoever meets first a peer that has no snapshot ready fetches blocks, which are few here; then it goes away again.
    """
    for _ in range(COMEBACKS_MAX):
        away = town.nodes[0].chain.head.height
        epoch = town.node.chain.head.header.epoch
        await town.stop(0)
        await town.wait("two more epochs", partial(has_passed, town, epoch + 2))
        await town.start(0, snapshot_events_min=1)
        back = town.nodes[0]
        await town.wait("the head, by a snapshot or by blocks", partial(is_back, town, back))
        if has_taken_snapshot(back, away):
            await town.wait("the history of the snapshot", partial(has_history, back))
            await is_needed_and_whole(town, back)
            return
    raise AssertionError(f"{COMEBACKS_MAX} times it caught up by blocks")


def has_passed(town: Town, epoch: int) -> bool:
    return town.node.chain.head.header.epoch > epoch


def is_back(town: Town, back: Node) -> bool:
    return back.chain.head.height + 2 >= town.node.chain.head.height and not back.sync.active


def has_taken_snapshot(back: Node, away: int) -> bool:
    """The lowest height whose state can be read is the snapshot's, once one was taken."""
    floor = back.chain.store.get(keyspace.META_UNDO_FLOOR)
    return floor is not None and floor > keyspace.u64(away)


def has_history(back: Node) -> bool:
    return not back.history.missing.gaps


async def is_needed_and_whole(town: Town, back: Node) -> None:
    """Without the votes of who came back nothing goes on; and it holds what the others hold."""
    await town.stop(SUCCESSOR)  # a quorum of four is three: without its votes nothing goes on
    await town.wait_blocks(4)
    await town.start(SUCCESSOR)
    await town.wait_blocks(2)
    for key, value in town.node.chain.store.iterate(
        keyspace.RECEIPT, keyspace.receipt(back.chain.head.header.log_size)
    ):
        assert back.chain.store.get(key) == value


def registration_of_nobody(chain_id: bytes) -> NodeRegistered:
    """Any event: this one is denied, as the node is registered, and so has a receipt of the last era."""
    return replace(registration(chain_id, 3), group=bytes(32))


def check_offline(town: Town, votes: Votes, first: bytes, last: bytes) -> None:
    """Replay a store from genesis; prove an event of the first era and one of the last with the genesis alone."""
    store = Store(town.store_of(LATE))
    try:
        replayed = replay_chain(store, town.genesis, votes.make_registry())
        assert replayed.certificates > 0.9 * replayed.height
        with store.snapshot() as snapshot:
            proofs = [make_event_proof(snapshot, replayed.height, event_id) for event_id in (first, last)]
    finally:
        store.close()
    eras: list[int] = []
    for proof in proofs:

        def verify(validators: Validators, height: int, header_hash: bytes, data: bytes) -> None:
            certificate = decode_record(Certificate, data)
            assert (certificate.seq, certificate.digest) == (height, header_hash)
            verify_certificate(make_parameters(compute_chain_id(town.genesis), validators), certificate)

        eras.append(verify_event_proof(proof, town.genesis, verify).validators.era)
    assert eras == [0, 3]
