"""An archive: segments that follow each other from the first block on, read as one ledger."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger import keyspace
from ledger.archive.blocks import ArchivedBlock
from ledger.archive.layout import SegmentDamaged
from ledger.archive.segment import Segment
from ledger.block import StoredEvent
from ledger.certified import VerifyCertificate
from ledger.events import View
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import decode_record, encode_record
from ledger.receipts import SKIPPED, Receipt, decode_receipt
from ledger.service import Validators


class ArchiveIncomplete(LookupError):
    """Segments that do not make one ledger: some are missing, or they are of several chains."""


@dataclass(frozen=True, slots=True)
class ArchivedEvent:
    """What an archive holds of one event."""

    receipt: Receipt
    stored: StoredEvent | None  # None for derived events
    payload: bytes | None  # None where there is none, or where it was erased


class Archive:
    """All segments of one chain, from the first block on without a gap.  Reading raises SegmentDamaged."""

    def __init__(self, where: str, segments: Sequence[Segment]) -> None:
        """Raises ArchiveIncomplete.  where: names the archive in messages."""
        self.where = where
        self.segments = sorted(segments, key=lambda segment: segment.summary.first_height)
        self._verify_order()

    def _verify_order(self) -> None:
        expected, log_index = 1, 0
        for place, segment in enumerate(self.segments):
            summary = segment.summary
            if summary.first_height > expected:
                raise ArchiveIncomplete(
                    f"{self.where}: the heights {expected} to {summary.first_height - 1} are in no segment; copy the "
                    f"missing file from another archive of this chain, or write it again from a node's folder"
                )
            before = self.segments[place - 1].summary if place else None
            if (
                summary.first_height < expected
                or summary.first_log_index != log_index
                or (before and summary.header_hash_before != before.header_hash)
            ):
                raise ArchiveIncomplete(
                    f"{self.where}: {segment.name} does not follow the segment before it; keep archives of "
                    f"two chains, or of other ranges of epochs, in two places"
                )
            expected, log_index = summary.last_height + 1, summary.log_size

    def verify(
        self,
        genesis_hash: bytes,
        validators: Validators,
        verify_certificate: VerifyCertificate,
        progress: Callable[[int], None] = lambda height: None,
    ) -> None:
        """Check every byte of every segment, and certificates from genesis on; what replay gives is another matter."""
        before = genesis_hash
        for segment in self.segments:
            segment.verify(before, validators, verify_certificate, progress)
            before, validators = segment.summary.header_hash, segment.summary.sets[-1]

    @property
    def height(self) -> int:
        """The highest block; 0 when there is none."""
        return self.segments[-1].summary.last_height if self.segments else 0

    @property
    def log_size(self) -> int:
        return self.segments[-1].summary.log_size if self.segments else 0

    def read_block(self, height: int) -> ArchivedBlock | None:
        segment = self._find(height)
        return None if segment is None else segment.read_block(height)

    def read_header(self, height: int) -> bytes | None:
        """Return a header's bytes; of genesis, those that the first segment begins on."""
        if height == 0 and self.segments:
            return self.segments[0].summary.header_before
        block = self.read_block(height)
        return None if block is None else block.header

    def find_event(self, event_id: bytes) -> int | None:
        """Return where an event is in the log: where it was executed, else where it was first skipped, as a store does.

        None for what is not here.
        """
        skipped: Receipt | None = None
        for segment in self.segments:
            for log_index in sorted(segment.find_candidates(event_id)):
                receipt = self.read_event(log_index).receipt
                if receipt.event_id != event_id:
                    continue
                if receipt.outcome != SKIPPED:
                    return log_index
                if skipped is None or skipped.height == receipt.height:
                    skipped = receipt
        return None if skipped is None else skipped.log_index

    def read_event(self, log_index: int) -> ArchivedEvent:
        """Return the event at a place of the log, which must be below `log_size`."""
        segment = self._find_log(log_index)
        block, place = segment.read_receipt(log_index)
        try:
            receipt = decode_receipt(block.receipts[place])
            stored = decode_record(StoredEvent, block.events[place]) if block.events[place] else None
        except EncodingError as error:
            raise SegmentDamaged(f"{segment.name}: receipt or event {log_index} is malformed: {error}") from error
        content = None if stored is None else stored.content
        return ArchivedEvent(receipt, stored, None if content is None else block.payloads.get(content))

    def read_receipt(self, log_index: int) -> tuple[bytes, bytes] | None:
        """Return the bytes of a receipt, and of its stored event, empty for derived ones; None beyond the last."""
        if log_index >= self.log_size:
            return None
        block, place = self._find_log(log_index).read_receipt(log_index)
        return block.receipts[place], block.events[place]

    def read_log_node(self, level: int, index: int) -> bytes | None:
        """Return a complete node of the log tree; None for one that reaches beyond the archive."""
        last = ((index + 1) << level) - 1
        return None if last >= self.log_size else self._find_log(last).read_log_node(level, index)

    def read_set(self, era: int) -> Validators | None:
        """Return the validator set of an era; None for one that begins later."""
        sets = (each for segment in self.segments for each in segment.summary.sets)
        return next((each for each in sets if each.era == era), None)

    def _find(self, height: int) -> Segment | None:
        return next(
            (
                segment
                for segment in self.segments
                if segment.summary.first_height <= height <= segment.summary.last_height
            ),
            None,
        )

    def _find_log(self, log_index: int) -> Segment:
        return next(
            segment
            for segment in self.segments
            if segment.summary.first_log_index <= log_index < segment.summary.log_size
        )


class HotAndCold:
    """A store whose old part is pruned, and the archive that has it, read by the keys of a store."""

    def __init__(self, hot: View, cold: Archive) -> None:
        self._hot = hot
        self._cold = ArchiveView(cold)

    def get(self, key: bytes) -> bytes | None:
        found = self._hot.get(key)
        if found is None and key[:1] in (keyspace.RECEIPT, keyspace.EVENT):
            return self._cold.get(key)
        return found


class ArchiveView:
    """An archive, read by the keys of a store: what proofs are made of, by the same code."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def get(self, key: bytes) -> bytes | None:
        archive, kind, rest = self._archive, key[:1], key[1:]
        number = int.from_bytes(rest, "big")
        match kind:
            case keyspace.EVENT_ID:
                log_index = archive.find_event(rest)
                return None if log_index is None else keyspace.u64(log_index)
            case keyspace.RECEIPT | keyspace.EVENT:
                found = archive.read_receipt(number)
                return None if found is None else found[kind == keyspace.EVENT] or None
            case keyspace.HEADER:
                return archive.read_header(number)
            case keyspace.CERTIFICATE:
                block = archive.read_block(number)
                return None if block is None else block.certificate or None
            case keyspace.LOG_NODE:
                return archive.read_log_node(rest[0], int.from_bytes(rest[1:], "big"))
            case _:
                era = int.from_bytes(key[-4:], "big")
                assert key == keyspace.era(era), f"an archive is not read by keys like {key.hex()}"
                validators = archive.read_set(era)
                return None if validators is None else encode_record(validators)
