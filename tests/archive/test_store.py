"""Where archives lie: a folder or what fsspec reaches; files appear whole, and a killed writer goes on."""

import builtins
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from ledger import keyspace
from ledger.archive.collection import ArchiveIncomplete
from ledger.archive.layout import SegmentDamaged
from ledger.archive.tally import ChainBroken
from ledger.history import Gap, History
from ledger.primitives.records import encode_record
from node.archive_store import PARTIAL, ArchiveStore, ArchiveUnreachable, name_segment
from node.archive_writer import ArchiveDiffers, BlocksMissing, Source, Written, write_archive
from node.certificates import make_certificate_verifier
from tests.archive.chains import EPOCHS, ArchivedWorld
from tests.ledger.world import World

NAMES = [name_segment(number, number) for number in range(EPOCHS)]


@pytest.fixture(params=["folder", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArchiveStore:
    urls = {"folder": f"{tmp_path}/a/b", "file": f"file://{tmp_path}/a", "memory": f"memory://{tmp_path.name}"}
    return ArchiveStore(urls[request.param])


def write(chain: ArchivedWorld, store: ArchiveStore, epochs: int = 1) -> list[Written]:
    with chain.store.snapshot() as snapshot:
        return list(write_archive(Source("test", snapshot), store, epochs, make_certificate_verifier))


def read_files(store: ArchiveStore) -> dict[str, bytes]:
    files, root = fsspec.core.url_to_fs(store.url)
    return {path.rpartition("/")[2]: files.cat_file(path) for path in files.ls(root, detail=False)}


def test_an_archive_is_written_and_read(store: ArchiveStore, chain: ArchivedWorld, files: list[bytes]) -> None:
    written = write(chain, store)

    assert [each.name for each in written] == NAMES
    assert read_files(store) == dict(zip(NAMES, files, strict=True))
    assert [each.bytes for each in written] == [len(data) for data in files]
    archive = store.open_archive()
    assert archive.height == chain.chain.head.height - 1
    assert [segment.summary for segment in archive.segments] == [each.summary for each in written]


def test_what_is_archived_is_not_written_again(store: ArchiveStore, chain: ArchivedWorld) -> None:
    write(chain, store, 2)

    assert write(chain, store) == []
    assert store.list_names() == [name_segment(0, 1), name_segment(2, 3)]


def test_a_missing_last_segment_is_written_again(store: ArchiveStore, chain: ArchivedWorld, files: list[bytes]) -> None:
    write(chain, store)
    place, root = fsspec.core.url_to_fs(store.url)
    place.rm_file(f"{root}/{NAMES[-1]}")

    assert [each.name for each in write(chain, ArchiveStore(store.url))] == NAMES[-1:]
    assert read_files(store)[NAMES[-1]] == files[-1]


def test_a_place_that_does_not_exist_holds_nothing(store: ArchiveStore) -> None:
    assert store.list_names() == []
    assert store.remove_partials() == []


def test_other_files_are_left_alone(store: ArchiveStore, chain: ArchivedWorld) -> None:
    store.write("README", [b"hello"])
    store.write("README.partial", [b"hello"])

    write(chain, store)

    assert store.list_names() == NAMES
    assert {"README", "README.partial"} <= read_files(store).keys()


def test_a_writer_that_fails_leaves_no_segment(store: ArchiveStore) -> None:
    def fail() -> Iterator[bytes]:
        yield b"half of it"
        raise ChainBroken("height 5: broken")

    with pytest.raises(ChainBroken):
        store.write(NAMES[0], fail())

    assert store.list_names() == []
    assert store.remove_partials() == [NAMES[0] + PARTIAL]
    assert store.remove_partials() == []


def test_an_archive_of_another_chain_is_not_continued(
    store: ArchiveStore, chain: ArchivedWorld, tmp_path: Path
) -> None:
    write(chain, store)
    world = World(tmp_path / "other")
    with world.store.snapshot() as snapshot, pytest.raises(ArchiveDiffers, match="another chain"):
        list(write_archive(Source("other", snapshot), store, 1, make_certificate_verifier))
    world.close()


def test_a_damaged_segment_is_not_continued(store: ArchiveStore, chain: ArchivedWorld, files: list[bytes]) -> None:
    write(chain, store)
    store.write(NAMES[1], [files[1][:-100]])

    with pytest.raises(SegmentDamaged, match=NAMES[1]):
        write(chain, ArchiveStore(store.url))


def test_a_gap_is_not_continued(store: ArchiveStore, chain: ArchivedWorld) -> None:
    write(chain, store)
    place, root = fsspec.core.url_to_fs(store.url)
    place.rm_file(f"{root}/{NAMES[1]}")

    with pytest.raises(ArchiveIncomplete, match="copy the missing file"):
        write(chain, ArchiveStore(store.url))


def test_blocks_that_a_node_has_not_fetched_yet_are_named(store: ArchiveStore, chain: ArchivedWorld) -> None:
    history = encode_record(History((Gap(6, 9),)))
    chain.store.write([(keyspace.META_HISTORY, history)], [])
    try:
        with pytest.raises(BlocksMissing, match="of the heights 6 to 9 only the headers are here"):
            write(chain, store)
    finally:
        chain.store.write([], [keyspace.META_HISTORY])

    assert store.list_names() == NAMES[:1]
    assert [each.name for each in write(chain, store)] == NAMES[1:]


def test_a_half_installed_snapshot_is_not_archived(store: ArchiveStore, chain: ArchivedWorld) -> None:
    chain.store.write([(keyspace.META_INSTALLING, b"x")], [])
    try:
        with pytest.raises(BlocksMissing, match="start the node once"):
            write(chain, store)
    finally:
        chain.store.write([], [keyspace.META_INSTALLING])


# Places that can't be reached.


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_s3(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "s3fs":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_s3)
    monkeypatch.delitem(sys.modules, "s3fs", raising=False)

    with pytest.raises(ArchiveUnreachable, match="pip install s3fs"):
        ArchiveStore("s3://bucket/prefix")


@pytest.mark.parametrize("url", ["nowhere://x", "simplecache::file:///tmp"])
def test_another_form_of_url_is_refused(url: str) -> None:
    with pytest.raises(ArchiveUnreachable, match="expected"):
        ArchiveStore(url)


def test_a_place_without_rights_or_room_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"a file")
    store = ArchiveStore(str(tmp_path / "taken" / "below"))

    with pytest.raises(ArchiveUnreachable, match="taken"):
        store.write(NAMES[0], [b"x"])


# Killed writers.

KILLED = """
import os, signal, sys
from pathlib import Path
from ledger.store import Store
from node import archive_writer
from node.archive_store import ArchiveStore
from node.archive_writer import Source, write_archive
from node.certificates import make_certificate_verifier

height_of_death = int(sys.argv[3])

def die(at, of):
    if at == height_of_death:
        os.kill(os.getpid(), signal.SIGKILL)

store = Store(Path(sys.argv[1]))
with store.snapshot() as snapshot:
    source = Source("test", snapshot)
    archive = ArchiveStore(sys.argv[2])
    list(write_archive(source, archive, 1, make_certificate_verifier, die))
"""


@pytest.mark.parametrize("height", [1, 6, 11, 15])
def test_a_killed_writer_goes_on_where_it_was(
    tmp_path: Path, chain: ArchivedWorld, files: list[bytes], height: int
) -> None:
    folder, url = tmp_path / "ledger", str(tmp_path / "archive")
    folder.mkdir()
    for path in Path(str(chain.store.path)).iterdir():
        if path.name != "LOCK":
            (folder / path.name).write_bytes(path.read_bytes())
    root = Path(__file__).parent.parent.parent
    environment = {"PYTHONPATH": f"{root}:{root / 'client-api'}"}

    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), url, str(height)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    before = read_files(ArchiveStore(url))
    done = [name for name in NAMES if name in before]
    assert before == dict(zip(done, files, strict=False)) | {
        NAMES[len(done)] + PARTIAL: before[NAMES[len(done)] + PARTIAL]
    }
    written = write(chain, ArchiveStore(url))

    assert [each.name for each in written] == NAMES[len(done) :]
    assert read_files(ArchiveStore(url)) == dict(zip(NAMES, files, strict=True))
