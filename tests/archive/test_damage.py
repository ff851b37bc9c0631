"""No changed byte of a segment passes, and no foreign file makes the reader take more than its bounds."""

import hashlib
import struct
from dataclasses import replace

import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledger.archive import layout
from ledger.archive.blocks import decode_frame, decode_payloads
from ledger.archive.compression import compress, decompress
from ledger.archive.layout import PREFIX, TRAILER_BYTES, SegmentDamaged
from ledger.archive.segment import Segment
from ledger.archive.writing import FileHash, finish_file
from ledger.primitives.encoding import encode
from tests.archive.chains import ArchivedWorld, open_segment


def passes(chain: ArchivedWorld, data: bytes) -> bool:
    try:
        chain.verify(open_segment(data))
    except SegmentDamaged:
        return False
    return True


def read_all(segment: Segment) -> list[object]:
    """Return everything that can be asked of a segment without verifying the whole file."""
    summary = segment.summary
    found: list[object] = [summary, *segment.iterate_blocks(), segment.read_ids()]
    found += [segment.read_log_node(0, index) for index in range(summary.first_log_index, summary.log_size)]
    return found


def test_no_flipped_byte_passes(chain: ArchivedWorld, files: list[bytes]) -> None:
    data = files[0]
    assert passes(chain, data)

    passed = [
        place
        for place in range(len(data))
        if passes(chain, data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
    ]

    assert passed == []


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_changed_byte_of_any_segment_passes(chain: ArchivedWorld, files: list[bytes], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(files) - 1))
    file = files[number]
    place, mask = data.draw(st.integers(0, len(file) - 1)), data.draw(st.integers(1, 255))
    changed = file[:place] + bytes([file[place] ^ mask]) + file[place + 1 :]

    with pytest.raises(SegmentDamaged):
        open_segment(changed).verify_bytes()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_byte_is_never_read_as_something_else(files: list[bytes], data: st.DataObject) -> None:
    """Also where only a part of the file is read: what comes is what was written, or an error."""
    file = files[1]
    place, mask = data.draw(st.integers(0, len(file) - 1)), data.draw(st.integers(1, 255))
    changed = file[:place] + bytes([file[place] ^ mask]) + file[place + 1 :]
    expected = read_all(open_segment(file))

    try:
        found = read_all(open_segment(changed))
    except SegmentDamaged:
        return
    assert found == expected


def test_no_cut_file_opens(files: list[bytes]) -> None:
    data = files[0]

    for size in range(len(data)):
        with pytest.raises(SegmentDamaged):
            open_segment(data[:size])


def test_nothing_can_be_added(chain: ArchivedWorld, files: list[bytes]) -> None:
    data = files[0]

    assert not passes(chain, data + b"\0")
    assert not passes(chain, data + data)
    assert not passes(chain, b"\0" + data)


def test_an_error_names_the_file(files: list[bytes]) -> None:
    with pytest.raises(SegmentDamaged, match=r"^epochs-1\.segment: "):
        open_segment(files[0][:-1], "epochs-1.segment")


# Files that were made to harm: every hash in them is right.


def rebuild(data: bytes, change: "dict[str, object] | None" = None, blocks: bytes | None = None) -> bytes:
    """Return a segment with another index, or another first frame, and all hashes made anew."""
    segment = open_segment(data)
    index = replace(segment.index, **(change or {}))  # type: ignore[arg-type]
    frames = data[len(PREFIX) : len(PREFIX) + sum(frame.bytes for frame in segment.index.frames)]
    if blocks is not None:
        first = index.frames[0]
        frames = blocks + frames[first.blocks_bytes :]
        own = replace(first, blocks_bytes=len(blocks), blocks_hash=hashlib.sha256(blocks).digest())
        index = replace(index, frames=(own, *index.frames[1:]))
    file = FileHash()
    return file.pass_on(PREFIX + frames) + finish_file(file, index, segment.read_ids())


def test_rebuilding_changes_nothing_by_itself(files: list[bytes]) -> None:
    assert rebuild(files[0]) == files[0]


@pytest.mark.parametrize(
    "change",
    [
        {"root": bytes(32)},
        {"state_digest": bytes(32)},
        {"state_digest_before": bytes(32)},
        {"header_hash": bytes(32)},
        {"header_hash_before": bytes(32)},
        {"last_epoch": 7},
        {"first_epoch": 7},
        {"first_height": 2, "last_height": 4},
        {"chain_id": bytes(32)},
        {"edge": (bytes(32),)},
    ],
)
def test_a_summary_that_says_other_things_is_found(
    chain: ArchivedWorld, files: list[bytes], change: dict[str, object]
) -> None:
    summary = replace(open_segment(files[0]).summary, **change)  # type: ignore[arg-type]

    assert not passes(chain, rebuild(files[0], {"summary": summary}))


def test_ids_that_name_other_places_are_found(chain: ArchivedWorld, files: list[bytes]) -> None:
    segment = open_segment(files[0])
    start = len(PREFIX) + sum(frame.bytes for frame in segment.index.frames)
    ids = segment.read_ids()
    changed = ids[8:] + ids[:8]
    index = replace(segment.index, ids_hash=hashlib.sha256(changed).digest())
    file = FileHash()
    data = file.pass_on(files[0][:start]) + finish_file(file, index, changed)

    assert not passes(chain, data)


NUMBERS = ("blocks", "first_epoch", "first_height", "first_log_index", "last_epoch", "last_height", "log_size")
FRAME_NUMBERS = ("blocks_bytes", "blocks_size", "payloads_bytes", "payloads_size")
numbers = st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(NUMBERS), numbers, max_size=4),
    st.lists(st.binary(min_size=32, max_size=32), max_size=3),
)
def test_a_foreign_summary_is_read_or_refused_and_nothing_else(
    chain: ArchivedWorld, files: list[bytes], changes: dict[str, int], edge: list[bytes]
) -> None:
    summary = open_segment(files[1]).summary
    data = rebuild(files[1], {"summary": replace(summary, **changes, edge=(*edge, *summary.edge)[: len(edge) + 2])})  # type: ignore[arg-type]

    try:
        segment = open_segment(data)
        read_all(segment)
        segment.find_candidates(bytes(32))
        segment.verify(segment.summary.header_hash_before, segment.summary.sets[0], chain.verify_certificate)
    except SegmentDamaged:
        return
    assert segment.summary == summary


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(FRAME_NUMBERS), st.integers(0, 2**32 - 1), min_size=1))
def test_a_foreign_frame_table_is_refused(files: list[bytes], changes: dict[str, int]) -> None:
    frame = open_segment(files[1]).index.frames[0]
    changed = replace(frame, **changes)  # type: ignore[arg-type]
    assume(changed != frame)

    with pytest.raises(SegmentDamaged):
        read_all(open_segment(rebuild(files[1], {"frames": (changed,)})))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_foreign_blocks_are_refused(chain: ArchivedWorld, files: list[bytes], data: st.DataObject) -> None:
    """Packed and hashed as they should be; only what they say is wrong."""
    own = open_segment(files[0])
    frame = own.index.frames[0]
    plain = decompress(own.copy_blocks(0), frame.blocks_size, layout.FRAME_BYTES_MAX)
    place, count = data.draw(st.integers(0, len(plain) - 1)), data.draw(st.integers(0, 4))
    changed = plain[:place] + data.draw(st.binary(max_size=4)) + plain[place + count :]
    assume(changed != plain)
    packed = compress(changed)
    new = replace(
        frame, blocks_bytes=len(packed), blocks_hash=hashlib.sha256(packed).digest(), blocks_size=len(changed)
    )
    file = FileHash()
    start = PREFIX + packed + files[0][len(PREFIX) + frame.blocks_bytes : len(PREFIX) + frame.bytes]
    foreign = file.pass_on(start) + finish_file(file, replace(own.index, frames=(new,)), own.read_ids())

    assert not passes(chain, foreign)


def bomb(size: int) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(bytes(size))


def test_a_frame_that_unpacks_to_more_than_it_claims_is_refused(chain: ArchivedWorld, files: list[bytes]) -> None:
    assert not passes(chain, rebuild(files[0], blocks=bomb(64 * 1024 * 1024)))


def test_a_frame_is_refused_by_what_it_states_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = bomb(1024 * 1024)
    monkeypatch.setattr(zstandard, "ZstdDecompressor", None)  # nobody may reach it

    with pytest.raises(SegmentDamaged, match="unpacks to 1048576 bytes, the index says 10"):
        decompress(packed, 10, 100)
    with pytest.raises(SegmentDamaged, match="claims 1048576 bytes"):
        decompress(packed, 1024 * 1024, 100)


def test_a_frame_without_a_stated_size_is_refused() -> None:
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)

    with pytest.raises(SegmentDamaged):
        decompress(packed, 100, 1_000)


@pytest.mark.parametrize("data", [b"", b"x", b"\x28\xb5\x2f\xfd", compress(b"abc") + b"x", compress(b"abc")[:-1]])
def test_what_is_no_single_zstd_frame_is_refused(data: bytes) -> None:
    with pytest.raises(SegmentDamaged):
        decompress(data, 3, 100)


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", b"\0\0\0\0" * 2 + b"x", b"\0\0\0\0\0\0\0\x08\0\0\0\0\xff\xff\xff\xff"]
)
def test_lengths_beyond_the_end_are_refused(data: bytes) -> None:
    with pytest.raises(SegmentDamaged):
        decode_frame(data)


def test_a_payload_that_was_not_signed_is_refused() -> None:
    with pytest.raises(SegmentDamaged, match="not the one whose hash was signed"):
        decode_payloads(bytes([1]) * 32 + b"\0\0\0\1x")


def test_a_payload_of_no_event_is_found(chain: ArchivedWorld, files: list[bytes]) -> None:
    """The payloads of another segment in the place of this one's: each is real, but not of these events."""
    own, other = open_segment(files[0]), open_segment(files[1])
    frame, foreign = own.index.frames[0], other.index.frames[0]
    start = len(PREFIX) + foreign.blocks_bytes
    payloads = files[1][start : start + foreign.payloads_bytes]
    changed = replace(
        frame, payloads_bytes=len(payloads), payloads_hash=foreign.payloads_hash, payloads_size=foreign.payloads_size
    )
    file = FileHash()
    data = file.pass_on(PREFIX + own.copy_blocks(0) + payloads)
    data += finish_file(file, replace(own.index, frames=(changed,)), own.read_ids())

    with pytest.raises(SegmentDamaged, match="a payload that no event of it names"):
        chain.verify(open_segment(data))


@pytest.mark.parametrize("offset_and_length", [(0, 10), (12, 2**40), (2**63, 2**63), (12, 0)])
def test_a_trailer_that_names_another_place_is_refused(files: list[bytes], offset_and_length: tuple[int, int]) -> None:
    data = bytearray(files[0])
    data[-TRAILER_BYTES : -TRAILER_BYTES + 16] = struct.pack(">QQ", *offset_and_length)

    with pytest.raises(SegmentDamaged):
        open_segment(bytes(data))


@pytest.mark.parametrize("table", [b"", b"\xc0", encode({}), encode([1] * 1_000), b"\xdd\xff\xff\xff\xff"])
def test_an_index_of_another_form_is_refused(table: bytes) -> None:
    with pytest.raises(SegmentDamaged, match="the index is malformed"):
        layout.decode_index(table)
