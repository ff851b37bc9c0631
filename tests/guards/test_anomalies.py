"""Anomalies: denials, vetoes and faults are counted by account and epoch, and make AEGIS stricter."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import keyspace
from ledger.conduct import (
    ANOMALIES,
    FAMILIES,
    FAULTS,
    VETOES,
    Conduct,
    Denials,
    count_denial,
    list_conduct_events,
    read_conduct_in,
    read_threshold,
)
from ledger.judgement import GuardStack, Judged
from ledger.policies import AegisPolicy
from ledger.primitives.records import encode_record
from ledger.receipts import DENIED, Receipt
from ledger.registry import Registry
from ledger.verdict import ERROR, SEVERITIES, WARNING, Verdict, allow, deny, graded
from tests.economy.town import Town
from tests.guards.court import GUARDS, STACK, Court, Probed, changed, make_probe
from tests.ledger import world as worlds
from tests.ledger.world import REGISTRY, Person

THRESHOLDS = {f"anomaly_{family}": 3 for family in FAMILIES} | {"anomaly_vetoes": 3}


def remember(court: Court, conduct: Conduct) -> None:
    court.draft.put(keyspace.conduct(court.people[0]), encode_record(conduct))


def judge(court: Court, severities: list[str]) -> Judged:
    found = [graded(allow("FOUND", "Found."), severity) for severity in severities]
    guard = changed(GUARDS["safety"], judge=lambda case: found, audit=None)
    return court.judge(make_probe(), Probed(), stack=GuardStack((guard,), STACK.meta, STACK.decide))


def noting(*kinds: str, epoch: int = 0) -> Conduct:
    return Conduct(epoch, 0, 0, 0, Denials(noted=tuple(sorted(kinds))))


# What AEGIS makes of it.


@pytest.mark.parametrize("kind", ANOMALIES)
def test_an_anomaly_makes_one_grave_finding_too_many_and_the_verdict_names_it(court: Court, kind: str) -> None:
    remember(court, noting(kind))

    judged = judge(court, [ERROR])

    assert judged.vetoed is not None
    assert judged.vetoed.code == "AEGIS_ERRORS_TOGETHER"
    assert judged.vetoed.facts == {"anomalies": kind, "errors": 2, "faults": 0, "warnings": 0}


def test_an_anomaly_alone_or_with_a_light_finding_stops_nothing_and_is_told(court: Court) -> None:
    remember(court, noting(*ANOMALIES))

    judged = [judge(court, severities) for severities in ([], [WARNING])]

    assert [each.allowed for each in judged] == [True, True]
    assert {each.verdicts[-1].facts["anomalies"] for each in judged} == {" ".join(sorted(ANOMALIES))}


def test_an_anomaly_of_another_epoch_weighs_nothing(court: Court) -> None:
    remember(court, noting(*ANOMALIES, epoch=1))

    judged = judge(court, [ERROR])

    assert judged.allowed
    assert judged.verdicts[-1].facts == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    st.lists(st.sampled_from(SEVERITIES), max_size=8),
    st.integers(0, 4),
    st.frozensets(st.sampled_from(ANOMALIES)),
    st.frozensets(st.sampled_from(ANOMALIES)),
)
def test_a_further_anomaly_never_makes_the_outcome_milder(
    court: Court, severities: list[str], faults: int, some: frozenset[str], more: frozenset[str]
) -> None:
    remember(court, changed(noting(*some), faults=faults))
    fewer = judge(court, severities).allowed
    remember(court, changed(noting(*(some | more)), faults=faults))

    assert fewer or not judge(court, severities).allowed


# What is counted.


@pytest.mark.parametrize("kind", [*FAMILIES, VETOES])
def test_the_count_that_reaches_its_threshold_is_noted_once_and_one_below_is_not(court: Court, kind: str) -> None:
    account, threshold = court.people[0], read_threshold(AegisPolicy(), kind)
    verdicts = () if kind == VETOES else (deny("NO", "No.")._replace(guard=f"{kind}@1"),)
    for _ in range(threshold - 1):
        court.draft.write(count_denial(court.draft, account, 0, verdicts, vetoed=kind == VETOES))
    below = list(list_conduct_events(court.draft, account, 0, 0))
    court.draft.write(count_denial(court.draft, account, 0, verdicts, vetoed=kind == VETOES))
    ((event, body),) = list_conduct_events(court.draft, account, 0, 0)
    court.draft.write(event.apply(court.draft, court.entry(body)))

    assert below == []
    assert (event.name, body.count, body.kind, body.threshold) == (  # type: ignore[union-attr]
        "guards.AnomalyNoted", threshold, kind, threshold,
    )  # fmt: skip
    assert list(list_conduct_events(court.draft, account, 0, 0)) == []
    assert list(list_conduct_events(court.draft, account, 0, 1)) == []


def test_an_event_counts_once_for_each_family_whatever_else_denied_it(court: Court) -> None:
    account = court.people[0]
    guards = ("sybil@1", "sybil@1", "economics@1", "content.Probed@1", "judgement@1")
    verdicts = tuple(deny("NO", "No.")._replace(guard=guard) for guard in guards)

    court.draft.write(count_denial(court.draft, account, 0, (*verdicts, _passed("safety@1")), vetoed=False))

    assert read_conduct_in(court.draft, account, 0).denials == Denials(economics=1, sybil=1)


def test_a_count_stays_at_the_largest_number_that_it_can_hold(court: Court) -> None:
    account = court.people[0]
    remember(court, Conduct(0, 2**32 - 1, 0, 0, Denials(vetoes=2**32 - 1)))

    court.draft.write(count_denial(court.draft, account, 0, (), vetoed=True))

    assert read_conduct_in(court.draft, account, 0).count(VETOES) == 2**32 - 1


def _passed(guard: str) -> Verdict:
    return allow("YES", "Yes.")._replace(guard=guard)


# On a chain.


class Hall(Town):
    """A town whose first person is denied by the sybil guard as often as he likes."""

    def __init__(self, folder: Path) -> None:
        def deny_first(case: Any) -> Iterator[Verdict]:
            if case.entry.author == self.people[0].account and case.kind.name == "content.Probed":
                yield deny("SYBIL_POST_RATE", "Too much.")

        guards = tuple(
            changed(guard, judge=deny_first) if guard.name == "sybil" else guard for guard in REGISTRY.stack.guards
        )
        stack = GuardStack(guards, REGISTRY.stack.meta, REGISTRY.stack.decide)
        super().__init__(
            folder, 2, {"aegis": THRESHOLDS}, Registry([*REGISTRY.all(), PROBED], stack, REGISTRY.at_close)
        )

    def probe(self, person: Person) -> list[Receipt]:
        return list(self.execute(self.sign(person, Probed, space=bytes(32))).receipts)


PROBED = make_probe()


@pytest.fixture
def hall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hall]:
    monkeypatch.setitem(worlds.KINDS, Probed, PROBED)
    hall = Hall(tmp_path / "hall")
    yield hall
    hall.store.close()


def test_repeated_denials_are_noted_once_in_an_epoch_and_again_in_the_next(hall: Hall) -> None:
    first = [[receipt.event_type for receipt in hall.probe(hall.people[0])[1:]] for _ in range(5)]
    conduct = read_conduct_in(hall.store, hall.people[0].account, hall.chain.head.header.epoch)
    hall.close_epoch()
    second = [[receipt.event_type for receipt in hall.probe(hall.people[0])[1:]] for _ in range(3)]

    assert first == [[], [], ["guards.AnomalyNoted"], [], []]
    assert conduct.denials == Denials(sybil=5, noted=("sybil",))
    assert second == [[], [], ["guards.AnomalyNoted"]]
    assert hall.probe(hall.people[1])[0].outcome != DENIED


def test_two_nodes_count_alike(tmp_path: Path, hall: Hall) -> None:
    other = Hall(tmp_path / "other")
    for town in (hall, other):
        for _ in range(4):
            town.probe(town.people[0])
        town.close_epoch()
        town.probe(town.people[0])

    assert hall.chain.head.header.state_digest == other.chain.head.header.state_digest
    assert hall.chain.head.hash == other.chain.head.hash
    other.store.close()


def test_faults_and_denials_have_their_own_thresholds() -> None:
    assert {kind: read_threshold(AegisPolicy(), kind) for kind in ANOMALIES} == {
        "constitution": 5, "economics": 20, FAULTS: 2, "safety": 3, "sybil": 20, VETOES: 3,
    }  # fmt: skip
