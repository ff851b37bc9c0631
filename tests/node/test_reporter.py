"""The reporter against a chain with registered nodes, and peers that answer, lie or are silent."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio

from consensus.effects import Evidence
from consensus.messages import Commit, make_signed
from ledger import keyspace
from ledger.account_keys import AppKeyGranted
from ledger.events import SignedEvent, check_event
from ledger.nodes import NodeRetired, registration_message
from ledger.primitives.checkpoint import Checkpoint
from ledger.primitives.records import encode_record
from ledger.primitives.signing import Purpose, SigningKey
from ledger.service import read_service
from ledger.telemetry import read_attestations
from ledger.validators import ValidatorKeyRotated
from ledger.verdict import deny
from node.challenges import NO_ANSWER, Challenge, answer_challenge, encode_challenge, is_right_answer
from node.evidence_book import EvidenceBook
from node.mempool import Accepted, Answer, Refused
from node.reporter import Reporter
from p2p.errors import PeerFault, PeerUnreachable
from tests.economy.council import open_council
from tests.economy.node_town import NODES, NodeTown
from tests.economy.town import EPOCH_BEATS
from tests.ledger.world import VALIDATORS

ME = 0
SILENT, LYING, BEHIND = 4, 5, 6
CANDIDATE = 4


@pytest.fixture
def town(tmp_path: Path) -> Iterator[NodeTown]:
    made = NodeTown(tmp_path / "town")
    made.register(*range(7))
    # The operator's own key stays elsewhere; the node's may sign reports and nothing else.
    made.do(made.operators[ME], AppKeyGranted, expires_nonce=1_000, key=NODES[ME].public, scopes=("nodes",))
    for _ in range(EPOCH_BEATS - 1):
        made.beat()
    yield made
    made.close()


class Desk:
    """The node around one reporter: submissions wait and are executed, peers answer from its chain."""

    def __init__(self, town: NodeTown, me: int = ME) -> None:
        self.town = town
        self.me = me
        self.evidence = EvidenceBook(town.store.path.parent / "evidence")
        self.is_full = False
        self.waiting: list[tuple[bytes, SignedEvent]] = []
        self.reporter = Reporter(
            town.chain,
            NODES[me],
            submit=self._submit,
            is_waiting=lambda event_id: any(waiting == event_id for waiting, _ in self.waiting),
            request=self._request,
            connected=lambda: [key.public for key in NODES],
            evidence=self.evidence,
        )

    def _submit(self, events: Sequence[SignedEvent]) -> list[Answer]:
        if self.is_full:
            return [Refused(None, deny("node.mempool_full", "The node is full.")) for _ in events]
        answers: list[Answer] = []
        for signed in events:
            checked = check_event(self.town.chain.registry, self.town.chain.chain_id, signed, payload_required=True)
            self.waiting.append((checked.event_id, signed))
            answers.append(Accepted(checked.event_id))
        return answers

    def deliver(self) -> None:
        """Execute what waits; all of it is allowed."""
        for _, signed in self.waiting:
            self.town.operators[self.me].nonce += 1
            self.town.apply(signed)
        self.waiting.clear()

    def list_waiting(self) -> list[str]:
        """Return the types of the events that wait."""
        registry, chain_id = self.town.chain.registry, self.town.chain.chain_id
        return [check_event(registry, chain_id, each, payload_required=True).kind.name for _, each in self.waiting]

    async def pass_beat(self) -> None:
        await trio.sleep(1)
        self.deliver()

    async def _request(self, peer: bytes, body: bytes, timeout_s: float) -> bytes:
        numbers = {key.public: number for number, key in enumerate(NODES)}
        number = numbers.get(peer, SILENT)
        if number == SILENT:
            raise PeerUnreachable("expected an answer, got none")
        if number == BEHIND:
            return NO_ANSWER
        key = NODES[number + 1 if number == LYING else number]
        return answer_challenge(self.town.chain, key, body)

    def beat(self, signers: Sequence[int], digest: bytes | None = None) -> int:
        """A beat begins; these validators' checkpoint signatures over its block arrive."""
        executed = self.town.beat()
        for replica in signers:
            checkpoint = Checkpoint(digest or executed.hash, replica, executed.header.height)
            message = encode_record(checkpoint)
            signature = VALIDATORS[replica].sign(self.town.chain.chain_id, Purpose.CHECKPOINT, message)
            self.reporter.saw_vote(checkpoint, signature)
        self.reporter.saw_block(executed)
        return executed.header.beat

    def votes(self) -> tuple[int, ...]:
        service = read_service(self.town.store, self.town.chain.head.header.epoch)
        assert service is not None
        return (service.certified, *service.votes)


async def test_the_signatures_over_each_beats_block_reach_the_ledger(
    town: NodeTown, autojump_clock: trio.testing.MockClock
) -> None:
    desk = Desk(town)
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.reporter.run)
        desk.beat([0, 1, 2, 3])
        await desk.pass_beat()
        assert desk.votes() == (1, 1, 1, 1, 1)

        desk.beat([0, 1, 2])
        await desk.pass_beat()
        assert desk.votes() == (2, 2, 2, 2, 1)

        desk.beat([0, 1])
        await desk.pass_beat()
        assert desk.votes() == (2, 2, 2, 2, 1)  # no quorum known
        nursery.cancel_scope.cancel()


async def test_only_what_the_ledger_lacks_is_added(town: NodeTown, autojump_clock: trio.testing.MockClock) -> None:
    desk = Desk(town)
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.reporter.run)
        desk.beat([0, 1, 2, 3])
        town.apply(town.certificate([0, 1, 2], author=1))
        height = town.chain.head.height
        await desk.pass_beat()
        assert desk.votes() == (1, 1, 1, 1, 1)
        assert town.chain.head.height == height + 1

        desk.beat([0, 1, 2, 3])
        town.apply(town.certificate([0, 1, 2, 3], author=1))
        height = town.chain.head.height
        await desk.pass_beat()
        assert town.chain.head.height == height
        nursery.cancel_scope.cancel()


async def test_a_signature_over_another_header_is_not_reported(
    town: NodeTown, autojump_clock: trio.testing.MockClock
) -> None:
    desk = Desk(town)
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.reporter.run)
        desk.beat([1, 2, 3], digest=b"f" * 32)
        height = town.chain.head.height
        await desk.pass_beat()
        assert town.chain.head.height == height
        nursery.cancel_scope.cancel()


async def test_nodes_are_challenged_and_attested_in_the_epoch_after(
    town: NodeTown, autojump_clock: trio.testing.MockClock
) -> None:
    """Node 4 is silent, node 5 answers with a wrong key, node 6 does not have the block."""
    desk = Desk(town)
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.reporter.run)
        for _ in range(2 * EPOCH_BEATS):
            desk.beat([0, 1, 2, 3])
            await desk.pass_beat()
        nursery.cancel_scope.cancel()

    assert town.chain.head.header.epoch == 2
    found = {number: read_attestations(town.store, NODES[number].public, 1) for number in range(7)}
    assert found[ME] == ()
    for number in range(1, 7):
        (word,) = found[number]
        assert (word.validator, word.asked) == (NODES[ME].public, EPOCH_BEATS)
        assert word.answered == (0 if number in (SILENT, LYING, BEHIND) else EPOCH_BEATS)


async def test_evidence_is_proven_once_and_again_when_the_event_was_lost(
    town: NodeTown, autojump_clock: trio.testing.MockClock
) -> None:
    desk = Desk(town)

    def sign(purpose: Purpose, message: bytes) -> bytes:
        return VALIDATORS[2].sign(town.chain.chain_id, purpose, message)

    votes = [make_signed(Commit(digest, 2, 9, 1), sign) for digest in (b"a" * 32, b"b" * 32)]
    body = desk.evidence.keep(Evidence(votes[0], votes[1]), town.chain.validators)
    assert body is not None
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.reporter.run)
        desk.beat([0, 1, 2, 3])
        await trio.sleep(1)
        lost = desk.list_waiting()
        desk.waiting.clear()
        desk.beat([0, 1, 2, 3])
        await desk.pass_beat()
        proven = town.store.get(keyspace.evidence(VALIDATORS[2].public))
        desk.beat([0, 1, 2, 3])
        await trio.sleep(1)
        more = desk.list_waiting()
        nursery.cancel_scope.cancel()

    assert "infra.EquivocationProven" in lost
    assert proven is not None
    assert "infra.EquivocationProven" not in more


async def test_a_node_that_no_longer_serves_reports_nothing(
    town: NodeTown, autojump_clock: trio.testing.MockClock
) -> None:
    desk = Desk(town)
    town.beat()
    town.do(town.operators[ME], NodeRetired, node=NODES[ME].public)
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.reporter.run)
        desk.beat([0, 1, 2, 3])
        await desk.pass_beat()
        nursery.cancel_scope.cancel()

    assert desk.votes() == (0, 0, 0, 0, 0)


async def test_a_refusal_of_the_mempool_is_borne(town: NodeTown, autojump_clock: trio.testing.MockClock) -> None:
    desk = Desk(town)
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.reporter.run)
        desk.is_full = True
        desk.beat([0, 1, 2, 3])
        await desk.pass_beat()
        desk.is_full = False
        desk.beat([0, 1, 2, 3])
        await desk.pass_beat()
        nursery.cancel_scope.cancel()

    assert desk.votes() == (1, 1, 1, 1, 1)


def test_signatures_far_from_the_head_take_no_memory(town: NodeTown) -> None:
    desk = Desk(town)
    for height in (10**9, town.chain.head.height + 65):
        desk.reporter.saw_vote(Checkpoint(bytes(32), 1, height), bytes(64))

    assert desk.reporter._votes == {}


def test_an_answer_is_for_one_challenge_and_one_node(town: NodeTown) -> None:
    chain = town.chain
    challenge = Challenge(1, chain.head.height, b"n" * 32)
    answer = answer_challenge(chain, NODES[5], encode_challenge(challenge))

    assert is_right_answer(chain, NODES[5].public, challenge, answer)
    assert not is_right_answer(chain, NODES[6].public, challenge, answer)
    assert not is_right_answer(chain, NODES[5].public, Challenge(2, challenge.height_max, challenge.nonce), answer)
    assert not is_right_answer(chain, NODES[5].public, Challenge(1, challenge.height_max, b"m" * 32), answer)
    assert not is_right_answer(chain, NODES[5].public, challenge, NO_ANSWER)
    assert answer_challenge(chain, NODES[5], encode_challenge(Challenge(1, 10**12, b"n" * 32))) == NO_ANSWER


@pytest.mark.parametrize("body", [b"", b"\xc1", bytes(10_000)])
def test_a_malformed_challenge_is_a_fault_of_the_peer(town: NodeTown, body: bytes) -> None:
    with pytest.raises(PeerFault, match="challenge_malformed"):
        answer_challenge(town.chain, NODES[5], body)


async def test_a_node_that_was_admitted_says_once_in_each_epoch_that_it_is_ready(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    council = open_council(tmp_path / "council")
    council.do(
        council.operators[CANDIDATE], AppKeyGranted, expires_nonce=1_000, key=NODES[CANDIDATE].public, scopes=("nodes",)
    )
    desk = Desk(council, CANDIDATE)
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.reporter.run)
        desk.beat([])
        await trio.testing.wait_all_tasks_blocked()
        assert desk.list_waiting() == []  # nobody has admitted it

        council.admit(CANDIDATE)
        for _ in range(2):
            desk.beat([])
            await trio.testing.wait_all_tasks_blocked()
        assert desk.list_waiting() == ["infra.ValidatorReady"]

        desk.deliver()
        desk.beat([])
        await trio.testing.wait_all_tasks_blocked()
        assert desk.list_waiting() == []
        council.end()
        nursery.cancel_scope.cancel()

    assert NODES[CANDIDATE].public in council.chain.validators.keys
    council.close()


async def test_a_validator_that_changed_its_key_is_attested_under_the_new_one_and_the_change_is_not_certified(
    town: NodeTown, autojump_clock: trio.testing.MockClock
) -> None:
    """The first beat of the new era is certified by the old set; whatever else is reported must be allowed."""
    desk, new = Desk(town), SigningKey(b"n" * 32)
    operator = town.operators[1]
    message = registration_message(operator.account, new.public)
    proof = new.sign(town.chain.chain_id, Purpose.NODE_REGISTRATION, message)
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.reporter.run)
        for _ in range(EPOCH_BEATS):
            desk.beat([0, 1, 2, 3])
            await desk.pass_beat()
        rotated = town.do(operator, ValidatorKeyRotated, new_node=new.public, node=NODES[1].public, proof=proof)
        epoch = town.chain.head.header.epoch
        while town.chain.head.header.epoch == epoch:
            desk.beat([0, 1, 2, 3])
            if town.chain.head.header.epoch == epoch:
                await desk.pass_beat()
        await desk.pass_beat()
        certified = desk.votes()
        for _ in range(EPOCH_BEATS - 1):
            desk.beat([])
            await desk.pass_beat()
        nursery.cancel_scope.cancel()

    words = read_attestations(town.store, new.public, epoch)
    assert rotated.outcome == "applied"
    assert certified == (0, 0, 0, 0, 0)
    assert [word.validator for word in words] == [NODES[ME].public]
    assert read_attestations(town.store, NODES[1].public, epoch) == ()
