"""Writing a node's cold epochs to an archive: from where the archive ends, one file per range of whole epochs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ledger import keyspace
from ledger.archive.blocks import ArchivedBlock, read_archived_block
from ledger.archive.collection import Archive
from ledger.archive.layout import Summary
from ledger.archive.tally import Tally, list_edge
from ledger.archive.writing import SegmentWriter
from ledger.block import Header, compute_header_hash, decode_header
from ledger.certified import VerifyCertificate
from ledger.head import decode_head
from ledger.history import read_history
from ledger.migrations import FORMAT
from ledger.primitives.encoding import EncodingError
from ledger.reading import Snapshot
from ledger.service import read_era, read_validators_at
from ledger.storage import StoreDamaged
from node.archive_store import ArchiveStore, name_segment

EPOCHS_MAX = 4_096
"""Epochs in one file at most."""

MakeVerify = Callable[[bytes], VerifyCertificate]
"""Returns what checks the certificates of a chain, given its id."""
Progress = Callable[[int, int], None]


class ArchiveDiffers(RuntimeError):
    """The archive is of another chain than the node's folder."""


class BlocksMissing(RuntimeError):
    """The node's folder lacks blocks that are to be archived; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Written:
    """One new file."""

    name: str
    bytes: int
    summary: Summary


@dataclass(frozen=True, slots=True)
class Range:
    """The blocks of one segment to be written."""

    first_height: int
    last_height: int
    first_epoch: int
    last_epoch: int


class Source:
    """The chain in a stopped node's store."""

    def __init__(self, where: str, snapshot: Snapshot) -> None:
        """Raises BlocksMissing and StoreDamaged."""
        self.where = where
        self.snapshot = snapshot
        if snapshot.get(keyspace.META_FORMAT) != keyspace.u64(FORMAT):
            raise StoreDamaged(f"{where}: expected a ledger of store format {FORMAT}; is this a node's folder?")
        if snapshot.get(keyspace.META_INSTALLING) is not None:
            raise BlocksMissing(f"{where}: a snapshot is half installed; start the node once, so that it is finished")
        self.history = read_history(snapshot)
        try:
            self.height = decode_head(self.read(keyspace.META_HEAD, "head record"))[0]
        except EncodingError as error:
            raise StoreDamaged(f"{where}: the head record is damaged: {error}") from error
        self.chain_id = self.decode_header(0).chain_id

    def read(self, key: bytes, what: str) -> bytes:
        data = self.snapshot.get(key)
        if data is None:
            raise StoreDamaged(f"{self.where}: the {what} is missing")
        return data

    def read_header(self, height: int) -> bytes:
        return self.read(keyspace.header(height), f"header of height {height}")

    def decode_header(self, height: int) -> Header:
        try:
            return decode_header(self.read_header(height))
        except EncodingError as error:
            raise StoreDamaged(f"{self.where}: the header of height {height} is damaged: {error}") from error

    def read_block(self, height: int) -> ArchivedBlock:
        try:
            block = read_archived_block(self.snapshot, height)
        except EncodingError as error:
            raise StoreDamaged(f"{self.where}: the block of height {height} is damaged: {error}") from error
        if block is None:
            raise StoreDamaged(f"{self.where}: the header of height {height} is missing")
        return block

    def find_last_height(self, epoch: int) -> int | None:
        """Return the last height of an epoch; None while it goes on."""
        low, high = 0, self.height  # the epoch of `low` is at most this one, that of `high` is above it
        if self.decode_header(high).epoch <= epoch:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.decode_header(middle).epoch <= epoch else (low, middle)
        return low

    def verify_complete(self, wanted: Range) -> None:
        """Raise BlocksMissing unless all blocks of a range are here."""
        if wanted.first_height <= self.history.pruned_to:
            raise BlocksMissing(
                f"{self.where}: the blocks up to height {self.history.pruned_to} are pruned here; name the archive "
                "that has them, or archive from another node"
            )
        missing = [
            gap for gap in self.history.gaps if gap.first <= wanted.last_height and gap.last >= wanted.first_height
        ]
        if missing:
            raise BlocksMissing(
                f"{self.where}: of the heights {missing[0].first} to {missing[0].last} only the headers are here, as "
                "the node began from a snapshot; let it run until it has fetched them, or archive from another node"
            )

    def plan(self, first_height: int, epochs: int) -> Range | None:
        """Return the next range of at least so many whole epochs; None until they are over.

        It ends with a block that has a certificate, so that the file needs no other to be proven: rarely, when a liar
        withheld his signature of just that block, an epoch more is taken.
        """
        if first_height > self.height:
            return None
        first_epoch = self.decode_header(first_height).epoch
        last_epoch = first_epoch + epochs - 1
        while (last := self.find_last_height(last_epoch)) is not None:
            if self.snapshot.get(keyspace.certificate(last)):
                return Range(first_height, last, first_epoch, last_epoch)
            last_epoch += 1
        return None

    def make_tally(self, first_height: int, verify_certificate: VerifyCertificate) -> Tally:
        """Raises StoreDamaged and ChainBroken."""
        header = self.read_header(first_height - 1)
        edge = tuple(
            self.read(keyspace.log_node(level, index), f"log node {level}/{index}")
            for level, index in list_edge(self.decode_header(first_height - 1).log_size)
        )
        validators = read_validators_at(self.snapshot, first_height)
        if validators is None:
            raise StoreDamaged(f"{self.where}: the validator set of height {first_height} is missing")
        return Tally(header, edge, validators, lambda era: read_era(self.snapshot, era), verify_certificate)


def write_archive(
    source: Source,
    store: ArchiveStore,
    epochs: int,
    make_verify: MakeVerify,
    progress: Progress = lambda at, of: None,
) -> Iterator[Written]:
    """Write all ranges of whole epochs that the archive lacks, and yield each when it is there.

    What a killed run has left half-written is removed first, and written again.  Raises ArchiveDiffers,
    ArchiveIncomplete, ArchiveUnreachable, BlocksMissing, ChainBroken, SegmentDamaged and StoreDamaged.
    """
    store.remove_partials()
    archive = store.open_archive()
    _verify_same_chain(source, archive)
    height = archive.height
    while (wanted := source.plan(height + 1, epochs)) is not None:
        source.verify_complete(wanted)
        yield _write_segment(source, store, wanted, make_verify(source.chain_id), progress)
        height = wanted.last_height


def _write_segment(
    source: Source, store: ArchiveStore, wanted: Range, verify_certificate: VerifyCertificate, progress: Progress
) -> Written:
    writer = SegmentWriter(source.make_tally(wanted.first_height, verify_certificate))
    summaries: list[Summary] = []

    def write_blocks() -> Iterator[bytes]:
        for height in range(wanted.first_height, wanted.last_height + 1):
            chunk = writer.add(source.read_block(height))
            progress(height, source.height)
            if chunk:
                yield chunk
        summary, rest = writer.finish()
        summaries.append(summary)
        yield rest

    name = name_segment(wanted.first_epoch, wanted.last_epoch)
    size = store.write(name, write_blocks())
    return Written(name, size, summaries[0])


def _verify_same_chain(source: Source, archive: Archive) -> None:
    if not archive.segments:
        return
    height, last = archive.height, archive.segments[-1].summary
    if last.chain_id != source.chain_id:
        raise ArchiveDiffers(f"{archive.where}: it holds another chain than {source.where}; choose another --to")
    if height > source.height:
        return  # the archive is ahead: nothing to write
    if compute_header_hash(source.read_header(height)) != last.header_hash:
        raise ArchiveDiffers(f"{archive.where}: its block of height {height} is another than that of {source.where}")


def find_prunable(source: Source, archive: Archive, keep_epochs: int, checked_to: int = 0) -> int:
    """Return the height up to which the archive has everything, leaving the newest epochs; 0 when there is none.

    Every byte of those segments is read, but of the ones up to height `checked_to`.  Raises ArchiveDiffers,
    BlocksMissing, SegmentDamaged and StoreDamaged.
    """
    epoch = source.decode_header(source.height).epoch
    height = 0
    for segment in archive.segments:
        summary = segment.summary
        if summary.last_height > source.height:
            break
        if compute_header_hash(source.read_header(summary.last_height)) != summary.header_hash:
            raise ArchiveDiffers(f"{archive.where}: {segment.name} is of another chain than {source.where}")
        if summary.last_epoch > epoch - keep_epochs:
            break
        if summary.last_height > checked_to:
            segment.verify_bytes()
        height = summary.last_height
    if height > source.history.pruned_to:
        source.verify_complete(Range(source.history.pruned_to + 1, height, 0, 0))
    return height
