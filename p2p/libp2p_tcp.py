"""Our TCP transport for libp2p: the library's own lets others share the port, and idle connections hold the door.

What differs from libp2p.transport.tcp, and why:
* the listening socket is bound without SO_REUSEPORT, so a second process on our port is an error, not a silent twin;
* connections are counted when accepted: all together, by address, by range of addresses, and those that have not yet
  authenticated.  When too many have not, the oldest of the busiest address of the busiest range is closed: idle
  connections give way, honest ones need milliseconds;
* a connection reads ahead into a buffer and gives exactly the bytes asked for, so a noise record that arrives in many
  small pieces (the library gives up after 101) is whole, and end of stream is an error at once;
* a connection can be closed from anywhere without waiting for a writer that is stuck in it (`abort`).
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import trio
from libp2p.abc import IListener, IRawConnection, ITransport
from libp2p.custom_types import THandler
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from p2p.address_ranges import host_of, is_loopback, range_of
from p2p.errors import PortInUse
from p2p.parameters import NetworkLimits
from p2p.token_bucket import TokenBucket

logger = logging.getLogger(__name__)

READ_BYTES = 128 * 1024
RECORD_BYTES_MAX = 65_535
"""Nothing under the muxer asks for more at once: a noise record, or a line of multistream."""
ACCEPT_RETRY_S = 0.1

OpenTcp = Callable[[str, int], Awaitable[trio.SocketStream]]


class TcpConnection(ReadWriteCloser):
    """One TCP connection, inbound or outbound, and what is known about it."""

    def __init__(self, stream: trio.SocketStream, table: "ConnectionTable", *, inbound: bool) -> None:
        self._stream = stream
        self._table = table
        self._buffer = b""
        self._at = 0
        self._remote = _remote_address(stream)
        self.host = host_of(self._remote[0]) if self._remote else ""
        self.range = range_of(self._remote[0]) if self._remote else ""
        self.inbound = inbound
        self.opened_at = trio.current_time()
        self.public_key: bytes | None = None
        """The peer's key, once the security handshake has proved it."""
        self.has_link = False
        self.is_closed = False
        self.why_closed = ""

    async def read(self, n: int | None = None) -> bytes:
        """Return exactly `n` bytes, or with None what is there.  Raises ConnectionClosedError at the end."""
        if n is not None and n > RECORD_BYTES_MAX:
            raise ConnectionClosedError(f"expected reads of at most {RECORD_BYTES_MAX} bytes, got {n}", transport="tcp")
        available = len(self._buffer) - self._at
        if n is None:
            wanted = available or 1
        else:
            wanted = n
        if available < wanted:
            parts = [self._buffer[self._at :]]
            while available < wanted:
                part = await self._receive()
                parts.append(part)
                available += len(part)
            self._buffer, self._at = b"".join(parts), 0
        if n is None:
            wanted = available
        data = self._buffer[self._at : self._at + wanted]
        self._at += wanted
        if self._at == len(self._buffer):
            self._buffer, self._at = b"", 0
        return data

    async def _receive(self) -> bytes:
        try:
            part = bytes(await self._stream.receive_some(READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError) as error:
            raise ConnectionClosedError(f"connection lost: {error}", transport="tcp") from error
        if not part:
            raise ConnectionClosedError("connection closed by the peer", transport="tcp")
        return part

    async def write(self, data: bytes) -> None:
        """Write all of `data`.  Raises ConnectionClosedError.  When cancelled, an unknown part of it is written."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError) as error:
            raise ConnectionClosedError(f"connection lost: {error}", transport="tcp") from error

    def abort(self, why: str) -> None:
        """Close the socket now; whoever reads or writes is woken with an error."""
        if not self.is_closed:
            self.is_closed = True
            self.why_closed = why
            self._table.remove(self)
            self._stream.socket.close()

    async def close(self) -> None:
        self.abort("closed")
        await trio.lowlevel.checkpoint()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._remote


class ConnectionTable:
    """All open TCP connections of a node."""

    def __init__(self, limits: NetworkLimits) -> None:
        self._limits = limits
        self._accepts: dict[str, TokenBucket] = {}
        self.connections: set[TcpConnection] = set()

    def admit(self, address: str) -> bool:
        """Tell whether one more inbound connection from `address` fits; a handshake costs us milliseconds.

        Addresses count one by one and by their range; this machine's own have no range, since many nodes of a
        development network share them.
        """
        limits, now, host = self._limits, trio.current_time(), host_of(address)
        counts_range = is_range_counted(address, limits)
        per_host = (limits.accepts_per_second_per_address, limits.accepts_burst_per_address)
        per_range = (limits.accepts_per_second_per_range, limits.accepts_burst_per_range)
        if not self._bucket_of(host, *per_host, now).has_taken(now):
            return False
        if counts_range and not self._bucket_of(range_of(address), *per_range, now).has_taken(now):
            return False
        inbound = [connection for connection in self.connections if connection.inbound]
        if len(inbound) >= limits.inbound_connections_max:
            return False
        if sum(1 for each in inbound if each.host == host) >= limits.inbound_connections_per_address_max:
            return False
        same = sum(1 for each in inbound if each.range == range_of(address))
        return not counts_range or same < limits.inbound_connections_per_range_max

    def _bucket_of(self, address: str, per_second: int, burst: int, now: float) -> TokenBucket:
        bucket = self._accepts.get(address)
        if bucket is None:
            if len(self._accepts) >= self._limits.addresses_counted_max:
                self._accepts = {name: kept for name, kept in self._accepts.items() if not kept.is_full(now)}
            if len(self._accepts) >= self._limits.addresses_counted_max:
                self._accepts.pop(next(iter(self._accepts)))
            bucket = self._accepts[address] = TokenBucket(per_second, burst, now)
        return bucket

    def add(self, connection: TcpConnection) -> None:
        self.connections.add(connection)
        waiting = [c for c in self.connections if c.inbound and c.public_key is None]
        if len(waiting) > self._limits.handshakes_max:
            by_range = Counter(each.range for each in waiting)
            waiting = [each for each in waiting if by_range[each.range] == max(by_range.values())]
            by_address = Counter(each.host for each in waiting)
            busiest = max(by_address.values())
            oldest = min(
                (c for c in waiting if by_address[c.host] == busiest and c is not connection),
                key=lambda c: c.opened_at,
                default=connection,
            )
            oldest.abort("too many handshakes in flight")

    def remove(self, connection: TcpConnection) -> None:
        self.connections.discard(connection)

    def of_peer(self, public_key: bytes) -> list[TcpConnection]:
        return [connection for connection in self.connections if connection.public_key == public_key]

    def abort_all(self, why: str) -> None:
        for connection in list(self.connections):
            connection.abort(why)


class TcpTransport(ITransport):
    """Dials through `open_tcp` (trio's own by default; a SOCKS dialer fits too) and listens on one bound socket."""

    def __init__(self, table: ConnectionTable, nursery: trio.Nursery, open_tcp: OpenTcp) -> None:
        self._table = table
        self._nursery = nursery
        self._open_tcp = open_tcp
        self._bound: trio.socket.SocketType | None = None

    async def bind(self, host: str, port: int) -> tuple[str, int]:
        """Take the listening address, and return it with the port that was given for 0.  Raises PortInUse."""
        family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
        sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
        try:
            # Only this one: with SO_REUSEPORT another process could take half of our connections.
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            await sock.bind((host, port))
            sock.listen(1024)
        except OSError as error:
            sock.close()
            raise PortInUse(f"expected {host} port {port} to be free to listen on: {error.strerror}") from error
        self._bound = sock
        name = sock.getsockname()
        return str(name[0]), int(name[1])

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        host, port = _target(maddr)
        try:
            stream = await self._open_tcp(host, port)
        except OSError as error:
            raise OpenConnectionError(f"cannot reach {host}:{port}: {error}") from error
        connection = TcpConnection(stream, self._table, inbound=False)
        self._table.add(connection)
        return RawConnection(connection, True)

    def create_listener(self, handler_function: THandler) -> IListener:
        assert self._bound is not None, "bind() comes before listening"
        return TcpListener(self._bound, self._table, self._nursery, handler_function)

    def can_dial(self, maddr: Multiaddr) -> bool:
        return "tcp" in {protocol.name for protocol in maddr.protocols()}

    def can_listen(self, maddr: Multiaddr) -> bool:
        return self.can_dial(maddr)

    def protocols(self) -> list[str]:
        return ["tcp"]


class TcpListener(IListener):
    """Accepts from one bound socket and gives each connection to the swarm, in a task of its own."""

    def __init__(
        self, bound: trio.socket.SocketType, table: ConnectionTable, nursery: trio.Nursery, handler: THandler
    ) -> None:
        self._bound = bound
        self._table = table
        self._nursery = nursery
        self._handler = handler

    async def listen(self, maddr: Multiaddr) -> None:
        self._nursery.start_soon(self._accept_forever)
        await trio.lowlevel.checkpoint()

    async def _accept_forever(self) -> None:
        while True:
            try:
                sock, address = await self._bound.accept()
            except trio.ClosedResourceError:
                return
            except OSError as error:  # out of file descriptors, or the peer is gone already
                logger.warning("accepting failed, trying again: %s", error)
                await trio.sleep(ACCEPT_RETRY_S)
                continue
            if not self._table.admit(str(address[0])):
                sock.close()
                continue
            try:
                connection = TcpConnection(trio.SocketStream(sock), self._table, inbound=True)
            except OSError:  # closed by the peer between accept and the options that SocketStream sets
                sock.close()
                continue
            self._table.add(connection)
            self._nursery.start_soon(self._serve, connection)

    async def _serve(self, connection: TcpConnection) -> None:
        try:
            await self._handler(connection)
        except Exception as error:
            logger.info("connection from %s failed: %r", connection.get_remote_address(), error)
        finally:
            connection.abort("served")

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        try:
            name = self._bound.getsockname()
        except OSError:  # closed
            return ()
        return (tcp_multiaddr(str(name[0]), int(name[1])),)

    async def close(self) -> None:
        self._bound.close()
        await trio.lowlevel.checkpoint()


def tcp_multiaddr(host: str, port: int) -> Multiaddr:
    """Return the multiaddress of an IPv4 or IPv6 address, or of a name."""
    if ":" in host:
        return Multiaddr(f"/ip6/{host}/tcp/{port}")
    if host.replace(".", "").isdigit():
        return Multiaddr(f"/ip4/{host}/tcp/{port}")
    return Multiaddr(f"/dns4/{host}/tcp/{port}")


def _target(maddr: Multiaddr) -> tuple[str, int]:
    parts = str(maddr).split("/")
    if len(parts) < 5 or parts[1] not in ("ip4", "ip6", "dns4") or parts[3] != "tcp":
        raise OpenConnectionError(f"expected /ip4, /ip6 or /dns4 with /tcp, got {maddr}")
    return parts[2], int(parts[4])


def is_range_counted(host: str, limits: NetworkLimits) -> bool:
    """Tell whether limits of ranges hold for an address."""
    return limits.range_limits_on_loopback or not is_loopback(host)


def _remote_address(stream: trio.SocketStream) -> tuple[str, int] | None:
    try:
        name = stream.socket.getpeername()
    except OSError:
        return None
    return str(name[0]), int(name[1])
