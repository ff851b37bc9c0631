"""AEGIS: it stops what the other guards let pass, leaves the state as it was, and never makes an outcome milder."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import keyspace, transition
from ledger.conduct import (
    CIRCUIT_TRIPPED,
    AegisCircuitTripped,
    Conduct,
    compute_quarantine_end,
    is_frozen,
    is_quarantined,
    read_conduct,
)
from ledger.events import Entry, EventType, Put, View, Write
from ledger.judgement import GuardStack
from ledger.policies import AegisPolicy
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import U32, encode_record
from ledger.receipts import APPLIED, DENIED, Receipt
from ledger.registry import Registry
from ledger.settlement import settle_epoch
from ledger.state import encode_number
from ledger.transition import Executed
from ledger.verdict import CRITICAL, ERROR, INFO, SEVERITIES, WARNING, Verdict, allow, graded
from social.follows import AccountFollowed
from social.posts import PostPublished
from tests.economy.town import Town
from tests.guards.court import GUARDS, STACK, Court, Probed, changed, make_probe
from tests.ledger import world as worlds
from tests.ledger.world import REGISTRY, Person

# What it may do, for any verdicts.

VERDICTS = st.lists(
    st.builds(Verdict, st.booleans(), st.just("FOUND"), st.just("Found."), st.just({}), st.sampled_from(SEVERITIES)),
    max_size=12,
)


def judge(court: Court, verdicts: list[Verdict], kind: EventType[Any] | None = None) -> tuple[bool, list[Verdict]]:
    guard = changed(GUARDS["safety"], judge=lambda case: verdicts, audit=None)
    judged = court.judge(kind or make_probe(), Probed(), stack=GuardStack((guard,), STACK.meta, STACK.decide))
    assert judged.verdicts[-1].guard == GUARDS["aegis"].cite
    return judged.allowed, list(judged.verdicts)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(VERDICTS, st.booleans())
def test_whatever_a_guard_denies_stays_denied(court: Court, verdicts: list[Verdict], quarantined: bool) -> None:
    until = 9 if quarantined else 0
    court.draft.put(keyspace.conduct(court.people[0]), encode_record(Conduct(0, 0, until, 1)))

    allowed, found = judge(court, verdicts)

    assert allowed == all(verdict.allowed for verdict in found)
    assert not (allowed and quarantined)
    if allowed:
        assert all(verdict.allowed for verdict in verdicts)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(VERDICTS, st.sampled_from(SEVERITIES))
def test_a_graver_finding_never_makes_the_outcome_milder(court: Court, verdicts: list[Verdict], severity: str) -> None:
    allowed, _ = judge(court, verdicts)
    further, _ = judge(court, [*verdicts, graded(allow("MORE", "More."), severity)])

    assert allowed or not further


@pytest.mark.parametrize(
    ("severities", "code"),
    [
        ([], "AEGIS_CLEAR"),
        ([ERROR], "AEGIS_CLEAR"),
        ([ERROR, ERROR], "AEGIS_ERRORS_TOGETHER"),
        ([CRITICAL], "AEGIS_CRITICAL"),
        ([ERROR, WARNING, WARNING], "AEGIS_CLEAR"),
        ([ERROR, WARNING, WARNING, WARNING], "AEGIS_ERRORS_TOGETHER"),
        ([WARNING] * 5, "AEGIS_CLEAR"),
        ([WARNING] * 6, "AEGIS_ERRORS_TOGETHER"),
        ([INFO] * 30, "AEGIS_CLEAR"),
    ],
)
def test_grave_findings_and_warnings_add_up(court: Court, severities: list[str], code: str) -> None:
    verdicts = [graded(allow("FOUND", "Found."), severity) for severity in severities]

    allowed, found = judge(court, verdicts)

    assert found[-1].code == code
    assert allowed == (code == "AEGIS_CLEAR")
    assert found[-1].policy == "aegis@1"


@pytest.mark.parametrize(
    ("faults", "epoch", "severities", "allowed"),
    [
        (1, 0, [ERROR], False),
        (1, 0, [WARNING] * 3, False),
        (1, 0, [WARNING], True),
        (2, 0, [], True),
        (0, 0, [ERROR], True),
        (1, 9, [ERROR], True),  # of another epoch
    ],
)
def test_a_fault_in_the_epoch_makes_a_grave_finding_one_too_many(
    court: Court, faults: int, epoch: int, severities: list[str], allowed: bool
) -> None:
    court.draft.put(keyspace.conduct(court.people[0]), encode_record(Conduct(epoch, faults, 0, 0)))

    found, verdicts = judge(court, [graded(allow("FOUND", "Found."), severity) for severity in severities])

    assert found == allowed
    assert verdicts[-1].code == ("AEGIS_CLEAR" if allowed else "AEGIS_ERRORS_TOGETHER")


def test_keys_and_appeals_stay_open_in_quarantine_and_in_a_frozen_module(court: Court) -> None:
    court.draft.put(keyspace.conduct(court.people[0]), encode_record(Conduct(0, 0, 64, 1)))

    outcomes = {
        name: judge(court, [], make_probe(name=f"{name}.Probed"))[0] for name in ("identity", "appeals", "content")
    }  # fmt: skip

    assert outcomes == {"identity": True, "appeals": True, "content": False}


# On a chain.


@dataclass(frozen=True, slots=True)
class Doubtful:
    """An event whose own guards let grave findings pass: so many errors, warnings and critical ones."""

    criticals: U32
    errors: U32
    warnings: U32


@dataclass(frozen=True, slots=True)
class Faulty:
    """An event whose rules raise an error: ERRORS[error], at a place of PLACES."""

    error: U32
    place: U32


ERRORS = (
    AssertionError, AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, ZeroDivisionError,
    struct.error,
)  # fmt: skip
"""What a faulty rule may raise."""
PLACES = ("guard", "before", "midway", "after", "touches", "endorses", "none")
COUNTED = b"sp" + b"doubtful".ljust(32, b".")


def let_pass(number: int, severity: str, name: str) -> Any:
    def guard(view: View, entry: Entry[Doubtful]) -> Verdict:
        grave = number < getattr(entry.body, name)
        return graded(allow(f"FOUND_{severity}_{number}", "Found."), severity if grave else INFO)

    return guard


def apply_doubtful(view: View, entry: Entry[Doubtful]) -> Iterator[Write]:
    yield Put(COUNTED, encode_number(entry.log_index))


def fail_at(place: str, body: Faulty) -> None:
    if PLACES[body.place] == place:
        raise ERRORS[body.error](f"planted, at {id(body)}")


def fail_in_guard(view: View, entry: Entry[Faulty]) -> Verdict:
    fail_at("guard", entry.body)
    return allow("FINE", "Fine.")


def apply_faulty(view: View, entry: Entry[Faulty]) -> Iterator[Write]:
    fail_at("before", entry.body)
    yield Put(COUNTED, encode_number(1))
    fail_at("midway", entry.body)
    yield Put(keyspace.balance("FLX", entry.author), encode_number(10**6 * SCALE))
    fail_at("after", entry.body)


def touch_faulty(entry: Entry[Faulty]) -> tuple[bytes, ...]:
    fail_at("touches", entry.body)
    return ()


def endorse_faulty(view: View, entry: Entry[Faulty]) -> None:
    fail_at("endorses", entry.body)


DOUBTFUL = EventType(
    name="content.Doubtful", version=1, body=Doubtful, apply=apply_doubtful, summary="A doubt.",
    example=Doubtful(0, 0, 0),
    guards=(
        *(let_pass(number, ERROR, "errors") for number in range(3)),
        *(let_pass(number, WARNING, "warnings") for number in range(6)),
        let_pass(0, CRITICAL, "criticals"),
    ),
)  # fmt: skip
FAULTY = EventType(
    name="content.Faulty", version=1, body=Faulty, guards=(fail_in_guard,), apply=apply_faulty, summary="A fault.",
    example=Faulty(0, 0), touches=touch_faulty, endorses=endorse_faulty, weight=SCALE // 100,
)  # fmt: skip


class Hall(Town):
    """A town that knows these two events, with short quarantines."""

    def __init__(self, folder: Path) -> None:
        policies = {"aegis": {"quarantine_beats": 3, "quarantine_beats_max": 8}}
        registry = Registry([*REGISTRY.all(), DOUBTFUL, FAULTY], REGISTRY.stack)
        super().__init__(folder, 3, policies, registry)
        self.bad, self.good, self.third = self.people

    def state_keys(self) -> dict[bytes, bytes]:
        return dict(self.store.iterate(keyspace.STATE, keyspace.after(keyspace.STATE)))

    def fault(self, person: Person, error: int = 0, place: str = "midway") -> Executed:
        return self.execute(self.sign(person, Faulty, error=error, place=PLACES.index(place)))

    def quarantined_until(self, person: Person) -> int:
        conduct = read_conduct(self.store, person.account)
        return 0 if conduct is None else conduct.quarantined_until

    def head_beat(self) -> int:
        return self.chain.head.header.beat


@pytest.fixture
def hall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hall]:
    monkeypatch.setitem(worlds.KINDS, Doubtful, DOUBTFUL)
    monkeypatch.setitem(worlds.KINDS, Faulty, FAULTY)
    hall = Hall(tmp_path / "hall")
    yield hall
    hall.store.close()


def expect_veto(hall: Hall, executed: Executed, before: dict[bytes, bytes], code: str, person: Person) -> None:
    """The event has no effect but its receipt, nonce and count; two events say who stopped it, and that it is so."""
    denied, vetoed, rolled_back = executed.receipts
    assert (denied.outcome, vetoed.event_type, rolled_back.event_type) == (
        DENIED, "guards.AegisVetoed", "guards.AegisRollbackApplied",
    )  # fmt: skip
    assert [verdict.code for verdict in denied.verdicts if not verdict.allowed] == [code]
    assert denied.explanation == denied.verdicts[-1].because
    assert vetoed.inputs == {
        "code": code, "severity": denied.verdicts[-1].severity, "target": denied.event_id.hex()
    }  # fmt: skip
    assert rolled_back.inputs["target"] == denied.event_id.hex()
    assert rolled_back.inputs["before"] == rolled_back.inputs["after"] == executed.header.state_digest.hex()
    after = hall.state_keys()
    changes = {key for key in sorted(after | before) if after.get(key) != before.get(key)}
    assert changes == {keyspace.nonce(person.account), keyspace.conduct(person.account)}


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ({"errors": 2}, "AEGIS_ERRORS_TOGETHER"),
        ({"errors": 1, "warnings": 3}, "AEGIS_ERRORS_TOGETHER"),
        ({"warnings": 6}, "AEGIS_ERRORS_TOGETHER"),
        ({"criticals": 1}, "AEGIS_CRITICAL"),
    ],
)
def test_a_veto_leaves_two_events_and_the_state_as_it_was(hall: Hall, found: dict[str, int], code: str) -> None:
    fine: dict[str, Any] = {"criticals": 0, "errors": 0, "warnings": 0}
    passed = hall.execute(hall.sign(hall.good, Doubtful, **(fine | {"errors": 1, "warnings": 2})))
    assert [receipt.outcome for receipt in passed.receipts] == [APPLIED]
    before = hall.state_keys()

    executed = hall.execute(hall.sign(hall.bad, Doubtful, **(fine | found)))

    expect_veto(hall, executed, before, code, hall.bad)


def test_three_faults_in_an_epoch_put_their_author_into_quarantine_and_it_ends_by_itself(hall: Hall) -> None:
    hall.beat()
    first, second = (hall.fault(hall.bad) for _ in range(2))
    assert [receipt.event_type for receipt in first.receipts] == ["content.Faulty", "guards.Cir302Raised"]
    assert [receipt.event_type for receipt in second.receipts][2:] == ["guards.AnomalyNoted"]
    third = hall.fault(hall.bad)

    assert [receipt.event_type for receipt in third.receipts][2:] == ["guards.AccountQuarantined"]
    assert hall.quarantined_until(hall.bad) == hall.head_beat() + 3
    before = hall.state_keys()
    expect_veto(hall, hall.execute(post(hall, hall.bad)), before, "AEGIS_ACTOR_QUARANTINED", hall.bad)
    assert hall.execute(post(hall, hall.good)).receipts[0].outcome == APPLIED
    for _ in range(2):
        hall.beat()
    assert hall.execute(post(hall, hall.bad)).receipts[0].outcome == DENIED
    hall.beat()
    assert not is_quarantined(hall.store, hall.bad.account, hall.head_beat())
    assert hall.execute(post(hall, hall.bad)).receipts[0].outcome == APPLIED


def test_each_quarantine_is_twice_the_last_up_to_the_cap(hall: Hall) -> None:
    lengths: list[int] = []
    for _ in range(4):
        while is_quarantined(hall.store, hall.bad.account, hall.head_beat()):
            hall.beat()
        for _ in range(3):
            hall.fault(hall.bad)
        lengths.append(hall.quarantined_until(hall.bad) - hall.head_beat())

    assert lengths == [3, 6, 8, 8]


def test_the_quarantine_of_the_first_policy_is_64_beats_doubling_to_512() -> None:
    ends = [compute_quarantine_end(Conduct(0, 3, 0, times), 1_000, AegisPolicy()) for times in range(6)]

    assert ends == [1_064, 1_128, 1_256, 1_512, 1_512, 1_512]
    assert compute_quarantine_end(Conduct(0, 2, 0, 0), 1_000, AegisPolicy()) is None
    assert compute_quarantine_end(Conduct(0, 3, 0, 2**32 - 1), 0, AegisPolicy()) == 512


def test_faults_of_different_epochs_do_not_add_up(hall: Hall) -> None:
    for _ in range(2):
        hall.fault(hall.bad)
    hall.close_epoch()
    for _ in range(2):
        hall.fault(hall.bad)

    assert hall.quarantined_until(hall.bad) == 0
    hall.fault(hall.bad)
    assert hall.quarantined_until(hall.bad) > 0


@pytest.mark.parametrize("place", PLACES[:-1])
@pytest.mark.parametrize("error", range(len(ERRORS)))
def test_no_error_of_a_rule_stops_the_chain(hall: Hall, error: int, place: str) -> None:
    before = hall.state_keys()
    executed = hall.fault(hall.bad, error, place)

    first, alarm = executed.receipts
    assert first.outcome == DENIED
    assert "CIR-302" in {verdict.code for verdict in first.verdicts}
    assert alarm.inputs["error"] == ERRORS[error].__name__
    after = hall.state_keys()
    assert {key for key in sorted(after | before) if after.get(key) != before.get(key)} == {
        keyspace.nonce(hall.bad.account), keyspace.conduct(hall.bad.account),
    }  # fmt: skip
    assert hall.execute(post(hall, hall.bad)).receipts[0].outcome == APPLIED


def test_a_frozen_module_stops_alone_until_the_next_epoch(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    def settle_and_trip(view: View, closed: int, *, pay: bool) -> Iterator[Any]:
        yield from settle_epoch(view, closed, pay=pay)
        if closed == 0:
            yield CIRCUIT_TRIPPED, AegisCircuitTripped(2, "content", "an alarm")

    monkeypatch.setattr(transition, "settle_epoch", settle_and_trip)
    hall.close_epoch()
    before = hall.state_keys()
    assert is_frozen(hall.store, "content", 1)

    expect_veto(hall, hall.execute(post(hall, hall.good)), before, "AEGIS_MODULE_FROZEN", hall.good)
    assert follow(hall).outcome == APPLIED
    hall.close_epoch()
    assert hall.execute(post(hall, hall.good)).receipts[0].outcome == APPLIED


def post(hall: Hall, person: Person) -> Any:
    return hall.sign(person, PostPublished, text="A good morning to everybody here.", tags=())


def follow(hall: Hall) -> Receipt:
    return hall.execute(hall.sign(hall.good, AccountFollowed, target=hall.third.account)).receipts[0]
