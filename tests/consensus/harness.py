"""A cluster in memory: real replicas, envelopes and signatures, a virtual clock, and a seed for all that goes wrong.

After every step it checks that no two replicas execute different batches at one place, that no correct replica signs
two votes that contradict each other (restarts included), that certificates verify, and that execution has no gaps.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from consensus.authentication import verify_signed
from consensus.effects import (
    Broadcast,
    Effect,
    Evidence,
    Execute,
    FetchBatch,
    FetchBlocks,
    Halt,
    JudgeBatch,
    Persist,
    Send,
    Stable,
    StartTimer,
    StopTimer,
    ViewChanged,
)
from consensus.inputs import (
    BatchJudged,
    Executed,
    Input,
    Installed,
    OldestRequest,
    Propose,
    Received,
    Started,
    TimerFired,
    TimerKind,
)
from consensus.messages import (
    AnySigned,
    Certificate,
    Checkpoint,
    Commit,
    M,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    Signed,
    ViewChange,
    Vote,
    compute_batch_digest,
    decode_signed,
    encode_signed,
    make_signed,
)
from consensus.parameters import Parameters
from consensus.quorum import verify_certificate
from consensus.replica import Replica
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.signing import Purpose, SigningKey

CHAIN_ID = b"test-chain" + bytes(22)
KEYS = [SigningKey(bytes([number + 1]) * 32) for number in range(31)]
GENESIS = bytes(32)


def make_parameters(
    n: int = 4, window: int = 8, checkpoint_interval: int = 1, timeout_ms_max: int = 8_000
) -> Parameters:
    return Parameters(
        chain_id=CHAIN_ID,
        replicas=tuple(key.public for key in KEYS[:n]),
        window=window,
        checkpoint_interval=checkpoint_interval,
        view_timeout_ms=500,
        view_timeout_ms_max=timeout_ms_max,
        retransmit_ms=100,
        batch_bytes_max=4_096,
    )


def make_sign(replica: int, parameters: Parameters | None = None) -> Callable[[Purpose, bytes], bytes]:
    where = parameters or make_parameters(max(4, replica + 1))
    return lambda purpose, message: KEYS[replica].sign(where.domain(purpose), purpose, message)


def sign(message: M) -> Signed[M]:
    """Sign with the key of the replica that the message names."""
    return make_signed(message, make_sign(message.replica))


def make_replica(me: int, parameters: Parameters | None = None) -> Replica:
    replica = Replica(parameters or make_parameters(), me, make_sign(me))
    replica.step(Started())
    return replica


def digest_of(batch: bytes) -> bytes:
    return compute_batch_digest(batch)


def received(message: M, batch: bytes | None = None) -> Received:
    return Received(sign(message), batch)


def pre_prepare(seq: int, batch: bytes, view: int = 0, n: int = 4) -> Received:
    return received(PrePrepare(digest_of(batch), view % n, seq, view), batch)


def prepare(replica: int, seq: int, batch: bytes, view: int = 0) -> Received:
    return received(Prepare(digest_of(batch), replica, seq, view))


def commit(replica: int, seq: int, batch: bytes, view: int = 0) -> Received:
    return received(Commit(digest_of(batch), replica, seq, view))


def checkpoint(replica: int, seq: int, digest: bytes) -> Received:
    return received(Checkpoint(digest, replica, seq))


def judged(seq: int, batch: bytes, accepted: bool = True, view: int = 0) -> BatchJudged:
    return BatchJudged(view, seq, digest_of(batch), accepted, "" if accepted else "test")


def make_certificate(seq: int, digest: bytes, signers: Sequence[int] = (0, 1, 2)) -> Certificate:
    votes = tuple(Vote(signer, sign(Checkpoint(digest, signer, seq)).signature) for signer in signers)
    return Certificate(digest, seq, votes)


def make_proof(view: int, seq: int, batch: bytes, n: int = 4, count: int = 2) -> PreparedProof:
    digest, primary = digest_of(batch), view % n
    backups = [replica for replica in range(n) if replica != primary][:count]
    return PreparedProof(
        digest,
        sign(PrePrepare(digest, primary, seq, view)).signature,
        tuple(Vote(backup, sign(Prepare(digest, backup, seq, view)).signature) for backup in backups),
        seq,
        view,
    )


def sent(effects: Sequence[Effect], kind: type[M]) -> list[M]:
    """The messages of one class that the effects send."""
    messages = [effect.signed.message for effect in effects if isinstance(effect, Broadcast | Send)]
    return [message for message in messages if isinstance(message, kind)]


def compute_header(previous: bytes, seq: int, batch: bytes) -> bytes:
    return tagged_hash("test/header", previous, seq.to_bytes(8, "big"), batch)


@dataclass(frozen=True, slots=True)
class Faults:
    """What the network does to messages; times in virtual milliseconds."""

    loss_percent: int = 0
    duplicate_percent: int = 0
    delay_ms_max: int = 5
    execute_ms_max: int = 3


@dataclass
class Node:
    """One replica with its disk; what is in memory is lost in a crash."""

    number: int
    replica: Replica
    records: list[bytes] = field(default_factory=list)  # the vote log
    headers: list[bytes] = field(default_factory=lambda: [GENESIS])
    batches: list[bytes] = field(default_factory=lambda: [b""])
    certificates: dict[int, Certificate] = field(default_factory=dict)
    timers: dict[TimerKind, tuple[int, int]] = field(default_factory=dict)  # generation and view
    up: bool = True
    life: int = 0
    oldest: bytes | None = None
    busy_until_ms: int = 0  # the executor takes one block after the other
    halted: str | None = None
    evidence: list[Evidence] = field(default_factory=list)
    views: list[int] = field(default_factory=list)
    timeouts_ms: list[int] = field(default_factory=list)  # of NEW-VIEW timers
    fetched_blocks: int = 0

    @property
    def executed(self) -> int:
        return len(self.headers) - 1


Intercept = Callable[[int, int, AnySigned, bytes | None], list[tuple[AnySigned, bytes | None]]]
CrashPoint = Callable[[int, Effect], bool]


class Cluster:
    """n nodes, and the time.  Nodes in `byzantine` are driven by the test and not checked."""

    def __init__(
        self,
        n: int = 4,
        seed: int = 0,
        faults: Faults = Faults(),
        byzantine: Sequence[int] = (),
        window: int = 8,
        era: int = 0,
        base: int = 0,
    ) -> None:
        self.parameters = replace(make_parameters(n, window), era=era, base=base)
        self.random = random.Random(seed)
        self.faults = faults
        self.byzantine = tuple(byzantine)
        self.now_ms = 0
        self.cut: set[tuple[int, int]] = set()
        self.intercept: Intercept | None = None
        self.crash_point: CrashPoint | None = None
        self.accepts: Callable[[int, bytes], bool] = lambda replica, batch: not batch.startswith(b"bad")
        self.requests: list[bytes] = []
        self.trace: list[str] = []
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._agreed: dict[int, bytes] = {}
        self._votes: dict[tuple[int, type[object], int, int], bytes] = {}
        self.nodes = [self._make_node(number) for number in range(n)]
        for node in self.nodes:
            self.step(node, Started())

    # What tests do.

    def submit(self, *requests: bytes) -> None:
        """A client sends requests to every node."""
        self.requests.extend(requests)

    def crash(self, number: int) -> None:
        node = self.nodes[number]
        node.up = False
        node.life += 1
        node.timers.clear()

    def restart(self, number: int) -> None:
        """Start again from what was durable."""
        node = self.nodes[number]
        assert not node.up
        stable = max((seq for seq in node.certificates if seq <= node.executed), default=self.parameters.base)
        node.replica = Replica.recover(
            self.parameters,
            number,
            make_sign(number, self.parameters),
            node.executed,
            node.headers[-1],
            node.certificates.get(stable),
            list(node.records),
            [(seq, node.headers[seq]) for seq in range(stable + 1, node.executed + 1)],
        )
        node.up, node.oldest, node.busy_until_ms = True, None, self.now_ms
        self.step(node, Started())

    def partition(self, *groups: Sequence[int]) -> None:
        """Cut all links between nodes of different groups; a node in no group is alone."""
        where = {number: index for index, group in enumerate(groups) for number in group}
        n = len(self.nodes)
        self.cut = {
            (a, b) for a in range(n) for b in range(n) if a != b and where.get(a, -1 - a) != where.get(b, -1 - b)
        }

    def heal(self) -> None:
        self.cut = set()
        self.faults = Faults()

    def run(self, for_ms: int) -> None:
        """Let time pass."""
        end = self.now_ms + for_ms
        self._poll()
        while self._queue and self._queue[0][0] <= end:
            self.now_ms, _, action = heapq.heappop(self._queue)
            action()
            self._poll()
        self.now_ms = end

    def run_until(self, condition: Callable[[], bool], within_ms: int = 60_000) -> None:
        """Let time pass until a condition holds; fails when it does not in time."""
        end = self.now_ms + within_ms
        self._poll()
        while not condition():
            in_time = bool(self._queue) and self._queue[0][0] <= end
            assert in_time, f"not within {within_ms} ms:\n{self.describe()}"
            self.now_ms, _, action = heapq.heappop(self._queue)
            action()
            self._poll()

    def is_done(self, numbers: Sequence[int] | None = None) -> bool:
        """Tell whether the nodes have executed every request, and proved every block."""
        for node in self.nodes if numbers is None else [self.nodes[number] for number in numbers]:
            if not node.up or node.number in self.byzantine:
                continue
            if self._pending(node) or node.replica.low_water_mark < node.executed:
                return False
        return True

    def describe(self) -> str:
        return "\n".join(f"{node.number} up={node.up} {node.replica.status()} {node.views}" for node in self.nodes)

    def step(self, node: Node, item: Input) -> None:
        """Give an input to a replica and carry out its effects."""
        if node.up:
            self._carry_out(node, node.replica.step(item))

    def deliver(self, to: int, signed: AnySigned, batch: bytes | None = None) -> None:
        """Bring a message to a node as the network would: its envelope, decoded and verified."""
        node = self.nodes[to]
        decoded, body = decode_signed(encode_signed(signed, batch), self.parameters)
        verify_signed(self.parameters, decoded)
        self.step(node, Received(decoded, body))

    # The world.

    def _make_node(self, number: int) -> Node:
        node = Node(number, Replica(self.parameters, number, make_sign(number, self.parameters)))
        node.headers *= self.parameters.base + 1
        node.batches *= self.parameters.base + 1
        return node

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._count, action))

    def _pending(self, node: Node) -> list[bytes]:
        done = {request for batch in node.batches for request in batch.split(b"|")}
        return [request for request in self.requests if request not in done]

    def _poll(self) -> None:
        """Every node looks at its requests: the primary proposes, the others watch the oldest."""
        for node in self.nodes:
            if not node.up or node.halted is not None:
                continue
            pending = self._pending(node) if len(node.batches) <= len(self.requests) + 200 else []
            oldest = pending[0] if pending else None
            if oldest != node.oldest:
                node.oldest = oldest
                self.step(node, OldestRequest(oldest))
            flying = {request for batch in node.replica.pending_batches() for request in batch.split(b"|")}
            for request in pending:
                if node.up and request not in flying and node.replica.next_proposal_seq() is not None:
                    self.step(node, Propose(request))

    def _carry_out(self, node: Node, effects: Sequence[Effect]) -> None:
        """In the order given; a crash point cuts the list, and what was not durable is lost."""
        for effect in effects:
            if self.crash_point is not None and self.crash_point(node.number, effect):
                self.crash(node.number)
                return
            self.trace.append(f"{self.now_ms} {node.number} {type(effect).__name__}")
            match effect:
                case Persist(record):
                    node.records.append(record)
                case Send(replica, signed, batch):
                    self._transmit(node, [replica], signed, batch)
                case Broadcast(signed, batch):
                    others = [number for number in range(len(self.nodes)) if number != node.number]
                    self._transmit(node, others, signed, batch)
                case JudgeBatch(view, seq, digest, batch):
                    accepted = self.accepts(node.number, batch)
                    self._later(node, 1, BatchJudged(view, seq, digest, accepted, "" if accepted else "test"))
                case Execute():
                    self._execute(node, effect)
                case Stable(certificate):
                    self._on_stable(node, certificate)
                case FetchBlocks():
                    self._fetch_blocks(node, effect)
                case StartTimer(kind, view, delay_ms):
                    self._start_timer(node, kind, view, delay_ms)
                case StopTimer(kind):
                    node.timers.pop(kind, None)
                case ViewChanged(view, _):
                    node.views.append(view)
                case Evidence():
                    node.evidence.append(effect)
                case Halt(reason):
                    node.halted = reason
                case FetchBatch():
                    pass

    def _transmit(self, node: Node, to: Sequence[int], signed: AnySigned, batch: bytes | None) -> None:
        self._check_vote(node, signed)
        for replica in to:
            messages: list[tuple[AnySigned, bytes | None]] = [(signed, batch)]
            if self.intercept is not None:
                messages = self.intercept(node.number, replica, signed, batch)
            for message, body in messages:
                self._post(node.number, replica, message, body)

    def _post(self, source: int, to: int, signed: AnySigned, batch: bytes | None) -> None:
        copies = 1 + (self.random.randrange(100) < self.faults.duplicate_percent)
        for _ in range(copies):
            if self.random.randrange(100) >= self.faults.loss_percent:
                delay_ms = self.random.randint(1, self.faults.delay_ms_max)
                self.after(delay_ms, lambda: self._arrive(source, to, signed, batch))

    def _arrive(self, source: int, to: int, signed: AnySigned, batch: bytes | None) -> None:
        if (source, to) not in self.cut and self.nodes[to].up:
            self.deliver(to, signed, batch)

    def _later(self, node: Node, delay_ms: int, item: Input) -> None:
        life = node.life
        self.after(delay_ms, lambda: self.step(node, item) if node.life == life else None)

    def _execute(self, node: Node, order: Execute) -> None:
        life = node.life

        def run() -> None:
            if node.life != life:
                return
            if order.seq > node.executed:
                self._append(node, order.seq, order.batch)
            self.step(node, Executed(order.seq, node.headers[order.seq]))

        node.busy_until_ms = max(node.busy_until_ms, self.now_ms) + self.random.randint(0, self.faults.execute_ms_max)
        self.after(node.busy_until_ms - self.now_ms, run)

    def _append(self, node: Node, seq: int, batch: bytes) -> None:
        assert seq == node.executed + 1, f"replica {node.number} executes {seq} above {node.executed}"
        if node.number not in self.byzantine:
            agreed = self._agreed.setdefault(seq, batch)
            assert agreed == batch, f"replica {node.number} executes {batch!r} at {seq}, another one {agreed!r}"
        node.headers.append(compute_header(node.headers[-1], seq, batch))
        node.batches.append(batch)

    def _on_stable(self, node: Node, certificate: Certificate) -> None:
        verify_certificate(self.parameters, certificate)
        assert certificate.digest == node.headers[certificate.seq]
        node.certificates[certificate.seq] = certificate
        if self.random.randrange(4) == 0:
            node.records = node.replica.live_records()

    def _fetch_blocks(self, node: Node, fetch: FetchBlocks) -> None:
        """One source after the other gives what it has, each block with its certificate."""
        life = node.life
        node.fetched_blocks += 1

        def run() -> None:
            if node.life != life:
                return
            for number in fetch.replicas:
                source = self.nodes[number]
                if not source.up or number in self.byzantine or (number, node.number) in self.cut:
                    continue
                while node.executed < min(fetch.to_seq, source.executed):
                    seq = node.executed + 1
                    certificate = source.certificates.get(seq)
                    if certificate is None:
                        break
                    self._append(node, seq, source.batches[seq])
                    assert certificate.digest == node.headers[seq]
                    node.certificates[seq] = certificate
                    self.step(node, Installed(seq, certificate))

        self.after(10, run)

    def _start_timer(self, node: Node, kind: TimerKind, view: int, delay_ms: int) -> None:
        self._count += 1
        generation = self._count
        node.timers[kind] = (generation, view)
        if kind is TimerKind.NEW_VIEW:
            node.timeouts_ms.append(delay_ms)

        def fire() -> None:
            if node.timers.get(kind) == (generation, view):
                del node.timers[kind]
                self.step(node, TimerFired(kind, view))

        self.after(delay_ms, fire)

    def _check_vote(self, node: Node, signed: AnySigned) -> None:
        """No correct replica signs two different messages for one purpose and place, whatever happens to it."""
        if node.number in self.byzantine or signed.message.replica != node.number:
            return
        message = signed.message
        key: tuple[int, type[object], int, int]
        match message:
            case PrePrepare() | Prepare() | Commit():
                key = (node.number, type(message), message.view, message.seq)
            case Checkpoint():
                key = (node.number, type(message), 0, message.seq)
            case ViewChange() | NewView():
                key = (node.number, type(message), message.view, 0)
            case _:
                return
        first = self._votes.setdefault(key, signed.encoded)
        assert first == signed.encoded, f"replica {node.number} signs two {type(message).__name__} for one place"
