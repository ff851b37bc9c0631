"""What a block costs with 4 to 100 validators, in the simulator: messages, bytes, signatures, latency.

    python -m tools.scaling [--validators 4,7,10,31,61,100] [--events N] [--json] [--write]

Runs real replicas, codec, signatures and execution in one thread and virtual time, over links of 50 ms that lose
nothing; one event each 100 ms.  Prints a table; with --write also draws docs/scaling.svg.  About four minutes.
"""

import argparse
import gc
import json
import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from simulations.scaling import LINK_MS, Measure, make_signatures, measure
from tools.lines import draw_log_lines

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "scaling.svg"
VALIDATORS = (4, 7, 10, 31, 61, 100)
EVENTS, EVENTS_LARGE, LARGE = 200, 100, 50
"""Above LARGE validators fewer events: a run costs as the square."""
SIGNATURES_TIMED = 2_000
COLOURS = {
    "messages": "#c0392b", "kB": "#2471a3", "kB, primary": "#7fb3d5", "signatures": "#8e44ad",
    "final, ms": "#2a7f3f", "final p99, ms": "#82c596",
}  # fmt: skip
COLUMNS = (
    "validators", "f", "quorum", "blocks", "messages", "kB", "kB, primary", "signatures", "their CPU ms",
    "committed ms", "p99", "final ms", "p99",
)  # fmt: skip


def time_signature_us() -> float:
    """Return what checking one signature costs on this machine, in microseconds of CPU time."""
    check = make_signatures(SIGNATURES_TIMED)
    check()
    began = time.process_time()
    assert check()
    return (time.process_time() - began) * 1_000_000 / SIGNATURES_TIMED


def make_row(each: Measure, signature_us: float) -> list[str]:
    return [
        f"{each.n}", f"{each.f}", f"{each.quorum}", f"{each.blocks}", f"{each.messages_per_block:,}",
        f"{each.bytes_per_block / 1000:,.0f}", f"{each.bytes_per_block_primary / 1000:,.1f}",
        f"{each.signatures_per_block:,}", f"{each.signatures_per_block * signature_us / 1000:.1f}",
        f"{each.committed_ms_median}", f"{each.committed_ms_p99}", f"{each.final_ms_median}", f"{each.final_ms_p99}",
    ]  # fmt: skip


def draw(measures: Sequence[Measure]) -> str:
    """Return the picture in docs/."""
    return draw_log_lines(
        f"A block by number of validators, links of {LINK_MS} ms",
        "",
        [each.n for each in measures],
        {
            "messages": [each.messages_per_block for each in measures],
            "kB": [each.bytes_per_block / 1000 for each in measures],
            "kB, primary": [each.bytes_per_block_primary / 1000 for each in measures],
            "signatures": [each.signatures_per_block for each in measures],
            "final, ms": [each.final_ms_median for each in measures],
            "final p99, ms": [each.final_ms_p99 for each in measures],
        },
        COLOURS,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--validators", default=",".join(map(str, VALIDATORS)), help="how many, with commas between")
    parser.add_argument("--events", type=int, help=f"in each run; {EVENTS}, above {LARGE} validators {EVENTS_LARGE}")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--write", action="store_true", help="draw docs/scaling.svg")
    options = parser.parse_args(arguments)
    signature_us = time_signature_us()
    measures: list[Measure] = []
    with Progress(console=Console(stderr=True)) as progress:
        for n in map(int, options.validators.split(",")):
            events = options.events or (EVENTS if n <= LARGE else EVENTS_LARGE)
            task = progress.add_task(f"{n} validators", total=events)
            measures.append(measure(n, events, progress=lambda done, task=task: progress.update(task, completed=done)))
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    if options.json:
        print(json.dumps({"machine": machine, "signature_us": signature_us, "runs": [asdict(m) for m in measures]}))
    else:
        table = Table(title=f"Per block; {machine}, {signature_us:.0f} µs a signature")
        for name in COLUMNS:
            table.add_column(name, justify="right")
        for each in measures:
            table.add_row(*make_row(each, signature_us))
        Console(width=140).print(table)
    if options.write:
        PICTURE.write_text(draw(measures), encoding="utf-8")


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    main()
