"""Reading a segment: one block costs one frame; everything read is compared with a hash of the index."""

import hashlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import accumulate
from typing import TypeAlias

from ledger.archive.blocks import ArchivedBlock, decode_frame, decode_payloads, distribute, list_contents
from ledger.archive.compression import decompress
from ledger.archive.layout import (
    FRAME_BYTES_MAX,
    ID_PREFIX_BYTES,
    ID_ROW,
    NODE_LEVEL,
    PAYLOADS_BYTES_MAX,
    PREFIX,
    SEGMENT_BYTES_MIN,
    TRAILER_BYTES,
    Frame,
    Index,
    SegmentDamaged,
    count_hashed_bytes,
    decode_index,
    decode_trailer,
)
from ledger.archive.tally import ChainBroken, Tally, hash_ids, list_edge, open_edge
from ledger.block import compute_header_hash
from ledger.certified import VerifyCertificate
from ledger.primitives import merkle
from ledger.primitives.encoding import EncodingError
from ledger.service import Validators

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""(offset, count): returns the bytes of the file there; fewer only where the file ends."""
FRAMES_CACHED = 4
"""Unpacked frames at hand, of all segments of an archive together."""
CHUNK_BYTES = 1024 * 1024


class FrameCache:
    """The frames that were unpacked last; segments of one archive share it, so that reading all keeps only a few."""

    def __init__(self) -> None:
        self._frames: OrderedDict[tuple[str, int], list[ArchivedBlock]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._frames)

    def get(self, segment: str, number: int) -> list[ArchivedBlock] | None:
        found = self._frames.get((segment, number))
        if found is not None:
            with suppress(KeyError):  # another thread has just put others in its place
                self._frames.move_to_end((segment, number))
        return found

    def put(self, segment: str, number: int, blocks: list[ArchivedBlock]) -> None:
        self._frames[segment, number] = blocks
        if len(self._frames) > FRAMES_CACHED:
            self._frames.popitem(last=False)


class Segment:
    """An open segment.  Every method that reads may raise SegmentDamaged, which names the file."""

    def __init__(self, name: str, file_bytes: int, read_at: ReadAt, cache: FrameCache | None = None) -> None:
        """cache: may be shared by segments of different names."""
        self.name = name
        self.bytes = file_bytes
        self._read_at = read_at
        self._cache = FrameCache() if cache is None else cache
        try:
            self.index = self._open()
        except SegmentDamaged as error:
            raise self._name(error) from error

    def _open(self) -> Index:
        if self.bytes < SEGMENT_BYTES_MIN:
            raise SegmentDamaged(f"a segment has at least {SEGMENT_BYTES_MIN} bytes, this file has {self.bytes}")
        if self._read(0, len(PREFIX)) != PREFIX:
            raise SegmentDamaged("the file does not begin as a segment of format 1 does")
        self.trailer = decode_trailer(self._read(self.bytes - TRAILER_BYTES, TRAILER_BYTES), self.bytes)
        table = self._read(self.trailer.index_offset, self.trailer.index_bytes)
        if hashlib.sha256(table).digest() != self.trailer.index_hash:
            raise SegmentDamaged("the index is not the one that the trailer names")
        index = decode_index(table)
        summary = index.summary
        self.summary = summary
        self._offsets = [0, *accumulate(frame.bytes for frame in index.frames)]
        counts = [len(frame.receipts) for frame in index.frames]
        self._heights = [summary.first_height, *accumulate(counts, initial=summary.first_height)][1:]
        receipts = [count for frame in index.frames for count in frame.receipts]
        self._log = list(accumulate(receipts, initial=summary.first_log_index))
        self._ids_offset = len(PREFIX) + self._offsets[-1]
        if self._ids_offset + summary.receipts * ID_ROW.size != self.trailer.index_offset:
            raise SegmentDamaged("frames and ids do not fill the file up to the index")
        if (self._heights[-1], len(receipts)) != (summary.last_height + 1, summary.blocks):
            raise SegmentDamaged("the frames hold other blocks than the summary says")
        if self._log[-1] != summary.log_size:
            raise SegmentDamaged("the frames hold other receipts than the summary says")
        start, stop = summary.first_log_index >> NODE_LEVEL, summary.log_size >> NODE_LEVEL
        if len(index.nodes) != stop - start:
            raise SegmentDamaged("the index holds another number of log nodes than it should")
        if len(summary.edge) != len(list_edge(summary.first_log_index)):
            raise SegmentDamaged("the summary holds another number of subtrees than the log had before")
        self._edge = open_edge(summary.first_log_index, summary.edge)
        return index

    # Reading.

    def read_block(self, height: int) -> ArchivedBlock:
        """Return a block of the segment, with what is held of its payloads."""
        assert self.summary.first_height <= height <= self.summary.last_height, f"height {height} is in no frame here"
        number = bisect_right(self._heights, height) - 1
        return self._read_frame(number)[height - self._heights[number]]

    def iterate_blocks(self) -> Iterator[ArchivedBlock]:
        """Yield all blocks in order."""
        for number in range(len(self.index.frames)):
            yield from self._read_frame(number)

    def find_height(self, log_index: int) -> int:
        """Return the height of the block that has a receipt."""
        assert self.summary.first_log_index <= log_index < self.summary.log_size, f"receipt {log_index} is not here"
        return self.summary.first_height + bisect_right(self._log, log_index) - 1

    def read_receipt(self, log_index: int) -> tuple[ArchivedBlock, int]:
        """Return the block of a receipt, and the receipt's place in it."""
        height = self.find_height(log_index)
        block = self.read_block(height)
        place = log_index - self._log[height - self.summary.first_height]
        if place >= len(block.receipts):
            raise SegmentDamaged(f"{self.name}: height {height} has other receipts than the index says")
        return block, place

    def find_candidates(self, event_id: bytes) -> list[int]:
        """Return the log indexes of the few receipts that may be of this event: their ids begin like its id."""
        ids = self.read_ids()
        rows = range(len(ids) // ID_ROW.size)
        prefix = event_id[:ID_PREFIX_BYTES]

        def prefix_of(row: int) -> bytes:
            return ids[row * ID_ROW.size : row * ID_ROW.size + ID_PREFIX_BYTES]

        found: list[int] = []
        for row in rows[bisect_left(rows, prefix, key=prefix_of) : bisect_right(rows, prefix, key=prefix_of)]:
            place = ID_ROW.unpack_from(ids, row * ID_ROW.size)[1]
            if place >= self.summary.receipts:
                raise SegmentDamaged(f"{self.name}: an id names a receipt that is not here")
            found.append(self.summary.first_log_index + place)
        return found

    def read_log_node(self, level: int, index: int) -> bytes:
        """Return a complete node of the log tree that holds a receipt of this segment, or belongs to its edge."""
        known = self._edge.get((level, index))
        if known is not None:
            return known
        summary = self.summary
        assert summary.first_log_index < (index + 1) << level <= summary.log_size, f"node {level}/{index} is not here"
        if level == NODE_LEVEL:
            return self.index.nodes[index - (summary.first_log_index >> NODE_LEVEL)]
        if level == 0:
            block, place = self.read_receipt(index)
            return merkle.leaf_hash(block.receipts[place])
        left, right = self.read_log_node(level - 1, 2 * index), self.read_log_node(level - 1, 2 * index + 1)
        return merkle.node_hash(left, right)

    def copy_blocks(self, number: int) -> bytes:
        """Return the blocks of a frame as they lie in the file."""
        frame = self.index.frames[number]
        data = self._read(len(PREFIX) + self._offsets[number], frame.blocks_bytes)
        if hashlib.sha256(data).digest() != frame.blocks_hash:
            raise SegmentDamaged(f"{self.name}: frame {number} is not the one that the index names")
        return data

    def read_payloads(self, number: int) -> dict[bytes, bytes]:
        """Return the payloads of a frame by content hash."""
        frame = self.index.frames[number]
        data = self._read(len(PREFIX) + self._offsets[number] + frame.blocks_bytes, frame.payloads_bytes)
        if hashlib.sha256(data).digest() != frame.payloads_hash:
            raise SegmentDamaged(f"{self.name}: the payloads of frame {number} are not those that the index names")
        if not data:
            return {}
        try:
            return decode_payloads(decompress(data, frame.payloads_size, PAYLOADS_BYTES_MAX))
        except SegmentDamaged as error:
            raise self._name(error) from error

    def read_ids(self) -> bytes:
        """Return the ids as they lie in the file; not kept, since those of all segments are many."""
        ids = self._read(self._ids_offset, self.summary.receipts * ID_ROW.size)
        if hash_ids(ids) != self.index.ids_hash:
            raise SegmentDamaged(f"{self.name}: the ids are not those that the index names")
        return ids

    def _read_frame(self, number: int) -> list[ArchivedBlock]:
        known = self._cache.get(self.name, number)
        if known is not None:
            return known
        try:
            blocks = self._unpack(number, self.index.frames[number])
        except SegmentDamaged as error:
            raise self._name(error) from error
        self._cache.put(self.name, number, blocks)
        return blocks

    def _unpack(self, number: int, frame: Frame) -> list[ArchivedBlock]:
        blocks = decode_frame(decompress(self.copy_blocks(number), frame.blocks_size, FRAME_BYTES_MAX))
        if tuple(len(block.receipts) for block in blocks) != frame.receipts:
            raise SegmentDamaged(f"frame {number} holds other blocks than the index says")
        return distribute(blocks, self.read_payloads(number))

    def _read(self, offset: int, count: int) -> bytes:
        data = self._read_at(offset, count) if count else b""
        if len(data) != count:
            raise SegmentDamaged(f"{self.name}: expected {count} bytes at {offset}, got {len(data)}")
        return data

    def _name(self, error: SegmentDamaged) -> SegmentDamaged:
        """Return an error that names this file, once."""
        named = str(error).startswith(f"{self.name}: ")
        return error if named else SegmentDamaged(f"{self.name}: {error}")

    # Verifying.

    def verify_bytes(self) -> None:
        """Compare the whole file with its SHA-256."""
        file_hash, stop = hashlib.sha256(), count_hashed_bytes(self.bytes)
        for offset in range(0, stop, CHUNK_BYTES):
            file_hash.update(self._read(offset, min(CHUNK_BYTES, stop - offset)))
        if file_hash.digest() != self.trailer.file_hash:
            raise SegmentDamaged(f"{self.name}: the file is not the one that was written: its SHA-256 differs")

    def verify(
        self,
        header_hash_before: bytes,
        validators: Validators,
        verify_certificate: VerifyCertificate,
        progress: Callable[[int], None] = lambda height: None,
    ) -> None:
        """Check every byte, and that the blocks follow, certified, from a header and a set that the caller trusts."""
        self.verify_bytes()
        summary = self.summary
        if compute_header_hash(summary.header_before) != header_hash_before or summary.sets[0] != validators:
            raise SegmentDamaged(f"{self.name}: it does not continue from the block below it")
        sets = {each.era: each for each in summary.sets}
        try:
            tally = Tally(summary.header_before, summary.edge, validators, sets.get, verify_certificate)
            for number in range(len(self.index.frames)):
                blocks = self._read_frame(number)
                for block in blocks:
                    tally.add(block)
                    progress(tally.last.height)
                self._verify_payloads(number, blocks)
            found = tally.finish()
        except (ChainBroken, EncodingError) as error:
            raise SegmentDamaged(f"{self.name}: {error}") from error
        if found != (summary, self.index.nodes, self.read_ids()):
            raise SegmentDamaged(f"{self.name}: its index says other things than its blocks")

    def _verify_payloads(self, number: int, blocks: list[ArchivedBlock]) -> None:
        named = {content for block in blocks for content in list_contents(block.events)}
        if any(content not in named for content in sorted(self.read_payloads(number))):
            raise SegmentDamaged(f"{self.name}: frame {number} holds a payload that no event of it names")
