"""Segments: what goes in comes out, one root for all nodes, and one frame for one block."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import keyspace
from ledger.archive import writing
from ledger.archive.blocks import ArchivedBlock, decode_frame, encode_core, encode_entry, read_archived_block
from ledger.archive.layout import SegmentDamaged
from ledger.archive.segment import FRAMES_CACHED, FrameCache, Segment
from ledger.archive.tally import ChainBroken, NextSet, Tally, list_edge
from ledger.archive.writing import SegmentWriter
from ledger.block import compute_header_hash, decode_header, encode_header
from ledger.primitives import merkle
from ledger.receipts import decode_receipt, encode_receipt
from ledger.service import Validators
from node.archive_writer import Source
from tests.archive.chains import EPOCHS, ArchivedWorld, open_archive, open_segment
from tests.ledger.changing_sets import EPOCH_BEATS

parts = st.binary(max_size=40)


@given(st.lists(st.tuples(parts, parts, st.lists(st.tuples(parts, parts), max_size=4)), max_size=4))
def test_a_frame_gives_back_its_blocks(given_blocks: list[tuple[bytes, bytes, list[tuple[bytes, bytes]]]]) -> None:
    blocks = [
        ArchivedBlock(header, certificate, tuple(a for a, _ in rows), tuple(b for _, b in rows))
        for header, certificate, rows in given_blocks
    ]

    frame = b"".join(encode_entry(block.certificate, encode_core(block)) for block in blocks)

    assert decode_frame(frame) == blocks


def test_every_block_comes_out_as_the_store_has_it(chain: ArchivedWorld, files: list[bytes]) -> None:
    archive = open_archive(files)

    with chain.store.snapshot() as snapshot:
        for height in range(1, archive.height + 1):
            assert archive.read_block(height) == read_archived_block(snapshot, height)
    assert archive.height == chain.chain.head.height - 1


def test_a_summary_names_what_the_segment_joins_on_to(chain: ArchivedWorld, files: list[bytes]) -> None:
    summary = open_segment(files[1]).summary

    before, last = (chain.chain.read_header(height) for height in (EPOCH_BEATS - 1, 2 * EPOCH_BEATS - 1))
    assert before is not None
    assert last is not None
    assert (summary.first_epoch, summary.last_epoch) == (1, 1)
    assert (summary.first_height, summary.last_height) == (EPOCH_BEATS, 2 * EPOCH_BEATS - 1)
    assert (summary.first_log_index, summary.log_size) == (before.log_size, last.log_size)
    assert (summary.state_digest_before, summary.state_digest) == (before.state_digest, last.state_digest)
    assert summary.header_hash_before == compute_header_hash(encode_header(before))
    assert summary.header_hash == compute_header_hash(encode_header(last))
    assert [each.era for each in summary.sets] == [0, 1]


def test_the_root_is_over_the_blocks(chain: ArchivedWorld, files: list[bytes]) -> None:
    segment = open_segment(files[0])

    leaves = [merkle.leaf_hash(encode_core(block)) for block in segment.iterate_blocks()]

    assert len(leaves) == segment.summary.blocks
    assert merkle.compute_root(leaves) == segment.summary.root


def test_two_nodes_write_one_root_though_their_certificates_differ(chain: ArchivedWorld, files: list[bytes]) -> None:
    quorum = chain.certify(2, chain.keys_at(2)[:3])
    own = chain.chain.read_certificate(2)
    assert own is not None
    assert own != quorum

    chain.chain.write_certificate(2, quorum)
    other = chain.write_segments()[0]
    chain.chain.write_certificate(2, own)

    assert other != files[0]
    assert open_segment(other).summary == open_segment(files[0]).summary


def test_a_segment_of_many_epochs_verifies_as_well(chain: ArchivedWorld) -> None:
    (data,) = chain.write_segments(EPOCHS)

    segment = open_segment(data)
    chain.verify(segment)

    assert [each.era for each in segment.summary.sets] == [0, 1, 2]
    assert segment.summary.last_epoch == EPOCHS - 1


def test_what_is_not_over_is_not_written(chain: ArchivedWorld) -> None:
    assert chain.write_segments(EPOCHS + 1) == []


def test_a_range_whose_last_block_has_no_certificate_takes_an_epoch_more(chain: ArchivedWorld) -> None:
    last = EPOCH_BEATS - 1
    certificate = chain.chain.read_certificate(last)
    assert certificate is not None

    chain.chain.write_certificate(last, b"")
    data = chain.write_segments()
    chain.chain.write_certificate(last, certificate)

    assert [open_segment(each).summary.last_epoch for each in data] == [1, 2, 3]
    chain.verify(open_segment(data[0]))


def test_one_block_costs_one_frame(chain: ArchivedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FRAME_BYTES", 4_000)
    (data,) = chain.write_segments(EPOCHS)
    reads: list[tuple[int, int]] = []

    def read_at(offset: int, count: int) -> bytes:
        reads.append((offset, count))
        return data[offset : offset + count]

    segment = Segment("counted", len(data), read_at)
    frames = segment.index.frames
    reads.clear()
    segment.read_block(7)

    assert len(frames) > 3
    assert sum(count for _, count in reads) in [frame.bytes for frame in frames]
    chain.verify(open_segment(data))


def test_reading_all_segments_keeps_only_a_few_frames(chain: ArchivedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FRAME_BYTES", 1)
    cache = FrameCache()
    segments = [open_segment(data, str(number), cache) for number, data in enumerate(chain.write_segments())]

    for segment in segments:
        assert len(list(segment.iterate_blocks())) == segment.summary.blocks == len(segment.index.frames)
        assert len(cache) <= FRAMES_CACHED
    assert segments[0].read_block(1) == read(chain, 1)


def test_log_nodes_are_those_of_the_chain(chain: ArchivedWorld, files: list[bytes]) -> None:
    archive = open_archive(files)

    for level in range(6):
        for index in range(archive.log_size >> level):
            assert archive.read_log_node(level, index) == chain.chain.read_log_node(level, index)
    assert archive.read_log_node(6, 0) is None
    assert archive.read_log_node(0, archive.log_size) is None


# What does not follow, or was not certified, is neither written nor believed.


def tally_of(chain: ArchivedWorld, first: int = 1) -> Tally:
    with chain.store.snapshot() as snapshot:
        return Source("test", snapshot).make_tally(first, chain.verify_certificate)


def read(chain: ArchivedWorld, height: int) -> ArchivedBlock:
    with chain.store.snapshot() as snapshot:
        return Source("test", snapshot).read_block(height)


def test_a_block_out_of_order_is_refused(chain: ArchivedWorld) -> None:
    with pytest.raises(ChainBroken, match="height 1: the block does not follow"):
        tally_of(chain).add(read(chain, 2))


def test_a_lost_receipt_is_found(chain: ArchivedWorld) -> None:
    block = read(chain, 2)

    with pytest.raises(ChainBroken, match="the receipts are not those"):
        tally_of(chain, 2).add(replace(block, receipts=block.receipts[:-1], events=block.events[:-1]))


def test_exchanged_events_are_found(chain: ArchivedWorld) -> None:
    block = read(chain, 2)
    events = (*block.events[:-2], block.events[-1], block.events[-2])

    with pytest.raises(ChainBroken, match="the events are not those"):
        tally_of(chain, 2).add(replace(block, events=events))


def test_a_certificate_of_too_few_is_refused(chain: ArchivedWorld) -> None:
    forged = chain.certify(1, chain.keys_at(1)[:2])

    with pytest.raises(ChainBroken, match="height 1: the certificate does not verify"):
        tally_of(chain).add(replace(read(chain, 1), certificate=forged))


def test_who_ends_an_era_needs_a_certificate_of_its_own(chain: ArchivedWorld) -> None:
    tally = tally_of(chain, EPOCH_BEATS)

    with pytest.raises(ChainBroken, match="changes the validator set, but has no certificate"):
        tally.add(replace(read(chain, EPOCH_BEATS), certificate=b""))


def test_a_segment_can_not_end_without_a_certificate(chain: ArchivedWorld) -> None:
    writer = SegmentWriter(tally_of(chain, EPOCH_BEATS + 1))
    writer.add(read(chain, EPOCH_BEATS + 1))

    with pytest.raises(ChainBroken, match=f"height {EPOCH_BEATS + 1}: no certificate"):
        writer.finish()


def test_a_segment_is_not_believed_under_another_set(chain: ArchivedWorld, files: list[bytes]) -> None:
    others = Validators(tuple(key.public for key in chain.sets[0]))

    with pytest.raises(SegmentDamaged, match="does not continue"):
        open_segment(files[0]).verify(chain.genesis_hash, others, chain.verify_certificate)


def test_a_segment_is_not_believed_on_another_block(chain: ArchivedWorld, files: list[bytes]) -> None:
    set_of_genesis = Validators(chain.chain.genesis.validators)

    with pytest.raises(SegmentDamaged, match="does not continue"):
        open_segment(files[0]).verify(bytes(32), set_of_genesis, chain.verify_certificate)


def test_a_store_with_an_edited_receipt_is_not_archived(chain: ArchivedWorld) -> None:
    key = keyspace.receipt(3)
    own = chain.store.get(key)
    assert own is not None
    chain.store.write([(key, own[:-1] + bytes([own[-1] ^ 1]))], [])
    try:
        with pytest.raises(ChainBroken, match="the receipts are not those"):
            chain.write_segments()
    finally:
        chain.store.write([(key, own)], [])


# What not even a quorum can make true: the certificate of these is believed, whatever it says.


def trusting(chain: ArchivedWorld, first: int, next_set: NextSet = lambda era: None) -> Tally:
    header = chain.chain.read_header(first - 1)
    assert header is not None
    edge = tuple(chain.chain.read_log_node(level, index) for level, index in list_edge(header.log_size))
    return Tally(encode_header(header), edge, chain.chain.validators_at(first), next_set, lambda *given: None)


def test_a_header_with_another_log_root_is_refused(chain: ArchivedWorld) -> None:
    block = read(chain, 2)
    forged = encode_header(replace(decode_header(block.header), log_root=bytes(32)))

    with pytest.raises(ChainBroken, match="the log tree is not the one"):
        trusting(chain, 2).add(replace(block, header=forged))


def test_a_receipt_that_claims_another_place_is_refused(chain: ArchivedWorld) -> None:
    block = read(chain, 2)
    header = decode_header(block.header)
    receipts = (*block.receipts[:-1], encode_receipt(replace(decode_receipt(block.receipts[-1]), log_index=0)))
    leaves = [merkle.leaf_hash(data) for data in receipts]
    first = header.log_size - header.event_count
    log_root = merkle.append_leaves(first, leaves, chain.chain.read_log_node)[1]
    forged = replace(header, receipt_root=merkle.compute_root(leaves), log_root=log_root)

    with pytest.raises(ChainBroken, match="a receipt claims another place"):
        trusting(chain, 2).add(replace(block, header=encode_header(forged), receipts=receipts))


def test_the_next_set_is_the_one_that_the_header_names(chain: ArchivedWorld) -> None:
    own = chain.chain.validators_at(EPOCH_BEATS + 1)

    def add(following: Validators | None) -> None:
        trusting(chain, EPOCH_BEATS, lambda era: following).add(read(chain, EPOCH_BEATS))

    add(own)
    with pytest.raises(ChainBroken, match="names another validator set"):
        add(replace(own, keys=own.keys[1:]))
    for other in (None, replace(own, era=2), replace(own, since=own.since + 1)):
        with pytest.raises(ChainBroken, match="is missing"):
            add(other)


def test_a_tally_begins_on_the_edge_and_the_set_that_the_header_names(chain: ArchivedWorld) -> None:
    header = chain.chain.read_header(2)
    assert header is not None
    validators = chain.chain.validators_at(3)
    edge = tuple(chain.chain.read_log_node(level, index) for level, index in list_edge(header.log_size))

    for wrong in ((), edge[::-1], (*edge, bytes(32))):
        with pytest.raises(ChainBroken, match="the log tree"):
            Tally(encode_header(header), wrong, validators, lambda era: None, chain.verify_certificate)
    others = Validators(validators.keys[1:])
    with pytest.raises(ChainBroken, match="another validator set"):
        Tally(encode_header(header), edge, others, lambda era: None, chain.verify_certificate)
