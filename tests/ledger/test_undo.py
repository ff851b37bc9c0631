"""Reads at a height give what was read then, whatever came after."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import chain, keyspace, undo
from ledger.reading import Snapshot
from ledger.receipts import APPLIED
from ledger.tokens import FLX, read_balance
from ledger.transfers import TokensTransferred
from ledger.undo import StateAt, encode_undo, list_undo_keys
from tests.ledger.world import RICH, World

# Keys of the shapes that the keyspace has, some the beginning of others, one ending in bytes that sort last.
KEYS = (b"sha", b"shab", b"shabc", b"shb", b"st", b"sf" + b"\xff" * 3, b"sf" + b"\xff" * 3 + b"\xff", b"sf\0")
PREFIXES = (b"s", b"sh", b"sha", b"sf", b"sf\xff", b"st", b"sx")

changes = st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=3), max_size=4)


class DictSnapshot:
    """A store in memory."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.data.get(key)

    def iterate(
        self, start: bytes, stop: bytes, *, reverse: bool = False, values: bool = True
    ) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted((key for key in self.data if start <= key < stop), reverse=reverse):
            yield key, self.data[key] if values else b""


def write_block(store: DictSnapshot, height: int, writes: dict[bytes, bytes | None]) -> None:
    before = [(key, store.get(key)) for key in sorted(writes) if store.get(key) != writes[key]]
    store.data.update(encode_undo(height, before))
    for key, value in writes.items():
        if value is None:
            store.data.pop(key, None)
        else:
            store.data[key] = value


def read_all(snapshot: Snapshot, height: int, head: int) -> tuple[dict[bytes, bytes | None], list[object]]:
    state = StateAt(snapshot, height, head)
    return {key: state.get(key) for key in KEYS}, [list(state.iterate(prefix)) for prefix in PREFIXES]


def expected(model: dict[bytes, bytes]) -> tuple[dict[bytes, bytes | None], list[object]]:
    listed = [sorted((key, value) for key, value in model.items() if key.startswith(prefix)) for prefix in PREFIXES]
    return {key: model.get(key) for key in KEYS}, list(listed)


@given(st.lists(changes, max_size=8))
@settings(max_examples=150, deadline=None)
def test_every_height_reads_as_it_did_then(blocks: list[dict[bytes, bytes | None]]) -> None:
    store, models = DictSnapshot(), [dict[bytes, bytes]()]
    for height, writes in enumerate(blocks, start=1):
        write_block(store, height, writes)
        models.append({key: value for key, value in (models[-1] | writes).items() if value is not None})

    found = [read_all(store, height, len(blocks)) for height in range(len(blocks) + 1)]

    assert found == [expected(model) for model in models]


def test_what_a_block_recorded_can_be_taken_away_again() -> None:
    store = DictSnapshot()
    write_block(store, 1, {b"sha": b"1", b"shb": b"2"})

    for key in list_undo_keys(1, store.data[keyspace.undo_keys(1)]):
        del store.data[key]

    assert store.data == {b"sha": b"1", b"shb": b"2"}


def no_tree(self: chain.Chain) -> int:
    """No version of the state tree needs an undo record."""
    return keyspace.HEIGHT_MAX


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_a_pruned_chain_reads_the_heights_it_kept_and_no_other_record_stays(amounts: list[int], kept: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "UNDO_BLOCKS", kept)
        patch.setattr(chain.Chain, "_oldest_tree", no_tree)
        world = World(Path(folder))
        balances = [RICH]
        for amount in amounts:
            receipt = world.do(world.ada, TokensTransferred, atoms=amount, to=world.ben.account, token=FLX)
            assert receipt.outcome == APPLIED
            balances.append(balances[-1] - amount)

        head = len(amounts)
        floor = max(0, head - kept)
        found = [read_balance(world.state(at), FLX, world.ada.account) for at in range(floor, head + 1)]
        records = [key for key, _ in world.store.iterate(keyspace.UNDO_KEYS, keyspace.after(keyspace.UNDO_KEYS))]
        heights = {int.from_bytes(key[-8:], "big") for key, _ in world.store.iterate(b"u", b"v")}

        assert found == balances[floor:]
        assert world.store.get(keyspace.META_UNDO_FLOOR) == keyspace.u64(floor)
        assert records == [keyspace.undo_keys(height) for height in range(floor + 1, head + 1)]
        assert heights == set(range(floor + 1, head + 1))
        world.close()


def test_a_bound_that_shrinks_prunes_everything_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    for _ in range(6):
        world.do(world.ada, TokensTransferred, atoms=1, to=world.ben.account, token=FLX)
    world.close()
    monkeypatch.setattr(chain, "UNDO_BLOCKS", 2)
    monkeypatch.setattr(chain.Chain, "_oldest_tree", no_tree)

    world = World(tmp_path)
    world.chain.execute(None, ())

    assert undo.UNDO_BLOCKS == 4_096
    assert world.store.get(keyspace.META_UNDO_FLOOR) == keyspace.u64(5)
    assert {int.from_bytes(key[-8:], "big") for key, _ in world.store.iterate(b"u", b"v")} <= {6, 7}
    world.close()
