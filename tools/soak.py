"""`make soak`: a whole data file through the API of a fresh network, then every node's chain replayed from genesis.

Each node is replayed twice, under different hash seeds, time zones and locales; every root must be equal everywhere.
Prints what became of each event, and writes build/soak.json.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ledger import keyspace
from ledger.block import compute_header_hash
from ledger.genesis import compute_chain_id, decode_genesis_file
from ledger.store import Store
from node.devnet import SAMPLE, Devnet
from node.loader import Loader, make_authors, read_posts
from node.modules import make_registry

ACCOUNTS = 400
FOLLOWS = 4_000
REPLIES = 2_000
ENVIRONMENTS = (
    {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "4242", "TZ": "America/New_York", "LC_ALL": "C.UTF-8"},
)

console = Console(stderr=True, highlight=False)


def load(devnet: Devnet, posts_file: Path, likes: int, seed: int) -> dict[str, Any]:
    """Load the file through the validators' APIs; return the tally."""
    genesis = decode_genesis_file((devnet.folder / "genesis.json").read_bytes())
    chain_id = compute_chain_id(genesis)
    posts = read_posts(posts_file)
    authors = make_authors(chain_id, ACCOUNTS, seed)
    total = 3 * ACCOUNTS + FOLLOWS + len(posts) + REPLIES + likes
    columns = (TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeElapsedColumn())
    started = time.monotonic()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("load", total=total)
        urls = [member.url for member in devnet.validators]
        loader = Loader(urls, chain_id, make_registry(), authors, seed, lambda done: bar.advance(task, done))
        asyncio.run(loader.run(posts, likes, FOLLOWS, REPLIES))
    seconds = time.monotonic() - started
    settled = sum(loader.tally.outcomes.values())
    return {
        "posts": len(posts),
        "events": total,
        "settled": settled,
        "outcomes": loader.tally.outcomes,
        "refusals": loader.tally.refusals,
        "seconds": round(seconds, 1),
        "events_per_s": round(settled / seconds, 1),
    }


def verify(folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Replay one node's chain in a process of its own; return what `atlas verify --json` says."""
    done = subprocess.run(
        [sys.executable, "-m", "node.cli.main", "verify", "--json", str(folder)],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{folder}: replay failed under {environment}: {done.stderr.decode()}")
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def read_header_hash(folder: Path, height: int) -> str:
    """Return the hash of a stopped node's header, which its replay has found right."""
    store = Store(folder / "data" / "ledger")
    try:
        header = store.get(keyspace.header(height))
        assert header is not None, f"{folder}: no header at {height}"
        return compute_header_hash(header).hex()
    finally:
        store.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--posts", default="", help="a JSON-lines file with title, text, community (default: the sample)"
    )
    parser.add_argument("--likes", type=int, default=13_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--port", type=int, default=9280)
    given = parser.parse_args()
    folder = Path("build/soak")
    shutil.rmtree(folder, ignore_errors=True)
    devnet = Devnet(folder, given.port)
    devnet.prepare()
    try:
        for member in devnet.members:
            devnet.start(member)
        for member in devnet.members:
            devnet.wait_ready(member)
        tally = load(devnet, Path(given.posts) if given.posts else SAMPLE, given.likes, given.seed)
    finally:
        devnet.stop()
    console.print(tally)
    replays = []
    for member in devnet.members:
        for environment in ENVIRONMENTS:
            started = time.monotonic()
            found = verify(member.folder, environment) | {"node": member.name, "environment": environment}
            found["seconds"] = round(time.monotonic() - started, 1)
            replays.append(found)
            console.print(f"{member.name} {environment['TZ']}: height {found['height']} {found['state_digest'][:16]}")
    common = min(found["height"] for found in replays)
    hashes = {read_header_hash(member.folder, common) for member in devnet.members}
    equal = len(hashes) == 1
    document = {"load": tally, "replays": replays, "common_height": common, "equal": equal}
    Path("build/soak.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    console.print(
        f"[green]every root is equal[/green], all nodes at height {common}" if equal else "[red]nodes differ[/red]"
    )
    return 0 if equal and tally["settled"] == tally["events"] else 1


if __name__ == "__main__":
    sys.exit(main())
