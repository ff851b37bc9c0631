"""A whole network in one thread: replicas, links, disks and clients in virtual time, all of it from one seed."""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from consensus.messages import Sign
from ledger.receipts import SKIPPED
from simulations.faults import CALM, Faults, draw, draw_rates
from simulations.network import Network
from simulations.node import Behaviour, Validator
from simulations.observations import BlockMade, Dropped, FaultChanged, Observation, Observer
from simulations.schedule import Action, Schedule
from simulations.setting import Timing, make_setting
from simulations.workload import Workload

AUDIENCE_MS = (500, 3_000)
"""How long the same replicas hear the same twin."""
Misbehave = Callable[[int], Behaviour | None]


@dataclass(frozen=True, slots=True)
class Load:
    """What clients do."""

    accounts: int = 4
    newcomers: int = 2
    events: int = 80
    careless_events: int = 30
    over_ms: int = 15_000


TIMING = Timing()
LOAD = Load()


class World:
    """n replicas.  `observe` first, then `start`, then let time pass."""

    def __init__(
        self, seed: int, n: int = 4, faults: Faults = CALM, timing: Timing = TIMING, load: Load = LOAD
    ) -> None:
        self.seed = seed
        self.n = n
        self.schedule = Schedule(seed)
        self.setting = make_setting(n, load.accounts + 1, timing)
        self.faults = draw_rates(self.schedule.stream("rates"), faults)
        self.executed: list[dict[bytes, int]] = [{} for _ in range(n)]
        """For each replica: the events that it executed, and the height."""
        self.core: list[int] = []
        """The replicas that were healed."""
        self._observers: list[Observer] = [self._watch]
        self.network = Network(self.schedule, n, self.faults, self._lost)
        self.nodes: list[Validator] = []
        self.twins: dict[int, Validator] = {}
        self.faulty: set[int] = set()
        """Replicas that a script damages or lets lie: nobody judges them, and the healed core does without."""
        for number in range(n):
            self.nodes.append(self._make_node(number, f"node {number}"))
        self._stream = self.schedule.stream("trouble")
        if self.faults.flip_permille[1]:
            for number in self._stream.sample(range(n), self.f):
                self.nodes[number].has_bad_disk = True
        self.workload = Workload(self.schedule, self.setting, self.nodes, load, self.executed, self._observe)

    @property
    def f(self) -> int:
        return self.setting.parameters.f

    @property
    def now_ms(self) -> int:
        return self.schedule.now_ms

    @property
    def correct(self) -> frozenset[int]:
        """The replicas that do not lie, and whose disks do not: one with a flipped bit may forget its last vote."""
        return frozenset(
            node.number
            for node in self.nodes
            if node.behaviour is None
            and node.block_answers is None
            and not node.has_bad_disk
            and node.number not in self.faulty
            and node.number not in self.twins
        )

    def observe(self, observer: Observer) -> None:
        """Tell this one, too, of all that happens."""
        self._observers.append(observer)

    def signer(self, replica: int) -> Sign:
        """Return what signs with a replica's key: for its behaviour."""
        return self.nodes[replica].sign

    def misbehave(self, behaviour: Misbehave) -> None:
        """Let some replicas send something else than their code says; asked once for each."""
        for node in self.nodes:
            node.behaviour = behaviour(node.number)

    def twin(self, number: int) -> None:
        """Run a second machine with a replica's key, heard by some of the others in its place; before `start`.

        Each of the two is correct by itself; together they lie, as a restored backup beside its original would.  Who
        hears which is drawn anew now and then.
        """
        self._make_twin(number)
        self._share_audience(number, self.schedule.stream(f"audience {number}"))

    def share(self, number: int, second: Collection[int], both: Collection[int] = ()) -> None:
        """Let `second` hear the twin of a replica, the rest itself, and `both` the two; the twin is made if need be."""
        if number not in self.twins:
            self._make_twin(number)
        others = frozenset(range(self.n)) - {number}
        self.twins[number].audience = others & (frozenset(second) | frozenset(both))
        self.nodes[number].audience = others - frozenset(second)

    def start(self) -> None:
        """Start all replicas, the clients, and the trouble."""
        for node in [*self.nodes, *(self.twins[number] for number in sorted(self.twins))]:
            node.start()
            self._keep_up(node, f"{node.number}" if node is self.nodes[node.number] else f"{node.number} twin")
        self.workload.start()
        self._cause(self.faults.crash_gap_ms, self._crash_one)
        self._cause(self.faults.cut_gap_ms, self._cut_some)
        self._cause(self.faults.clog_gap_ms, self._clog_one)

    def run(self, for_ms: int) -> None:
        self.schedule.run(for_ms)

    def run_until(self, condition: Callable[[], bool], within_ms: int) -> bool:
        return self.schedule.run_until(condition, within_ms)

    # The two phases.

    def heal(self) -> None:
        """End new trouble; give a random n-f replicas good links and no more crashes, and leave the rest as it is."""
        able = [node.number for node in self.nodes if node.refuses is None and (not node.up or node.halted is None)]
        able = [number for number in able if number in self.correct] or able
        self.core = sorted(self._stream.sample(able, min(len(able), self.n - self.f)))
        self.network.heal(self.core)
        for number in self.core:
            node = self.nodes[number]
            node.faulty = node.kept_down = False
            if not node.up:
                node.start()
        self.workload.heal(self.core)
        self.show(FaultChanged(self.now_ms, f"healed {self.core}"))

    def is_done(self) -> bool:
        """Tell whether every replica of the core executed every valid event that any replica accepted."""
        return self.workload.is_done(self.core)

    def describe(self) -> str:
        """For people: where each replica stands."""
        return "\n".join(node.describe() for node in self.nodes)

    def _make_node(self, number: int, name: str) -> Validator:
        return Validator(
            number, self.schedule, self.setting, self.faults, self.network, self._route, self._observe, name
        )  # fmt: skip

    def _make_twin(self, number: int) -> None:
        assert not any(node.up for node in self.nodes), "twins are made before the start"
        self.twins[number] = self._make_node(number, f"node {number} twin")

    def _share_audience(self, number: int, stream: random.Random) -> None:
        others = [each for each in range(self.n) if each != number]
        audience = frozenset(stream.sample(others, stream.randint(1, self.n - 2)))
        self.twins[number].audience = audience
        self.nodes[number].audience = frozenset(others) - audience
        self.schedule.after(draw(stream, AUDIENCE_MS), lambda: self._share_audience(number, stream))

    def _route(self, source: int, to: int) -> Validator:
        twin = self.twins.get(to)
        return twin if twin is not None and twin.audience is not None and source in twin.audience else self.nodes[to]

    # Trouble.

    def _cause(self, gap_ms: tuple[int, int], trouble: Action) -> None:
        if gap_ms[1] == 0:
            return

        def cause() -> None:
            if not self.core:
                trouble()
                self.schedule.after(draw(self._stream, gap_ms), cause)

        self.schedule.after(draw(self._stream, gap_ms), cause)

    def _keep_up(self, node: Validator, name: str) -> None:
        """Look now and then whether a node is down, and start it again after a while."""
        stream = self.schedule.stream(f"restarts {name}")

        def look() -> None:
            if (
                not node.up
                and not node.kept_down
                and node.refuses is None
                and (not self.core or node.number in self.core)
            ):
                node.start()
            self.schedule.after(max(1, draw(stream, self.faults.down_ms)), look)

        self.schedule.after(max(1, draw(stream, self.faults.down_ms)), look)

    def _crash_one(self) -> None:
        count = self._stream.choice((1, 1, 1, 1, 1, 1, 2, 2, self.n))
        for number in sorted(self._stream.sample(range(self.n), count)):
            if self.nodes[number].up:
                self.nodes[number].crash("power lost")

    def _cut_some(self) -> None:
        pairs = sorted(self.network.links)
        kind = self._stream.randrange(3)
        if kind == 0:
            cut = [self._stream.choice(pairs)]
        elif kind == 1:
            alone = self._stream.randrange(self.n)
            cut = [pair for pair in pairs if alone in pair]
        else:
            side = set(self._stream.sample(range(self.n), self._stream.randint(1, self.n - 1)))
            cut = [(a, b) for a, b in pairs if (a in side) != (b in side)]
        for pair in cut:
            self.network.cut(*pair)
        name = ", ".join(f"{a}-{b}" for a, b in cut)
        self._observe(FaultChanged(self.now_ms, f"cut {name}"))

        def mend() -> None:
            if not self.core:
                for pair in cut:
                    self.network.mend(*pair)
                self._observe(FaultChanged(self.now_ms, f"mended {name}"))

        self.schedule.after(draw(self._stream, self.faults.cut_ms), mend)

    def _clog_one(self) -> None:
        source, to = self._stream.choice(sorted(self.network.links))
        self.network.clog(source, to)
        self._observe(FaultChanged(self.now_ms, f"clogged {source}-{to}"))

        def release() -> None:
            if not self.core:
                self.network.release(source, to)
                self._observe(FaultChanged(self.now_ms, f"released {source}-{to}"))

        self.schedule.after(draw(self._stream, self.faults.clog_ms), release)

    # Observing.

    def show(self, observation: Observation) -> None:
        """Tell all observers; for scripts."""
        self._observe(observation)

    def _observe(self, observation: Observation) -> None:
        for observer in self._observers:
            observer(observation)

    def _watch(self, observation: Observation) -> None:
        if isinstance(observation, BlockMade):
            done = self.executed[observation.replica]
            for receipt in observation.executed.receipts:
                if receipt.outcome != SKIPPED:
                    done[receipt.event_id] = observation.executed.header.height

    def _lost(self, source: int, to: int, why: str) -> None:
        self._observe(Dropped(self.now_ms, source, to, why))
