"""Which segments of the archive lie where: what this node has, and what its peers say that they have.

Peers are asked in turn; what they say is compared with our own headers where we have them, and kept for as long as they
are connected.  A segment's root is the same wherever it lies, so copies can be compared without reading them.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import trio

from ledger import keyspace
from ledger.archive.catalogue import SegmentEntry, list_entries
from ledger.block import compute_header_hash
from ledger.chain import Chain
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import U64, Length, decode_record, encode_record
from node.block_fetch import OpenArchive, SourceFault
from p2p.errors import PeerFault, PeerUnreachable

logger = logging.getLogger(__name__)

CATALOGUE_REQUEST = "archive_catalogue"
ENTRIES_MAX = 1_024
"""Segments in one answer."""
ENTRIES_OF_PEER_MAX = 8_192
PEERS_MAX = 64
ASK_EVERY_S = 30.0
LOOK_S = 1.0
"""So soon after it has connected, a peer is asked for the first time."""
CATALOGUE_BYTES_MAX = 512 * 1024


@dataclass(frozen=True, slots=True)
class CatalogueRequest:
    """A request for the segments from this epoch on."""

    first_epoch: U64


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The answer: segments in order of epochs, as many as fit, perhaps none."""

    entries: Annotated[tuple[SegmentEntry, ...], Length(0, ENTRIES_MAX)]


def answer_catalogue(chain: Chain, request: bytes, open_archive: OpenArchive) -> bytes:
    """Return this node's segments that a peer asked for.  Reads the archive: call it in a thread.  EncodingError."""
    wanted = decode_record(CatalogueRequest, request)
    entries = [entry for entry in list_entries(open_archive()) if entry.first_epoch >= wanted.first_epoch]
    return encode_record(Catalogue(tuple(entries[:ENTRIES_MAX])))


def read_catalogue(chain: Chain, answer: bytes, first_epoch: int, above: int) -> tuple[SegmentEntry, ...]:
    """Return the segments of an answer, above height `above`.  Raises SourceFault for what can't be true."""
    try:
        entries = decode_record(Catalogue, answer).entries
    except EncodingError as error:
        raise SourceFault(f"not a catalogue: {error}") from error
    for entry in entries:
        if (
            entry.first_epoch < first_epoch
            or entry.first_height != above + 1
            or entry.last_height < entry.first_height
            or entry.last_epoch < entry.first_epoch
        ):
            raise SourceFault(f"expected a segment that begins at height {above + 1}, got {entry.first_height}")
        header = chain.store.get(keyspace.header(entry.last_height))
        if header is not None and compute_header_hash(header) != entry.header_hash:
            raise SourceFault(f"height {entry.last_height}: the segment is of another chain")
        first_epoch, above = entry.last_epoch, entry.last_height
    return entries


class Catalogues:
    """What peers say that they have.  `request(peer, body)` asks one peer."""

    def __init__(
        self,
        chain: Chain,
        *,
        request: Callable[[bytes, bytes], Awaitable[bytes]],
        peers: Callable[[], list[bytes]],
        blame: Callable[[bytes, SourceFault], None],
    ) -> None:
        self._chain = chain
        self._request = request
        self._peers = peers
        self._blame = blame
        self._known: dict[bytes, tuple[SegmentEntry, ...]] = {}
        self._due: dict[bytes, float] = {}  # when to ask each peer again

    def list_known(self) -> dict[bytes, tuple[SegmentEntry, ...]]:
        """Return the segments of each connected peer that has some; callable from any thread."""
        return dict(self._known)

    async def run(self) -> None:
        """Ask each peer soon after it has come, and then again and again; runs until cancelled."""
        while True:
            await self.ask_due(trio.current_time())
            await trio.sleep(LOOK_S)

    async def ask_due(self, now: float) -> None:
        """Ask every peer whose turn it is for what is new since it was asked last.  now: seconds of a steady clock."""
        here = self._peers()[:PEERS_MAX]
        self._known = {peer: entries for peer, entries in self._known.items() if peer in here}
        self._due = {peer: at for peer, at in self._due.items() if peer in here}
        peers = [peer for peer in here if self._due.get(peer, now) <= now]
        self._due |= dict.fromkeys(peers, now + ASK_EVERY_S)
        for peer in peers:
            try:
                await self._ask(peer)
            except SourceFault as fault:
                logger.warning("the catalogue of %s is refused: %s", peer.hex()[:16], fault)
                self._known.pop(peer, None)
                self._blame(peer, fault)
            except (PeerUnreachable, PeerFault) as error:
                logger.debug("the catalogue of %s did not come: %s", peer.hex()[:16], error)

    async def _ask(self, peer: bytes) -> None:
        known = self._known.get(peer, ())
        while len(known) < ENTRIES_OF_PEER_MAX:
            first_epoch, above = (known[-1].last_epoch + 1, known[-1].last_height) if known else (0, 0)
            answer = await self._request(peer, encode_record(CatalogueRequest(first_epoch)))
            entries = read_catalogue(self._chain, answer, first_epoch, above)
            if not entries:
                break
            known = self._known[peer] = (*known, *entries)
