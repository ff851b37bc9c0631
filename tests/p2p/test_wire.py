"""Frames survive any cutting, and malformed ones are faults."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import PeerFault
from p2p.wire import FrameKind, FrameReader, encode_frame, encode_frames

frames_lists = st.lists(st.binary(min_size=1, max_size=300), max_size=20)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(at % (len(data) + 1) for at in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


@given(frames_lists, st.lists(st.integers(0, 10_000), max_size=40))
def test_any_cutting_of_the_stream_gives_the_same_frames(frames: list[bytes], cuts: list[int]) -> None:
    reader = FrameReader(300)

    received = [frame for piece in cut(encode_frames(frames), cuts) for frame in reader.feed(piece)]

    reader.finish()
    assert received == frames


@given(frames_lists, st.lists(st.integers(0, 10_000), max_size=40))
def test_a_first_frame_taken_alone_leaves_the_others(frames: list[bytes], cuts: list[int]) -> None:
    frames = [b"first", *frames]
    reader = FrameReader(300)
    received: list[bytes] = []

    for piece in cut(encode_frames(frames), cuts):
        if received:
            received += reader.feed(piece)
        elif (first := reader.feed_for_one(piece)) is not None:
            received += [first, *reader.feed(b"")]

    assert received == frames


@given(st.binary(min_size=1, max_size=400))
def test_garbage_gives_frames_or_a_fault_and_nothing_else(data: bytes) -> None:
    reader = FrameReader(64)
    codes = {"frame_empty", "frame_oversize", "frame_truncated"}

    try:
        frames = reader.feed(data)
        reader.finish()
        outcome = encode_frames(frames) == data
    except PeerFault as fault:
        outcome = fault.code in codes

    assert outcome


def test_an_empty_frame_is_a_fault() -> None:
    with pytest.raises(PeerFault, match="frame_empty"):
        FrameReader(100).feed(bytes(4))


def test_a_frame_over_the_bound_is_a_fault_as_soon_as_its_length_is_known() -> None:
    with pytest.raises(PeerFault, match="frame_oversize"):
        FrameReader(100).feed((101).to_bytes(4, "big"))


def test_a_stream_that_ends_inside_a_frame_is_a_fault() -> None:
    reader = FrameReader(100)
    assert reader.feed(encode_frame(FrameKind.CONSENSUS, b"body")[:-1]) == []
    with pytest.raises(PeerFault, match="frame_truncated"):
        reader.finish()


def test_one_frame_is_its_kind_and_its_parts() -> None:
    assert FrameReader(100).feed(encode_frame(FrameKind.REQUEST, b"a", b"bc")) == [b"\x04abc"]
