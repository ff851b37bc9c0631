"""Forced inclusion: a correct primary is never refused while messages arrive in time, a censor is within the bound."""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from ledger import keyspace
from ledger.block import BATCH_BYTES_MAX
from ledger.events import SIGNED_EVENT_BYTES_MAX, CheckedEvent, Event, EventType, SignedEvent
from ledger.state import encode_number
from node import fairness
from node.consensus_core import BATCH_MARGIN_BYTES
from node.fairness import (
    DELAY_MS,
    EXCUSED_MAX,
    FORCED_INCLUSION_BLOCKS,
    FORWARD_AFTER_BLOCKS,
    FULL_EVENTS,
    MISSES_MAX,
    Fairness,
)
from node.judgement import BatchRefused, Proposal
from node.mempool import Mempool
from tests.ledger.world import REGISTRY

WINDOW = 8
LONG = 2**40
KIND: EventType[object] = next(iter(REGISTRY.all()))
VICTIM = 0
"""The account that a censor leaves out."""
VICTIM_ID = b"%032d" % VICTIM
numbers = count()


def make_event(account: int, nonce: int, expires_beat: int = LONG) -> CheckedEvent:
    author = b"%032d" % account
    event = Event("a.b.c", 1, author, author, nonce, 0, bytes(32), expires_beat, b"")
    event_id = b"%032d" % next(numbers)
    return CheckedEvent(SignedEvent(b"x", None, bytes(64)), event, event_id, KIND, None, None, 100)


class Pool(Mempool):
    """A mempool that believes everything."""

    def put(self, event: CheckedEvent) -> None:
        waiting = self._accounts.setdefault(event.event.author, {})
        if event.event.nonce not in waiting:
            waiting[event.event.nonce] = event
            self._by_id[event.event_id] = event
            self._bytes += event.wire_bytes


class State:
    """The accounts' nonces, as one replica has executed them."""

    def __init__(self) -> None:
        self.nonces: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.nonces.get(key)

    def execute(self, pool: Pool, batch: Sequence[CheckedEvent]) -> None:
        for each in batch:
            self.nonces[keyspace.nonce(each.event.author)] = encode_number(each.event.nonce)
        pool.remove_executed((each.event_id, each.event.author, each.event.nonce) for each in batch)


@dataclass
class Node:
    pool: Pool = field(default_factory=Pool)
    state: State = field(default_factory=State)
    flying: deque[list[CheckedEvent]] = field(default_factory=deque[list[CheckedEvent]])

    def in_flight(self) -> list[CheckedEvent]:
        return [event for batch in self.flying for event in batch]

    def holds(self, event: CheckedEvent) -> bool:
        return int.from_bytes(self.state.nonces.get(keyspace.nonce(event.event.author), b""), "big") < event.event.nonce

    def take(self, event: CheckedEvent) -> None:
        if self.holds(event):
            self.pool.put(event)

    def execute_one(self) -> None:
        self.state.execute(self.pool, self.flying.popleft())


class Backup(Node):
    """One that judges; without a network around it, what it passes on is remembered."""

    def __init__(self, events_max: int, pass_on: Callable[[CheckedEvent], object] | None = None) -> None:
        super().__init__()
        self.passed: list[CheckedEvent] = []
        self.fairness = Fairness(self.pool, events_max=events_max, pass_on=pass_on or self.passed.append)
        self.seq = 0
        self.view = 0

    def judge(self, batch: list[CheckedEvent], now_ms: int = 0) -> None:
        self.seq += 1
        self.fairness.judge(
            Proposal(None, tuple(batch)), view_number=self.view, seq=self.seq, in_flight=self.in_flight(),
            state=self.state, beat=0, now_ms=now_ms,
        )  # fmt: skip
        self.flying.append(batch)


# Whole runs of a primary and a backup, drawn from a seed.


@dataclass(frozen=True)
class Town:
    """How a run looks."""

    seed: int
    accounts: int
    events_max: int
    events_per_step: int
    step_ms: int
    lost_percent: int
    """Of the events, these never reach the primary unless they are passed on."""


towns = st.builds(
    Town,
    seed=st.integers(0, 2**32),
    accounts=st.integers(2, 60),
    events_max=st.integers(2, 12),
    events_per_step=st.integers(1, 15),
    step_ms=st.integers(1, 300),
    lost_percent=st.sampled_from([0, 1, 10]),
)
STEPS = 400
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""A run is drawn from its seed: there is nothing to shrink."""


class Run:
    """Events come, the primary proposes as the core does, and the backup judges; frames take up to DELAY_MS / 2."""

    def __init__(self, town: Town, *, ignored: bytes | None = None) -> None:
        """ignored: whose events the primary never takes; it fills its batches with those of others."""
        self.town = town
        self._ignored = ignored
        self.stream = random.Random(town.seed)
        self.now_ms = 0
        self.primary = Node()
        self.backup = Backup(town.events_max, pass_on=self.pass_on)
        self.first_at: int | None = None
        """The proposals that were judged when the victim's event came to the backup."""
        self.passed_ms: int | None = None
        """When the victim's first event was passed on."""
        self.in_delay = 0
        """Proposals that were judged in DELAY_MS after that."""
        self._nonces = [0] * town.accounts
        self._frames: list[tuple[int, int, Callable[[], None]]] = []
        self._last_ms = 0

    def post(self, act: Callable[[], None], *, ordered: bool = False) -> None:
        at_ms = self.now_ms + self.stream.randint(0, DELAY_MS // 2)
        if ordered:
            at_ms = self._last_ms = max(self._last_ms, at_ms)
        self._frames.append((at_ms, next(numbers), act))

    def pass_on(self, event: CheckedEvent) -> None:
        if self.passed_ms is None and event.event.author == VICTIM_ID:
            self.passed_ms = self.now_ms
        self.post(lambda: self._reach_primary(event))

    def _reach_primary(self, event: CheckedEvent) -> None:
        if event.event.author != self._ignored:
            self.primary.take(event)

    def step_many(self, times: int) -> None:
        for _ in range(times):
            self.step()

    def step(self) -> None:
        self.now_ms += self.stream.randint(0, self.town.step_ms)
        due = sorted(frame for frame in self._frames if frame[0] <= self.now_ms)
        self._frames = [frame for frame in self._frames if frame[0] > self.now_ms]
        for _, _, act in due:
            act()
        for _ in range(self.stream.randint(0, self.town.events_per_step)):
            self._send(self.stream.randrange(self.town.accounts))
        while len(self.primary.flying) < WINDOW and self._propose():
            pass
        for node in (self.primary, self.backup):
            while node.flying and (len(node.flying) >= WINDOW or self.stream.randrange(3)):
                node.execute_one()

    def _send(self, account: int) -> None:
        self._nonces[account] += 1
        event = make_event(account, self._nonces[account])
        self.post(lambda: self._arrive(event))
        if self.stream.randrange(100) >= self.town.lost_percent:
            self.post(lambda: self._reach_primary(event))

    def _arrive(self, event: CheckedEvent) -> None:
        self.backup.take(event)
        if self.first_at is None and event.event.author == VICTIM_ID and event.event.nonce == 1:
            self.first_at = self.backup.seq

    def _propose(self) -> bool:
        """As `ConsensusCore`: while a batch is in flight only a full one leaves; now and then a beat does, alone."""
        pool, flying = self.primary.pool, self.primary.in_flight()
        batch: list[CheckedEvent] = []
        if not (flying and len(pool) - len(flying) < self.town.events_max):
            batch = pool.propose(self.primary.state, flying, 0, self.town.events_max, LONG)
        if not batch and self.stream.randrange(20):
            return False
        self.primary.flying.append(batch)
        self.post(lambda: self._judge(batch), ordered=True)
        return True

    def _judge(self, batch: list[CheckedEvent]) -> None:
        if self.passed_ms is not None and self.passed_ms <= self.now_ms < self.passed_ms + DELAY_MS:
            self.in_delay += 1
        self.backup.judge(batch, self.now_ms)


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(towns)
def test_a_correct_primary_is_never_refused(town: Town) -> None:
    run = Run(town)

    run.step_many(STEPS)


@settings(max_examples=30, deadline=None, phases=PHASES)
@given(towns)
@example(Town(seed=307, accounts=57, events_max=2, events_per_step=12, step_ms=57, lost_percent=10))
def test_who_leaves_out_an_account_is_refused_within_the_bound(town: Town) -> None:
    run = Run(town, ignored=VICTIM_ID)

    with pytest.raises(BatchRefused, match=f"of {VICTIM_ID.hex()[:16]}, nonce 1, ") as refused:
        run.step_many(10 * STEPS)

    first = int(str(refused.value).partition("from place ")[2].split()[0])
    assert run.first_at is not None
    assert first == run.first_at + 1
    excused = int(str(refused.value).partition("of ")[2].split()[-3])
    assert run.backup.seq - first <= FORCED_INCLUSION_BLOCKS + run.in_delay + excused


# By hand.


def other(batch: int, size: int = 1) -> list[CheckedEvent]:
    """A batch of accounts that were never seen before."""
    return [make_event(1_000 + batch * 100 + place, 1) for place in range(size)]


@pytest.fixture
def backup() -> Backup:
    backup = Backup(events_max=FULL_EVENTS)
    backup.take(make_event(VICTIM, 1))
    return backup


def leave_out(backup: Backup, batches: Sequence[list[CheckedEvent]], now_ms: int) -> None:
    for batch in batches:
        backup.judge(batch, now_ms)


def pass_on(backup: Backup) -> None:
    """The primary has lost its first excuse after this."""
    leave_out(backup, [other(number) for number in range(FORWARD_AFTER_BLOCKS)], 0)
    assert len(backup.passed) == 1


def test_an_event_that_is_left_out_is_passed_on_once_and_then_its_primary_is_refused(backup: Backup) -> None:
    leave_out(backup, [other(number) for number in range(FORWARD_AFTER_BLOCKS - 1)], 0)
    assert backup.passed == []
    leave_out(backup, [other(50)], 0)
    (passed,) = backup.passed
    leave_out(backup, [other(60 + number) for number in range(9)], DELAY_MS - 1)  # it may be on its way
    leave_out(backup, [other(70 + number) for number in range(MISSES_MAX)], DELAY_MS)

    with pytest.raises(BatchRefused) as refused:
        backup.judge(other(99), DELAY_MS)

    assert backup.passed == [passed]
    assert str(refused.value).startswith(
        f"leaves out event {passed.event_id.hex()} of {passed.event.author.hex()[:16]}, nonce 1, which could be "
        "included from place 1 on and was passed on to all: left out 13 times"
    )


def test_an_event_that_comes_at_last_ends_it(backup: Backup) -> None:
    pass_on(backup)
    leave_out(backup, [other(50 + number) for number in range(MISSES_MAX)], DELAY_MS)
    victim = next(iter(backup.pool.waiting()))

    leave_out(backup, [[victim], *(other(70 + number) for number in range(FORCED_INCLUSION_BLOCKS))], DELAY_MS)

    assert len(backup.passed) == 1


def test_the_next_event_of_an_account_that_is_served_counts_anew(backup: Backup) -> None:
    for nonce in range(2, 5):
        backup.take(make_event(VICTIM, nonce))

    for event in list(backup.pool.waiting()):
        leave_out(backup, [*(other(number) for number in range(FORWARD_AFTER_BLOCKS - 1)), [event]], DELAY_MS)

    assert backup.passed == []


def test_a_later_event_of_the_account_does_not_count_for_it(backup: Backup) -> None:
    pass_on(backup)
    leave_out(backup, [[make_event(VICTIM, 2)]] * MISSES_MAX, DELAY_MS)

    with pytest.raises(BatchRefused, match="nonce 1"):
        backup.judge([make_event(VICTIM, 2)], DELAY_MS)


def test_a_rival_for_its_nonce_is_as_good(backup: Backup) -> None:
    pass_on(backup)
    leave_out(backup, [other(50 + number) for number in range(MISSES_MAX)], DELAY_MS)

    leave_out(backup, [[make_event(VICTIM, 1)], *(other(number) for number in range(MISSES_MAX))], DELAY_MS)

    assert len(backup.passed) == 1


def test_a_new_view_begins_anew(backup: Backup) -> None:
    pass_on(backup)
    leave_out(backup, [other(50 + number) for number in range(MISSES_MAX)], DELAY_MS)
    backup.view = 1

    pass_on_again = [other(70 + number) for number in range(FORWARD_AFTER_BLOCKS)]
    leave_out(backup, pass_on_again, DELAY_MS)

    assert len(backup.passed) == 2  # `Relay.adopt` sends it once all the same


def test_what_could_not_be_executed_is_not_waited_for() -> None:
    backup = Backup(events_max=FULL_EVENTS)
    backup.take(make_event(1, 2))  # a gap
    backup.take(make_event(2, 1, expires_beat=0))

    leave_out(backup, [other(number) for number in range(3 * FORCED_INCLUSION_BLOCKS)], 10 * DELAY_MS)

    assert backup.passed == []


def test_full_batches_of_others_who_wait_are_an_excuse_up_to_a_bound(backup: Backup) -> None:
    pass_on(backup)
    for number in range(EXCUSED_MAX):
        backup.judge(other(100 + number, FULL_EVENTS), DELAY_MS)
        backup.execute_one()

    with pytest.raises(BatchRefused, match=f"left out 0 times .*, and of {EXCUSED_MAX + 1} full batches"):
        backup.judge(other(0, FULL_EVENTS), DELAY_MS)


@pytest.mark.parametrize("is_twice_in_one", [False, True])
def test_who_is_served_twice_has_overtaken(backup: Backup, is_twice_in_one: bool) -> None:
    pass_on(backup)
    full = other(50, FULL_EVENTS)
    backup.judge(full, DELAY_MS)
    batches = [other(100 + number, FULL_EVENTS - 1) for number in range(MISSES_MAX + 1)]

    def add_one(batch: list[CheckedEvent]) -> list[CheckedEvent]:
        return [*batch, batch[0] if is_twice_in_one else full[0]]

    leave_out(backup, [add_one(batch) for batch in batches[:-1]], DELAY_MS)
    with pytest.raises(BatchRefused, match=r"left out 13 times .*, and of 1 full batches"):
        backup.judge(add_one(batches[-1]), DELAY_MS)


def test_who_has_an_event_in_flight_is_served_last(backup: Backup) -> None:
    victim = next(iter(backup.pool.waiting()))
    backup.take(make_event(VICTIM, 2))
    backup.judge([victim])  # and it is never executed
    leave_out(backup, [other(number) for number in range(FORWARD_AFTER_BLOCKS)], 0)
    same = other(50, FULL_EVENTS)

    leave_out(backup, [same] * (2 * FORCED_INCLUSION_BLOCKS), DELAY_MS)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fairness, "SERVED_MAX", 10)
    monkeypatch.setattr(fairness, "WATCHED_MAX", 4)
    backup = Backup(events_max=FULL_EVENTS)
    for account in range(9):
        backup.take(make_event(account, 1))

    leave_out(backup, [other(number, 3) for number in range(FORWARD_AFTER_BLOCKS)], 0)

    assert [each.event.author for each in backup.passed] == [b"%032d" % account for account in range(4)]
    assert len(backup.fairness._served) == 10
    assert len(backup.fairness._waits) == 4


def test_a_batch_that_is_full_by_its_bytes_has_more_than_full_events() -> None:
    """So the rule need not look at bytes."""
    assert (BATCH_BYTES_MAX - BATCH_MARGIN_BYTES - SIGNED_EVENT_BYTES_MAX) // SIGNED_EVENT_BYTES_MAX > FULL_EVENTS
