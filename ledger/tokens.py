"""Tokens: balances in atoms, 10**18 to a token, and what may change them.

FLX alone can be transferred.  Conservation: for each token, the sum of all balances is what was issued less what was
burned, at every height.  `issue` is the one function that mints: `ledger.standing` (recovery of energy and what an
account is opened with) and `ledger.settlement` call it, and genesis.
"""

from functools import lru_cache

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import View
from ledger.primitives.fixed_point import SCALE, checked_add, checked_sub
from ledger.primitives.hashing import tagged_hash
from ledger.state import encode_number, read_number

TOKENS = ("ATR", "CHR", "FLX", "NOD", "PSI", "RES")
ATR, CHR, FLX, NOD, PSI, RES = TOKENS
_OWNERS_CACHED = 4_096
"""So many owners keep the name of their bond account; nothing but speed depends on it."""
ATR_STORE = 100_000 * SCALE
"""The most energy that an account holds; what it is opened with."""
FLX_BALANCE_ATOMS_MAX = 10**6 * SCALE
"""A receiving account may hold at most this much; more refuses the transfer and never burns anything."""


def read_balance(view: View, token: str, account_id: bytes) -> int:
    """Return a balance in atoms."""
    return read_number(view, keyspace.balance(token, account_id))


def read_issued(view: View, token: str) -> int:
    """Return how much of a token was ever issued, in atoms."""
    return read_number(view, keyspace.issued(token))


def read_burned(view: View, token: str) -> int:
    """Return how much of a token was ever burned, in atoms."""
    return read_number(view, keyspace.burned(token))


def read_supply(view: View, token: str) -> int:
    """Return how much of a token there is: the sum of its balances."""
    return read_issued(view, token) - read_burned(view, token)


def issue(draft: Draft, token: str, account_id: bytes, atoms: int) -> None:
    """Mint.  Only settlement may call this; a test holds it."""
    _set(draft, keyspace.balance(token, account_id), checked_add(read_balance(draft, token, account_id), atoms))
    _set(draft, keyspace.issued(token), checked_add(read_issued(draft, token), atoms))


def burn(draft: Draft, token: str, account_id: bytes, atoms: int) -> None:
    """Take from an account for good.  Raises OverflowError when it holds less."""
    _set(draft, keyspace.balance(token, account_id), checked_sub(read_balance(draft, token, account_id), atoms))
    _set(draft, keyspace.burned(token), checked_add(read_burned(draft, token), atoms))


def move(draft: Draft, token: str, giver: bytes, receiver: bytes, atoms: int) -> None:
    """Move between two accounts.  Raises OverflowError when the giver holds less."""
    _set(draft, keyspace.balance(token, giver), checked_sub(read_balance(draft, token, giver), atoms))
    _set(draft, keyspace.balance(token, receiver), checked_add(read_balance(draft, token, receiver), atoms))


def _set(draft: Draft, key: bytes, number: int) -> None:
    draft.put(key, encode_number(number))


def reserve_account() -> bytes:
    """Return the system account that holds the reserve of RES."""
    return RESERVE


@lru_cache(_OWNERS_CACHED)
def compute_bond_account(owner: bytes) -> bytes:
    """Return the system account that holds an account's or a node's locked FLX; it neither decays nor spends."""
    return tagged_hash("atlas/bond", owner)


RESERVE = tagged_hash("atlas/reserve")
