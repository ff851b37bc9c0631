"""Conservation: for every token, the sum of all balances is what was issued less what was burned."""

from collections.abc import Iterable

from ledger.state import NUMBER_BYTES, decode_number
from ledger.tokens import TOKENS

BALANCE, ISSUED, BURNED = b"sb", b"si", b"sB"
_TOKENS = {token.encode(): token for token in TOKENS}


def find_unconserved(changes: Iterable[tuple[bytes, bytes | None, bytes | None]]) -> str | None:
    """Return the code of the first rule that a set of changes breaks, or None.

    changes: (key, value before, value after), any keys; only balances and running totals are looked at.  What is no
    amount of a token is outside the range of amounts, so any bytes get an answer.
    """
    sums: dict[str, int] = dict.fromkeys(TOKENS, 0)
    for key, before, after in changes:
        kind = key[:2]
        if kind not in (BALANCE, ISSUED, BURNED):
            continue
        old, new, token = read_amount(before), read_amount(after), _TOKENS.get(key[2:5])
        if old is None or new is None or token is None:
            return "K2_OVERFLOW"
        delta = new - old
        if kind == BALANCE:
            sums[token] += delta
        elif delta < 0:
            return "K6_TIME_GOES_BACK"
        else:
            sums[token] += -delta if kind == ISSUED else delta
    if any(sums[token] for token in TOKENS):
        return "K1_NOT_CONSERVED"
    return None


def read_amount(data: bytes | None) -> int | None:
    """Return the amount in stored bytes, 0 where there are none; None where they are no amount."""
    if data is None:
        return 0
    return decode_number(data) if len(data) == NUMBER_BYTES else None
