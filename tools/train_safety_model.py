"""Train the safety model, measure it on texts it has not seen, and write its weights and its card.

    python tools/train_safety_model.py [--data FOLDER] [--measure]

Reads labeled-tweets.csv and posts-2013.jsonl from FOLDER, and configs/devnet/posts.jsonl.  Writes
guards/text_model_weights.py and docs/safety-model.md.  Which text is held out follows from a hash of it, and nothing is
drawn, so a run gives the same weights again; `--measure` keeps the committed weights.

The model is two logistic regressions with L2 over the features of `guards.text_model`, fitted by L-BFGS.  What is
measured is the integer code that nodes run, never the floats of the fit.
"""

import argparse
import base64
import csv
import hashlib
import html
import importlib
import json
import math
import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from guards import text_model, text_model_weights  # noqa: E402
from guards.text_model import BUCKETS, Scores  # noqa: E402
from ledger.items import LABELS, VISIBLE, compute_label  # noqa: E402
from ledger.policies import SafetyPolicy  # noqa: E402
from ledger.primitives.text import normalise, tokens  # noqa: E402

WEIGHTS_FILE = ROOT / "guards" / "text_model_weights.py"
CARD_FILE = ROOT / "docs" / "safety-model.md"
HATE, OFFENSIVE, NEITHER, HARMLESS = 0, 1, 2, 3
CLASS_NAMES = ("hate", "offensive", "neither")
TWEETS_HELD_OUT = 5  # one in so many
POSTS_HELD_OUT = 3
WINDOWS_MAX = 6  # of one text
POSTS_DISGUISED = 3  # one in so many
PADDING_WORDS = 20
STEPS = 150
MEMORY = 10
LINE = 110

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Settings(NamedTuple):
    """What was chosen by hand, on a fifth of the training tweets."""

    l2: float = 6e-4
    weight_harmless: float = 4.0  # of a post, among its windows
    weight_hate: float = 8.0  # of a hate tweet, where hate is fitted
    weight_neither: float = 3.0  # of a tweet that is neither
    padded: float = 0.5  # of a copy of an offensive tweet among harmless words
    disguised: float = 0.3  # of a copy of a text with masked or doubled vowels


@dataclass(frozen=True, slots=True)
class Example:
    """A text with its class, as words."""

    label: int
    text: str  # as it was written
    words: tuple[str, ...]


class Rows(NamedTuple):
    """Lists of numbers end to end, and the place where each begins."""

    items: Numbers
    starts: Numbers
    lengths: Numbers


def main(arguments: Sequence[str] | None = None) -> int:
    """Train unless told not to, print what was measured, and write it into the card."""
    parser = argparse.ArgumentParser(description="Train and measure the safety model.")
    parser.add_argument("--data", type=Path, default=ROOT / ".." / "shared" / "data", help="folder of the data files")
    parser.add_argument(
        "--measure", action="store_true", help="keep the committed weights; only measure them for the card"
    )
    options = parser.parse_args(arguments)
    tweets, posts = read_tweets(options.data / "labeled-tweets.csv"), read_posts(options.data / "posts-2013.jsonl")
    devnet = read_posts(ROOT / "configs" / "devnet" / "posts.jsonl")
    known = frozenset(post.text for post in devnet)
    held_tweets = [tweet for tweet in tweets if is_held_out(tweet, TWEETS_HELD_OUT)]
    held_posts = [post for post in posts if is_held_out(post, POSTS_HELD_OUT) and post.text not in known]
    if not options.measure:
        seen = [tweet for tweet in tweets if not is_held_out(tweet, TWEETS_HELD_OUT)]
        seen += [post for post in posts if not is_held_out(post, POSTS_HELD_OUT)] + devnet
        write_weights(*fit_both(seen, Settings()))
        reload_weights()
    report = measure(held_tweets, held_posts)
    print(report)
    write_card(report)
    return 0


# Data.


def read_tweets(path: Path) -> list[Example]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [make_example(int(row["class"]), html.unescape(row["tweet"])) for row in rows]


def read_posts(path: Path) -> list[Example]:
    posts = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [make_example(HARMLESS, html.unescape(f"{post['title']}\n{post['text']}")) for post in posts]


def make_example(label: int, text: str) -> Example:
    return Example(label, text, tuple(text_model.list_words(tokens(normalise(text)))))


def is_held_out(example: Example, one_in: int) -> bool:
    """Whether a text is for measuring only: by its words, so that copies with other mentions go the same way."""
    words = " ".join(word for word in example.words if word != "rt")
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big") % one_in == 0


# Fitting.


Fragment: TypeAlias = tuple[int, float, tuple[str, ...]]
"""Class, weight and words of a window to learn from."""


def list_fragments(examples: Sequence[Example], settings: Settings) -> list[Fragment]:
    """Return all windows to learn from: the texts', and those of copies that were padded or disguised."""
    weights = {NEITHER: settings.weight_neither, HARMLESS: settings.weight_harmless}
    fragments = [
        fragment for each in examples for fragment in cut_windows(each.label, weights.get(each.label, 1.0), each.words)
    ]
    fillers = [words for label, _, words in fragments if label == HARMLESS and len(words) >= PADDING_WORDS]
    for place, example in enumerate(examples):
        weight = weights.get(example.label, 1.0)
        if example.label != HARMLESS or place % POSTS_DISGUISED == 0:
            text = (mask_vowels, double_vowels)[place % 2](example.text)
            copy = make_example(example.label, text)
            fragments += cut_windows(example.label, settings.disguised * weight, copy.words)
        if example.label in (HATE, OFFENSIVE):
            filler, cut = fillers[(place * 7_919) % len(fillers)], place % PADDING_WORDS
            padded = (*filler[:cut], *example.words, *filler[cut:PADDING_WORDS])[: text_model.WINDOW_WORDS]
            fragments.append((example.label, settings.padded, padded))
    return fragments


def cut_windows(label: int, weight: float, words: tuple[str, ...]) -> list[Fragment]:
    """Return the first windows of a text, which share its weight."""
    windows = text_model.list_windows(len(words))[:WINDOWS_MAX]
    return [(label, weight / len(windows), words[start:end]) for start, end in windows]


def mask_vowels(text: str) -> str:
    return re.sub("(?<=[a-z])[aeiou](?=[a-z])", "*", text)


def double_vowels(text: str) -> str:
    return re.sub("([aeiou])", r"\1\1", text)


class Features:
    """The sparse matrix of fragments by buckets, factored through words: each word's buckets are kept once."""

    def __init__(self, fragments: Sequence[Fragment]) -> None:
        places: dict[str, int] = {}
        of_words = [[places.setdefault(word, len(places)) for word in words] for _, _, words in fragments]
        self.words = make_rows(of_words)
        self.buckets = make_rows([text_model.compute_word_buckets(word) for word in places])
        pairs: dict[tuple[str, str], int] = {}
        of_pairs: list[list[int]] = []
        for _, _, words in fragments:
            row: list[int] = []
            for pair in pairwise(words):
                if pair not in pairs:
                    pairs[pair] = text_model.compute_pair_bucket(*pair)
                row.append(pairs[pair])
            of_pairs.append(row)
        self.pairs = make_rows(of_pairs)

    def multiply(self, weights: Floats) -> Floats:
        """Return the sum of each fragment's weights."""
        by_word = sum_rows(self.buckets, weights)
        return sum_rows(self.words, by_word) + sum_rows(self.pairs, weights)

    def multiply_back(self, of_fragments: Floats) -> Floats:
        """Return for each bucket the sum over the fragments that have it."""
        by_word = spread_rows(self.words, of_fragments, len(self.buckets.lengths))
        return spread_rows(self.buckets, by_word, BUCKETS) + spread_rows(self.pairs, of_fragments, BUCKETS)


def make_rows(lists: Sequence[Sequence[int]]) -> Rows:
    lengths = np.array([len(row) for row in lists], dtype=np.int64)
    items = np.array([item for row in lists for item in row], dtype=np.int64)
    return Rows(items, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), lengths)


def sum_rows(rows: Rows, values: Floats) -> Floats:
    sums: Floats = np.concatenate([np.zeros(1), np.cumsum(values[rows.items])])
    found: Floats = sums[rows.starts[1:]] - sums[rows.starts[:-1]]
    return found


def spread_rows(rows: Rows, of_rows: Floats, size: int) -> Floats:
    sums = np.bincount(rows.items, weights=np.repeat(of_rows, rows.lengths), minlength=size)
    return sums.astype(np.float64)


def fit_both(examples: Sequence[Example], settings: Settings) -> tuple[Floats, Floats]:
    """Return the weights of hate and of offensive, each with its bias last."""
    fragments = list_fragments(examples, settings)
    features = Features(fragments)
    labels = np.array([label for label, _, _ in fragments])
    weights = np.array([weight for _, weight, _ in fragments])
    hate = fit(features, labels == HATE, weights * np.where(labels == HATE, settings.weight_hate, 1.0), settings.l2)
    offensive = fit(features, labels <= OFFENSIVE, weights, settings.l2)
    return hate, offensive


def fit(features: Features, positive: NDArray[np.bool_], weights: Floats, l2: float) -> Floats:
    """Return the weights and bias that minimise the weighted logistic loss with L2."""
    signs, total = np.where(positive, 1.0, -1.0), weights.sum()

    def evaluate(point: Floats) -> tuple[float, Floats]:
        margins = signs * (features.multiply(point[:-1]) + point[-1])
        loss = float((weights * np.logaddexp(0.0, -margins)).sum() / total + 0.5 * l2 * (point[:-1] ** 2).sum())
        slopes = -signs * weights * np.exp(-np.logaddexp(0.0, margins)) / total
        return loss, np.append(features.multiply_back(slopes) + l2 * point[:-1], slopes.sum())

    return minimise(evaluate, np.zeros(BUCKETS + 1))


def minimise(evaluate: Callable[[Floats], tuple[float, Floats]], point: Floats) -> Floats:
    """L-BFGS with halving steps (Nocedal & Wright, algorithm 7.5)."""
    history: deque[tuple[Floats, Floats]] = deque(maxlen=MEMORY)
    loss, slope = evaluate(point)
    for _ in range(STEPS):
        direction = -slope
        factors: list[float] = []
        for moved, changed in reversed(history):
            factors.append(float(moved @ direction) / float(moved @ changed))
            direction = direction - factors[-1] * changed
        if history:
            moved, changed = history[-1]
            direction = direction * (float(moved @ changed) / float(changed @ changed))
        for (moved, changed), factor in zip(history, reversed(factors), strict=True):
            direction = direction + (factor - float(changed @ direction) / float(moved @ changed)) * moved
        step, downhill = 1.0, float(slope @ direction)
        while step > 1e-6:
            next_point = point + step * direction
            next_loss, next_slope = evaluate(next_point)
            if next_loss <= loss + 1e-4 * step * downhill:
                break
            step /= 2
        else:
            break
        if float((next_point - point) @ (next_slope - slope)) > 0:
            history.append((next_point - point, next_slope - slope))
        point, loss, slope = next_point, next_loss, next_slope
    return point


# Integers.


def write_weights(hate: Floats, offensive: Floats) -> None:
    """Write both tables as signed bytes under one power-of-two scale."""
    largest = float(np.quantile(np.abs(np.concatenate([hate[:-1], offensive[:-1]])), 0.9999))
    shift = math.floor(math.log2(127 / largest))
    tables = [np.clip(np.rint(each[:-1] * 2**shift), -127, 127).astype(np.int8) for each in (hate, offensive)]
    margins = [round(math.log((s - 0.5) / (100.5 - s)) * 2**shift) for s in range(1, 101)]
    lines = [
        "# ruff: noqa",
        "# fmt: off",
        '"""The weights of the safety model, made by tools/train_safety_model.py: never edited by hand."""',
        "",
        f"SCALE_SHIFT = {shift}",
        '"""Weights, biases and margins are in units of 2**-SCALE_SHIFT; the weights are signed bytes in base85."""',
        "",
        f"HATE_BIAS = {round(float(hate[-1]) * 2**shift)}",
        f"OFFENSIVE_BIAS = {round(float(offensive[-1]) * 2**shift)}",
        "MARGINS = (",
        *(f"    {', '.join(map(str, margins[at : at + 20]))}," for at in range(0, 100, 20)),
        ")",
        '"""A score is how many of these the margin reaches: the logistic curve in steps of a hundredth."""',
    ]
    for name, table in zip(("HATE", "OFFENSIVE"), tables, strict=True):
        lines.append(f'\n{name} = """\\')
        text = base64.b85encode(table.tobytes()).decode()
        per_line = math.ceil(len(text) / LINE)
        lines += [text[at : at + per_line] + "\\" for at in range(0, len(text), per_line)]
        lines.append('"""')
    WEIGHTS_FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def reload_weights() -> None:
    """Let the integer code use the weights that were just written."""
    importlib.invalidate_caches()
    importlib.reload(text_model_weights)
    importlib.reload(text_model)


# Measuring.

DISGUISES: dict[str, Callable[[str, str], str]] = {
    "as written": lambda text, filler: text,
    "leet: a e i o s as 4 3 1 0 $": lambda text, filler: text.translate(str.maketrans("aeiosAEIOS", "4310$4310$")),
    "Cyrillic look-alikes of a c e o p x": lambda text, filler: text.translate(str.maketrans("aceopx", "асеорх")),
    "a zero-width space after each letter": lambda text, filler: "\u200b".join(text),
    "vowels doubled (as in training)": lambda text, filler: double_vowels(text),
    "vowels as * (as in training)": lambda text, filler: mask_vowels(text),
    "consonants doubled": lambda text, filler: re.sub("([b-df-hj-np-tv-z])", r"\1\1", text),
    "a dot after the second letter of a word": lambda text, filler: re.sub(r"\b([a-zA-Z]{2})(?=[a-z])", r"\1.", text),
    "a space after each letter": lambda text, filler: " ".join(text),
    "20 harmless words before it": lambda text, filler: f"{' '.join(filler.split()[:20])} {text}",
    "a harmless post before and after it": lambda text, filler: f"{filler}\n{text}\n{filler}",
}
IDENTITIES = (
    "gay", "lesbian", "trans", "black", "white", "asian", "jewish", "muslim",
    "christian", "immigrant", "disabled", "woman",
)  # fmt: skip
NEUTRAL = (
    "My neighbour is {} and we had coffee together this morning.",
    "As a {} person I would like to read more books about our history.",
    "The new {} community centre opens on Saturday, everyone is welcome.",
    "She wrote a thoughtful article about {} writers of the last century.",
    "I am {}.",
)


def score_text(text: str) -> Scores:
    return text_model.score(tokens(normalise(text)))


def predict(scores: Scores, thresholds: SafetyPolicy) -> int:
    """Return the class that the scores give under the thresholds of warning."""
    if scores.hate >= thresholds.warned_hate:
        return HATE
    return OFFENSIVE if scores.offensive >= thresholds.warned_offensive else NEITHER


def measure(tweets: Sequence[Example], posts: Sequence[Example]) -> str:
    """Return all figures as text, for the card."""
    thresholds = SafetyPolicy()
    of_tweets = [(tweet.label, score_text(tweet.text)) for tweet in tweets]
    of_posts = [score_text(post.text) for post in posts]
    chosen = f"hidden_hate {thresholds.hidden_hate}, warned_hate {thresholds.warned_hate}"
    lines = [
        f"thresholds: {chosen}, warned_offensive {thresholds.warned_offensive}",
        f"digest: {text_model.compute_model_digest().hex()}",
        "",
    ]
    lines += measure_classes(of_tweets, thresholds) + measure_labels(of_tweets, of_posts, thresholds)
    lines += measure_curves(of_tweets, of_posts)
    lines += measure_disguises(tweets, posts, thresholds) + measure_identities(thresholds)
    return "\n".join(lines)


def measure_classes(of_tweets: Sequence[tuple[int, Scores]], thresholds: SafetyPolicy) -> list[str]:
    table = Counter((label, predict(scores, thresholds)) for label, scores in of_tweets)
    lines = [f"three classes, {len(of_tweets)} held-out tweets (rows: what people said)", f"{'':10}" + as_columns(
        [*(f"as {name}" for name in CLASS_NAMES), "precision", "recall"]
    )]  # fmt: skip
    for label, name in enumerate(CLASS_NAMES):
        row = [table[label, guess] for guess in range(3)]
        precision = share(table[label, label], sum(table[other, label] for other in range(3)))
        lines.append(f"{name:10}" + as_columns([*map(str, row), precision, share(row[label], sum(row))]))
    return [*lines, ""]


def measure_labels(
    of_tweets: Sequence[tuple[int, Scores]], of_posts: Sequence[Scores], thresholds: SafetyPolicy
) -> list[str]:
    lines = [
        f"labels, the same tweets and {len(of_posts)} held-out posts",
        f"{'':10}" + as_columns([*LABELS, "not visible"]),
    ]
    groups = [(name, [each for said, each in of_tweets if said == label]) for label, name in enumerate(CLASS_NAMES)]
    for name, scores in [*groups, ("posts", list(of_posts))]:
        found = Counter(compute_label(*each, thresholds) for each in scores)
        hits = len(scores) - found[VISIBLE]
        lines.append(f"{name:10}" + as_columns([*(str(found[label]) for label in LABELS), share(hits, len(scores))]))
    return [*lines, ""]


def measure_curves(of_tweets: Sequence[tuple[int, Scores]], of_posts: Sequence[Scores]) -> list[str]:
    """Say for each score and threshold how precise it is among tweets, how complete, and how many posts it hits."""
    lines: list[str] = []
    for name, field, classes in (("hate", 0, (HATE,)), ("offensive", 1, (HATE, OFFENSIVE))):
        lines += [f"{name} from a score on", f"{'':10}" + as_columns(["precision", "recall", "of neither", "of posts"])]
        for low in (30, 40, 50, 60, 70, 80, 90, 95):
            hit = [label for label, scores in of_tweets if scores[field] >= low]
            right = sum(label in classes for label in hit)
            wanted = sum(label in classes for label, _ in of_tweets)
            neither = share(hit.count(NEITHER), sum(label == NEITHER for label, _ in of_tweets))
            of_harmless = share(sum(scores[field] >= low for scores in of_posts), len(of_posts))
            lines.append(
                f"{low:<10}" + as_columns([share(right, len(hit)), share(right, wanted), neither, of_harmless])
            )
        lines.append("")
    return lines


def measure_disguises(tweets: Sequence[Example], posts: Sequence[Example], thresholds: SafetyPolicy) -> list[str]:
    bad = [tweet for tweet in tweets if tweet.label in (HATE, OFFENSIVE)]
    fillers = [
        post.text for post in posts if len(post.words) >= PADDING_WORDS and not is_noticed(post.text, thresholds)
    ]
    lines = [f"disguise: share of the {len(bad)} hate and offensive tweets that is not visible"]
    for name in DISGUISES:
        texts = [DISGUISES[name](tweet.text, fillers[place % len(fillers)]) for place, tweet in enumerate(bad)]
        lines.append(f"  {name:40}{share(sum(is_noticed(text, thresholds) for text in texts), len(texts)):>8}")
    return [*lines, ""]


def measure_identities(thresholds: SafetyPolicy) -> list[str]:
    """Say how often a neutral sentence is warned of for naming a group."""
    lines = [f"bias: of {len(NEUTRAL)} neutral sentences that name a group, how many are not visible"]
    lines[0] += "; their highest scores"
    lines.append(f"{'':10}" + as_columns(["not visible", "hate", "offensive"]))
    for word in IDENTITIES:
        scores = [score_text(text.format(word)) for text in NEUTRAL]
        noticed = sum(compute_label(*each, thresholds) != VISIBLE for each in scores)
        highest = [max(each.hate for each in scores), max(each.offensive for each in scores)]
        lines.append(f"{word:10}" + as_columns([str(noticed), *map(str, highest)]))
    return lines


def is_noticed(text: str, thresholds: SafetyPolicy) -> bool:
    return compute_label(*score_text(text), thresholds) != VISIBLE


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def as_columns(values: Sequence[str]) -> str:
    return "".join(f"{value:>14}" for value in values)


def write_card(report: str) -> None:
    """Put the figures into the card, in place of the last ones; all else in it is written by hand."""
    before, fence, rest = CARD_FILE.read_text(encoding="utf-8").partition("```text\n")
    _, end, after = rest.partition("```\n")
    assert end, f"expected a block that begins with ```text in {CARD_FILE}"
    CARD_FILE.write_text(f"{before}{fence}{report}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
