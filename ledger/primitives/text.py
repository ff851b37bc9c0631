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
from itertools import islice
from typing import NewType

UNICODE_VERSION = "14.0.0"
TEXT_CHARACTERS_MAX = 10_000
TOKENS_MAX = 2_000
TOKEN_CHARACTERS_MAX = 40
"""A longer run of letters is cut into tokens of this length."""
LINK_CHARACTERS_MAX = 200
SENTENCES_MAX = 500
LEET_DIGITS_MAX = 3
SPACED_LETTERS_MIN = 3
"""So many single letters in a row are one word, spaced out."""

if unicodedata.unidata_version != UNICODE_VERSION:
    raise AssertionError(
        f"ledger.primitives.text: expected the Unicode tables {UNICODE_VERSION} of Python 3.11, got "
        f"{unicodedata.unidata_version}: with others this node would judge texts differently from the rest"
    )

Normalised = NewType("Normalised", str)
"""A text that `normalise` gave."""

_UNSEEN = ("Cc", "Cf", "Cn", "Co", "Cs", "Mc", "Me", "Mn")
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
_ASCII: dict[int, str | None] = dict.fromkeys((*range(32), 127, ord("'"))) | {
    ord(white): "\n" if white == "\n" else " " for white in _WHITE
}
_LEET = str.maketrans("0123456789@$!", "oizeasgtbgasi", "*")

_RUN = re.compile(r"(?<![\w@$!*])(?:https?://\S+|[^\W\d_]*+[\d_@$!*][\w@$!*]*)", re.IGNORECASE)
"""A link, or a whole run that holds more than letters: one of letters alone is left as it is.  The look behind makes a
search begin at the start of a run only, and the possessive part never goes back, so it stays linear."""
_DIGITS = re.compile(r"\d+")
_REPEATED = re.compile(r"([^\n])\1{2,}")
_TOKEN = re.compile(
    rf"https?://\S{{1,{LINK_CHARACTERS_MAX}}}|(?<!\w)[@#]\w{{1,{TOKEN_CHARACTERS_MAX}}}"
    rf"|[^\W_]{{1,{TOKEN_CHARACTERS_MAX}}}|[\u2600-\u27bf\U0001f300-\U0001faff]"
)
_SENTENCE_END = re.compile(r"[.!?\u3002][\"')\]]?(?=\s|$)|\n")


def normalise(text: str) -> Normalised:
    """Return the text as all rules see it; the steps are those above.  Total: any text gives some result."""
    text = text[:TEXT_CHARACTERS_MAX]
    if not text.isascii():
        text = unicodedata.normalize("NFKD", _drop_unseen(text))[:TEXT_CHARACTERS_MAX]
        text = _drop_unseen(text).translate(_CONFUSABLES).casefold()
        text = unicodedata.normalize("NFKC", text).translate(_CONFUSABLES)
    text = _RUN.sub(_fold_run, text.lower().translate(_ASCII))
    return Normalised(_REPEATED.sub(r"\1", text))


def tokens(text: Normalised) -> tuple[str, ...]:
    """Return the first TOKENS_MAX tokens: words, links, @mentions, #tags and single emoji, in their order.

    Single letters in a row, with whatever between them, are one word: "h i d d e n" and "h.i.d.d.e.n".
    """
    found: list[str] = []
    letters: list[str] = []
    for match in _TOKEN.finditer(text):
        if len(found) + len(letters) >= TOKENS_MAX:
            break
        token = match[0]
        if len(token) == 1 and token.isalpha():
            letters.append(token)
            continue
        if letters:
            _put_letters(letters, found)
        found.append(token)
    _put_letters(letters, found)
    return tuple(found)


def sentences(text: Normalised) -> tuple[int, ...]:
    """Return how many tokens each of the first SENTENCES_MAX sentences has; one without tokens is none.

    A sentence ends at . ! ? before white space or the end, and at the end of a line.  Of one with more than TOKENS_MAX
    tokens so many count.
    """
    ends = [match.start() for match in islice(_SENTENCE_END.finditer(text), SENTENCES_MAX + 1)]
    if len(ends) > SENTENCES_MAX:
        ends.pop()
    else:
        ends.append(len(text) + 1)
    lengths = [0] * len(ends)
    at = letters = 0
    for match in _TOKEN.finditer(text):
        start, stop = match.span()
        if start >= ends[at]:
            lengths[at] += _count_words(letters)
            letters = 0
            at = bisect_right(ends, start)
            if at == len(ends):
                break
        if stop - start == 1 and text[start].isalpha():
            letters += 1
        else:
            lengths[at] += _count_words(letters) + 1
            letters = 0
    if letters:
        lengths[at] += _count_words(letters)
    return tuple([min(length, TOKENS_MAX) for length in lengths if length])


def is_link(token: str) -> bool:
    return token.startswith(("http://", "https://"))


def is_mention(token: str) -> bool:
    return token.startswith("@")


def is_tag(token: str) -> bool:
    return token.startswith("#")


def _drop_unseen(text: str) -> str:
    """Remove what has no shape of its own; white space that is a control stays."""
    category = unicodedata.category
    return "".join(
        [
            character
            for character in text
            if character < "\x7f" or (category(character) not in _UNSEEN and character not in _FILLERS)
        ]
    )


def _fold_run(match: re.Match[str]) -> str:
    run = match[0]
    if run.isalpha():
        return run
    if run.startswith(("http://", "https://")):
        return _DIGITS.sub("0", run)
    return "_".join([_fold_leet(part) for part in run.split("_")])


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


def _count_words(letters: int) -> int:
    """Return how many tokens so many single letters in a row are."""
    if letters < SPACED_LETTERS_MIN:
        return letters
    return (letters + TOKEN_CHARACTERS_MAX - 1) // TOKEN_CHARACTERS_MAX


def _put_letters(letters: list[str], found: list[str]) -> None:
    """Move single letters to the tokens, as one word where they are enough; empty `letters`."""
    if len(letters) >= SPACED_LETTERS_MIN:
        word = "".join(letters)
        found.extend(word[at : at + TOKEN_CHARACTERS_MAX] for at in range(0, len(word), TOKEN_CHARACTERS_MAX))
    else:
        found.extend(letters)
    letters.clear()
