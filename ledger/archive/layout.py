"""The layout of a segment file: what lies where, and how large it may be.

    prefix    MAGIC, FORMAT as 4 bytes
    frames    for each: the blocks, then the payloads that their events name; both zstd, the second perhaps empty
    ids       for each receipt: the first 4 bytes of its event id, its place in the segment as 4 bytes; sorted
    index     canonical msgpack of `Index`
    trailer   the index's place and length as 8 bytes each, SHA-256 of the index, SHA-256 of all before it, END_MAGIC

The index is at the end, as in ZIP and Parquet: a segment is written in one go, also to stores that can't seek.
Numbers are big-endian.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Annotated

from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import U32, U64, Bytes32, Length, decode_record, encode_record
from ledger.service import Validators

MAGIC = b"ATLASSEG"
END_MAGIC = b"ATLASEND"
FORMAT = 1
PREFIX = MAGIC + FORMAT.to_bytes(4, "big")

# What one file may hold.  Whoever writes stays below; whoever reads a foreign file refuses more.
FRAME_BLOCKS_MAX = 4_096
FRAME_BYTES_MAX = 64 * 1024 * 1024
"""Of one frame's blocks, unpacked; so also of one block, with its receipts."""
PAYLOADS_BYTES_MAX = 64 * 1024 * 1024
FRAMES_MAX = 65_536
INDEX_BYTES_MAX = 32 * 1024 * 1024
RECEIPTS_MAX = 16 * 1024 * 1024
EDGE_MAX = 64
ERAS_MAX = 1_024
"""Validator sets that one segment may name."""
HEADER_BYTES_MAX = 2_048

NODE_LEVEL = 8
"""Of the log tree, a segment keeps the complete nodes of this level: one for 256 receipts."""
NODES_MAX = RECEIPTS_MAX >> NODE_LEVEL

ID_PREFIX_BYTES = 4
ID_ROW = struct.Struct(">4sI")
_TRAILER_HEAD = struct.Struct(">QQ32s")
_TRAILER = struct.Struct(">QQ32s32s8s")
TRAILER_BYTES = _TRAILER.size
_AFTER_FILE_HASH = 32 + len(END_MAGIC)
SEGMENT_BYTES_MIN = len(PREFIX) + TRAILER_BYTES


class SegmentDamaged(ValueError):
    """A segment file that is not what its writer wrote, or was not written by us; the message says which part."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where some neighbouring blocks lie.  Frames follow each other without gaps, the first right after the prefix."""

    blocks_bytes: U32  # in the file
    blocks_hash: Bytes32  # SHA-256 of them as they are in the file
    blocks_size: U32  # unpacked
    payloads_bytes: U32  # in the file; 0 where no payload is held
    payloads_hash: Bytes32
    payloads_size: U32
    receipts: Annotated[tuple[U32, ...], Length(1, FRAME_BLOCKS_MAX)]  # of each block

    @property
    def bytes(self) -> int:
        return self.blocks_bytes + self.payloads_bytes


@dataclass(frozen=True, slots=True)
class Summary:
    """What a segment holds, and what it joins on to at both ends."""

    blocks: U64
    chain_id: Bytes32
    edge: Annotated[tuple[Bytes32, ...], Length(0, EDGE_MAX)]
    """The log tree before the first receipt: its complete subtrees, from the left, which is from the largest."""
    first_epoch: U64
    first_height: U64
    first_log_index: U64
    header_before: Annotated[bytes, Length(1, HEADER_BYTES_MAX)]  # of the block below the first
    header_hash: Bytes32  # of the last block
    header_hash_before: Bytes32
    last_epoch: U64
    last_height: U64
    log_size: U64  # after the last block
    root: Bytes32  # RFC 6962 over the blocks, without certificates and payloads
    sets: Annotated[tuple[Validators, ...], Length(1, ERAS_MAX)]  # of the first block, and all that begin after one
    state_digest: Bytes32  # after the last block
    state_digest_before: Bytes32

    @property
    def receipts(self) -> int:
        return self.log_size - self.first_log_index


@dataclass(frozen=True, slots=True)
class Index:
    """The table of a segment."""

    frames: Annotated[tuple[Frame, ...], Length(1, FRAMES_MAX)]
    ids_hash: Bytes32  # SHA-256 of the ids
    nodes: Annotated[tuple[Bytes32, ...], Length(0, NODES_MAX)]
    """The log tree's complete nodes of NODE_LEVEL, from that of the first receipt on."""
    summary: Summary


@dataclass(frozen=True, slots=True)
class Trailer:
    """The end of the file."""

    index_offset: int
    index_bytes: int
    index_hash: bytes
    file_hash: bytes


def encode_index(index: Index) -> bytes:
    return encode_record(index)


def decode_index(data: bytes) -> Index:
    """Return the index in `data`.  Raises SegmentDamaged."""
    try:
        return decode_record(Index, data)
    except EncodingError as error:
        raise SegmentDamaged(f"the index is malformed: {error}") from error


def encode_trailer_head(index_offset: int, index: bytes) -> bytes:
    """Return the trailer up to the hash of the file; that hash, of all bytes before it, and END_MAGIC follow."""
    return _TRAILER_HEAD.pack(index_offset, len(index), hashlib.sha256(index).digest())


def decode_trailer(data: bytes, file_bytes: int) -> Trailer:
    """Return the trailer of a file of this size.  Raises SegmentDamaged."""
    if len(data) != TRAILER_BYTES:
        raise SegmentDamaged(f"expected a trailer of {TRAILER_BYTES} bytes, got {len(data)}")
    offset, length, index_hash, file_hash, magic = _TRAILER.unpack(data)
    if magic != END_MAGIC:
        raise SegmentDamaged("the file does not end as a segment does; it is cut, or not a segment")
    if length > INDEX_BYTES_MAX:
        raise SegmentDamaged(f"expected an index of at most {INDEX_BYTES_MAX} bytes, got {length}")
    if offset < len(PREFIX) or offset + length + TRAILER_BYTES != file_bytes:
        raise SegmentDamaged("the trailer names another place for the index than the one before it")
    return Trailer(offset, length, index_hash, file_hash)


def count_hashed_bytes(file_bytes: int) -> int:
    """Return how many of a file's first bytes its hash covers: all but the hash and what follows it."""
    return file_bytes - _AFTER_FILE_HASH
