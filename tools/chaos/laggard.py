"""How fast a node that was away catches up while the others go on: events a second, beside the live rate."""

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from node.api_client import ApiClient, ApiProblem, NodeUnreachable
from node.devnet import SAMPLE
from node.loader import Loader, read_posts
from node.modules import make_registry
from tools.chaos.network import ChaosNetwork, InvariantBroken, Node

LAGGARD = 3
LIKES_SHARE = 0.6
CATCH_UP_S = 1_800.0
NEAR_BLOCKS = 2
POLL_S = 0.5


class SteadyLoad(threading.Thread):
    """Posts and likes at the nodes that stay, as fast as they take them, until `stopping`."""

    def __init__(self, network: ChaosNetwork, seed: int) -> None:
        super().__init__(daemon=True)
        urls = [node.url for node in network.nodes if node.number != LAGGARD]
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
    network: ChaosNetwork, events: int, seed: int, profiler: str | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Load `events` without one node, start it under going-on load, and measure until it is at the head."""
    network.start()
    witness, laggard = network.nodes[0], network.nodes[LAGGARD]
    laggard.stop()
    load = SteadyLoad(network, seed)
    began = time.monotonic()
    load.start()
    while load.done < events:
        if load.error is not None:
            raise load.error
        tell(f"{load.done} of {events} events without {laggard.name}")
        time.sleep(5)
    live_before = load.done / (time.monotonic() - began)
    laggard.start()
    laggard.wait_ready()
    recording: subprocess.Popen[bytes] | None = None
    if profiler is not None:
        assert laggard.process is not None
        command = [profiler, "record", "-p", str(laggard.process.pid), "-d", "20", "-r", "200", "-t", "-g", "-f", "raw"]
        recording = subprocess.Popen([*command, "-o", str(network.folder / "catch-up.txt")])
    began = time.monotonic()
    first_blocks, first_events = read_place(laggard)
    live_blocks, live_events = read_place(witness)
    samples: list[dict[str, float]] = []
    caught_up = False
    while time.monotonic() - began < CATCH_UP_S and not caught_up:
        time.sleep(POLL_S)
        try:
            here, there = read_place(laggard), read_place(witness)
        except (NodeUnreachable, ApiProblem):
            continue
        caught_up = here[0] >= there[0] - NEAR_BLOCKS
        seconds = time.monotonic() - began
        samples.append(
            {"s": round(seconds, 1), "behind_blocks": there[0] - here[0], "behind_events": there[1] - here[1]}
        )
        if len(samples) % 10 == 0:
            tell(f"{seconds:.0f} s: behind by {there[0] - here[0]} blocks, {there[1] - here[1]} events")
    seconds = time.monotonic() - began
    here, there = read_place(laggard), read_place(witness)
    load.stopping = True
    if recording is not None:
        recording.wait(60)
    if not caught_up:
        raise InvariantBroken("a laggard catches up", f"the head within {CATCH_UP_S:.0f} s", f"{samples[-1]}")
    load.join(60)
    network.stop()
    catch_up = (here[1] - first_events) / seconds
    live = (there[1] - live_events) / seconds
    return {
        "seed": seed,
        "events_missed": live_events - first_events,
        "blocks_missed": live_blocks - first_blocks,
        "seconds": round(seconds, 1),
        "catch_up_events_per_s": round(catch_up, 1),
        "catch_up_blocks_per_s": round((here[0] - first_blocks) / seconds, 1),
        "live_events_per_s_meanwhile": round(live, 1),
        "live_events_per_s_before": round(live_before, 1),
        "ratio_to_live_before": round(catch_up / live_before, 2),
        "ratio_to_live_meanwhile": round(catch_up / live, 2) if live else None,
        "samples": samples[:: max(1, len(samples) // 20)],
    }
