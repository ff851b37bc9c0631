"""Coherence: features and fingerprints of known texts, and the properties of what is weighed from them."""

from math import isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import coherence as module
from ledger.coherence import (
    DECAY_STEPS_MAX,
    NO_ECHO,
    Assessment,
    CoherenceWeights,
    Features,
    compute_coherence,
    compute_decay,
    compute_echo,
    compute_eligibility,
    compute_features,
    compute_overlap,
    compute_rank,
    compute_rank_factors,
)
from ledger.primitives.encoding import EncodingError
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import decode_record, encode_record
from ledger.primitives.text import normalise, sentences, tokens

PERCENTS = st.integers(0, 100)
SHARES = st.integers(0, SCALE)
MASSES = st.integers(0, 10**6 * SCALE)
TAU_MIN, TAU_MAX = 40 * SCALE // 100, 95 * SCALE // 100
ECHOES = st.binary(min_size=3, max_size=3)
V1_1 = CoherenceWeights()


@st.composite
def assessments(draw: st.DrawFn) -> Assessment:
    return make(clarity=draw(PERCENTS), logic=draw(PERCENTS), signal=draw(PERCENTS), topic=draw(PERCENTS))


@st.composite
def weightings(draw: st.DrawFn) -> CoherenceWeights:
    cuts = sorted(draw(st.lists(SHARES, min_size=5, max_size=5)))
    parts = [end - start for start, end in zip([0, *cuts], [*cuts, SCALE], strict=True)]
    return CoherenceWeights(*parts)


def make(*, clarity: int = 50, logic: int = 50, signal: int = 50, topic: int = 50) -> Assessment:
    return Assessment(
        clarity=clarity, echo=b"abc", hate=1, logic=logic, model=1, offensive=2, signal=signal, topic=topic
    )


def features(text: str, *tags: str) -> Features:
    folded = normalise(text)
    return compute_features(tokens(folded), sentences(folded), tags)


def echo(text: str) -> bytes:
    return compute_echo(tokens(normalise(text)))


# Features.


def test_a_plain_sentence_has_full_marks_and_topic_in_the_middle() -> None:
    assert features("The garden needs rain this week.") == Features(clarity=100, logic=100, signal=100, topic=50)


def test_a_text_without_tokens_has_nothing() -> None:
    assert features("...") == Features(clarity=0, logic=0, signal=0, topic=50)


def test_clarity_is_the_share_of_distinct_tokens_among_the_first_200() -> None:
    assert features("buy now buy now").clarity == 50
    assert (
        features("same " * 200 + " ".join(f"{chr(97 + n % 26)}{chr(97 + n // 26)}x" for n in range(300))).clarity == 0
    )


def test_signal_counts_links_mentions_and_repeats_against_a_text() -> None:
    assert features("look here https://example.org @ann").signal == 50
    assert features("very very very good").signal == 50


def test_logic_is_the_share_of_sentences_of_4_to_40_tokens() -> None:
    assert features("One two three four. Too short.").logic == 50
    assert features("word " * 40).logic == 100
    assert features("word " * 41).logic == 0


@pytest.mark.parametrize(
    ("text", "tags", "topic"),
    [
        ("I like gardening a lot", (), 50),
        ("I like gardening a lot", ("gardening",), 100),
        ("I like #gardening a lot", ("gardening",), 100),
        ("I like gardens a lot", ("gardening",), 50),
        ("A programming puzzle", ("functional_programming", "chess"), 75),
        ("On the way up to it", ("up_to_it",), 50),
        ("Web3 is here", ("web3",), 100),
        ("one two three", ("one", "two", "six"), 83),
    ],
)
def test_topic_is_half_and_half_the_tags_that_occur(text: str, tags: tuple[str, ...], topic: int) -> None:
    assert features(text, *tags).topic == topic


@given(st.text(max_size=300), st.lists(st.text("abc_", min_size=1, max_size=8), max_size=5))
def test_features_are_percents(text: str, tags: list[str]) -> None:
    found = features(text, *tags)

    assert all(0 <= value <= 100 for value in (found.clarity, found.logic, found.signal, found.topic))


# Fingerprints.


def test_a_text_that_is_said_again_overlaps_wholly() -> None:
    said = echo("The garden needs rain this week, said the old gardener.")

    assert len(said) == 3
    assert compute_overlap(said, [b"xyz", echo("THE garden needs rain this week -- said the old gardener")]) == 100


def test_other_texts_do_not_overlap() -> None:
    texts = [f"{first} {second} is what we talk about" for first in ("rain", "sun", "snow") for second in "abcdef"]

    assert compute_overlap(echo("A kernel that boots in a second, and how it was done"), list(map(echo, texts))) == 0


@pytest.mark.parametrize(
    ("other", "overlap"), [(b"abc", 100), (b"abz", 50), (b"azc", 50), (b"azz", 0), (b"bca", 0), (b"ab", 0), (b"", 0)]
)
def test_one_equal_byte_is_chance_two_are_half(other: bytes, overlap: int) -> None:
    assert compute_overlap(b"abc", [other]) == overlap


def test_the_echo_of_nothing_is_like_nothing() -> None:
    assert echo("") == echo("!!!") == NO_ECHO
    assert compute_overlap(NO_ECHO, [NO_ECHO, NO_ECHO]) == 0
    assert compute_overlap(b"", [b"", b"abc"]) == 0
    assert compute_overlap(b"abc", []) == 0


def test_short_texts_have_an_echo_of_all_their_tokens() -> None:
    assert compute_overlap(echo("Thanks!"), [echo("thanks")]) == 100
    assert compute_overlap(echo("Thanks a lot"), [echo("thanks")]) == 0


def test_numbers_do_not_show_in_the_echo() -> None:
    assert echo("call me at 030 1234567 tonight") == echo("call me at 089 7654321 tonight")


@given(ECHOES, st.lists(ECHOES, max_size=20))
def test_overlap_is_0_50_or_100_and_grows_with_more_to_compare(one: bytes, others: list[bytes]) -> None:
    overlap = compute_overlap(one, others)

    assert overlap in (0, 50, 100)
    assert overlap == max([compute_overlap(one, [other]) for other in others], default=0)


# Coherence.


@given(assessments(), PERCENTS, SHARES, weightings())
def test_coherence_is_the_exact_weighted_sum_floored_once(
    assessment: Assessment, overlap: int, c_holo: int, weights: CoherenceWeights
) -> None:
    parts = (
        (weights.clarity, assessment.clarity * SCALE),
        (weights.logic, assessment.logic * SCALE),
        (weights.signal, assessment.signal * SCALE),
        (weights.topic, assessment.topic * SCALE),
        (weights.non_contradiction, (100 - overlap) * SCALE),
        (weights.hsmf, 100 * c_holo),
    )
    exact = sum(weight * value for weight, value in parts)

    found = compute_coherence(assessment, overlap, c_holo, weights)

    assert found * 100 * SCALE <= exact < (found + 1) * 100 * SCALE
    assert 0 <= found <= SCALE


def test_the_ends_of_coherence_are_reached_exactly() -> None:
    best, worst = make(clarity=100, logic=100, signal=100, topic=100), make(clarity=0, logic=0, signal=0, topic=0)

    assert compute_coherence(best, 0, SCALE, V1_1) == SCALE
    assert compute_coherence(worst, 100, 0, V1_1) == 0


@pytest.mark.parametrize(("field", "percent"), [("topic", 24), ("logic", 20), ("signal", 16), ("clarity", 8)])
def test_weights_of_version_1_1(field: str, percent: int) -> None:
    worst = {"clarity": 0, "logic": 0, "signal": 0, "topic": 0}

    assert compute_coherence(make(**worst | {field: 100}), 100, 0, V1_1) == percent * SCALE // 100
    assert compute_coherence(make(**worst), 0, 0, V1_1) == 12 * SCALE // 100
    assert compute_coherence(make(**worst), 100, SCALE, V1_1) == 20 * SCALE // 100


@given(assessments(), st.integers(0, 99), st.integers(0, SCALE - 1), weightings())
def test_coherence_grows_in_every_part_and_falls_with_overlap(
    assessment: Assessment, overlap: int, c_holo: int, weights: CoherenceWeights
) -> None:
    found = compute_coherence(assessment, overlap, c_holo, weights)

    assert compute_coherence(assessment, overlap + 1, c_holo, weights) <= found
    assert compute_coherence(assessment, overlap, c_holo + 1, weights) >= found
    for field in ("clarity", "logic", "signal", "topic"):
        values = {name: getattr(assessment, name) for name in ("clarity", "logic", "signal", "topic")}
        more = make(**values | {field: min(100, values[field] + 1)})
        assert compute_coherence(more, overlap, c_holo, weights) >= found


def test_weights_that_do_not_sum_to_1_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 1000000000000000000"):
        CoherenceWeights(clarity=0)
    with pytest.raises(ValueError, match="0 or more"):
        CoherenceWeights(-1, 1, 0, 0, 0, SCALE)


# Eligibility, decay, rank.


def test_eligibility_is_a_ramp() -> None:
    assert [compute_eligibility(x * SCALE // 1000, TAU_MIN, TAU_MAX) for x in (0, 400, 675, 950, 1000)] == [
        0, 0, SCALE // 2, SCALE, SCALE,
    ]  # fmt: skip
    assert compute_eligibility(TAU_MIN + 1, TAU_MIN, TAU_MAX) == 1  # 1 / 0.55, floored


@given(st.integers(0, SCALE - 1))
def test_eligibility_grows_and_is_bounded(coherence: int) -> None:
    found = compute_eligibility(coherence, TAU_MIN, TAU_MAX)

    assert 0 <= found <= compute_eligibility(coherence + 1, TAU_MIN, TAU_MAX) <= SCALE


def test_decay_is_by_floored_powers_of_phi() -> None:
    digits = 10**120
    phi = (isqrt(5 * digits * digits) + digits) // 2
    power = digits
    for steps in range(DECAY_STEPS_MAX + 1):
        assert compute_decay(256 * steps + 255, 256) == compute_decay(256 * steps, 256) == power * SCALE // digits
        power = power * digits // phi
    assert compute_decay(256 * (DECAY_STEPS_MAX + 1) - 1, 256) > 0
    assert compute_decay(256 * (DECAY_STEPS_MAX + 1), 256) == 0
    assert compute_decay(10**18, 64) == 0


def test_rank_of_known_numbers() -> None:
    assert compute_rank(SCALE, SCALE, 0, SCALE) == SCALE // 2
    assert compute_rank(SCALE, SCALE, 5 * SCALE, SCALE) == 125 * SCALE // 100
    assert compute_rank(SCALE, 0, 5 * SCALE, SCALE) == 625 * SCALE // 1000
    assert compute_rank(8 * SCALE // 10, SCALE // 2, 15 * SCALE, SCALE // 2) == 4875 * SCALE // 10_000
    assert compute_rank(SCALE, SCALE, 10**9 * SCALE, SCALE) < 2 * SCALE


@given(SHARES, SHARES, MASSES, SHARES)
def test_rank_is_the_exact_product_floored_once(coherence: int, s_chr: int, mass: int, decay: int) -> None:
    over = coherence * (SCALE + s_chr) * (4 * mass + 5 * SCALE) * decay
    under = 4 * SCALE * SCALE * (mass + 5 * SCALE)

    found = compute_rank(coherence, s_chr, mass, decay)

    assert found * under <= over < (found + 1) * under
    assert 0 <= found <= 2 * SCALE


@given(st.integers(0, SCALE - 1), st.integers(0, SCALE - 1), MASSES, st.integers(0, SCALE - 1))
def test_rank_grows_in_every_factor(coherence: int, s_chr: int, mass: int, decay: int) -> None:
    found = compute_rank(coherence, s_chr, mass, decay)

    assert compute_rank(coherence + 1, s_chr, mass, decay) >= found
    assert compute_rank(coherence, s_chr + 1, mass, decay) >= found
    assert compute_rank(coherence, s_chr, mass + SCALE, decay) >= found
    assert compute_rank(coherence, s_chr, mass, decay + 1) >= found


@given(SHARES, SHARES, MASSES, SHARES)
def test_the_factors_say_why(coherence: int, s_chr: int, mass: int, decay: int) -> None:
    factors = compute_rank_factors(coherence, s_chr, mass, decay)

    product = factors.coherence * factors.standing * factors.endorsement * factors.decay // SCALE**3
    assert 0 <= factors.score - product <= 4  # what flooring the shown factors loses
    assert factors.score == compute_rank(coherence, s_chr, mass, decay)
    assert decode_record(module.RankFactors, encode_record(factors)) == factors


# The record.


def test_an_assessment_is_small_and_checked() -> None:
    assessment = make()

    assert decode_record(Assessment, encode_record(assessment)) == assessment
    assert len(encode_record(assessment)) < 100
    with pytest.raises(EncodingError, match=r"topic: expected 0\.\.100"):
        encode_record(make(topic=101))
    with pytest.raises(EncodingError, match="echo: expected 3 bytes"):
        encode_record(Assessment(0, b"ab", 0, 0, 1, 0, 0, 0))
