"""Assessments stay what they are: digests of what the first version of this code gave for many texts."""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from guards.assessment import assess
from guards.text_model import list_words, score
from ledger.primitives.text import normalise, sentences, tokens
from node.devnet import SAMPLE
from node.loader import read_posts

DRAWN = 1_000
CODE_POINTS_A_TEXT = 256
PIECES = (
    " ", ". ", '." ', "!\n", "?", "a", "b c d", "w.o.r.d", "two words", "https://a.b/c.", "https://a.b/c.) ", "http://",
    "HTTPS://X1", "x" * 45, "@you", "#t", "🙂", "。", "。 ", "\n\n\n", "...", "h4ck", "$100", "x²y", "_a_1", "*b*", "’",
    "“q”", "don't", "é", "ё", "Ж", "œ", "\u2800", "\u200b", "\u0301", "한", "ᄒ", "ᅡ", "ᆫ", "ﷺ", "①", "٣", "０", "ſ", "ß",
    "İ", "K", "Σ", "ς", "ꭰ", "Ꭰ", "\t", "\r", "\x00", "\x7f", "\x85", "\u2028", "\u3000", "🇩🇪", "🅷", "i ", "0 ", "❶",
    "ª", "²", "https://" + "y" * 199 + '." ', "https://" + "y" * 200 + '." ', "https://" + "y" * 198 + '."\n',
    "h t t p", "wow!!!", "$$$", "#a#b", "a@b", "@@x", "word_one_two", "fucking ", "\ud800",
)  # fmt: skip
TAGS = ("a", "#a", "two_words", "prog_ab_cde", "", "é", "hello", "#", "x_#abc", "W0RD", "@you", "http://a")
LONG = (
    "a" * 10_000, "a " * 5_000, "a. " * 3_333, "\n" * 10_000, "." * 9_999 + "x", "ab cd " * 2_000, "http://" * 1_428,
    "a1" * 5_000, "🙈" * 2_500, "abc. " * 2_000, "a b " * 2_500 + "https://x.y. " * 10, "x. https://e.f/g! " * 500,
    "\ufdfa" * 3_333, "a\nb " * 2_400, "one two. " * 499 + "x https://y.z. end",
    "one two. " * 499 + "x https://y.z. end\n", "one two. " * 500 + "rest",
    "one two. " * 501 + "rest", "ab. " * 500, "1 2 3 a 4 b " * 600,
)  # fmt: skip

Case = tuple[str, Sequence[str]]


def list_posts() -> list[Case]:
    return [(post.text, (post.community,)) for post in read_posts(SAMPLE)]


def list_code_points() -> Iterator[Case]:
    """Every character in a word of its own; planes 4 to 13, 15 and 16 hold none."""
    for start in (*range(0, 0x40000, CODE_POINTS_A_TEXT), 0xE0000, 0xE0100):
        characters = [chr(number) for number in range(start, start + CODE_POINTS_A_TEXT)]
        yield f"{' '.join(characters)}. {'x '.join(characters[::8])}", ()


def draw_texts() -> Iterator[Case]:
    draw = random.Random(2013)
    for _ in range(DRAWN):
        length = draw.choice((3, 10, 40, 200))
        sort = draw.randrange(4)
        if sort == 0:
            text = "".join([draw.choice(PIECES) for _ in range(length)])
        elif sort == 1:
            between = (" ", "\n", chr(draw.randrange(32, 0xD000)))
            text = "".join([draw.choice(PIECES) + draw.choice(between) for _ in range(length)])
        elif sort == 2:
            text = "".join([chr(draw.choice((draw.randrange(128), draw.randrange(0x700)))) for _ in range(length)])
        else:
            text = "".join([draw.choice("abhtps0 .\n!?\"')]1@#$*_:/") for _ in range(3 * length)])
        tags = [draw.choice(TAGS) for _ in range(draw.randrange(4))]
        yield text, [*tags, *text.split()[:1]]


def list_long_texts() -> list[Case]:
    return [(text, ("end", "one")) for text in LONG]


def compute_digest(cases: Iterable[Case]) -> str:
    """Return a digest of all that is computed from the texts, the steps between included."""
    state = hashlib.sha256()
    for text, tags in cases:
        folded = normalise(text)
        found = tokens(folded)
        state.update(ascii((folded, found, sentences(folded), list_words(found), score(found))).encode())
        state.update(ascii(assess(text, tags)).encode())
    return state.hexdigest()


@pytest.mark.parametrize(
    ("cases", "digest"),
    [
        (list_posts, "a8ffc3cce8601082ea953a035874aa3f6881e5e88eb61e18bf5b09804019de16"),
        (list_code_points, "43a017bcd65e075448ec66f1584fefc11ca8e65cab275280d1148084846d8164"),
        (draw_texts, "b76fd9a20e959ce63680e5ce8f93ae9dafea08cbf4cbd82682db8de3cda56cd4"),
        (list_long_texts, "bb4088d5fda8b0e57612dfaa23df70028906cf52ac7e11cc822c19f3194c2db9"),
    ],
    ids=["real posts", "every character", "drawn texts", "long texts"],
)
def test_the_same_is_computed_as_by_the_first_version(cases: Callable[[], Iterable[Case]], digest: str) -> None:
    assert compute_digest(cases()) == digest


def test_nothing_depends_on_which_texts_came_before() -> None:
    posts = list_posts()
    forward = [assess(*post) for post in posts]

    assert [assess(*post) for post in reversed(posts)] == forward[::-1]
