"""One libp2p host for each node: TCP, noise, yamux, and our link protocol; nothing that announces or discovers.

Everything above this file sees 32-byte public keys and `LinkStream`, and two errors: PeerUnreachable and PeerFault.
Not used: plaintext and secio (they let a peer claim any key), QUIC, mDNS and UPnP (they talk to strangers), metrics,
the resource manager with its rate limiter and circuit breaker, the auto-connector, automatic identify, and gossipsub.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import trio
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError
from multiaddr.exceptions import Error as MultiaddrError

from p2p.errors import PeerFault, PeerUnreachable
from p2p.libp2p_defences import ED25519_ID_PREFIX, BoundedCommunicator, key_in, make_host
from p2p.libp2p_tcp import ConnectionTable, OpenTcp, TcpConnection, TcpTransport, is_range_counted, tcp_multiaddr
from p2p.libp2p_yamux import YamuxStream
from p2p.parameters import NetworkLimits

logger = logging.getLogger(__name__)

LINK_PROTOCOL = TProtocol("/atlas/link/1")
PUBLIC_KEY_BYTES = 32
CLOSE_S = 2.0
LINKLESS_CHECK_S = 1.0
READ_BYTES = 128 * 1024


def peer_id_of(public_key: bytes) -> str:
    """Return the libp2p peer id ("12D3KooW…") of a node's Ed25519 public key of 32 bytes."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise ValueError(f"expected a public key of {PUBLIC_KEY_BYTES} bytes, got {len(public_key)}")
    return ID(ED25519_ID_PREFIX + public_key).to_base58()


def public_key_of(peer: str) -> bytes:
    """Return the 32-byte Ed25519 public key in a peer id.  Raises ValueError for ids of other kinds of key."""
    return key_in(ID.from_base58(peer))


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a peer of known key listens: an IPv4 or IPv6 address, or a name."""

    public_key: bytes
    host: str
    port: int

    @property
    def peer_id(self) -> str:
        return peer_id_of(self.public_key)


class LinkStream:
    """One link's stream of bytes, on a connection of its own, whose other end has proved `public_key`."""

    def __init__(self, stream: YamuxStream, public_key: bytes, *, dialed: bool) -> None:
        self._stream = stream
        self.public_key = public_key
        self.dialed = dialed
        """True when we dialed, False when the peer did."""
        remote = stream.connection.tcp.get_remote_address()
        self.remote_host = remote[0] if remote else ""
        self.address = f"{remote[0]}:{remote[1]}" if remote else "unknown"

    async def read(self) -> bytes:
        """Return what has arrived; empty at the end of the stream.  Raises PeerUnreachable: the connection is lost."""
        # Not more at once, and never without letting others run: handling what was read takes time too.
        await trio.lowlevel.checkpoint()
        try:
            return await self._stream.read(READ_BYTES)
        except MuxedStreamEOF:
            return b""
        except MuxedStreamError as error:
            raise PeerUnreachable(str(error)) from error

    async def write(self, data: bytes) -> None:
        """Write all of `data`.  Raises PeerUnreachable, also when the peer takes nothing before the write deadline."""
        try:
            await self._stream.write(data)
        except MuxedStreamError as error:
            raise PeerUnreachable(str(error)) from error

    def abort(self, why: str) -> None:
        """Close the connection now, whoever is reading or writing."""
        self._stream.connection.abort(why)

    async def finish(self) -> None:
        """Say that we write no more; what was written is still delivered."""
        await self._stream.close()

    def mark_as_link(self, window_bytes: int) -> None:
        """Say that this stream carries a link: its connection may stay, and the peer may send further ahead."""
        self._stream.connection.tcp.has_link = True
        self._stream.grow_window(window_bytes)


class Host:
    """Listens, dials, and hands every link stream that a peer opens to `serve`.  `run` is its service."""

    def __init__(
        self,
        seed: bytes,
        limits: NetworkLimits,
        *,
        refuse: Callable[[bytes], str | None],
        is_known: Callable[[bytes], bool],
        serve: Callable[[LinkStream], Awaitable[None]],
        services: Mapping[str, Callable[[LinkStream], Awaitable[None]]],
        on_fault: Callable[[bytes, PeerFault], None],
        open_tcp: OpenTcp = trio.open_tcp_stream,
    ) -> None:
        """seed: the 32 secret bytes of the node's Ed25519 key.

        refuse: says why a key may not connect at all, or None.  is_known: keys that do not count among the strangers.
        serve: takes link streams.  services: who takes the streams of other protocols; read when `run` begins.
        """
        if len(seed) != PUBLIC_KEY_BYTES:
            raise ValueError(f"expected a seed of {PUBLIC_KEY_BYTES} bytes, got {len(seed)}")
        self._key_pair = create_new_key_pair(seed)
        self._limits = limits
        self._refuse = refuse
        self._is_known = is_known
        self._serve = serve
        self._services = services
        self._on_fault = on_fault
        self._open_tcp = open_tcp
        self._dial: Callable[[PeerAddress], Awaitable[LinkStream]] | None = None
        self.public_key: bytes = self._key_pair.public_key.to_bytes()
        self.table = ConnectionTable(limits)
        self.listen_port = 0

    async def run(
        self, listen_host: str, listen_port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen and serve until cancelled; ready with the port.  Raises PortInUse."""
        async with trio.open_nursery() as nursery:
            transport = TcpTransport(self.table, nursery, self._open_tcp)
            bound_host, self.listen_port = await transport.bind(listen_host, listen_port)
            host, swarm = make_host(self._key_pair, transport, self._limits, self._gate, self._on_fault)
            host.set_stream_handler(LINK_PROTOCOL, self._on_link_stream)
            for protocol, service in self._services.items():
                host.set_stream_handler(TProtocol(protocol), partial(self._on_service_stream, service))
            _quiet_library_logs()

            async def dial(address: PeerAddress) -> LinkStream:
                peer = ID(ED25519_ID_PREFIX + address.public_key)
                connection = await swarm.dial_addr(tcp_multiaddr(address.host, address.port), peer)
                try:
                    net_stream = await connection.new_stream()
                    await MultiselectClient().select_one_of(
                        [LINK_PROTOCOL], BoundedCommunicator(net_stream), int(self._limits.upgrade_timeout_s)
                    )
                    return _link_stream(net_stream, dialed=True)
                except BaseException:
                    for tcp in self.table.of_peer(address.public_key):
                        if not tcp.inbound and not tcp.has_link:
                            tcp.abort("no link was agreed on")
                    raise

            async with host.run(listen_addrs=[tcp_multiaddr(bound_host, self.listen_port)]):
                self._dial = dial
                nursery.start_soon(self._close_linkless_forever)
                task_status.started(self.listen_port)
                try:
                    await trio.sleep_forever()
                finally:
                    self._dial = None
                    self.table.abort_all("our node stops")  # first: closing must not wait for anyone's socket
                    with trio.move_on_after(CLOSE_S, shield=True):
                        await host.close()

    async def dial(self, address: PeerAddress) -> LinkStream:
        """Connect and open a link stream.  Raises PeerUnreachable, whatever the reason."""
        if self._dial is None:
            raise PeerUnreachable("our host is not running")
        try:
            with trio.fail_after(self._limits.dial_timeout_s):
                return await self._dial(address)
        except (BaseLibp2pError, trio.TooSlowError, OSError, MultiaddrError, EOFError) as error:
            cause = f": {error.__cause__}" if error.__cause__ is not None else ""
            raise PeerUnreachable(f"{address.host}:{address.port}: {error or type(error).__name__}{cause}") from error

    def _gate(self, connection: TcpConnection, public_key: bytes) -> str | None:
        """Decide about a connection whose peer has just proved its key."""
        if public_key == self.public_key:
            return "a connection to ourselves"
        refusal = self._refuse(public_key)
        if refusal is not None:
            return refusal
        if len(self.table.of_peer(public_key)) >= self._limits.connections_per_peer_max:
            return "too many connections of this peer"
        if connection.inbound and not self._is_known(public_key):
            return self._why_no_stranger(connection)
        return None

    def _why_no_stranger(self, connection: TcpConnection) -> str | None:
        """Say why one more peer that is not configured is too many, or None."""
        strangers = [
            each
            for each in self.table.connections
            if each.inbound and each.public_key is not None and not self._is_known(each.public_key)
        ]
        if len(strangers) >= self._limits.strangers_max:
            return "too many peers that are not configured"
        remote = connection.get_remote_address()
        counted = remote is not None and is_range_counted(remote[0], self._limits)
        near = sum(1 for each in strangers if each.range == connection.range)
        if counted and near >= self._limits.strangers_per_range_max:
            return f"too many peers that are not configured from {connection.range}"
        return None

    async def _on_link_stream(self, net_stream: INetStream) -> None:
        await self._serve(_link_stream(net_stream, dialed=False))

    async def _on_service_stream(
        self, service: Callable[[LinkStream], Awaitable[None]], net_stream: INetStream
    ) -> None:
        stream = _link_stream(net_stream, dialed=False)
        try:
            await service(stream)
        except PeerFault as fault:
            self._on_fault(stream.public_key, fault)
            raise  # the library's handler around this one resets the stream

    async def _close_linkless_forever(self) -> None:
        while True:
            await trio.sleep(min(LINKLESS_CHECK_S, self._limits.linkless_s))
            oldest_allowed = trio.current_time() - self._limits.linkless_s
            for connection in list(self.table.connections):
                if not connection.has_link and connection.opened_at < oldest_allowed:
                    connection.abort("no link was opened")


def _link_stream(net_stream: INetStream, *, dialed: bool) -> LinkStream:
    # NetStream's own state machine is left out of the path: it takes two locks for each read and write.
    stream = getattr(net_stream, "muxed_stream", None)
    assert isinstance(stream, YamuxStream), "every connection is multiplexed by our yamux"
    return LinkStream(stream, key_in(stream.connection.peer_id), dialed=dialed)


def _quiet_library_logs() -> None:
    """What the library logs as errors are the doings of peers; we log them ourselves, by peer and with their score."""
    for name in list(logging.root.manager.loggerDict):
        if name == "libp2p" or name.startswith("libp2p."):
            logging.getLogger(name).setLevel(logging.CRITICAL)
