"""Text: what normalising folds, what it keeps, how it is cut, and that no text makes it slow."""

import importlib.util
import re
import time
import unicodedata
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.primitives import text as text_module
from ledger.primitives.text import (
    SENTENCES_MAX,
    TEXT_CHARACTERS_MAX,
    TOKEN_CHARACTERS_MAX,
    TOKENS_MAX,
    Normalised,
    is_link,
    is_mention,
    is_tag,
    normalise,
    sentences,
    tokens,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
SECONDS_MAX = 1.0  # for a text of 10,000 bytes on a busy machine; quadratic work would take far longer

ADVERSARIAL = {
    "one token": "a" * 10_000,
    "distinct letters": "abcdefghij" * 1_000,
    "combining marks": "a" + "\u0300\u0323" * 2_499,
    "ligatures that grow eighteenfold": "\ufdfa" * 3_333,
    "single letters": "a " * 5_000,
    "points": "." * 9_999 + "x",
    "points, then marks": ".!?" * 3_333,
    "stars": "*" * 10_000,
    "leet": "a1" * 5_000,
    "dollars": "$!" * 5_000,
    "emoji": "🙈" * 2_500,
    "two emoji": "🙈🙉" * 1_250,
    "at signs": "@" * 10_000,
    "underscores": "_" * 10_000,
    "hashes": "#a" * 5_000,
    "link starts": "http://" * 1_428,
    "one link": "https://" + "x" * 9_992,
    "a tail of marks": "ab" + "!@" * 4_999,
    "short sentences": "a. " * 3_333,
    "right to left": "\u202e" + "שלום עולם " * 520,
    "zero width": "a\u200b" * 2_500,
    "line ends": "\n" * 10_000,
    "fractions": "½" * 5_000,
}


@pytest.mark.parametrize(
    "disguised",
    ["Hate", "ＨＡＴＥ", "ℌ𝔞𝔱𝔢", "һаtе", "НАТЕ", "ΗΑΤΕ", "h\u200ba\u00adt\u2060e", "ha\u0301t\u0323é", "h4te",
     "h@te", "hаaaate", "🇭🇦🇹🇪", "🅷🅰🆃🅴", "ⓗⓐⓣⓔ", "ʜᴀᴛᴇ"],
)  # fmt: skip
def test_a_disguised_word_is_folded_to_the_plain_one(disguised: str) -> None:
    assert normalise(disguised) == "hate"


@pytest.mark.parametrize("spaced", ["h a t e", "h.a.t.e", "H-A-T-E", "h_a_t_e", "h  a\nt\te", "h, a, t, e"])
def test_spaced_letters_are_one_token(spaced: str) -> None:
    assert tokens(normalise(spaced)) == ("hate",)


def test_two_single_letters_stay_apart() -> None:
    assert tokens(normalise("plan b I like")) == ("plan", "b", "i", "like")


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Call 030 1234567!", "call 0 0!"),
        ("Call 7654321!", "call 0!"),
        ("tel030-1234567", "tel0-0"),
        ("room12345b", "room0b"),
        ("mp3 route66 4july1990", "mp0 route0 0july0"),
        ("٣٤٥ ৪৫ １２３ ①② x²", "0 0 0 0 x0"),
        ("$100 $5k 3.14", "$0 $0k 0.0"),
        ("https://ex.com/a1b22?id=12345", "https://ex.com/a0b0?id=0"),
        ("@bob_1999 #2013", "@bob_0 #0"),
    ],
)
def test_digits_become_one_0_whatever_the_number(text: str, folded: str) -> None:
    assert normalise(text) == folded


@given(st.from_regex(r"\+?[0-9][0-9 /-]{4,20}[0-9]", fullmatch=True))
def test_no_digit_of_a_telephone_number_can_be_told_from_another(number: str) -> None:
    other = "".join("9" if character.isdigit() else character for character in number)

    assert tokens(normalise(f"call {number} now")) == tokens(normalise(f"call {other} now"))


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("n00b", "noob"),
        ("w0rd5mith", "wordsmith"),
        ("a$$et", "asset"),
        ("sh*p", "shp"),
        ("*bold* and **bold**", "*bold* and **bold**"),
        ("stop! it", "stop! it"),
        ("don't, don’t", "dont, dont"),
        ("wow!!!! yesss", "wow! yes"),
        ("cool, book", "cool, book"),
        ("tab\there\x00\x1b", "tab here"),
        ("Straße, œuvre, Łódź", "strasse, oeuvre, lodz"),
        ("한국어", "한국어"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert normalise(text) == folded


def test_links_mentions_tags_and_emoji_are_tokens() -> None:
    found = tokens(normalise("See https://example.org/Path_x?a=b, @Ann_B and #Code_Art 🙈🙉 me@home"))

    assert found == ("see", "https://example.org/path_x?a=b,", "@ann_b", "and", "#code_art", "🙈", "🙉", "meahome")
    assert [is_link(token) for token in found] == [False, True, *[False] * 6]
    assert [is_mention(token) for token in found] == [False, False, True, *[False] * 5]
    assert [is_tag(token) for token in found] == [False] * 4 + [True] + [False] * 3


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("One two three. Four five! Six? (Seven.) Eight", (3, 2, 1, 1, 1)),
        ("A heading\nand a line\n\n", (2, 3)),
        ("Version 3.11 of example.org is out", (8,)),
        ("...", ()),
        ("", ()),
    ],
)
def test_sentences_are_counted_in_tokens(text: str, lengths: tuple[int, ...]) -> None:
    assert sentences(normalise(text)) == lengths


@given(TEXTS)
def test_any_text_gives_a_bounded_result(text: str) -> None:
    folded = normalise(text)
    found = tokens(folded)

    assert all(0 < len(token) <= 201 + TOKEN_CHARACTERS_MAX for token in found)
    assert sum(sentences(folded)) >= (1 if found else 0)
    assert not any(unicodedata.category(character) in ("Mn", "Me", "Mc", "Cf", "Co", "Cn") for character in folded)
    assert not any(character.isdecimal() and character != "0" for character in folded)


@given(TEXTS)
def test_case_and_unseen_characters_change_nothing(text: str) -> None:
    assert normalise("\u200b".join(text)) == normalise(text)
    assert normalise(text.casefold()) == normalise(normalise(text.casefold())) or any(map(str.isdigit, normalise(text)))


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_no_text_of_10_000_bytes_is_slow_or_unbounded(name: str) -> None:
    text = ADVERSARIAL[name]
    assert len(text.encode()) <= 10_000
    start = time.perf_counter()

    folded = normalise(text)
    found, lengths = tokens(folded), sentences(folded)

    assert time.perf_counter() - start < SECONDS_MAX
    assert len(folded) <= 2 * TEXT_CHARACTERS_MAX
    assert len(found) <= TOKENS_MAX
    assert len(lengths) <= SENTENCES_MAX


def test_a_longer_text_is_cut() -> None:
    assert normalise("ab" * TEXT_CHARACTERS_MAX) == normalise("ab" * (TEXT_CHARACTERS_MAX // 2))
    assert len(tokens(normalise("ab cd " * TOKENS_MAX))) == TOKENS_MAX


def test_the_unicode_tables_are_those_of_the_network() -> None:
    assert unicodedata.unidata_version == text_module.UNICODE_VERSION == "14.0.0"


def test_other_unicode_tables_are_refused_on_import(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = importlib.util.spec_from_file_location("text_again", text_module.__file__)
    assert loader is not None
    assert loader.loader is not None
    again = importlib.util.module_from_spec(loader)
    monkeypatch.setattr(unicodedata, "unidata_version", "15.1.0")

    with pytest.raises(AssertionError, match=r"expected the Unicode tables 14\.0\.0 .*, got 15\.1\.0"):
        loader.loader.exec_module(again)


def count_by_cutting(text: Normalised) -> tuple[int, ...]:
    """The definition: each sentence's tokens are those of its own text."""
    found = list(text_module._SENTENCE_END.finditer(text))  # pyright: ignore[reportPrivateUsage]
    cuts, ends = [0, *(match.end() for match in found)], [*(match.start() for match in found), len(text)]
    lengths = [len(tokens(Normalised(text[start:end]))) for start, end in zip(cuts, ends, strict=True)]
    return tuple(length for length in lengths if length)


PIECES = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    (" ", ". ", '." ', "!\n", "?", "a", "b c d", "w.o.r.d", "two words", "https://a.b/c.", "@you", "#t", "🙂", "。")
)  # fmt: skip


@given(st.lists(PIECES, max_size=40).map("".join))
def test_a_sentence_has_the_tokens_of_its_own_text(text: str) -> None:
    normalised = normalise(text)

    assert sentences(normalised) == count_by_cutting(normalised)


@given(st.lists(PIECES | st.sampled_from(("h4ck", "$100", "x²y", "_a_1", "https://x1")), max_size=20).map("".join))
def test_only_runs_with_more_than_letters_are_folded(text: str) -> None:
    """Folding every run gives the same: one of letters alone has nothing to fold."""
    every = re.compile(r"https?://\S+|[\w@$!*]+", re.IGNORECASE)
    expected = normalise(text)
    with mock.patch.object(text_module, "_RUN", every):
        assert normalise(text) == expected
