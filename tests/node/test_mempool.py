"""The mempool: bounds, a definite answer for everything, and an order that starves nobody."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ledger.events import CheckedEvent, SignedEvent, check_event
from ledger.identity import IdentityCreated
from ledger.receipts import SKIPPED
from ledger.transition import Executed
from ledger.verdict import deny
from node import mempool
from node.mempool import ACCOUNT_EVENTS_MAX, Accepted, Answer, Mempool, Refused
from social.follows import AccountFollowed
from social.posts import PostPublished
from tests.ledger.world import REGISTRY, Person, World, sign_edited

BIG = 2**30


@pytest.fixture
def pool() -> Mempool:
    return Mempool()


def checked(world: World, signed: SignedEvent) -> CheckedEvent:
    return check_event(REGISTRY, world.chain.chain_id, signed, payload_required=True)


def post(world: World, person: Person | None = None, text: str = "Hello.", **changes: Any) -> CheckedEvent:
    return checked(world, world.sign(person or world.ada, PostPublished, text=text, tags=(), **changes))


def add(world: World, pool: Mempool, event: CheckedEvent) -> Answer:
    return pool.add(event, world.store, world.chain.head.header.beat, world.chain.references)


def refusal(answer: Answer) -> str:
    assert isinstance(answer, Refused)
    return answer.verdict.code


def propose(
    world: World, pool: Mempool, *flying: CheckedEvent, events_max: int = 100, bytes_max: int = BIG
) -> list[CheckedEvent]:
    return pool.propose(world.store, flying, world.chain.head.header.beat, events_max, bytes_max)


def done(executed: Executed) -> list[tuple[bytes, bytes, int]]:
    return [
        (receipt.event_id, receipt.author, nonce)
        for receipt, nonce in zip(executed.receipts, executed.nonces, strict=True)
        if receipt.outcome != SKIPPED
    ]


def execute(world: World, pool: Mempool, *events: CheckedEvent) -> list[tuple[bytes, Any]]:
    return pool.remove_executed(done(world.execute(*(event.signed for event in events))))


# Answers.


def test_a_good_event_waits(world: World, pool: Mempool) -> None:
    event = post(world)

    answer = add(world, pool, event)

    assert answer == Accepted(event.event_id)
    assert (event.event_id in pool, len(pool), pool.size_bytes) == (True, 1, event.wire_bytes)
    assert pool.get(event.event_id) is event
    assert list(pool.waiting()) == [event]


def test_the_same_event_again_is_accepted_and_kept_once(world: World, pool: Mempool) -> None:
    event = post(world)
    add(world, pool, event)

    again = add(world, pool, event)

    assert (again, len(pool)) == (Accepted(event.event_id), 1)


def test_another_event_with_a_nonce_that_waits_is_refused(world: World, pool: Mempool) -> None:
    first = post(world)
    add(world, pool, first)

    answer = add(world, pool, post(world, text="Other.", nonce=1))

    assert refusal(answer) == "event.nonce_waiting"
    assert isinstance(answer, Refused)
    assert answer.verdict.facts == {"nonce": 1, "waiting": first.event_id.hex()}


def test_a_nonce_that_was_executed_is_refused(world: World, pool: Mempool) -> None:
    event = post(world)
    world.execute(event.signed)

    assert refusal(add(world, pool, event)) == "event.nonce_used"


def test_an_account_may_send_only_so_far_ahead(world: World, pool: Mempool) -> None:
    answers = [add(world, pool, post(world, nonce=nonce)) for nonce in (ACCOUNT_EVENTS_MAX, ACCOUNT_EVENTS_MAX + 1)]

    assert isinstance(answers[0], Accepted)
    assert refusal(answers[1]) == "event.nonce_too_far"


def test_an_event_that_would_expire_before_it_is_ordered_is_refused(world: World, pool: Mempool) -> None:
    assert refusal(add(world, pool, post(world, expiry_beats=0))) == "event.expired"
    assert isinstance(add(world, pool, post(world, nonce=1, expiry_beats=1)), Accepted)


def test_an_account_that_does_not_exist_starts_with_its_creation(world: World, pool: Mempool) -> None:
    create = checked(world, world.sign(world.cyd, IdentityCreated))
    first_post = post(world, world.cyd)

    early = add(world, pool, first_post)
    answers = [add(world, pool, event) for event in (create, first_post)]

    assert refusal(early) == "event.author_unknown"
    assert answers == [Accepted(create.event_id), Accepted(first_post.event_id)]
    assert propose(world, pool) == [create, first_post]


@pytest.mark.parametrize("waiting", [True, False])
def test_another_key_can_not_take_an_account_s_nonces(world: World, pool: Mempool, waiting: bool) -> None:
    if waiting:
        add(world, pool, post(world))
    forged = sign_edited(world, world.ben, post(world).signed, key=world.ben.key.public, nonce=2)

    assert refusal(add(world, pool, checked(world, forged))) == "event.key_not_of_author"


def test_another_key_can_not_take_the_nonces_of_an_account_that_is_being_made(world: World, pool: Mempool) -> None:
    add(world, pool, checked(world, world.sign(world.cyd, IdentityCreated)))
    forged = sign_edited(world, world.ben, post(world, world.cyd).signed, key=world.ben.key.public)

    assert refusal(add(world, pool, checked(world, forged))) == "event.key_not_of_author"


# Bounds.


def test_a_full_mempool_refuses_with_its_numbers(world: World, pool: Mempool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mempool, "EVENTS_MAX", 2)
    add(world, pool, post(world))
    add(world, pool, post(world))

    answer = add(world, pool, post(world))

    assert refusal(answer) == "node.mempool_full"
    assert isinstance(answer, Refused)
    assert (answer.verdict.facts["events"], answer.verdict.facts["events_max"]) == (2, 2)


def test_bytes_are_bounded_too(world: World, pool: Mempool, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [post(world), post(world)]
    monkeypatch.setattr(mempool, "BYTES_MAX", sum(event.wire_bytes for event in events) - 1)

    answers = [add(world, pool, event) for event in events]

    assert isinstance(answers[0], Accepted)
    assert refusal(answers[1]) == "node.mempool_full"


def test_room_that_was_made_is_used_again(world: World, pool: Mempool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mempool, "EVENTS_MAX", 1)
    first = post(world)
    add(world, pool, first)

    execute(world, pool, first)

    assert isinstance(add(world, pool, post(world)), Accepted)


def test_events_that_can_not_be_ordered_fill_half_of_it_at_most(
    world: World, pool: Mempool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mempool, "EVENTS_MAX", 8)

    gapped = [add(world, pool, post(world, nonce=nonce)) for nonce in range(2, 9)]
    ordered = [add(world, pool, post(world, world.ben)) for _ in range(4)]

    assert [isinstance(answer, Accepted) for answer in gapped] == [True] * 4 + [False] * 3
    assert [isinstance(answer, Accepted) for answer in ordered] == [True] * 4


# Order.


def test_events_of_an_account_are_proposed_in_the_order_of_their_nonces(world: World, pool: Mempool) -> None:
    events = [post(world) for _ in range(3)]
    for event in reversed(events):
        add(world, pool, event)

    assert propose(world, pool) == events


def test_nothing_is_proposed_across_a_gap(world: World, pool: Mempool) -> None:
    events = [post(world) for _ in range(4)]
    for event in (events[0], events[1], events[3]):
        add(world, pool, event)

    assert propose(world, pool) == events[:2]


def test_what_is_in_flight_is_not_proposed_again_and_what_follows_it_is(world: World, pool: Mempool) -> None:
    events = [post(world) for _ in range(3)]
    for event in events:
        add(world, pool, event)

    assert propose(world, pool, *events[:2]) == events[2:]


def test_a_batch_has_bounds_in_events_and_bytes(world: World, pool: Mempool) -> None:
    events = [post(world) for _ in range(5)]
    for event in events:
        add(world, pool, event)

    assert propose(world, pool, events_max=2) == events[:2]
    assert propose(world, pool, bytes_max=sum(event.wire_bytes for event in events[:3])) == events[:3]


def test_an_account_that_sends_much_does_not_starve_another(world: World, pool: Mempool) -> None:
    many = [post(world) for _ in range(10)]
    some = [post(world, world.ben) for _ in range(2)]
    for event in (*many, *some):
        add(world, pool, event)

    first = propose(world, pool, events_max=3)
    execute(world, pool, *first)
    second = propose(world, pool, events_max=4)

    assert first == [many[0], some[0], many[1]]  # one of each in turn
    assert second == [some[1], *many[2:5]]  # who was served last is last


def test_who_has_something_in_flight_comes_behind_who_waits(world: World, pool: Mempool) -> None:
    many = [post(world) for _ in range(4)]
    one = post(world, world.ben)
    for event in (*many, one):
        add(world, pool, event)

    assert propose(world, pool, many[0], events_max=1) == [one]
    assert propose(world, pool, many[0], one, events_max=1) == [many[1]]
    assert propose(world, pool, one, many[0]) == many[1:]
    assert propose(world, pool, one, many[2]) == many  # beyond a gap, and so in vain


def test_what_is_due_is_the_next_of_each_account(world: World, pool: Mempool) -> None:
    first, second = post(world), post(world)
    early, after_a_gap = post(world, world.ben, nonce=1, expiry_beats=1), post(world, world.ben, nonce=3)
    for event in (first, second, early, after_a_gap):
        add(world, pool, event)

    assert list(pool.due(world.store, (), 0)) == [first, early]
    assert list(pool.due(world.store, (first,), 0)) == [early, second]
    assert list(pool.due(world.store, (first, second, early), 0)) == []
    assert list(pool.due(world.store, (), 1)) == [first]


def test_what_is_about_to_expire_is_not_proposed(world: World, pool: Mempool) -> None:
    brief, after = post(world, expiry_beats=1), post(world)
    add(world, pool, brief)
    add(world, pool, after)

    assert pool.propose(world.store, (), 0, 10, BIG) == [brief, after]
    assert pool.propose(world.store, (), 1, 10, BIG) == []


def test_the_oldest_is_the_first_that_could_be_executed(world: World, pool: Mempool) -> None:
    gapped, ready = post(world, nonce=2), post(world, world.ben)
    add(world, pool, gapped)
    nothing = pool.oldest(world.store, 0)

    add(world, pool, ready)

    assert (nothing, pool.oldest(world.store, 0)) == (None, ready.event_id)
    assert pool.has_proposable()


# Ends.


def test_what_was_executed_is_forgotten(world: World, pool: Mempool) -> None:
    event = post(world)
    add(world, pool, event)

    lost = execute(world, pool, event)

    assert (lost, len(pool), pool.size_bytes, list(pool.waiting())) == ([], 0, 0, [])


def test_who_loses_his_nonce_to_a_rival_is_told(world: World, pool: Mempool) -> None:
    mine, rival = post(world), post(world, text="Rival.", nonce=1)
    add(world, pool, mine)

    lost = execute(world, pool, rival)

    assert [(event_id, verdict.code) for event_id, verdict in lost] == [(mine.event_id, "event.nonce_used")]
    assert (len(pool), pool.size_bytes) == (0, 0)


def test_what_expired_is_told(world: World, pool: Mempool) -> None:
    brief, lasting = post(world, expiry_beats=1), post(world, world.ben)
    add(world, pool, brief)
    add(world, pool, lasting)

    lost = pool.remove_expired(1)

    assert [(event_id, verdict.code, verdict.facts) for event_id, verdict in lost] == [
        (brief.event_id, "event.expired", {"expires_beat": 1})
    ]
    assert list(pool.waiting()) == [lasting]


class EveryEventHasOneFate(RuleBasedStateMachine):
    """An accepted event waits until it is executed or its loss is told; counts and bytes are those of what waits."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.world = World(Path(self.folder.name))
        self.pool = Mempool()
        self.fates: dict[bytes, str] = {}

    def teardown(self) -> None:
        self.world.close()
        self.folder.cleanup()

    @rule(person=st.integers(0, 1), ahead=st.integers(0, 3), text=st.sampled_from("ab"), expiry=st.integers(1, 4))
    def submit(self, person: int, ahead: int, text: str, expiry: int) -> None:
        author = (self.world.ada, self.world.ben)[person]
        nonce = max(1, author.nonce + ahead)
        event = post(self.world, author, text, nonce=nonce, expiry_beats=expiry)
        if isinstance(add(self.world, self.pool, event), Accepted):
            self.fates.setdefault(event.event_id, "waits")

    @rule(beat=st.booleans(), rival=st.booleans())
    def make_block(self, beat: bool, rival: bool) -> None:
        chosen = [event.signed for event in propose(self.world, self.pool, events_max=3)]
        if rival:
            other = self.world.sign(self.world.ada, AccountFollowed, target=self.world.ben.account)
            self.world.ada.nonce -= 1
            chosen = [other, *chosen]
        executed = self.world.execute(*chosen, beat=beat)
        self.world.ada.nonce = max([self.world.ada.nonce, *executed.nonces])
        lost = self.pool.remove_executed(done(executed)) + self.pool.remove_expired(executed.header.beat)
        for event_id, _, _ in done(executed):
            self.fates[event_id] = "executed"
        for event_id, _ in lost:
            assert self.fates[event_id] == "waits"
            self.fates[event_id] = "lost"

    @invariant()
    def what_waits_is_here(self) -> None:
        waiting = list(self.pool.waiting())
        assert {event.event_id for event in waiting} == {each for each, fate in self.fates.items() if fate == "waits"}
        assert self.pool.size_bytes == sum(event.wire_bytes for event in waiting)
        assert len(self.pool) == len(waiting)


EveryEventHasOneFate.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestEveryEventHasOneFate = EveryEventHasOneFate.TestCase


def test_what_a_block_skipped_for_good_is_told_and_forgotten(world: World, pool: Mempool) -> None:
    event = post(world)
    add(world, pool, event)
    verdict = deny("event.expired", "It has expired.")

    lost = pool.remove_skipped([(event.event_id, verdict), (bytes(32), verdict)])

    assert lost == [(event.event_id, verdict)]
    assert len(pool) == 0
