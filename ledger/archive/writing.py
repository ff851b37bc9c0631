"""Writing a segment: blocks in, bytes of the file out, in one pass."""

import hashlib

from ledger.archive.blocks import ArchivedBlock, encode_entry, encode_payloads
from ledger.archive.compression import compress
from ledger.archive.layout import (
    END_MAGIC,
    FRAME_BLOCKS_MAX,
    FRAME_BYTES_MAX,
    FRAMES_MAX,
    INDEX_BYTES_MAX,
    PAYLOADS_BYTES_MAX,
    PREFIX,
    Frame,
    Index,
    Summary,
    encode_index,
    encode_trailer_head,
)
from ledger.archive.tally import ChainBroken, Tally, hash_ids

FRAME_BYTES = 256 * 1024
"""A frame is closed when its blocks or payloads reach this: a block is read by unpacking about so much."""


class FileHash:
    """Bytes of a file as they go by: how many, and their SHA-256."""

    def __init__(self) -> None:
        self.count = 0
        self.sha256 = hashlib.sha256()

    def pass_on(self, data: bytes) -> bytes:
        self.count += len(data)
        self.sha256.update(data)
        return data


class SegmentWriter:
    """Makes one segment of the blocks that go through `tally`; the caller writes what `add` and `finish` return."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._file = FileHash()
        self._frames: list[Frame] = []
        self._entries: list[bytes] = []
        self._receipts: list[int] = []
        self._payloads: dict[bytes, bytes] = {}
        self._entries_size = self._payloads_size = 0

    def add(self, block: ArchivedBlock) -> bytes:
        """Take the next block; return bytes for the file, often none.  Raises ChainBroken."""
        core = self._tally.add(block)
        entry = encode_entry(block.certificate, core)
        if len(entry) > FRAME_BYTES_MAX:
            raise ChainBroken(f"height {self._tally.last.height}: a block of {len(entry)} bytes fits no frame")
        out = b"" if self._entries_size + len(entry) <= FRAME_BYTES_MAX else self._close_frame()
        self._entries.append(entry)
        self._receipts.append(len(block.receipts))
        self._entries_size += len(entry)
        for content in sorted(block.payloads):
            if content not in self._payloads:
                self._payloads[content] = block.payloads[content]
                self._payloads_size += len(block.payloads[content])
        is_full = max(self._entries_size, self._payloads_size) >= FRAME_BYTES or len(self._entries) == FRAME_BLOCKS_MAX
        return out + self._close_frame() if is_full else out

    def finish(self) -> tuple[Summary, bytes]:
        """Return what was written, and the last bytes of the file.  Raises ChainBroken."""
        out = self._close_frame()
        summary, nodes, ids = self._tally.finish()
        return summary, out + finish_file(self._file, Index(tuple(self._frames), hash_ids(ids), nodes, summary), ids)

    def _close_frame(self) -> bytes:
        if not self._entries:
            return b""
        if len(self._frames) == FRAMES_MAX:
            raise ChainBroken(f"more than {FRAMES_MAX} frames in one segment; take fewer epochs")
        blocks = compress(b"".join(self._entries))
        payloads, payloads_size = pack_payloads(self._payloads)
        frame = Frame(
            blocks_bytes=len(blocks),
            blocks_hash=hashlib.sha256(blocks).digest(),
            blocks_size=self._entries_size,
            payloads_bytes=len(payloads),
            payloads_hash=hashlib.sha256(payloads).digest(),
            payloads_size=payloads_size,
            receipts=tuple(self._receipts),
        )
        start = b"" if self._frames else self._file.pass_on(PREFIX)
        self._frames.append(frame)
        self._entries, self._receipts, self._payloads = [], [], {}
        self._entries_size = self._payloads_size = 0
        return start + self._file.pass_on(blocks + payloads)


def pack_payloads(payloads: dict[bytes, bytes]) -> tuple[bytes, int]:
    """Return payloads as they lie in the file, and their size unpacked; no bytes at all for none."""
    data = encode_payloads(payloads)
    if len(data) > PAYLOADS_BYTES_MAX:
        raise ChainBroken(f"payloads of {len(data)} bytes fit no frame")
    return (compress(data), len(data)) if data else (b"", 0)


def finish_file(file: FileHash, index: Index, ids: bytes) -> bytes:
    """Return what follows the frames of a file that has passed through `file`.  Raises ChainBroken."""
    table = encode_index(index)
    if len(table) > INDEX_BYTES_MAX:
        raise ChainBroken(f"an index of {len(table)} bytes is too long; take fewer epochs")
    offset = file.count + len(ids)
    out = file.pass_on(ids + table + encode_trailer_head(offset, table))
    return out + file.sha256.digest() + END_MAGIC
