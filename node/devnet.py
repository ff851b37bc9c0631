"""A network on one machine: four validators and a gateway as separate processes, with real sample content.

Keys, genesis and data lie under one folder and are kept; a second start goes on where the first stopped.  The
passphrase of its keys is known to everybody: this is for development only.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ledger.genesis import (
    Allocation,
    Genesis,
    compute_chain_id,
    decode_genesis_file,
    encode_genesis_file,
    make_policy_values,
)
from ledger.nodes import RELAY, VALIDATOR
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.signing import SigningKey
from node.api_client import ApiClient, ApiProblem, NodeUnreachable
from node.cli.home import find_home, write_client_file
from node.cli.nodes import register_node
from node.cli.output import Output
from node.clock import now_ms
from node.config import ApiSection, Config, ConsensusSection, LogSection, NodeSection, P2pSection, render_config
from node.keystore import Keystore
from node.loader import Loader, make_authors, read_posts
from node.modules import make_registry

PASSPHRASE = "devnet"
VALIDATORS = 4
BEAT_MS = 1_000
EPOCH_BEATS = 32
P2P_PORT_OFFSET = 100
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
SAMPLE = Path(__file__).resolve().parent.parent / "configs" / "devnet" / "posts.jsonl"
TREASURY = "treasury"
PEOPLE = ("ada", "alan", "grace")
FLX_EACH = 10_000
FLX_FOUNDER = 500
"""What each author of the sample holds from genesis."""
POLICIES = {
    "energy": {"base_cost": 100 * SCALE, "burst_actions_min": 1_000},
    "governance": {
        "cooldown_beats": 10, "delay_beats": 32, "infra_delay_beats": 32, "infra_window_beats": 64, "window_beats": 64,
    },
    "sybil": {"age_epochs": 2, "bond": 0, "newcomer_epochs": 1, "posts_max": 10_000, "votes_max": 1_000},
}  # fmt: skip
"""What the devnet's genesis loosens, all within the legal ranges, so that a sample can be loaded at once and a vote
takes a minute."""


class DevnetFailed(RuntimeError):
    """The network did not come up; the message names the log to read."""


@dataclass(frozen=True, slots=True)
class DevnetOptions:
    """What `atlas devnet` was asked for."""

    folder: Path
    port: int = 8080
    posts: int = 320
    accounts: int = 40
    seed: int = 2013
    fresh: bool = False
    once: bool = False


@dataclass(slots=True)
class Member:
    """One process of the network."""

    name: str
    folder: Path
    api_port: int
    process: subprocess.Popen[bytes] | None = None
    log: IO[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"


class Devnet:
    """The processes of one folder."""

    def __init__(self, folder: Path, port: int, *, beat_ms: int = BEAT_MS, epoch_beats: int = EPOCH_BEATS) -> None:
        self._beat_ms = beat_ms
        self._epoch_beats = epoch_beats
        self.folder = folder
        self.port = port
        names = [f"validator-{number}" for number in range(VALIDATORS)] + ["gateway"]
        ports = [port + 1 + number for number in range(VALIDATORS)] + [port]
        self.members = [Member(name, folder / name, api) for name, api in zip(names, ports, strict=True)]

    @property
    def gateway(self) -> Member:
        return self.members[-1]

    @property
    def validators(self) -> list[Member]:
        return self.members[:-1]

    def prepare(self, founders: Sequence[bytes] = ()) -> bool:
        """Make keys, genesis and configurations; False when they exist already.

        founders: public keys whose accounts exist from genesis, and so earn from the first epoch on.
        """
        if (self.folder / "genesis.json").exists():
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = [Keystore(each.folder / "data" / "keys").create("node", PASSPHRASE) for each in self.members]
        wallet = Keystore(self.folder / "wallet")
        treasury = wallet.create(TREASURY, PASSPHRASE)
        people = [wallet.create(name, PASSPHRASE) for name in PEOPLE]
        genesis = Genesis(
            allocations=(
                Allocation(1_000_000 * SCALE, treasury.public),
                *(Allocation(FLX_EACH * SCALE, key.public) for key in (*people, *keys)),
                *(Allocation(FLX_FOUNDER * SCALE, key) for key in founders),
            ),
            beat_ms=self._beat_ms,
            epoch_beats=self._epoch_beats,
            name="devnet",
            policies=make_policy_values(POLICIES),
            time_ms=now_ms(),
            validators=tuple(key.public for key in keys[:VALIDATORS]),
        )
        for number, member in enumerate(self.members):
            self._write_config(member, number, keys)
        # The genesis comes last: a folder that has it is complete.
        (self.folder / "genesis.json").write_bytes(encode_genesis_file(genesis))
        return True

    def _write_config(self, member: Member, number: int, keys: list[SigningKey]) -> None:
        peers = tuple(
            f"{keys[other].public.hex()}@127.0.0.1:{self._p2p_port(other)}"
            for other in range(VALIDATORS)
            if other != number
        )
        config = Config(
            folder=member.folder,
            node=NodeSection(
                name=member.name, genesis="../genesis.json", role="validator" if number < VALIDATORS else "observer"
            ),
            p2p=P2pSection(port=self._p2p_port(number), peers=peers),
            api=ApiSection(port=member.api_port),
            consensus=ConsensusSection(),
            log=LogSection(),
        )
        (member.folder / "node.toml").write_text(render_config(config), encoding="utf-8")

    def _p2p_port(self, number: int) -> int:
        return self.port + P2P_PORT_OFFSET + number

    def start(self, member: Member) -> None:
        """Start one process.  Raises DevnetFailed when its port is taken."""
        _check_free(member.api_port)
        environment = {**os.environ, "ATLAS_PASSPHRASE": PASSPHRASE}
        member.log = (member.folder / "node.log").open("ab")
        member.process = subprocess.Popen(
            [sys.executable, "-m", "node.cli.main", "run", str(member.folder)],
            stdout=member.log,
            stderr=member.log,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
        )

    def wait_ready(self, member: Member, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the member's API answers.  Raises DevnetFailed, also when it only serves reads (CIR-412)."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if member.process is not None and member.process.poll() is not None:
                break
            try:
                alert = ApiClient(member.url).get("/node/status")["alert"]
            except (NodeUnreachable, ApiProblem):
                time.sleep(0.1)
                continue
            if alert is not None:
                raise DevnetFailed(
                    f"{member.name}: {alert['code']}: {alert['why']}; a development network is begun anew with --fresh"
                )
            return
        raise DevnetFailed(f"{member.name} did not start; read {member.folder / 'node.log'}")

    def wait_height(self, height: int, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the gateway has a height.  Raises DevnetFailed."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if ApiClient(self.gateway.url).get("/ledger/head")["ledger"]["height"] >= height:
                return
            time.sleep(0.1)
        raise DevnetFailed(f"the network makes no blocks; read the logs under {self.folder}")

    def kill(self, member: Member) -> None:
        """Kill a process at once, as a crash would."""
        assert member.process is not None
        member.process.kill()
        member.process.wait()
        self.forget(member)

    def stop(self) -> None:
        """Stop the gateway first, then the validators; each closes its store."""
        for member in reversed(self.members):
            if member.process is not None and member.process.poll() is None:
                member.process.send_signal(signal.SIGTERM)
        for member in self.members:
            if member.process is not None:
                try:
                    member.process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    member.process.kill()
                    member.process.wait()
            self.forget(member)

    @staticmethod
    def forget(member: Member) -> None:
        """Close the log of a process that has ended."""
        if member.log is not None:
            member.log.close()
            member.log = None
        member.process = None


def run_devnet(options: DevnetOptions, output: Output) -> int:
    """Run the network until Ctrl-C; load the sample into a new one, and say what to try."""
    if options.fresh and options.folder.exists():
        shutil.rmtree(options.folder)
    devnet = Devnet(options.folder, options.port)
    started = time.monotonic()
    founders = [author.key.public for author in make_authors(bytes(32), options.accounts, options.seed)]
    is_new = devnet.prepare(founders)
    try:
        for member in devnet.members:
            devnet.start(member)
        for member in devnet.members:
            devnet.wait_ready(member)
        devnet.wait_height(1)
        write_client_file(options.folder, devnet.gateway.url, PASSPHRASE)
        output.errors.print(f"[green]five nodes run[/green] after {time.monotonic() - started:.1f} s")
        if is_new:
            register_nodes(devnet, output)
            load_sample(devnet, options, output)
        _explain(devnet, output)
        if options.once:
            return 0
        _wait_until_signal(devnet, output)
    except DevnetFailed as error:
        output.error(str(error), f"see the logs in {options.folder}/*/node.log; another start needs free ports")
        return 1
    except KeyboardInterrupt:
        pass
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            output.errors.print("[dim]stopping…[/dim]")
            devnet.stop()
    return 0


def register_nodes(devnet: Devnet, output: Output) -> None:
    """Register all members: each operates itself, so its node key is the root key of its account."""
    home = find_home(str(devnet.folder), devnet.gateway.url)
    client = ApiClient(devnet.gateway.url)
    for member in devnet.members:
        seed = Keystore(member.folder / "data" / "keys").open_seed("node", PASSPHRASE)
        kind = RELAY if member is devnet.gateway else VALIDATOR
        result = register_node(home, client, seed, SigningKey(seed), kind)
        if result["status"] != "final" or result["receipt"]["outcome"] != "applied":
            raise DevnetFailed(f"{member.name} could not be registered: {result}")
    output.errors.print(f"[green]{len(devnet.members)} nodes registered[/green], each with a bond of 1,000 FLX")


def load_sample(devnet: Devnet, options: DevnetOptions, output: Output) -> None:
    """Load the sample posts with drawn likes, follows and replies; the accounts are there from genesis."""
    genesis = decode_genesis_file((devnet.folder / "genesis.json").read_bytes())
    chain_id = compute_chain_id(genesis)
    posts = read_posts(SAMPLE, options.posts)
    authors = make_authors(chain_id, options.accounts, options.seed)
    follows, likes, replies = 4 * options.accounts, 3 * len(posts), len(posts) // 4
    total = 2 * len(authors) + follows + len(posts) + likes + replies
    columns = (TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeElapsedColumn())
    with Progress(*columns, console=output.errors, disable=output.as_json) as bar:
        task = bar.add_task("load", total=total)
        loader = Loader(
            [devnet.gateway.url], chain_id, make_registry(), authors, options.seed, lambda done: bar.advance(task, done)
        )
        asyncio.run(loader.run(posts, likes, follows, replies, founded=True))
    applied = loader.tally.outcomes.get("applied", 0)
    refusals = ", ".join(f"{count} {code}" for code, count in sorted(loader.tally.refusals.items())) or "none"
    output.errors.print(f"[green]{applied} events applied[/green]; denied by guards, as they should be: {refusals}")


def _explain(devnet: Devnet, output: Output) -> None:
    head = ApiClient(devnet.gateway.url).get("/ledger/head")
    urls = {member.name: member.url for member in devnet.members}
    if output.document({"url": devnet.gateway.url, "height": head["ledger"]["height"], "nodes": urls}):
        return
    output.line(f"\n[bold]ATLAS devnet[/bold]: {devnet.gateway.url}   height {head['ledger']['height']}")
    output.facts([(member.name, f"{member.url}   log {member.folder / 'node.log'}") for member in devnet.members])
    output.line(
        "\ntry, in another terminal ([dim]. .venv/bin/activate[/dim] first):\n"
        "  atlas feed\n"
        '  atlas post "Hello, ledger" --as ada --tag python\n'
        "  atlas transfer ada_0 2.5 --as alan\n"
        "  atlas proof EVENT -o hello.proof && atlas verify hello.proof\n"
        f"  curl {devnet.gateway.url}/api/v1/feed?limit=2\n"
        "\nCtrl-C stops all nodes; the network is kept and goes on at the next start."
    )


def _wait_until_signal(devnet: Devnet, output: Output) -> None:
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not stopped:
        time.sleep(0.2)
        for member in devnet.members:
            if member.process is not None and member.process.poll() is not None:
                output.error(f"{member.name} ended by itself", f"read {member.folder / 'node.log'}")
                devnet.forget(member)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DevnetFailed(f"port {port} is taken ({error}); choose another with --port") from error
