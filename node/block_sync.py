"""Catching up: certified blocks from peers by range, each executed here and compared before it is written.

A source can be wrong, slow or lying: nothing it says is believed without a certificate of the validators, and a
source that fails is left for the next one.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import trio

from consensus.messages import Certificate
from consensus.parameters import Parameters
from consensus.quorum import verify_certificate
from ledger.block import Header, StoredBlock, compute_event_leaf, compute_header_hash, decode_header
from ledger.chain import Chain, make_batch, read_stored_block
from ledger.events import EventRefused
from ledger.primitives import merkle
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import U64, Length, decode_record, encode_record
from node.event_cache import EventCache
from node.executor import Executor
from node.judgement import Proposal
from p2p.errors import PeerFault, PeerUnreachable

logger = logging.getLogger(__name__)

RANGE_BLOCKS_MAX = 64
RANGE_BYTES_MAX = 3 * 1024 * 1024
FAILURES_REMEMBERED_MAX = 1_024
FRUITLESS_PAUSE_S = 0.2
"""After a round in which nobody had more: whoever claims absurd heights costs a few requests a second, no more."""


@dataclass(frozen=True, slots=True)
class BlockRange:
    """A request for the blocks first..last."""

    first: U64
    last: U64


@dataclass(frozen=True, slots=True)
class Blocks:
    """The answer: blocks in order of height, as many as fit, perhaps none; and the responder's head."""

    blocks: Annotated[tuple[StoredBlock, ...], Length(0, RANGE_BLOCKS_MAX)]
    head: U64


class SourceFault(ValueError):
    """A peer answered with blocks that are not what a quorum signed."""


def answer_range(chain: Chain, request: bytes) -> bytes:
    """Return the blocks that a peer asked for.  Raises EncodingError.  Reads the disk: call it in a thread."""
    wanted = decode_record(BlockRange, request)
    blocks: list[StoredBlock] = []
    size = 0
    with chain.store.snapshot() as snapshot:
        head = chain.head.height
        for height in range(wanted.first, min(wanted.last, wanted.first + RANGE_BLOCKS_MAX - 1, head) + 1):
            block = read_stored_block(snapshot, height)
            if block is None or not block.certificate:
                break
            size += sum(len(item.event) + len(item.payload or b"") + 128 for item in block.items) + 2_048
            if blocks and size > RANGE_BYTES_MAX:
                break
            blocks.append(block)
    return encode_record(Blocks(tuple(blocks), head))


def verify_block(parameters: Parameters, block: StoredBlock, previous: Header, previous_hash: bytes) -> Header:
    """Return the header of a block whose certificate, place and events are right.  Raises SourceFault."""
    try:
        header = decode_header(block.header)
        certificate = decode_record(Certificate, block.certificate)
        header_hash = compute_header_hash(block.header)
        if header.height != previous.height + 1 or header.previous != previous_hash:
            raise SourceFault(f"expected the block above height {previous.height}, got {header.height}")
        if (certificate.seq, certificate.digest) != (header.height, header_hash):
            raise SourceFault(f"height {header.height}: the certificate is for another block")
        verify_certificate(parameters, certificate)
        if merkle.compute_root([compute_event_leaf(item) for item in block.items]) != header.event_root:
            raise SourceFault(f"height {header.height}: the events are not those of the header")
    except (EncodingError, ValueError) as error:
        raise error if isinstance(error, SourceFault) else SourceFault(str(error)) from error
    return header


def verify_payloads(block: StoredBlock, proposal: Proposal) -> None:
    """Raise SourceFault when a payload is not the one whose hash was signed.

    The header does not cover payloads, since they can be erased: a source may lack one, but must not invent one.
    """
    for item, checked in zip(block.items, proposal.checked, strict=True):
        if item.payload is not None and isinstance(checked, EventRefused):
            raise SourceFault(f"a payload does not belong to its event: {checked.because}")


def read_height(block: StoredBlock) -> int:
    """Return the height that a block claims.  Raises SourceFault."""
    try:
        return decode_header(block.header).height
    except EncodingError as error:
        raise SourceFault(f"not a header: {error}") from error


class BlockSync:
    """Fetches what is missing.  `request(peer, body)` asks one peer; `peers()` names who may be asked, best first."""

    def __init__(
        self,
        chain: Chain,
        executor: Executor,
        parameters: Parameters,
        cache: EventCache,
        *,
        request: Callable[[bytes, bytes], Awaitable[bytes]],
        peers: Callable[[], list[bytes]],
        blame: Callable[[bytes, SourceFault], None],
        installed: Callable[[int, Certificate], None],
    ) -> None:
        self._chain = chain
        self._executor = executor
        self._parameters = parameters
        self._cache = cache
        self._request = request
        self._peers = peers
        self._blame = blame
        self._installed = installed
        self._target = 0
        self._wake = trio.Event()
        self._failures: dict[bytes, int] = {}
        self.active = False
        self._idle = trio.Event()

    def want(self, height: int) -> None:
        """Ask to catch up to a height that a peer claims; a lie costs one request."""
        if height > self._target:
            self._target = height
        self._idle = trio.Event()
        self._wake.set()

    async def wait_idle(self) -> None:
        """Wait until what was wanted has been fetched, or nobody has it."""
        await self._idle.wait()

    async def run(self) -> None:
        """Fetch whenever wanted; runs until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            self.active = True
            await self._catch_up()
            self.active = False
            self._idle.set()

    async def _catch_up(self) -> None:
        """Ask peer after peer until the target is reached or nobody has more."""
        while self._chain.head.height < self._target:
            before = self._chain.head.height
            # Whoever failed before is asked last, or a slow liar could hold up every round.
            for peer in sorted(self._peers(), key=lambda each: self._failures.get(each, 0)):
                try:
                    await self._fetch_from(peer)
                except SourceFault as fault:
                    logger.warning("blocks from %s refused: %s", peer.hex()[:16], fault)
                    self._count_failure(peer)
                    self._blame(peer, fault)
                except (PeerUnreachable, PeerFault) as error:
                    logger.info("blocks from %s failed: %s", peer.hex()[:16], error)
                    self._count_failure(peer)
                if self._chain.head.height >= self._target:
                    break
            if self._chain.head.height == before:
                self._target = before  # nobody could prove a higher block; whoever shows one again wakes us
                await trio.sleep(FRUITLESS_PAUSE_S)

    def _count_failure(self, peer: bytes) -> None:
        if len(self._failures) >= FAILURES_REMEMBERED_MAX:
            self._failures.clear()
        self._failures[peer] = self._failures.get(peer, 0) + 1

    async def _fetch_from(self, peer: bytes) -> None:
        while self._chain.head.height < self._target:
            first = self._chain.head.height + 1
            body = encode_record(BlockRange(first, min(self._target, first + RANGE_BLOCKS_MAX - 1)))
            answer = await self._request(peer, body)
            try:
                blocks = decode_record(Blocks, answer).blocks
            except EncodingError as error:
                raise SourceFault(f"not a list of blocks: {error}") from error
            if not blocks:
                return
            if read_height(blocks[0]) != first:
                raise SourceFault(f"expected blocks from height {first} on, got {read_height(blocks[0])} first")
            for block in blocks:
                await self._install(block)

    async def _install(self, block: StoredBlock) -> None:
        head = self._chain.head
        if read_height(block) <= head.height:
            return  # consensus was quicker
        header = verify_block(self._parameters, block, head.header, head.hash)
        await trio.lowlevel.checkpoint()
        batch = make_batch(header, head.header, block.items)
        proposal = Proposal(batch, self._cache.check_all(block.items) if batch is not None else ())
        verify_payloads(block, proposal)
        if await self._executor.replay(header.height, proposal, compute_header_hash(block.header)) is None:
            return
        self._chain.write_certificate(header.height, block.certificate)
        self._installed(header.height, decode_record(Certificate, block.certificate))
