"""An auditor with nothing but a genesis file: killed again and again on the way, it ends with the validators' chain."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from node.api_client import ApiClient, ApiProblem
from node.devnet import Devnet
from tests.network.conftest import find_free_port
from tests.network.test_crashes import Load, read_header_hash, wait_until

pytestmark = pytest.mark.network

KILLS = 10
EVENTS = 600


def join(devnet: Devnet, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "node.cli.main", "audit", "join", str(devnet.folder / "genesis.json")]
    ports = ["--p2p-port", str(find_free_port() + 50), "--api-port", "0"]
    return subprocess.Popen(
        [*command, str(devnet.gateway.folder / "node.toml"), "--folder", str(folder), *ports, *options, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, (out + errors).decode()
    found: dict[str, Any] = orjson.loads(out)
    return found


def test_an_auditor_joins_is_killed_and_ends_with_the_same_chain(devnet: Devnet, tmp_path: Path) -> None:
    load = Load(devnet)
    load.start()
    wait_until(lambda: len(load.final) >= EVENTS, 120, f"{EVENTS} final events")
    stream = random.Random(11)

    for _ in range(KILLS):
        process = join(devnet, tmp_path / "audit", "--once")
        time.sleep(stream.uniform(1.0, 3.0))  # a random moment: what is under way is whatever it is
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = finish(join(devnet, tmp_path / "audit", "--once"))

    assert found["caught_up"]
    assert found["fault"] is None
    client = ApiClient(devnet.gateway.url)
    header = client.get(f"/ledger/blocks/{found['height']}")
    assert header["header"]["state_digest"] == found["state_digest"]

    # It follows, answers reads as any node, and takes nothing.
    process = join(devnet, tmp_path / "audit")
    try:
        client_file = tmp_path / "audit" / "client.json"
        client_file.unlink()
        wait_until(client_file.exists, 60, "the auditor's API")
        auditor = ApiClient(orjson.loads(client_file.read_bytes())["url"])
        there = client.get("/ledger/head")["header"]["height"]
        wait_until(lambda: auditor.get("/ledger/head")["header"]["height"] > there, 30, "it follows")
        wait_until(lambda: auditor.get("/node/status")["peers"], 30, "it knows where its peers are")
        seen = max(peer["height"] for peer in auditor.get("/node/status")["peers"])
        wait_until(lambda: auditor.get("/ledger/head")["header"]["height"] > seen + 2, 30, "it goes on following")
        assert auditor.get(f"/ledger/blocks/{there}")["block"] == read_header_hash(devnet.gateway, there)
        assert auditor.get("/node/status")["role"] == "auditor"
        with pytest.raises(ApiProblem, match="only checks"):
            auditor.post("/events", {"events": [{"event": "80", "payload": None, "signature": "00" * 64}]})
    finally:
        load.stop()
        process.send_signal(signal.SIGINT)
    assert finish(process)["caught_up"]
    load.join(60)
    assert load.error is None
