"""Identities: an account is made by its first event.  Events: identity.IdentityCreated.

An account's id is the hash of the chain and the key that created it, so it stays the same when keys are rotated, and an
id of another chain is never one of ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, EventType, Put, View, Write
from ledger.primitives.ids import compute_account_id
from ledger.primitives.records import U32, U64, Bytes32, decode_record, encode_record
from ledger.standing import open_standing
from ledger.state import read_number
from ledger.verdict import Verdict, allow, deny

ACCOUNTS_CACHED = 16_384
"""Every event asks for its author's account; a record with the same bytes is the same."""


@dataclass(frozen=True, slots=True)
class IdentityCreated:
    """No fields: the key and the account are the event's own."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account as the state keeps it."""

    key: Bytes32  # the root key
    created_height: U64
    generation: U32 = 0  # device and app keys of an earlier one are dead
    rotated_nonce: U64 = 0  # of the account when it last got a new root key


def make_account(key: bytes, height: int) -> Account:
    """Return a new account under its first key."""
    return Account(key, height)


def read_account(view: View, account_id: bytes) -> Account | None:
    """Return an account, or None when it does not exist."""
    data = view.get(keyspace.account(account_id))
    return None if data is None else _decode_account(data)


@lru_cache(ACCOUNTS_CACHED)
def _decode_account(data: bytes) -> Account:
    return decode_record(Account, data)


def read_nonce(view: View, account_id: bytes) -> int:
    """Return the nonce of the account's last event; 0 when it has none."""
    return read_number(view, keyspace.nonce(account_id))


def account_is_new(view: View, entry: Entry[IdentityCreated]) -> Verdict:
    if view.get(keyspace.account(entry.author)) is None:
        return allow("identity.is_new", "The account does not exist yet.")
    return deny("identity.exists", "The account exists already.")


def account_belongs_to_key(view: View, entry: Entry[IdentityCreated]) -> Verdict:
    if compute_account_id(entry.chain_id, entry.key) == entry.author:
        return allow("identity.belongs_to_key", "The account id is the one of this chain and key.")
    return deny("identity.of_other_key", "The account id is not the one that this chain gives to the event's key.")


def apply_identity_created(view: View, entry: Entry[IdentityCreated]) -> Iterator[Write]:
    """Open the account, with its full store of energy."""
    draft = Draft(view)
    open_standing(draft, entry.author, entry.epoch)
    yield from draft.writes()
    yield Put(keyspace.account(entry.author), encode_record(make_account(entry.key, entry.height)))


EVENTS = (
    EventType(
        name="identity.IdentityCreated",
        version=1,
        body=IdentityCreated,
        guards=(account_is_new, account_belongs_to_key),
        apply=apply_identity_created,
        summary="An account was created.",
        example=IdentityCreated(),
        opens_account=True,
    ),
)
