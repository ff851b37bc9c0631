"""Headers first: fetched far ahead of what they cover, each proven by certificates, and kept until that has come.

So it is known how much there is to come, and who certifies it, before a block is fetched.
"""

import trio

from ledger.block import compute_header_hash, decode_header
from ledger.chain import Chain
from ledger.primitives.records import decode_record, encode_record
from ledger.service import Validators
from ledger.staging import Staging
from node.block_fetch import SourceFault
from node.checkpoint import Checkpoint
from node.snapshot_fetch import (
    HEADERS_MAX,
    HEADERS_REQUEST,
    HeaderRange,
    Place,
    Proven,
    open_headers,
)
from node.sources import Sources


class HeaderSync:
    """Fetches and stages headers."""

    def __init__(self, chain: Chain, staging: Staging, sources: Sources, checkpoint: Checkpoint | None = None) -> None:
        """checkpoint: headers with another block at its height are refused."""
        self._checkpoint = checkpoint
        self._chain = chain
        self._staging = staging
        self._sources = sources

    async def prove(self, target: int) -> int:
        """Stage headers up to a height that somebody claims; return up to which one they are proven."""
        self._sources.begin()
        return await self.fetch(target)

    def forget(self) -> None:
        """Drop what is staged.  Blocks on the disk."""
        self._staging.discard()

    async def fetch(self, target: int) -> int:
        """Stage headers up to a height, or as far as anybody can prove; return how far that is."""
        place: Place | None = await trio.to_thread.run_sync(self._find_place)
        for peer in self._sources.askable():
            while place is not None and place.height < target:
                place = await self._fetch_from(peer, place, target)
            if place is None:
                place = await trio.to_thread.run_sync(self._find_place)
        assert place is not None
        return place.height

    async def _fetch_from(self, peer: bytes, place: Place, target: int) -> Place | None:
        """Stage what one answer proves; return where that ends, or None when the next peer should be asked."""
        last = min(target, place.height + HEADERS_MAX)
        answer = await self._sources.ask(peer, HEADERS_REQUEST, encode_record(HeaderRange(place.height + 1, last)))
        if answer is None:
            return None
        try:
            proven, after = await trio.to_thread.run_sync(self._open, answer, place)
        except SourceFault as fault:
            self._sources.refuse(peer, fault)
            return None
        if not proven.headers:
            return None
        await trio.to_thread.run_sync(self._stage, place.height + 1, proven)
        # A drip holds up as silence does: then let the others go on.
        return after if after.height == last or proven.is_cut else None

    def _open(self, answer: bytes, place: Place) -> tuple[Proven, Place]:
        proven, after = open_headers(self._chain.chain_id, answer, place)
        pinned = self._checkpoint
        if pinned is not None and place.height < pinned.height <= after.height:
            pinned.verify(pinned.height, compute_header_hash(proven.headers[pinned.height - place.height - 1]))
        return proven, after

    def _find_place(self) -> Place:
        """Return where the headers that are here end, staged ones included."""
        head = self._chain.head
        staged = self._staging.highest_header(head.height)
        if staged is None:
            return Place(head.height, head.hash, head.header.validators_hash, self._chain.validators)
        height, data = staged
        validators = self._chain.validators
        following = self._staging.read_validators()
        if following is not None:
            found = decode_record(Validators, following)
            validators = found if found.since > validators.since else validators
        return Place(height, compute_header_hash(data), decode_header(data).validators_hash, validators)

    def _stage(self, first: int, proven: Proven) -> None:
        validators = None if proven.validators is None else encode_record(proven.validators)
        self._staging.put_headers(first, proven.headers, proven.certificates, validators)
