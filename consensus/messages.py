"""What replicas say to each other: records, their signatures, and the envelope they travel in.

What is signed is the canonical bytes of the record, under a purpose of its own and the chain's id.  Those bytes are
kept beside the record, so nothing is encoded twice and nothing but the received bytes is ever verified.

Envelope: kind (1 byte), whether a batch follows (1 byte), signature (64), length of the record (4, big-endian), the
record, the batch.  Only PRE-PREPARE and BODY carry a batch; their digest says which.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Annotated, Generic, TypeAlias, TypeGuard, TypeVar

from consensus.errors import InvalidMessage
from consensus.parameters import (
    MESSAGE_BYTES_MAX,
    REPLICAS_MAX,
    SMALL_BYTES_MAX,
    VOTE_BYTES_MAX,
    WINDOW_MAX,
    Parameters,
)
from ledger.primitives.checkpoint import Checkpoint as Checkpoint
from ledger.primitives.checkpoint import Seq
from ledger.primitives.encoding import EncodingError
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U32, Between, Bytes32, Bytes64, Length, decode_record, encode_record
from ledger.primitives.signing import SIGNATURE_BYTES, Purpose

Height = Annotated[int, Between(0, 2**63 - 1)]
View = Annotated[int, Between(0, 2**63 - 1)]
Sign = Callable[[Purpose, bytes], bytes]

VIEW_CHANGE_BYTES_MAX = 512 * 1024
UNPROVEN_MAX = 2 * WINDOW_MAX
SAID_MAX = 3 * 2 * WINDOW_MAX + 1
"""PRE-PREPARE, PREPARE and COMMIT for each place up to one window above the high water mark, and one CHECKPOINT."""


@dataclass(frozen=True, slots=True)
class PrePrepare:
    """The primary gives a batch its place.  The batch travels beside it."""

    digest: Bytes32
    replica: U32
    seq: Seq
    view: View


@dataclass(frozen=True, slots=True)
class Prepare:
    """A backup agrees to the place."""

    digest: Bytes32
    replica: U32
    seq: Seq
    view: View


@dataclass(frozen=True, slots=True)
class Commit:
    """A replica has seen a quorum agree."""

    digest: Bytes32
    replica: U32
    seq: Seq
    view: View


@dataclass(frozen=True, slots=True)
class Vote:
    """One replica's signature inside a certificate."""

    replica: U32
    signature: Bytes64


Votes = Annotated[tuple[Vote, ...], Length(1, REPLICAS_MAX)]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A quorum of CHECKPOINT signatures, in order of replica; anyone with the public keys can check it."""

    digest: Bytes32
    seq: Seq
    signatures: Votes


@dataclass(frozen=True, slots=True)
class PreparedProof:
    """Shows that a batch was prepared: the primary's PRE-PREPARE and a quorum less one of PREPAREs, by signature."""

    digest: Bytes32
    pre_prepare: Bytes64
    prepares: Votes
    seq: Seq
    view: View


@dataclass(frozen=True, slots=True)
class ViewChange:
    """A replica leaves for `view`, with what it can prove: its stable checkpoint and all it has prepared above."""

    prepared: Annotated[tuple[PreparedProof, ...], Length(0, WINDOW_MAX)]
    replica: U32
    stable: Certificate | None  # None for genesis
    view: View


@dataclass(frozen=True, slots=True)
class Cited:
    """A VIEW-CHANGE inside a NEW-VIEW: the bytes that its sender signed."""

    message: Annotated[bytes, Length(1, VIEW_CHANGE_BYTES_MAX)]
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class Reproposal:
    """A PRE-PREPARE of the new view, by its signature."""

    digest: Bytes32
    seq: Seq
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class NewView:
    """The new primary's start: a quorum of VIEW-CHANGEs, and the set O that follows from them."""

    proposals: Annotated[tuple[Reproposal, ...], Length(0, WINDOW_MAX)]
    replica: U32
    view: View
    view_changes: Annotated[tuple[Cited, ...], Length(1, REPLICAS_MAX)]


@dataclass(frozen=True, slots=True)
class Status:
    """Where a replica is, so that others send again what it lacks."""

    attempt: U32  # counts up; rotates who answers with bodies
    in_view: bool  # False while changing to `view`
    last_executed: Height
    missing: Annotated[tuple[Seq, ...], Length(0, WINDOW_MAX)]  # no PRE-PREPARE here
    replica: U32
    stable: Certificate | None
    unproven: Annotated[tuple[Seq, ...], Length(0, UNPROVEN_MAX)]  # executed, no certificate here
    view: View
    wanted: Annotated[tuple[Bytes32, ...], Length(0, WINDOW_MAX)]  # digests of batches missing here


@dataclass(frozen=True, slots=True)
class Body:
    """Carries a batch that was asked for by its digest."""

    digest: Bytes32
    replica: U32


@dataclass(frozen=True, slots=True)
class Recall:
    """A replica that comes back asks what it said in this era."""

    replica: U32


class SaidKind(IntEnum):
    """Which vote was said."""

    PRE_PREPARE = 1
    PREPARE = 2
    COMMIT = 3
    CHECKPOINT = 4


@dataclass(frozen=True, slots=True)
class Said:
    """A vote of the replica that asked."""

    digest: Bytes32
    kind: Annotated[int, Between(1, 4)]  # a SaidKind
    seq: Seq
    signature: Bytes64
    view: View  # 0 for CHECKPOINT


@dataclass(frozen=True, slots=True)
class Recalled:
    """What `replica` has of the messages of `to`: votes for open places, last CHECKPOINT and VIEW-CHANGE."""

    replica: U32
    said: Annotated[tuple[Said, ...], Length(0, SAID_MAX)]
    stable: Height  # the stable checkpoint of `replica`
    to: U32
    view_change: Cited | None


Message: TypeAlias = (
    PrePrepare | Prepare | Commit | Checkpoint | ViewChange | NewView | Status | Body | Recall | Recalled
)  # fmt: skip
M = TypeVar("M", bound=Message)
M_co = TypeVar("M_co", bound=Message, covariant=True)


@dataclass(frozen=True, slots=True)
class Signed(Generic[M_co]):
    """A message, its signature, and the canonical bytes that were signed."""

    message: M_co
    signature: bytes
    encoded: bytes = field(repr=False)


AnySigned: TypeAlias = Signed[Message]


class Kind(IntEnum):
    """The first byte of an envelope."""

    PRE_PREPARE = 1
    PREPARE = 2
    COMMIT = 3
    CHECKPOINT = 4
    VIEW_CHANGE = 5
    NEW_VIEW = 6
    STATUS = 7
    BODY = 8
    RECALL = 9
    RECALLED = 10


_CLASSES: dict[int, type[Message]] = {
    Kind.PRE_PREPARE: PrePrepare,
    Kind.PREPARE: Prepare,
    Kind.COMMIT: Commit,
    Kind.CHECKPOINT: Checkpoint,
    Kind.VIEW_CHANGE: ViewChange,
    Kind.NEW_VIEW: NewView,
    Kind.STATUS: Status,
    Kind.BODY: Body,
    Kind.RECALL: Recall,
    Kind.RECALLED: Recalled,
}
_KINDS = {kind: Kind(number) for number, kind in sorted(_CLASSES.items())}
_PURPOSES: dict[type[Message], Purpose] = {
    PrePrepare: Purpose.PRE_PREPARE,
    Prepare: Purpose.PREPARE,
    Commit: Purpose.COMMIT,
    Checkpoint: Purpose.CHECKPOINT,
    ViewChange: Purpose.VIEW_CHANGE,
    NewView: Purpose.NEW_VIEW,
    Status: Purpose.STATUS,
    Body: Purpose.BODY,
    Recall: Purpose.RECALL,
    Recalled: Purpose.RECALLED,
}
_CARRIES_BATCH = frozenset({Kind.PRE_PREPARE, Kind.BODY})
_HEAD_BYTES = 2 + SIGNATURE_BYTES + 4


def compute_batch_digest(batch: bytes) -> bytes:
    """Return the 32 bytes by which a batch is voted on."""
    return tagged_hash("atlas/batch", batch)


NULL_BATCH = b""
NULL_DIGEST = compute_batch_digest(NULL_BATCH)
"""The null request, which fills a gap after a view change; it is executed as an empty block."""


def get_purpose(kind: type[Message]) -> Purpose:
    return _PURPOSES[kind]


def make_signed(message: M, sign: Sign) -> Signed[M]:
    """Encode and sign once."""
    encoded = encode_record(message)
    plain: Message = message  # not the type variable, so that its class is one of the known
    kind = type(plain)
    return Signed(message, sign(_PURPOSES[kind], encoded), encoded)


def holds(signed: AnySigned, kind: type[M]) -> TypeGuard[Signed[M]]:
    """Tell whether the signed message is of class `kind`."""
    return type(signed.message) is kind


def encode_signed(signed: AnySigned, batch: bytes | None = None) -> bytes:
    """Return the envelope of a signed message and, where it carries one, its batch."""
    kind = _KINDS[type(signed.message)]
    assert (batch is not None) == (kind in _CARRIES_BATCH), f"{kind.name} with{'out' if batch is None else ''} a batch"
    length = len(signed.encoded).to_bytes(4, "big")
    return b"".join((bytes((kind, batch is not None)), signed.signature, length, signed.encoded, batch or b""))


def decode_signed(data: bytes, parameters: Parameters) -> tuple[AnySigned, bytes | None]:
    """Return what an envelope holds, bounds checked before anything is parsed; signatures are not looked at.

    A batch that comes back has the digest that the message names.  Raises InvalidMessage.
    """
    if not _HEAD_BYTES < len(data) <= _HEAD_BYTES + MESSAGE_BYTES_MAX + parameters.batch_bytes_max:
        raise InvalidMessage("size", f"an envelope of {len(data)} bytes")
    kind = _CLASSES.get(data[0])
    if kind is None or data[1] != (data[0] in _CARRIES_BATCH):
        raise InvalidMessage("kind", f"expected a known kind, with a batch where it carries one, got {data[:2].hex()}")
    length = int.from_bytes(data[_HEAD_BYTES - 4 : _HEAD_BYTES], "big")
    end = _HEAD_BYTES + length
    if length > _bytes_max(kind, parameters):
        raise InvalidMessage("size", f"expected at most {_bytes_max(kind, parameters)} bytes, got {length}")
    if end > len(data) or (end < len(data) and not data[1]) or len(data) - end > parameters.batch_bytes_max:
        raise InvalidMessage("size", f"a record of {length} bytes and its batch in an envelope of {len(data)} bytes")
    encoded = data[_HEAD_BYTES:end]
    try:
        message: Message = decode_record(kind, encoded)
    except EncodingError as error:
        raise InvalidMessage("encoding", str(error)) from error
    if message.replica >= parameters.n:
        raise InvalidMessage("replica", f"expected a replica below {parameters.n}, got {message.replica}")
    batch = data[end:] if data[1] else None
    if batch is not None and isinstance(message, PrePrepare | Body) and compute_batch_digest(batch) != message.digest:
        raise InvalidMessage("batch_digest", "the batch is not the one that the digest names", message.replica)
    return Signed(message, data[2 : 2 + SIGNATURE_BYTES], encoded), batch


@lru_cache(maxsize=2 * REPLICAS_MAX)
def decode_view_change(encoded: bytes) -> ViewChange:
    """Return a cited VIEW-CHANGE.  Raises InvalidMessage.  Remembers a few: each is looked at several times."""
    try:
        return decode_record(ViewChange, encoded)
    except EncodingError as error:
        raise InvalidMessage("encoding", f"in a cited VIEW-CHANGE: {error}") from error


_SAID: dict[int, type[PrePrepare | Prepare | Commit]] = {
    SaidKind.PRE_PREPARE: PrePrepare,
    SaidKind.PREPARE: Prepare,
    SaidKind.COMMIT: Commit,
}


def restore_said(replica: int, said: Said) -> PrePrepare | Prepare | Commit | Checkpoint:
    """Return the vote of a replica that another one tells of."""
    if said.kind == SaidKind.CHECKPOINT:
        return Checkpoint(said.digest, replica, said.seq)
    return _SAID[said.kind](said.digest, replica, said.seq, said.view)


def _bytes_max(kind: type[Message], parameters: Parameters) -> int:
    """The longest record of a kind that these parameters allow."""
    votes = SMALL_BYTES_MAX + parameters.n * VOTE_BYTES_MAX
    view_change = SMALL_BYTES_MAX + (1 + parameters.window) * votes
    if kind is ViewChange:
        return min(view_change, VIEW_CHANGE_BYTES_MAX)
    if kind is NewView:
        proposals = parameters.window * SMALL_BYTES_MAX
        return min(SMALL_BYTES_MAX + proposals + parameters.n * (view_change + SMALL_BYTES_MAX), MESSAGE_BYTES_MAX)
    if kind is Recalled:
        return min(view_change, VIEW_CHANGE_BYTES_MAX) + SMALL_BYTES_MAX * (1 + 6 * parameters.window)
    if kind is Status:
        return votes + SMALL_BYTES_MAX + 10 * UNPROVEN_MAX + WINDOW_MAX * (34 + 10)
    return SMALL_BYTES_MAX
