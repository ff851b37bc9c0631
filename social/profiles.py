"""Handles and profiles.  Events: identity.HandleClaimed, identity.ProfileUpdated.

A handle is public and on the ledger.  A profile's name and biography are payload, so they can be erased; the text of
the payload is a JSON object with the members `bio` and `display_name`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from guards.content import judge_text_length
from ledger import keyspace
from ledger.events import Entry, EventType, Put, View, Write
from ledger.payloads import ContentRef
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import U64, Length, encode_record
from ledger.state import read_record
from ledger.verdict import Fact, Verdict, allow, deny

HANDLE_BYTES_MIN, HANDLE_BYTES_MAX = 3, 24
HANDLE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
PROFILE_BYTES_MAX = 2_000


@dataclass(frozen=True, slots=True)
class HandleClaimed:
    """The author takes a free name."""

    handle: Annotated[str, Length(1, 64)]


@dataclass(frozen=True, slots=True)
class ProfileUpdated:
    """The author describes himself; replaces what was there."""

    content: ContentRef


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile as the state keeps it."""

    content: ContentRef
    height: U64


def read_handle(view: View, account_id: bytes) -> str | None:
    """Return an account's handle, or None."""
    data = view.get(keyspace.handle_of(account_id))
    return None if data is None else data.decode()


def read_handle_owner(view: View, handle: str) -> bytes | None:
    """Return the account that holds a handle, or None."""
    return view.get(keyspace.handle(handle))


def read_profile(view: View, account_id: bytes) -> Profile | None:
    """Return an account's profile, or None."""
    return read_record(view, keyspace.profile(account_id), Profile)


def handle_is_plain(view: View, entry: Entry[HandleClaimed]) -> Verdict:
    handle = entry.body.handle
    facts: dict[str, Fact] = {
        "bytes": len(handle.encode()),
        "bytes_min": HANDLE_BYTES_MIN,
        "bytes_max": HANDLE_BYTES_MAX,
    }
    if any(character not in HANDLE_CHARACTERS for character in handle):
        return deny("identity.handle_invalid", "A handle holds lower-case letters a-z, digits and _ only.", **facts)
    if not HANDLE_BYTES_MIN <= len(handle) <= HANDLE_BYTES_MAX:
        return deny("identity.handle_length", "A handle has 3 to 24 characters.", **facts)
    return allow("identity.handle_plain", "The handle is well formed.", **facts)


def handle_is_free(view: View, entry: Entry[HandleClaimed]) -> Verdict:
    if view.get(keyspace.handle(entry.body.handle)) is None:
        return allow("identity.handle_free", "Nobody holds this handle.")
    return deny("identity.handle_taken", "Another account holds this handle.", handle=entry.body.handle)


def account_has_no_handle(view: View, entry: Entry[HandleClaimed]) -> Verdict:
    held = read_handle(view, entry.author)
    if held is None:
        return allow("identity.without_handle", "The account holds no handle yet.")
    return deny("identity.has_handle", "The account holds a handle already.", handle=held)


def profile_fits(view: View, entry: Entry[ProfileUpdated]) -> Verdict:
    return judge_text_length(entry.body.content, PROFILE_BYTES_MAX)


def apply_handle_claimed(view: View, entry: Entry[HandleClaimed]) -> Iterator[Write]:
    """Bind handle and account to each other."""
    yield Put(keyspace.handle(entry.body.handle), entry.author)
    yield Put(keyspace.handle_of(entry.author), entry.body.handle.encode())


def apply_profile_updated(view: View, entry: Entry[ProfileUpdated]) -> Iterator[Write]:
    """Replace the profile."""
    yield Put(keyspace.profile(entry.author), encode_record(Profile(entry.body.content, entry.height)))


EVENTS = (
    EventType(
        name="identity.HandleClaimed",
        version=1,
        body=HandleClaimed,
        guards=(handle_is_plain, handle_is_free, account_has_no_handle),
        apply=apply_handle_claimed,
        summary="An account claimed a handle.",
        example=HandleClaimed("ada_lovelace"),
        inputs=lambda body: {"handle": body.handle},
        weight=SCALE,
    ),
    EventType(
        name="identity.ProfileUpdated",
        version=1,
        body=ProfileUpdated,
        guards=(profile_fits,),
        apply=apply_profile_updated,
        summary="An account updated its profile.",
        example=ProfileUpdated(ContentRef(bytes=40, hash=bytes(32))),
        inputs=lambda body: {"content": body.content.hash.hex(), "bytes": body.content.bytes},
        content=lambda body: body.content,
        weight=SCALE // 4,
    ),
)
