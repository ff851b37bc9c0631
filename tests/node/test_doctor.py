"""`atlas doctor` says what is wrong with a node and what to do, and changes nothing."""

import json
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ledger import keyspace
from ledger.genesis import encode_genesis_file
from ledger.history import COMPLETE, encode_history
from ledger.migrations import FORMAT
from ledger.primitives.signing import SigningKey
from ledger.staging import Plan, Staging
from ledger.store import Store
from ledger.tokens import FLX
from node import doctor
from node.api_client import ApiProblem
from node.cli.main import main
from node.config import ApiSection, Config, NodeSection, P2pSection, render_config
from node.doctor import OK, PROBLEM, WARNING, Finding, examine
from node.keystore import Keystore
from node.restored import get_mark_path
from node.vote_log import VoteLog
from social.posts import PostPublished
from tests.ledger.world import TIME_MS, World, make_genesis

PASSPHRASE = "a passphrase"


def find_free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def write_config(folder: Path, role: str = "validator", **api: Any) -> None:
    config = Config(
        folder,
        node=NodeSection(name="v0", role=role),
        p2p=P2pSection(port=find_free_port()),
        api=ApiSection(port=0) if not api else ApiSection(**api),
    )
    (folder / "node.toml").write_text(render_config(config))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder of a stopped validator with three blocks."""
    folder = tmp_path_factory.mktemp("made") / "node"
    data = folder / "data"
    world = World(data / "ledger")
    for number in range(3):
        world.do(world.ada, PostPublished, text=f"Post {number}.", tags=())
    chain_id = world.chain.chain_id
    world.close()
    write_config(folder)
    (folder / "genesis.json").write_bytes(encode_genesis_file(make_genesis()))
    Keystore(data / "keys").add("node", bytes([200]) * 32, PASSPHRASE)
    with VoteLog.open(data / "votes.log", chain_id) as votes:
        votes.append([b"a vote"])
    return folder


@pytest.fixture
def node(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of that folder, on a machine that has enough of everything."""
    monkeypatch.setattr(doctor, "now_ms", lambda: TIME_MS + 10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (10_000, 10_000))
    return Path(shutil.copytree(made, tmp_path / "node"))


def look(folder: Path, check: str) -> Finding:
    found = [finding for finding in examine(folder) if finding.check == check]
    assert len(found) == 1, list(examine(folder))
    return found[0]


def edit(folder: Path, puts: list[tuple[bytes, bytes]]) -> None:
    store = Store(folder / "data" / "ledger")
    store.write(puts, [])
    store.close()


def test_a_node_in_order_has_no_warning(node: Path) -> None:
    found = list(examine(node))

    assert [finding for finding in found if finding.level != OK] == []
    assert {finding.check for finding in found} == {
        "python", "libraries", "config", "genesis", "key", "key files", "disk", "open files", "ports", "format",
        "ledger", "safety model", "history", "clock", "validator", "votes",
    }  # fmt: skip
    assert "height 3" in look(node, "ledger").found


def test_it_changes_nothing(node: Path) -> None:
    (node / "data" / "votes.log").write_bytes((node / "data" / "votes.log").read_bytes() + b"\xf5VOTtorn")
    edit(node, [])

    def read() -> dict[Path, tuple[bytes, int]]:
        files = (path for path in node.rglob("*") if path.is_file())
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = read()
    list(examine(node))

    assert read() == before


def test_every_warning_and_problem_names_a_remedy(node: Path) -> None:
    (node / "data" / "votes.log").write_bytes(b"?")
    (node / "data" / "keys").chmod(0o755)
    flip_state(node)

    bad = [finding for finding in examine(node) if finding.level != OK]

    assert {finding.check for finding in bad} == {"key files", "ledger", "votes"}
    assert all(finding.remedy for finding in bad)


def flip_state(folder: Path) -> None:
    edit(folder, [(keyspace.issued(FLX), b"more")])


def test_a_config_that_cant_be_read_is_named(node: Path) -> None:
    (node / "node.toml").write_text("[node]\nrole = 7\n")

    assert "node.role" in look(node, "config").found


def test_a_missing_genesis_is_named_and_the_rest_is_looked_at(node: Path) -> None:
    (node / "genesis.json").unlink()

    assert look(node, "genesis").level == PROBLEM
    assert look(node, "key").level == OK


def test_another_genesis_is_named(node: Path) -> None:
    (node / "genesis.json").write_bytes(encode_genesis_file(make_genesis("another")))

    assert "another genesis" in look(node, "ledger").found


def test_a_missing_key_is_named(node: Path) -> None:
    (node / "data" / "keys" / "node.json").unlink()

    assert look(node, "key").level == PROBLEM


@pytest.mark.parametrize("what", ["data/keys", "data/keys/node.json"])
def test_a_key_that_others_may_read_is_named(node: Path, what: str) -> None:
    (node / what).chmod(0o755 if what == "data/keys" else 0o644)

    assert look(node, "key files").level == PROBLEM
    assert str(node / what) in look(node, "key files").found


@pytest.mark.parametrize(("free", "level"), [(doctor.FREE_BYTES_MIN - 1, PROBLEM), (doctor.FREE_BYTES_MIN, OK)])
def test_a_full_disk_is_named(node: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))

    assert look(node, "disk").level == level


def test_a_disk_that_a_backup_would_fill_is_named(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_LEDGERS_WARNING", 10**12)

    assert look(node, "disk").level == WARNING


@pytest.mark.parametrize(("limit", "level"), [(256, PROBLEM), (1_024, WARNING), (4_096, OK)])
def test_a_low_limit_of_open_files_is_named(
    node: Path, monkeypatch: pytest.MonkeyPatch, limit: int, level: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))

    assert look(node, "open files").level == level


def test_a_taken_port_is_named(node: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        write_config(node, port=taken.getsockname()[1])

        ports = [finding for finding in examine(node) if finding.check == "ports"]

    assert [finding.level for finding in ports] == [OK, PROBLEM]


def test_a_damaged_state_is_named(node: Path) -> None:
    flip_state(node)

    assert look(node, "ledger").level == PROBLEM
    assert "the state does not have the digest" in look(node, "ledger").found


def test_a_damaged_receipt_is_named_with_the_ledgers_own_path(node: Path) -> None:
    edit(node, [(keyspace.receipt(1), b"edited")])

    found = look(node, "ledger").found
    assert found == f"{node / 'data' / 'ledger'}: a receipt of height 2 is missing or edited"


@pytest.mark.parametrize("kept", [None, 0, 100])
def test_a_table_that_is_missing_or_cut_off_is_named(node: Path, kept: int | None) -> None:
    edit(node, [])  # opening it once makes a table of the log
    tables = list((node / "data" / "ledger").glob("*.ldb"))
    for path in tables:
        path.unlink() if kept is None else path.write_bytes(path.read_bytes()[:kept])

    assert tables != []
    assert look(node, "ledger").level == PROBLEM


def test_a_record_that_no_release_writes_is_named(node: Path) -> None:
    edit(node, [(keyspace.META_STAGED, b"")])

    assert [finding.check for finding in examine(node) if finding.level == PROBLEM] == ["ledger"]


@pytest.mark.parametrize("number", [1, FORMAT + 1])
def test_another_format_is_named(node: Path, number: int) -> None:
    edit(node, [(keyspace.META_FORMAT, keyspace.u64(number))])

    assert look(node, "format").level == PROBLEM


def test_missing_blocks_and_a_staged_snapshot_are_named(node: Path) -> None:
    store = Store(node / "data" / "ledger")
    store.write([encode_history(COMPLETE.with_gap(1, 2))], [])
    Staging(store).begin(Plan(1, 7, bytes(32)))
    store.close()

    assert look(node, "history").found == "2 blocks in 1 ranges have only their headers here"
    assert "height 7" in look(node, "snapshot").found


def test_a_node_without_a_ledger_is_told_to_start(node: Path) -> None:
    shutil.rmtree(node / "data" / "ledger")

    assert look(node, "ledger").level == WARNING
    assert not (node / "data" / "ledger").exists()


def test_votes_of_a_later_era_are_named(node: Path) -> None:
    (node / "data" / "votes.log").unlink()
    world = World(node / "data" / "ledger")
    VoteLog.open(node / "data" / "votes.log", world.chain.chain_id, 3).close()
    world.close()

    assert look(node, "votes").level == PROBLEM
    assert "era 3" in look(node, "votes").found


def test_a_validator_without_votes_is_warned(node: Path) -> None:
    (node / "data" / "votes.log").unlink()

    assert look(node, "votes").level == WARNING


def test_a_key_outside_of_the_validator_set_is_named(node: Path) -> None:
    (node / "data" / "keys" / "node.json").unlink()
    Keystore(node / "data" / "keys").add("node", b"s" * 32, PASSPHRASE)

    assert look(node, "validator").level == WARNING


@pytest.mark.parametrize(("later_ms", "level"), [(-60_000, PROBLEM), (0, OK), (60_000, OK), (10**9, WARNING)])
def test_the_clock_is_compared_with_the_head(
    node: Path, monkeypatch: pytest.MonkeyPatch, later_ms: int, level: str
) -> None:
    monkeypatch.setattr(doctor, "now_ms", lambda: TIME_MS + later_ms)

    assert look(node, "clock").level == level


def test_a_restored_validator_is_named(node: Path) -> None:
    get_mark_path(node / "data").write_text("")

    assert look(node, "restored").level == WARNING


def test_a_library_of_another_version_is_named(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: ["trio==0.0.1", "no-such-library"])

    assert look(node, "libraries").level == PROBLEM
    assert "no-such-library is missing" in look(node, "libraries").found


@pytest.fixture
def running(node: Path) -> Iterator[Path]:
    """Return the folder of a node whose ledger another process has open."""
    code = (
        "import sys; from pathlib import Path; from ledger.store import Store; s = Store(Path(sys.argv[1]));"
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(node / "data" / "ledger")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield node
        process.communicate()


class Answers:
    """An API that answers what a test says."""

    status: dict[str, Any]
    ready: Exception | None = None

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        if path == "/node/status":
            return self.status
        if self.ready is not None:
            raise self.ready
        return {"status": "ok"}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> type[Answers]:
    class Own(Answers):
        pass

    Own.status = {
        "name": "v0", "public_key": SigningKey(bytes([200]) * 32).public.hex(), "height": 9, "certified_height": 9,
        "height_age_ms": 10, "history_missing": 0, "halted": None, "alert": None, "peers": [],
    }  # fmt: skip
    monkeypatch.setattr(doctor, "ApiClient", Own)
    return Own


def test_a_running_node_is_asked_and_its_store_left_alone(running: Path, answers: type[Answers]) -> None:
    write_config(running, port=8_080)

    assert look(running, "running node").found.startswith("height 9")
    assert look(running, "health").level == OK
    assert "not looked at" in look(running, "ledger").found


def test_a_running_node_that_answers_nothing_is_named(running: Path) -> None:
    write_config(running, port=find_free_port())

    assert look(running, "api").level == PROBLEM


def test_an_alert_and_ill_health_are_named_with_their_remedies(running: Path, answers: type[Answers]) -> None:
    write_config(running, port=8_080)
    answers.status["alert"] = {"code": "CIR-412", "why": "a damaged state", "remedy": "fetch it again"}
    answers.ready = ApiProblem(503, {"title": "Not ready", "remedy": "wait"})

    assert look(running, "alert") == Finding("alert", PROBLEM, "CIR-412: a damaged state", "fetch it again")
    assert look(running, "health") == Finding("health", PROBLEM, "Not ready", "wait")


def test_another_node_on_the_api_port_is_named(running: Path, answers: type[Answers]) -> None:
    write_config(running, port=8_080)
    answers.status["public_key"] = bytes(32).hex()

    assert "another node answers" in look(running, "api").found


def test_the_exit_code_is_1_for_problems_only(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (node / "data" / "votes.log").unlink()
    assert main(["doctor", str(node)]) == 0
    assert "problems: 0, warnings: 1" in capsys.readouterr().out

    flip_state(node)
    assert main(["doctor", str(node), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert not document["healthy"]
    assert {each["check"] for each in document["findings"] if each["level"] == PROBLEM} == {"ledger"}
