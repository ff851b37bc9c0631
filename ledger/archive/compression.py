"""zstd, behind one file.  What comes out is as long as the index said, or it is refused before it is unpacked."""

import zstandard

from ledger.archive.layout import SegmentDamaged

LEVEL = 9
WINDOW_BYTES_MAX = 64 * 1024 * 1024


def compress(data: bytes) -> bytes:
    """Return one zstd frame that states its content's size."""
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=False).compress(data)


def decompress(data: bytes, size: int, size_max: int) -> bytes:
    """Return the `size` bytes that `data` unpacks to.  Raises SegmentDamaged; never makes more than `size_max`."""
    if size > size_max:
        raise SegmentDamaged(f"a frame claims {size} bytes, more than the {size_max} that are allowed")
    try:
        # The library obeys the frame's own size, not ours, so that is looked at first.
        stated = zstandard.get_frame_parameters(data)
        if stated.content_size != size or stated.window_size > WINDOW_BYTES_MAX:
            raise SegmentDamaged(f"a frame unpacks to {stated.content_size} bytes, the index says {size}")
        unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
        unpacked = unpacker.decompress(data, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise SegmentDamaged(f"a frame is not zstd: {error}") from error
    if len(unpacked) != size:
        raise SegmentDamaged(f"a frame unpacks to {len(unpacked)} bytes, the index says {size}")
    return unpacked
