"""What the world shows of a run: one record for each thing that happens, in order.

Checkers and reports read these alone.

`at_ms` is virtual time.  Replicas are numbered 0..n-1; `life` counts a replica's starts.  `correct` replicas are those
that no scenario lets lie; only they are judged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from consensus.messages import AnySigned, Certificate
from ledger.transition import Executed


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame left a replica, after everything before it was durable."""

    at_ms: int
    source: int
    to: int
    signed: AnySigned
    batch: bytes | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A frame arrived, and the replica took it."""

    at_ms: int
    source: int
    to: int
    signed: AnySigned
    sent_ms: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """A frame was lost: by the link, by a cut, or since the receiver was down."""

    at_ms: int
    source: int
    to: int
    why: str


@dataclass(frozen=True, slots=True)
class BlockMade:
    """A replica executed a batch, and the block is durable there; by itself or fetched."""

    at_ms: int
    replica: int
    executed: Executed
    fetched: bool


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate is known at a replica."""

    at_ms: int
    replica: int
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class EnteredView:
    at_ms: int
    replica: int
    view: int


@dataclass(frozen=True, slots=True)
class Crashed:
    at_ms: int
    replica: int
    why: str


@dataclass(frozen=True, slots=True)
class Restarted:
    at_ms: int
    replica: int
    life: int
    height: int


@dataclass(frozen=True, slots=True)
class Halted:
    at_ms: int
    replica: int
    reason: str


@dataclass(frozen=True, slots=True)
class Accused:
    """A replica found two votes that contradict each other."""

    at_ms: int
    replica: int
    first: AnySigned
    second: AnySigned


@dataclass(frozen=True, slots=True)
class Syncing:
    """A replica began to fetch blocks, or has them; told after what it sent before, and before what it sends then."""

    at_ms: int
    replica: int
    active: bool


@dataclass(frozen=True, slots=True)
class ProposalRefused:
    """A replica will not vote for a proposal, and leaves its primary."""

    at_ms: int
    replica: int
    view: int
    seq: int
    why: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """A client gave an event to a replica, and was told whether it waits there."""

    at_ms: int
    replica: int
    event_id: bytes
    accepted: bool


@dataclass(frozen=True, slots=True)
class Sized:
    """How much a replica holds, looked at now and then; each with its bound."""

    at_ms: int
    replica: int
    held: tuple[tuple[str, int, int], ...]  # name, size, bound


@dataclass(frozen=True, slots=True)
class Paced:
    """How long a replica would wait for the primary now; looked at now and then."""

    at_ms: int
    replica: int
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Scripted:
    """The script did something; what, and the numbers that expectations look at."""

    at_ms: int
    act: str
    facts: tuple[tuple[str, int | str], ...] = ()


@dataclass(frozen=True, slots=True)
class FaultChanged:
    """The scenario began or ended a fault; for people."""

    at_ms: int
    what: str


Observation: TypeAlias = (
    Sent
    | Delivered
    | Dropped
    | BlockMade
    | Certified
    | EnteredView
    | Crashed
    | Restarted
    | Halted
    | Accused
    | Syncing
    | ProposalRefused
    | Submitted
    | Sized
    | Paced
    | Scripted
    | FaultChanged
)  # fmt: skip
Observer: TypeAlias = Callable[[Observation], None]


class CheckFailed(AssertionError):
    """A checker's rule was broken.  checker: its name, such as "agreement"."""

    def __init__(self, checker: str, expected: str, found: str) -> None:
        super().__init__(f"{checker}: expected {expected}; found {found}")
        self.checker = checker
        self.expected = expected
        self.found = found
