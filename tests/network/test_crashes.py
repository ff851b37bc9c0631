"""Four validators as processes, load running, and `kill -9`."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from consensus.messages import Certificate
from ledger.genesis import compute_chain_id, decode_genesis_file
from ledger.primitives.records import decode_record
from node.api_client import ApiClient, ApiProblem, NodeUnreachable
from node.cli.home import write_client_file
from node.cli.main import main as atlas
from node.devnet import SAMPLE, Devnet, Member
from node.loader import Author, Loader, make_authors, read_posts
from node.modules import make_registry

pytestmark = pytest.mark.network

PROGRESS_S = 5.0
CATCH_UP_S = 30.0
ACCOUNTS = 16


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Return after how many seconds the condition held; fails with `what` when it never does."""
    started = time.monotonic()
    while time.monotonic() - started < timeout_s:
        try:
            if condition():
                return time.monotonic() - started
        except (NodeUnreachable, ApiProblem):
            pass
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {timeout_s} s")


def read_status(member: Member) -> dict[str, Any]:
    status: dict[str, Any] = ApiClient(member.url).get("/node/status")
    return status


def read_header_hash(member: Member, height: int) -> str:
    block: str = ApiClient(member.url).get(f"/ledger/blocks/{height}")["block"]
    return block


class Load(threading.Thread):
    """Posts and likes through the gateway until stopped; remembers every event that it was told is final."""

    def __init__(self, devnet: Devnet) -> None:
        super().__init__(daemon=True)
        chain_id = compute_chain_id(decode_genesis_file((devnet.folder / "genesis.json").read_bytes()))
        self.authors: list[Author] = make_authors(chain_id, ACCOUNTS, seed=5)
        self._loader = Loader([devnet.gateway.url], chain_id, make_registry(), self.authors, seed=5)
        self._posts = read_posts(SAMPLE, 200)
        self.error: BaseException | None = None
        self.stopping = False
        self.final: dict[str, int] = {}
        self._loader.on_result = self._remember

    def _remember(self, result: dict[str, Any]) -> None:
        assert result["status"] == "final", result
        self.final[result["event_id"]] = result["receipt"]["log_index"]

    def run(self) -> None:
        try:
            asyncio.run(self._loader.run(self._posts, 300, 20, 30))
            while not self.stopping:
                asyncio.run(self._loader.run_more(self._posts[:40], 60))
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        self.stopping = True
        self.join(90)
        assert not self.is_alive(), "the load did not end"
        if self.error is not None:
            raise self.error


def test_each_validator_in_turn_is_killed_under_load_and_nothing_is_lost(
    devnet: Devnet, capsys: pytest.CaptureFixture[str]
) -> None:
    load = Load(devnet)
    load.start()
    wait_until(lambda: len(load.final) > 60, 60, "the load starts")
    primary = read_status(devnet.validators[0])["primary"]
    order = [primary, *(number for number in range(4) if number != primary)]

    for number in order:
        kill_and_return(devnet, number)

    load.stop()
    height = min(read_status(member)["height"] for member in devnet.members)
    assert len({read_header_hash(member, height) for member in devnet.members}) == 1
    for member in devnet.validators:
        found = list_log_indexes(member, set(load.final))
        assert found == load.final, "each accepted event is in the log exactly once"
    devnet.stop()
    for member in devnet.members:
        assert atlas(["verify", str(member.folder)]) == 0
    capsys.readouterr()


def kill_and_return(devnet: Devnet, number: int) -> None:
    """Kill one validator; the others must go on, and it must catch up and vote again."""
    member, witness = devnet.validators[number], devnet.validators[(number + 1) % 4]
    devnet.kill(member)
    height = read_status(witness)["height"]
    wait_until(lambda: read_status(witness)["height"] > height + 1, PROGRESS_S, f"commits without {number}")
    devnet.start(member)
    devnet.wait_ready(member)
    target = read_status(witness)["height"]
    wait_until(lambda: read_status(member)["height"] >= target, CATCH_UP_S, f"{number} catches up")
    wait_until(lambda: read_status(member)["view"] == read_status(witness)["view"], CATCH_UP_S, "same view")
    wait_until(lambda: has_voted_lately(devnet, number), CATCH_UP_S, f"{number} votes again")


def has_voted_lately(devnet: Devnet, replica: int) -> bool:
    """Tell whether a replica's CHECKPOINT signature is in one of the newest certificates."""
    client = ApiClient(devnet.validators[(replica + 1) % 4].url)
    head = client.get("/ledger/head")["certified_height"]
    for height in range(max(1, head - 5), head + 1):
        certificate = client.get(f"/ledger/blocks/{height}")["certificate"]
        if certificate is not None:
            votes = decode_record(Certificate, bytes.fromhex(certificate)).signatures
            if replica in [vote.replica for vote in votes]:
                return True
    return False


def list_log_indexes(member: Member, wanted: set[str]) -> dict[str, int]:
    """Return the log index of each wanted event; fails when one stands in the log twice."""
    client = ApiClient(member.url)
    found: dict[str, int] = {}
    cursor: str | None = None
    while True:
        page = client.get("/ledger/events", limit=100, cursor=cursor)
        for receipt in page["items"]:
            if receipt["event_id"] in wanted and receipt["outcome"] != "skipped":
                assert receipt["event_id"] not in found, f"{receipt['event_id']} was executed twice"
                found[receipt["event_id"]] = receipt["log_index"]
        cursor = page["next"]
        if cursor is None:
            return found


def test_an_idle_network_replaces_a_dead_primary(devnet: Devnet) -> None:
    witness = devnet.gateway
    primary = read_status(devnet.validators[0])["primary"]

    devnet.kill(devnet.validators[primary])
    height = read_status(witness)["height"]

    wait_until(lambda: read_status(witness)["height"] > height + 1, 2 * PROGRESS_S, "beats of another primary")
    assert read_status(devnet.validators[(primary + 1) % 4])["primary"] != primary


def test_all_nodes_killed_at_once_go_on_where_they_stopped(devnet: Devnet) -> None:
    load = Load(devnet)
    load.start()
    wait_until(lambda: len(load.final) > 60, 60, "the load starts")
    before = dict(load.final)

    for member in devnet.members:
        devnet.kill(member)
    for member in devnet.members:
        devnet.start(member)
    for member in devnet.members:
        devnet.wait_ready(member)

    heights = [read_status(member)["height"] for member in devnet.validators]
    wait_until(
        lambda: all(read_status(member)["height"] > max(heights) + 1 for member in devnet.validators),
        30,
        "blocks again",
    )
    assert list_log_indexes(devnet.validators[0], set(before)) == before


def test_a_proof_from_the_command_line_verifies_offline(
    devnet: Devnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_client_file(devnet.folder, devnet.gateway.url, "devnet")
    home = ["--home", str(devnet.folder)]
    assert atlas(["post", "Hello, ledger", "--as", "ada", *home, "--json"]) == 0
    event_id = orjson.loads(capsys.readouterr().out)["event_id"]
    path = tmp_path / "hello.proof"
    wait_until(lambda: atlas(["proof", event_id, "-o", str(path), *home]) == 0, 10, "the certificate")
    devnet.stop()

    assert atlas(["verify", str(path), *home, "--json"]) == 0

    proof = path.read_bytes()
    for position in range(0, len(proof), 16):  # each bit of a proof is changed in tests/verify
        path.write_bytes(proof[:position] + bytes([proof[position] ^ 1]) + proof[position + 1 :])
        assert atlas(["verify", str(path), *home]) == 1, f"byte {position} was changed"
