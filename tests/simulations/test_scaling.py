"""The scaling tool in small: what it counts is what the protocol says, and its picture and table come out."""

import json

import pytest

from consensus.messages import encode_signed
from simulations.observations import Delivered, Sent
from simulations.scaling import ENVELOPE_BYTES, LINK_MS, Measure, Meter, RunUnfinished, make_signatures, measure, pick
from simulations.world import Load, World
from tools import scaling

N, EVENTS = 4, 8


@pytest.fixture(scope="module")
def measured() -> Measure:
    return measure(N, EVENTS)


def test_messages_and_signatures_are_those_of_the_protocol(measured: Measure) -> None:
    ordering = (N - 1) + (N - 1) ** 2 + 2 * N * (N - 1)  # PRE-PREPARE, PREPAREs, COMMITs and CHECKPOINTs
    status = N * (N - 1)

    assert ordering <= measured.messages_per_block <= ordering + status
    # A backup checks the proposal, the PREPAREs of the other backups, and COMMIT and CHECKPOINT of all others.
    assert 1 + (N - 2) + 2 * (N - 1) <= measured.signatures_per_block <= 3 * (N - 1) + 1 + (N - 1)
    assert measured.bytes_per_block > measured.messages_per_block * (ENVELOPE_BYTES + 32)
    assert measured.bytes_per_block / N < measured.bytes_per_block_primary < measured.bytes_per_block
    assert (measured.f, measured.quorum, measured.events) == (1, 3, EVENTS)


def test_latency_holds_the_phases(measured: Measure) -> None:
    """An event reaches the primary, and is ordered in three phases; the certificate takes one more."""
    assert 3 * LINK_MS <= measured.committed_ms_median <= measured.committed_ms_p99
    assert measured.committed_ms_median + LINK_MS <= measured.final_ms_median + 5
    assert measured.final_ms_median <= measured.final_ms_p99 < 20 * LINK_MS


def test_sizes_are_those_of_the_frames() -> None:
    world = World(1, N, load=Load(accounts=1, newcomers=0, events=3, careless_events=0, over_ms=100))
    meter, frames, checked = Meter(), list[bytes](), set[bytes]()
    world.observe(meter.observe)

    def watch(observation: object) -> None:
        if isinstance(observation, Sent):
            frames.append(encode_signed(observation.signed, observation.batch))
        if isinstance(observation, Delivered) and observation.to == 1:
            checked.add(observation.signed.signature)

    world.observe(watch)
    world.start()
    world.run(1_000)

    assert meter.bytes == sum(map(len, frames)) > 0
    assert meter.messages == len(frames)
    assert meter.signatures == checked


def test_a_run_that_does_not_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.scaling.WITHIN_MS", 0)

    with pytest.raises(RunUnfinished, match="expected 1 final events in view 0, got 0"):
        measure(N, 1, link_ms=2_000)


def test_percentiles() -> None:
    assert pick([7], 50) == pick([7], 99) == 7
    assert [pick(list(range(1, 201)), percent) for percent in (50, 99, 100)] == [100, 198, 200]


def test_the_tool_prints_and_draws(capsys: pytest.CaptureFixture[str], measured: Measure) -> None:
    scaling.main(["--validators", "4", "--events", str(EVENTS), "--json"])
    printed = json.loads(capsys.readouterr().out)
    picture = scaling.draw([measured, measure(7, 2)])

    assert printed["runs"][0]["messages_per_block"] == measured.messages_per_block  # the same seed
    assert printed["signature_us"] > 0
    assert len(scaling.make_row(measured, 50.0)) == len(scaling.COLUMNS)
    assert picture.count("<polyline") == len(scaling.COLOURS)
    assert picture.count("<circle") == 2 * len(scaling.COLOURS)


def test_what_is_timed_checks_signatures() -> None:
    assert make_signatures(2)()
