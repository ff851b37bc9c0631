"""The processes: their folders, genesis and configuration, and how they are started, stopped, killed and paused.

Each start of a node writes to a log of its own: what a log holds is judged by what was done to that process.
"""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ledger.genesis import Allocation, Genesis, compute_chain_id, encode_genesis_file, make_policy_values
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.signing import SigningKey
from node.api_client import ApiClient, ApiProblem, NodeUnreachable
from node.clock import now_ms
from node.config import ApiSection, Config, NodeSection, P2pSection, render_config
from node.devnet import BEAT_MS, EPOCH_BEATS, PASSPHRASE, POLICIES
from node.keystore import Keystore
from node.loader import Author, make_authors
from tools.chaos.node_process import OFFSET_BYTES, write_offset
from tools.chaos.proxy import Proxies

FLX_EACH = 100_000
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
API_TIMEOUT_S = 3.0


class InvariantBroken(RuntimeError):
    """What must always hold did not; the message says what was expected and what was found."""

    def __init__(self, invariant: str, expected: str, found: str) -> None:
        super().__init__(f"{invariant}: expected {expected}; found {found}")
        self.invariant = invariant
        self.expected = expected
        self.found = found


@dataclass(slots=True)
class Incarnation:
    """One run of one node's process."""

    number: int
    log: Path
    ended_by: str | None = None
    """What we did to end it; None while it runs."""


@dataclass(slots=True)
class Node:
    """One validator of the network, whether it runs or not."""

    number: int
    name: str
    folder: Path
    api_port: int
    process: subprocess.Popen[bytes] | None = None
    incarnations: list[Incarnation] = field(default_factory=list[Incarnation])
    _log: IO[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def life(self) -> int:
        """The number of its current run, or of its last."""
        return len(self.incarnations)

    @property
    def vote_log(self) -> Path:
        return self.folder / "data" / "votes.log"

    @property
    def offset_file(self) -> Path:
        return self.folder / "clock-offset"

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        assert self.process is None, f"{self.name} runs already"
        incarnation = Incarnation(self.life + 1, self.folder / f"node-{self.life + 1:03}.log")
        self.incarnations.append(incarnation)
        self._log = incarnation.log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.chaos.node_process", str(self.offset_file), str(self.folder)],
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "ATLAS_PASSPHRASE": PASSPHRASE},
            start_new_session=True,
        )

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.incarnations[-1].ended_by = "kill"
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        assert self.process is not None
        self.incarnations[-1].ended_by = "stop"
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self._reap()
            return -signal.SIGKILL
        return self._reap()

    def wait_exit(self, timeout_s: float, why: str) -> bool:
        """Tell whether the process ends by itself in time, which was expected because of `why`."""
        assert self.process is not None
        self.incarnations[-1].ended_by = why
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self._reap()
        return True

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def limit_files(self, bytes_max: int) -> None:
        """From now on no file of the process may grow beyond this: its writes fail, as on a full disk."""
        assert self.process is not None
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (bytes_max, hard))

    def set_clock(self, offset_ms: int) -> None:
        write_offset(self.offset_file, offset_ms)

    def read_status(self) -> dict[str, Any]:
        """GET /node/status.  Raises NodeUnreachable and ApiProblem."""
        client = ApiClient(self.url, API_TIMEOUT_S)
        status: dict[str, Any] = client.get("/node/status")
        return status

    def wait_ready(self) -> None:
        """Wait until the API answers.  Raises InvariantBroken when the process ends instead."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.is_running():
                break
            try:
                self.read_status()
            except (NodeUnreachable, ApiProblem):
                time.sleep(0.05)
                continue
            return
        raise InvariantBroken(
            "a node starts again after any crash",
            f"{self.name} to answer within {START_TIMEOUT_S:.0f} s",
            f"{'no answer' if self.is_running() else 'it ended'}; its log is {self.incarnations[-1].log}",
        )

    def _reap(self) -> int:
        assert self.process is not None
        code = self.process.wait()
        self.process = None
        if self._log is not None:
            self._log.close()
            self._log = None
        return code


class ChaosNetwork:
    """All nodes of one run, and the proxies between them."""

    def __init__(self, folder: Path, port: int, count: int, accounts: int, seed: int, *, proxied: bool = True) -> None:
        self.folder = folder
        self.count = count
        self.f = (count - 1) // 3
        self.nodes = [Node(n, f"validator-{n}", folder / f"validator-{n}", port + n) for n in range(count)]
        p2p_ports = [port + 100 + n for n in range(count)]
        self.proxies = Proxies(count, port + 200, p2p_ports, seed) if proxied else None
        for each in (*p2p_ports, *(node.api_port for node in self.nodes)):
            check_free(each)
        self._prepare(p2p_ports, accounts, seed)

    def _prepare(self, p2p_ports: list[int], accounts: int, seed: int) -> None:
        keys = [Keystore(node.folder / "data" / "keys").create("node", PASSPHRASE) for node in self.nodes]
        owners = [author.key for author in make_authors(bytes(32), accounts, seed)]
        self.genesis = Genesis(
            allocations=tuple(Allocation(FLX_EACH * SCALE, key.public) for key in (*owners, *keys)),
            beat_ms=BEAT_MS,
            epoch_beats=EPOCH_BEATS,
            name="chaos",
            policies=make_policy_values(POLICIES),
            time_ms=now_ms(),
            validators=tuple(key.public for key in keys),
        )
        self.chain_id = compute_chain_id(self.genesis)
        self.authors: list[Author] = make_authors(self.chain_id, accounts, seed)
        for node in self.nodes:
            (node.folder / "node.toml").write_text(self._render(node, keys, p2p_ports), encoding="utf-8")
            node.offset_file.write_bytes(bytes(OFFSET_BYTES))
        (self.folder / "genesis.json").write_bytes(encode_genesis_file(self.genesis))

    def _render(self, node: Node, keys: list[SigningKey], p2p_ports: list[int]) -> str:
        peers = tuple(
            f"{keys[j].public.hex()}@127.0.0.1:{self.proxies.port(node.number, j) if self.proxies else p2p_ports[j]}"
            for j in range(self.count)
            if j != node.number
        )
        return render_config(
            Config(
                folder=node.folder,
                node=NodeSection(name=node.name, genesis="../genesis.json", role="validator"),
                p2p=P2pSection(port=p2p_ports[node.number], peers=peers),
                api=ApiSection(port=node.api_port),
            )
        )

    def start(self) -> None:
        if self.proxies:
            self.proxies.start()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready()

    def stop(self) -> dict[str, int]:
        """Stop what runs; return the exit codes."""
        codes: dict[str, int] = {}
        for node in self.nodes:
            if node.process is not None:
                node.resume()
                codes[node.name] = node.stop()
        if self.proxies:
            self.proxies.stop()
        return codes


def check_free(port: int) -> None:
    """Raise SystemExit when a port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SystemExit(f"port {port} is taken ({error}); choose another with --port") from error
