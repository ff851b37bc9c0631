"""A chain in a folder with people on it: they sign events, and batches are executed one after the other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guards.assessment import assess
from ledger.authoring import EXPIRY_BEATS, Reference, make_event, sign_event
from ledger.block import Batch
from ledger.chain import Chain
from ledger.events import CheckedEvent, Event, EventRefused, SignedEvent, compute_event_id
from ledger.genesis import Allocation, Genesis, make_policy_values
from ledger.payloads import Payload, compute_content_ref
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.ids import compute_account_id
from ledger.primitives.records import decode_record, encode_record
from ledger.primitives.signing import Purpose, SigningKey
from ledger.receipts import Receipt
from ledger.registry import Registry
from ledger.store import Store
from ledger.transition import Executed
from ledger.undo import StateAt
from node.modules import make_registry
from social.posts import PostAddressed, PostPublished, ReplyPublished

REGISTRY = make_registry()
KINDS = {kind.body: kind for kind in REGISTRY.all()}
VALIDATORS = tuple(SigningKey(bytes([200 + number]) * 32) for number in range(4))
SALT = b"a salt, 16 bytes"
TIME_MS = 1_700_000_000_000
RICH, MODEST = 1_000 * SCALE, 10 * SCALE


@dataclass(slots=True)
class Person:
    """Somebody with a key, and the nonce of the last event that he signed."""

    key: SigningKey
    account: bytes
    nonce: int = 0


LOOSE = {"energy": {"base_cost": 100 * SCALE}, "sybil": {"bond": 0, "posts_max": 1_000, "votes_max": 1_000}}
"""Policies under which the tests of everything else have room to act."""


def make_genesis(name: str = "test", policies: dict[str, dict[str, int]] | None = None) -> Genesis:
    """Ada is rich and Ben has a little; nobody else has an account yet."""
    return Genesis(
        allocations=(Allocation(RICH, _key("ada").public), Allocation(MODEST, _key("ben").public)),
        beat_ms=1_000,
        epoch_beats=32,
        name=name,
        policies=make_policy_values(LOOSE if policies is None else policies),
        time_ms=TIME_MS,
        validators=tuple(key.public for key in VALIDATORS),
    )


class World:
    """One chain.  `folder` may hold it already."""

    def __init__(self, folder: Path, genesis: Genesis | None = None, registry: Registry = REGISTRY) -> None:
        self.store = Store(folder)
        self.chain = Chain(self.store, genesis or make_genesis(), registry)
        self.ada, self.ben, self.cyd = (self.person(name) for name in ("ada", "ben", "cyd"))

    def person(self, name: str) -> Person:
        """Return somebody; his account exists when genesis or an event made it."""
        key = _key(name)
        return Person(key, compute_account_id(self.chain.chain_id, key.public))

    def sign(
        self,
        person: Person,
        body: type[Any],
        *,
        text: str | None = None,
        nonce: int | None = None,
        expiry_beats: int = EXPIRY_BEATS,
        at: int | None = None,
        **fields: Any,
    ) -> SignedEvent:
        """Return a signed event of this body; it takes the person's next nonce unless one is given."""
        if nonce is None:
            person.nonce += 1
            nonce = person.nonce
        payload = None if text is None else Payload(SALT, text)
        if payload is not None:
            fields["content"] = compute_content_ref(payload)
            if body in (PostPublished, PostAddressed, ReplyPublished):
                fields["assessment"] = assess(payload.text, fields.get("tags", ()))
        height = self.chain.head.height if at is None else at
        known = self.chain.references(height)
        assert known is not None
        event = make_event(
            KINDS[body],
            body(**fields),
            author=person.account,
            key=person.key.public,
            nonce=nonce,
            reference=Reference(height, *known),
            expiry_beats=expiry_beats,
        )
        return sign_event(person.key, self.chain.chain_id, event, payload)

    def execute(self, *events: SignedEvent, beat: bool = False) -> Executed:
        """Execute one batch and commit it."""
        batch = self.batch(*events, beat=beat)
        return self.chain.execute(batch, self.check(*events))

    def compute(self, *events: SignedEvent, beat: bool = False) -> Executed:
        """Execute one batch and write nothing."""
        return self.chain.compute(self.batch(*events, beat=beat), self.check(*events))

    def batch(self, *events: SignedEvent, beat: bool = False) -> Batch:
        height = self.chain.head.height + 1
        return Batch(beat, height, events, proposer=1, time_ms=TIME_MS + height, view=0)

    def check(self, *events: SignedEvent) -> tuple[CheckedEvent | EventRefused, ...]:
        return self.chain.check_events(events)

    def do(self, person: Person, body: type[Any], **fields: Any) -> Receipt:
        """Have somebody's event executed alone; return its receipt."""
        return self.execute(self.sign(person, body, **fields)).receipts[-1]

    def state(self, at: int | None = None) -> StateAt:
        head = self.chain.head.height
        return StateAt(self.store.snapshot(), head if at is None else at, head)

    def close(self) -> None:
        self.store.close()


def sign_edited(world: World, person: Person, signed: SignedEvent, **changes: Any) -> SignedEvent:
    """Return the event with other fields, signed again by this person."""
    event = decode_record(Event, signed.event)
    edited = {name: getattr(event, name) for name in Event.__slots__} | changes
    data = encode_record(Event(**edited))
    return SignedEvent(data, signed.payload, person.key.sign(world.chain.chain_id, Purpose.EVENT, data))


def id_of(signed: SignedEvent) -> bytes:
    return compute_event_id(signed.event)


def _key(name: str) -> SigningKey:
    return SigningKey(name.encode().ljust(32, b"."))
