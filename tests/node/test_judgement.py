"""What a backup refuses to prepare, and that an ordered batch is opened whoever proposed it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ledger.block import BATCH_BYTES_MAX, Batch, encode_batch
from ledger.events import EventRefused, SignedEvent
from node import event_cache
from node.clock import CLOCK_TOLERANCE_MS, BeatClock
from node.event_cache import EventCache
from node.judgement import NULL_PROPOSAL, BatchRefused, Proposal, judge_proposal, open_proposal
from social.posts import PostPublished
from tests.ledger.world import REGISTRY, World, sign_edited

NOW_MS = 1_700_000_000_000
CLOCK_MS = 50_000


def cache(world: World) -> EventCache:
    return EventCache(REGISTRY, world.chain.chain_id)


def post(world: World, text: str = "Hello.", **changes: Any) -> SignedEvent:
    return world.sign(world.ada, PostPublished, text=text, tags=(), **changes)


def batch(*items: SignedEvent, **changes: Any) -> Batch:
    return replace(Batch(beat=False, height=1, items=items, proposer=2, time_ms=NOW_MS, view=6), **changes)


def judge(world: World, data: Batch | bytes, clock: BeatClock | None = None, beat: int = 0) -> Proposal:
    return judge_proposal(
        data if isinstance(data, bytes) else encode_batch(data),
        view_number=6,
        seq=1,
        primary=2,
        state=world.store,
        beat=beat,
        now_ms=NOW_MS,
        clock=clock or BeatClock(1_000, lambda: CLOCK_MS),
        cache=cache(world),
    )


def test_a_good_proposal_is_voted_for(world: World) -> None:
    proposed = batch(post(world), post(world), world.sign(world.ben, PostPublished, text="x", tags=()))

    proposal = judge(world, proposed)

    assert proposal.batch == proposed
    assert [event.signed for event in proposal.checked if not isinstance(event, EventRefused)] == list(proposed.items)


def test_a_beat_needs_no_events(world: World) -> None:
    assert judge(world, batch(beat=True)).checked == ()


def test_events_may_follow_on_what_is_in_flight(world: World) -> None:
    assert len(judge(world, batch(post(world, nonce=7), post(world, nonce=8))).checked) == 2


REFUSED: dict[str, tuple[Callable[[World], Batch | bytes], str]] = {
    "too large": (lambda world: bytes(BATCH_BYTES_MAX + 1), "expected at most 2097152 bytes"),
    "nothing": (lambda world: b"", "not a canonical batch"),
    "junk": (lambda world: b"junk", "not a canonical batch"),
    "another form": (lambda world: encode_batch(batch(post(world))) + b"\0", "not a canonical batch"),
    "another height": (lambda world: batch(post(world), height=2), "expected height 1, view 6, proposer 2; got 2,"),
    "another view": (lambda world: batch(post(world), view=5), "got 1, 5, 2"),
    "another proposer": (lambda world: batch(post(world), proposer=3), "got 1, 6, 3"),
    "empty": (lambda world: batch(), "an empty batch without a beat"),
    "clock behind": (lambda world: batch(post(world), time_ms=NOW_MS - CLOCK_TOLERANCE_MS - 1), "the display time"),
    "clock ahead": (lambda world: batch(post(world), time_ms=NOW_MS + CLOCK_TOLERANCE_MS + 1), "the display time"),
    "forged": (lambda world: batch(replace(post(world), signature=bytes(64))), "The signature is not one of"),
    "payload stripped": (lambda world: batch(replace(post(world), payload=None)), "The payload must be sent"),
    "unknown type": (lambda world: batch(sign_edited(world, world.ada, post(world), version=9)), "no such event type"),
    "nonce used": (lambda world: batch(post(world, nonce=0)), "whose nonce 0 was used already"),
    "out of order": (lambda world: batch(post(world, nonce=2), post(world, nonce=1)), "out of order: 1 after 2"),
    "a gap": (lambda world: batch(post(world, nonce=1), post(world, nonce=3)), "out of order: 3 after 1"),
    "twice": (lambda world: batch(*[post(world, nonce=1)] * 2), "out of order: 1 after 1"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_correct_primary_proposes_is_refused(world: World, what: str) -> None:
    make, message = REFUSED[what]

    with pytest.raises(BatchRefused) as refused:
        judge(world, make(world))

    assert message in str(refused.value)


def test_a_clock_within_the_tolerance_is_believed(world: World) -> None:
    assert judge(world, batch(post(world), time_ms=NOW_MS + CLOCK_TOLERANCE_MS)).batch is not None


def test_a_beat_that_our_clock_denies_is_refused(world: World) -> None:
    clock = BeatClock(1_000, lambda: CLOCK_MS)
    clock.saw_proposed(1)

    with pytest.raises(BatchRefused, match="beat 100 comes too early by our clock"):
        judge(world, batch(beat=True), clock, beat=99)


# Ordered batches.


def test_a_null_request_opens_to_nothing(world: World) -> None:
    assert open_proposal(b"", cache(world)) == NULL_PROPOSAL


def test_an_ordered_batch_is_opened_with_whatever_is_in_it(world: World) -> None:
    forged = replace(post(world), signature=bytes(64))

    proposal = open_proposal(encode_batch(batch(forged, post(world))), cache(world))

    refused, good = proposal.checked
    assert isinstance(refused, EventRefused)
    assert refused.code == "event.signature_invalid"
    assert not isinstance(good, EventRefused)


# The cache.


def test_an_event_is_verified_once(world: World) -> None:
    known, signed = cache(world), post(world)

    assert known.check(signed) is known.check(signed)


def test_the_same_signature_over_other_bytes_is_verified_again(world: World) -> None:
    known, signed = cache(world), post(world)
    known.check(signed)

    with pytest.raises(EventRefused):
        known.check(replace(signed, event=post(world, "Other.").event))
    with pytest.raises(EventRefused):
        known.check(replace(signed, payload=b"\x80"))


def test_an_event_known_without_its_payload_does_not_enter_the_network(world: World) -> None:
    known, erased = cache(world), replace(post(world), payload=None)
    known.check(erased, payload_required=False)

    with pytest.raises(EventRefused) as refused:
        known.check(erased)

    assert refused.value.code == "event.payload_missing"


def test_the_cache_forgets_the_oldest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_cache, "EVENTS_MAX", 2)
    known, events = cache(world), [post(world, str(number)) for number in range(3)]

    first = known.check(events[0])
    for signed in events[1:]:
        known.check(signed)

    assert known.check(events[0]) is not first
