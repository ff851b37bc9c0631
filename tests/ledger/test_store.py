"""The store against a dict: what is read is what was written."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ledger.store import Store

keys = st.binary(min_size=1, max_size=2).map(lambda key: bytes(byte % 3 for byte in key))
values = st.binary(max_size=3)


class StoreIsADict(RuleBasedStateMachine):
    """After any writes, batches and reopenings, reads and walks in both directions give what a dict gives."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.store = Store(Path(self.folder.name))
        self.model: dict[bytes, bytes] = {}

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(puts=st.dictionaries(keys, values, max_size=4), deletes=st.lists(keys, max_size=3))
    def write(self, puts: dict[bytes, bytes], deletes: list[bytes]) -> None:
        self.store.write(list(puts.items()), deletes, sync=False)
        self.model = {key: value for key, value in self.model.items() if key not in deletes} | puts

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store(Path(self.folder.name))

    @rule(start=keys, stop=keys, reverse=st.booleans(), with_values=st.booleans())
    def walk(self, start: bytes, stop: bytes, reverse: bool, with_values: bool) -> None:
        expected = [
            (key, self.model[key] if with_values else b"")
            for key in sorted(self.model, reverse=reverse)
            if start <= key < stop
        ]
        with self.store.snapshot() as snapshot:
            assert list(snapshot.iterate(start, stop, reverse=reverse, values=with_values)) == expected

    @invariant()
    def holds_the_same(self) -> None:
        assert dict(self.store.iterate(b"", b"\xff")) == self.model


StoreIsADict.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
TestStoreIsADict = StoreIsADict.TestCase


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


def test_a_snapshot_does_not_see_what_is_written_after_it(store: Store) -> None:
    store.write([(b"a", b"1")], [])

    with store.snapshot() as snapshot:
        store.write([(b"a", b"2"), (b"b", b"3")], [])

        assert snapshot.get(b"a") == b"1"
        assert list(snapshot.iterate(b"a", b"z")) == [(b"a", b"1")]


def test_the_only_key_of_a_range_is_found_backwards(store: Store) -> None:
    store.write([(b"a", b"1")], [])

    with store.snapshot() as snapshot:
        assert list(snapshot.iterate(b"a", b"b", reverse=True)) == [(b"a", b"1")]


@pytest.mark.parametrize("levels", [1, 3])
def test_an_erased_key_leaves_its_value_in_no_file(tmp_path: Path, levels: int) -> None:
    """However deep the value has sunk; what lies beside it stays."""
    secret, key = b"what was said in confidence", b"p" + bytes(32)
    with closing(Store(tmp_path / "store")) as store:
        store.write([(b"p" + bytes([number]) * 32, secret[::-1]) for number in range(1, 200)], [])
        store.write([(key, secret)], [])
        for _ in range(levels):
            store.compact()
            store.write([(b"p" + bytes([number]) * 32, secret[::-1]) for number in range(1, 200)], [])
        store.write([], [key])

        store.erase_key(key)

        assert store.get(key) is None
        assert store.get(b"p" + bytes([7]) * 32) == secret[::-1]
        for path in (tmp_path / "store").iterdir():
            assert secret not in path.read_bytes(), path


def test_an_erased_key_that_was_just_written_leaves_nothing(tmp_path: Path) -> None:
    secret, key = b"what was said in confidence", b"p" + bytes(32)
    with closing(Store(tmp_path / "store")) as store:
        store.write([(key, secret)], [])

        store.erase_key(key)

        assert all(secret not in path.read_bytes() for path in (tmp_path / "store").iterdir())
