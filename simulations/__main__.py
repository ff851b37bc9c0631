"""Run a scenario: `python -m simulations soup --seed 7`."""

import argparse
import gc
import json
import logging
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from simulations.observations import Observation
from simulations.reports.picture import make_picture
from simulations.scenario import Outcome, ScenarioInvalid, find_scenario, load_scenario, run_scenario
from simulations.world import World

EPILOG = """\
A scenario says what may go wrong; the seed decides what does, and when.  Equal seeds give equal runs, to the last
message.  A run has two phases: faults for the scenario's duration, then a random n-f of the replicas get good links
and no more crashes, and every valid event that was accepted must be executed by all of them in time.

examples:
  python -m simulations soup                      one run from a fresh seed, which is printed first
  python -m simulations soup --seed 7             repeat a run
  python -m simulations soup --seed 7 --trace t   and write what happened to the file t, a line for each thing
  python -m simulations soup --seed 7 --html run.html --window 8000-9000   a picture of one second of it
  python -m simulations soup --seeds 1-50         many runs; stops at the first that fails
  python -m simulations soup --replicas 7         with seven replicas instead of the scenario's number

exit code: 0 when every rule held, 1 when a seed failed, 2 for a wrong command line or scenario.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m simulations",
        description="Run a whole network in one thread and virtual time, with faults drawn from a seed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", help="a scenario's name, such as soup, or a TOML file")
    parser.add_argument("--seed", type=int, help="the seed to run; a fresh one by default")
    parser.add_argument("--seeds", type=_read_range, metavar="A-B", help="run all seeds from A to B")
    parser.add_argument(
        "--replicas", type=int, metavar="N", help="how many replicas, in place of the scenario's number"
    )
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write one line for each observation to FILE")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="draw the run: replicas as lanes, messages as arrows, views as colours",
    )
    parser.add_argument("--window", type=_read_range, metavar="A-B", help="draw only these milliseconds of it")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each seed")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)  # what nodes log is in the trace, with the time that counts here
    try:
        scenario = load_scenario(find_scenario(options.scenario), options.replicas)
    except ScenarioInvalid as invalid:
        parser.error(str(invalid))
    seeds = options.seeds
    if seeds is None:
        seeds = [random.SystemRandom().randrange(2**32) if options.seed is None else options.seed]
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    for seed in seeds:
        if not options.json:
            print(f"seed {seed}", flush=True)
        with ExitStack() as stack:
            file = None if options.trace is None else stack.enter_context(options.trace.open("w", encoding="utf-8"))
            began = time.process_time()
            seen: list[Observation] = []
            outcome = run_scenario(
                scenario,
                seed,
                write_line=None if file is None else file.write,
                prepare=None if options.html is None else partial(_watch, seen),
            )
            took_ms = round((time.process_time() - began) * 1000)
        if options.html is not None:
            window = (0, None) if options.window is None else (options.window[0], options.window[-1])
            picture = make_picture(
                seen, title=f"{scenario.name}, seed {seed}", from_ms=window[0], to_ms=window[1]
            )  # fmt: skip
            options.html.write_text(picture, encoding="utf-8")
        repeat = f"python -m simulations {options.scenario} --seed {seed}"
        if options.replicas is not None:
            repeat += f" --replicas {options.replicas}"
        print(
            format_json(outcome, repeat, took_ms) if options.json else format_text(outcome, repeat, took_ms), flush=True
        )
        if outcome.failure is not None:
            return 1
    return 0


def format_text(outcome: Outcome, repeat: str, took_ms: int) -> str:
    """Return what a person reads of one run."""
    numbers = (
        f"{outcome.replicas} replicas, {outcome.events} events, height {outcome.height}, view {outcome.views}, "
        f"{outcome.crashes} crashes, {outcome.virtual_ms} ms of virtual time in {took_ms} ms of CPU time, "
        f"trace {outcome.trace_hash[:16]}"
    )
    failure = outcome.failure
    if failure is None:
        return f"  ok: {numbers}"
    return "\n".join(
        (
            f"  FAILED: {numbers}",
            f"  checker:  {failure.checker}",
            f"  expected: {failure.expected}",
            f"  found:    {failure.found}",
            f"  repeat:   {repeat}",
            *(f"  {line}" for line in outcome.where.splitlines()),
        )
    )


def format_json(outcome: Outcome, repeat: str, took_ms: int) -> str:
    """Return the same for programs."""
    failure = outcome.failure
    document = {name: getattr(outcome, name) for name in Outcome.__slots__ if name not in ("failure", "where")}
    document |= {"ok": failure is None, "repeat": repeat, "took_ms": took_ms}
    if failure is not None:
        document |= {"checker": failure.checker, "expected": failure.expected, "found": failure.found}
    return json.dumps(document, sort_keys=True)


def _watch(seen: list[Observation], world: World) -> None:
    world.observe(seen.append)


def _read_range(text: str) -> list[int]:
    first, dash, last = text.partition("-")
    if not dash or not first.isdecimal() or not last.isdecimal() or int(first) > int(last):
        raise argparse.ArgumentTypeError(f"expected two numbers such as 1-50, got {text!r}")
    return list(range(int(first), int(last) + 1))


if __name__ == "__main__":
    sys.exit(main())
