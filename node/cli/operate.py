"""Commands for operators: init, keys, run, devnet."""

import argparse
import logging
import signal
from pathlib import Path
from typing import Any

import trio

from ledger.genesis import GenesisInvalid
from ledger.storage import StoreDamaged, StoreLocked
from node.block_fetch import ReplayDiffers
from node.cli.home import UsageError, find_home
from node.cli.output import Output
from node.config import Config, ConfigInvalid, ConsensusSection, NodeSection, P2pSection, load_config, render_config
from node.devnet import DevnetOptions, run_devnet
from node.keystore import Keystore
from node.logs import configure_logs
from node.run import run_node
from node.vote_log import VoteLogCorrupt

logger = logging.getLogger(__name__)


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""

    def add(name: str, help: str, run: Any) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help, parents=[shared])
        command.set_defaults(run=run)
        return command

    command = add("init", "Make the folder of a new node: configuration and key.", run_init)
    command.add_argument("folder", type=Path)
    command.add_argument("--genesis", type=Path, required=True, help="the network's genesis.json")
    command.add_argument("--peer", action="append", default=[], help="<public key hex>@host:port; may be repeated")
    command.add_argument("--name", default="node")
    command.add_argument("--role", choices=("observer", "validator"), default="observer")

    command = add("keys", "List the wallet's keys, or make one.", run_keys)
    command.add_argument("action", choices=("list", "create"))
    command.add_argument("name", nargs="?", help="the new key's name")
    command.add_argument("--home", help="folder with the wallet (default: build/devnet or ~/.atlas)")

    command = add("run", "Run a node until Ctrl-C.", run_run)
    command.add_argument("config", type=Path, help="node.toml, or the folder that holds it")

    command = add("devnet", "Run four validators and a gateway on this machine, with real posts.", run_devnet_command)
    command.add_argument("--folder", type=Path, default=Path("build/devnet"))
    command.add_argument("--port", type=int, default=8080, help="the gateway's API; the validators' follow it")
    command.add_argument("--posts", type=int, default=320, help="sample posts to load into a new network")
    command.add_argument("--accounts", type=int, default=40)
    command.add_argument("--seed", type=int, default=2013, help="draws authors, likes and follows")
    command.add_argument("--fresh", action="store_true", help="remove an earlier devnet of this folder first")
    command.add_argument("--once", action="store_true", help="stop when the sample is loaded and explained")


def run_init(given: argparse.Namespace, output: Output) -> int:
    folder: Path = given.folder
    path = folder / "node.toml"
    if path.exists():
        raise UsageError(f"{path}: exists already; choose an empty folder")
    if not given.genesis.exists():
        raise UsageError(f"{given.genesis}: no such genesis file")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "genesis.json").write_bytes(given.genesis.read_bytes())
    config = Config(
        folder=folder.resolve(),
        node=NodeSection(name=given.name, role=given.role),
        p2p=P2pSection(peers=tuple(given.peer)),
        consensus=ConsensusSection(),
    )
    passphrase = find_home(str(folder), None).read_passphrase("Passphrase of the node's key: ")
    key = Keystore(config.data_folder / "keys").create(config.node.key, passphrase)
    path.write_text(render_config(config), encoding="utf-8")
    load_config(path)
    if not output.document({"config": str(path), "public_key": key.public.hex()}):
        output.line(f"[green]made[/green] {path}")
        output.facts([("public key", key.public.hex()), ("start it", f"atlas run {folder}")])
    return 0


def run_keys(given: argparse.Namespace, output: Output) -> int:
    home = find_home(given.home, None)
    if given.action == "create":
        if not given.name:
            raise UsageError("keys create: expected a name, e.g. `atlas keys create ada`")
        key = home.wallet.create(given.name, home.read_passphrase(f"Passphrase of {given.name}: "))
        if not output.document({"name": given.name, "public_key": key.public.hex()}):
            output.line(f"[green]made[/green] {given.name}, public key {key.public.hex()}")
            output.line(f"[dim]open its account with `atlas join --as {given.name}`[/dim]")
        return 0
    keys = home.wallet.list()
    if not output.document([{"name": key.name, "public_key": key.public.hex()} for key in keys]):
        output.table(
            f"keys in {home.wallet.folder}", ("name", "public key"), [(key.name, key.public.hex()) for key in keys]
        )
    return 0


def run_run(given: argparse.Namespace, output: Output) -> int:
    path: Path = given.config / "node.toml" if given.config.is_dir() else given.config
    config = load_config(path)
    configure_logs(config.log.level, config.log.format)
    home = find_home(str(config.folder), None)
    keystore = Keystore(config.data_folder / "keys")
    seed = keystore.open_seed(config.node.key, home.read_passphrase("Passphrase of the node's key: "))
    try:
        trio.run(_run_until_signal, config, path, seed)
    except ExceptionGroup as group:
        raise find_cause(group) from group
    return 0


def find_cause(group: ExceptionGroup[Exception]) -> Exception:
    """Return why a node ended, when that is a reason for people; the group itself, with all traces, when it is a bug.

    Tasks run in nurseries, which raise groups even for one error; a failing disk may fail several tasks at once.
    """
    _, bugs = group.split(STOPS)
    if bugs is not None:
        return group
    cause = find_first(group)
    return NodeStopped(cause) if isinstance(cause, OSError) else cause


def find_first(group: ExceptionGroup[Exception]) -> Exception:
    """Return the first error in a group of groups."""
    first = group.exceptions[0]
    if isinstance(first, ExceptionGroup):
        return find_first(first)  # pyright: ignore[reportUnknownArgumentType]  isinstance forgets what it holds
    return first


class NodeStopped(RuntimeError):
    """The surroundings made the node end: a full disk, a port that is taken."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"the node stopped: {error}; what it said is final is kept. "
            "Give it what it lacks (space on the disk, a free port) and start it again"
        )


STOPS = (ConfigInvalid, GenesisInvalid, OSError, ReplayDiffers, StoreDamaged, StoreLocked, VoteLogCorrupt)
"""Errors whose message says what is wrong; for these `atlas run` shows it and no traceback."""


async def _run_until_signal(config: Config, path: Path, seed: bytes) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            running = await nursery.start(run_node, config, path, seed, stop)
            print(f"READY {running.api_url} {running.p2p_port}", flush=True)
            async for number in signals:
                logger.info("stopping: signal %d", number)
                break
            stop.set()


def run_devnet_command(given: argparse.Namespace, output: Output) -> int:
    options = DevnetOptions(
        folder=given.folder,
        port=given.port,
        posts=given.posts,
        accounts=given.accounts,
        seed=given.seed,
        fresh=given.fresh,
        once=given.once,
    )
    return run_devnet(options, output)
