"""The access log: what was asked is kept, sealed and provable, and the log stays within its bounds."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.primitives import merkle
from ledger.primitives.merkle import ProofInvalid
from ledger.primitives.records import encode_record
from node import access_log
from node.access_log import Access, AccessLog, AccessLogDamaged, Seal, verify_access


def access(number: int = 0, *, allowed: bool = True) -> Access:
    return Access(
        account=bytes([number % 256]) * 32,
        action="read access-log",
        allowed=allowed,
        beat=number,
        code="ROLE_HELD" if allowed else "ROLE_NOT_GRANTED",
        scope="access-log",
        subject=f"page {number}",
    )


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AccessLog]:
    with AccessLog(tmp_path / "access-log") as log:
        yield log


def names(log_folder: Path) -> list[str]:
    return sorted(path.name.replace("0" * 18, "") for path in log_folder.iterdir())


def test_records_are_kept_in_their_order(log: AccessLog) -> None:
    records = [access(number, allowed=number != 1) for number in range(3)]

    indexes = [log.append(4, record) for record in records]

    assert (indexes, log.read(4), log.read(5)) == ([0, 1, 2], records, [])


def test_a_record_without_an_account_is_kept_too(log: AccessLog) -> None:
    record = replace(access(), account=None)

    log.append(0, record)

    assert log.read(0) == [record]


def test_a_log_goes_on_where_it_was_left(tmp_path: Path) -> None:
    with AccessLog(tmp_path) as log:
        log.append(4, access(0))
    with AccessLog(tmp_path) as log:
        index = log.append(4, access(1))

        assert (index, log.read(4)) == (1, [access(0), access(1)])
        assert log.seal(4).count == 2


def test_an_epoch_is_sealed_with_the_root_of_its_records(log: AccessLog) -> None:
    for number in range(5):
        log.append(2, access(number))

    seal = log.seal(2)

    leaves = [merkle.leaf_hash(encode_record(access(number))) for number in range(5)]
    assert seal == Seal(2, merkle.compute_root(leaves), 5)
    assert log.seal(2) == seal


def test_a_sealed_epoch_takes_no_record_any_more(log: AccessLog) -> None:
    log.append(2, access())
    log.seal(2)

    for epoch in (2, 1):
        with pytest.raises(AssertionError, match=f"epoch {epoch} comes after 2"):
            log.append(epoch, access())
    assert log.append(3, access()) == 0


def test_an_earlier_epoch_is_sealed_while_the_next_grows(log: AccessLog) -> None:
    log.append(2, access(0))
    log.append(3, access(1))

    assert log.unsealed() == [2, 3]
    assert log.seal(2).count == 1
    assert log.unsealed() == [3]
    assert log.append(3, access(2)) == 1


def test_an_epoch_in_which_nothing_was_asked_is_sealed_as_empty(log: AccessLog) -> None:
    log.append(2, access())

    assert log.seal(3) == Seal(3, merkle.EMPTY_ROOT, 0)
    with pytest.raises(AssertionError, match="epoch 1 was never logged"):
        log.seal(1)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_record_of_a_sealed_epoch_is_provable(log: AccessLog, count: int) -> None:
    for number in range(count):
        log.append(9, access(number))
    seal = log.seal(9)

    found = [verify_access(log.prove(9, index), seal.root, seal.count) for index in range(count)]

    assert found == [access(number) for number in range(count)]


def test_a_proof_shows_no_other_record_place_or_root(log: AccessLog) -> None:
    for number in range(4):
        log.append(9, access(number))
    seal = log.seal(9)
    proof = log.prove(9, 1)

    for forged in (replace(proof, record=encode_record(access(3))), replace(proof, index=2)):
        with pytest.raises(ProofInvalid):
            verify_access(forged, seal.root, seal.count)
    with pytest.raises(ProofInvalid):
        verify_access(proof, bytes(32), seal.count)
    with pytest.raises(ProofInvalid):
        verify_access(proof, seal.root, seal.count + 4)


def test_what_is_not_sealed_or_not_there_has_no_proof(log: AccessLog) -> None:
    log.append(9, access())
    with pytest.raises(LookupError, match="expected a sealed epoch, got 9"):
        log.prove(9, 0)
    log.seal(9)
    for index in (-1, 1):
        with pytest.raises(LookupError, match="expected an index below 1"):
            log.prove(9, index)


def test_a_full_epoch_counts_what_it_does_not_keep(log: AccessLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "EPOCH_RECORDS_MAX", 2)

    indexes = [log.append(4, access(number)) for number in range(4)]

    assert (indexes, log.omitted) == ([0, 1, None, None], 2)
    assert log.seal(4).count == 2
    assert (log.append(5, access()), log.omitted) == (0, 0)


def test_the_oldest_epochs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "EPOCHS_KEPT", 3)
    with AccessLog(tmp_path) as log:
        for epoch in range(1, 6):
            log.append(epoch, access())
            if epoch != 4:
                log.seal(epoch)

        assert names(tmp_path) == ["open-04.log", "sealed-03.log", "sealed-05.log"]
        assert log.read(2) == []


def test_a_record_longer_than_the_bound_is_our_own_mistake(log: AccessLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "RECORD_BYTES_MAX", 10)

    with pytest.raises(AssertionError, match="a record of"):
        log.append(1, access())


@pytest.mark.parametrize("lost", range(1, 40, 6))
def test_a_torn_end_is_cut_off(tmp_path: Path, lost: int) -> None:
    with AccessLog(tmp_path) as log:
        for number in range(3):
            log.append(1, access(number))
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:-lost])

    with AccessLog(tmp_path) as log:
        assert log.append(1, access(7)) == 2
        assert log.read(1) == [access(0), access(1), access(7)]


def test_damage_in_the_middle_is_refused(tmp_path: Path) -> None:
    with AccessLog(tmp_path) as log:
        for number in range(3):
            log.append(1, access(number))
    path = next(tmp_path.iterdir())
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)

    with pytest.raises(AccessLogDamaged, match="at byte 0"):
        AccessLog(tmp_path)


def test_a_sealed_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    with AccessLog(tmp_path) as log:
        log.append(1, access(0))
        log.append(1, access(1))
        log.seal(1)
        path = next(tmp_path.iterdir())
        path.write_bytes(path.read_bytes()[:-1])

        with pytest.raises(AccessLogDamaged):
            log.prove(1, 0)
        with pytest.raises(AccessLogDamaged):
            log.seal(1)


def test_only_the_owner_reads_the_files(tmp_path: Path) -> None:
    with AccessLog(tmp_path / "log") as log:
        log.append(1, access())

    assert (tmp_path / "log").stat().st_mode & 0o077 == 0
    assert next((tmp_path / "log").iterdir()).stat().st_mode & 0o077 == 0


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with AccessLog(tmp_path) as log:
        log.append(1, access())
        log.seal(1)

    assert names(tmp_path) == ["notes.txt", "sealed-01.log"]
