"""Blocks from peers: what is asked, what is answered, and what is believed of it.  No waiting here.

A source can be wrong, slow or lying: nothing it says is believed without a certificate of the validators.  Not every
block has one of its own: a liar may withhold its signature of some heights, so that no quorum's is ever together.  Such
a block is believed when a certified one above it names it, through the hashes of the headers between.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from consensus.messages import Certificate
from consensus.parameters import Parameters
from consensus.quorum import verify_certificate
from ledger import keyspace
from ledger.archive.blocks import ArchivedBlock, to_stored_block
from ledger.archive.collection import Archive
from ledger.archive.layout import SegmentDamaged
from ledger.block import Header, StoredBlock, compute_event_leaf, compute_header_hash, decode_header
from ledger.chain import Chain, Head, make_batch, read_stored_block
from ledger.events import EventRefused
from ledger.primitives import merkle
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import U64, Length, decode_record, encode_record
from ledger.reading import Snapshot
from ledger.transition import Executed
from node.event_cache import EventCache
from node.judgement import Proposal

logger = logging.getLogger(__name__)

RANGE_BLOCKS_MAX = 64
RANGE_BYTES_MAX = 3 * 1024 * 1024


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


OpenArchive = Callable[[], Archive | None]
"""Opens the archive of this node's cold epochs, if it has one."""


def answer_range(chain: Chain, request: bytes, open_archive: OpenArchive = lambda: None) -> bytes:
    """Return the blocks that a peer asked for, up to the highest that has a certificate.  Raises EncodingError.

    What is pruned here comes from the archive.  Reads the disk: call it in a thread.
    """
    wanted = decode_record(BlockRange, request)
    if wanted.first < 1:
        raise EncodingError(f"expected a range from height 1 on, got {wanted.first}: genesis is no block of its own")
    blocks: list[StoredBlock] = []
    size = certified = 0
    cold = ColdBlocks(open_archive)
    with chain.store.snapshot() as snapshot:
        head = chain.head.height
        for height in range(wanted.first, min(wanted.last, wanted.first + RANGE_BLOCKS_MAX - 1, head) + 1):
            block = read_stored_block(snapshot, height) or cold.read_stored_block(height)
            if block is None or (not block.certificate and _ends_era(snapshot, height)):
                break
            size += sum(len(item.event) + len(item.payload or b"") + 128 for item in block.items) + 2_048
            if blocks and size > RANGE_BYTES_MAX:
                break
            blocks.append(block)
            certified = len(blocks) if block.certificate else certified
    return encode_record(Blocks(tuple(blocks[:certified]), head))


class ColdBlocks:
    """Blocks out of the archive, for one answer; it is opened when the first is asked for."""

    def __init__(self, open_archive: OpenArchive) -> None:
        self._open_archive = open_archive
        self._is_open = False
        self._archive: Archive | None = None

    def read(self, height: int) -> ArchivedBlock | None:
        """Return a block; None where no archive has it, or where it cannot be read."""
        if not self._is_open:
            self._archive, self._is_open = self._open_archive(), True
        try:
            return None if self._archive is None else self._archive.read_block(height)
        except SegmentDamaged as damaged:
            logger.warning("height %d is not served: %s", height, damaged)
            return None

    def read_stored_block(self, height: int) -> StoredBlock | None:
        """Return a block as peers exchange it."""
        block = self.read(height)
        return None if block is None else to_stored_block(block)


def _ends_era(snapshot: Snapshot, height: int) -> bool:
    """Tell whether another validator set begins above a height: then no later block shows that this one is right."""
    before, header = (snapshot.get(keyspace.header(at)) for at in (height - 1, height))
    if before is None or header is None:
        return False
    return decode_header(before).validators_hash != decode_header(header).validators_hash


def split_at_era(blocks: Sequence[StoredBlock], validators_hash: bytes) -> tuple[list[StoredBlock], list[StoredBlock]]:
    """Return the blocks up to the first that names another set than `validators_hash` for the next, and the rest.

    Only the first can be verified before that block is executed.  Raises SourceFault.
    """
    try:
        for place, block in enumerate(blocks):
            if decode_header(block.header).validators_hash != validators_hash:
                return list(blocks[: place + 1]), list(blocks[place + 1 :])
    except EncodingError as error:
        raise SourceFault(f"not a header: {error}") from error
    return list(blocks), []


def verify_block(
    parameters: Parameters, block: StoredBlock, previous: Header, previous_hash: bytes, named: bytes | None = None
) -> Header:
    """Return the header of a block whose certificate, place and events are right.  Raises SourceFault.

    named: the hash that a certified block above gives this one, where it has no certificate itself.
    """
    try:
        header = decode_header(block.header)
        header_hash = compute_header_hash(block.header)
        if header.height != previous.height + 1 or header.previous != previous_hash:
            raise SourceFault(f"expected the block above height {previous.height}, got {header.height}")
        if block.certificate:
            _verify_own(parameters, block, header.height, header_hash)
        elif header_hash != named:
            raise SourceFault(f"height {header.height}: no certificate, and no certified block above names it")
        if merkle.compute_root([compute_event_leaf(item) for item in block.items]) != header.event_root:
            raise SourceFault(f"height {header.height}: the events are not those of the header")
    except (EncodingError, ValueError) as error:
        raise error if isinstance(error, SourceFault) else SourceFault(str(error)) from error
    return header


def _verify_own(parameters: Parameters, block: StoredBlock, height: int, header_hash: bytes) -> None:
    certificate = decode_record(Certificate, block.certificate)
    if (certificate.seq, certificate.digest) != (height, header_hash):
        raise SourceFault(f"height {height}: the certificate is for another block")
    verify_certificate(parameters, certificate)


def find_named(parameters: Parameters, blocks: Sequence[StoredBlock]) -> dict[int, bytes]:
    """Return the header hashes, by height, of blocks without a certificate that a certified one above them names.

    Certificates are verified as far as they are needed for that.  Raises SourceFault.
    """
    named: dict[int, bytes] = {}
    expected: bytes | None = None  # the hash of the block below the one that was looked at last, once it is proven
    try:
        for place in range(len(blocks) - 1, -1, -1):
            block = blocks[place]
            header = decode_header(block.header)
            if not block.certificate:
                if expected is None or compute_header_hash(block.header) != expected:
                    raise SourceFault(f"height {header.height}: no certificate, and no certified block above names it")
                named[header.height] = expected
                expected = header.previous
            elif place > 0 and not blocks[place - 1].certificate:
                _verify_own(parameters, block, header.height, compute_header_hash(block.header))
                expected = header.previous
            else:
                expected = None
    except (EncodingError, ValueError) as error:
        raise error if isinstance(error, SourceFault) else SourceFault(str(error)) from error
    return named


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


def make_request(head: int, target: int) -> bytes:
    """Return the request for what comes above `head`, up to `target` or as much as one answer holds."""
    return encode_record(BlockRange(head + 1, min(target, head + RANGE_BLOCKS_MAX)))


def read_answer(answer: bytes, first: int) -> tuple[StoredBlock, ...]:
    """Return the blocks of an answer to a request from height `first` on.  Raises SourceFault."""
    try:
        blocks = decode_record(Blocks, answer).blocks
    except EncodingError as error:
        raise SourceFault(f"not a list of blocks: {error}") from error
    if blocks and read_height(blocks[0]) != first:
        raise SourceFault(f"expected blocks from height {first} on, got {read_height(blocks[0])} first")
    return blocks


@dataclass(frozen=True, slots=True)
class Fetched:
    """A block that is proven, ready to be replayed above the head that it was verified on."""

    height: int
    header_hash: bytes
    proposal: Proposal
    certificate: bytes  # empty where a block above proves this one
    check_again: Callable[[], Proposal] | None = None
    """Checks signatures too, where only the form was looked at so far.  Raises SourceFault."""


def open_block(
    parameters: Parameters,
    block: StoredBlock,
    head: Head,
    cache: EventCache,
    named: Mapping[int, bytes],
    *,
    trusts_quorum: bool = False,
    refused: frozenset[tuple[int, int]] | None = None,
) -> Fetched:
    """Return the block above `head`, verified; `named` is what `find_named` gave.  Raises SourceFault.

    trusts_quorum: do not check again what authors signed, since the result is compared with what a quorum signed.
    refused: (height, place) of events that failed when all that authors signed was checked elsewhere; None: not yet.
    """
    header = verify_block(parameters, block, head.header, head.hash, named.get(head.height + 1))
    batch = make_batch(header, head.header, block.items)

    def check() -> Proposal:
        proposal = Proposal(batch, cache.check_all(block.items) if batch is not None else ())
        verify_payloads(block, proposal)
        return proposal

    header_hash = compute_header_hash(block.header)
    has_valid_events = refused is not None and not any(height == header.height for height, _ in refused)
    if not (trusts_quorum or has_valid_events) or batch is None:
        return Fetched(header.height, header_hash, check(), block.certificate)
    proposal = Proposal(batch, cache.check_all(block.items, certified=True))
    verify_payloads(block, proposal)
    return Fetched(header.height, header_hash, proposal, block.certificate, None if has_valid_events else check)


def replay_block(
    chain: Chain,
    proposal: Proposal,
    header_hash: bytes,
    check_again: Callable[[], Proposal] | None = None,
    synced: bool = True,
) -> Executed:
    """Execute a fetched block, and write it only when it gives the header that a quorum signed.

    check_again: as in `Fetched`; what it gives is executed when the first result differs, since a quorum skips what was
    not validly signed.  synced: see `Chain.commit`.  Raises ReplayDiffers when that differs too, and SourceFault;
    nothing is written then.  Blocks on the disk.
    """
    executed = chain.compute(proposal.batch, proposal.checked)
    if executed.hash != header_hash and check_again is not None:
        proposal = check_again()
        executed = chain.compute(proposal.batch, proposal.checked)
    if executed.hash != header_hash:
        raise ReplayDiffers(executed.header.height, executed.hash, header_hash)
    chain.commit(executed, synced=synced)
    return executed


class ReplayDiffers(RuntimeError):
    """Executing a certified block here gave another header: this node's state or software is damaged."""

    def __init__(self, height: int, ours: bytes, theirs: bytes) -> None:
        super().__init__(
            f"height {height}: executing the certified block gives header {ours.hex()[:16]}, the quorum signed "
            f"{theirs.hex()[:16]}; this node's store or software differs from the network's"
        )
