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
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

from guards import text_model_weights as trained
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.text import POINTERS

MODEL_VERSION = 1
BUCKETS = 2**15
GRAM_SIZES = (3, 4, 5)
WINDOW_WORDS = 32
WINDOW_STEP = 16
WORDS_CACHED = 2**15
"""How many words keep their sums in memory; nothing but speed depends on it."""
PACKED_BITS = 32
"""Where the second of two packed sums begins.  The first stays below half of that: a window has at most WINDOW_WORDS
words of at most some 120 features, each of -128..127."""

_BUCKET_HASH = hashlib.blake2b(digest_size=4)


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
    alone, paired = list(map(_weigh_word, words)), _weigh_pairs(words)
    windows = [_unpack(sum(alone[start:end]) + sum(paired[start:end])) for start, end in list_windows(len(words))]
    hate, offensive = map(max, zip(*windows, strict=True))
    return Scores(_grade(trained.HATE_BIAS + hate), _grade(trained.OFFENSIVE_BIAS + offensive))


def list_words(found: Sequence[str]) -> list[str]:
    """Return the words among tokens, tags without their #."""
    return [word for token in found if (word := token if token.isalpha() else _find_word(token))]


def list_windows(length: int) -> list[tuple[int, int]]:
    """Return start and end of the windows over `length` words; they overlap by half."""
    return [(start, min(length, start + WINDOW_WORDS)) for start in range(0, max(1, length - WINDOW_STEP), WINDOW_STEP)]


def compute_word_buckets(word: str) -> list[int]:
    """Return the distinct buckets of a word: itself, and its character runs."""
    marked = f"^{word}$"
    grams = [marked[at : at + size] for size in GRAM_SIZES for at in range(len(marked) - size + 1)]
    return list(dict.fromkeys(_compute_buckets([f"w {word}", *grams])))


def compute_pair_bucket(before: str, word: str) -> int:
    """Return the bucket of two words in a row."""
    return _compute_buckets([f"p {before} {word}"])[0]


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


@cache
def _pack_weights() -> tuple[int, ...]:
    """Both weights of each bucket as one number, so that one sum adds up both."""
    hate, offensive = _decode_weights()
    shared: dict[int, int] = {}  # few values are distinct
    packed = [one + (other << PACKED_BITS) for one, other in zip(hate, offensive, strict=True)]
    return tuple([shared.setdefault(both, both) for both in packed])


def _unpack(packed: int) -> tuple[int, int]:
    """Return the sums of hate and offensive in a sum of packed weights."""
    half = 1 << (PACKED_BITS - 1)
    hate = ((packed + half) & ((1 << PACKED_BITS) - 1)) - half
    return hate, (packed - hate) >> PACKED_BITS


def _find_word(token: str) -> str:
    """Return the word in a token that isn't letters alone; empty when it is none."""
    bare = token.removeprefix("#")
    return bare if not token.startswith(POINTERS) and any(map(str.isalpha, bare)) else ""


def _compute_buckets(features: Iterable[str]) -> list[int]:
    """Return the bucket of each feature: the last bits of a hash of 4 bytes."""
    start = _BUCKET_HASH.copy  # cheaper than making each anew with its parameters
    hashes: list[bytes] = []
    for feature in features:
        state = start()
        state.update(feature.encode())
        hashes.append(state.digest())
    joined = b"".join(hashes)
    return [(high << 8 | low) % BUCKETS for high, low in zip(joined[2::4], joined[3::4], strict=True)]


@lru_cache(WORDS_CACHED)
def _weigh_word(word: str) -> int:
    return sum(map(_pack_weights().__getitem__, compute_word_buckets(word)))


def _weigh_pairs(words: Sequence[str]) -> list[int]:
    """Return for each word what its pair with the one before weighs; 0 for the first.  Few pairs come again soon."""
    packed = _pack_weights()
    return [0, *[packed[at] for at in _compute_buckets([f"p {before} {word}" for before, word in pairwise(words)])]]


def _grade(margin: int) -> int:
    return bisect_right(trained.MARGINS, margin)
