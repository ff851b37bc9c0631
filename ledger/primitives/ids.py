"""Ids for people: 32 bytes as checksummed text, such as acct1…, so that a slip of the hand or eye is caught.

The form is bech32m (BIP 350): a kind, "1", 52 letters for 32 bytes, 6 letters of checksum, which finds any four wrong
letters.  Inside the node an id is its 32 bytes.  Source: https://github.com/bitcoin/bips/blob/master/bip-0350.mediawiki
"""

from base64 import b32decode, b32encode
from enum import StrEnum
from functools import cache

from ledger.primitives.hashing import tagged_hash

ID_BYTES = 32
TEXT_LENGTH_MAX = 90

_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {letter: value for value, letter in enumerate(_LETTERS)}
_RFC4648 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # the letters of base32 in the standard library, same bit order
_TO_BECH32 = bytes.maketrans(_RFC4648, _LETTERS.encode())
_TO_RFC4648 = bytes.maketrans(_LETTERS.encode(), _RFC4648)
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M = 0x2BC830A3
_GROUPS = 52  # of 5 bits; the last holds one bit of the payload and four that are zero
_CHECK_LETTERS = 6
_SHIFTS = tuple(range(5 * (_CHECK_LETTERS - 1), -1, -5))


class IdKind(StrEnum):
    """What an id names; it is the id's prefix."""

    ACCOUNT = "acct"
    EVENT = "evt"
    BLOCK = "blk"
    NODE = "node"
    CHAIN = "chain"
    POST = "post"


class IdInvalid(ValueError):
    """A text is not an id of the kind that was expected."""


def compute_account_id(chain_id: bytes, public_key: bytes) -> bytes:
    """Return the 32-byte id of the account that `public_key` opens on this chain."""
    return tagged_hash("atlas/account", chain_id, public_key)


def encode_id(kind: IdKind, raw: bytes) -> str:
    """Return the text of a 32-byte id."""
    if len(raw) != ID_BYTES:
        raise IdInvalid(f"expected {ID_BYTES} bytes for an id of kind {kind.value}, got {len(raw)}")
    checksum, tables = _checksum_tables(kind)
    for table, byte in zip(tables, raw, strict=True):
        checksum ^= table[byte]
    return f"{kind.value}1{b32encode(raw)[:_GROUPS].translate(_TO_BECH32).decode()}{_check_letters(checksum)}"


def decode_id(kind: IdKind, text: str) -> bytes:
    """Return the 32 bytes of an id of this kind.  All capitals are accepted, as in QR codes.  Raises IdInvalid."""
    prefix, groups = decode_bech32m(text)
    if prefix != kind.value:
        raise IdInvalid(f"expected an id of kind {kind.value}, got one of kind {prefix}")
    if len(groups) != _GROUPS:
        raise IdInvalid(f"expected {_GROUPS} letters after {kind.value}1 and before the checksum, got {len(groups)}")
    if groups[-1] & 0b1111:
        raise IdInvalid(f"expected the last four bits of an id of kind {kind.value} to be zero, got other padding")
    letters = text.lower()[-_GROUPS - _CHECK_LETTERS : -_CHECK_LETTERS]
    return b32decode(letters.encode().translate(_TO_RFC4648) + b"====")


def decode_bech32m(text: str) -> tuple[str, list[int]]:
    """Return prefix and 5-bit groups, without the checksum, of any bech32m text.  Raises IdInvalid."""
    if not len(text) <= TEXT_LENGTH_MAX:
        raise IdInvalid(f"expected at most {TEXT_LENGTH_MAX} characters, got {len(text)}")
    lowered = text.lower()
    if text not in (lowered, text.upper()):
        raise IdInvalid("expected all small letters or all capitals, got a mixture")
    prefix, one, rest = lowered.rpartition("1")
    if not one or not prefix:
        raise IdInvalid('expected a kind, "1", letters and a checksum, got no kind')
    if not all("!" <= letter <= "~" for letter in prefix):
        raise IdInvalid("expected a kind of printable ASCII, got other characters")
    if len(rest) < _CHECK_LETTERS:
        raise IdInvalid(f"expected a checksum of {_CHECK_LETTERS} letters, got {len(rest)}")
    groups: list[int] = []
    for letter in rest:
        value = _VALUES.get(letter)
        if value is None:
            raise IdInvalid(f"expected letters of {_LETTERS}, got {letter!r}")
        groups.append(value)
    if _polymod(_expand(prefix) + groups) != _BECH32M:
        raise IdInvalid("expected a checksum that fits, got a wrong one: a letter differs from the id that was meant")
    return prefix, groups[:-_CHECK_LETTERS]


def encode_bech32m(prefix: str, groups: list[int]) -> str:
    """Return the bech32m text of 5-bit groups under a small-letter prefix."""
    checksum = _polymod(_expand(prefix) + groups + [0] * _CHECK_LETTERS) ^ _BECH32M
    return f"{prefix}1{''.join([_LETTERS[group] for group in groups])}{_check_letters(checksum)}"


def _expand(prefix: str) -> list[int]:
    return [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]


def _polymod(groups: list[int]) -> int:
    check = 1
    for group in groups:
        check = (check & 0x1FFFFFF) << 5 ^ group ^ _FOLDS[check >> 25]
    return check


def _fold(top: int) -> int:
    folded = 0
    for bit, generator in enumerate(_GENERATOR):
        if top >> bit & 1:
            folded ^= generator
    return folded


_FOLDS = tuple(_fold(top) for top in range(32))
"""What the five bits that leave the checksum at the top add to it."""


def _check_letters(checksum: int) -> str:
    return "".join([_LETTERS[checksum >> shift & 31] for shift in _SHIFTS])


@cache
def _checksum_tables(kind: IdKind) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """The checksum of 32 zero bytes, and for each byte's place and value what it changes.

    The checksum is linear over bits: that of any payload is the exclusive or of its bytes' shares.
    """
    tail = [0] * _CHECK_LETTERS
    zero = _polymod(_expand(kind.value) + [0] * _GROUPS + tail)
    shares: list[int] = []  # of each of the 256 bits, the first bit first
    for bit in range(8 * ID_BYTES):
        groups = [0] * _GROUPS
        groups[bit // 5] = 0b10000 >> bit % 5
        shares.append(_polymod(_expand(kind.value) + groups + tail) ^ zero)
    tables: list[tuple[int, ...]] = []
    for place in range(ID_BYTES):
        table = [0]
        for share in reversed(shares[8 * place : 8 * place + 8]):  # the last bit of a byte is its lowest
            table += [known ^ share for known in table]
        tables.append(tuple(table))
    return zero ^ _BECH32M, tuple(tables)
