"""Moves: what each event did to the balances of each account, for wallets to read.

They lie beside the indexes: written by execution, in no digest, never changed, dropped with the events when those are
pruned.  They can't be made from events alone, since balances decay by rules; so a node that began from a snapshot has
none of what came before.  Each says what a balance was and what it became: a missing one shows as a step between two.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ledger import keyspace
from ledger.draft import Change
from ledger.state import NUMBER_BYTES, decode_number

BALANCE = b"sb"
TOKEN_BYTES = 3
_MOVE_BYTES = TOKEN_BYTES + 2 * NUMBER_BYTES
_NOTHING = bytes(NUMBER_BYTES)
_TOKEN = slice(len(BALANCE), len(BALANCE) + TOKEN_BYTES)
_ACCOUNT = slice(_TOKEN.stop + 1, None)  # a balance's key is the prefix, the token, "/", the account


class Move(NamedTuple):
    """One balance before and after an event, in atoms."""

    token: str
    before: int
    after: int


def list_moves(changes: Iterable[Change], log_index: int) -> list[Change]:
    """Return what is kept of the balances among an event's changes: one key for each account.

    changes: in key order, so that the moves of an account are in order of token.  A balance that was written with what
    it held before is kept too: two parts of the event may have cancelled out.
    """
    moved: dict[bytes, bytes] = {}
    for key, before, after in changes:
        if key[:2] == BALANCE:
            account = key[_ACCOUNT]
            move = key[_TOKEN] + (before or _NOTHING) + (after or _NOTHING)
            moved[account] = moved.get(account, b"") + move
    return [(keyspace.move_of(account, log_index), None, moved[account]) for account in sorted(moved)]


def decode_moves(data: bytes) -> tuple[Move, ...]:
    """Return the moves of one account by one event, in order of token."""
    assert len(data) % _MOVE_BYTES == 0, f"expected moves of {_MOVE_BYTES} bytes each, got {len(data)} bytes"
    parts = [data[at : at + _MOVE_BYTES] for at in range(0, len(data), _MOVE_BYTES)]
    return tuple(
        Move(
            part[:TOKEN_BYTES].decode(),
            decode_number(part[TOKEN_BYTES : TOKEN_BYTES + NUMBER_BYTES]),
            decode_number(part[TOKEN_BYTES + NUMBER_BYTES :]),
        )
        for part in parts
    )
