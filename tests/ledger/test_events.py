"""The form of events: what is refused before any state is asked, and bytes that must never change."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guards.assessment import assess
from ledger.authoring import Reference, make_event, sign_event
from ledger.beats import BeatStarted
from ledger.events import (
    EVENT_BYTES_MAX,
    SIGNED_EVENT_BYTES_MAX,
    CheckedEvent,
    Event,
    EventRefused,
    SignedEvent,
    check_event,
    compute_event_id,
    decode_signed_event,
    encode_signed_event,
)
from ledger.identity import EVENTS as IDENTITY
from ledger.payloads import Payload, compute_content_ref, encode_payload
from ledger.primitives.encoding import decode, encode
from ledger.primitives.ids import compute_account_id
from ledger.primitives.records import decode_record, encode_record
from ledger.primitives.signing import Purpose, SigningKey, signed_digest
from ledger.registry import Registry
from ledger.transfers import TokensTransferred
from social.posts import PostAddressed, PostPublished, make_post
from social.reactions import ContentLiked
from tests.ledger.world import KINDS, REGISTRY, World, sign_edited

VECTORS = Path(__file__).parent.parent / "vectors" / "events.json"


def check(world: World, signed: SignedEvent, *, payload_required: bool = True) -> CheckedEvent:
    return check_event(REGISTRY, world.chain.chain_id, signed, payload_required=payload_required)


def refusal(world: World, signed: SignedEvent, *, payload_required: bool = True) -> str:
    with pytest.raises(EventRefused) as refused:
        check(world, signed, payload_required=payload_required)
    return refused.value.code


def post(world: World, text: str = "Hello.") -> SignedEvent:
    return world.sign(world.ada, PostPublished, text=text, tags=())


def make_first_version(payload: Payload, tags: tuple[str, ...]) -> PostPublished:
    return PostPublished(assess(payload.text, tags), compute_content_ref(payload), tags)


def test_a_good_event_is_decoded(world: World) -> None:
    signed = post(world)

    checked = check(world, signed)

    assert checked.event_id == compute_event_id(signed.event)
    assert checked.kind is KINDS[PostPublished]
    assert checked.payload is not None
    assert checked.body == make_first_version(checked.payload, ())


def test_a_signed_event_travels_unchanged(world: World) -> None:
    signed = post(world)

    assert decode_signed_event(encode_signed_event(signed)) == signed


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x80", b"not msgpack", encode({"event": b"x"})])
def test_what_is_no_signed_event_is_refused(data: bytes) -> None:
    with pytest.raises(EventRefused) as refused:
        decode_signed_event(data)

    assert refused.value.code == "event.malformed"


def test_a_signed_event_above_the_limit_is_refused_unread() -> None:
    with pytest.raises(EventRefused) as refused:
        decode_signed_event(bytes(SIGNED_EVENT_BYTES_MAX + 1))

    assert refused.value.code == "event.too_large"
    assert refused.value.facts == {"bytes": SIGNED_EVENT_BYTES_MAX + 1, "bytes_max": SIGNED_EVENT_BYTES_MAX}


def test_an_event_above_the_limit_is_refused(world: World) -> None:
    assert refusal(world, SignedEvent(bytes(EVENT_BYTES_MAX + 1), None, bytes(64))) == "event.too_large"


def test_an_event_that_is_not_canonical_is_refused(world: World) -> None:
    signed = post(world)

    assert refusal(world, replace(signed, event=signed.event + b"\0")) == "event.malformed"


@pytest.mark.parametrize(
    "changes", [{"type": "content.PostDreamed"}, {"version": 3}, {"type": "infra.BeatStarted", "body": encode({})}]
)
def test_only_known_types_that_accounts_may_sign_are_taken(world: World, changes: dict[str, Any]) -> None:
    assert refusal(world, sign_edited(world, world.ada, post(world), **changes)) == "event.type_unknown"


def test_a_beat_can_not_be_signed(world: World) -> None:
    forged = sign_edited(
        world, world.ada, post(world), type="infra.BeatStarted", body=encode_record(BeatStarted(9))
    )  # fmt: skip

    assert refusal(world, replace(forged, payload=None)) == "event.type_unknown"


@pytest.mark.parametrize("body", [b"", encode({}), encode({"content": 1, "tags": []}), encode({"tags": ["x"] * 6})])
def test_a_body_of_another_form_is_refused(world: World, body: bytes) -> None:
    assert refusal(world, sign_edited(world, world.ada, post(world), body=body)) == "event.body_invalid"


def test_another_key_does_not_sign_for_this_one(world: World) -> None:
    signed = post(world)
    signature = world.ben.key.sign(world.chain.chain_id, Purpose.EVENT, signed.event)

    assert refusal(world, replace(signed, signature=signature)) == "event.signature_invalid"


def test_a_signature_for_another_chain_is_refused(world: World) -> None:
    signed = post(world)
    elsewhere = world.ada.key.sign(bytes(32), Purpose.EVENT, signed.event)

    assert refusal(world, replace(signed, signature=elsewhere)) == "event.signature_invalid"


def test_a_signature_for_another_purpose_is_refused(world: World) -> None:
    signed = post(world)
    vote = world.ada.key.sign(world.chain.chain_id, Purpose.PREPARE, signed.event)

    assert refusal(world, replace(signed, signature=vote)) == "event.signature_invalid"


def test_the_payload_must_be_the_one_that_was_signed(world: World) -> None:
    signed = post(world)
    other_text = encode_payload(Payload(b"a salt, 16 bytes", "Hallo."))
    other_salt = encode_payload(Payload(b"another, 16 byte", "Hello."))

    assert refusal(world, replace(signed, payload=other_text)) == "event.payload_mismatch"
    assert refusal(world, replace(signed, payload=other_salt)) == "event.payload_mismatch"


def test_a_payload_that_is_no_payload_is_refused(world: World) -> None:
    assert refusal(world, replace(post(world), payload=b"\xc1")) == "event.payload_malformed"


def test_a_payload_may_be_missing_from_history_only(world: World) -> None:
    erased = replace(post(world), payload=None)

    assert refusal(world, erased) == "event.payload_missing"
    assert check(world, erased, payload_required=False).payload is None


def test_a_type_without_payload_takes_none(world: World) -> None:
    like = world.sign(world.ada, ContentLiked, target=bytes(32))

    assert refusal(world, replace(like, payload=b"x")) == "event.payload_unexpected"


def test_a_registry_refuses_a_name_and_version_twice() -> None:
    with pytest.raises(AssertionError, match=r"identity\.IdentityCreated version 1 is declared twice"):
        Registry((*IDENTITY, *IDENTITY))


def test_the_registry_gives_types_by_name_and_version() -> None:
    assert REGISTRY.find("content.PostPublished", 1) is KINDS[PostPublished]
    assert REGISTRY.latest("content.PostPublished") is KINDS[PostAddressed]
    assert REGISTRY.latest("content.PostDreamed") is None
    assert [kind.name for kind in REGISTRY.all()] == sorted(kind.name for kind in REGISTRY.all())


def test_other_rules_have_another_root() -> None:
    rules = REGISTRY.all()
    without_a_guard = [replace(kind, guards=kind.guards[1:]) for kind in rules]

    stack = REGISTRY.stack

    at_close = REGISTRY.at_close
    assert Registry(reversed(rules), stack, at_close).compute_root() == REGISTRY.compute_root()
    assert Registry(without_a_guard, stack, at_close).compute_root() != REGISTRY.compute_root()
    assert Registry(rules[1:], stack, at_close).compute_root() != REGISTRY.compute_root()
    assert Registry(rules, None, at_close).compute_root() != REGISTRY.compute_root()
    assert Registry(rules, stack).compute_root() != REGISTRY.compute_root()


@pytest.mark.parametrize("kind", REGISTRY.all(), ids=lambda kind: kind.name)
def test_every_example_is_a_body_of_its_type(kind: Any) -> None:
    assert decode_record(kind.body, encode_record(kind.example)) == kind.example
    assert all(type(fact) in (int, str, bool) for fact in kind.inputs(kind.example).values())


def test_a_new_post_is_of_the_newest_version() -> None:
    body = make_post(Payload(bytes(16), "Hello."), ("music",))

    assert REGISTRY.latest("content.PostPublished") is KINDS[type(body)]


def vectors() -> list[Any]:
    """Return the committed vectors; another program can check itself against them without this code."""
    events: list[Any] = json.loads(VECTORS.read_text())["events"]
    return events


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["fields"]["type"])
def test_the_bytes_of_an_event_never_change(vector: Any) -> None:
    key, chain_id = SigningKey(bytes.fromhex(vector["seed"])), bytes.fromhex(vector["chain_id"])
    fields, text = vector["fields"], vector["text"]
    payload = None if text is None else Payload(bytes.fromhex(vector["salt"]), text)
    body = (
        TokensTransferred(int(vector["body"]["atoms"]), bytes.fromhex(vector["body"]["to"]), vector["body"]["token"])
        if payload is None
        else make_first_version(payload, tuple(vector["body"]["tags"]))
    )

    event = make_event(
        KINDS[type(body)],
        body,
        author=compute_account_id(chain_id, key.public),
        key=key.public,
        nonce=fields["nonce"],
        reference=Reference(fields["reference_height"], bytes.fromhex(fields["reference_hash"]), 0),
        expiry_beats=fields["expires_beat"],
    )
    signed = sign_event(key, chain_id, event, payload)

    assert event.hex() == vector["event"]
    assert (signed.payload.hex() if signed.payload else None) == vector["payload"]
    assert compute_event_id(event).hex() == vector["event_id"]
    assert signed_digest(chain_id, Purpose.EVENT, event).hex() == vector["digest"]
    assert signed.signature.hex() == vector["signature"]
    assert decode(event) == decode(encode_record(decode_record(Event, event)))
