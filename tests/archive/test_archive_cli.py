"""`atlas archive`: write, list, show, verify and erase, for people and for programs."""

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.genesis import encode_genesis_file
from ledger.primitives.ids import IdKind, encode_id
from ledger.store import Store
from node.archive_store import name_segment
from node.cli.main import main
from node.config import ArchiveSection, Config, render_config
from social.posts import PostPublished
from tests.archive.chains import SECRET
from tests.ledger.changing_sets import ChangingWorld
from tests.ledger.world import REGISTRY, World, id_of

BEATS = 9
"""Two whole epochs, and a third that has begun."""


class Node(ChangingWorld):
    """A validator's folder, after it was stopped.  Its rules are those of every node."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "data" / "ledger", {})
        self.folder = folder
        self.posts = [self.sign(self.ada, PostPublished, text=SECRET, tags=())]
        self.execute(self.posts[0])
        self.chain.write_certificate(1, self.certify(1))
        for _ in range(BEATS):
            self.beat()
        self.genesis = folder / "genesis.json"
        self.genesis.write_bytes(encode_genesis_file(self.chain.genesis))
        self.event_id = encode_id(IdKind.EVENT, id_of(self.posts[0]))
        self.head = self.chain.head
        self.last = self.chain.read_header(8)
        self.close()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr("tests.ledger.changing_sets.make_changing_registry", lambda sets: REGISTRY)
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path / "nowhere"))
    (tmp_path / "node").mkdir()
    return Node(tmp_path / "node")


class Shell:
    """Runs commands, and reads what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *arguments: object, code: int = 0) -> Any:
        """Run a command with --json; return its document, or that of its error."""
        assert main([*map(str, arguments), "--json"]) == code
        out, err = self._capsys.readouterr()
        return json.loads(out if code == 0 else err)

    def print(self, *arguments: object) -> str:
        assert main([*map(str, arguments)]) == 0
        return self._capsys.readouterr().out


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def archive(node: Node, shell: Shell, tmp_path: Path) -> Path:
    shell.run("archive", "write", "--data", node.folder, "--to", tmp_path / "cold")
    return tmp_path / "cold"


def test_write_says_what_it_wrote(node: Node, shell: Shell, tmp_path: Path) -> None:
    found = shell.run("archive", "write", "--data", node.folder, "--to", tmp_path / "cold", "--epochs", 2)

    assert [each["file"] for each in found["written"]] == [name_segment(0, 1)]
    assert (found["height"], found["head"]) == (8, 10)
    assert (tmp_path / "cold" / name_segment(0, 1)).stat().st_size == found["written"][0]["bytes"]
    again = shell.print("archive", "write", "--data", node.folder / "data", "--to", tmp_path / "cold")
    assert "nothing to write" in again


def test_write_goes_where_the_configuration_says(node: Node, shell: Shell, tmp_path: Path) -> None:
    config = Config(node.folder, archive=ArchiveSection(url=f"file://{tmp_path}/far"))
    (node.folder / "node.toml").write_text(render_config(config))

    shell.run("archive", "write", "--data", node.folder)

    assert [path.name for path in sorted((tmp_path / "far").iterdir())] == [name_segment(0, 0), name_segment(1, 1)]


def test_the_default_place_is_in_the_data(node: Node, shell: Shell) -> None:
    (node.folder / "node.toml").write_text(render_config(Config(node.folder)))

    found = shell.run("archive", "write", "--data", node.folder)

    assert found["archive"] == str(node.folder / "data" / "archive")


def test_prune_drops_what_the_archive_holds_and_leaves_the_newest_epochs(
    archive: Path, node: Node, shell: Shell, tmp_path: Path
) -> None:
    nothing = shell.run("archive", "prune", "--data", node.folder, "--to", archive, "--keep-epochs", 3)
    assert (nothing["pruned_to"], nothing["keys"]) == (0, 0)
    assert "nothing to prune" in shell.print(
        "archive", "prune", "--data", node.folder, "--to", archive, "--keep-epochs", 3
    )

    found = shell.run("archive", "prune", "--data", node.folder, "--to", archive, "--keep-epochs", 2)

    assert found["pruned_to"] == 4
    assert found["keys"] > 0
    again = shell.run("archive", "prune", "--data", node.folder, "--to", archive, "--keep-epochs", 1)
    assert again["pruned_to"] == 8
    shown = shell.print("archive", "prune", "--data", node.folder, "--to", archive, "--keep-epochs", 1)
    assert "up to height 8" in shown
    error = shell.run("archive", "write", "--data", node.folder, "--to", tmp_path / "other", code=1)
    assert "pruned here" in error["error"]
    error = shell.run("verify", node.folder, "--genesis", node.genesis, code=1)
    assert "atlas archive verify" in error["error"]


def test_an_archive_of_another_chain_is_no_reason_to_prune(
    archive: Path, node: Node, shell: Shell, tmp_path: Path
) -> None:
    other = World(tmp_path / "other" / "ledger")
    for _ in range(20):
        other.execute(beat=True)
    other.close()

    error = shell.run("archive", "prune", "--data", tmp_path / "other", "--to", archive, code=2)

    assert "another chain" in error["error"]


def test_list_shows_the_segments(archive: Path, shell: Shell) -> None:
    found = shell.run("archive", "list", archive)

    assert [(each["first_height"], each["last_height"]) for each in found["segments"]] == [(1, 4), (5, 8)]
    assert name_segment(0, 0) in shell.print("archive", "list", archive)


def test_verify_replays_to_the_digest_of_the_chain(archive: Path, node: Node, shell: Shell) -> None:
    found = shell.run("archive", "verify", archive, "--genesis", node.genesis)

    assert node.last is not None
    assert (found["valid"], found["replayed"], found["height"]) == (True, True, 8)
    assert found["state_digest"] == node.last.state_digest.hex()
    assert "every root is equal" in shell.print("archive", "verify", archive, "--genesis", node.genesis)
    assert "replayed" in shell.print("archive", "verify", archive, "--genesis", node.genesis, "--no-replay")


def test_verify_names_the_damaged_file(archive: Path, node: Node, shell: Shell) -> None:
    path = archive / name_segment(1, 1)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)

    found = shell.run("archive", "verify", archive, "--genesis", node.genesis, code=1)

    assert path.name in found["error"]


def test_verify_refuses_another_genesis(archive: Path, shell: Shell, tmp_path: Path) -> None:
    world = World(tmp_path / "other")
    (tmp_path / "genesis.json").write_bytes(encode_genesis_file(world.chain.genesis))
    world.close()

    found = shell.run("archive", "verify", archive, "--genesis", tmp_path / "genesis.json", code=2)

    assert "another chain than the genesis" in found["error"]


def test_show_gives_an_event_and_its_proof(archive: Path, node: Node, shell: Shell, tmp_path: Path) -> None:
    proof = tmp_path / "event.proof"

    found = shell.run("archive", "show", archive, node.event_id, "--proof", proof)

    assert (found["text"], found["height"], found["log_index"]) == (SECRET, 1, 0)
    assert shell.run("archive", "show", archive, 0)["event_id"] == node.event_id
    assert SECRET in shell.print("archive", "show", archive, 0)
    assert shell.run("verify", proof, "--genesis", node.genesis)["event_id"] == node.event_id


def test_show_of_a_derived_event_has_no_author(archive: Path, shell: Shell) -> None:
    found = shell.run("archive", "show", archive, 1)

    assert (found["author"], found["event_type"]) == (None, "infra.BeatStarted")


@pytest.mark.parametrize(
    ("event", "code", "said"),
    [
        (encode_id(IdKind.EVENT, bytes(32)), 2, "not in this archive, which ends at height 8"),
        ("999", 2, "newer ones are hot"),
        ("nonsense", 2, ""),
        (encode_id(IdKind.ACCOUNT, bytes(32)), 2, ""),
    ],
)
def test_show_says_why_it_has_nothing(archive: Path, shell: Shell, event: str, code: int, said: str) -> None:
    assert said in shell.run("archive", "show", archive, event, code=code)["error"]


def test_erase_takes_the_text_and_leaves_the_rest(archive: Path, node: Node, shell: Shell) -> None:
    content = shell.run("archive", "show", archive, 0)["content"]
    (archive / (name_segment(0, 0) + ".partial")).write_bytes(b"half a segment, with texts")

    assert shell.run("archive", "erase", archive, content)["segments"] == [name_segment(0, 0)]

    assert shell.run("archive", "show", archive, 0)["text"] is None
    assert "(not held)" in shell.print("archive", "show", archive, 0)
    assert shell.run("archive", "verify", archive, "--genesis", node.genesis)["payloads_missing"] == 1
    assert len(list(archive.iterdir())) == 2
    assert "nothing to erase" in shell.print("archive", "erase", archive, content)


def test_errors_name_the_remedy(node: Node, shell: Shell, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    assert "atlas archive write" in shell.run("archive", "list", empty, code=2)["error"]
    assert "no ledger below it" in shell.run("archive", "write", "--data", tmp_path, "--to", empty, code=2)["error"]
    assert "--to" in shell.run("archive", "write", "--data", node.folder, code=2)["error"]
    many = shell.run("archive", "write", "--data", node.folder, "--to", empty, "--epochs", 0, code=2)
    assert "expected 1 to" in many["error"]
    assert "64 hex digits" in shell.run("archive", "erase", empty, "xyz", code=2)["error"]
    assert "expected" in shell.run("archive", "list", "nowhere://x", code=1)["error"]


def test_a_running_node_is_not_archived(node: Node, shell: Shell, tmp_path: Path) -> None:
    held = Store(node.folder / "data" / "ledger")
    found = shell.run("archive", "write", "--data", node.folder, "--to", tmp_path / "cold", code=1)
    held.close()

    assert "stop it first" in found["error"]
