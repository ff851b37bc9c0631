"""What a replica knows, and the few things that every handler does with it.

Handlers change this and emit effects; `Replica.step` runs them, and then whatever became possible.
"""

from collections import deque
from collections.abc import Sequence

from consensus.effects import Broadcast, Effect, Evidence, Halt, Persist, Send
from consensus.message_log import FutureMessages, MessageLog, Slot
from consensus.messages import (
    AnySigned,
    Certificate,
    Checkpoint,
    M,
    NewView,
    Sign,
    Signed,
    ViewChange,
    encode_signed,
    make_signed,
)
from consensus.parameters import Parameters
from consensus.quorum import VoteSet

CHECKPOINTS_KEPT_WINDOWS = 2
"""Checkpoint votes and certificates are kept for this many windows below the stable one: a late one is still wanted."""
REPLIES_PER_TICK_MAX = 3
"""Answers to one replica between two of our own ticks."""
ACCUSED_MAX = 256
"""Replicas and places already reported as evidence, remembered so that each is reported once."""


class State:
    """All that a replica knows.  One owner, no threads."""

    def __init__(self, parameters: Parameters, me: int, sign: Sign) -> None:
        assert 0 <= me < parameters.n, f"expected a replica below {parameters.n}, got {me}"
        self.parameters = parameters
        self.me = me
        self.sign = sign
        self.effects: list[Effect] = []
        self.halted: str | None = None

        # Section 4.2, normal case.
        self.view = 0
        self.in_view = True  # False from VIEW-CHANGE to NEW-VIEW
        self.log = MessageLog(parameters)
        self.last_proposed = 0
        self.last_ordered = parameters.base  # Execute was emitted up to here
        self.last_executed = parameters.base
        self.ordered: dict[int, bytes] = {}  # batch digests of ordered places above the stable checkpoint
        self.recheck: list[int] = []  # places at which something may have become possible
        self.suspicion: str | None = None  # why the primary is to be left

        # Section 4.3, checkpoints.
        self.stable: Certificate | None = None
        self.digests: dict[int, bytes] = {}  # our own header digests
        self.checkpoints: dict[int, VoteSet[Checkpoint]] = {}
        self.certificates: dict[int, Certificate] = {}
        self.proof_floor = parameters.base  # certificates at and below are not asked for
        self.ahead: Certificate | None = None  # the highest certificate above what is executed here
        self.claims: dict[int, int] = {}  # the highest checkpoint that each replica signed
        self.sync_target = 0

        # Section 4.4, view changes.
        self.view_changes: dict[int, Signed[ViewChange]] = {}  # the latest of each replica
        self.new_view: Signed[NewView] | None = None  # by which the current view was entered
        self.stranded_ticks = 0  # how long somebody has been waiting in a higher view
        self.failures = 0  # views in a row that brought nothing
        self.progressed = True  # something was ordered in this view
        self.future = FutureMessages(parameters)

        # What this replica may have said and does not know of: see `recall`.
        self.recalling = False
        self.recalled: dict[int, int] = {}  # who has answered, and the stable checkpoint there
        self.forgot = False
        self.abstains_to: int | None = None  # the stable checkpoint from which on it may vote again

        # Timers and retransmission.
        self.oldest_request: bytes | None = None
        self.armed: dict[str, object] = {}
        self.mark: object = None
        self.attempt = 0
        self.replies: dict[int, int] = {}
        self._accused: deque[object] = deque(maxlen=ACCUSED_MAX)

    @property
    def primary(self) -> int:
        return self.parameters.primary(self.view)

    @property
    def is_primary(self) -> bool:
        return self.primary == self.me

    @property
    def syncing(self) -> bool:
        """Blocks are being fetched; until then nothing is voted on."""
        return self.last_executed < self.sync_target

    @property
    def is_mute(self) -> bool:
        """It votes for nothing: blocks are being fetched, or the others have yet to say what it said before."""
        return self.syncing or self.recalling or self.abstains_to is not None

    @property
    def quorum(self) -> int:
        return self.parameters.quorum

    @property
    def checkpoint_floor(self) -> int:
        return max(self.parameters.base, self.log.low - CHECKPOINTS_KEPT_WINDOWS * self.parameters.window)

    def may_vote(self, seq: int) -> bool:
        return self.in_view and not self.is_mute and self.halted is None and self.log.low < seq <= self.log.high

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def broadcast(self, signed: AnySigned, batch: bytes | None = None) -> None:
        self.effects.append(Broadcast(signed, batch))

    def send(self, replica: int, signed: AnySigned, batch: bytes | None = None) -> None:
        self.effects.append(Send(replica, signed, batch))

    def persist(self, signed: AnySigned, batch: bytes | None = None) -> None:
        self.effects.append(Persist(encode_signed(signed, batch)))

    def make_signed(self, message: M) -> Signed[M]:
        return make_signed(message, self.sign)

    def may_reply(self, peer: int) -> bool:
        """Tell whether a question may be answered: so many of each replica between two of our own ticks."""
        count = self.replies.get(peer, 0)
        self.replies[peer] = count + 1
        return count < REPLIES_PER_TICK_MAX and peer != self.me

    def halt(self, reason: str) -> None:
        if self.halted is None:
            self.halted = reason
            self.emit(Halt(reason))

    def accuse(self, slot: Slot, first: AnySigned, second: AnySigned) -> None:
        """Report two messages of one replica that contradict each other, once for each replica and place."""
        replica = first.message.replica
        if replica not in slot.accused:
            slot.accused.append(replica)
            self.emit(Evidence(first, second))

    def accuse_once(self, key: object, first: AnySigned, second: AnySigned) -> None:
        """Report two messages that contradict each other, once while `key` is remembered."""
        if key not in self._accused:
            self._accused.append(key)
            self.emit(Evidence(first, second))

    def recheck_all(self) -> None:
        self.recheck.extend(sorted(self.log.slots))

    def others(self) -> Sequence[int]:
        return [replica for replica in range(self.parameters.n) if replica != self.me]
