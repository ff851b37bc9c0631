"""A node's peers: who is admitted and found, what they are answered, and what is told of them."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio
from client_api.services import PeerStatus

from ledger.chain import Chain
from ledger.nodes import list_nodes
from ledger.primitives.encoding import EncodingError
from ledger.primitives.signing import SigningKey
from node.block_fetch import OpenArchive, SourceFault, answer_range
from node.challenges import CHALLENGE_BYTES_MAX, CHALLENGE_REQUEST, answer_challenge
from node.clock import now_ms
from node.config import VALIDATOR, Config, PeerEntry, parse_advertised, parse_peers, parse_upgrades
from node.peer_answers import Answer, list_answers
from node.upgrades import make_versions
from p2p.address_book import AddressBook
from p2p.discovery import Discovery
from p2p.errors import PeerFault
from p2p.handshake import Role
from p2p.host import PeerAddress
from p2p.network import Network, PeerEvent, PeerReport
from p2p.parameters import NetworkLimits

logger = logging.getLogger(__name__)

BLOCKS_PROTOCOL = "/atlas/blocks/1"
"""Blocks for whoever asks, one range on a stream; docs/networking.md specifies it."""
BOOK_FILE = "peers.book"
REGISTRY_S = 30.0
DIAL_RETRY_S_MAX = 1.0
"""A restarted validator is back in consensus as soon as its peers dial it again."""


def read_registered(chain: Chain) -> frozenset[bytes]:
    """Return the keys of the nodes that are registered, and neither retired nor revoked.  Reads the disk."""
    with chain.store.snapshot() as snapshot:
        return frozenset(node.key for node in list_nodes(snapshot) if not node.revoked)


def _to_addresses(entries: tuple[PeerEntry, ...]) -> tuple[PeerAddress, ...]:
    return tuple(PeerAddress(each.public_key, each.host, each.port) for each in entries)


class Peering:
    """The network as this node uses it.  `run` is its service."""

    def __init__(
        self,
        config: Config,
        config_path: Path,
        seed: bytes,
        chain: Chain,
        on_peer: Callable[[PeerEvent], None],
        is_sound: Callable[[], bool],
        open_archive: OpenArchive = lambda: None,
    ) -> None:
        """is_sound: whether the state may be read; a damaged one is not.  open_archive: of what is pruned here."""
        self._config = config
        self._chain = chain
        self._is_sound = is_sound
        self._key = SigningKey(seed)
        self._reports: tuple[PeerReport, ...] = ()
        self.addresses_known = self.addresses_verified = 0
        self._registered: frozenset[bytes] = frozenset()
        self._versions = make_versions(chain.chain_id, parse_upgrades(config_path, config.p2p.upgrades))
        self._was_obsolete = False
        limits = NetworkLimits(retry_s_max=DIAL_RETRY_S_MAX)
        self.network = Network(
            seed,
            chain.chain_id,
            self._find_role(),
            config.p2p.port,
            config.p2p.host,
            _to_addresses(parse_peers(config_path, config.p2p.peers)),
            self._admits,
            limits,
            height=lambda: self._chain.head.height,
            on_peer=on_peer,
            versions=self._versions,
            advertised=parse_advertised(config_path, config.p2p.advertise),
        )
        book = AddressBook(
            self._key.public,
            limits,
            lambda: now_ms() // 1_000,
            is_registered=lambda key: key in self._registered,
            bootstrap=_to_addresses(parse_peers(config_path, config.p2p.bootstrap, "bootstrap")),
        )
        self.discovery = Discovery(self.network, limits, book, config.data_folder / BOOK_FILE, config.p2p.outbound)
        for kind, answer in list_answers(open_archive):
            self.network.handle_requests(kind, partial(self._answer, answer))
        self.network.handle_requests(CHALLENGE_REQUEST, self._answer_challenge)
        self.network.answer_questions(
            BLOCKS_PROTOCOL, partial(self._answer, partial(answer_range, open_archive=open_archive))
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, dial and serve until cancelled; ready when the port is open.  Raises PortInUse."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.network.run)
            await nursery.start(self.discovery.run)
            nursery.start_soon(self._read_registry_forever)
            task_status.started()

    async def _read_registry_forever(self) -> None:
        """Know whose keys the ledger's node registry holds: a bond stands behind each, so they come first."""
        while True:
            if self._is_sound():
                self._registered = await trio.to_thread.run_sync(read_registered, self._chain)
            await trio.sleep(REGISTRY_S)

    def follow_chain(self) -> None:
        """The head has changed: be to peers what it makes of us."""
        self.network.role = self._find_role()
        self.network.end_obsolete()
        height = self._chain.head.height
        if self._versions.is_obsolete_at(height) and not self._was_obsolete:
            self._was_obsolete = True
            logger.error(
                "from height %d on peers speak version %d or newer, this software up to %d: upgrade it",
                height, self._versions.lowest_at(height), self._versions.high,
            )  # fmt: skip

    def _find_role(self) -> Role:
        """Return what this node is to its peers, as far as it knows."""
        is_validator = self._config.node.role == VALIDATOR and self._key.public in self._chain.validators.keys
        return Role.VALIDATOR if is_validator else Role.OBSERVER

    def _admits(self, public_key: bytes, role: Role) -> bool:
        return role is not Role.VALIDATOR or public_key in self._chain.validators.keys

    # What peers are asked, and what they are answered.

    def list_sources(self) -> list[bytes]:
        """Return the connected peers, the highest first."""
        reports = self.network.peer_report()
        return [report.public_key for report in sorted(reports, key=lambda report: (-report.height, report.public_key))]

    def blame(self, peer: bytes, fault: SourceFault) -> None:
        """Count a source's fault."""
        self.network.penalize(peer, PeerFault("bad_blocks", 20, str(fault)))

    async def challenge(self, peer: bytes, body: bytes, timeout_s: float) -> bytes:
        """Ask a peer to prove that it keeps what it should.  Raises PeerUnreachable and PeerFault."""
        return await self.network.request(peer, CHALLENGE_REQUEST, body, timeout_s, CHALLENGE_BYTES_MAX)

    async def _answer(self, answer: Answer, peer: bytes, body: bytes) -> bytes:
        try:
            return await trio.to_thread.run_sync(answer, self._chain, body)
        except EncodingError as error:
            raise PeerFault("request_malformed", 5, str(error)) from error

    async def _answer_challenge(self, peer: bytes, body: bytes) -> bytes:
        return await trio.to_thread.run_sync(answer_challenge, self._chain, self._key, body)

    # What is told of them.

    @property
    def protocol_min(self) -> int:
        """The lowest version that this node still speaks at its height."""
        return self._versions.lowest_at(self._chain.head.height)

    @property
    def protocol_max(self) -> int:
        """The highest version that this node speaks."""
        return self._versions.high

    def look(self) -> int | None:
        """Take a report of all peers for `status`; return the highest height that one of them told, or None."""
        self._reports = self.network.peer_report()
        self.addresses_known, self.addresses_verified = len(self.discovery.book), self.discovery.book.verified
        return max((report.height for report in self._reports), default=None)

    def status(self) -> tuple[PeerStatus, ...]:
        """Return the peers as they were at the last look; callable from any thread."""
        return tuple(
            PeerStatus(
                public_key=report.public_key,
                address=report.address,
                role=report.role.value,
                height=report.height,
                rtt_ms=None if report.rtt_s is None else report.rtt_s * 1000,
                queued_bytes=report.queued_bytes,
                score=report.score,
                protocol_version=report.version,
            )
            for report in self._reports
        )
