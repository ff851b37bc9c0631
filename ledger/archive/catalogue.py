"""A line for each segment: enough to find the file that holds a height, and to compare copies without reading them."""

from dataclasses import dataclass

from ledger.archive.collection import Archive
from ledger.archive.layout import Summary
from ledger.primitives.records import U64, Bytes32


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """One segment, as its file's summary says."""

    bytes: U64
    first_epoch: U64
    first_height: U64
    first_log_index: U64
    header_hash: Bytes32
    last_epoch: U64
    last_height: U64
    log_size: U64
    root: Bytes32


def make_entry(summary: Summary, file_bytes: int) -> SegmentEntry:
    return SegmentEntry(
        bytes=file_bytes,
        first_epoch=summary.first_epoch,
        first_height=summary.first_height,
        first_log_index=summary.first_log_index,
        header_hash=summary.header_hash,
        last_epoch=summary.last_epoch,
        last_height=summary.last_height,
        log_size=summary.log_size,
        root=summary.root,
    )


def list_entries(archive: Archive | None) -> list[SegmentEntry]:
    """Return the segments of an archive, in order."""
    return [] if archive is None else [make_entry(each.summary, each.bytes) for each in archive.segments]
