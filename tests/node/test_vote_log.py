"""The vote log: a crash at any byte loses at most what was not synced, and damage is never taken for a crash."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.vote_log import VoteLog, VoteLogCorrupt

CHAIN = b"c" * 32
RECORDS = [b"first", b"second" * 20, b"\xf5VOT in a record", b"x"]


def write(path: Path, groups: list[list[bytes]]) -> list[int]:
    """Write groups of records, each synced; return the size of the file after each."""
    with VoteLog.open(path, CHAIN) as log:
        sizes = [log.size_bytes]
        for group in groups:
            log.append(group)
            log.sync()
            sizes.append(log.size_bytes)
    return sizes


def read(path: Path) -> list[bytes]:
    with VoteLog.open(path, CHAIN) as log:
        return list(log.records)


def test_what_was_synced_is_read_back_in_order(tmp_path: Path) -> None:
    write(tmp_path / "votes", [[record] for record in RECORDS])

    assert read(tmp_path / "votes") == RECORDS


def test_what_was_not_synced_is_not_in_the_file(tmp_path: Path) -> None:
    log = VoteLog.open(tmp_path / "votes", CHAIN)
    log.append([b"lost"])

    assert read(tmp_path / "votes") == []


@pytest.mark.parametrize("grouped", [False, True])
def test_a_file_cut_at_any_byte_keeps_all_groups_before(tmp_path: Path, grouped: bool) -> None:
    path = tmp_path / "votes"
    groups = [RECORDS[:2], RECORDS[2:]] if grouped else [[record] for record in RECORDS]
    sizes = write(path, groups)
    data = path.read_bytes()

    for length in range(sizes[0], len(data) + 1):
        path.write_bytes(data[:length])
        whole = sum(1 for size in sizes[1:] if size <= length)
        assert read(path) == [record for group in groups[:whole] for record in group]
        assert path.stat().st_size == sizes[whole]  # the torn tail is gone from the file too


def test_a_log_with_a_cut_tail_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    write(path, [[b"first"], [b"second"]])
    path.write_bytes(path.read_bytes()[:-1])

    write(path, [[b"third"]])

    assert read(path) == [b"first", b"third"]


def test_any_bad_byte_with_a_good_frame_behind_it_is_fatal(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    sizes = write(path, [[b"first"], [b"second"], [b"third"]])
    data = path.read_bytes()

    for offset in range(sizes[2]):
        path.write_bytes(data[:offset] + bytes((data[offset] ^ 0x10,)) + data[offset + 1 :])
        with pytest.raises(VoteLogCorrupt) as raised:
            read(path)
        assert raised.value.path == path
        assert raised.value.offset == max(size for size in (0, *sizes[:2]) if size <= offset)
        assert str(path) in str(raised.value)


def test_a_bad_byte_in_the_last_frame_is_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    sizes = write(path, [[b"first"], [b"second"]])
    data = path.read_bytes()

    for offset in range(sizes[1], sizes[2]):
        path.write_bytes(data[:offset] + bytes((data[offset] ^ 0x10,)) + data[offset + 1 :])
        assert read(path) == [b"first"]


def test_a_tail_of_zeros_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    write(path, [[b"first"]])
    path.write_bytes(path.read_bytes() + bytes(4_096))

    assert read(path) == [b"first"]


def test_a_log_of_another_chain_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "votes", [[b"first"]])

    with pytest.raises(VoteLogCorrupt):
        VoteLog.open(tmp_path / "votes", b"d" * 32)


def test_a_file_shorter_than_its_header_is_refused(tmp_path: Path) -> None:
    """The file appears with its header or not at all, so no crash makes this."""
    (size,) = write(tmp_path / "votes", [])
    data = (tmp_path / "votes").read_bytes()

    for length in range(size):
        (tmp_path / "votes").write_bytes(data[:length])
        with pytest.raises(VoteLogCorrupt):
            VoteLog.open(tmp_path / "votes", CHAIN)


def test_rewriting_replaces_everything_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    with VoteLog.open(path, CHAIN) as log:
        log.append(RECORDS)
        log.sync()
        before = log.size_bytes
        log.append([b"covered by the rewrite"])
        log.rewrite([b"live"])
        after = log.size_bytes
        log.append([b"next"])
        log.sync()

    assert read(path) == [b"live", b"next"]
    assert after < before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["votes"]


def test_a_rewrite_cut_short_leaves_the_old_log(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    write(path, [[b"first"]])
    (tmp_path / "votes.new").write_bytes(b"half of a new log")

    assert read(path) == [b"first"]


def test_an_empty_rewrite_leaves_an_empty_log(tmp_path: Path) -> None:
    with VoteLog.open(tmp_path / "votes", CHAIN) as log:
        log.append([b"first"])
        log.sync()
        log.rewrite([])

    assert read(tmp_path / "votes") == []


@settings(max_examples=50, deadline=None)
@given(groups=st.lists(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=4), max_size=6))
def test_any_records_are_read_back(tmp_path_factory: pytest.TempPathFactory, groups: list[list[bytes]]) -> None:
    path = tmp_path_factory.mktemp("log") / "votes"

    write(path, groups)

    assert read(path) == [record for group in groups for record in group]


class MemoryFile:
    """A LogFile whose unsynced bytes a test can lose."""

    def __init__(self, durable: bytes | None = None) -> None:
        self.path = Path("votes")
        self.durable = durable
        self.written = durable or b""

    def read(self) -> bytes | None:
        return self.durable

    def append(self, data: bytes) -> None:
        self.written += data

    def sync(self) -> None:
        self.durable = self.written

    def truncate(self, size_bytes: int) -> None:
        self.durable = self.written = self.written[:size_bytes]

    def replace(self, data: bytes) -> None:
        self.durable = self.written = data

    def close(self) -> None:
        pass


def test_any_file_that_keeps_what_was_synced_holds_the_log() -> None:
    file = MemoryFile()
    log = VoteLog.recover(file, CHAIN)
    log.append([b"one", b"two"])
    log.sync()
    log.append([b"never synced"])

    crashed = MemoryFile((file.durable or b"") + b"torn")
    recovered = VoteLog.recover(crashed, CHAIN)

    assert recovered.records == (b"one", b"two")
    assert crashed.durable == file.durable
