"""What a replica wants done, in the order given."""

from dataclasses import dataclass
from typing import TypeAlias

from consensus.inputs import TimerKind
from consensus.messages import AnySigned, Certificate


@dataclass(frozen=True, slots=True)
class Persist:
    """Append `record` to the vote log.  It must be durable before any Send or Broadcast that follows is carried out."""

    record: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Send to one other replica.  May be lost; what matters is sent again."""

    replica: int
    signed: AnySigned
    batch: bytes | None = None


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send to all other replicas."""

    signed: AnySigned
    batch: bytes | None = None


@dataclass(frozen=True, slots=True)
class JudgeBatch:
    """Ask the application whether to vote for a first proposal; the answer is BatchJudged.

    Asked in order of seq, once all below are accepted.  Never asked for a batch that a view change carries over.
    """

    view: int
    seq: int
    digest: bytes
    batch: bytes


@dataclass(frozen=True, slots=True)
class Execute:
    """Execute a committed batch; the answer is Executed.  Contiguous in seq; b"" is the null request."""

    seq: int
    view: int
    digest: bytes
    batch: bytes


@dataclass(frozen=True, slots=True)
class Stable:
    """A quorum made the same block header of certificate.seq as this node.  Usually ascending, each seq once.

    Once the certificate is durable, the vote log may be rewritten with `Replica.live_records()`.
    """

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class FetchBatch:
    """A batch that was carried over is not here; replicas named have voted for it.

    A hint: the replica asks for it itself, with STATUS.  A driver that gets it otherwise gives BatchFetched.
    """

    digest: bytes
    replicas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FetchBlocks:
    """Others have a stable checkpoint at `to_seq` or above: fetch, verify and execute blocks; then give Installed."""

    after_seq: int
    to_seq: int
    replicas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Start the timer of this kind, or start it anew."""

    kind: TimerKind
    view: int
    delay_ms: int


@dataclass(frozen=True, slots=True)
class StopTimer:
    kind: TimerKind


@dataclass(frozen=True, slots=True)
class ViewChanged:
    """A view was entered: NEW-VIEW was checked, and ordering goes on."""

    view: int
    primary: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """One replica signed two messages that contradict each other."""

    first: AnySigned
    second: AnySigned


@dataclass(frozen=True, slots=True)
class Halt:
    """This replica contradicts a quorum and votes no more; a person must look."""

    reason: str


Effect: TypeAlias = (
    Persist
    | Send
    | Broadcast
    | JudgeBatch
    | Execute
    | Stable
    | FetchBatch
    | FetchBlocks
    | StartTimer
    | StopTimer
    | ViewChanged
    | Evidence
    | Halt
)  # fmt: skip
