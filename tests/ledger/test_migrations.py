"""A store of an earlier format becomes one of today's when it is opened: once, and also when it is cut off."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import keyspace
from ledger.migrations import FORMAT, MIGRATIONS, Migration, Part, StoreFormat, find_obstacle, migrate, read_format
from ledger.storage import Storage, StoreDamaged
from ledger.store import Store
from tests.ledger.world import World

OLD, KEYS = b"m-old-", 7


class PowerCut(RuntimeError):
    """The node is stopped."""


class CutOff(Store):
    """A store whose writes fail after so many."""

    left = 1_000

    def write(self, puts: list[tuple[bytes, bytes]], deletes: list[bytes], *, sync: bool = True) -> None:
        if self.left == 0:
            raise PowerCut
        self.left -= 1
        super().write(puts, deletes, sync=sync)


def move_two(store: Storage, place: bytes) -> Part:
    """Double two values a time, so that a part that is applied twice shows."""
    found = list(store.iterate(place or OLD, keyspace.after(OLD)))[:3]
    puts = [(key, value * 2) for key, value in found[:2]]
    return Part(puts, [], found[2][0] if len(found) == 3 else None)


def name_it(store: Storage, place: bytes) -> Part:
    return Part([(b"m-named", b"yes")], [], None)


ARTIFICIAL = {FORMAT: Migration("values are doubled", move_two), FORMAT + 1: Migration("it gets a name", name_it)}
LATEST = FORMAT + 2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CutOff]:
    world = World(tmp_path / "ledger")
    world.store.write([(OLD + bytes([number]), b"v") for number in range(KEYS)], [])
    world.close()
    store = CutOff(tmp_path / "ledger")
    yield store
    store.close()


def read_values(store: Storage) -> list[bytes]:
    return [value for _, value in store.iterate(OLD, keyspace.after(OLD))]


def test_migrations_run_in_order_and_say_what_they_do(store: CutOff) -> None:
    said: list[str] = []

    migrate(store, said.append, migrations=ARTIFICIAL, to=LATEST)

    assert read_format(store) == StoreFormat(LATEST, None)
    assert read_values(store) == [b"vv"] * KEYS
    assert store.get(b"m-named") == b"yes"
    assert [line.partition(": store ")[2] for line in said] == [
        "format 3 to 4: values are doubled: begun",
        "format 3 to 4: values are doubled: done",
        "format 4 to 5: it gets a name: begun",
        "format 4 to 5: it gets a name: done",
    ]


@pytest.mark.parametrize("writes", range(5))
def test_a_migration_that_is_cut_off_goes_on_and_applies_no_part_twice(store: CutOff, writes: int) -> None:
    said: list[str] = []
    store.left = writes
    with pytest.raises(PowerCut):
        migrate(store, said.append, migrations=ARTIFICIAL, to=LATEST)

    store.left = 1_000
    migrate(store, said.append, migrations=ARTIFICIAL, to=LATEST)

    assert read_format(store) == StoreFormat(LATEST, None)
    assert read_values(store) == [b"vv"] * KEYS
    assert any("going on where it was cut off" in line for line in said) == (1 <= writes <= 3)


def test_a_half_migrated_store_is_refused_by_both_releases_but_to_go_on(store: CutOff) -> None:
    store.left = 2
    with pytest.raises(PowerCut):
        migrate(store, lambda message: None, migrations=ARTIFICIAL, to=LATEST)

    with pytest.raises(StoreDamaged, match="got 3 on its way to 4: install the release that wrote it"):
        migrate(store, lambda message: None)


def test_a_store_of_todays_format_is_not_written_to(store: CutOff) -> None:
    store.left = 0

    migrate(store, lambda message: pytest.fail(message))


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (1, "run the release that wrote it, or begin a new network"),
        (2, "run the release that wrote it, or begin a new network"),
        (FORMAT + 1, "install the release that wrote it, or a later one"),
    ],
)
def test_a_store_that_cant_be_migrated_says_what_to_do(store: CutOff, number: int, remedy: str) -> None:
    store.write([(keyspace.META_FORMAT, keyspace.u64(number))], [])
    before = list(store.iterate(b"", b"\xff"))

    with pytest.raises(StoreDamaged, match=f"expected store format {FORMAT}, got {number}.*{remedy}"):
        migrate(store, lambda message: None)

    assert list(store.iterate(b"", b"\xff")) == before


def test_every_format_since_the_first_that_can_be_migrated_has_a_way_to_todays() -> None:
    assert sorted(MIGRATIONS) == list(range(3, FORMAT))


def test_a_gap_in_the_table_is_named() -> None:
    assert "knows no way on from format 4" in str(
        find_obstacle(StoreFormat(3, None), migrations={3: ARTIFICIAL[3]}, to=LATEST)
    )


class Record:
    """A store of one record."""

    path = "a store"

    def __init__(self, data: bytes) -> None:
        self.get = lambda key: data


@given(st.binary(max_size=40))
def test_any_format_record_is_read_or_refused(data: bytes) -> None:
    found = read_format(Record(data))  # type: ignore[arg-type]

    assert found is None or find_obstacle(found) is not None or data == keyspace.u64(FORMAT)
