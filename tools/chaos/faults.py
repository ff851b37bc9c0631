"""The faults: each is drawn with its numbers from the seed, carried out, and healed again before the next.

A fault says how many nodes it breaks.  Up to f, the others must go on while it lasts; beyond that only safety is asked
for until it is healed, and progress then.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.api_client import ApiProblem, NodeUnreachable
from node.vote_log import MARKER
from tools.chaos.network import ChaosNetwork, InvariantBroken, Node
from tools.chaos.proxy import Proxies

PROGRESS_S = 30.0
"""Healthy replicas must commit within this: a few view timeouts of 2 s, doubled, on a busy machine."""
DISK_FULL_S = 8.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as drawn: enough to say what was done, and to do it again."""

    number: int
    kind: str
    nodes: tuple[int, ...]
    seconds: float
    amount: int

    def __str__(self) -> str:
        where = "+".join(str(node) for node in self.nodes)
        return f"{self.number} {self.kind} node {where} {self.seconds:.2f} s amount {self.amount}"


WEIGHTS = {
    "kill": 20,
    "kill twice": 8,
    "kill two": 8,
    "kill all": 5,
    "pause": 16,
    "disk full": 9,
    "clock jump": 10,
    "torn vote log": 6,
    "lost vote": 3,
    "slow links": 8,
    "one way": 8,
    "cut off": 8,
    "connections reset": 5,
    "split": 4,
}


def draw_faults(seed: int, count: int, nodes: int, only: Sequence[str] = ()) -> list[Fault]:
    """Return the faults of a seed, of all kinds or only some; the same for the same arguments."""
    weights = {kind: weight for kind, weight in WEIGHTS.items() if not only or kind in only}
    source = random.Random(seed)
    drawn: list[Fault] = []
    for number in range(1, count + 1):
        kind = source.choices(list(weights), list(weights.values()))[0]
        broken = {"kill two": 2, "kill all": nodes, "split": nodes // 2}.get(kind, 1)
        chosen = tuple(sorted(source.sample(range(nodes), broken)))
        longest = {"pause": 8.0, "kill all": 1.0}.get(kind, 3.0)
        seconds = 0.2 + (longest - 0.2) * source.random() ** 2
        drawn.append(Fault(number, kind, chosen, seconds, source.getrandbits(32)))
    return drawn


class Faults:
    """Carries faults out on a network."""

    def __init__(self, network: ChaosNetwork) -> None:
        self._network = network
        self.notes: dict[str, int] = {}
        self._kinds: dict[str, Callable[[Fault], None]] = {
            "kill": self._kill,
            "kill twice": self._kill_twice,
            "kill two": self._kill,
            "kill all": self._kill,
            "pause": self._pause,
            "disk full": self._disk_full,
            "clock jump": self._clock_jump,
            "torn vote log": self._torn_vote_log,
            "lost vote": self._lost_vote,
            "slow links": self._slow_links,
            "one way": self._one_way,
            "cut off": self._cut_off,
            "connections reset": self._connections_reset,
            "split": self._split,
        }

    def carry_out(self, fault: Fault) -> None:
        """Do it, wait, heal it, and see that the network goes on.  Raises InvariantBroken."""
        self._kinds[fault.kind](fault)
        self.check_no_exit()
        self.wait_progress(list(self._network.nodes), f"after healing {fault}")
        self._wait_votes(f"after healing {fault}")

    def _wait_votes(self, when: str) -> None:
        """Wait until nobody abstains: whoever forgot a vote is one of the f that may be faulty until then."""
        deadline = time.monotonic() + PROGRESS_S
        abstaining: list[str] = []
        while time.monotonic() < deadline:
            self.check_no_exit()
            try:
                abstaining = [node.name for node in self._network.nodes if node.read_status()["abstains"]]
                if not abstaining:
                    return
            except (NodeUnreachable, ApiProblem):
                pass
            time.sleep(0.1)
        raise InvariantBroken("all replicas vote again", f"nobody to abstain {PROGRESS_S} s {when}", str(abstaining))

    def check_no_exit(self) -> None:
        """Raise InvariantBroken when a node ended that nothing was done to."""
        for node in self._network.nodes:
            if node.process is not None and node.process.poll() is not None:
                raise InvariantBroken(
                    "no node ends by itself",
                    f"{node.name} to run",
                    f"exit code {node.process.returncode}; its log is {node.incarnations[-1].log}",
                )

    def wait_progress(self, nodes: list[Node], when: str) -> None:
        """Wait until each of these has a block that none had before.  Raises InvariantBroken."""
        deadline = time.monotonic() + PROGRESS_S
        start: int | None = None
        behind = list(nodes)
        found: dict[str, str] = {}
        while time.monotonic() < deadline:
            self.check_no_exit()
            heights: dict[str, int] = {}
            for node in nodes:
                try:
                    status = node.read_status()
                except (NodeUnreachable, ApiProblem) as error:
                    found[node.name] = f"{type(error).__name__}"
                    continue
                if status["halted"] is not None:
                    raise InvariantBroken("no replica halts", f"{node.name} to vote", f"{status['halted']} {when}")
                heights[node.name] = status["height"]
                doing = [what for what in ("in_view_change", "syncing") if status[what]]
                found[node.name] = " ".join([f"height {status['height']}, view {status['view']}", *doing])
            if heights and start is None:
                start = max(heights.values())
            behind = [node for node in nodes if start is None or heights.get(node.name, -1) <= start]
            if not behind:
                return
            time.sleep(0.1)
        raise InvariantBroken(
            "the network makes progress",
            f"a block above height {start} on {', '.join(node.name for node in nodes)} in {PROGRESS_S:.0f} s {when}",
            "; ".join(f"{name}: {what}" for name, what in found.items()),
        )

    def _others(self, fault: Fault) -> list[Node]:
        return [node for node in self._network.nodes if node.number not in fault.nodes]

    def _broken(self, fault: Fault) -> list[Node]:
        return [self._network.nodes[number] for number in fault.nodes]

    def _last(self, fault: Fault) -> None:
        """Let the fault last; when it breaks at most f nodes and lasts long enough, the others must have gone on."""
        ends = time.monotonic() + fault.seconds
        if len(fault.nodes) <= self._network.f and fault.amount % 4 == 0:
            self.wait_progress(self._others(fault), f"during {fault}")
        time.sleep(max(0.0, ends - time.monotonic()))

    # Processes.

    def _kill(self, fault: Fault) -> None:
        for node in self._broken(fault):
            node.kill()
        self._last(fault)
        self._restart(fault)

    def _restart(self, fault: Fault) -> None:
        for node in self._broken(fault):
            node.start()
        for node in self._broken(fault):
            node.wait_ready()

    def _kill_twice(self, fault: Fault) -> None:
        (node,) = self._broken(fault)
        node.kill()
        node.start()
        time.sleep(0.1 + (fault.amount % 2000) / 1000)  # anywhere in its start, or just after
        node.kill()
        node.start()
        node.wait_ready()

    def _pause(self, fault: Fault) -> None:
        (node,) = self._broken(fault)
        node.pause()
        try:
            self._last(fault)
        finally:
            node.resume()

    # The disk.

    def _disk_full(self, fault: Fault) -> None:
        (node,) = self._broken(fault)
        node.limit_files(node.vote_log.stat().st_size + fault.amount % 32_768)
        if node.wait_exit(DISK_FULL_S, "disk full"):
            self._count("disk full: the node stopped")
        else:
            self._count("disk full: the node still ran, and was killed")
            node.kill()
        node.start()
        node.wait_ready()

    def _torn_vote_log(self, fault: Fault) -> None:
        """Add the beginning of a frame that was never completed, as a crash inside a write leaves it."""
        (node,) = self._broken(fault)
        node.kill()
        frame = MARKER + (4_096).to_bytes(4, "big") + bytes(fault.amount % 251 for _ in range(4_000))
        with node.vote_log.open("ab") as log:
            log.write(frame[: 1 + fault.amount % len(frame)])
        self._last(fault)
        self._restart(fault)

    def _lost_vote(self, fault: Fault) -> None:
        """Cut into the last frame, which was synced: a disk that lied.  The replica may forget a vote that it sent."""
        (node,) = self._broken(fault)
        node.kill()
        data = node.vote_log.read_bytes()
        last = data.rfind(MARKER)
        if last > 0:
            with node.vote_log.open("r+b") as log:
                log.truncate(last + fault.amount % (len(data) - last))
        self._last(fault)
        self._restart(fault)

    # The clock.

    def _clock_jump(self, fault: Fault) -> None:
        (node,) = self._broken(fault)
        jumps_s = (20, 3_600, 86_400, 31_536_000, 5)
        seconds = jumps_s[fault.amount % len(jumps_s)] * (-1 if fault.amount & 1024 else 1)
        node.set_clock(seconds * 1_000)
        try:
            self._last(fault)
        finally:
            node.set_clock(0)

    # The network.

    def _slow_links(self, fault: Fault) -> None:
        proxies = self._proxies()
        for pair, direction in proxies.directions.items():
            if fault.nodes[0] in pair:
                direction.delay_s = 0.02 + (fault.amount % 200) / 1000
                direction.jitter_s = direction.delay_s / 2
                direction.loss = (fault.amount // 200 % 10) / 100
        self._last_and_heal(fault)

    def _one_way(self, fault: Fault) -> None:
        """Nothing that this node sends arrives, or nothing arrives at it; the other way works."""
        index = fault.amount & 1
        for pair, direction in self._proxies().directions.items():
            if pair[index] == fault.nodes[0]:
                direction.held = True
        self._last_and_heal(fault)

    def _cut_off(self, fault: Fault) -> None:
        proxies = self._proxies()
        pairs = {frozenset(pair) for pair in proxies.directions if fault.nodes[0] in pair}
        proxies.cut |= pairs
        for pair in pairs:
            proxies.reset(pair)
        self._last_and_heal(fault)

    def _connections_reset(self, fault: Fault) -> None:
        proxies = self._proxies()
        for pair in {frozenset(pair) for pair in proxies.directions}:
            proxies.reset(pair)
        time.sleep(fault.seconds)

    def _split(self, fault: Fault) -> None:
        """Two halves that can't hear each other: neither has a quorum."""
        for (i, j), direction in self._proxies().directions.items():
            direction.held = (i in fault.nodes) != (j in fault.nodes)
        self._last_and_heal(fault)

    def _last_and_heal(self, fault: Fault) -> None:
        try:
            self._last(fault)
        finally:
            self._proxies().heal()

    def _proxies(self) -> Proxies:
        assert self._network.proxies is not None, "network faults need the proxies"
        return self._network.proxies

    def _count(self, what: str) -> None:
        self.notes[what] = self.notes.get(what, 0) + 1
