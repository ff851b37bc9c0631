"""What libp2p 0.8.1 does with hostile peers, put right by subclasses; nothing is patched at run time.

* Swarm: an accepted connection gives its slot back when it ends, not when the host stops; a connection that died while
  it was being registered does not stay in the table; no auto-connector, tag store or identify reacts to connections.
* Upgrader: noise and yamux, nothing else; a gate right after the security handshake decides by the proved key.
* Host: an exception in the handling of a stream (garbage to multistream, a bug in a handler) resets that stream,
  instead of cancelling the whole host; no identify is sent by ourselves.

What is overridden, and what calls it, is pinned by source hash in tests/p2p/test_libp2p_pinned.py: an upgrade of the
library fails there first.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from libp2p.abc import IMuxedConn, INetConn, INetStream, IRawConnection, ISecureConn
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import ParseError
from libp2p.host.basic_host import BasicHost
from libp2p.host.ping import ID as PING_PROTOCOL
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY_PROTOCOL
from libp2p.identity.identify.identify import identify_handler_for
from libp2p.io.exceptions import IOException
from libp2p.io.utils import read_exactly
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamError
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError, MultiselectError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.exceptions import SecurityUpgradeFailure
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils import decode_uvarint_from_stream
from multiaddr import Multiaddr

from p2p.errors import PeerFault
from p2p.libp2p_tcp import TcpConnection, TcpTransport
from p2p.libp2p_yamux import YamuxConnection
from p2p.parameters import NetworkLimits

logger = logging.getLogger(__name__)

ED25519_ID_PREFIX = bytes.fromhex("002408011220")
"""Of a peer id that holds its Ed25519 key itself: identity multihash of 36 bytes, key type 1, key of 32 bytes."""

LINE_BYTES_MAX = 1_024

Gate = Callable[[TcpConnection, bytes], str | None]
"""Given a connection and the key it has proved, says why it is closed, or None to let it in."""


def key_in(peer: ID) -> bytes:
    """Return the Ed25519 public key inside a peer id.  Raises ValueError for ids of other kinds of key."""
    raw = peer.to_bytes()
    if len(raw) != len(ED25519_ID_PREFIX) + 32 or not raw.startswith(ED25519_ID_PREFIX):
        raise ValueError(f"expected the peer id of an Ed25519 key, got {raw.hex()}")
    return raw[len(ED25519_ID_PREFIX) :]


class GatedUpgrader(TransportUpgrader):
    """Secures with noise, asks the gate, multiplexes with our yamux."""

    def __init__(
        self,
        key_pair: KeyPair,
        limits: NetworkLimits,
        gate: Gate,
        on_fault: Callable[[bytes, PeerFault], None],
    ) -> None:
        noise = NoiseTransport(key_pair, noise_privkey=create_noise_key_pair().private_key)
        # Stated, not defaulted: libp2p's defaults accept plaintext, in which a peer may claim any key.
        super().__init__({NOISE_PROTOCOL: noise}, {TProtocol(YAMUX_PROTOCOL): Yamux}, int(limits.upgrade_timeout_s))
        self._limits = limits
        self._gate = gate
        self._on_fault = on_fault
        self._tcp_of: WeakKeyDictionary[ISecureConn, TcpConnection] = WeakKeyDictionary()

    async def upgrade_security(
        self, raw_conn: IRawConnection, is_initiator: bool, peer_id: ID | None = None
    ) -> ISecureConn:
        tcp = tcp_of(raw_conn)
        try:
            secured = await super().upgrade_security(raw_conn, is_initiator, peer_id)
        except SecurityUpgradeFailure:
            raise
        except Exception as error:  # noise, protobuf and multistream raise many kinds for bytes that are not theirs
            raise SecurityUpgradeFailure(f"handshake failed: {error!r}") from error
        try:
            public_key = key_in(secured.get_remote_peer())
        except ValueError as error:
            raise SecurityUpgradeFailure(str(error)) from error
        refusal = self._gate(tcp, public_key)
        if refusal is not None:
            tcp.abort(refusal)
            raise SecurityUpgradeFailure(refusal)
        tcp.public_key = public_key
        self._tcp_of[secured] = tcp
        return secured

    async def upgrade_connection(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        await self.muxer_multistream.select_transport(conn)
        public_key = key_in(peer_id)
        return YamuxConnection(
            conn,
            peer_id,
            tcp=self._tcp_of[conn],
            limits=self._limits,
            on_fault=lambda fault: self._on_fault(public_key, fault),
        )


class GuardedSwarm(Swarm):
    """The swarm, with connections that end when they end."""

    async def upgrade_inbound_raw_conn(self, raw_conn: IRawConnection, maddr: Multiaddr) -> IMuxedConn:
        """Run the connection to its end.  The caller keeps the slot, and on a return waits for ever: so raise."""
        muxed = await super().upgrade_inbound_raw_conn(raw_conn, maddr)
        if isinstance(muxed, YamuxConnection):
            await muxed.event_closed.wait()
        raise SwarmException("connection finished")

    async def add_conn(self, muxed_conn: IMuxedConn, direction: str = "unknown") -> SwarmConn:
        added = await super().add_conn(muxed_conn, direction)
        if added.is_closed or muxed_conn.is_closed:
            self.remove_conn(added)  # it ended between its start and its entry in the table
            raise SwarmException("connection closed while it was registered")
        return added

    async def notify_disconnected(self, conn: INetConn) -> None:
        """Nobody listens; the auto-connector, which is off, would keep a record of every peer ever seen."""

    async def _notify(self, method: str, *args: Any) -> None:
        """Nobody listens: no tags, no automatic identify, no task for each stream and listener."""


class GuardedHost(BasicHost):
    """The host: negotiates a protocol on each stream and guards its handler."""

    def __init__(
        self, network: GuardedSwarm, limits: NetworkLimits, on_fault: Callable[[bytes, PeerFault], None]
    ) -> None:
        super().__init__(
            network,
            # Identify and ping are answered for other implementations; identify-push, which writes to us, is not.
            default_protocols=OrderedDict(
                {
                    IDENTIFY_PROTOCOL: identify_handler_for(self, use_varint_format=True),
                    PING_PROTOCOL: PingService(self).handle_ping,
                }
            ),
            disable_identify_address_discovery=True,
        )
        self._limits = limits
        self._on_fault = on_fault

    async def _swarm_stream_handler(self, net_stream: INetStream) -> None:
        """Negotiate and serve one inbound stream.  Whatever goes wrong here ends the stream and nothing else."""
        try:
            protocol, handler = await self.multiselect.negotiate(
                BoundedCommunicator(net_stream), int(self._limits.upgrade_timeout_s)
            )
            if protocol is None or handler is None:
                await net_stream.reset()
                return
            net_stream.set_protocol(protocol)
            await handler(net_stream)
        except (MultiselectError, UnicodeDecodeError) as error:
            self._report(net_stream, PeerFault("multistream_garbage", 5, f"no protocol was negotiated: {error!r}"))
            await net_stream.reset()
        except Exception as error:
            logger.info("stream %s from %s ended: %r", net_stream.get_protocol(), net_stream.muxed_conn.peer_id, error)
            await net_stream.reset()

    def _report(self, net_stream: INetStream, fault: PeerFault) -> None:
        muxed = net_stream.muxed_conn
        if isinstance(muxed, YamuxConnection) and not muxed.is_closed:
            self._on_fault(key_in(muxed.peer_id), fault)

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        """Not sent: it costs most of a connection's set-up, and our peers are known by key."""


class BoundedCommunicator(MultiselectCommunicator):
    """multistream lines of at most a kilobyte; the library takes any length that is announced."""

    async def read(self) -> str:
        try:
            length = await decode_uvarint_from_stream(self.read_writer)
            if not 0 < length <= LINE_BYTES_MAX:
                raise MultiselectCommunicatorError(f"expected a line of 1..{LINE_BYTES_MAX} bytes, got {length}")
            line = await read_exactly(self.read_writer, length)
        except (ParseError, IOException, StreamError) as error:
            raise MultiselectCommunicatorError(f"cannot read a line: {error!r}") from error
        if line[-1:] != b"\n":
            raise MultiselectCommunicatorError("expected a line that ends with a line feed")
        return line[:-1].decode()


def make_host(
    key_pair: KeyPair,
    transport: TcpTransport,
    limits: NetworkLimits,
    gate: Gate,
    on_fault: Callable[[bytes, PeerFault], None],
) -> tuple[GuardedHost, GuardedSwarm]:
    """Return a host that is not running yet, and its swarm."""
    connections_max = 2 * (limits.inbound_connections_max + limits.strangers_max)  # our own table is the tighter bound
    peer_id = ID.from_pubkey(key_pair.public_key)
    peerstore = PeerStore()
    peerstore.add_key_pair(peer_id, key_pair)
    swarm = GuardedSwarm(
        peer_id,
        peerstore,
        GatedUpgrader(key_pair, limits, gate, on_fault),
        transports=[transport],
        retry_config=RetryConfig(max_retries=0),
        connection_config=ConnectionConfig(
            min_connections=0,
            low_watermark=0,
            high_watermark=connections_max,
            max_connections=connections_max,
            max_connections_per_peer=connections_max,  # links.py decides which of two connections stays
            inbound_upgrade_timeout=limits.upgrade_timeout_s,
            outbound_upgrade_timeout=limits.upgrade_timeout_s,
            inbound_stream_protocol_negotiation_timeout=limits.upgrade_timeout_s,
            outbound_stream_protocol_negotiation_timeout=limits.upgrade_timeout_s,
        ),
    )
    return GuardedHost(swarm, limits, on_fault), swarm


def tcp_of(raw_conn: IRawConnection) -> TcpConnection:
    """Return our connection under libp2p's wrapper."""
    assert isinstance(raw_conn, RawConnection), "only our own transport is registered"
    assert isinstance(raw_conn.stream, TcpConnection), "only our own transport is registered"
    return raw_conn.stream
