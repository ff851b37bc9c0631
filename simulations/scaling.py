"""What a block costs with n validators, on a calm network: messages, bytes, signatures and time, all of it counted.

Real replicas, codec, signatures and execution; links of one fixed delay that lose nothing; a small fixed load.  Time is
virtual: it holds the links and the drawn times of disks and execution, but not what computing costs, which is counted
in signatures instead.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ledger.authoring import Reference, make_event, sign_event
from ledger.events import SignedEvent, compute_event_id
from ledger.primitives.ids import compute_account_id
from ledger.primitives.signing import Purpose, SigningKey, is_valid_signature
from ledger.tokens import FLX
from ledger.transfers import TokensTransferred
from node.mempool import Accepted, Answer
from simulations.faults import Faults
from simulations.node import Validator
from simulations.observations import BlockMade, Certified, Delivered, EnteredView, Observation, Sent
from simulations.setting import Timing, make_account_key
from simulations.world import Load, World

LINK_MS = 50
EVENT_GAP_MS = 100
"""A client sends one event each so often, to one replica after the other."""
WITHIN_MS = 60_000
ENVELOPE_BYTES = 1 + 1 + 64 + 4
"""Of a frame of consensus, around record and batch."""
EXPIRY_BEATS = 1_024
QUIET = Load(accounts=1, newcomers=0, events=0, careless_events=0)
DEFAULTS = Timing(view_timeout_ms=2_000, view_timeout_ms_max=60_000, retransmit_ms=500)
"""As a node's own configuration has it."""
WATCHED = 1
"""The backup whose checked signatures are counted; all backups see the same."""

Progress = Callable[[int], object]


class RunUnfinished(Exception):
    """The calm network did not do what it was asked to; the message says where it stands."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One run; times in virtual milliseconds."""

    n: int
    f: int
    quorum: int
    events: int
    blocks: int
    messages_per_block: int
    """Frames of consensus, each receiver counted, STATUS included; without the relay of events."""
    bytes_per_block: int
    """Of those frames, without what links add."""
    bytes_per_block_primary: int
    """The primary's share of these: it alone sends batches."""
    signatures_per_block: int
    """Distinct signatures that a backup checks; those of events, one each, come on top."""
    committed_ms_median: int
    """From the client's request until the block is durable at the replica that was asked."""
    committed_ms_p99: int
    final_ms_median: int
    """Until its certificate is there too, which is what `wait=final` waits for."""
    final_ms_p99: int


class Meter:
    """Counts what is observed."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.bytes_primary = 0
        self.signatures: set[bytes] = set()
        self.height = 0
        self.view = 0
        self.asked: dict[bytes, tuple[int, int]] = {}  # event id -> replica, when
        self.committed_ms: dict[bytes, int] = {}
        self.final_ms: dict[bytes, int] = {}
        self._made: dict[tuple[int, int], list[bytes]] = {}  # replica, height -> the events that it was asked for

    def observe(self, observation: Observation) -> None:
        match observation:
            case Sent():
                size = ENVELOPE_BYTES + len(observation.signed.encoded) + len(observation.batch or b"")
                self.messages += 1
                self.bytes += size
                self.bytes_primary += size if observation.source == 0 else 0
            case Delivered() if observation.to == WATCHED:
                self.signatures.add(observation.signed.signature)
            case BlockMade():
                self._on_block(observation)
            case Certified():
                for event_id in self._made.pop((observation.replica, observation.certificate.seq), ()):
                    self.final_ms[event_id] = observation.at_ms - self.asked[event_id][1]
            case EnteredView():
                self.view = max(self.view, observation.view)
            case _:
                pass

    def _on_block(self, made: BlockMade) -> None:
        height = made.executed.header.height
        self.height = max(self.height, height)
        for receipt in made.executed.receipts:
            asked = self.asked.get(receipt.event_id)
            if asked is not None and asked[0] == made.replica:
                self.committed_ms[receipt.event_id] = made.at_ms - asked[1]
                self._made.setdefault((made.replica, height), []).append(receipt.event_id)


def measure(
    n: int, events: int, *, link_ms: int = LINK_MS, seed: int = 1, progress: Progress = lambda done: None
) -> Measure:
    """Run until all events are final where they were asked for.  Raises RunUnfinished.

    progress: told, each virtual second, how many events are final.
    """
    world = World(seed, n, Faults(delay_ms=(link_ms, link_ms)), DEFAULTS, QUIET)
    meter = Meter()
    world.observe(meter.observe)
    world.start()
    sender = Sender(world)

    def send(number: int) -> None:
        node = world.nodes[number % n]
        event_id, answer = sender.send(node)
        assert isinstance(answer, Accepted), answer
        meter.asked[event_id] = (node.number, world.now_ms)

    for number in range(events):
        world.schedule.after(number * EVENT_GAP_MS, partial(send, number))
    end_ms = world.now_ms + events * EVENT_GAP_MS + WITHIN_MS
    while len(meter.final_ms) < events and world.now_ms < end_ms:
        world.run_until(lambda: len(meter.final_ms) == events, 1_000)
        progress(len(meter.final_ms))
    if len(meter.final_ms) < events or meter.view:
        raise RunUnfinished(
            f"expected {events} final events in view 0, got {len(meter.final_ms)} and view {meter.view}:\n"
            f"{world.describe()}"
        )
    committed, final = sorted(meter.committed_ms.values()), sorted(meter.final_ms.values())
    parameters = world.setting.parameters
    return Measure(
        n=n,
        f=parameters.f,
        quorum=parameters.quorum,
        events=events,
        blocks=meter.height,
        messages_per_block=meter.messages // meter.height,
        bytes_per_block=meter.bytes // meter.height,
        bytes_per_block_primary=meter.bytes_primary // meter.height,
        signatures_per_block=len(meter.signatures) // meter.height,
        committed_ms_median=pick(committed, 50),
        committed_ms_p99=pick(committed, 99),
        final_ms_median=pick(final, 50),
        final_ms_p99=pick(final, 99),
    )


class Sender:
    """One account that pays account 1, one event after the other."""

    def __init__(self, world: World, number: int = 0) -> None:
        self._key = make_account_key(number)
        self._chain_id = world.setting.chain_id
        self._kind = next(kind for kind in world.setting.registry.all() if kind.body is TokensTransferred)
        self.author = compute_account_id(self._chain_id, self._key.public)
        self._to = compute_account_id(self._chain_id, make_account_key(1).public)
        self._nonce = 0

    def send(self, node: Validator) -> tuple[bytes, Answer]:
        """Submit the next event to a replica; return its id, and the answer."""
        self._nonce += 1
        signed = self._sign(node.chain.references(0))
        return compute_event_id(signed.event), node.submit(signed)

    def _sign(self, reference: tuple[bytes, int] | None) -> SignedEvent:
        assert reference is not None, "every chain has a genesis"
        event = make_event(
            self._kind,
            TokensTransferred(self._nonce, self._to, FLX),
            author=self.author,
            key=self._key.public,
            nonce=self._nonce,
            reference=Reference(0, *reference),
            expiry_beats=EXPIRY_BEATS,
        )
        return sign_event(self._key, self._chain_id, event, None)


def pick(ascending: list[int], percent: int) -> int:
    """Return the value that so many percent are not above."""
    return ascending[max(0, -(-len(ascending) * percent // 100) - 1)]


def make_signatures(count: int, seed: int = 1) -> Callable[[], bool]:
    """Return what checks so many different signatures, for somebody with a clock to time it."""
    stream, chain_id = random.Random(seed), b"chain"
    key = SigningKey(stream.randbytes(32))
    messages = [stream.randbytes(100) for _ in range(count)]
    signatures = [key.sign(chain_id, Purpose.PREPARE, message) for message in messages]

    def check() -> bool:
        return all(
            is_valid_signature(key.public, chain_id, Purpose.PREPARE, message, signature)
            for message, signature in zip(messages, signatures, strict=True)
        )

    return check
