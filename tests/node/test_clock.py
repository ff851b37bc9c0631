"""Beats: due by the clock, and never far ahead of it."""

from node.clock import BEATS_AHEAD_MAX, BEATS_WATCHED, BeatClock, monotonic_ms, now_ms

BEAT_MS = 1_000


class FakeClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 50_000

    def __call__(self) -> int:
        return self.now


def make() -> tuple[FakeClock, BeatClock]:
    clock = FakeClock()
    return clock, BeatClock(BEAT_MS, clock)


def test_a_beat_is_due_one_beat_after_the_last() -> None:
    clock, beats = make()

    at_start = beats.next_due_ms()
    clock.now += 400
    later = beats.next_due_ms()
    beats.saw_proposed(1)

    assert (at_start, later, beats.next_due_ms()) == (1_000, 600, 1_000)


def test_an_overdue_beat_stays_due() -> None:
    clock, beats = make()

    clock.now += 5_000

    assert beats.next_due_ms() == -4_000


def test_a_beat_that_was_seen_again_moves_nothing() -> None:
    clock, beats = make()
    beats.saw_proposed(1)
    clock.now += 700

    beats.saw_proposed(1)
    beats.saw_executed(1)

    assert beats.next_due_ms() == 300


def test_who_has_seen_nothing_believes_the_first_beat() -> None:
    _, beats = make()

    assert not beats.is_too_early(1_000_000)


def test_beats_on_time_are_never_too_early() -> None:
    clock, beats = make()

    for beat in range(1, 3 * BEATS_WATCHED):
        assert not beats.is_too_early(beat)
        beats.saw_proposed(beat)
        clock.now += BEAT_MS


def test_a_primary_may_be_ahead_by_a_little_and_no_more() -> None:
    _, beats = make()
    beats.saw_proposed(1)
    taken = 1

    while not beats.is_too_early(taken + 1):
        taken += 1
        beats.saw_proposed(taken)

    assert taken == 1 + BEATS_AHEAD_MAX


def test_a_rushing_primary_gains_nothing_in_the_long_run() -> None:
    clock, beats = make()
    beat = 1
    beats.saw_proposed(beat)

    for _ in range(40 * BEATS_WATCHED):
        clock.now += BEAT_MS // 10
        if not beats.is_too_early(beat + 1):
            beat += 1
            beats.saw_proposed(beat)

    elapsed_beats = (clock.now - 50_000) // BEAT_MS
    assert elapsed_beats <= beat <= (elapsed_beats + 1) * (1 + BEATS_AHEAD_MAX / BEATS_WATCHED) + BEATS_AHEAD_MAX


def test_a_beat_that_was_judged_before_is_not_judged_again() -> None:
    _, beats = make()
    beats.saw_proposed(5)

    assert not beats.is_too_early(5)
    assert not beats.is_too_early(4)


def test_catching_up_starts_anew() -> None:
    _, beats = make()
    beats.saw_proposed(1)

    beats.saw_executed(500)

    assert not beats.is_too_early(501)
    assert beats.next_due_ms() == BEAT_MS


def test_the_real_clocks_are_whole_milliseconds() -> None:
    assert now_ms() > 1_700_000_000_000
    assert monotonic_ms() <= monotonic_ms()
