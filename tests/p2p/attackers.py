"""Nodes for the network tests, honest and hostile.  The hostile ones speak as much of the protocol as they please.

`Rogue` has a real noise channel and writes yamux frames by hand, so it can do what no library would do.
"""

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.secure_session import SecureSession
from libp2p.security.security_multistream import SecurityMultistream

from p2p.handshake import Hello, Role, encode_hello
from p2p.host import PeerAddress
from p2p.libp2p_defences import ED25519_ID_PREFIX
from p2p.libp2p_tcp import ConnectionTable, TcpConnection
from p2p.network import Network
from p2p.parameters import NetworkLimits
from p2p.versions import VERSION_MAX, VERSION_MIN
from p2p.wire import FrameKind, FrameReader, encode_frames

CHAIN = b"test chain"
LIMITS = NetworkLimits(
    retry_s_min=0.02,
    retry_s_max=0.2,
    upgrade_timeout_s=1.0,
    hello_timeout_s=0.5,
    write_deadline_s=0.5,
    heartbeat_interval_s=0.1,
    heartbeat_deadline_s=0.5,
    dial_timeout_s=2.0,
    ban_score=10_000,
)
PATIENCE_S = 8.0
"""How long a test waits for what must happen."""
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
CREDIT_FIRST = 250_000
"""What a stream may send before any is granted, less what choosing the protocol took."""


class Target(Protocol):
    """Who is attacked: a network of this process, or a node in another one."""

    @property
    def public_key(self) -> bytes: ...

    @property
    def listen_port(self) -> int: ...


def seed(number: int) -> bytes:
    return number.to_bytes(32, "big")


def key_of(number: int) -> bytes:
    return create_new_key_pair(seed(number)).public_key.to_bytes()


def address_of(network: Network) -> PeerAddress:
    return PeerAddress(network.public_key, "127.0.0.1", network.listen_port)


def make_network(
    number: int,
    *peers: PeerAddress,
    role: Role = Role.OBSERVER,
    limits: NetworkLimits = LIMITS,
    chain_id: bytes = CHAIN,
    port: int = 0,
) -> Network:
    return Network(seed(number), chain_id, role, port, peers=peers, limits=limits)


@asynccontextmanager
async def running(*networks: Network) -> AsyncIterator[None]:
    """Run the networks inside the block."""
    async with trio.open_nursery() as nursery:
        for network in networks:
            await nursery.start(network.run)
        with trio.fail_after(6 * PATIENCE_S):
            yield
        nursery.cancel_scope.cancel()


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` holds.  Raises TooSlowError when it does not come to hold."""
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the inner state of a node tells nobody when it changes
            await trio.sleep(0.005)


async def wait_linked(a: Network, b: Network) -> None:
    with trio.fail_after(PATIENCE_S):
        await a.wait_connected(b.public_key)
        await b.wait_connected(a.public_key)


async def assert_serves(target: Network, number: int = 1_000) -> None:
    """An honest newcomer gets a link, and its frame arrives."""
    honest = make_network(number, address_of(target))
    body = b"honest %d" % number
    async with running(honest):
        await wait_linked(honest, target)
        assert honest.send(target.public_key, FrameKind.SUBMISSION, body)
        with trio.fail_after(PATIENCE_S):
            async for inbound in target.inbound:
                if inbound.body == body:
                    assert inbound.public_key == honest.public_key
                    break
    with trio.fail_after(PATIENCE_S):
        await target.wait_disconnected(honest.public_key)


async def drain(network: Network) -> None:
    """Be a node that takes whatever comes."""
    async for _ in network.inbound:
        pass


def hello(
    number: int,
    chain_id: bytes = CHAIN,
    public_key: bytes | None = None,
    version_min: int = VERSION_MIN,
    version_max: int = VERSION_MAX,
) -> bytes:
    return encode_hello(
        Hello(
            version_min=version_min,
            version_max=version_max,
            chain_id=chain_id,
            public_key=public_key or key_of(number),
            role=Role.OBSERVER.value,
            listen_host="",
            listen_port=0,
            height=0,
        )
    )


def multistream_line(text: str) -> bytes:
    line = text.encode() + b"\n"
    assert len(line) < 128
    return bytes((len(line),)) + line


class Rogue:
    """A peer with a proved key and no manners."""

    def __init__(self, secured: SecureSession, tcp: TcpConnection) -> None:
        self.secured = secured
        self.tcp = tcp
        self.frames = FrameReader(2**31)
        self._credit: dict[int, int] = {}
        self._granted = trio.Event()

    async def write_yamux(self, kind: int, flags: int, stream_id: int, length: int, payload: bytes = b"") -> None:
        await self.secured.write(struct.pack("!BBHII", 0, kind, flags, stream_id, length) + payload)

    async def write_stream(self, data: bytes, stream_id: int = 1) -> None:
        for at in range(0, len(data), 60_000):
            part = data[at : at + 60_000]
            await self.write_yamux(DATA, 0, stream_id, len(part), part)

    async def open_link(self, stream_id: int = 1) -> None:
        """Open a stream and ask for the link protocol, without waiting for the answers."""
        await self.write_yamux(WINDOW_UPDATE, SYN, stream_id, 0)
        await self.write_stream(multistream_line("/multistream/1.0.0"), stream_id)
        await self.write_stream(multistream_line("/atlas/link/1"), stream_id)

    async def send_frames(self, *frames: bytes, stream_id: int = 1) -> None:
        await self.write_stream(encode_frames(frames), stream_id)

    async def open_protocol(self, protocol: str, stream_id: int = 1) -> None:
        """Open a stream and ask for a protocol, without waiting for the answers."""
        await self.write_yamux(WINDOW_UPDATE, SYN, stream_id, 0)
        await self.write_stream(multistream_line("/multistream/1.0.0"), stream_id)
        await self.write_stream(multistream_line(protocol), stream_id)

    async def read_streams(self, count: int) -> dict[int, bytes]:
        """Return what came on each stream, once `count` of them have ended; a reset one ends with b"reset"."""
        received: dict[int, bytes] = {}
        pending, ended = b"", 0
        with trio.fail_after(PATIENCE_S):
            while ended < count:
                while len(pending) < 12:
                    pending += await self.secured.read()
                _, kind, flags, stream_id, length = struct.unpack_from("!BBHII", pending)
                pending = pending[12:]
                if kind == DATA:
                    while len(pending) < length:
                        pending += await self.secured.read()
                    received[stream_id] = received.get(stream_id, b"") + pending[:length]
                    pending = pending[length:]
                if kind in (DATA, WINDOW_UPDATE) and flags & (FIN | RST):
                    ended += 1
                    if flags & RST:
                        received[stream_id] = received.get(stream_id, b"") + b"reset"
        return received

    async def take_forever(self) -> None:
        """Take what comes and note the credit that the node grants, but grant none: `pour` needs this beside it."""
        pending = b""
        while True:
            pending += await self.secured.read()
            while len(pending) >= 12:
                _, kind, _, stream_id, length = struct.unpack_from("!BBHII", pending)
                end = 12 + (length if kind == DATA else 0)
                if len(pending) < end:
                    break
                pending = pending[end:]
                if kind == WINDOW_UPDATE:
                    self._credit[stream_id] = self._credit.get(stream_id, 0) + length
                    self._granted.set()

    async def pour(self, data: bytes, stream_id: int) -> None:
        """Write to a stream within the credit that it has, waiting for more where it must."""
        self._credit.setdefault(stream_id, 0)
        while data:
            while self._credit[stream_id] + CREDIT_FIRST <= 0:
                self._granted = trio.Event()
                await self._granted.wait()
            part = data[: min(60_000, self._credit[stream_id] + CREDIT_FIRST)]
            self._credit[stream_id] -= len(part)
            await self.write_yamux(DATA, 0, stream_id, len(part), part)
            data = data[len(part) :]

    async def wait_closed(self) -> None:
        """Read, and ignore what comes, until the other side closes."""
        with trio.fail_after(PATIENCE_S):
            try:
                while True:
                    await self.secured.read()
            except Exception:
                return


@asynccontextmanager
async def tcp_to(target: Target, local_address: str = "127.0.0.1") -> AsyncIterator[trio.SocketStream]:
    stream = await trio.open_tcp_stream("127.0.0.1", target.listen_port, local_address=local_address)
    async with stream:
        yield stream


@asynccontextmanager
async def rogue(target: Target, number: int, local_address: str = "127.0.0.1") -> AsyncIterator[Rogue]:
    """A rogue connected to `target`, with the key of `number`, up to and with the choice of yamux."""
    async with tcp_to(target, local_address) as stream:
        tcp = TcpConnection(stream, ConnectionTable(LIMITS), inbound=False)
        key_pair = create_new_key_pair(seed(number))
        noise = NoiseTransport(key_pair, noise_privkey=create_noise_key_pair().private_key)
        with trio.fail_after(PATIENCE_S):
            secured = await SecurityMultistream({NOISE: noise}).secure_outbound(
                RawConnection(tcp, True), ID(ED25519_ID_PREFIX + target.public_key)
            )
            assert isinstance(secured, SecureSession)
            await secured.write(multistream_line("/multistream/1.0.0"))
            await secured.write(multistream_line("/yamux/1.0.0"))
            for _ in range(2):
                length = (await secured.read(1))[0]
                await secured.read(length)
        yield Rogue(secured, tcp)


async def linked_rogue(peer: Rogue, target: Network, number: int) -> None:
    """Bring a rogue to a link that `target` believes in."""
    await peer.open_link()
    await peer.send_frames(hello(number))
    with trio.fail_after(PATIENCE_S):
        await target.wait_connected(key_of(number))
