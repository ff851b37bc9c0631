"""How fast an auditor checks a large ledger: from genesis and from a snapshot, undisturbed and killed ten times."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from node.api_client import ApiClient
from tools.chaos.laggard import SteadyLoad, read_place
from tools.chaos.network import ChaosNetwork, InvariantBroken, check_free

KILLS = 10
PORT_OFFSET = 80
LIMIT_S = 3_600.0


def measure_audit(network: ChaosNetwork, events: int, seed: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Load `events`, then audit them in four ways.  Raises InvariantBroken when an auditor ends as it should not."""
    network.start()
    load = SteadyLoad(network, seed, without=None)
    began = time.monotonic()
    load.start()
    while load.done < events:
        if load.error is not None:
            raise load.error
        time.sleep(1)
    seconds = time.monotonic() - began
    live = load.done / seconds
    load.stopping = True
    load.join(60)
    height, log_size = read_place(network.nodes[0])
    tell(f"{load.done} events in {height} blocks, {live:.0f} a second; {log_size} with those that were derived")
    auditor = _Auditor(network, random.Random(seed), tell)
    genesis = auditor.audit("genesis")
    snapshot = auditor.audit("snapshot", "--snapshot")
    found: dict[str, Any] = {
        "seed": seed,
        "signed_events": load.done,
        "log_size": log_size,
        "blocks": height,
        "live_events_per_s": round(live, 1),
        "live_log_entries_per_s": round(log_size / seconds, 1),
        "from_genesis": genesis,
        "from_snapshot": snapshot,
        "ratio_to_live": round(genesis["events_per_s"] / (log_size / seconds), 2),
        "snapshot_share_of_genesis": round(snapshot["seconds"] / genesis["seconds"], 3),
        "from_genesis_killed": auditor.audit_killed("genesis-killed", genesis["seconds"]),
        "from_snapshot_killed": auditor.audit_killed("snapshot-killed", snapshot["seconds"], "--snapshot"),
    }
    network.stop()
    return found


class _Auditor:
    """Runs `atlas audit join` as an outsider does: with the genesis, and the validators' addresses."""

    def __init__(self, network: ChaosNetwork, stream: random.Random, tell: Callable[[str], None]) -> None:
        self._network = network
        self._stream = stream
        self._tell = tell
        self._port = network.nodes[0].api_port + PORT_OFFSET
        check_free(self._port)

    def audit(self, name: str, *options: str) -> dict[str, Any]:
        """Audit everything, undisturbed."""
        began = time.monotonic()
        found = self._finish(self._start(self._network.folder / name, options))
        found["seconds_with_start_and_history"] = round(time.monotonic() - began, 1)
        self._verify(found)
        self._tell(f"{name}: {found['events_verified']} in {found['seconds']} s, {found['events_per_s']} a second")
        return found

    def audit_killed(self, name: str, seconds: float, *options: str) -> dict[str, Any]:
        """Audit, and `kill -9` it at ten random moments of the `seconds` that it should take."""
        folder = self._network.folder / name
        moments: list[float] = []
        for _ in range(KILLS):
            process = self._start(folder, options)
            moment = self._stream.uniform(0.5, max(4.0, 2 * seconds / KILLS))
            time.sleep(moment)
            moments.append(round(moment, 1))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        found = self._finish(self._start(folder, options))
        self._verify(found)
        self._tell(f"{name}: after {KILLS} kills it ends with the same chain; the last run took {found['seconds']} s")
        return {"killed_after_s": moments, "last_run": found}

    def _start(self, folder: Path, options: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        sources = [str(node.folder / "node.toml") for node in self._network.nodes[:2]]
        command = [sys.executable, "-m", "node.cli.main", "audit", "join", str(self._network.folder / "genesis.json")]
        ports = ["--api-port", "0", "--p2p-port", str(self._port)]
        return subprocess.Popen(
            [*command, *sources, "--folder", str(folder), *ports, "--once", "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _finish(self, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
        out, errors = process.communicate(timeout=LIMIT_S)
        if process.returncode != 0:
            raise InvariantBroken("an auditor ends with exit code 0", "0", (out + errors).decode()[-2_000:])
        found: dict[str, Any] = orjson.loads(out)
        return found

    def _verify(self, found: dict[str, Any]) -> None:
        """The auditor's state is that of the validators at the same height, and nothing is missing."""
        header = ApiClient(self._network.nodes[0].url).get(f"/ledger/blocks/{found['height']}")["header"]
        if header["state_digest"] != found["state_digest"] or found["history_missing"] or found["fault"]:
            raise InvariantBroken("an auditor ends with the validators' state", header["state_digest"], str(found))
