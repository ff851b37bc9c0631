"""`make chaos`: four real nodes under load, with faults drawn from a seed; then everything must be equal.

Faults: kill -9 of one node, of two, of all, and during a restart; a paused process; writes that fail as on a full disk;
a wall clock that jumps; a torn or cut vote log; and between the nodes delay, loss, one-way silence, cut and reset
connections and a split into halves.  Clients sign real events all the while and keep a book of what they were told.

At the end: equal headers and state digests at every height on every node, certificates that verify, each event that
was final there exactly once and where it was told, no gap in any account's nonces, a replay from genesis, no exit and
no traceback that was not ours.  Exit code 0 when all holds, 1 when not: then the folder is kept, and the message names
the invariant, the logs and the command that draws the same faults again.

examples:
  python -m tools.chaos --faults 8 --seed 1          a minute
  python -m tools.chaos --faults 200 --keep          as `make chaos`, but keep folders and logs
  python -m tools.chaos --laggard 20000              how fast a node that was away catches up under load
  python -m tools.chaos --audit 20000                how fast auditors check a ledger, and that kills don't stop them
"""

import argparse
import secrets
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tools.chaos.audit import measure_audit
from tools.chaos.checks import (
    check_equal_so_far,
    check_events,
    check_headers,
    check_logs,
    check_offline,
    wait_common_height,
)
from tools.chaos.faults import WEIGHTS, Faults, draw_faults
from tools.chaos.laggard import measure_laggard
from tools.chaos.load import Load
from tools.chaos.network import ChaosNetwork, InvariantBroken

ACCOUNTS = 24
SETTLE_S = 120.0
CHECK_EVERY = 5

console = Console(stderr=True, highlight=False)


def run_chaos(network: ChaosNetwork, given: argparse.Namespace) -> dict[str, Any]:
    """Start, load, break, heal, check.  Raises InvariantBroken."""
    drawn = draw_faults(given.seed, given.faults, given.nodes, given.only)
    network.start()
    load = Load(network, given.seed)
    load.start()
    faults = Faults(network)
    faults.wait_progress(network.nodes, "after the start")
    started = time.monotonic()
    columns = (
        TextColumn("faults"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=given.json) as bar:
        task = bar.add_task("", total=len(drawn))
        for fault in drawn:
            bar.update(task, description=f"{fault}; {load.final} events final")
            with (network.folder / "faults.log").open("a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%H:%M:%S')} {fault}; {load.final} events final\n")
            faults.carry_out(fault)
            load.check()
            if fault.number % CHECK_EVERY == 0:
                check_equal_so_far(network)
            bar.advance(task)
    faults_s = time.monotonic() - started
    load.finish(SETTLE_S)
    height = wait_common_height(network)
    _tell("checking headers and certificates")
    certificates = check_headers(network, height)
    _tell("checking events")
    events = check_events(network, load, height)
    codes = network.stop()
    if any(codes.values()):
        raise InvariantBroken("a node stops cleanly", "exit codes 0", str(codes))
    check_logs(network.nodes, _tell)
    seed: int = given.seed
    witness = network.nodes[seed % network.count]
    _tell(f"replaying {witness.name} from genesis")
    replayed = check_offline(witness)
    return {
        "seed": given.seed,
        "nodes": given.nodes,
        "faults": dict(sorted(Counter(fault.kind for fault in drawn).items())),
        "faults_s": round(faults_s, 1),
        "height": height,
        "certificates_verified": certificates,
        "events": events,
        "book": {"events": len(load.book)} | dict(sorted(load.counts.items())),
        "notes": faults.notes,
        "replayed": replayed,
    }


def _tell(text: str) -> None:
    console.print(text, style="dim")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--seed", type=int, default=None, help="draws faults and load; random when not given")
    parser.add_argument(
        "--only", action="append", default=[], choices=tuple(WEIGHTS), metavar="KIND",
        help=f"draw only these kinds; may be repeated: {', '.join(WEIGHTS)}",
    )  # fmt: skip
    parser.add_argument("--nodes", type=int, default=4, help="validators, at least 4 (default 4)")
    parser.add_argument("--port", type=int, default=9480, help="first port; the 300 above it are used too")
    parser.add_argument("--folder", type=Path, default=Path("build/chaos"), help="emptied first (default build/chaos)")
    parser.add_argument("--json", action="store_true", help="no progress bar; the result as one JSON object on stdout")
    parser.add_argument("--keep", action="store_true", help="keep the folder also when all went well")
    parser.add_argument("--laggard", type=int, metavar="EVENTS", help="no faults: measure how fast a node catches up")
    parser.add_argument(
        "--laggard-seconds",
        type=float,
        default=120.0,
        help="how long it may take under load; then without (default 120)",
    )
    parser.add_argument(
        "--audit", type=int, metavar="EVENTS", help="no faults: measure how fast auditors check so many"
    )
    parser.add_argument("--profiler", help="with --laggard: a py-spy to record the catching-up node with")
    given = parser.parse_args()
    if given.nodes < 4:
        parser.error("--nodes: PBFT needs at least 4 to bear one fault")
    if given.seed is None:
        given.seed = secrets.randbelow(2**31)
    console.print(f"seed {given.seed}")
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    started = time.monotonic()
    measures = given.laggard is not None or given.audit is not None
    accounts = 256 if measures else ACCOUNTS
    network = ChaosNetwork(given.folder.resolve(), given.port, given.nodes, accounts, given.seed, proxied=not measures)
    try:
        if given.audit is not None:
            found = measure_audit(network, given.audit, given.seed, _tell)
        elif given.laggard is not None:
            found = measure_laggard(network, given.laggard, given.laggard_seconds, given.seed, given.profiler, _tell)
        else:
            found = run_chaos(network, given)
    except InvariantBroken as broken:
        network.stop()
        console.print(f"[red]broken[/red]: {broken.invariant}", markup=True)
        console.print(f"  expected: {broken.expected}\n  found:    {broken.found}", markup=False)
        only = "".join(f" --only '{kind}'" for kind in given.only)
        console.print(
            f"  logs:     {given.folder}/validator-*/node-*.log, one for each run; {given.folder}/faults.log\n"
            f"  again:    python -m tools.chaos --faults {given.faults} --seed {given.seed}"
            f" --nodes {given.nodes}{only}",
            markup=False,
        )
        return 1
    except BaseException:
        network.stop()
        raise
    found["seconds"] = round(time.monotonic() - started, 1)
    if given.json:
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        console.print(found)
        console.print(f"[green]all holds[/green] after {found['seconds']} s")
    if not given.keep:
        shutil.rmtree(given.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
