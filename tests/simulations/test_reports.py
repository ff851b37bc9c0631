"""Reports of a run made by hand: a line for each observation, and a picture that stands alone."""

import re
from xml.etree import ElementTree

from consensus.messages import Commit, Prepare, PrePrepare, Status, ViewChange
from simulations.observations import (
    Accused,
    Certified,
    Crashed,
    Delivered,
    Dropped,
    EnteredView,
    FaultChanged,
    Halted,
    Observation,
    Paced,
    ProposalRefused,
    Restarted,
    Scripted,
    Sent,
    Sized,
    Submitted,
    Syncing,
)
from simulations.reports.picture import make_picture
from simulations.reports.timeline import make_timeline
from tests.consensus.harness import digest_of, make_certificate, make_proof, sign
from tests.ledger.world import World
from tests.simulations.observed import made, make_blocks

A, B = digest_of(b"a"), digest_of(b"b")


def make_run(world: World) -> list[Observation]:
    """One of each, and time enough to choose windows."""
    block = make_blocks(world, 1)[0]
    return [
        Submitted(0, 2, B, True),
        Sent(1, 0, 1, sign(PrePrepare(A, 0, 1, 0)), b"a"),
        Delivered(5, 0, 1, sign(PrePrepare(A, 0, 1, 0)), 1),
        Delivered(9, 1, 2, sign(Prepare(A, 1, 1, 0)), 6),
        Dropped(10, 1, 3, "a <cut>"),
        made(0, block, 12),
        Certified(14, 0, make_certificate(1, block.hash)),
        Sized(15, 0, (("slots", 1, 16),)),
        FaultChanged(20, "cut {0} | {1, 2, 3}"),
        Crashed(30, 0, "power"),
        Delivered(45, 2, 1, sign(ViewChange((make_proof(0, 1, b"a"),), 2, None, 1)), 40),
        EnteredView(50, 1, 1),
        Restarted(60, 0, 2, 1),
        Delivered(70, 0, 1, sign(Status(1, True, 1, (), 0, None, (1,), 0, ())), 65),
        Accused(80, 2, sign(Commit(A, 3, 1, 0)), sign(Commit(B, 3, 1, 0))),
        Halted(90, 3, "own header differs"),
        Syncing(91, 1, True),
        ProposalRefused(92, 2, 1, 7, "too early"),
        Paced(93, 2, 4000),
        Scripted(94, "killed at", (("replica", 0), ("point", "send"))),
    ]


def test_a_line_for_each_observation(world: World) -> None:
    run = make_run(world)

    lines = make_timeline(run).splitlines()

    assert len(lines) == len(run) + 1
    assert lines[0].split() == ["ms", "replica", "what"]
    assert lines[3].split(maxsplit=2) == [
        "5",
        "1",
        f"receives from 0 after 4 ms: PRE-PREPARE of 0: view 0, place 1, {A.hex()[:8]}",
    ]
    assert lines[9].split(maxsplit=2) == ["20", "-", "FAULT: cut {0} | {1, 2, 3}"]
    assert "VIEW-CHANGE of 2: to view 1, stable 0, prepared [1@0]" in lines[11]
    assert all(len(line) < 200 for line in lines)
    assert [line.split(maxsplit=1)[1].strip() for line in lines[-4:]] == [
        "1        fetches blocks",
        "2        refuses proposal 7 of view 1: too early",
        "2        waits 4000 ms for a primary",
        "-        SCRIPT: killed at replica 0 point send",
    ]


def test_a_window_of_the_timeline_and_one_without_frames(world: World) -> None:
    run = make_run(world)

    window = make_timeline(run, 20, 50).splitlines()[1:]
    without = make_timeline(run, frames=False)

    assert [line.split()[0] for line in window] == ["20", "30", "45", "50"]
    assert "receives" not in without
    assert "RESTARTS at height 1, life 2" in without


def test_the_picture_stands_alone_and_shows_each_thing(world: World) -> None:
    page = make_picture(make_run(world), title="A <run>")

    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    ElementTree.fromstring(svg)  # well-formed
    assert not re.search(r"(src|href)=|http|@import|<script", page)
    assert "A &lt;run&gt;" in page
    assert "a &lt;cut&gt;" in page
    assert page.count('class="arrow"') == 4
    assert page.count('class="lost"') == 1
    assert page.count('class="fault"') == 1
    assert page.count('class="mark"') == 5
    for says in ("view 1", "down", "replica 3", "VIEW-CHANGE", "✖", "▲", "own header differs"):
        assert says in page, says


def test_bands_follow_views_and_crashes(world: World) -> None:
    page = make_picture(make_run(world))

    bands = re.findall(r"<title>(down|view \d)</title></rect>", page)
    assert sorted(bands) == ["down", "view 0", "view 0", "view 0", "view 0", "view 0", "view 1"]


def test_a_window_of_the_picture_keeps_the_view_entered_before(world: World) -> None:
    page = make_picture(make_run(world), from_ms=55, to_ms=75)

    assert page.count('class="arrow"') == 1
    assert "<title>view 1</title>" in page
    assert "55 to 75 ms, 1 messages." in page
    assert not re.search(r'(x|x1|x2|width)="-', page)


def test_arrows_beyond_the_limit_are_counted(world: World) -> None:
    page = make_picture(make_run(world), arrows_max=2)

    assert page.count('class="arrow"') == 2
    assert "Not drawn: the 3 after 10 ms" in page


def test_an_empty_run_is_a_picture_too() -> None:
    assert "</svg>" in make_picture([])
