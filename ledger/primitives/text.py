"""Text as rules see it: normalised, so that look-alikes, case and spacing hide nothing, then cut into tokens.

What this file computes is part of consensus: an author signs integers that were made from it, and every validator makes
them again.  So it is bound to one version of the Unicode tables, and to one order of steps:

1. at most TEXT_CHARACTERS_MAX characters; the rest is not read
2. what can't be seen is removed: controls, format characters (zero-width, direction, soft hyphen), combining marks,
   private and unassigned characters, blank fillers.  Before step 3, so that no long run of marks has to be sorted there
3. NFKD, at most TEXT_CHARACTERS_MAX characters, and the marks that came apart are removed: accents, vowel points
4. look-alikes become ASCII letters (table below), upper case by its own shape
5. casefold, NFKC, and once more step 4 for what that made
6. apostrophes are removed: "don't" is one token
7. leet, except in links: a run of letters, digits and @ $ ! * that has at least two letters, at most LEET_DIGITS_MAX
   digits and no more digits than letters ($ counts as one).  All up to its last letter or $ becomes letters; a * goes
8. every run of digits that is left becomes one "0": neither a number nor its length shows in what is computed from here
9. a character three or more times in a row becomes one

Every step is linear in the text.  Normalising twice may fold more than once: it is done once, from the text itself.

The table of look-alikes is our own: letters of other alphabets that most typefaces draw like a Latin one.  The idea is
that of Unicode's UTS 39 (confusables); its data file is not copied.  It is modest: the ones that people use.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain, islice
from typing import NamedTuple, NewType

UNICODE_VERSION = "14.0.0"
TEXT_CHARACTERS_MAX = 10_000
TOKENS_MAX = 2_000
TOKEN_CHARACTERS_MAX = 40
"""A longer run of letters is cut into tokens of this length."""
LINK_CHARACTERS_MAX = 200
"""After its https://."""
SENTENCES_MAX = 500
LEET_DIGITS_MAX = 3
SPACED_LETTERS_MIN = 3
"""So many single letters in a row are one word, spaced out."""
RUNS_CACHED = 4_096
RUN_CHARACTERS_CACHED = 40
"""So many runs of at most so many characters keep what they fold to; nothing but speed depends on it."""

if unicodedata.unidata_version != UNICODE_VERSION:
    raise AssertionError(
        f"ledger.primitives.text: expected the Unicode tables {UNICODE_VERSION} of Python 3.11, got "
        f"{unicodedata.unidata_version}: with others this node would judge texts differently from the rest"
    )

Normalised = NewType("Normalised", str)
"""A text that `normalise` gave."""


class Pieces(NamedTuple):
    """A text that was cut: what `tokens` and `sentences` give of it."""

    tokens: tuple[str, ...]
    lengths: tuple[int, ...]  # of its sentences, in tokens


_LINKS = ("http://", "https://")
POINTERS = ("@", *_LINKS)
"""How a token begins that is no word but points elsewhere: a mention or a link."""

_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Mc", "Me", "Mn"})
_WHITE = "\t\n\v\f\r"  # controls that are white space
_FILLERS = "\u115f\u1160\u3164\uffa0"  # Hangul fillers: letters by category, blank on screen

_LOOKALIKES = {
    # Cyrillic, Greek, phonetic and small-capital Latin, Armenian, Cherokee, Georgian.
    "a": "аαΛɑɐᴀᎪæӕ",
    "b": "вьъбВΒβƀɓʙᴃᏴꞵ",
    "c": "сςϲɔɕᴄᏟ",
    "d": "ԁđðɖɗᴅᎠδ",
    "e": "еєэΕεҽəɛɜɘǝᴇᎬΣ",
    "f": "ƒꜰϝ",
    "g": "ɡɠɢցԍ",
    "h": "нһНΗħɦʜհᎻђћ",
    "i": "іιΙıɩɨɪӏ",
    "j": "јϳȷɟᴊյᎫ",
    "k": "кΚκᴋᏦ",
    "l": "łɫɭʟᴌᏞӀ",
    "m": "мΜɱᴍᎷ",
    "n": "пиΝηŋɲɳɴոռ",
    "o": "оοøɵσΟΘθѳᴏօ",
    "p": "рρΡþᴘᏢ",
    "q": "ԛզʠ",
    "r": "гяɹɽʀʁᴙᴦᎡ",
    "s": "ѕʂꜱՏᏚ",
    "t": "тτΤŧʈᴛᎢ",
    "u": "υʉʊᴜսцџ",
    "v": "ѵνʋʌᴠᏙ",
    "w": "ԝшщωψʍɯᴡᎳաɰ",
    "x": "хχΧжӿ",
    "y": "уΥγүұʏɣყ",
    "z": "зΖζʐʑʒᴢᏃ",
}
"""The shapes that are drawn like each letter.  A capital that is missing goes with its small letter."""


def _make_confusables() -> dict[int, str | None]:
    pairs = {shape: letter for letter in sorted(_LOOKALIKES) for shape in _LOOKALIKES[letter]}
    table: dict[int, str | None] = {ord(shape): pairs[shape] for shape in sorted(pairs)}
    for shape in sorted(pairs):
        capital = shape.upper()
        if len(capital) == 1 and not capital.isascii() and capital not in pairs:
            table[ord(capital)] = pairs[shape]
    for start in (0x1F150, 0x1F170, 0x1F1E6):  # white on black, round and square, and the letters of flags
        table |= {start + place: chr(ord("a") + place) for place in range(26)}
    apostrophes: dict[int, str | None] = dict.fromkeys(map(ord, "\u2018\u2019\u02bc"))
    return table | apostrophes | {ord("œ"): "oe", ord("Œ"): "oe", ord("\u2800"): " "}


_CONFUSABLES = _make_confusables()
_REPLACED_MAX = 8
"""So many shapes are replaced one after the other; more of them in one pass, which is slow by the character."""
_ASCII: dict[int, str | None] = dict.fromkeys((*range(32), 127, ord("'"))) | {
    ord(white): "\n" if white == "\n" else " " for white in _WHITE
}
_ASCII_TRANSLATED = re.compile(r"[\0-\t\v-\x1f\x7f']")
_LEET = str.maketrans("0123456789@$!", "oizeasgtbgasi", "*")

_MORE_THAN_LETTERS = re.compile(r"[\d_@$!*]")
_RUN = re.compile(r"(?<![\w@$!*])(?:https?://\S+|[^\W\d_]*+[\d_@$!*][\w@$!*]*)")
"""A link, or a whole run that holds more than letters: one of letters alone is left as it is.  The look behind makes a
search begin at the start of a run only, and the possessive part never goes back, so it stays linear."""
_DIGITS = re.compile(r"\d+")
_REPEATED = re.compile(r"([^\n])\1\1+")
_TOKEN = re.compile(
    rf"https?://\S{{1,{LINK_CHARACTERS_MAX}}}|[@#](?<!\w[@#])\w{{1,{TOKEN_CHARACTERS_MAX}}}"
    rf"|[^\W_]{{1,{TOKEN_CHARACTERS_MAX}}}|[\u2600-\u27bf\U0001f300-\U0001faff]"
)
_SENTENCE_END = re.compile(r"[.!?\u3002\n](?:(?<=\n)|[\"')\]]?(?=\s|$))")
"""It begins with one set of characters, which is what the search is fast at."""
_LETTERS_SPACED = bytes([1] * SPACED_LETTERS_MIN)


def normalise(text: str) -> Normalised:
    """Return the text as all rules see it; the steps are those above.  Total: any text gives some result."""
    text = text[:TEXT_CHARACTERS_MAX]
    if not text.isascii():
        text = _fold_shapes(text)
    text = text.lower()
    if text.isascii() or _ASCII_TRANSLATED.search(text):  # translating is fast for what is ASCII alone
        text = text.translate(_ASCII)
    if _MORE_THAN_LETTERS.search(text):
        text = _RUN.sub(_fold_run, text)
    return Normalised(_REPEATED.sub(r"\1", text))


def tokens(text: Normalised) -> tuple[str, ...]:
    """Return the first TOKENS_MAX tokens: words, links, @mentions, #tags and single emoji, in their order.

    Single letters in a row, with whatever between them, are one word: "h i d d e n" and "h.i.d.d.e.n".
    """
    return cut(text).tokens


def sentences(text: Normalised) -> tuple[int, ...]:
    """Return how many tokens each of the first SENTENCES_MAX sentences has; one without tokens is none.

    A sentence ends at . ! ? before white space or the end, and at the end of a line.  Of one with more than TOKENS_MAX
    tokens so many count.
    """
    return cut(text).lengths


def cut(text: Normalised) -> Pieces:
    """Return tokens and sentences of a text, from one scan."""
    parts = _list_parts(text)
    found = list(chain.from_iterable(parts))
    if len(parts) > SENTENCES_MAX + 1:  # text after the last end that counts is a sentence unless it has an end itself
        del parts[SENTENCES_MAX:]
    if len(found) <= TOKENS_MAX and _LETTERS_SPACED not in bytes(map(len, found)):
        return Pieces(tuple(found), tuple([len(part) for part in parts if part]))  # nothing to join, nothing to drop
    lengths = [min(TOKENS_MAX, len(_join_letters(part, len(part)))) for part in parts if part]
    return Pieces(tuple(_join_letters(found, TOKENS_MAX)), tuple(lengths))


def is_link(token: str) -> bool:
    return token.startswith(_LINKS)


def is_mention(token: str) -> bool:
    return token.startswith("@")


def is_tag(token: str) -> bool:
    return token.startswith("#")


def _fold_shapes(text: str) -> str:
    """Return the text after steps 2 to 5, which a text of ASCII alone has no need of."""
    seen = _drop_unseen(text)
    apart = unicodedata.normalize("NFKD", seen)[:TEXT_CHARACTERS_MAX]
    if apart != seen:
        apart = _drop_unseen(apart)
    text = _replace_lookalikes(apart).casefold()
    return text if text.isascii() else _replace_lookalikes(unicodedata.normalize("NFKC", text))


def _drop_unseen(text: str) -> str:
    """Remove what has no shape of its own; white space that is a control stays."""
    unseen = frozenset([character for character in dict.fromkeys(text) if character > "~" and _is_unseen(character)])
    return "".join([character for character in text if character not in unseen]) if unseen else text


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN or character in _FILLERS


def _replace_lookalikes(text: str) -> str:
    shapes = [shape for shape in map(ord, dict.fromkeys(text)) if shape in _CONFUSABLES]
    if len(shapes) > _REPLACED_MAX:
        return text.translate(_CONFUSABLES)
    for shape in shapes:
        text = text.replace(chr(shape), _CONFUSABLES[shape] or "")
    return text


def _list_parts(text: Normalised) -> list[list[str]]:
    """Return the matches of _TOKEN between the ends of sentences, and all after the first SENTENCES_MAX + 1 as one."""
    if "://" not in text:
        return [_TOKEN.findall(part) for part in _SENTENCE_END.split(text, SENTENCES_MAX + 1)]
    # A sentence may end inside a link, which is one token nevertheless.
    ends = [match.start() for match in islice(_SENTENCE_END.finditer(text), SENTENCES_MAX + 1)]
    parts: list[list[str]] = [[] for _ in range(len(ends) + 1)]
    for match in _TOKEN.finditer(text):
        parts[bisect_right(ends, match.start())].append(match[0])
    return parts


def _join_letters(found: Iterable[str], tokens_max: int) -> list[str]:
    """Return the tokens with single letters in a row as one word, where they are enough.

    Reading stops when there are `tokens_max` tokens and letters that wait to be joined.
    """
    joined: list[str] = []
    letters: list[str] = []
    for token in found:
        if len(joined) + len(letters) >= tokens_max:
            break
        if len(token) == 1 and token.isalpha():
            letters.append(token)
            continue
        if letters:
            _put_letters(letters, joined)
        joined.append(token)
    _put_letters(letters, joined)
    return joined


def _fold_run(match: re.Match[str]) -> str:
    run = match[0]
    return _fold_again(run) if len(run) <= RUN_CHARACTERS_CACHED else _fold(run)


def _fold(run: str) -> str:
    if run.isdecimal():
        return "0"
    if run.startswith(_LINKS):
        return _DIGITS.sub("0", run)
    return "_".join([_fold_leet(part) for part in run.split("_")])


@lru_cache(RUNS_CACHED)
def _fold_again(run: str) -> str:
    return _fold(run)


def _fold_leet(run: str) -> str:
    """Turn one run into letters where it is a word in disguise, and its other digits into one 0."""
    word = run.lstrip("@!*")
    before = run[: len(run) - len(word)]
    inside = word.lstrip("$")  # a $ in front may be an amount
    letters = sum(map(str.isalpha, inside)) + inside.count("$")
    digits = sum(map(str.isdecimal, inside))
    if letters >= 2 and digits <= LEET_DIGITS_MAX and digits <= letters:
        disguised = word.rstrip("0123456789@!*")
        word = disguised.translate(_LEET) + word[len(disguised) :]
    return before + _DIGITS.sub("0", word)


def _put_letters(letters: list[str], found: list[str]) -> None:
    """Move single letters to the tokens, as one word where they are enough; empty `letters`."""
    if len(letters) >= SPACED_LETTERS_MIN:
        word = "".join(letters)
        found.extend(word[at : at + TOKEN_CHARACTERS_MAX] for at in range(0, len(word), TOKEN_CHARACTERS_MAX))
    else:
        found.extend(letters)
    letters.clear()
