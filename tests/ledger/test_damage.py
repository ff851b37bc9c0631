"""A damaged store is never run on: it says what is damaged, and names itself."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ledger import chain, keyspace
from ledger.chain import Chain
from ledger.primitives.encoding import encode
from ledger.registry import Registry
from ledger.storage import StoreDamaged, StoreLocked
from ledger.store import Store
from ledger.tokens import FLX
from social.posts import PostPublished
from social.profiles import HandleClaimed
from tests.ledger.world import REGISTRY, World, make_genesis

HEIGHT = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a closed chain of three blocks with a beat, posts and a handle."""
    world = World(tmp_path / "ledger")
    world.execute(world.sign(world.ada, PostPublished, text="One.", tags=()), beat=True)
    world.do(world.ada, HandleClaimed, handle="ada")
    world.do(world.ben, PostPublished, text="Two.", tags=("x",))
    world.close()
    return tmp_path / "ledger"


def reopen_error(folder: Path) -> str:
    store = Store(folder)
    try:
        with pytest.raises(StoreDamaged) as damaged:
            Chain(store, make_genesis(), REGISTRY)
    finally:
        store.close()
    message = str(damaged.value)
    assert message.startswith(str(folder))
    return message


def edit(folder: Path, key: bytes, value: bytes | None) -> None:
    store = Store(folder)
    assert store.get(key) is not None
    store.write([] if value is None else [(key, value)], [key] if value is None else [])
    store.close()


def flip(folder: Path, key: bytes) -> None:
    store = Store(folder)
    value = store.get(key)
    store.close()
    assert value
    edit(folder, key, value[:-1] + bytes([value[-1] ^ 1]))


def test_an_intact_store_opens_at_its_head(folder: Path) -> None:
    world = World(folder)

    assert world.chain.head.height == HEIGHT
    assert world.execute(world.sign(world.ada, PostPublished, text="x", tags=(), nonce=3)).header.height == HEIGHT + 1
    world.close()


PLACES = {
    "a state value": (keyspace.beat(), "the state does not have the digest that the head"),
    "what was issued": (keyspace.issued(FLX), "the state does not have the digest that the head"),
    "a handle": (keyspace.handle("ada"), "the state does not have the digest that the head"),
    "a receipt": (keyspace.receipt(1), "a receipt of height 1 is missing or edited"),
    "a derived receipt": (keyspace.receipt(0), "a receipt of height 1 is missing or edited"),
    "the last receipt": (keyspace.receipt(3), "a receipt of height 3 is missing or edited"),
    "an event": (keyspace.event(2), "an event of height 2 is"),
    "the head's header": (keyspace.header(3), "the header of height 3 is missing or edited"),
    "an older header": (keyspace.header(1), "the header of height 1 is missing or edited"),
    "the genesis header": (keyspace.header(0), "the header of height 0 is missing or edited"),
    "the lanes": (keyspace.META_LANES, "lanes"),
    "the head record": (keyspace.META_HEAD, "head"),
    "the genesis": (keyspace.META_GENESIS, "another genesis"),
    "the format": (keyspace.META_FORMAT, "expected store format 3"),
    "a log node": (keyspace.log_node(2, 0), "log tree"),
}


@pytest.mark.parametrize("what", PLACES)
def test_a_flipped_bit_is_named(folder: Path, what: str) -> None:
    key, message = PLACES[what]
    flip(folder, key)

    if what == "the head record":
        message = "the header of height 3 is missing or edited"
    assert message in reopen_error(folder)


@pytest.mark.parametrize("what", PLACES)
def test_a_deleted_record_is_named(folder: Path, what: str) -> None:
    key, message = PLACES[what]
    edit(folder, key, None)

    assert message in reopen_error(folder)


@pytest.mark.parametrize(
    "value",
    [b"", b"\xc1", encode(7), encode([1]), encode(["3", bytes(32)]), encode([-1, bytes(32)]), encode([2**80, b""])],
)
def test_a_head_record_of_another_form_is_named(folder: Path, value: bytes) -> None:
    edit(folder, keyspace.META_HEAD, value)

    assert "the head record is damaged" in reopen_error(folder)


def test_an_extra_state_key_is_found(folder: Path) -> None:
    store = Store(folder)
    store.write([(keyspace.handle("mallory"), bytes(32))], [])
    store.close()

    assert "the state does not have the digest" in reopen_error(folder)


def test_a_lowest_readable_height_above_the_head_is_found(folder: Path) -> None:
    edit(folder, keyspace.META_UNDO_FLOOR, keyspace.u64(HEIGHT + 1))

    assert "the lowest readable height 4 is above the head 3" in reopen_error(folder)


def test_a_store_without_genesis_record_is_not_started_over(folder: Path) -> None:
    edit(folder, keyspace.META_GENESIS, None)
    reopen_error(folder)

    store = Store(folder)
    assert store.get(keyspace.header(HEIGHT)) is not None
    assert store.get(keyspace.META_GENESIS) is None
    store.close()


def test_a_store_of_another_chain_is_refused(folder: Path) -> None:
    store = Store(folder)

    with pytest.raises(StoreDamaged, match="another genesis"):
        Chain(store, make_genesis("another"), REGISTRY)
    store.close()


def test_a_chain_under_other_rules_is_refused(folder: Path) -> None:
    store = Store(folder)

    with pytest.raises(StoreDamaged, match="under other rules"):
        Chain(store, make_genesis(), Registry(REGISTRY.all()[1:]))
    store.close()


def test_damage_below_the_checked_blocks_is_left_to_a_replay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "CHECKED_BLOCKS", 1)
    flip(folder, keyspace.receipt(1))

    world = World(folder)

    assert world.chain.head.height == HEIGHT
    world.close()


def test_a_store_is_opened_once(folder: Path) -> None:
    store = Store(folder)

    with pytest.raises(StoreLocked, match="stop it first"):
        Store(folder)
    store.close()


def test_a_cut_table_file_is_reported(folder: Path) -> None:
    store = Store(folder)
    store.compact()
    store.close()
    table = max(folder.glob("*.ldb"), key=lambda path: path.stat().st_size)
    os.truncate(table, table.stat().st_size // 2)

    with pytest.raises(StoreDamaged, match=str(folder)):
        World(folder)


def test_a_missing_manifest_is_reported(folder: Path) -> None:
    (folder / "CURRENT").write_text("MANIFEST-999999\n")

    with pytest.raises(StoreDamaged, match=str(folder)):
        Store(folder)


def test_a_cut_journal_gives_a_whole_earlier_block_or_an_error(tmp_path: Path) -> None:
    world = World(tmp_path / "ledger")
    hashes = [world.chain.head.hash]
    for number in range(3):
        hashes.append(world.execute(world.sign(world.ada, PostPublished, text=str(number), tags=())).hash)
    world.close()
    journal = next((tmp_path / "ledger").glob("*.log"))
    whole = journal.read_bytes()
    opened: list[int] = []

    for size in range(0, len(whole), len(whole) // 40):
        journal.write_bytes(whole[:size])
        copy = tmp_path / f"cut-{size}"
        copy.mkdir()
        for path in (tmp_path / "ledger").iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        try:
            cut = World(copy)
        except StoreDamaged:
            continue
        assert cut.chain.head.hash == hashes[cut.chain.head.height]
        opened.append(cut.chain.head.height)
        cut.close()

    assert opened == sorted(opened)


WRITER = """
import sys
from pathlib import Path
from social.posts import PostPublished
from tests.ledger.world import World

world = World(Path(sys.argv[1]))
for number in range(10_000):
    world.execute(world.sign(world.ada, PostPublished, text=str(number), tags=()))
    print(world.chain.head.height, world.chain.head.hash.hex(), flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_reported(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
    environment = {"PYTHONPATH": f"{root}:{root / 'client-api'}"}
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "ledger")], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert writer.stdout is not None
    reported = [writer.stdout.readline().split() for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    reported += [line.split() for line in writer.stdout if len(line.split()) == 2]
    writer.wait()

    world = World(tmp_path / "ledger")

    height, header_hash = int(reported[-1][0]), reported[-1][1]
    known = world.chain.references(height)
    assert world.chain.head.height >= height
    assert known is not None
    assert known[0].hex() == header_hash
    world.close()
