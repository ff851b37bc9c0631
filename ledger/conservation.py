"""Conservation: for every token, the sum of all balances is what was issued less what was burned."""

from collections.abc import Iterable

from ledger.primitives.fixed_point import RAW_MAX
from ledger.state import decode_number
from ledger.tokens import TOKENS

BALANCE, ISSUED, BURNED = b"sb", b"si", b"sB"


def find_unconserved(changes: Iterable[tuple[bytes, bytes | None, bytes | None]]) -> str | None:
    """Return the code of the first rule that a set of changes breaks, or None.

    changes: (key, value before, value after), any keys; only balances and running totals are looked at.
    """
    sums: dict[str, int] = dict.fromkeys(TOKENS, 0)
    for key, before, after in changes:
        kind = key[:2]
        if kind not in (BALANCE, ISSUED, BURNED):
            continue
        delta = _number(after) - _number(before)
        token = key[2:5].decode()
        if kind == BALANCE:
            sums[token] += delta
            if _number(after) > RAW_MAX:
                return "K2_OVERFLOW"
        elif delta < 0:
            return "K6_TIME_GOES_BACK"
        else:
            sums[token] += -delta if kind == ISSUED else delta
    if any(sums[token] for token in TOKENS):
        return "K1_NOT_CONSERVED"
    return None


def _number(data: bytes | None) -> int:
    return 0 if data is None else decode_number(data)
