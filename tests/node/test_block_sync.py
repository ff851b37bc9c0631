"""Catching up from right, slow and lying sources: only certified blocks get in, and no source stops the node."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from consensus.messages import Certificate, Checkpoint, Vote
from ledger import events
from ledger.block import StoredBlock, decode_header, encode_header
from ledger.events import SignedEvent
from ledger.payloads import Payload, encode_payload
from ledger.primitives.records import decode_record, encode_record
from ledger.primitives.signing import Purpose, SigningKey
from ledger.receipts import SKIPPED
from node.block_fetch import Blocks, answer_range
from node.block_sync import BlockSync
from node.event_cache import EventCache
from node.event_checks import EventChecker
from node.executor import Executor
from p2p.errors import PeerFault, PeerUnreachable
from social.posts import PostPublished
from tests.ledger.world import VALIDATORS, World

Answer = Callable[[bytes], Awaitable[bytes]]
HEIGHT = 3
HONEST, LIAR = b"\x01" * 32, b"\x02" * 32
STRANGERS = tuple(SigningKey(bytes([90 + number]) * 32) for number in range(4))


def certify(world: World, height: int, keys: tuple[SigningKey, ...] = VALIDATORS[:3]) -> bytes:
    """Return the certificate of a block, signed by these keys as replicas 0, 1, 2."""
    reference = world.chain.references(height)
    assert reference is not None
    votes = tuple(
        Vote(
            number,
            key.sign(world.chain.chain_id, Purpose.CHECKPOINT, encode_record(Checkpoint(reference[0], number, height))),
        )
        for number, key in enumerate(keys)
    )
    return encode_record(Certificate(digest=reference[0], seq=height, signatures=votes))


@pytest.fixture
def source(tmp_path: Path) -> Iterator[World]:
    """A chain of three certified blocks with a post in each."""
    world = World(tmp_path / "source")
    for height in range(1, HEIGHT + 1):
        world.do(world.ada, PostPublished, text=f"Post {height}.", tags=())
        world.chain.write_certificate(height, certify(world, height))
    yield world
    world.close()


class Syncing:
    """A node at genesis that fetches from the sources given, in that order."""

    def __init__(
        self,
        world: World,
        sources: dict[bytes, Answer],
        *,
        trusts_quorum: bool = False,
        checker: EventChecker | None = None,
    ) -> None:
        self.world = world
        self.asked: list[bytes] = []
        self.blamed: list[bytes] = []
        self.installed: list[int] = []
        self._sources = sources
        chain = world.chain
        self.sync = BlockSync(
            chain,
            Executor(chain),
            EventCache(chain.registry, chain.chain_id),
            request=self._request,
            peers=lambda: list(sources),
            blame=lambda peer, fault: self.blamed.append(peer),
            installed=lambda height, certificate: self.installed.append(height),
            trusts_quorum=trusts_quorum,
            checker=checker,
        )

    async def _request(self, peer: bytes, body: bytes) -> bytes:
        self.asked.append(peer)
        assert len(self.asked) < 100, "the same is asked for over and over"
        await trio.lowlevel.checkpoint()
        return await self._sources[peer](body)

    async def run_until_idle(self, height: int = HEIGHT) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sync.run)
            self.sync.want(height)
            with trio.fail_after(10):
                await self.sync.wait_idle()
            nursery.cancel_scope.cancel()

    @property
    def height(self) -> int:
        return self.world.chain.head.height


def honest(source: World) -> Answer:
    async def answer(body: bytes) -> bytes:
        return answer_range(source.chain, body)

    return answer


def lying(source: World, change: Callable[[StoredBlock], StoredBlock]) -> Answer:
    """Answer with honest blocks, the first of each answer changed."""

    async def answer(body: bytes) -> bytes:
        found = decode_record(Blocks, answer_range(source.chain, body))
        return encode_record(replace(found, blocks=(change(found.blocks[0]), *found.blocks[1:])))

    return answer


async def test_certified_blocks_are_fetched_executed_and_told(world: World, source: World) -> None:
    node = Syncing(world, {HONEST: honest(source)})

    await node.run_until_idle()

    assert node.installed == [1, 2, 3]
    assert world.chain.head.hash == source.chain.head.hash
    assert world.chain.read_certificate(HEIGHT) == source.chain.read_certificate(HEIGHT)
    assert world.chain.read_block(2) == source.chain.read_block(2)


def with_another_payload(block: StoredBlock) -> StoredBlock:
    item = block.items[0]
    return replace(block, items=(SignedEvent(item.event, encode_payload(Payload(bytes(16), "Lies.")), item.signature),))


def with_a_malformed_payload(block: StoredBlock) -> StoredBlock:
    return replace(block, items=(replace(block.items[0], payload=b"\xc1"),))


def with_another_header(block: StoredBlock) -> StoredBlock:
    return replace(block, header=encode_header(replace(decode_header(block.header), state_digest=bytes(32))))


def with_a_malformed_header(block: StoredBlock) -> StoredBlock:
    return replace(block, header=b"\xff\xff")


def with_another_signature(block: StoredBlock) -> StoredBlock:
    return replace(block, items=(replace(block.items[0], signature=bytes(64)),))


def without_events(block: StoredBlock) -> StoredBlock:
    return replace(block, items=())


def with_an_event_twice(block: StoredBlock) -> StoredBlock:
    return replace(block, items=block.items * 2)


def with_too_few_signatures(block: StoredBlock) -> StoredBlock:
    certificate = decode_record(Certificate, block.certificate)
    return replace(block, certificate=encode_record(replace(certificate, signatures=certificate.signatures[:2])))


def with_one_signer_twice(block: StoredBlock) -> StoredBlock:
    certificate = decode_record(Certificate, block.certificate)
    first, second, _ = certificate.signatures
    return replace(block, certificate=encode_record(replace(certificate, signatures=(first, second, second))))


LIES = (
    with_another_payload,
    with_a_malformed_payload,
    with_another_header,
    with_a_malformed_header,
    with_another_signature,
    without_events,
    with_an_event_twice,
    with_too_few_signatures,
    with_one_signer_twice,
)


@pytest.mark.parametrize("trusts_quorum", [False, True])
@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_blamed_and_the_next_source_is_asked(
    world: World, source: World, lie: Callable[[StoredBlock], StoredBlock], trusts_quorum: bool
) -> None:
    node = Syncing(world, {LIAR: lying(source, lie), HONEST: honest(source)}, trusts_quorum=trusts_quorum)

    await node.run_until_idle()

    assert node.blamed == [LIAR]
    assert world.chain.head.hash == source.chain.head.hash


@pytest.mark.parametrize("lie", LIES)
async def test_nothing_of_a_lie_is_written(
    world: World, source: World, lie: Callable[[StoredBlock], StoredBlock]
) -> None:
    node = Syncing(world, {LIAR: lying(source, lie)})

    await node.run_until_idle()

    assert node.height == 0
    assert node.installed == []


async def test_whoever_trusts_the_quorum_checks_no_author_again(
    world: World, source: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[bytes] = []

    def check(public: bytes, *given: object) -> bool:
        checked.append(public)
        return True

    monkeypatch.setattr(events, "is_valid_signature", check)
    node = Syncing(world, {HONEST: honest(source)}, trusts_quorum=True)

    await node.run_until_idle()

    assert world.chain.head.hash == source.chain.head.hash
    assert checked == []


@pytest.mark.parametrize("trusts_quorum", [False, True])
async def test_an_event_that_the_quorum_skipped_is_skipped_here_too(
    world: World, source: World, trusts_quorum: bool
) -> None:
    good = source.sign(source.ben, PostPublished, text="Not by Ben.", tags=())
    receipt = source.execute(replace(good, payload=None, signature=bytes(64))).receipts[0]
    assert receipt.outcome == SKIPPED
    source.chain.write_certificate(HEIGHT + 1, certify(source, HEIGHT + 1))
    node = Syncing(world, {HONEST: honest(source)}, trusts_quorum=trusts_quorum)

    await node.run_until_idle(HEIGHT + 1)

    assert node.blamed == []
    assert world.chain.head.hash == source.chain.head.hash


async def test_a_certificate_of_strangers_is_none(world: World, source: World) -> None:
    def signed_by_strangers(block: StoredBlock) -> StoredBlock:
        return replace(block, certificate=certify(source, 1, STRANGERS[:3]))

    node = Syncing(world, {LIAR: lying(source, signed_by_strangers), HONEST: honest(source)})

    await node.run_until_idle()

    assert node.blamed == [LIAR]
    assert node.height == HEIGHT


async def test_a_certificate_of_another_block_is_none(world: World, source: World) -> None:
    def of_the_block_above(block: StoredBlock) -> StoredBlock:
        return replace(block, certificate=certify(source, 2))

    node = Syncing(world, {LIAR: lying(source, of_the_block_above), HONEST: honest(source)})

    await node.run_until_idle()

    assert node.blamed == [LIAR]
    assert node.height == HEIGHT


async def test_a_source_that_repeats_old_blocks_is_blamed(world: World, source: World) -> None:
    first = source.chain.read_block(1)
    assert first is not None

    async def only_the_first(body: bytes) -> bytes:
        return encode_record(Blocks((first,), head=2**60))

    node = Syncing(world, {LIAR: only_the_first, HONEST: honest(source)})
    await node.run_until_idle(1)

    await node.run_until_idle()

    assert node.asked == [LIAR, LIAR, HONEST]
    assert node.blamed == [LIAR]
    assert node.height == HEIGHT


@pytest.mark.parametrize("error", [PeerUnreachable("gone"), PeerFault("too_long", 20, "an endless answer")])
async def test_a_source_that_fails_is_left_for_the_next_and_asked_last_from_then_on(
    world: World, source: World, error: Exception
) -> None:
    async def failing(body: bytes) -> bytes:
        raise error

    node = Syncing(world, {LIAR: failing, HONEST: honest(source)})
    await node.run_until_idle(1)

    await node.run_until_idle(HEIGHT)

    assert node.height == HEIGHT
    assert node.asked.count(LIAR) == 1


async def test_a_source_that_gives_less_than_was_asked_holds_nobody_up(world: World, source: World) -> None:
    """A liar gave one block for each question, just in time, and was asked on and on: the chain grew faster."""

    async def drip(body: bytes) -> bytes:
        found = decode_record(Blocks, answer_range(source.chain, body))
        return encode_record(replace(found, blocks=found.blocks[:1]))

    node = Syncing(world, {LIAR: drip, HONEST: honest(source)})

    await node.run_until_idle()

    assert node.asked == [LIAR, HONEST]
    assert (node.height, node.blamed) == (HEIGHT, [])


async def test_garbage_is_blamed(world: World, source: World) -> None:
    async def garbage(body: bytes) -> bytes:
        return b"\xc1" * 100

    node = Syncing(world, {LIAR: garbage, HONEST: honest(source)})

    await node.run_until_idle()

    assert node.blamed == [LIAR]
    assert node.height == HEIGHT


async def test_a_height_that_nobody_has_costs_one_request_of_each(world: World, source: World) -> None:
    node = Syncing(world, {HONEST: honest(source)})

    await node.run_until_idle(2**60)

    assert node.height == HEIGHT
    assert len(node.asked) <= 3


async def test_an_erased_payload_does_not_hold_anybody_up(world: World, source: World) -> None:
    def erased(block: StoredBlock) -> StoredBlock:
        return replace(block, items=(replace(block.items[0], payload=None),))

    node = Syncing(world, {HONEST: lying(source, erased)})

    await node.run_until_idle()

    assert node.blamed == []
    assert world.chain.head.hash == source.chain.head.hash


@pytest.mark.parametrize("missing", [(1,), (2,), (1, 2)])
async def test_a_block_without_a_certificate_is_proven_by_a_certified_one_above_it(
    world: World, source: World, missing: tuple[int, ...]
) -> None:
    """A liar withheld its signature of some heights, so nobody has a certificate of them."""
    for height in missing:
        source.chain.write_certificate(height, b"")
    syncing = Syncing(world, {HONEST: honest(source)})

    await syncing.run_until_idle()

    assert (syncing.height, syncing.blamed) == (HEIGHT, [])
    assert syncing.installed == [height for height in range(1, HEIGHT + 1) if height not in missing]
    assert [world.chain.read_certificate(height) for height in missing] == [None] * len(missing)


async def test_blocks_above_the_last_certificate_are_not_sent(world: World, source: World) -> None:
    source.chain.write_certificate(3, b"")
    syncing = Syncing(world, {HONEST: honest(source)})

    await syncing.run_until_idle()

    assert (syncing.height, syncing.blamed) == (2, [])


@pytest.mark.parametrize("lie", ["other block", "bad certificate above", "nothing above"])
async def test_an_uncertified_block_that_nothing_proves_is_blamed(world: World, source: World, lie: str) -> None:
    """Neither the block nor anything above it is written, and nothing of it is executed."""

    async def answer(body: bytes) -> bytes:
        found = decode_record(Blocks, answer_range(source.chain, body))
        first, second, third = found.blocks
        bare = replace(first, certificate=b"")
        blocks: tuple[StoredBlock, ...] = (bare,)
        if lie == "other block":
            header = replace(decode_header(first.header), time_ms=7)
            blocks = (replace(bare, header=encode_header(header)), second, third)
        elif lie == "bad certificate above":
            blocks = (bare, replace(second, certificate=certify(source, 2, STRANGERS[:3])), third)
        return encode_record(replace(found, blocks=blocks))

    syncing = Syncing(world, {LIAR: answer, HONEST: honest(source)})
    await syncing.run_until_idle()

    assert (syncing.height, syncing.blamed) == (HEIGHT, [LIAR])
    assert syncing.asked[0] == LIAR
    assert (
        syncing.asked.count(LIAR) == 1
    )  # what follows its blocks was asked of the other one while they were looked at
