"""Erasing a payload: text and salt are gone from the file, and all that was proven stays proven."""

import hashlib
from dataclasses import replace

import pytest
import zstandard

from ledger.archive.collection import Archive, ArchiveView
from ledger.archive.erasure import erase_payloads, find_held
from ledger.archive.layout import PREFIX
from ledger.archive.segment import Segment
from ledger.block import StoredEvent
from ledger.primitives.records import decode_record
from ledger.proofs import make_event_proof, verify_event_proof
from node.replay import replay_archive
from tests.archive.chains import SECRET, ArchivedWorld, open_archive, open_segment
from tests.ledger.world import SALT, id_of


def content_of(archive: Archive, event_id: bytes) -> bytes:
    log_index = archive.find_event(event_id)
    assert log_index is not None
    stored = archive.read_event(log_index).stored
    assert stored is not None
    assert stored.content is not None
    return stored.content


def unpack(segment: Segment, data: bytes) -> bytes:
    """Return every byte of a segment as it is, and unpacked, found without the reader."""
    plain, offset = [data], len(PREFIX)
    for frame in segment.index.frames:
        for count in (frame.blocks_bytes, frame.payloads_bytes):
            if count:
                plain.append(zstandard.ZstdDecompressor().decompress(data[offset : offset + count]))
            offset += count
    return b"".join(plain)


@pytest.fixture
def content(chain: ArchivedWorld, files: list[bytes]) -> bytes:
    return content_of(open_archive(files), id_of(chain.secret))


@pytest.fixture
def erased(files: list[bytes], content: bytes) -> bytes:
    """The first segment, without the secret."""
    return b"".join(erase_payloads(open_segment(files[0]), [content]))


def test_the_text_is_gone_from_the_file(files: list[bytes], erased: bytes) -> None:
    before, after = (unpack(open_segment(data), data) for data in (files[0], erased))

    assert SECRET.encode() in before
    assert SECRET.encode() not in after
    assert before.count(SALT) - after.count(SALT) == 1
    assert len(erased) < len(files[0])


def test_root_and_summary_stay(chain: ArchivedWorld, files: list[bytes], erased: bytes) -> None:
    segment = open_segment(erased)

    chain.verify(segment)

    assert segment.summary == open_segment(files[0]).summary


def test_blocks_stay_byte_for_byte(files: list[bytes], erased: bytes) -> None:
    before, after = open_segment(files[0]), open_segment(erased)

    assert [after.copy_blocks(number) for number in range(len(after.index.frames))] == [
        before.copy_blocks(number) for number in range(len(before.index.frames))
    ]


def test_all_proofs_stay(chain: ArchivedWorld, files: list[bytes], erased: bytes) -> None:
    before, after = open_archive(files), open_archive([erased, *files[1:]])

    for event in chain.events[:-1]:
        proof = make_event_proof(ArchiveView(after), after.height, id_of(event))
        assert proof == make_event_proof(ArchiveView(before), before.height, id_of(event))
        verify_event_proof(proof, chain.chain.genesis, chain.verify_certificate)


def test_other_payloads_stay(chain: ArchivedWorld, files: list[bytes], erased: bytes) -> None:
    before, after = open_segment(files[0]), open_segment(erased)
    secret = chain.secret.payload

    kept = [list(block.payloads.values()) for block in after.iterate_blocks()]

    assert kept == [[each for each in block.payloads.values() if each != secret] for block in before.iterate_blocks()]
    assert any(kept)


def test_the_event_is_read_without_its_text(chain: ArchivedWorld, files: list[bytes], erased: bytes) -> None:
    archive = open_archive([erased, *files[1:]])
    log_index = archive.find_event(id_of(chain.secret))
    assert log_index is not None

    found = archive.read_event(log_index)

    assert found.payload is None
    assert found.stored is not None
    assert found.stored.event == chain.secret.event


def test_replay_gives_the_same_and_says_what_is_missing(
    chain: ArchivedWorld, files: list[bytes], erased: bytes
) -> None:
    whole, lacking = (
        replay_archive(open_archive([first, *files[1:]]), chain.chain.genesis, chain.chain.registry)
        for first in (files[0], erased)
    )

    assert lacking == replace(whole, payloads_missing=whole.payloads_missing + 1)


def test_erasing_twice_changes_nothing_more(erased: bytes, content: bytes) -> None:
    assert find_held(open_segment(erased), [content]) == []
    assert b"".join(erase_payloads(open_segment(erased), [content])) == erased


def test_what_a_segment_does_not_hold_is_not_found(files: list[bytes], content: bytes) -> None:
    assert find_held(open_segment(files[0]), [content, bytes(32)]) == [content]
    assert find_held(open_segment(files[1]), [content]) == []


def test_all_payloads_can_go(chain: ArchivedWorld, files: list[bytes]) -> None:
    segment = open_segment(files[0])
    events = (data for block in segment.iterate_blocks() for data in block.events if data)
    contents = [each.content for each in (decode_record(StoredEvent, data) for data in events) if each.content]

    data = b"".join(erase_payloads(segment, contents))

    assert [frame.payloads_bytes for frame in open_segment(data).index.frames] == [0]
    assert open_segment(data).index.frames[0].payloads_hash == hashlib.sha256(b"").digest()
    chain.verify(open_segment(data))
