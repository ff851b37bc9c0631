"""Reading an archive as one ledger: events, proofs and replay from nothing but segments."""

import pytest

from ledger import keyspace
from ledger.archive import segment, tally
from ledger.archive.collection import ArchiveIncomplete, ArchiveView
from ledger.archive.layout import SegmentDamaged
from ledger.primitives.records import encode_record
from ledger.proofs import ProofUnavailable, make_event_proof, verify_event_proof
from ledger.receipts import APPLIED, DENIED, SKIPPED, encode_receipt
from ledger.service import Validators
from node.replay import ReplayFailed, replay_archive
from tests.archive.chains import ArchivedWorld, open_archive
from tests.ledger.world import id_of


def test_every_event_is_found_by_its_id_where_the_store_has_it(chain: ArchivedWorld, files: list[bytes]) -> None:
    archive = open_archive(files)

    with chain.store.snapshot() as snapshot:
        for key, value in snapshot.iterate(keyspace.EVENT_ID, keyspace.after(keyspace.EVENT_ID)):
            log_index = int.from_bytes(value, "big")
            expected = log_index if log_index < archive.log_size else None
            assert archive.find_event(key[1:]) == expected


def test_an_event_that_was_skipped_again_is_found_where_it_was_executed(
    chain: ArchivedWorld, files: list[bytes]
) -> None:
    archive = open_archive(files)
    copies = [
        log_index
        for log_index in range(archive.log_size)
        if archive.read_event(log_index).receipt.event_id == id_of(chain.events[1])
    ]

    found = archive.find_event(id_of(chain.events[1]))

    assert len(copies) == 2
    assert [archive.read_event(log_index).receipt.outcome for log_index in copies] == [APPLIED, SKIPPED]
    assert found == copies[0]


def test_an_event_that_was_skipped_before_is_found_where_it_was_executed(
    chain: ArchivedWorld, files: list[bytes]
) -> None:
    """The skipped copy lies in a segment of its own, written before the event was executed."""
    early = id_of(chain.early)

    found = [open_archive(files[:count]).find_event(early) for count in (1, 2, 3)]

    assert found[0] is None
    assert found[1] is not None
    assert found[2] is not None
    outcomes = [open_archive(files).read_event(each).receipt.outcome for each in (found[1], found[2])]
    assert outcomes == [SKIPPED, APPLIED]


def test_an_unknown_event_is_not_found(files: list[bytes]) -> None:
    assert open_archive(files).find_event(bytes(32)) is None


def test_events_come_with_receipt_and_payload(chain: ArchivedWorld, files: list[bytes]) -> None:
    archive = open_archive(files)

    outcomes: set[str] = set()
    with chain.store.snapshot() as snapshot:
        for log_index in range(archive.log_size):
            found = archive.read_event(log_index)
            outcomes.add(found.receipt.outcome)
            assert encode_receipt(found.receipt) == snapshot.get(keyspace.receipt(log_index))
            stored = None if found.stored is None else encode_record(found.stored)
            assert stored == snapshot.get(keyspace.event(log_index))
            if found.stored is not None and found.stored.content is not None:
                assert found.payload == snapshot.get(keyspace.payload(found.stored.content))
    assert outcomes == {APPLIED, DENIED, SKIPPED}


def test_a_proof_from_the_archive_is_the_one_that_the_node_gives(chain: ArchivedWorld, files: list[bytes]) -> None:
    """For every receipt of every era; only where the store's newest certificates come later may they differ."""
    archive = open_archive(files)
    view = ArchiveView(archive)
    eras: set[int] = set()

    with chain.store.snapshot() as snapshot:
        for key, value in snapshot.iterate(keyspace.EVENT_ID, keyspace.after(keyspace.EVENT_ID)):
            if int.from_bytes(value, "big") < archive.log_size:
                proof = make_event_proof(view, archive.height, key[1:])
                assert proof == make_event_proof(snapshot, chain.chain.head.height, key[1:])
                eras.add(verify_event_proof(proof, chain.chain.genesis, chain.verify_certificate).validators.era)
    assert eras == {0, 1, 2}


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_proofs_are_the_same_where_the_index_holds_log_nodes(
    chain: ArchivedWorld, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    """It holds those of NODE_LEVEL, of which this small log has none: so they are taken from further down."""
    monkeypatch.setattr(tally, "NODE_LEVEL", level)
    monkeypatch.setattr(segment, "NODE_LEVEL", level)
    archive = open_archive(chain.write_segments())
    archive.verify(chain.genesis_hash, Validators(chain.chain.genesis.validators), chain.verify_certificate)

    assert sum(len(each.index.nodes) for each in archive.segments) >= archive.log_size >> level
    with chain.store.snapshot() as snapshot:
        for log_index in range(archive.log_size):
            event_id = archive.read_event(log_index).receipt.event_id
            expected = make_event_proof(snapshot, chain.chain.head.height, event_id)
            assert make_event_proof(ArchiveView(archive), archive.height, event_id) == expected


def test_of_what_is_not_archived_there_is_no_proof(chain: ArchivedWorld, files: list[bytes]) -> None:
    archive = open_archive(files)

    with pytest.raises(ProofUnavailable):
        make_event_proof(ArchiveView(archive), archive.height, id_of(chain.events[-1]))


def test_replay_from_the_archive_gives_the_state_of_the_chain(chain: ArchivedWorld, files: list[bytes]) -> None:
    archive = open_archive(files)

    replayed = replay_archive(archive, chain.chain.genesis, chain.chain.registry)

    header = chain.chain.read_header(archive.height)
    assert header is not None
    assert (replayed.height, replayed.state_digest) == (archive.height, header.state_digest)
    assert replayed.events == archive.log_size
    assert replayed.certificates == archive.height - 1


def test_replay_stops_at_a_block_that_its_events_do_not_give(
    chain: ArchivedWorld, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = open_archive(files)
    third = archive.read_block(3)
    monkeypatch.setattr(archive, "read_block", lambda height: third)

    with pytest.raises(ReplayFailed, match="height 1"):
        replay_archive(archive, chain.chain.genesis, chain.chain.registry)


def test_an_archive_verifies_from_genesis_on(chain: ArchivedWorld, files: list[bytes]) -> None:
    heights: list[int] = []
    archive = open_archive(files[::-1])

    archive.verify(
        chain.genesis_hash, Validators(chain.chain.genesis.validators), chain.verify_certificate, heights.append
    )

    assert heights == list(range(1, archive.height + 1))


def test_a_segment_of_another_set_does_not_verify(chain: ArchivedWorld, files: list[bytes]) -> None:
    """The first set changed in the second segment: what the third says must follow from that."""
    archive = open_archive(files)
    genesis_set = Validators(chain.chain.genesis.validators)

    with pytest.raises(SegmentDamaged, match="does not continue"):
        archive.segments[2].verify(archive.segments[1].summary.header_hash, genesis_set, chain.verify_certificate)


def test_a_missing_segment_is_named_by_its_heights(files: list[bytes]) -> None:
    with pytest.raises(ArchiveIncomplete, match="the heights 4 to 7 are in no segment"):
        open_archive([files[0], *files[2:]])
    with pytest.raises(ArchiveIncomplete, match="the heights 1 to 3 are in no segment"):
        open_archive(files[1:])


def test_segments_that_overlap_are_no_archive(chain: ArchivedWorld, files: list[bytes]) -> None:
    with pytest.raises(ArchiveIncomplete, match="does not follow"):
        open_archive([files[0], files[0]])
    with pytest.raises(ArchiveIncomplete, match="does not follow"):
        open_archive([*files[:2], *chain.write_segments(2)])


def test_an_empty_archive_holds_nothing() -> None:
    archive = open_archive([])

    assert (archive.height, archive.log_size) == (0, 0)
    assert archive.find_event(bytes(32)) is None
    assert archive.read_block(1) is None
    assert archive.read_header(0) is None
