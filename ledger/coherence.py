"""Coherence of content: what can be said of a text's form, how that is weighed, and where it ranks.  Form, not truth.

Execution never reads text.  The author signs an `Assessment`: integers that a pure function makes from text and tags
alone.  Every validator makes them again when the event enters, and refuses another; later only the integers count, so a
replay gives the same after the text was erased.  They are coarse so that they say little of an erased text.

    clarity    share of distinct tokens among the first CLARITY_TOKENS
    signal     1 - (links + mentions + repeated tokens) / tokens
    logic      share of sentences with SENTENCE_TOKENS_MIN..SENTENCE_TOKENS_MAX tokens
    topic      1/2 without tags; else 1/2 + 1/2 * tags that occur in the text / tags
    coherence  weighted sum of these, of non-contradiction (1 - overlap with the author's last items) and of c_holo
    rank       coherence * (0.5 + 0.5 * s_chr) * (0.5 + 1.5 * e / (e + 5)) * decay, e being endorsement mass

"raw" is an integer of 10**-18; the features are percents.  Source: DOMAIN section 3; topic is ours, since the overlap
of a text's tokens with its tags is nearly 0 for every text.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, NamedTuple

from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import U32, U128, Between, Length
from ledger.primitives.text import POINTERS, normalise

CLARITY_TOKENS = 200
SENTENCE_TOKENS_MIN, SENTENCE_TOKENS_MAX = 4, 40
TAG_PART_LETTERS_MIN = 3
ECHO_BYTES = 3
NO_ECHO = bytes(ECHO_BYTES)
"""The fingerprint of a text without tokens; it is like no other."""
SHINGLE_TOKENS = 3
TAGS_CACHED = 1_024
"""So many tags keep how they may be spelled in a text; nothing but speed depends on it."""
OVERLAPS_MAX = 20
"""An author's last items that a new one is compared with."""
DECAY_STEPS_MAX = 64
MASS_HALF = 5 * SCALE
"""The endorsement mass that gives half of what mass can give."""
_SHINGLE_HASH = hashlib.blake2b(digest_size=8 * ECHO_BYTES, person=b"atlas/echo")

Percent = Annotated[int, Between(0, 100)]
Share = Annotated[int, Between(0, SCALE)]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What an author signs of a text: scores and a fingerprint, made from the text alone."""

    clarity: Percent
    echo: Annotated[bytes, Length(ECHO_BYTES)]
    hate: Percent
    logic: Percent
    model: U32  # version of the safety model that gave hate and offensive
    offensive: Percent
    signal: Percent
    topic: Percent


class Features(NamedTuple):
    """The form of a text, in percent."""

    clarity: int
    logic: int
    signal: int
    topic: int


@dataclass(frozen=True, slots=True)
class CoherenceWeights:
    """What each part of coherence counts, raw; they sum to 1.  The defaults are version 1.1."""

    clarity: Share = 8 * SCALE // 100
    hsmf: Share = 20 * SCALE // 100
    logic: Share = 20 * SCALE // 100
    non_contradiction: Share = 12 * SCALE // 100
    signal: Share = 16 * SCALE // 100
    topic: Share = 24 * SCALE // 100

    def __post_init__(self) -> None:
        parts = (self.clarity, self.hsmf, self.logic, self.non_contradiction, self.signal, self.topic)
        if min(parts) < 0 or sum(parts) != SCALE:
            raise ValueError(f"expected weights of 0 or more that sum to {SCALE}, got {parts}")


@dataclass(frozen=True, slots=True)
class RankFactors:
    """Why an item ranks where it does: its score is the product of the four others."""

    coherence: Share
    decay: Share
    endorsement: Annotated[int, Between(0, 2 * SCALE)]  # 0.5..2, of mass
    score: U128
    standing: Share  # 0.5..1, of s_chr


def compute_features(words: Sequence[str], lengths: Sequence[int], tags: Sequence[str]) -> Features:
    """Return the form of a text.  One without tokens has 0 in all but topic.

    words, lengths: its tokens and how many each sentence has, as `ledger.primitives.text` gives them.
    """
    distinct = dict.fromkeys(words)
    first = distinct if len(words) <= CLARITY_TOKENS else dict.fromkeys(words[:CLARITY_TOKENS])
    apt = sum([SENTENCE_TOKENS_MIN <= length <= SENTENCE_TOKENS_MAX for length in lengths])
    return Features(
        clarity=_percent(len(first), min(len(words), CLARITY_TOKENS)),
        logic=_percent(apt, len(lengths)),
        signal=_percent(_count_signal(distinct), len(words)),
        topic=_compute_topic(distinct, tags),
    )


def compute_echo(words: Sequence[str]) -> bytes:
    """Return the fingerprint of a text's tokens: three min-hashes of their runs of three, the last byte of each.

    Two texts agree in a byte with the probability of the share of runs they have in common, or by chance, 1 in 256.
    """
    if not words:
        return NO_ECHO
    if len(words) < SHINGLE_TOKENS:
        shingles = ["\n".join(words)]
    else:
        shingles = [f"{one}\n{two}\n{three}" for one, two, three in zip(words, words[1:], words[2:], strict=False)]
    start = _SHINGLE_HASH.copy  # a third cheaper than making each anew with its parameters
    hashes: list[bytes] = []
    for shingle in shingles:
        state = start()
        state.update(shingle.encode())
        hashes.append(state.digest())
    first, second, third = min(hashes), min([each[8:16] for each in hashes]), min([each[16:] for each in hashes])
    return bytes((first[7], second[7], third[7]))


def compute_overlap(echo: bytes, others: Sequence[bytes]) -> int:
    """Return in percent how much the fingerprint is like the one of `others` that is most like it: 0, 50 or 100.

    One equal byte of three is chance and counts as 0.  NO_ECHO, or one of another length, is like none.
    """
    assert len(others) <= OVERLAPS_MAX, f"expected at most {OVERLAPS_MAX} fingerprints, got {len(others)}"
    if len(echo) != ECHO_BYTES or echo == NO_ECHO:
        return 0
    first, second, third = echo
    most = 0
    for other in others:
        if len(other) == ECHO_BYTES and other != NO_ECHO:
            one, two, three = other
            matches = (first == one) + (second == two) + (third == three)
            if matches > most:
                most = matches
    return 100 * max(0, most - 1) // (ECHO_BYTES - 1)


def compute_coherence(assessment: Assessment, overlap: int, c_holo: int, weights: CoherenceWeights) -> int:
    """Return coherence, raw in 0..1; floored once.

    overlap: percent, see `compute_overlap`.  c_holo: raw in 0..1, of the author's action.
    """
    assert 0 <= overlap <= 100, f"expected an overlap of 0..100, got {overlap}"
    assert 0 <= c_holo <= SCALE, f"expected a c_holo of 0..1 raw, got {c_holo}"
    percents = (
        weights.topic * assessment.topic
        + weights.logic * assessment.logic
        + weights.signal * assessment.signal
        + weights.non_contradiction * (100 - overlap)
        + weights.clarity * assessment.clarity
    )
    return (percents * SCALE + 100 * weights.hsmf * c_holo) // (100 * SCALE)


def compute_eligibility(coherence: int, tau_min: int, tau_max: int) -> int:
    """Return the share of reward that coherence opens, raw: 0 up to tau_min, 1 from tau_max, linear between."""
    assert tau_min < tau_max, f"expected tau_min below tau_max, got {tau_min} and {tau_max}"
    return min(SCALE, max(0, coherence - tau_min) * SCALE // (tau_max - tau_min))


def compute_decay(age_beats: int, step_beats: int) -> int:
    """Return phi**-floor(age / step), raw and floored; 0 after DECAY_STEPS_MAX steps."""
    assert age_beats >= 0, f"expected an age of 0 or more, got {age_beats}"
    assert step_beats > 0, f"expected a step above 0, got {step_beats}"
    steps = age_beats // step_beats
    return _PHI_POWERS[steps] if steps <= DECAY_STEPS_MAX else 0


def compute_rank(coherence: int, s_chr: int, mass: int, decay: int) -> int:
    """Return the rank score, raw in 0..2, floored once.  mass: raw, 0 or more; the others raw in 0..1."""
    for value in (coherence, s_chr, decay):
        assert 0 <= value <= SCALE, f"expected 0..1 raw, got {value}"
    assert mass >= 0, f"expected a mass of 0 or more, got {mass}"
    # 0.5 + 0.5 * s = (1 + s) / 2, and 0.5 + 1.5 * e / (e + 5) = (4 * e + 5) / (2 * (e + 5)).
    product = coherence * (SCALE + s_chr) * (4 * mass + MASS_HALF) * decay
    return product // (4 * SCALE * SCALE * (mass + MASS_HALF))


def compute_rank_factors(coherence: int, s_chr: int, mass: int, decay: int) -> RankFactors:
    """Return the rank score with its factors.  Each is floored for show; the score is floored once, from exact ones."""
    return RankFactors(
        coherence=coherence,
        decay=decay,
        endorsement=(4 * mass + MASS_HALF) * SCALE // (2 * (mass + MASS_HALF)),
        score=compute_rank(coherence, s_chr, mass, decay),
        standing=(SCALE + s_chr) // 2,
    )


def _percent(part: int, whole: int) -> int:
    return 100 * part // whole if whole else 0


def _count_signal(distinct: Collection[str]) -> int:
    """How many of the distinct tokens are neither a link nor a mention."""
    return len(distinct) - len([word for word in distinct if word.startswith(POINTERS)])


def _compute_topic(distinct: Collection[str], tags: Sequence[str]) -> int:
    if not tags:
        return 50
    return 50 + 50 * sum([any(word in distinct for word in _list_spellings(tag)) for tag in tags]) // len(tags)


@lru_cache(TAGS_CACHED)
def _list_spellings(tag: str) -> tuple[str, ...]:
    """Return the tokens in which a tag occurs: whole or any part of enough letters, folded like a text, # or not."""
    parts = [part for part in tag.split("_") if len(part) >= TAG_PART_LETTERS_MIN]
    folded = [normalise(part) for part in (tag, *parts)]
    return (*[part for part in folded if not part.startswith("#")], *[f"#{part}" for part in folded])


def _compute_phi_powers() -> tuple[int, ...]:
    """phi**-k for k = 0..DECAY_STEPS_MAX, raw: by phi**-k = phi**-(k-2) - phi**-(k-1), with 42 digits to spare."""
    spare = 10**42
    powers = [SCALE * spare, 618033988749894848204586834365638117720309179805762862135448]
    while len(powers) <= DECAY_STEPS_MAX:
        powers.append(powers[-2] - powers[-1])
    return tuple(power // spare for power in powers)


_PHI_POWERS = _compute_phi_powers()
