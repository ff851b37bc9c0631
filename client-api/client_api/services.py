"""What the API needs of the running node, as Protocols: `node/services.py` implements them, tests may do so too.

Everything here is called from the API's thread.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.archive.catalogue import SegmentEntry
from ledger.archive.collection import Archive
from ledger.chain import Chain
from ledger.events import SignedEvent
from ledger.transition import Executed
from ledger.verdict import Verdict


class NodeBusy(RuntimeError):
    """More submissions wait to cross into the node than it allows; try again shortly."""


class NodeReadOnly(RuntimeError):
    """The node raised an alert, and takes no events any more."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Why a node stopped voting and serves reads only."""

    code: str
    what: str  # "state": the state itself is not read any more; "rules" or "execution" otherwise
    why: str
    height: int
    root: bytes  # state digest of the head
    seal: bytes  # finality seal, over root, code and height
    remedy: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """The node's definite answer to one event.  `event_id` is None when the event could not be decoded."""

    accepted: bool
    event_id: bytes | None
    verdict: Verdict | None  # why it was refused


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One connected peer."""

    public_key: bytes
    address: str
    role: str
    height: int
    rtt_ms: float | None
    queued_bytes: int
    score: float
    protocol_version: int = 1  # what the link speaks


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What the node says of itself."""

    name: str
    role: str  # "validator" or "observer"
    version: str
    public_key: bytes
    replica: int | None
    view: int | None
    primary: int | None
    in_view_change: bool
    syncing: bool
    halted: str | None
    height: int
    certified_height: int
    height_age_ms: int  # since the height last advanced
    healthy_age_ms_max: int  # an older height means the network stands still
    mempool_events: int
    mempool_bytes: int
    uptime_ms: int
    peers: tuple[PeerStatus, ...]
    alert: Alert | None = None
    history_missing: int = 0  # blocks of which only the headers are here yet
    sync_target: int = 0  # a height that some peer claims, until it is here, or nobody could prove it
    proven_height: int = 0  # what certificates prove of it
    abstains: bool = False  # from voting, since it may have forgotten a vote that it cast
    protocol_min: int = 1  # of the versions that this node speaks with peers at its height
    protocol_max: int = 1
    addresses_known: int = 0  # in the book of addresses
    addresses_verified: int = 0


class Lost(Protocol):
    """Called with events that were accepted but can never be executed now, and why."""

    def __call__(self, lost: Sequence[tuple[bytes, Verdict]], /) -> None: ...


class NodeServices(Protocol):
    """The running node."""

    def open_archive(self) -> Archive | None:
        """Return the archive of this node's cold epochs, or None; blocks, so call it in a thread."""
        ...

    def list_catalogues(self) -> Mapping[bytes, Sequence[SegmentEntry]]:
        """Return which segments connected peers say that they have, by the peer's key."""
        ...

    takes_events: bool
    """Whether this node takes events at all; an auditor does not."""

    @property
    def chain(self) -> Chain:
        """The ledger; read it through `chain.store.snapshot()`, from any thread."""
        ...

    async def submit(self, events: Sequence[SignedEvent]) -> list[Submitted]:
        """Hand events to the node; one answer each, in order.  Raises NodeBusy and NodeReadOnly."""
        ...

    def alert(self) -> Alert | None:
        """Return why the node serves reads only; None while it is sound."""
        ...

    def is_waiting(self, event_id: bytes) -> bool:
        """Tell whether the event waits in the mempool."""
        ...

    def status(self) -> NodeStatus:
        """Return the node's state of a moment ago."""
        ...

    def sign_bundle(self, message: bytes, /) -> bytes:
        """Return the signature of this node's key over a bundle of this chain; from any thread."""
        ...

    def subscribe(self, on_block: Callable[[Executed], None], on_lost: Lost) -> None:
        """Have `on_block` called after each block is durable, in order, and `on_lost` for events that dropped out.

        Both are called in the node's thread and must only hand the news over.
        """
        ...
