"""Submissions on their way: to every validator, again until executed, and forgeries are the sender's fault."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from ledger.events import SIGNED_EVENT_BYTES_MAX, SignedEvent, decode_signed_event, encode_signed_event
from ledger.primitives.encoding import decode, encode
from node import relay as relay_module
from node.event_cache import EventCache
from node.mempool import Accepted, Mempool, Refused
from node.relay import (
    FORGED,
    FORWARD_AFTER_MS,
    FRAME_EVENTS_MAX,
    LOOK_MS,
    RESEND_AFTER_MS,
    Relay,
    SubmissionMalformed,
)
from node.submission_log import SubmissionLog
from social.posts import PostPublished
from tests.ledger.world import REGISTRY, World, id_of, sign_edited


class Node:
    """A relay, what it sent, and how often it said that events came."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.mempool = Mempool()
        self.frames: list[bytes] = []
        self.arrivals = 0
        self.relay = Relay(
            world.chain,
            self.mempool,
            EventCache(REGISTRY, world.chain.chain_id),
            broadcast=self.frames.append,
            events_arrived=self._arrived,
            log=SubmissionLog(world.store.path.parent / "submissions.log", SIGNED_EVENT_BYTES_MAX),
            clock=lambda: int(trio.current_time() * 1_000),
        )

    def _arrived(self) -> None:
        self.arrivals += 1

    def sent(self) -> list[SignedEvent]:
        """All events sent so far."""
        return [event for frame in self.frames for event in unpack(frame)]


def unpack(frame: bytes) -> list[SignedEvent]:
    items = decode(frame)
    assert isinstance(items, list)
    return [decode_signed_event(item) for item in items if isinstance(item, bytes)]


def pack(*events: SignedEvent) -> bytes:
    return encode([encode_signed_event(event) for event in events])


@pytest.fixture
def node(world: World) -> Node:
    return Node(world)


def post(world: World, text: str = "Hello.", **changes: Any) -> SignedEvent:
    return world.sign(world.ada, PostPublished, text=text, tags=(), **changes)


async def test_what_a_client_submits_is_accepted_and_sent(
    node: Node, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    nursery.start_soon(node.relay.run)
    events = [post(node.world) for _ in range(3)]

    answers = node.relay.submit(events)
    await trio.testing.wait_all_tasks_blocked()

    assert answers == [Accepted(id_of(event)) for event in events]
    assert (node.sent(), node.arrivals, len(node.frames)) == (events, 1, 1)
    assert len(node.mempool) == 3


async def test_every_event_gets_its_own_answer(node: Node) -> None:
    good, forged = post(node.world), replace(post(node.world), signature=bytes(64))

    accepted, refused = node.relay.submit([good, forged])

    assert accepted == Accepted(id_of(good))
    assert isinstance(refused, Refused)
    assert refused.verdict.code == "event.signature_invalid"


async def test_what_was_refused_is_not_sent(
    node: Node, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    nursery.start_soon(node.relay.run)

    node.relay.submit([post(node.world, nonce=0), replace(post(node.world), signature=bytes(64))])
    await trio.sleep(10)

    assert (node.frames, node.arrivals) == ([], 0)


async def test_an_event_known_already_is_not_sent_twice(
    node: Node, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    nursery.start_soon(node.relay.run)
    event = post(node.world)

    node.relay.submit([event, event])
    await trio.testing.wait_all_tasks_blocked()

    assert node.sent() == [event]


async def test_many_events_go_in_frames_of_a_bounded_size(
    node: Node, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    nursery.start_soon(node.relay.run)
    monkeypatch.setattr(relay_module, "FRAME_BYTES_MAX", 15_000)
    small = [post(node.world, str(number)) for number in range(30)]
    large = [post(node.world, "x" * 9_000) for _ in range(3)]

    node.relay.submit(small + large)
    await trio.testing.wait_all_tasks_blocked()

    assert node.sent() == small + large
    assert len(node.frames) >= 4
    assert all(len(unpack(frame)) <= FRAME_EVENTS_MAX for frame in node.frames)
    assert all(len(frame) <= 15_000 for frame in node.frames)


async def test_what_is_not_executed_is_sent_again_and_again(
    node: Node, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    nursery.start_soon(node.relay.run)
    event = post(node.world)
    node.relay.submit([event])

    await trio.sleep(3.5 * RESEND_AFTER_MS / 1_000)

    assert 3 <= len(node.sent()) <= 4
    assert set(map(id_of, node.sent())) == {id_of(event)}


@pytest.mark.parametrize("way", ["executed", "gone from the mempool"])
async def test_what_has_ended_is_not_sent_again(
    node: Node, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, way: str
) -> None:
    nursery.start_soon(node.relay.run)
    event = post(node.world)
    node.relay.submit([event])
    await trio.testing.wait_all_tasks_blocked()

    if way == "executed":
        done, _ = node.mempool.remove_block(node.world.execute(event))
        node.relay.forget(done)
    else:
        node.mempool.remove_expired(10**6)
    await trio.sleep(10)

    assert node.sent() == [event]


async def test_the_oldest_is_sent_again_first(
    node: Node, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "RESEND_EVENTS_MAX", 1)
    nursery.start_soon(node.relay.run)
    events = [post(node.world) for _ in range(3)]
    node.relay.submit(events)
    await trio.testing.wait_all_tasks_blocked()

    await trio.sleep(3.2 * RESEND_AFTER_MS / 1_000)

    assert node.sent()[:6] == events * 2


# From peers.


async def test_the_oldest_of_a_peer_s_events_is_sent_on_when_it_waits(
    node: Node, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """A liar told f + 1 backups of an event, and not the primary: it was suspected, again and again."""
    nursery.start_soon(node.relay.run)
    first, second = post(node.world), post(node.world)
    await node.relay.receive(pack(first, second))

    await trio.sleep(FORWARD_AFTER_MS / 1_000)
    assert node.sent() == []
    await trio.sleep(2 * LOOK_MS / 1_000)

    assert node.sent() == [first]


async def test_a_peer_s_events_are_taken_and_not_sent_on_at_once(
    node: Node, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    nursery.start_soon(node.relay.run)
    events = [post(node.world) for _ in range(20)]

    await node.relay.receive(pack(*events))
    await trio.sleep(FORWARD_AFTER_MS / 1_000)

    assert (len(node.mempool), node.arrivals, node.frames) == (20, 1, [])


async def test_a_peer_s_event_that_is_adopted_is_sent_on_until_it_has_ended(
    node: Node, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    nursery.start_soon(node.relay.run)
    event, ended = post(node.world), post(node.world)
    await node.relay.receive(pack(event, ended))
    (first, second) = node.mempool.waiting()
    node.mempool.remove_executed([(second.event_id, second.event.author, second.event.nonce)])

    for checked in (first, first, second):
        node.relay.adopt(checked)
    await trio.sleep(RESEND_AFTER_MS / 2_000)
    assert node.sent() == [event]
    await trio.sleep(RESEND_AFTER_MS / 1_000)
    node.mempool.remove_executed([(first.event_id, first.event.author, first.event.nonce)])
    node.relay.forget([first.event_id])
    await trio.sleep(10 * RESEND_AFTER_MS / 1_000)

    assert node.sent() == [event, event]


async def test_events_that_are_merely_too_late_are_no_fault(node: Node) -> None:
    event = post(node.world)
    node.world.execute(event)

    await node.relay.receive(pack(event, post(node.world, nonce=500), post(node.world)))

    assert len(node.mempool) == 1


BAD_FRAMES: dict[str, Callable[[World], bytes]] = {
    "nothing": lambda world: b"",
    "junk": lambda world: b"\xc1",
    "no list": lambda world: encode({}),
    "empty": lambda world: encode([]),
    "too many": lambda world: encode([b"x"] * (FRAME_EVENTS_MAX + 1)),
    "numbers": lambda world: encode([1]),
    "no event": lambda world: encode([b"x"]),
    "trailing bytes": lambda world: pack(post(world)) + b"\0",
}


@pytest.mark.parametrize("what", BAD_FRAMES)
async def test_a_frame_of_another_form_is_the_peer_s_fault(node: Node, what: str) -> None:
    with pytest.raises(SubmissionMalformed):
        await node.relay.receive(BAD_FRAMES[what](node.world))

    assert len(node.mempool) == 0


FORGERIES: dict[str, Callable[[World], SignedEvent]] = {
    "event.malformed": lambda world: SignedEvent(b"junk", None, bytes(64)),
    "event.type_unknown": lambda world: sign_edited(world, world.ada, post(world), version=9),
    "event.body_invalid": lambda world: sign_edited(world, world.ada, post(world), body=b"\x80"),
    "event.signature_invalid": lambda world: replace(post(world), signature=bytes(64)),
    "event.payload_mismatch": lambda world: replace(post(world), payload=post(world, "Other.").payload),
    "event.payload_malformed": lambda world: replace(post(world), payload=b"\x80"),
    "event.payload_missing": lambda world: replace(post(world), payload=None),
    "event.author_not_of_key": lambda world: sign_edited(
        world, world.ada, post(world), type="identity.IdentityCreated", body=b"\x80", author=world.cyd.account
    ),
    "event.wrong_chain": lambda world: sign_edited(world, world.ada, post(world), reference_hash=bytes(32)),
}


@pytest.mark.parametrize("code", FORGERIES)
async def test_what_no_correct_node_passes_on_is_the_peer_s_fault(node: Node, code: str) -> None:
    with pytest.raises(SubmissionMalformed, match=code):
        await node.relay.receive(pack(FORGERIES[code](node.world)))

    assert len(node.mempool) == 0


def test_every_forgery_is_in_the_catalogue() -> None:
    # The codec refuses what is too large before; a payload too many needs a type without one.
    others = {"event.too_large", "event.payload_unexpected"}

    assert set(FORGERIES) | others == FORGED
