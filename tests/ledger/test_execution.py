"""Execution: who is admitted, exactly once, and a header that commits to everything."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import keyspace
from ledger.beats import read_beat
from ledger.block import Header, compute_header_hash, encode_header
from ledger.chain import make_batch, read_stored_block
from ledger.events import EXPIRY_BEATS_MAX, SignedEvent
from ledger.identity import IdentityCreated, read_nonce
from ledger.primitives import lthash, merkle
from ledger.receipts import APPLIED, DENIED, SKIPPED, Receipt, encode_receipt
from ledger.tokens import FLX, read_balance
from ledger.transfers import TokensTransferred
from social.follows import AccountFollowed
from social.posts import PostPublished
from social.profiles import HandleClaimed
from tests.ledger.world import MODEST, RICH, World, id_of, sign_edited


def outcomes(receipts: tuple[Receipt, ...]) -> list[tuple[str, str]]:
    """The outcome of each event, and what decided it."""
    deciding = (next((v.code for v in r.verdicts if not v.allowed), "") for r in receipts)
    return [(receipt.outcome, code) for receipt, code in zip(receipts, deciding, strict=True)]


def post(world: World, text: str = "Hello.", **changes: Any) -> SignedEvent:
    return world.sign(world.ada, PostPublished, text=text, tags=(), **changes)


# Admission.


def test_a_nonce_that_was_used_is_skipped(world: World) -> None:
    world.execute(post(world))

    receipts = world.execute(post(world, "Again.", nonce=1)).receipts

    assert outcomes(receipts) == [(SKIPPED, "event.nonce_used")]
    assert receipts[0].verdicts[0].facts == {"nonce": 1, "nonce_next": 2}


def test_a_nonce_after_a_gap_is_skipped_and_can_come_later(world: World) -> None:
    first, second = post(world, "One."), post(world, "Two.")

    early = world.execute(second).receipts
    later = world.execute(first, second).receipts

    assert outcomes(early) == [(SKIPPED, "event.nonce_gap")]
    assert early[0].verdicts[0].facts == {"nonce": 2, "nonce_next": 1}
    assert outcomes(later) == [(APPLIED, ""), (APPLIED, "")]


def test_an_account_that_does_not_exist_signs_nothing_but_its_creation(world: World) -> None:
    receipt = world.do(world.cyd, HandleClaimed, handle="cyd")

    assert outcomes((receipt,)) == [(SKIPPED, "event.author_unknown")]


def test_a_key_speaks_for_its_own_account_only(world: World) -> None:
    forged = sign_edited(world, world.ben, post(world), key=world.ben.key.public)

    receipts = world.execute(forged).receipts

    assert outcomes(receipts) == [(SKIPPED, "event.key_not_of_author")]
    assert read_nonce(world.state(), world.ada.account) == 0


def test_a_reference_above_the_head_is_skipped(world: World) -> None:
    ahead = sign_edited(world, world.ada, post(world), reference_height=1)

    assert outcomes(world.execute(ahead).receipts) == [(SKIPPED, "event.reference_unknown")]


def test_a_reference_to_another_history_is_skipped(world: World) -> None:
    forked = sign_edited(world, world.ada, post(world), reference_hash=bytes(32))

    assert outcomes(world.execute(forked).receipts) == [(SKIPPED, "event.wrong_chain")]


def test_an_expiry_too_far_after_the_reference_is_skipped(world: World) -> None:
    far = post(world, expiry_beats=EXPIRY_BEATS_MAX + 1)

    receipts = world.execute(far).receipts

    assert outcomes(receipts) == [(SKIPPED, "event.expiry_too_far")]
    facts = {"expires_beat": EXPIRY_BEATS_MAX + 1, "expires_beat_max": EXPIRY_BEATS_MAX}
    assert receipts[0].verdicts[0].facts == facts


def test_an_event_may_be_executed_in_its_last_beat_and_not_after(world: World) -> None:
    world.execute(beat=True)
    last, after = post(world, at=0, expiry_beats=2), post(world, at=0, expiry_beats=1)

    receipts = world.execute(last, after, beat=True).receipts

    assert outcomes(receipts[1:]) == [(APPLIED, ""), (SKIPPED, "event.expired")]
    assert receipts[2].verdicts[0].facts == {"expires_beat": 1, "beat": 2}


def test_a_malformed_event_leaves_a_receipt_and_nothing_else(world: World) -> None:
    malformed = SignedEvent(b"not an event", None, bytes(64))

    executed = world.execute(malformed, post(world))

    assert outcomes(executed.receipts) == [(SKIPPED, "event.malformed"), (APPLIED, "")]
    assert executed.receipts[0].event_id == id_of(malformed)
    assert (executed.receipts[0].event_type, executed.receipts[0].author) == ("", bytes(32))


def test_a_skipped_event_changes_no_state(world: World) -> None:
    executed = world.execute(post(world, nonce=7))

    assert executed.changes == ()
    assert world.chain.read_header(0).state_digest == executed.header.state_digest  # type: ignore[union-attr]


# Exactly once.


def test_an_event_twice_in_one_batch_is_executed_once(world: World) -> None:
    event = post(world)

    executed = world.execute(event, event)

    assert outcomes(executed.receipts) == [(APPLIED, ""), (SKIPPED, "event.nonce_used")]


@pytest.mark.parametrize("together", [True, False])
def test_its_id_leads_to_the_receipt_of_what_was_executed(world: World, together: bool) -> None:
    event = post(world)

    if together:
        world.execute(event, event)
    else:
        world.execute(event)
        world.execute(event)

    assert world.store.get(keyspace.event_id(id_of(event))) == keyspace.u64(0)


def test_an_event_that_was_skipped_and_then_executed_is_found_as_executed(world: World) -> None:
    first, second = post(world, "One."), post(world, "Two.")
    world.execute(second)

    world.execute(first, second)

    assert world.store.get(keyspace.event_id(id_of(second))) == keyspace.u64(2)


def test_a_denied_event_uses_its_nonce_and_is_never_executed_again(world: World) -> None:
    overdraft = world.sign(world.ben, TokensTransferred, atoms=RICH, to=world.ada.account, token=FLX)

    denied = world.execute(overdraft)
    world.do(world.ada, TokensTransferred, atoms=RICH // 2, to=world.ben.account, token=FLX)
    world.do(world.ada, TokensTransferred, atoms=RICH // 2, to=world.ben.account, token=FLX)
    again = world.execute(overdraft)

    assert outcomes(denied.receipts) == [(DENIED, "tokens.overdraft")]
    assert outcomes(again.receipts) == [(SKIPPED, "event.nonce_used")]
    assert read_balance(world.state(), FLX, world.ben.account) > RICH


def test_later_events_of_a_batch_see_what_earlier_ones_did(world: World) -> None:
    events = (
        world.sign(world.cyd, IdentityCreated),
        world.sign(world.ada, TokensTransferred, atoms=5, to=world.ben.account, token=FLX),
        world.sign(world.ben, TokensTransferred, atoms=MODEST + 5, to=world.cyd.account, token=FLX),
    )

    receipts = world.execute(*events).receipts

    assert [receipt.outcome for receipt in receipts] == [APPLIED] * 3


# Blocks.


def test_the_beat_advances_first_and_is_a_receipt_of_its_own(world: World) -> None:
    executed = world.execute(post(world), beat=True)

    assert [receipt.event_type for receipt in executed.receipts] == ["infra.BeatStarted", "content.PostPublished"]
    assert (executed.header.beat, read_beat(world.state())) == (1, 1)


def test_a_null_request_is_an_empty_block(world: World) -> None:
    above = world.chain.head.header

    executed = world.chain.execute(None, ())

    assert executed.receipts == ()
    assert executed.header.proposer is None
    assert (executed.header.state_digest, executed.header.time_ms) == (above.state_digest, above.time_ms)


def test_display_time_never_goes_back(world: World) -> None:
    batch = replace(world.batch(post(world)), time_ms=5)

    executed = world.chain.execute(batch, world.check(*batch.items))

    assert executed.header.time_ms == world.chain.genesis.time_ms


def test_computing_writes_nothing(world: World) -> None:
    before = list(world.store.iterate(b"", b"\xff"))

    world.compute(post(world), beat=True)

    assert list(world.store.iterate(b"", b"\xff")) == before


def test_a_block_gives_back_the_batch_that_made_it(world: World) -> None:
    parent = world.chain.head.header
    batch = world.batch(post(world), post(world, "Skipped.", nonce=9), beat=True)
    world.chain.execute(batch, world.check(*batch.items))

    with world.store.snapshot() as snapshot:
        block = read_stored_block(snapshot, 1)

    assert block is not None
    without_payload = replace(batch.items[1], payload=None)  # it was not applied, so nothing keeps it
    expected = replace(batch, items=(batch.items[0], without_payload))
    assert make_batch(world.chain.head.header, parent, block.items) == expected


def test_the_header_is_over_what_the_roots_say(world: World) -> None:
    executed = world.execute(post(world), post(world), beat=True)

    leaves = [merkle.leaf_hash(encode_receipt(receipt)) for receipt in executed.receipts]
    state = lthash.combine(lthash.EMPTY, [], world.store.iterate(b"s", b"t"))
    assert executed.header.receipt_root == merkle.compute_root(leaves)
    assert executed.header.log_root == merkle.compute_root(leaves)
    assert executed.header.state_digest == lthash.digest(state)
    assert executed.hash == compute_header_hash(encode_header(executed.header))


def test_the_log_goes_over_all_blocks(world: World) -> None:
    receipts = [receipt for _ in range(5) for receipt in world.execute(post(world), post(world), beat=True).receipts]

    leaves = [merkle.leaf_hash(encode_receipt(receipt)) for receipt in receipts]
    assert world.chain.head.header.log_root == merkle.compute_root(leaves)
    assert [receipt.log_index for receipt in receipts] == list(range(15))


COMMITTED = sorted(set(Header.__slots__))


@pytest.mark.parametrize("name", COMMITTED)
def test_the_header_hash_covers_every_field(world: World, name: str) -> None:
    header = world.execute(post(world), beat=True).header
    value = getattr(header, name)
    other: Any = bytes(32) if type(value) is bytes else (value or 0) + 1

    changed = replace(header, **{name: other})

    assert compute_header_hash(encode_header(changed)) != compute_header_hash(encode_header(header))


@pytest.mark.parametrize(
    "change",
    [
        lambda batch: replace(batch, beat=not batch.beat),
        lambda batch: replace(batch, proposer=2),
        lambda batch: replace(batch, time_ms=batch.time_ms + 1),
        lambda batch: replace(batch, view=1),
        lambda batch: replace(batch, items=batch.items[::-1]),
        lambda batch: replace(batch, items=batch.items[:1]),
        lambda batch: replace(batch, items=(replace(batch.items[0], signature=bytes(64)), *batch.items[1:])),
    ],
    ids=["beat", "proposer", "time", "view", "order", "fewer", "signature"],
)
def test_another_batch_gives_another_header(world: World, change: Any) -> None:
    batch = world.batch(post(world), world.sign(world.ben, AccountFollowed, target=world.ada.account))
    other = change(batch)

    hashes = [world.chain.compute(each, world.check(*each.items)).hash for each in (batch, other)]

    assert hashes[0] != hashes[1]


def test_another_state_below_gives_another_header(world: World) -> None:
    event = post(world)
    before = world.compute(event)

    world.chain.execute(None, ())

    assert world.compute(event).header.previous != before.header.previous


@given(st.permutations(range(3)), st.booleans())
@settings(max_examples=10, deadline=None)
def test_the_same_batch_gives_the_same_bytes_every_time(order: list[int], beat: bool) -> None:

    def run() -> bytes:
        with TemporaryDirectory() as folder:
            world = World(Path(folder))
            events = (
                post(world),
                world.sign(world.ben, AccountFollowed, target=world.ada.account),
                world.sign(world.cyd, IdentityCreated),
            )
            header = world.execute(*(events[number] for number in order), beat=beat).header_bytes
            world.close()
            return header

    assert run() == run()


def test_a_batch_is_executed_on_the_head_only(world: World) -> None:
    stale = world.compute(post(world))
    world.chain.execute(None, ())

    with pytest.raises(AssertionError, match="blocks are written in order"):
        world.chain.commit(stale)
