"""The message log of section 4.2: what was said about each place, within bounds that have names."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from consensus.inputs import Received
from consensus.messages import Commit, Prepare, PreparedProof, PrePrepare, Signed
from consensus.parameters import Parameters
from consensus.quorum import VoteSet

BODIES_PER_SEQ_MAX = 4
"""Batches of different views kept for one place: those this replica voted for, as one of them may be carried over."""
FUTURE_VIEWS_MAX = 8
"""Ordering messages of views further ahead are dropped."""
FUTURE_MESSAGES_PER_WINDOW = 8
"""Times the window: messages kept for one replica until the view they belong to is entered."""


@dataclass(slots=True)
class Slot:
    """One place in the current view."""

    seq: int
    pre_prepare: Signed[PrePrepare] | None = None
    batch: bytes | None = None
    reproposed: bool = False  # by NEW-VIEW: known to be acceptable
    asked: bool = False  # JudgeBatch is out
    accepted: bool = False
    kept: bool = False  # its body is in the vote log
    prepares: VoteSet[Prepare] = field(default_factory=VoteSet[Prepare])
    commits: VoteSet[Commit] = field(default_factory=VoteSet[Commit])
    proof: PreparedProof | None = None
    committed: bool = False
    accused: list[int] = field(default_factory=list[int])

    @property
    def digest(self) -> bytes | None:
        return None if self.pre_prepare is None else self.pre_prepare.message.digest


@dataclass(frozen=True, slots=True)
class KeptBody:
    """A batch that this replica voted for, with the PRE-PREPARE that named it last."""

    pre_prepare: Signed[PrePrepare]
    batch: bytes


class MessageLog:
    """Slots of the current view, and what outlives it: bodies voted for, and prepared proofs of the highest view."""

    __slots__ = ("_window", "bodies", "low", "prepared", "slots")

    def __init__(self, parameters: Parameters) -> None:
        self._window = parameters.window
        self.low = parameters.base
        """h, the sequence number of the stable checkpoint."""
        self.slots: dict[int, Slot] = {}
        self.bodies: dict[int, dict[bytes, KeptBody]] = {}
        self.prepared: dict[int, PreparedProof] = {}

    @property
    def high(self) -> int:
        """The last place that may be voted on."""
        return self.low + self._window

    def get_slot(self, seq: int) -> Slot | None:
        """Return the slot of a place between the water marks or one window above; None outside.

        A peer whose checkpoint is stable earlier than ours is up to one window ahead.
        """
        if not self.low < seq <= self.high + self._window:
            return None
        slot = self.slots.get(seq)
        if slot is None:
            slot = self.slots[seq] = Slot(seq)
        return slot

    def ascending(self) -> list[Slot]:
        return [self.slots[seq] for seq in sorted(self.slots)]

    def keep_body(self, signed: Signed[PrePrepare], batch: bytes) -> None:
        bodies = self.bodies.setdefault(signed.message.seq, {})
        bodies[signed.message.digest] = KeptBody(signed, batch)
        while len(bodies) > BODIES_PER_SEQ_MAX:
            del bodies[min(bodies, key=lambda digest: (bodies[digest].pre_prepare.message.view, digest))]

    def find_body(self, digest: bytes) -> bytes | None:
        """Return the batch of this digest, if this replica voted for it or has it in the current view."""
        for bodies in self.bodies.values():  # order: equal digests are equal batches
            if digest in bodies:
                return bodies[digest].batch
        slots = self.slots.values()
        return next((s.batch for s in slots if s.batch is not None and s.digest == digest), None)  # order: as above

    def keep_proof(self, proof: PreparedProof) -> None:
        known = self.prepared.get(proof.seq)
        if known is None or proof.view >= known.view:
            self.prepared[proof.seq] = proof

    def raise_low(self, seq: int) -> None:
        """Section 4.3: forget everything at and below a stable checkpoint."""
        self.low = seq
        for held in (self.slots, self.bodies, self.prepared):
            for old in [each for each in held if each <= seq]:
                del held[old]


class FutureMessages:
    """Ordering messages for a view that is not entered yet, a bounded number of each replica."""

    __slots__ = ("_bytes_max", "_count_max", "_held")

    def __init__(self, parameters: Parameters) -> None:
        self._count_max = FUTURE_MESSAGES_PER_WINDOW * parameters.window
        self._bytes_max = 2 * parameters.batch_bytes_max
        self._held: dict[int, deque[tuple[int, Received]]] = {}

    def add(self, view: int, received: Received) -> None:
        """Keep a message for `view`; the newest is dropped when its sender has too many."""
        held = self._held.setdefault(received.signed.message.replica, deque())
        size = sum(len(each.batch or b"") for _, each in held) if received.batch else 0
        if len(held) < self._count_max and size + len(received.batch or b"") <= self._bytes_max:
            held.append((view, received))

    def take(self, view: int) -> Iterator[Received]:
        """Yield what was kept for `view`, in order of replica, and forget it and everything older."""
        for replica in sorted(self._held):
            held = self._held[replica]
            self._held[replica] = deque(item for item in held if item[0] > view)
            yield from [received for at, received in held if at == view]

    def __len__(self) -> int:
        return sum(len(held) for held in self._held.values())
