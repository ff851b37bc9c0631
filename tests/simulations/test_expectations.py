"""What scenarios expect: for each key a run that shows it passes, and one that does not fails, with both told."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from consensus.messages import (
    NULL_DIGEST,
    Cited,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Reproposal,
    ViewChange,
)
from ledger.receipts import SKIPPED
from simulations.checkers import Checker
from simulations.checkers.expected import Expect
from simulations.checkers.expected.places import ExpectedPlaces
from simulations.checkers.expected.replicas import ExpectedReplicas
from simulations.checkers.expected.views import ExpectedViews
from simulations.checkers.expected.work import ExpectedWork
from simulations.observations import (
    Accused,
    BlockMade,
    Certified,
    CheckFailed,
    Delivered,
    Dropped,
    EnteredView,
    FaultChanged,
    Halted,
    Observation,
    Paced,
    ProposalRefused,
    Scripted,
    Sent,
    Submitted,
    Syncing,
)
from tests.consensus.harness import digest_of, make_certificate, sign
from tests.ledger.world import World, id_of
from tests.simulations.observed import CORRECT, feed, made, make_blocks, post, sent_by

A, B = digest_of(b"a"), digest_of(b"b")


def leaves(replica: int, view: int, at_ms: int = 0) -> Sent:
    return replace(sent_by(replica, sign(ViewChange((), replica, None, view))), at_ms=at_ms)


def hears(replica: int, source: int, view: int) -> Delivered:
    return Delivered(0, source, replica, sign(ViewChange((), source, None, view)), 0)


def enters(*replicas: int, view: int = 1, at_ms: int = 0) -> list[Observation]:
    return [EnteredView(at_ms, replica, view) for replica in replicas]


PROPOSED = sent_by(0, sign(PrePrepare(A, 0, 1, 0)), b"a")
HEALED = FaultChanged(50, "healed [0, 1, 2]")


def judge(checker: Checker, observations: Sequence[Observation], failure: str | None) -> None:
    """Show a run; it must pass, or fail with these words."""
    if failure is None:
        feed(checker, observations)
        return
    with pytest.raises(CheckFailed, match=failure):
        feed(checker, observations)


@pytest.mark.parametrize(
    ("expect", "observations", "failure"),
    [
        ({"views": (1, 2)}, enters(0, view=2), None),
        ({"views": (1, 2)}, enters(0, view=3), "no view above 2; found view 3"),
        ({"views": (1, 2)}, [], "view 1 to be entered; found view 0"),
        ({"left_because": ("waited",)}, [leaves(1, 1)], None),
        ({"left_because": ()}, [leaves(1, 1)], "nothing; found waited: replica 1 to view 1"),
        ({"left_because": ("waited",)}, [], "found no view left"),
        ({"left_because": ()}, [hears(1, 0, 1), hears(1, 2, 1), leaves(1, 1)], None),
        ({"left_because": ("refused",)}, [ProposalRefused(0, 1, 0, 3, "late"), leaves(1, 1)], None),
        ({"left_because": ("refused",)}, [ProposalRefused(0, 2, 0, 3, "late"), leaves(1, 1)], "found waited"),
        ({"left_because": ("waited", "no_new_view")}, [leaves(1, 1), leaves(1, 2)], None),
        ({"left_because": ("waited",)}, [leaves(1, 1), *enters(1), leaves(1, 2)], None),
        ({"reached_view": 1, "reached_within_ms": 9}, [PROPOSED, *enters(0, 1, 2, at_ms=9)], None),
        ({"reached_view": 1, "reached_within_ms": 9}, [PROPOSED, *enters(0, 1, 2, at_ms=10)], "found after 10 ms"),
        ({"reached_view": 1, "reached_within_ms": 9}, [PROPOSED, *enters(0, 1, at_ms=9)], "found never"),
        ({"timeout_ms_peak_min": 800}, [Paced(0, 1, 800)], None),
        ({"timeout_ms_peak_min": 800}, [Paced(0, 1, 400), Paced(0, 3, 800)], "found 400 ms"),
        ({"timeout_ms_end_max": 400}, [Paced(0, 1, 800), HEALED, Paced(60, 1, 400)], None),
        ({"timeout_ms_end_max": 400}, [Paced(0, 1, 400), HEALED, Paced(60, 1, 800)], "found 800 ms"),
    ],
)
def test_views(expect: dict[str, Any], observations: list[Observation], failure: str | None) -> None:
    judge(ExpectedViews(Expect(**expect), CORRECT, 1, 3), observations, failure)


def test_a_proposal_that_is_executed_does_not_count_for_the_time_that_a_view_takes(world: World) -> None:
    later = replace(sent_by(0, sign(PrePrepare(A, 0, 2, 0)), b"a"), at_ms=50)
    run: list[Observation] = [PROPOSED, made(0, make_blocks(world, 1)[0], 40), later, *enters(0, 1, 2, at_ms=60)]

    judge(ExpectedViews(Expect(reached_view=1, reached_within_ms=10), CORRECT, 1, 3), run, None)
    judge(ExpectedViews(Expect(reached_view=1, reached_within_ms=9), CORRECT, 1, 3), run, "found after 10 ms")


ACCUSES = Accused(0, 1, sign(Commit(A, 3, 1, 0)), sign(Commit(B, 3, 1, 0)))
STOPS = Halted(0, 3, "own header differs")
VOTES = sent_by(3, sign(Prepare(A, 3, 5, 0)))


@pytest.mark.parametrize(
    ("expect", "observations", "failure"),
    [
        ({"accused": (3,)}, [ACCUSES], None),
        ({"accused": (3,)}, [], r"against \[3\]; found against \[\]"),
        ({"accused": ()}, [ACCUSES], r"found against \[3\]"),
        ({"halted": (3,), "halted_because": "differs"}, [STOPS], None),
        ({"halted": (3,)}, [], "found nobody"),
        ({"halted": ()}, [STOPS], "found replica 3: own header differs"),
        ({"halted": (3,), "halted_because": "disk"}, [STOPS], "found own header differs"),
        ({"halted": (3,)}, [STOPS, VOTES], "no vote of replica 3, which has stopped; found a Prepare"),
        ({"voted_again": (3,)}, [Syncing(0, 3, True), Syncing(1, 3, False), VOTES], None),
        ({"voted_again": (3,)}, [VOTES, Syncing(0, 3, True), Syncing(1, 3, False)], r"found not \[3\]"),
        ({"voted_again": (3,)}, [VOTES], r"found not \[3\]"),
        ({"fetched": (3,)}, [], "replica 3 to fetch 1 blocks or more; found 0"),
    ],
)
def test_replicas(expect: dict[str, Any], observations: list[Observation], failure: str | None) -> None:
    judge(ExpectedReplicas(Expect(**expect), CORRECT, 1), observations, failure)


def test_fetched_blocks(world: World) -> None:
    blocks = [BlockMade(0, 3, block, True) for block in make_blocks(world, 2)]

    judge(ExpectedReplicas(Expect(fetched=(3,), fetched_min=2), CORRECT, 1), blocks, None)
    judge(ExpectedReplicas(Expect(fetched=(3,), fetched_min=3), CORRECT, 1), blocks, "found 2")


def test_nothing_is_stable_once_too_many_differ(world: World) -> None:
    expect = Expect(no_stable_after_divergence=True)
    first, second = make_blocks(world, 2)
    other = replace(second, hash=bytes(32))
    apart: list[Observation] = [made(0, first), made(0, second), made(1, second), made(2, other)]
    beyond: list[Observation] = [*apart, made(3, other)]
    below, above = (Certified(0, 0, make_certificate(seq, A)) for seq in (1, 2))

    judge(ExpectedReplicas(expect, CORRECT, 1), apart, "more than 1 replicas to differ at some height; found none")
    beyond.append(below)
    judge(ExpectedReplicas(expect, CORRECT, 1), beyond, None)
    beyond.append(above)
    judge(ExpectedReplicas(expect, CORRECT, 1), beyond, "no certificate from height 2 on")


DIED = (("view", 0), ("seq", 5), ("digest", A.hex()), ("asked", 2), ("executed", 2))


def begins(*proposals: tuple[int, bytes]) -> Sent:
    signed = sign(ViewChange((), 0, None, 1))
    given = tuple(Reproposal(digest, seq, bytes(64)) for seq, digest in proposals)
    return sent_by(1, sign(NewView(given, 1, 1, (Cited(signed.encoded, signed.signature),))))


@pytest.mark.parametrize(
    ("expect", "observations", "failure"),
    [
        ({"carried": (2,)}, [Scripted(0, "primary dies", DIED), begins((5, A))], None),
        ({"carried": (2,)}, [Scripted(0, "primary dies", DIED), begins((5, B))], "give place 5 to"),
        ({"carried": (2,)}, [Scripted(0, "primary dies", DIED), begins((4, A))], "found nothing"),
        ({"carried": (2,)}, [Scripted(0, "primary dies", DIED)], "1 without"),
        ({"carried": (2,)}, [], r"by \[2\] replicas to be carried over; found those by \[\]"),
        ({}, [Scripted(0, "primary dies", (*DIED[:4], ("executed", 3)))], "by exactly 2 replicas; found by 3"),
        ({"nulls_min": 1}, [begins((5, A), (6, NULL_DIGEST))], None),
        ({"nulls_min": 1}, [begins((5, A))], "1 null requests or more; found 0"),
    ],
)
def test_places(expect: dict[str, Any], observations: list[Observation], failure: str | None) -> None:
    judge(ExpectedPlaces(Expect(**expect)), observations, failure)


def test_how_long_an_account_waits(world: World) -> None:
    event = post(world)
    executed = world.execute(event)
    run: list[Observation] = [Submitted(10, 0, id_of(event), True), made(0, executed, 40)]
    expect = Expect(waiting_account=1, waiting_ms_max=30)

    judge(ExpectedWork(expect, CORRECT, world.ada.account), run, None)
    judge(ExpectedWork(expect, CORRECT, bytes(32)), run, "found no event of it")
    judge(ExpectedWork(replace(expect, waiting_ms_max=29), CORRECT, world.ada.account), run, "found 30 ms, from 10 ms")


def test_an_account_does_not_wait_while_an_earlier_event_is_missing(world: World) -> None:
    events = [post(world), post(world, "And again.")]
    executed = world.execute(*events)
    run: list[Observation] = [Submitted(30, 0, id_of(events[0]), True), made(0, executed, 40)]
    run.insert(0, Submitted(10, 0, id_of(events[1]), True))

    judge(ExpectedWork(Expect(waiting_account=1, waiting_ms_max=10), CORRECT, world.ada.account), run, None)


def test_how_much_is_executed_before_the_world_is_healed(world: World) -> None:
    (block,) = make_blocks(world, 1)
    expect = Expect(executed_before_heal_min=2)

    judge(ExpectedWork(expect, CORRECT, b""), [made(0, block), HEALED], None)
    judge(ExpectedWork(expect, CORRECT, b""), [HEALED, made(0, block)], "2 events executed while .*; found 0")


def test_events_that_execution_skips(world: World) -> None:
    (block,) = make_blocks(world, 1)
    again = replace(block, receipts=tuple(replace(each, outcome=SKIPPED) for each in block.receipts))

    judge(ExpectedWork(Expect(skipped_min=2), CORRECT, b""), [made(0, block), made(0, again)], None)
    judge(ExpectedWork(Expect(skipped_min=1), CORRECT, b""), [made(0, again)], "1 events that are skipped; found 0")


def told(act: str, **facts: int | str) -> Scripted:
    return Scripted(0, act, tuple(facts.items()))


REFUSED = told("resubmitted", replica=1, answer="event.nonce_used")


@pytest.mark.parametrize(
    ("expect", "observations", "failure"),
    [
        ({"refused_min": 1}, [Dropped(0, 3, 1, "refused Prepare: no signature")], None),
        ({"refused_min": 1}, [Dropped(0, 3, 1, "lost Prepare")], "1 messages refused; found 0"),
        ({"resubmitted_min": 2}, [REFUSED, REFUSED], None),
        ({"resubmitted_min": 2}, [REFUSED], "2 old events refused; found 1"),
        ({}, [told("resubmitted", replica=1, answer="accepted")], "event.nonce_used; found accepted"),
        ({"points": ("send",)}, [told("killed at", point="send")], None),
        ({"points": ("send", "log synced")}, [told("killed at", point="send")], "found none at log synced"),
        ({"tears_min": 2}, [told("killed at", point="x", kept=at) for at in (3, 4)], None),
        ({"tears_min": 2}, [told("killed at", point="x", kept=3)] * 2, "found 1"),
    ],
)
def test_work(expect: dict[str, Any], observations: list[Observation], failure: str | None) -> None:
    judge(ExpectedWork(Expect(**expect), CORRECT, b""), observations, failure)
