"""Commands that check instead of believing: proof, verify."""

import argparse
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ledger.genesis import Genesis, decode_genesis_file
from ledger.store import Store
from ledger.tokens import FLX, TOKENS
from node.api_client import ApiClient
from node.cli.home import UsageError, find_home
from node.cli.output import Output
from node.cli.proof_files import verify_file
from node.config import load_config
from node.modules import make_registry
from node.replay import replay_chain


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    home = argparse.ArgumentParser(add_help=False, parents=[shared])
    home.add_argument("--home", help="folder with client.json and genesis (default: build/devnet or ~/.atlas)")
    home.add_argument("--url", help="the node's API (default: from client.json)")
    text = "Write a proof of one event, or of one fact of the state, that anyone can check offline."
    proof = commands.add_parser("proof", help=text, description=text, parents=[home])
    what = proof.add_mutually_exclusive_group(required=True)
    what.add_argument("event", nargs="?", help="evt1…")
    what.add_argument("--balance", metavar="ACCOUNT", help="what an account (acct1… or a handle) held")
    what.add_argument("--state", metavar="FACT", help="validators, account:ACCOUNT, handle:NAME, or a state key as hex")
    proof.add_argument("--token", choices=TOKENS, default=FLX, help="of --balance (default: FLX)")
    proof.add_argument("-o", "--output", type=Path, help="the file to write (default: EVENT.proof or state.proof)")
    proof.set_defaults(run=run_proof)
    text = "Check a proof, an export or an archive segment offline, or replay a stopped node's chain from genesis."
    verify = commands.add_parser("verify", help=text, description=text, parents=[home])
    verify.add_argument("what", type=Path, help="a file, or a node's folder (the one with node.toml or its data)")
    verify.add_argument("--csv", type=Path, help="the CSV twin of an export: does it say the same?")
    verify.add_argument("--genesis", type=Path, help="the genesis to trust (default: the home's, or the node's own)")
    verify.set_defaults(run=run_verify)


def run_proof(given: argparse.Namespace, output: Output) -> int:
    client = ApiClient(find_home(given.home, given.url).url)
    path: Path = given.output or Path(f"{given.event or 'state'}.proof")
    if given.event is not None:
        data = client.get_bytes(f"/ledger/events/{given.event}/proof")
    else:
        fact = given.state or f"balance:{given.token}:{given.balance}"
        data = client.get_bytes(f"/ledger/state/{quote(fact, safe='')}/proof")
    path.write_bytes(data)
    if not output.document({"file": str(path), "bytes": len(data)}):
        output.line(f"[green]written[/green] {path} ({len(data)} bytes); check it with `atlas verify {path}`")
    return 0


def run_verify(given: argparse.Namespace, output: Output) -> int:
    what: Path = given.what
    if not what.exists():
        raise UsageError(f"{what}: no such file or folder; check its name")
    if what.is_dir():
        return _verify_chain(given, output)
    return verify_file(what, given.csv, read_genesis(given, None), output)


def _verify_chain(given: argparse.Namespace, output: Output) -> int:
    ledger = find_ledger(given.what)
    genesis = read_genesis(given, _find_own_genesis(given.what))
    store = Store(ledger)
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TextColumn("blocks"))
    try:
        with Progress(*columns, console=output.errors, disable=output.as_json, transient=True) as bar:
            task = bar.add_task("replay", total=None)
            replayed = replay_chain(
                store, genesis, make_registry(), lambda at, of: bar.update(task, completed=at, total=of)
            )
    finally:
        store.close()
    found = {
        "equal": True,
        "height": replayed.height,
        "events": replayed.events,
        "certificates": replayed.certificates,
        "payloads_missing": replayed.payloads_missing,
        "state_keys": replayed.state_keys,
        "header_hash": replayed.header_hash.hex(),
        "state_digest": replayed.state_digest.hex(),
        "hash_seed": os.environ.get("PYTHONHASHSEED", "random"),
    }
    if not output.document(found):
        output.line("[bold green]every root is equal[/bold green]")
        output.facts([(name.replace("_", " "), value) for name, value in found.items() if name != "equal"])
    return 0


def find_ledger(folder: Path) -> Path:
    """Return the store below a node's folder or its data.  Raises UsageError."""
    ledger = next((path for path in (folder / "data" / "ledger", folder / "ledger") if path.is_dir()), None)
    if ledger is None:
        raise UsageError(f"{folder}: no ledger below it; expected data/ledger or ledger")
    return ledger


def _find_own_genesis(folder: Path) -> Path | None:
    """Return the genesis that a node's folder names, if it has a configuration."""
    path = folder / "node.toml"
    return load_config(path).genesis_file if path.exists() else None


def read_genesis(given: argparse.Namespace, near: Path | None) -> Genesis:
    """Return the genesis that was named, that lies near, or that the home has.  Raises UsageError, GenesisInvalid."""
    path: Path | None = given.genesis
    if path is None and near is not None and near.exists():
        path = near
    if path is None:
        return find_home(given.home, given.url).read_genesis()
    if not path.exists():
        raise UsageError(f"{path}: no such genesis file")
    return decode_genesis_file(path.read_bytes())
