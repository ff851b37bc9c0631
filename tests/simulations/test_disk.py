"""The simulated disk: what was synced stays, what was not may go, and snapshots do not move."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.vote_log import VoteLog, VoteLogCorrupt
from simulations.disk import MemoryLog, MemoryStore, PowerLost

CHAIN_ID = b"test-chain" + bytes(22)
KEYS = st.sampled_from([bytes([number]) for number in range(8)])
WRITES = st.lists(st.tuples(st.dictionaries(KEYS, st.binary(max_size=3)), st.sets(KEYS), st.booleans()), max_size=12)


def contents(store: MemoryStore) -> dict[bytes, bytes]:
    return dict(store.iterate(b"", b"\xff"))


@given(WRITES, st.integers(0, 2**32))
def test_a_crash_leaves_all_writes_up_to_one_at_or_after_the_last_sync(
    writes: list[tuple[dict[bytes, bytes], set[bytes], bool]], seed: int
) -> None:
    store = MemoryStore("test")
    states: list[dict[bytes, bytes]] = [{}]
    synced = 0
    for number, (puts, deletes, sync) in enumerate(writes, 1):
        store.write(sorted(puts.items()), sorted(deletes), sync=sync)
        after = {key: value for key, value in states[-1].items() if key not in deletes} | puts
        states.append(after)
        synced = number if sync else synced
        assert contents(store) == after

    store.crash(random.Random(seed))

    assert contents(store) in states[synced:]
    assert list(contents(store)) == sorted(contents(store))


def test_an_unsynced_write_is_sometimes_lost_and_sometimes_not() -> None:
    found: set[bytes | None] = set()
    for seed in range(20):
        store = MemoryStore("test")
        store.write([(b"a", b"1")], [])
        store.write([(b"a", b"2")], [], sync=False)
        store.crash(random.Random(seed))
        found.add(store.get(b"a"))

    assert found == {b"1", b"2"}


def test_a_snapshot_shows_the_store_as_it_was() -> None:
    store = MemoryStore("test", {b"a": b"1", b"b": b"2"})

    with store.snapshot() as snapshot:
        store.write([(b"c", b"3")], [b"a"])

        assert list(snapshot.iterate(b"", b"\xff", reverse=True)) == [(b"b", b"2"), (b"a", b"1")]
        assert list(snapshot.iterate(b"b", b"c", values=False)) == [(b"b", b"")]
    assert contents(store) == {b"b": b"2", b"c": b"3"}


def test_a_crash_in_a_synced_write_leaves_all_of_it_or_nothing() -> None:
    for place, expected in (("store write", None), ("store written", b"1")):

        def fail(point: str, place: str = place) -> None:
            if point == place:
                raise PowerLost(point)

        store = MemoryStore("test", point=fail)
        with pytest.raises(PowerLost):
            store.write([(b"a", b"1"), (b"b", b"1")], [])
        store.crash(random.Random(0))

        assert store.get(b"a") == store.get(b"b") == expected


def test_a_torn_append_to_the_log_is_cut_off_and_what_was_synced_stays() -> None:
    lengths: set[int] = set()
    for seed in range(40):
        file = MemoryLog("votes.log")
        log = VoteLog.recover(file, CHAIN_ID)
        log.append([b"synced"])
        log.sync()

        def fail(point: str) -> None:
            if point == "log appended":
                raise PowerLost(point)

        file.point = fail
        log.append([b"not synced"])
        with pytest.raises(PowerLost):
            log.sync()
        file.point = lambda point: None
        file.crash(random.Random(seed))
        lengths.add(len(file.read() or b""))

        assert VoteLog.recover(file, CHAIN_ID).records in ((b"synced",), (b"synced", b"not synced"))
    assert len(lengths) > 10


def test_a_flipped_bit_before_a_good_frame_is_found() -> None:
    refused = 0
    for seed in range(20):
        file = MemoryLog("votes.log")
        log = VoteLog.recover(file, CHAIN_ID)
        for number in range(5):
            log.append([b"record %d" % number])
            log.sync()
        file.flip_bit(random.Random(seed))
        try:
            VoteLog.recover(file, CHAIN_ID)
        except VoteLogCorrupt:
            refused += 1

    assert refused >= 12  # the rest hit the last frame, which looks like a torn one
