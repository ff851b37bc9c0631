"""The safety model: two scores of a text, hate and offensive, by a linear model with integer weights.

A word's features are itself, its character runs of GRAM_SIZES with marks at both ends, and its pair with the word
before, each hashed into one of BUCKETS.  A score is the sum of their weights over WINDOW_WORDS words, taken where it is
highest, so that a long harmless text around a few words hides nothing, and turned into 0..100 by a table.  Links,
mentions, emoji and numbers are no words here.  Trained by `tools/train_safety_model.py`; what it can and can't do:
docs/safety-model.md.
"""

import base64
import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from guards import text_model_weights as trained
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.text import is_link, is_mention

MODEL_VERSION = 1
BUCKETS = 2**15
GRAM_SIZES = (3, 4, 5)
WINDOW_WORDS = 32
WINDOW_STEP = 16
WORDS_CACHED = 2**14
"""How many words and pairs keep their sums in memory; nothing but speed depends on it."""


class Scores(NamedTuple):
    """What the model says of a text, each 0..100."""

    hate: int
    offensive: int


class _Weights(NamedTuple):
    hate: memoryview
    offensive: memoryview


def score(found: Sequence[str]) -> Scores:
    """Return both scores of a text, from its tokens.  One without words has 0."""
    words = list_words(found)
    if not words:
        return Scores(0, 0)
    hate, offensive = [0], [0]
    before = ""
    for word in words:
        of_word, of_pair = _sum_word(word), _sum_pair(before, word) if before else (0, 0)
        hate.append(hate[-1] + of_word[0] + of_pair[0])
        offensive.append(offensive[-1] + of_word[1] + of_pair[1])
        before = word
    return Scores(_grade(hate, trained.HATE_BIAS), _grade(offensive, trained.OFFENSIVE_BIAS))


def list_words(found: Sequence[str]) -> list[str]:
    """Return the words among tokens, tags without their #."""
    bare = [token.removeprefix("#") for token in found if not (is_link(token) or is_mention(token))]
    return [word for word in bare if any(map(str.isalpha, word))]


def list_windows(length: int) -> list[tuple[int, int]]:
    """Return start and end of the windows over `length` words; they overlap by half."""
    return [(start, min(length, start + WINDOW_WORDS)) for start in range(0, max(1, length - WINDOW_STEP), WINDOW_STEP)]


def compute_word_buckets(word: str) -> list[int]:
    """Return the distinct buckets of a word: itself, and its character runs."""
    marked = f"^{word}$"
    grams = [marked[at : at + size] for size in GRAM_SIZES for at in range(len(marked) - size + 1)]
    return list(dict.fromkeys([_compute_bucket(f"w {word}"), *map(_compute_bucket, grams)]))


def compute_pair_bucket(before: str, word: str) -> int:
    """Return the bucket of two words in a row."""
    return _compute_bucket(f"p {before} {word}")


@cache
def compute_model_digest() -> bytes:
    """Return the hash of the decoded weights and of all parameters; nodes with other ones judge differently."""
    sizes = (MODEL_VERSION, BUCKETS, *GRAM_SIZES, WINDOW_WORDS, WINDOW_STEP)
    biases = (trained.HATE_BIAS, trained.OFFENSIVE_BIAS)
    weights = _decode_weights()
    numbers = b"".join(number.to_bytes(8, "big", signed=True) for number in (*sizes, *biases, *trained.MARGINS))
    return tagged_hash("atlas/safety-model", numbers, weights.hate.tobytes(), weights.offensive.tobytes())


@cache
def _decode_weights() -> _Weights:
    """The weights as signed bytes, from their text form."""
    tables = [memoryview(base64.b85decode(text)).cast("b") for text in (trained.HATE, trained.OFFENSIVE)]
    for table in tables:
        assert len(table) == BUCKETS, f"expected {BUCKETS} weights, got {len(table)}"
    assert len(trained.MARGINS) == 100, f"expected 100 margins, got {len(trained.MARGINS)}"
    return _Weights(*tables)


def _compute_bucket(feature: str) -> int:
    return int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=4).digest(), "big") % BUCKETS


@lru_cache(WORDS_CACHED)
def _sum_word(word: str) -> tuple[int, int]:
    weights = _decode_weights()
    buckets = compute_word_buckets(word)
    return sum(weights.hate[at] for at in buckets), sum(weights.offensive[at] for at in buckets)


@lru_cache(WORDS_CACHED)
def _sum_pair(before: str, word: str) -> tuple[int, int]:
    weights = _decode_weights()
    bucket = compute_pair_bucket(before, word)
    return weights.hate[bucket], weights.offensive[bucket]


def _grade(sums: Sequence[int], bias: int) -> int:
    """Turn sums up to each word into a score: of the window with the highest sum."""
    margin = bias + max(sums[end] - sums[start] for start, end in list_windows(len(sums) - 1))
    return bisect_right(trained.MARGINS, margin)
