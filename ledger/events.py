"""Events: what someone signed, and what types of them there are.

An event is data until it is ordered; an `Entry` is an event at its place.  `EventType` ties a name and version to a
body, its guards and its transition; `ledger.registry` is the list of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Protocol, TypeAlias, TypeVar

from ledger.coherence import Assessment
from ledger.payloads import PAYLOAD_BYTES_MAX, ContentRef, Payload, compute_content_ref, decode_payload
from ledger.primitives.encoding import EncodingError
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.ids import compute_account_id
from ledger.primitives.records import U32, U64, Bytes32, Bytes64, Length, decode_record, encode_record
from ledger.primitives.signing import Purpose, is_valid_signature
from ledger.verdict import Fact, Verdict

EVENT_BYTES_MAX = 4_096
BODY_BYTES_MAX = 2_048
SIGNED_EVENT_BYTES_MAX = EVENT_BYTES_MAX + PAYLOAD_BYTES_MAX + 256
EXPIRY_BEATS_MAX = 2_048
"""An event may name an expiry at most this many beats after its reference block."""

B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Event:
    """What an author signs.  `reference` is a recent block: it binds the event to this chain's history."""

    type: Annotated[str, Length(3, 64)]
    version: U32
    author: Bytes32  # account id
    key: Bytes32  # Ed25519 public key that signs
    nonce: U64  # the account's next: one more than that of its last event
    reference_height: U64
    reference_hash: Bytes32  # header hash at reference_height
    expires_beat: U64  # the last beat in which the event may be executed
    body: Annotated[bytes, Length(0, BODY_BYTES_MAX)]  # canonical bytes of the type's body


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """An event as it travels: the exact bytes that were signed, the signature, and the payload beside them."""

    event: Annotated[bytes, Length(1, EVENT_BYTES_MAX)]
    payload: Annotated[bytes, Length(1, PAYLOAD_BYTES_MAX)] | None
    signature: Bytes64


class View(Protocol):
    """The state that guards and transitions read: keys of `ledger.keyspace` to canonical bytes."""

    def get(self, key: bytes) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Put:
    """Write `value` under `key`."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove `key`."""

    key: bytes


Write: TypeAlias = Put | Delete


@dataclass(frozen=True, slots=True)
class Entry(Generic[B]):
    """An event at its place in the ledger."""

    event_id: bytes
    author: bytes
    key: bytes
    nonce: int
    body: B
    payload: Payload | None  # None where the type has none, or where it was erased
    height: int
    log_index: int  # its place among all receipts ever
    beat: int
    time_ms: int  # display time of the block; enters no rule
    chain_id: bytes
    epoch: int = 0
    reference_beat: int = 0  # of the block that the event names
    reference_height: int = 0


@dataclass(frozen=True, slots=True)
class Endorsement:
    """Support that an action gives: to an item, and so to its author."""

    kind: int  # an index of ledger.endorsements.KINDS
    item: bytes  # 32 bytes
    author: bytes  # account id of the item's author


@dataclass(frozen=True, slots=True)
class EventType(Generic[B]):
    """One kind of event: its name, its fields, who judges it, and what it does."""

    name: str  # area.Happened, in the past tense
    version: int
    body: type[B]
    guards: tuple[Callable[[View, Entry[B]], Verdict], ...]
    apply: Callable[[View, Entry[B]], Iterator[Write]]
    summary: str
    example: B
    inputs: Callable[[B], dict[str, Fact]] = field(default=lambda body: {})  # what the receipt shows of the body
    content: Callable[[B], ContentRef] | None = None  # for types that carry a payload
    opens_account: bool = False  # may be the first event of an account that does not exist yet
    derived: bool = False  # made by the state machine, never signed
    weight: int = 0  # what it costs in energy, in 10**-18 of a post; 0 costs nothing and measures nothing
    complete: Callable[[B, Payload], B] | None = None  # the body with all that is computed from its payload
    assessment: Callable[[B], Assessment] | None = None  # for types that publish an item
    endorses: Callable[[View, Entry[B]], Endorsement | None] | None = None
    leaves_account: bool = False
    """Not even decay passes over its author: the economy is the same, to the atom, whether it happens or not."""
    touches: Callable[[Entry[B]], tuple[bytes, ...]] = field(default=lambda entry: ())
    """Accounts beside the author whose balances it reads: they are brought up to date first."""
    index: Callable[[Entry[B]], tuple[bytes, ...]] = field(default=lambda entry: ())
    """Keys of the index that list the event once applied; from the event alone, so that they can be made again."""
    verify: Callable[[bytes, Event, B], None] | None = None
    """Checks of the body that need no state, such as signatures inside it: (chain id, event, body); EventRefused."""

    @property
    def module(self) -> str:
        return self.name[: self.name.index(".")]


EpochStep: TypeAlias = Callable[[View, int, int], Iterator[tuple[EventType[Any], Any]]]
"""What a module does when an epoch closes: (state, the closed epoch, the beat that begins) to derived events.

Each is executed before the next is asked for, so a step reads what its earlier events wrote.
"""


class EventTypes(Protocol):
    """What checking an event asks of the registry."""

    def find(self, name: str, version: int) -> EventType[Any] | None: ...


class EventRefused(ValueError):
    """An event that can never be executed, whatever the state: malformed, of an unknown type, or wrongly signed."""

    def __init__(self, code: str, because: str, **facts: Fact) -> None:
        super().__init__(because)
        self.code = code
        self.because = because
        self.facts = facts


@dataclass(frozen=True, slots=True)
class CheckedEvent:
    """A signed event whose form, payload and signature were checked; its fields are decoded."""

    signed: SignedEvent
    event: Event
    event_id: bytes
    kind: EventType[Any]
    body: Any
    payload: Payload | None
    wire_bytes: int


def compute_event_id(event: bytes) -> bytes:
    """Return the id of an event: the hash of the exact bytes that were signed."""
    return tagged_hash("atlas/event", event)


def encode_signed_event(signed: SignedEvent) -> bytes:
    """Return the canonical bytes of a signed event, as they are sent."""
    return encode_record(signed)


def decode_signed_event(data: bytes) -> SignedEvent:
    """Return the signed event in `data`.  Raises EventRefused."""
    if len(data) > SIGNED_EVENT_BYTES_MAX:
        raise EventRefused(
            "event.too_large", "The signed event is larger than the network allows.",
            bytes=len(data), bytes_max=SIGNED_EVENT_BYTES_MAX,
        )  # fmt: skip
    try:
        return decode_record(SignedEvent, data)
    except EncodingError as error:
        raise EventRefused("event.malformed", f"The signed event is not canonical msgpack: {error}.") from error


def check_event(
    registry: EventTypes, chain_id: bytes, signed: SignedEvent, *, payload_required: bool, certified: bool = False
) -> CheckedEvent:
    """Check all that can be known without the state.  Raises EventRefused with the reason.

    payload_required: True when an event enters the network; False for history, where a payload may have been erased.
    certified: a quorum has executed it, and what it gives here will be compared with what they signed.  Then neither
    signatures nor what is computed from the text are checked: where they are wrong, the results differ.
    """
    if len(signed.event) > EVENT_BYTES_MAX:
        raise EventRefused(
            "event.too_large", "The event is larger than the network allows.",
            bytes=len(signed.event), bytes_max=EVENT_BYTES_MAX,
        )  # fmt: skip
    try:
        event = decode_record(Event, signed.event)
    except EncodingError as error:
        raise EventRefused("event.malformed", f"The event is not canonical msgpack: {error}.") from error
    kind = registry.find(event.type, event.version)
    if kind is None or kind.derived:
        raise EventRefused(
            "event.type_unknown", "This node knows no such event type that accounts may sign.",
            type=event.type, version=event.version,
        )  # fmt: skip
    try:
        body = decode_record(kind.body, event.body)
    except EncodingError as error:
        raise EventRefused("event.body_invalid", f"The body is not a {event.type}: {error}.") from error
    if kind.opens_account and compute_account_id(chain_id, event.key) != event.author:
        # Else anyone could use up the first nonces of an account that somebody else is about to create.
        raise EventRefused(
            "event.author_not_of_key", "The account id is not the one that this chain gives to the event's key.",
            author=event.author.hex(),
        )  # fmt: skip
    payload = _check_payload(kind, body, signed.payload, payload_required)
    if not certified:
        _check_proofs(chain_id, signed, event, kind, body, payload)
    size = len(signed.event) + len(signed.payload or b"") + len(signed.signature)
    return CheckedEvent(signed, event, compute_event_id(signed.event), kind, body, payload, size)


def _check_proofs(
    chain_id: bytes, signed: SignedEvent, event: Event, kind: EventType[Any], body: Any, payload: Payload | None
) -> None:
    """Check what was computed from the text, and all signatures.  Raises EventRefused."""
    if payload is not None and kind.complete is not None and kind.complete(body, payload) != body:
        raise EventRefused(
            "event.assessment_mismatch",
            "What the body says of the text is not what this node computes from it; let `prepare` fill it in.",
            type=kind.name,
        )
    if not is_valid_signature(event.key, chain_id, Purpose.EVENT, signed.event, signed.signature):
        raise EventRefused(
            "event.signature_invalid",
            "The signature is not one of the event's key for this chain; sign the digest that `prepare` returns.",
            chain=chain_id.hex(),
        )
    if kind.verify is not None:
        kind.verify(chain_id, event, body)


def _check_payload(kind: EventType[Any], body: Any, data: bytes | None, required: bool) -> Payload | None:
    if kind.content is None:
        if data is not None:
            raise EventRefused("event.payload_unexpected", "Events of this type carry no payload.", type=kind.name)
        return None
    if data is None:
        if required:
            raise EventRefused("event.payload_missing", "The payload must be sent with the event.", type=kind.name)
        return None
    try:
        payload = decode_payload(data)
    except (EncodingError, UnicodeEncodeError) as error:
        raise EventRefused("event.payload_malformed", f"The payload is not canonical msgpack: {error}.") from error
    if compute_content_ref(payload) != kind.content(body):
        raise EventRefused("event.payload_mismatch", "The payload is not the one whose salted hash was signed.")
    return payload
