"""Bad input over libp2p, sent by real peers to real nodes: every node lives on, and nothing of it enters the ledger."""

import time
from collections.abc import Awaitable, Callable

import pytest
import trio

from consensus.messages import Prepare, make_signed
from ledger.authoring import Reference, make_event, sign_event
from ledger.events import SignedEvent, encode_signed_event
from ledger.genesis import compute_chain_id, decode_genesis_file
from ledger.identity import IdentityCreated
from ledger.primitives.encoding import encode
from ledger.primitives.ids import compute_account_id
from ledger.primitives.records import encode_record
from ledger.primitives.signing import Purpose, SigningKey
from node.api_client import ApiClient
from node.block_fetch import BlockRange
from node.config import load_config, parse_peers
from node.devnet import Devnet, Member
from node.eras import encode_frame
from node.modules import make_registry
from p2p.errors import PeerFault, PeerUnreachable
from p2p.handshake import Role
from p2p.host import PeerAddress
from p2p.network import Network
from p2p.wire import FrameKind

pytestmark = pytest.mark.network

Attack = Callable[["Attacker"], Awaitable[None]]
CONNECT_S = 10.0


class Attacker:
    """A peer of the network with a key of its own, connected to one validator, or failing to be."""

    def __init__(self, devnet: Devnet, seed: bytes) -> None:
        path = devnet.gateway.folder / "node.toml"
        peers = parse_peers(path, load_config(path).p2p.peers)
        self.target = PeerAddress(peers[0].public_key, peers[0].host, peers[0].port)
        genesis = decode_genesis_file((devnet.folder / "genesis.json").read_bytes())
        self.chain_id = compute_chain_id(genesis)
        self.seed = seed
        anchor = ApiClient(devnet.gateway.url).get("/ledger/head")["ledger"]
        self.reference = Reference(anchor["height"], bytes.fromhex(anchor["header_hash"]), anchor["beat"])
        self.network: Network | None = None

    async def send(self, kind: FrameKind, body: bytes) -> None:
        assert self.network is not None
        with trio.move_on_after(CONNECT_S):
            await self.network.wait_connected(self.target.public_key)
            assert self.network.send(self.target.public_key, kind, body)

    async def request(self, kind: str, body: bytes) -> None:
        assert self.network is not None
        with trio.move_on_after(CONNECT_S):
            await self.network.wait_connected(self.target.public_key)
            try:
                await self.network.request(self.target.public_key, kind, body, 5.0)
            except (PeerUnreachable, PeerFault):
                return

    async def submit(self, signed: SignedEvent) -> None:
        await self.send(FrameKind.SUBMISSION, encode([encode_signed_event(signed)]))

    async def raw(self, data: bytes) -> None:
        with trio.move_on_after(CONNECT_S):
            stream = await trio.open_tcp_stream(self.target.host, self.target.port)
            async with stream:
                try:
                    await stream.send_all(data)
                    with trio.move_on_after(0.5):
                        await stream.receive_some(4096)
                except trio.BrokenResourceError:
                    return

    def signed(self, chain_id: bytes | None = None, **changes: int) -> SignedEvent:
        """Return an event of a new account, right but for `changes` and the chain that it is signed for."""
        key = SigningKey(self.seed)
        kind = make_registry().latest("identity.IdentityCreated")
        assert kind is not None
        event = make_event(
            kind,
            IdentityCreated(),
            author=compute_account_id(self.chain_id, key.public),
            key=key.public,
            nonce=changes.get("nonce", 1),
            reference=Reference(changes.get("height", self.reference.height), self.reference.hash, self.reference.beat),
            expiry_beats=changes.get("expiry_beats", 100),
        )
        return sign_event(key, chain_id or self.chain_id, event)


async def of_another_chain(attacker: Attacker) -> None:
    await attacker.submit(attacker.signed(chain_id=bytes(32)))


async def with_a_bad_signature(attacker: Attacker) -> None:
    good = attacker.signed()
    await attacker.submit(SignedEvent(good.event, good.payload, bytes(64)))


async def expired(attacker: Attacker) -> None:
    await attacker.submit(attacker.signed(expiry_beats=0))


async def expiring_too_late(attacker: Attacker) -> None:
    await attacker.submit(attacker.signed(expiry_beats=1_000_000))


async def with_a_nonce_gap(attacker: Attacker) -> None:
    await attacker.submit(attacker.signed(nonce=3))


async def with_a_far_nonce(attacker: Attacker) -> None:
    await attacker.submit(attacker.signed(nonce=2**60))


async def on_a_future_block(attacker: Attacker) -> None:
    await attacker.submit(attacker.signed(height=2**40))


async def with_an_unexpected_payload(attacker: Attacker) -> None:
    good = attacker.signed()
    await attacker.submit(SignedEvent(good.event, b"\xc0", good.signature))


async def malformed_msgpack(attacker: Attacker) -> None:
    await attacker.send(FrameKind.SUBMISSION, b"\x91\xcc\x01")


async def not_a_list(attacker: Attacker) -> None:
    await attacker.send(FrameKind.SUBMISSION, encode({"events": 1}))


async def too_many_in_a_frame(attacker: Attacker) -> None:
    await attacker.send(FrameKind.SUBMISSION, encode([encode_signed_event(attacker.signed())] * 500))


async def an_oversize_event(attacker: Attacker) -> None:
    await attacker.send(FrameKind.SUBMISSION, encode([bytes(100_000)]))


async def deep_nesting(attacker: Attacker) -> None:
    await attacker.send(FrameKind.SUBMISSION, b"\x91" * 100_000)


async def an_empty_submission(attacker: Attacker) -> None:
    await attacker.send(FrameKind.SUBMISSION, b"")


async def consensus_from_a_stranger(attacker: Attacker) -> None:
    key = SigningKey(attacker.seed)

    def sign(purpose: Purpose, message: bytes) -> bytes:
        return key.sign(attacker.chain_id, purpose, message)

    forged = make_signed(Prepare(digest=bytes(32), replica=0, seq=1, view=0), sign)
    await attacker.send(FrameKind.CONSENSUS, encode_frame(0, forged))


async def consensus_garbage(attacker: Attacker) -> None:
    await attacker.send(FrameKind.CONSENSUS, bytes(range(256)))


async def a_bad_announcement(attacker: Attacker) -> None:
    await attacker.send(FrameKind.ANNOUNCEMENT, b"\xff" * 3)


async def an_absurd_height(attacker: Attacker) -> None:
    await attacker.send(FrameKind.ANNOUNCEMENT, b"\xff" * 8)


async def an_unknown_request(attacker: Attacker) -> None:
    await attacker.request("no-such-thing", b"")


async def a_malformed_range(attacker: Attacker) -> None:
    await attacker.request("blocks", b"\x00\x01\x02")


async def a_backward_range(attacker: Attacker) -> None:
    await attacker.request("blocks", encode_record(BlockRange(first=50, last=1)))


async def an_absurd_range(attacker: Attacker) -> None:
    await attacker.request("blocks", encode_record(BlockRange(first=0, last=2**64 - 1)))


async def garbage_instead_of_multistream(attacker: Attacker) -> None:
    await attacker.raw(bytes(range(256)) * 64)


async def http_to_the_peer_port(attacker: Attacker) -> None:
    await attacker.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


async def garbage_instead_of_noise(attacker: Attacker) -> None:
    await attacker.raw(b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\xff" * 4_096)


async def a_truncated_handshake(attacker: Attacker) -> None:
    await attacker.raw(b"\x13/multistream/1.0")


ATTACKS: tuple[Attack, ...] = (
    of_another_chain,
    with_a_bad_signature,
    expired,
    expiring_too_late,
    with_a_nonce_gap,
    with_a_far_nonce,
    on_a_future_block,
    with_an_unexpected_payload,
    malformed_msgpack,
    not_a_list,
    too_many_in_a_frame,
    an_oversize_event,
    deep_nesting,
    an_empty_submission,
    consensus_from_a_stranger,
    consensus_garbage,
    a_bad_announcement,
    an_absurd_height,
    an_unknown_request,
    a_malformed_range,
    a_backward_range,
    an_absurd_range,
    garbage_instead_of_multistream,
    http_to_the_peer_port,
    garbage_instead_of_noise,
    a_truncated_handshake,
)


async def attack(devnet: Devnet, number: int, carry_out: Attack) -> None:
    """Carry out one attack as a new peer, over a real host."""
    attacker = Attacker(devnet, bytes([number + 1]) * 32)
    attacker.network = Network(attacker.seed, attacker.chain_id, Role.OBSERVER, 0, peers=(attacker.target,))
    async with trio.open_nursery() as nursery:
        await nursery.start(attacker.network.run)
        await carry_out(attacker)
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


def read_log(member: Member) -> tuple[int, list[str]]:
    """Return the log's size and the types of what is in it, beats left out."""
    client = ApiClient(member.url)
    page = client.get("/ledger/events", limit=100)
    return page["ledger"]["height"], [
        receipt["event_type"] for receipt in page["items"] if receipt["event_type"] != "infra.BeatStarted"
    ]


def test_no_bad_input_over_libp2p_stops_a_node_or_enters_the_ledger(devnet: Devnet) -> None:
    for number, carry_out in enumerate(ATTACKS):
        trio.run(attack, devnet, number, carry_out)
        for member in devnet.members:
            assert member.process is not None
            assert member.process.poll() is None, f"{carry_out.__name__}: {member.name} ended"

    heights = [read_log(member)[0] for member in devnet.members]
    devnet.wait_height(max(heights) + 2, 10)
    for member in devnet.members:
        ApiClient(member.url).get("/health/ready")
        # Only the nonce gap may still wait; nothing that was sent above is in the log.
        assert read_log(member)[1] == [], member.name
    assert len({_digest_at(member, max(heights)) for member in devnet.members}) == 1


def _digest_at(member: Member, height: int) -> str:
    deadline = time.monotonic() + 10
    while ApiClient(member.url).get("/ledger/head")["ledger"]["height"] < height and time.monotonic() < deadline:
        time.sleep(0.05)
    digest: str = ApiClient(member.url).get(f"/ledger/blocks/{height}")["header"]["state_digest"]
    return digest
