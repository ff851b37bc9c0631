"""Erasing payloads from a segment: text and salt go, and nothing that was proven changes.

Payloads lie outside the Merkle root, so the new file has the same summary, the same blocks byte for byte, and every
proof that was made from the old one.  Only payloads, the index, and the hashes of both are written anew.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import replace

from ledger.archive.layout import PREFIX, Frame
from ledger.archive.segment import Segment
from ledger.archive.writing import FileHash, finish_file, pack_payloads


def find_held(segment: Segment, content_hashes: Collection[bytes]) -> list[bytes]:
    """Return which of these payloads the segment holds, in order of hash.  Raises SegmentDamaged."""
    wanted = frozenset(content_hashes)
    held = {
        content
        for number in range(len(segment.index.frames))
        for content in sorted(segment.read_payloads(number))
        if content in wanted
    }
    return sorted(held)


def erase_payloads(segment: Segment, content_hashes: Collection[bytes]) -> Iterator[bytes]:
    """Yield the bytes of the segment without these payloads.  Raises SegmentDamaged.

    The caller replaces the file in one step, and takes care that no copy of the old one stays.
    """
    wanted = frozenset(content_hashes)
    file = FileHash()
    yield file.pass_on(PREFIX)
    frames: list[Frame] = []
    for number, frame in enumerate(segment.index.frames):
        yield file.pass_on(segment.copy_blocks(number))
        held = segment.read_payloads(number)
        kept = {content: held[content] for content in sorted(held) if content not in wanted}
        payloads, size = pack_payloads(kept)
        yield file.pass_on(payloads)
        payloads_hash = hashlib.sha256(payloads).digest()
        frames.append(replace(frame, payloads_bytes=len(payloads), payloads_hash=payloads_hash, payloads_size=size))
    yield finish_file(file, replace(segment.index, frames=tuple(frames)), segment.read_ids())
