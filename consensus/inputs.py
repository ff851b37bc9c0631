"""What may happen to a replica.  Whoever drives it turns the world into these."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from consensus.messages import AnySigned, Certificate


class TimerKind(StrEnum):
    REQUEST = "request"
    """The oldest pending request waits for its execution."""
    PROPOSAL = "proposal"
    """A proposal waits for its commit."""
    NEW_VIEW = "new-view"
    """A quorum left for a view, and its primary owes NEW-VIEW."""
    RETRANSMIT = "retransmit"
    """Time to see whether anything was lost; it is always running."""


@dataclass(frozen=True, slots=True)
class Started:
    """The driver is ready to carry out effects.  Optional: any first input gives the same effects before its own."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message that `decode_signed` gave and `verify_signed` passed; `batch` has the digest that it names."""

    signed: AnySigned
    batch: bytes | None


@dataclass(frozen=True, slots=True)
class Propose:
    """This node, the primary, gives `batch` the place that `next_proposal_seq()` named.  Never empty."""

    batch: bytes


@dataclass(frozen=True, slots=True)
class BatchJudged:
    """The answer to JudgeBatch."""

    view: int
    seq: int
    digest: bytes
    accepted: bool
    why: str  # for the log, when not accepted


@dataclass(frozen=True, slots=True)
class BatchFetched:
    """The answer to FetchBatch; `batch` has that digest."""

    digest: bytes
    batch: bytes


@dataclass(frozen=True, slots=True)
class Executed:
    """The block of `seq` is durable here, and `header_digest` is the hash of its header."""

    seq: int
    header_digest: bytes


@dataclass(frozen=True, slots=True)
class Installed:
    """Blocks up to `seq` were fetched, verified by their certificates, and executed; they are durable here."""

    seq: int
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class OldestRequest:
    """The oldest client request that waits for execution here has changed; None when none waits."""

    token: bytes | None


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer ran out; `view` is the one that it was started with."""

    kind: TimerKind
    view: int


Input: TypeAlias = (
    Started
    | Received
    | Propose
    | BatchJudged
    | BatchFetched
    | Executed
    | Installed
    | OldestRequest
    | TimerFired
)  # fmt: skip
