"""A backup is restored byte for byte or not at all, and a restored validator does not contradict what it forgot."""

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.genesis import encode_genesis_file
from ledger.storage import StoreLocked
from ledger.store import Store
from node.backup import BackupFailed, BackupInvalid, restore_backup, write_backup
from node.cli.main import main
from node.config import Config, NodeSection, load_config, render_config
from node.keystore import Keystore
from node.restored import is_marked
from node.submission_log import SubmissionLog
from node.vote_log import VoteLog
from social.posts import PostPublished
from tests.ledger.world import VALIDATORS, World, make_genesis

CUT_OFF = """
import os, signal, sys
from pathlib import Path
from node import backup
calls = 0
def dies(*given):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*given)
name = sys.argv[4]
real = getattr(os, name)
setattr(os, name, dies)
backup.restore_backup(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def describe_head(world: World) -> str:
    head = world.chain.head
    return f"{head.height} {head.hash.hex()} {head.header.state_digest.hex()}"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a stopped validator with a few blocks, whose genesis lies outside, as a devnet's does."""
    folder = tmp_path_factory.mktemp("network") / "node"
    data = folder / "data"
    world = World(data / "ledger")
    for number in range(3):
        world.do(world.ada, PostPublished, text=f"Post {number}.", tags=())
    chain_id = world.chain.chain_id
    (folder.parent / "head").write_text(describe_head(world))
    world.close()
    config = Config(folder, node=NodeSection(name="v0", genesis="../genesis.json", role="validator"))
    (folder / "node.toml").write_text(render_config(config))
    (folder.parent / "genesis.json").write_bytes(encode_genesis_file(make_genesis()))
    Keystore(data / "keys").add("node", bytes([200]) * 32, "a passphrase")
    with VoteLog.open(data / "votes.log", chain_id) as votes:
        votes.append([b"a vote"])
    submissions = SubmissionLog(data / "submissions.log", 4_096)
    submissions.append([b"an event"])
    submissions.close()
    (data / "evidence").mkdir()
    (data / "evidence" / "aa.evidence").write_bytes(b"evidence")
    return folder


@pytest.fixture(scope="module")
def backup(node: Path) -> Path:
    path = node.parent / "node.backup"
    write_backup(node, path)
    return path


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_restored_node_has_the_files_that_it_had(node: Path, backup: Path, tmp_path: Path) -> None:
    restore_backup(backup, tmp_path / "new", never_ran_since=True)

    before, after = read_files(node), read_files(tmp_path / "new")
    expected = {path for path in before if Path(path).name not in ("LOCK", "LOG", "LOG.old")}
    assert set(after) == expected | {"genesis.json"}
    assert all(after[path] == before[path] for path in expected - {"node.toml"})
    assert load_config(tmp_path / "new" / "node.toml").genesis_file == tmp_path / "new" / "genesis.json"


def test_a_restored_node_opens_with_the_same_head_and_state(node: Path, backup: Path, tmp_path: Path) -> None:
    restore_backup(backup, tmp_path / "new")

    world = World(tmp_path / "new" / "data" / "ledger")
    found = describe_head(world)
    world.close()
    assert found == (node.parent / "head").read_text()
    assert found.startswith("3 ")


def test_only_the_owner_reads_what_is_restored(backup: Path, tmp_path: Path) -> None:
    restore_backup(backup, tmp_path / "new")

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "new" / "data" / "keys").stat().st_mode) == 0o700


def test_keys_are_left_out_when_asked(node: Path, tmp_path: Path) -> None:
    manifest = write_backup(node, tmp_path / "keyless.backup", with_keys=False)
    restore_backup(tmp_path / "keyless.backup", tmp_path / "new")

    assert not manifest.has_keys
    assert not (tmp_path / "new" / "data" / "keys").exists()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_is_detected(data: st.DataObject, backup: Path) -> None:
    whole = backup.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[at] ^ data.draw(st.integers(1, 255))
    damaged = backup.with_name("damaged.backup")
    damaged.write_bytes(whole[:at] + bytes([flipped]) + whole[at + 1 :])

    with pytest.raises(BackupInvalid):
        restore_backup(damaged, backup.with_name("never"))

    assert not backup.with_name("never").exists()
    assert list(backup.parent.glob(".never*")) == []


def test_any_flipped_byte_of_the_manifest_is_detected(backup: Path) -> None:
    whole = backup.read_bytes()
    damaged = backup.with_name("damaged.backup")
    for at in range(17 + int.from_bytes(whole[9:17], "big") + 32):
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BackupInvalid):
            restore_backup(damaged, backup.with_name("never"))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_file_that_is_cut_off_or_has_more_is_detected(data: st.DataObject, backup: Path) -> None:
    whole = backup.read_bytes()
    kept = data.draw(st.integers(0, len(whole)))
    damaged = backup.with_name("cut.backup")
    damaged.write_bytes(whole[:kept] if kept < len(whole) else whole + b"\0")

    with pytest.raises(BackupInvalid):
        restore_backup(damaged, backup.with_name("never"))

    assert not backup.with_name("never").exists()


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "data/../../x", "data", "x", "data//x", "data/a/b/c", "data/keys/."]
)
def test_a_manifest_can_name_nothing_outside_of_the_folder(path: str, tmp_path: Path) -> None:
    body = json.dumps(
        {
            "chain_id": "00", "created_ms": 0, "name": "x", "role": "observer",
            "files": [{"path": path, "sha256": hashlib.sha256(b"").hexdigest(), "size": 0}],
        }
    ).encode()  # fmt: skip
    head = b"ATLASBAK\x01" + len(body).to_bytes(8, "big") + body
    (tmp_path / "forged").write_bytes(head + hashlib.sha256(head).digest())

    with pytest.raises(BackupInvalid, match="names files that no node has"):
        restore_backup(tmp_path / "forged", tmp_path / "new")


@pytest.mark.parametrize(("call", "number"), [("fsync", 1), ("fsync", 4), ("fsync", 12), ("rename", 1)])
def test_a_restore_that_is_killed_leaves_nothing_in_place_and_is_done_again(
    backup: Path, tmp_path: Path, call: str, number: int
) -> None:
    new = tmp_path / "new"
    ended = subprocess.run([sys.executable, "-c", CUT_OFF, str(backup), str(new), str(number), call], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not new.exists()
    assert (tmp_path / ".new.restoring").exists()

    restore_backup(backup, new)

    assert new.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_folder_with_anything_in_it_is_refused(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")

    with pytest.raises(BackupFailed, match="not an empty folder"):
        restore_backup(backup, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_empty_folder_is_taken(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()

    restore_backup(backup, tmp_path / "new")

    assert (tmp_path / "new" / "node.toml").exists()


def test_a_backup_replaces_no_file(node: Path, backup: Path) -> None:
    before = backup.read_bytes()

    with pytest.raises(BackupFailed, match="exists already"):
        write_backup(node, backup)

    assert backup.read_bytes() == before


def test_a_backup_that_fails_leaves_no_file(node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        write_backup(node, tmp_path / "x.backup")

    assert list(tmp_path.iterdir()) == []


def test_a_backup_changes_nothing_of_the_node(node: Path, tmp_path: Path) -> None:
    before = read_files(node)

    write_backup(node, tmp_path / "x.backup")

    assert read_files(node) == before


def test_a_running_node_is_refused_and_the_remedy_named(node: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ledger.store import Store; s = Store(Path(sys.argv[1]));"
        "print('open', flush=True); sys.stdin.read()"
    )
    ledger = str(node / "data" / "ledger")
    with subprocess.Popen(
        [sys.executable, "-c", code, ledger], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()

        with pytest.raises(StoreLocked, match="stop it first"):
            write_backup(node, tmp_path / "x.backup")

        running.communicate()
    assert list(tmp_path.iterdir()) == []


def test_a_restored_node_is_marked_unless_it_never_ran_since(backup: Path, tmp_path: Path) -> None:
    restore_backup(backup, tmp_path / "old")
    restore_backup(backup, tmp_path / "newest", never_ran_since=True)

    assert is_marked(tmp_path / "old" / "data")
    assert not is_marked(tmp_path / "newest" / "data")


@pytest.mark.parametrize("never_ran_since", [False, True])
def test_the_mark_outlives_another_backup(backup: Path, tmp_path: Path, never_ran_since: bool) -> None:
    restore_backup(backup, tmp_path / "old")
    write_backup(tmp_path / "old", tmp_path / "again.backup")

    restore_backup(tmp_path / "again.backup", tmp_path / "new", never_ran_since=never_ran_since)

    assert is_marked(tmp_path / "new" / "data")


def test_the_command_warns_of_votes_and_of_a_second_machine(
    node: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backup", str(node), "-o", str(tmp_path / "x.backup"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["restore", str(tmp_path / "x.backup"), str(tmp_path / "new"), "--json"]) == 0
    restored = json.loads(capsys.readouterr().out)

    assert made["chain_id"] == restored["chain_id"]
    assert any("Never run the same key on two machines" in warning for warning in restored["warnings"])
    assert any("votes for nothing until" in warning for warning in restored["warnings"])


def test_the_command_names_what_is_wrong(backup: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut.backup").write_bytes(backup.read_bytes()[:-1])

    assert main(["restore", str(tmp_path / "cut.backup"), str(tmp_path / "new")]) == 1
    assert "take another copy of the backup" in capsys.readouterr().err
    assert main(["restore", str(tmp_path / "none"), str(tmp_path / "new")]) == 2


def test_the_restored_key_is_a_validators(backup: Path, tmp_path: Path) -> None:
    restore_backup(backup, tmp_path / "new")

    assert Keystore(tmp_path / "new" / "data" / "keys").open("node", "a passphrase").public == VALIDATORS[0].public
    Store(tmp_path / "new" / "data" / "ledger").close()
