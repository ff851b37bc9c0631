"""A node that archives and prunes while it runs: its proofs stay, others know of it, and an auditor replays from it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from node.api_client import ApiClient
from node.cli.home import write_client_file
from node.cli.main import main as atlas
from node.devnet import PASSPHRASE, Devnet
from tests.network.conftest import find_free_port
from tests.network.test_audit import finish, join
from tests.network.test_crashes import Load, wait_until

pytestmark = pytest.mark.network

EVENTS = 100
BEAT_MS, EPOCH_BEATS = 250, 8
SECRET = "the quick onyx goblin jumps over the lazy dwarf"


@pytest.fixture
def quick_devnet(tmp_path: Path) -> Iterator[Devnet]:
    """Epochs of two seconds, and a gateway that keeps only the newest two of them."""
    network = Devnet(tmp_path / "devnet", find_free_port(), beat_ms=BEAT_MS, epoch_beats=EPOCH_BEATS)
    network.prepare()
    config = network.gateway.folder / "node.toml"
    text = config.read_text(encoding="utf-8")
    assert "write = false" in text
    assert "keep_epochs = 0" in text
    config.write_text(
        text.replace("write = false", "write = true").replace("keep_epochs = 0", "keep_epochs = 2"), encoding="utf-8"
    )
    try:
        for member in network.members:
            network.start(member)
        for member in network.members:
            network.wait_ready(member)
        yield network
    finally:
        network.stop()


def holding(folder: Path, text: str) -> list[Path]:
    """Return the files below a folder that hold a text."""
    found: list[Path] = []
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(path)
        except FileNotFoundError:  # LevelDB has just replaced it
            continue
    return found


def is_erased(client: ApiClient, post_id: str) -> bool:
    erased: bool = client.get(f"/posts/{post_id}")["post"]["erased"]
    return erased


def read_segments(client: ApiClient) -> list[dict[str, Any]]:
    segments: list[dict[str, Any]] = client.get("/archive/segments")["segments"]
    return segments


def test_a_pruned_node_proves_the_first_event_and_an_auditor_replays_all_from_it(
    quick_devnet: Devnet, tmp_path: Path
) -> None:
    gateway, validator = (ApiClient(each.url) for each in (quick_devnet.gateway, quick_devnet.validators[0]))
    load = Load(quick_devnet)
    load.start()
    wait_until(lambda: load.error is not None or len(load.final) >= EVENTS, 60, f"{EVENTS} final events")
    load.stop()
    event_id = min(load.final, key=lambda each: load.final[each])
    place = validator.get(f"/events/{event_id}/receipt")["receipt"]
    unpruned = validator.get(f"/ledger/events/{event_id}/proof")

    wait_until(
        lambda: any(each["first_height"] > place["height"] + 30 for each in read_segments(gateway)),
        60, "later epochs are archived",
    )  # fmt: skip
    log = quick_devnet.gateway.folder / "node.log"
    wait_until(lambda: _read_pruned(log) >= place["height"], 60, "the event's block is pruned")

    assert gateway.get(f"/ledger/events/{event_id}/proof") == unpruned
    gateway_key = gateway.get("/node")["public_key"]
    wait_until(
        lambda: any(gateway_key in each["holders"] for each in read_segments(validator)),
        60, "a validator knows who holds the archive",
    )  # fmt: skip
    shown = read_segments(validator)[0]
    own = read_segments(gateway)[0]
    assert (shown["root"], shown["header_hash"], shown["here"]) == (own["root"], own["header_hash"], False)

    found = finish(join(quick_devnet, tmp_path / "audit", "--once"))
    assert found["caught_up"]
    assert found["fault"] is None
    assert found["history_missing"] == 0
    header = validator.get(f"/ledger/blocks/{found['height']}")["header"]
    assert header["state_digest"] == found["state_digest"]


def test_an_erased_text_is_in_no_file_of_any_node_and_its_proof_stays(
    quick_devnet: Devnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(quick_devnet.folder)]
    gateway = ApiClient(quick_devnet.gateway.url)

    def run(*arguments: str) -> Any:
        assert atlas([*arguments, *home, "--json"]) == 0
        return orjson.loads(capsys.readouterr().out)

    write_client_file(quick_devnet.folder, quick_devnet.gateway.url, PASSPHRASE)
    post_id = run("post", SECRET, "--as", "ada")["event_id"]
    run("like", post_id, "--as", "ada")
    proof = gateway.get(f"/ledger/events/{post_id}/proof")
    height = gateway.get(f"/events/{post_id}/receipt")["receipt"]["height"]
    wait_until(
        lambda: any(each["last_height"] >= height for each in read_segments(gateway)), 60, "the post is archived"
    )  # fmt: skip
    assert holding(quick_devnet.folder, SECRET), "the text lies in files before"

    run("erase", post_id, "--as", "ada")

    for member in quick_devnet.members:
        client = ApiClient(member.url)
        wait_until(partial(is_erased, client, post_id), 30, "it is erased there")
        assert client.get(f"/posts/{post_id}")["post"]["text"] is None
    wait_until(lambda: not holding(quick_devnet.folder, SECRET), 90, "no file holds the text")
    assert gateway.get(f"/ledger/events/{post_id}/proof") == proof
    assert atlas(["erase", post_id, *home, "--as", "ada", "--json"]) == 2
    assert "erased already" in capsys.readouterr().err
    found = finish(join(quick_devnet, tmp_path / "audit", "--once"))
    assert found["fault"] is None
    assert not holding(tmp_path / "audit", SECRET)
    quick_devnet.stop()
    validator = quick_devnet.validators[0].folder
    assert atlas(["verify", str(validator), "--json"]) == 0
    replayed = orjson.loads(capsys.readouterr().out)
    assert (replayed["payloads_missing"], replayed["payloads_erased"]) == (1, 1)


def _read_pruned(log: Path) -> int:
    """Return the height that the node has said last that it pruned up to."""
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if "pruned up to height" in line]
    return int(lines[-1].partition("pruned up to height ")[2].partition(":")[0]) if lines else 0
