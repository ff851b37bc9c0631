"""The peers that a node fetches from in one attempt: who lied or failed is left out of the rest of it."""

import logging
from collections.abc import Awaitable, Callable

from node.block_fetch import SourceFault
from p2p.errors import PeerFault, PeerUnreachable

logger = logging.getLogger(__name__)

Request = Callable[[bytes, str, bytes], Awaitable[bytes]]
"""(peer, kind, body); raises PeerUnreachable and PeerFault."""


class Sources:
    """Asks peers, and keeps who is not to be asked any more."""

    def __init__(
        self, request: Request, peers: Callable[[], list[bytes]], blame: Callable[[bytes, SourceFault], None]
    ) -> None:
        """peers: who may be asked, best first."""
        self._request = request
        self._peers = peers
        self._blame = blame
        self._left: set[bytes] = set()

    def begin(self) -> None:
        """Begin another attempt: everybody may be asked again."""
        self._left.clear()

    def askable(self) -> list[bytes]:
        return [peer for peer in self._peers() if peer not in self._left]

    async def ask(self, peer: bytes, kind: str, body: bytes) -> bytes | None:
        """Return a peer's answer; None when it failed, which takes it out of this attempt."""
        try:
            return await self._request(peer, kind, body)
        except (PeerUnreachable, PeerFault) as error:
            logger.info("%s from %s failed: %s", kind, peer.hex()[:16], error)
            self.leave(peer)
            return None

    def leave(self, peer: bytes) -> None:
        """Ask this peer for nothing more in this attempt."""
        self._left.add(peer)

    def refuse(self, peer: bytes, fault: SourceFault) -> None:
        """Leave a peer that lied, and report it."""
        logger.warning("%s is left: %s", peer.hex()[:16], fault)
        self.leave(peer)
        self._blame(peer, fault)
