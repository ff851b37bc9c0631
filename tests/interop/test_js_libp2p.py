"""A real js-libp2p client dials a real node, identifies it, pings it and fetches blocks that it checks itself."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.primitives.ids import IdKind, decode_id
from node.api_client import ApiClient
from node.config import load_config, parse_peers
from node.devnet import Devnet
from p2p.host import peer_id_of

pytestmark = pytest.mark.network

HERE = Path(__file__).resolve().parent
NODE_MAJOR_MIN = 20
HEIGHTS = 3


def find_missing() -> str | None:
    """Return in one line what this machine lacks to run the client, or None."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"{program} is not on the PATH: install Node.js {NODE_MAJOR_MIN} or newer, with npm"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    found = re.fullmatch(r"v(\d+)\..*", version)
    if found is None or int(found[1]) < NODE_MAJOR_MIN:
        return f"expected Node.js {NODE_MAJOR_MIN} or newer, got {version}"
    return None


MISSING = find_missing()


@pytest.fixture(scope="module")
def client_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client with its pinned packages, installed in a folder of its own."""
    if MISSING is not None:
        pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("js")
    for name in ("package.json", "package-lock.json", "meet_node.mjs"):
        shutil.copy(HERE / name, folder / name)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def meet(folder: Path, address: str, first: int, last: int) -> dict[str, Any]:
    command = ["node", "meet_node.mjs", address, str(first), str(last)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def test_a_js_libp2p_client_identifies_pings_and_fetches_blocks(devnet: Devnet, client_folder: Path) -> None:
    config = devnet.gateway.folder / "node.toml"
    target = parse_peers(config, load_config(config).p2p.peers)[0]
    devnet.wait_height(HEIGHTS + 1)
    peer = peer_id_of(target.public_key)

    found = meet(client_folder, f"/ip4/127.0.0.1/tcp/{target.port}/p2p/{peer}", 1, HEIGHTS)

    assert (found["peer"], found["encryption"], found["muxer"]) == (peer, "/noise", "/yamux/1.0.0")
    assert {"/atlas/blocks/1", "/atlas/link/1", "/ipfs/ping/1.0.0"} <= set(found["protocols"])
    assert found["rtt_ms"] >= 0
    assert found["head"] >= HEIGHTS
    assert found["refusals"] == ["request_malformed", "request_malformed"]
    api = ApiClient(devnet.gateway.url)
    expected = [api.get(f"/ledger/blocks/{height}") for height in range(1, HEIGHTS + 1)]
    assert [(block["height"], block["hash"]) for block in found["blocks"]] == [
        (height, decode_id(IdKind.BLOCK, block["block"]).hex()) for height, block in enumerate(expected, start=1)
    ]
    # An honest stranger is no offender: only the malformed ranges that it sent on purpose were counted.
    counted = [line for line in (devnet.validators[0].folder / "node.log").read_text().splitlines() if "(score" in line]
    assert [line.partition(found["own_peer"])[2].split(": ")[1] for line in counted] == ["request_malformed"] * 2


def test_the_client_catches_a_node_of_another_key(devnet: Devnet, client_folder: Path) -> None:
    config = devnet.gateway.folder / "node.toml"
    target, other = parse_peers(config, load_config(config).p2p.peers)[:2]
    address = f"/ip4/127.0.0.1/tcp/{target.port}/p2p/{peer_id_of(other.public_key)}"

    with pytest.raises(AssertionError, match="expected the peer"):
        meet(client_folder, address, 1, 1)
