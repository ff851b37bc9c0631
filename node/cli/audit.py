"""Commands of auditors: join a network with nothing but its genesis, execute everything, and follow."""

import argparse
import os
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from client_api.services import NodeStatus
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ledger.genesis import decode_genesis_file
from node.checkpoint import parse_checkpoint
from node.cli.home import UsageError, write_client_file
from node.cli.operate import find_cause
from node.cli.output import Output
from node.clock import monotonic_ms
from node.config import (
    AUDITOR,
    ApiSection,
    Config,
    NodeSection,
    P2pSection,
    SyncSection,
    load_config,
    parse_peers,
    render_config,
)
from node.logs import configure_logs
from node.run import Running, run_node

POLL_S = 0.5
CONNECT_S = 30.0
"""Without any peer for so long at the start, the addresses are wrong or nobody runs there."""


class NobodyThere(RuntimeError):
    """No peer could be reached."""


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    text = "Check everything that a network did, as a read-only peer of it."
    audit = commands.add_parser("audit", help=text, description=text)
    actions: Any = audit.add_subparsers(metavar="ACTION", required=True)
    text = "Join a network: fetch, verify and execute all of it, then follow."
    join = actions.add_parser(
        "join",
        help=text,
        description=text,
        parents=[shared],
        epilog="Stop it with Ctrl-C at any time; the same command goes on where it was.",
    )
    join.add_argument("genesis", type=Path, help="the network's genesis.json: all that has to be trusted")
    join.add_argument("address", nargs="+", help="<public key hex>@host:port of any node, or a node.toml with peers")
    join.add_argument("--folder", type=Path, default=Path("audit"), help="where the auditor keeps the chain")
    join.add_argument("--snapshot", action="store_true", help="begin from the newest certified state; history follows")
    join.add_argument(
        "--checkpoint", default="", metavar="HEIGHT:BLOCK", help="refuse a chain with another block there, like 9:blk1…"
    )
    join.add_argument("--api-port", type=int, default=8090, help="of its own read API; 0 takes any free port")
    join.add_argument("--p2p-port", type=int, default=4090)
    join.add_argument("--once", action="store_true", help="end when it has caught up")
    join.set_defaults(run=run_join)


def run_join(given: argparse.Namespace, output: Output) -> int:
    if not given.genesis.exists():
        raise UsageError(f"{given.genesis}: no such genesis file")
    genesis = given.genesis.read_bytes()
    decode_genesis_file(genesis)
    parse_checkpoint(given.checkpoint)
    path = _prepare(given, genesis)
    config = load_config(path)
    configure_logs("error", "text")
    watch = _Watch(output, once=given.once)
    try:
        trio.run(_join, config, path, _read_seed(config.data_folder), watch)
    except ExceptionGroup as group:
        raise find_cause(group) from group
    return watch.report()


def _prepare(given: argparse.Namespace, genesis: bytes) -> Path:
    """Make the auditor's folder, or bring its configuration up to what is asked for now."""
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "genesis.json"
    if known.exists() and known.read_bytes() != genesis:
        raise UsageError(f"{folder}: holds another network's chain; choose another --folder")
    known.write_bytes(genesis)
    path = folder / "node.toml"
    config = Config(
        folder=folder.resolve(),
        node=NodeSection(name="auditor", role=AUDITOR),
        p2p=P2pSection(port=given.p2p_port, peers=tuple(_list_peers(given.address))),
        api=ApiSection(port=given.api_port),
        sync=SyncSection(
            start="snapshot" if given.snapshot else "replay", snapshot_events_min=1, checkpoint=given.checkpoint
        ),
    )
    path.write_text(render_config(config), encoding="utf-8")
    return path


def _list_peers(addresses: list[str]) -> list[str]:
    peers: list[str] = []
    for address in addresses:
        if address.endswith(".toml"):
            peers += load_config(Path(address)).p2p.peers
        else:
            peers.append(address)
    parse_peers(Path("ADDRESS"), tuple(peers))
    return list(dict.fromkeys(peers))


def _read_seed(data: Path) -> bytes:
    """Return the seed of the auditor's network identity; it signs nothing else, so it lies there without passphrase."""
    path = data / "identity.seed"
    data.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    seed = path.read_bytes()
    if len(seed) != 32:
        raise UsageError(f"{path}: expected 32 bytes, got {len(seed)}; remove it, and another identity is made")
    return seed


async def _join(config: Config, path: Path, seed: bytes, watch: "_Watch") -> None:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        running: Running = await nursery.start(run_node, config, path, seed, stop)
        if running.api_url is not None:
            write_client_file(config.folder, running.api_url, None)
        async with trio.open_nursery() as watching:
            watching.start_soon(_stop_on_signal, stop)
            await watch.follow(running, stop)
            watching.cancel_scope.cancel()
        stop.set()


async def _stop_on_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            stop.set()
            return


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the auditor is at a moment."""

    at_ms: int
    height: int
    events: int


class _Watch:
    """Shows how far it is, and remembers what to report."""

    def __init__(self, output: Output, *, once: bool) -> None:
        self._output = output
        self._once = once
        self._first: _Place | None = None
        self._caught_up: _Place | None = None
        self._last: NodeStatus | None = None
        self._is_alone = False
        self._goal = 0
        self._header_hash = b""
        self._state_digest = b""

    async def follow(self, running: Running, stop: trio.Event) -> None:
        """Show progress until `stop`; with `once`, until it is where its peers were when it met them."""
        columns = (
            TextColumn("[cyan]{task.description}[/cyan]"), BarColumn(), MofNCompleteColumn(), TextColumn("blocks"),
            TextColumn("[green]{task.fields[rate]}[/green]"), TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        began_ms = monotonic_ms()
        with Progress(*columns, console=self._output.errors, disable=self._output.as_json, transient=True) as bar:
            task = bar.add_task("connecting", total=None, rate="")
            while not stop.is_set():
                status = self._last = running.status()
                here = self._look(running)
                if not status.peers and self._caught_up is None and monotonic_ms() - began_ms > CONNECT_S * 1000:
                    self._is_alone = True
                    return
                if self._is_there(status) and self._caught_up is None:
                    self._caught_up = here
                if self._caught_up is not None and self._once and not status.history_missing:
                    return
                bar.update(
                    task, completed=status.height, total=max(status.proven_height, status.height) or None,
                    description=self._describe(status), rate=self._rate(here),
                )  # fmt: skip
                with trio.move_on_after(POLL_S):
                    await stop.wait()

    def _is_there(self, status: NodeStatus) -> bool:
        """Tell whether it has come to where its peers were when it met them.

        A claim may be a lie: certificates of headers put it right, or the node has asked everybody, and rests.
        """
        claimed = max((peer.height for peer in status.peers), default=0)
        self._goal = self._goal or claimed
        if status.proven_height > status.height:
            self._goal = min(self._goal, status.proven_height)
        rests = 0 < status.sync_target <= status.height and not status.syncing
        return rests or 0 < self._goal <= status.height

    def _look(self, running: Running) -> _Place:
        head = running.chain.head
        self._header_hash, self._state_digest = head.hash, head.header.state_digest
        here = _Place(monotonic_ms(), head.height, head.header.log_size)
        if self._first is None:
            self._first = here
        return here

    def _describe(self, status: NodeStatus) -> str:
        if not status.peers:
            return "connecting"
        if status.history_missing:
            return f"filling in {status.history_missing} older blocks"
        return "verifying" if self._caught_up is None else "following"

    def _rate(self, here: _Place) -> str:
        if self._first is None or here.at_ms == self._first.at_ms:
            return ""
        return f"{(here.events - self._first.events) * 1000 / (here.at_ms - self._first.at_ms):,.0f} events/s"

    def report(self) -> int:
        """Print what was found; return the exit code: 1 when it stopped before it had caught up, or found a fault.

        Raises NobodyThere.
        """
        if self._is_alone:
            raise NobodyThere(f"no peer answered within {CONNECT_S:.0f} s; check the addresses, and that they run")
        status, first, end = self._last, self._first, self._caught_up
        assert status is not None
        assert first is not None
        fault = status.halted
        found: dict[str, object] = {
            "caught_up": end is not None,
            "height": status.height,
            "header_hash": self._header_hash.hex(),
            "state_digest": self._state_digest.hex(),
            "history_missing": status.history_missing,
            "fault": fault,
        }
        if end is not None:
            seconds = max(end.at_ms - first.at_ms, 1) / 1000
            found |= {
                "events_verified": end.events - first.events,
                "seconds": round(seconds, 1),
                "events_per_s": round((end.events - first.events) / seconds),
            }
        if not self._output.document(found):
            word = "[bold red]a fault was found[/bold red]" if fault else "[bold green]all of it holds[/bold green]"
            self._output.line(word if end is not None or fault else "[yellow]stopped before it had caught up[/yellow]")
            self._output.facts([(name.replace("_", " "), value) for name, value in found.items() if value is not None])
        return 0 if end is not None and not fault else 1
