"""How fast a node that was away catches up while the others go on: events a second, beside the live rate."""

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.api_client import ApiClient, ApiProblem, NodeUnreachable
from node.devnet import SAMPLE
from node.loader import Loader, read_posts
from node.modules import make_registry
from tools.chaos.network import ChaosNetwork, InvariantBroken, Node

LAGGARD = 3
LIKES_SHARE = 0.6
CATCH_UP_S = 600.0
PROFILE_S = 20
NEAR_BLOCKS = 2
POLL_S = 0.5


class SteadyLoad(threading.Thread):
    """Posts and likes at the nodes that stay, as fast as they take them, until `stopping`."""

    def __init__(self, network: ChaosNetwork, seed: int, *, without: int | None = LAGGARD) -> None:
        """without: the number of a node that gets none."""
        super().__init__(daemon=True)
        urls = [node.url for node in network.nodes if node.number != without]
        self._loader = Loader(urls, network.chain_id, make_registry(), network.authors, seed, self._count)
        self._posts = read_posts(SAMPLE, 320)
        self.done = 0
        self.stopping = False
        self.error: BaseException | None = None

    def _count(self, done: int) -> None:
        self.done += done

    def run(self) -> None:
        try:
            while not self.stopping:
                asyncio.run(self._loader.run_more(self._posts, int(len(self._posts) * LIKES_SHARE / (1 - LIKES_SHARE))))
        except BaseException as error:  # shown by whoever measures
            self.error = error


def read_place(node: Node) -> tuple[int, int]:
    """Return the height and the size of the log."""
    header = ApiClient(node.url).get("/ledger/head")["header"]
    return header["height"], header["log_size"]


def measure_laggard(
    network: ChaosNetwork, events: int, seconds_max: float, seed: int, profiler: str | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Load `events` without one node, start it under going-on load, and measure until it is at the head.

    When it is not there after `seconds_max`, the load ends, and it is measured without.
    """
    network.start()
    witness, laggard = network.nodes[0], network.nodes[LAGGARD]
    laggard.stop()
    load = SteadyLoad(network, seed)
    began = time.monotonic()
    load.start()
    while load.done < events:
        if load.error is not None:
            raise load.error
        time.sleep(1)
    live_before = load.done / (time.monotonic() - began)
    tell(f"{load.done} events without {laggard.name}, {live_before:.0f} a second; now it starts")
    laggard.start()
    laggard.wait_ready()
    recording = None if profiler is None else record(profiler, laggard, network.folder)
    here, there = read_place(laggard), read_place(witness)
    missed = {"blocks": there[0] - here[0], "events": there[1] - here[1]}
    under_load = follow(laggard, witness, seconds_max, tell)
    load.stopping = True
    if recording is not None:
        recording.wait(60)
    load.join(60)
    alone = None if under_load["caught_up"] else follow(laggard, witness, CATCH_UP_S, tell)
    if alone is not None and not alone["caught_up"]:
        raise InvariantBroken("a laggard catches up", f"the head within {CATCH_UP_S:.0f} s without load", str(alone))
    network.stop()
    return {
        "seed": seed,
        "missed": missed,
        "live_events_per_s_before": round(live_before, 1),
        "under_load": under_load,
        "without_load": alone,
        "ratio_under_load_to_live_before": round(under_load["catch_up_events_per_s"] / live_before, 2),
    }


def record(profiler: str, node: Node, folder: Path) -> subprocess.Popen[bytes]:
    """Sample the node's stacks for a while, threads apart, samples that hold the interpreter lock."""
    assert node.process is not None
    command = [profiler, "record", "-p", str(node.process.pid), "-d", str(PROFILE_S), "-r", "200", "-t", "-g"]
    return subprocess.Popen([*command, "-f", "raw", "-o", str(folder / "catch-up.txt")], stdout=subprocess.DEVNULL)


def follow(laggard: Node, witness: Node, seconds_max: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Watch a node catch up with another for at most so long; return the rates of both."""
    began = time.monotonic()
    first_here, first_there = here, there = read_place(laggard), read_place(witness)
    seconds, polls = 0.0, 0
    while here[0] < there[0] - NEAR_BLOCKS and seconds < seconds_max:
        time.sleep(POLL_S)
        try:
            here, there = read_place(laggard), read_place(witness)
        except (NodeUnreachable, ApiProblem):
            continue
        seconds = time.monotonic() - began
        polls += 1
        if polls % 10 == 0:
            tell(f"{seconds:.0f} s: behind by {there[0] - here[0]} blocks, {there[1] - here[1]} events")
    lasted = max(seconds, POLL_S)
    return {
        "caught_up": here[0] >= there[0] - NEAR_BLOCKS,
        "seconds": round(seconds, 1),
        "catch_up_events_per_s": round((here[1] - first_here[1]) / lasted, 1),
        "catch_up_blocks_per_s": round((here[0] - first_here[0]) / lasted, 1),
        "live_events_per_s": round((there[1] - first_there[1]) / lasted, 1),
        "behind_events": there[1] - here[1],
    }
