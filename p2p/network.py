"""The network as the node sees it: peers by public key, frames to and from them, requests, and who is connected.

`Network.run` is the service; the other methods may be called from any task of the same trio loop while it runs.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import trio

from ledger.primitives.records import U64_MAX
from p2p.dialer import is_first_to_dial, is_old_link_kept, keep_dialed
from p2p.errors import PeerFault, PeerUnreachable
from p2p.handshake import HELLO_BYTES_MAX, Hello, Role, decode_hello, encode_hello, verify_hello
from p2p.host import Host, LinkStream, PeerAddress, peer_id_of
from p2p.libp2p_tcp import OpenTcp
from p2p.links import DELIVERED, Inbound, Link
from p2p.open_service import OpenService
from p2p.parameters import NetworkLimits
from p2p.peers import PeerTable
from p2p.requests import Handler
from p2p.versions import VERSION_MIN, Versions
from p2p.wire import FrameKind, FrameReader, encode_frames

logger = logging.getLogger(__name__)

Admit = Callable[[bytes, Role], bool]


@dataclass(frozen=True, slots=True)
class PeerEvent:
    """A link to a peer came up or went down.  A peer that reconnects goes down first, however it came back."""

    public_key: bytes
    up: bool
    role: Role
    height: int
    version: int = VERSION_MIN
    dialed: bool = False
    host: str = ""  # where its connection comes from, or leads to
    listening: PeerAddress | None = None  # where it says that others can dial it; a claim


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What is known of one connected peer, for people and metrics."""

    public_key: bytes
    peer_id: str
    address: str
    role: Role
    dialed: bool
    version: int
    height: int
    score: float
    connected_s: float
    rtt_s: float | None
    queued_frames: int
    queued_bytes: int
    dropped_frames: int
    sent_frames: int
    sent_bytes: int
    received_frames: int
    received_bytes: int
    throttled_s: float


class Network:
    """A node's links to its peers."""

    def __init__(
        self,
        seed: bytes,
        chain_id: bytes,
        role: Role,
        listen_port: int,
        listen_host: str = "127.0.0.1",
        peers: tuple[PeerAddress, ...] = (),
        admit: Admit = lambda public_key, role: True,
        limits: NetworkLimits | None = None,
        *,
        height: Callable[[], int] = lambda: 0,
        on_peer: Callable[[PeerEvent], None] = lambda event: None,
        open_tcp: OpenTcp = trio.open_tcp_stream,
        versions: Versions | None = None,
        advertised: tuple[str, int] | None = None,
    ) -> None:
        """seed: the node's 32 secret bytes.  listen_port: 0 for any free one.  peers: those to stay connected to.

        admit: whether a key may be here in a role; asked for every role right after the security handshake (a key that
        is admitted in none is closed), and for the claimed one at HELLO.  height: our best, told to peers.
        on_peer: called, without waiting, when links come and go.  open_tcp: how to connect, for a SOCKS dialer.
        versions: what we speak, and from which height on what may not be spoken any more.
        advertised: host and port where others can dial us, if not where we listen.
        """
        self._limits = limits or NetworkLimits()
        self._versions = versions or Versions()
        self._chain_id = chain_id
        self.role = role
        """What we say that we are, to whoever connects from now on."""
        self._listen_host = listen_host
        self._advertised = advertised
        self._watchers: list[Callable[[PeerEvent], None]] = [on_peer]
        self._wanted_port = listen_port
        self._admit = admit
        self._height = height
        self._services: dict[str, Callable[[LinkStream], Awaitable[None]]] = {}
        self._host = Host(
            seed,
            self._limits,
            refuse=self._why_refused,
            is_known=self._is_configured,
            serve=self._serve_inbound,
            services=self._services,
            on_fault=self.penalize,
            open_tcp=open_tcp,
        )
        self.public_key = self._host.public_key
        self._peers = {peer.public_key: peer for peer in peers if peer.public_key != self.public_key}
        self._table = PeerTable(self._limits, trio.current_time)
        self._links: dict[bytes, Link] = {}
        self._links_changed = trio.Event()
        self._handlers: dict[str, Handler] = {}
        self._serving = trio.CapacityLimiter(self._limits.requests_served_total_max)
        self._nursery: trio.Nursery | None = None
        self._deliver, self.inbound = trio.open_memory_channel[Inbound](self._limits.inbound_frames_waiting)

    # -- what the node calls -----------------------------------------------------------------------------------------

    @property
    def listen_port(self) -> int:
        """The port that we listen on, once `run` is ready."""
        return self._host.listen_port

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, dial and serve until cancelled; ready when the port is open.  Raises PortInUse."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await nursery.start(self._host.run, self._listen_host, self._wanted_port)
                for address in self._peers.values():
                    await nursery.start(self._keep_dialed, address)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None
                for link in list(self._links.values()):
                    link.close("our node stops")

    def send(self, public_key: bytes, kind: FrameKind, body: bytes) -> bool:
        """Queue a frame for a peer.  False when it was dropped: the peer is not connected, or its queue is full."""
        link = self._links.get(public_key)
        return link is not None and link.send_frame(self._frame(kind, body))

    def broadcast(self, kind: FrameKind, body: bytes, to: Iterable[bytes] | None = None) -> int:
        """Queue a frame for all connected peers, or for those in `to`.  Returns for how many it was queued."""
        frame = self._frame(kind, body)
        keys = self._links if to is None else to
        links = [link for key in keys if (link := self._links.get(key)) is not None]
        return sum(1 for link in links if link.send_frame(frame))

    async def request(
        self,
        public_key: bytes,
        kind: str,
        body: bytes,
        timeout_s: float | None = None,
        response_bytes_max: int | None = None,
    ) -> bytes:
        """Return the answer of a peer.  Raises PeerUnreachable (RequestRefused if it says why) and PeerFault."""
        link = self._links.get(public_key)
        if link is None:
            raise PeerUnreachable(f"not connected to {peer_id_of(public_key)}")
        return await link.request(
            kind,
            body,
            self._limits.request_timeout_s if timeout_s is None else timeout_s,
            self._limits.response_bytes_max if response_bytes_max is None else response_bytes_max,
        )

    def handle_requests(self, kind: str, handler: Handler) -> None:
        """Answer requests of a kind with `handler`: (public key of the peer, body) to the response's body."""
        assert kind not in self._handlers, f"requests of kind {kind} have a handler"
        self._handlers[kind] = handler

    def answer_questions(self, protocol: str, answer: Handler) -> None:
        """Answer programs that are no nodes, one question on a stream of `protocol`; call it before `run`.

        answer: (public key of the peer, question) to the answer's body.  See p2p/open_service.py.
        """
        assert protocol not in self._services, f"{protocol} has a service"
        self._services[protocol] = OpenService(answer, self._limits, self.penalize).serve

    def connected(self) -> tuple[bytes, ...]:
        """Return the keys of the peers with a link, in order."""
        return tuple(sorted(self._links))

    async def wait_connected(self, public_key: bytes) -> None:
        """Wait until there is a link to the peer."""
        while public_key not in self._links:
            await self._links_changed.wait()

    async def wait_disconnected(self, public_key: bytes) -> None:
        """Wait until there is no link to the peer."""
        while public_key in self._links:
            await self._links_changed.wait()

    def penalize(self, public_key: bytes, fault: PeerFault) -> None:
        """Count a peer's fault, and end its connections when it is banned for it."""
        banned = self._table.penalize(public_key, fault)
        logger.warning("%s: %s (score %.0f)", peer_id_of(public_key), fault, self._table.score(public_key))
        if banned:
            logger.warning("%s: banned for %.0f s", peer_id_of(public_key), self._limits.ban_s)
            self.disconnect(public_key, f"banned: {fault.code}")

    def disconnect(self, public_key: bytes, why: str) -> None:
        """End every connection with a peer; a configured one is dialed again."""
        link = self._links.get(public_key)
        if link is not None:
            link.close(why)
        for connection in self._host.table.of_peer(public_key):
            connection.abort(why)

    def end_obsolete(self) -> None:
        """End the links whose version may not be spoken any more at our height; call it when the height has grown."""
        lowest = self._versions.lowest_at(self._own_height())
        for link in [each for each in self._links.values() if each.version < lowest]:
            link.close(f"from this height on peers speak version {lowest} or newer, this one {link.version}")

    def is_banned(self, public_key: bytes) -> bool:
        return self._table.is_banned(public_key)

    def peer_report(self) -> tuple[PeerReport, ...]:
        """Return what is known of each connected peer, ordered by key."""
        now = trio.current_time()
        return tuple(self._report(self._links[key], now) for key in sorted(self._links))

    def watch(self, watcher: Callable[[PeerEvent], None]) -> None:
        """Have `watcher` called, too, when links come and go."""
        self._watchers.append(watcher)

    async def connect(self, address: PeerAddress) -> None:
        """Dial a peer once, and serve the link, if one is agreed on, until it ends.

        Raises PeerUnreachable when the holder of the key was not met.
        """
        await self._serve(await self._dial(address))

    async def probe(self, address: PeerAddress) -> None:
        """Find out whether the key's holder listens at an address; opens no link.  Raises PeerUnreachable."""
        stream = await self._dial(address)
        stream.abort("it was there")

    async def _dial(self, address: PeerAddress) -> LinkStream:
        if self._table.is_banned(address.public_key):
            raise PeerUnreachable("the peer is banned here")
        return await self._host.dial(address)

    # -- serving links -------------------------------------------------------------------------------------------------

    async def _keep_dialed(
        self, address: PeerAddress, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async def wait_turn() -> None:
            while True:
                await self.wait_disconnected(address.public_key)
                if is_first_to_dial(self.role, self.public_key, address.public_key):
                    return
                with trio.move_on_after(self._limits.dial_anyway_s) as scope:
                    await self.wait_connected(address.public_key)
                if scope.cancelled_caught:
                    return

        await keep_dialed(
            address,
            wait_turn=wait_turn,
            dial=self._dial,
            serve=self._serve,
            limits=self._limits,
            task_status=task_status,
        )

    async def _serve_inbound(self, stream: LinkStream) -> None:
        """Serve a link that a peer opened, in our own nursery: an error of ours stops the node, not a stream."""
        if self._nursery is None:
            return
        served = trio.Event()

        async def serve() -> None:
            try:
                await self._serve(stream)
            finally:
                served.set()

        self._nursery.start_soon(serve)
        await served.wait()

    async def _serve(self, stream: LinkStream) -> None:
        """Exchange HELLO and run the link until it ends.  Raises nothing that the peer can cause."""
        try:
            link = await self._open_link(stream)
        except PeerFault as fault:
            stream.abort(str(fault))
            self.penalize(stream.public_key, fault)
            return
        except PeerUnreachable as error:
            stream.abort(str(error))
            return
        if not self._install(link):
            return
        try:
            await link.run()
        finally:
            self._remove(link)

    async def _open_link(self, stream: LinkStream) -> Link:
        height = self._own_height()
        own = Hello(
            version_min=min(self._versions.lowest_at(height), self._versions.high),
            version_max=self._versions.high,
            chain_id=self._chain_id,
            public_key=self.public_key,
            role=self.role.value,
            listen_host=self._listen_host if self._advertised is None else self._advertised[0],
            listen_port=self._host.listen_port if self._advertised is None else self._advertised[1],
            height=height,
        )
        reader = FrameReader(HELLO_BYTES_MAX)
        first: bytes | None = None
        with trio.move_on_after(self._limits.hello_timeout_s):
            await stream.write(encode_frames([encode_hello(own)]))
            while first is None:
                data = await stream.read()
                if not data:
                    reader.finish()
                    raise PeerUnreachable("the peer closed the link before its HELLO")
                first = reader.feed_for_one(data)
        if first is None:
            raise PeerFault("hello_late", 2, f"expected HELLO within {self._limits.hello_timeout_s} s")
        hello = decode_hello(first)
        agreed = verify_hello(
            hello,
            chain_id=self._chain_id,
            channel_key=stream.public_key,
            admit=self._admit,
            versions=self._versions,
            height=height,
        )
        reader.frame_bytes_max = self._limits.frame_bytes_max
        return Link(
            stream,
            hello,
            agreed,
            self._limits,
            reader=reader,
            deliver=self._deliver,
            handlers=self._handlers,
            serving=self._serving,
            own_height=self._own_height,
            on_fault=self.penalize,
        )

    def _install(self, link: Link) -> bool:
        """Make `link` the one to its peer, or close it when an older one is to stay."""
        old = self._links.get(link.public_key)
        if old is not None:
            silent_s = trio.current_time() - old.heard_at
            if is_old_link_kept(
                self.public_key,
                link.public_key,
                old_dialed=old.dialed,
                new_dialed=link.dialed,
                old_silent=silent_s > 2 * self._limits.heartbeat_interval_s,
            ):
                link.close("another link to this peer is in use")
                return False
            old.close("replaced by a newer link")
            self._remove(old)
        self._links[link.public_key] = link
        self._tell(link, up=True)
        return True

    def _remove(self, link: Link) -> None:
        if self._links.get(link.public_key) is link:
            del self._links[link.public_key]
            logger.info("%s: link ended: %s", peer_id_of(link.public_key), link.why_ended)
            self._tell(link, up=False)

    def _tell(self, link: Link, *, up: bool) -> None:
        self._links_changed.set()
        self._links_changed = trio.Event()
        event = PeerEvent(
            public_key=link.public_key,
            up=up,
            role=link.role,
            height=link.height,
            version=link.version,
            dialed=link.dialed,
            host=link.remote_host,
            listening=link.listening,
        )
        for watcher in self._watchers:
            watcher(event)

    # -- who may connect -----------------------------------------------------------------------------------------------

    def _is_configured(self, public_key: bytes) -> bool:
        return public_key in self._peers

    def _why_refused(self, public_key: bytes) -> str | None:
        if self._table.is_banned(public_key):
            return "banned"
        if not any(self._admit(public_key, role) for role in Role):
            return "not admitted"
        return None

    def _own_height(self) -> int:
        height = self._height()
        assert 0 <= height <= U64_MAX, "heights count up from 0"
        return height

    def _frame(self, kind: FrameKind, body: bytes) -> bytes:
        if kind not in DELIVERED or len(body) >= self._limits.frame_bytes_max:
            bound = self._limits.frame_bytes_max
            raise ValueError(f"expected a kind of the node's and a body below {bound} bytes, got {kind!r}, {len(body)}")
        return bytes((kind,)) + body

    def _report(self, link: Link, now: float) -> PeerReport:
        counters = link.counters
        return PeerReport(
            public_key=link.public_key,
            peer_id=peer_id_of(link.public_key),
            address=link.address,
            role=link.role,
            dialed=link.dialed,
            version=link.version,
            height=link.height,
            score=self._table.score(link.public_key),
            connected_s=now - link.since,
            rtt_s=link.rtt_s,
            queued_frames=link.outbox.queued_frames,
            queued_bytes=link.outbox.queued_bytes,
            dropped_frames=link.outbox.dropped_frames,
            sent_frames=counters.sent_frames,
            sent_bytes=counters.sent_bytes,
            received_frames=counters.received_frames,
            received_bytes=counters.received_bytes,
            throttled_s=counters.throttled_s,
        )
