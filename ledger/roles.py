"""Roles: who may write and read what.  Events: access.RoleGranted, access.RoleRevoked.

Every account is a USER.  The other roles are granted: MODERATOR for one space or the whole platform, the rest for the
platform; what they allow is in `ledger.scopes`.  Governance grants by `grant_role_writes`; the founder of a space, and
its moderators, grant MODERATOR there.  Spaces are made elsewhere; here only their founder is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from ledger import keyspace
from ledger.beats import read_beat
from ledger.events import Delete, Entry, EventType, Put, View, Write
from ledger.identity import read_account
from ledger.primitives.records import U64, Bytes32, Length, decode_record, encode_record
from ledger.scopes import (
    EXCLUSIVE,
    GRANT,
    GRANTED,
    MODERATOR,
    ROLE_SCOPES,
    SAFETY,
    USER,
    WITHHELD,
    carries,
    scope_of,
)
from ledger.state import read_record
from ledger.verdict import Fact, Verdict, allow, deny

PLATFORM = bytes(32)
"""The space of a role that is not bound to one."""
GOVERNANCE = bytes(32)
"""The granter of what a vote granted; no account has this id."""
ROLES_MAX = 32
ROLES_CACHED = 4_096


@dataclass(frozen=True, slots=True)
class RoleGrant:
    """A role that somebody granted, as the state keeps it."""

    account: Bytes32
    expires_beat: U64 | None  # the last beat of a limited duty
    granter: Bytes32
    height: U64
    role: Annotated[str, Length(4, 16)]
    space: Bytes32


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role in the list of an account."""

    expires_beat: U64 | None
    role: Annotated[str, Length(4, 16)]
    space: Bytes32


@dataclass(frozen=True, slots=True)
class HeldRoles:
    """All roles of an account beside USER; those that expired leave when the next is granted."""

    roles: Annotated[tuple[HeldRole, ...], Length(1, ROLES_MAX)]


@dataclass(frozen=True, slots=True)
class RoleGranted:
    """The author gives a role to another account."""

    account: Bytes32
    expires_beat: U64 | None
    role: Annotated[str, Length(4, 16)]
    space: Bytes32


@dataclass(frozen=True, slots=True)
class RoleRevoked:
    """The author takes a role back, or gives up his own."""

    account: Bytes32
    role: Annotated[str, Length(4, 16)]
    space: Bytes32


def read_roles(view: View, account_id: bytes) -> tuple[HeldRole, ...]:
    """Return the granted roles of an account, those that expired too."""
    data = view.get(keyspace.roles_of(account_id))
    return () if data is None else _decode_roles(data)


@lru_cache(ROLES_CACHED)
def _decode_roles(data: bytes) -> tuple[HeldRole, ...]:
    return decode_record(HeldRoles, data).roles


def read_grant(view: View, account_id: bytes, role: str, space: bytes) -> RoleGrant | None:
    """Return a grant, whether it expired or not; None where there is none."""
    return read_record(view, keyspace.role_grant(account_id, role, space), RoleGrant)


def read_founder(view: View, space: bytes) -> bytes | None:
    """Return the account that founded a space, or None."""
    return view.get(keyspace.space_founder(space))


def has_role(view: View, account_id: bytes, role: str, space: bytes = PLATFORM) -> bool:
    """Whether an account holds a role now, for this space or for the platform."""
    held = [each for each in read_roles(view, account_id) if each.role == role and each.space in (PLATFORM, space)]
    return role == USER or (bool(held) and any(_is_live(each.expires_beat, read_beat(view)) for each in held))


def space_of(body: object) -> bytes:
    """Return the space that an event's body names in its field `space`; the platform where it has none."""
    space = getattr(body, "space", None)
    return space if isinstance(space, bytes) and len(space) == len(PLATFORM) else PLATFORM


def judge_role_scope(view: View, author: bytes, module: str, name: str, space: bytes = PLATFORM) -> Verdict:
    """Say whether an author may write an event of this type, in this space.  Rules K8 and K12."""
    return _judge_scope(view, author, scope_of(module, name), space, writes=True)


def judge_role_read(view: View, account_id: bytes, scope: str, space: bytes = PLATFORM) -> Verdict:
    """Say whether an account may read what is under a scope.  An exclusive role takes no reading away."""
    return _judge_scope(view, account_id, scope, space, writes=False)


def _judge_scope(view: View, account_id: bytes, scope: str, space: bytes, *, writes: bool) -> Verdict:
    facts: dict[str, Fact] = {"scope": scope}
    held = read_roles(view, account_id)
    beat = read_beat(view) if held else 0
    live = [each for each in held if _is_live(each.expires_beat, beat)]
    bound = [each.role for each in live if writes and each.role in EXCLUSIVE]
    if bound:
        for role in bound:
            if carries(role, scope, writes=True):
                return allow("ROLE_HELD", "A role of the account has this scope.", role=role, **facts)
        if scope in SAFETY:
            return allow("ROLE_HELD", "Every account keeps its own keys, and may resign.", role=USER, **facts)
        return deny(
            "ROLE_SCOPE_MISSING", "Who holds this role may write nothing outside it.", role=bound[0], **facts
        )  # fmt: skip
    for each in live:
        if scope in WITHHELD.get(each.role, ()):
            return deny("ROLE_SCOPE_MISSING", "This role keeps its holder out of that.", role=each.role, **facts)
    if carries(USER, scope, writes=writes):
        return allow("ROLE_HELD", "Every account may do this for itself.", role=USER, **facts)
    if space != PLATFORM and carries(MODERATOR, scope, writes=writes) and read_founder(view, space) == account_id:
        return allow("ROLE_HELD", "The account founded the space.", role=MODERATOR, **facts)
    carrying = [each for each in held if carries(each.role, scope, writes=writes)]
    if not carrying:
        if not any(carries(role, scope, writes=writes) for role in ROLE_SCOPES):
            return deny("ROLE_SCOPE_MISSING", "No role may do this.", **facts)
        return deny("ROLE_NOT_GRANTED", "The account holds no role that may do this.", **facts)
    for each in carrying:
        if each in live and _covers(each.space, scope, space):
            return allow("ROLE_HELD", "A role of the account has this scope.", role=each.role, **facts)
    if not any(each in live for each in carrying):
        return deny("ROLE_EXPIRED", "The role that may do this has expired.", role=carrying[0].role, **facts)
    return deny(
        "ROLE_SPACE_MISMATCH", "The role is for another space.", role=carrying[0].role, space=space.hex(), **facts
    )  # fmt: skip


def _covers(held: bytes, scope: str, space: bytes) -> bool:
    """Whether a role held for one space reaches another.  Moderators of a space are its own affair, so GRANT is not
    among what a moderator of the platform may do there."""
    if scope == GRANT:
        return held == space != PLATFORM
    return held in (PLATFORM, space)


def _is_live(expires_beat: int | None, beat: int) -> bool:
    return expires_beat is None or beat <= expires_beat


def may_grant(view: View, granter: bytes, role: str, space: bytes) -> Verdict:
    """Say whether an account may grant a role by its own signature; what it may not, only governance grants."""
    if role not in GRANTED:
        return deny("ROLE_UNKNOWN", "There is no such role to grant.", role=role)
    if role != MODERATOR or space == PLATFORM:
        return deny("ROLE_SCOPE_MISSING", "Only governance grants this role.", role=role, scope=GRANT)
    return _judge_scope(view, granter, GRANT, space, writes=True)


def may_revoke(view: View, revoker: bytes, role: str, account_id: bytes, space: bytes) -> Verdict:
    """Say whether an account may end a grant: its holder, who granted it, or the founder of its space."""
    if revoker == account_id:
        return allow("ROLE_RESIGNED", "Whoever holds a role may give it up.")
    grant = read_grant(view, account_id, role, space)
    is_side = read_founder(view, space) == revoker or (grant is not None and grant.granter == revoker)
    if is_side and may_grant(view, revoker, role, space).allowed:
        return allow("ROLE_GRANTER", "The granter's side may end the grant.")
    return deny("ROLE_NOT_GRANTER", "Only the holder, the granter and the founder of the space may end the grant.")


def judge_grant(
    view: View, role: str, account_id: bytes, space: bytes, granter: bytes, expires_beat: int | None = None
) -> Verdict:
    """Say whether a grant can be made, whoever decided it: the first denial, or that all is well."""
    fits = role in GRANTED and (role == MODERATOR or space == PLATFORM)
    if not fits:
        return deny("ROLE_UNKNOWN", "There is no such role to grant, or not in a space.", role=role, space=space.hex())
    for verdict in (
        _judge_receiver(view, account_id, granter),
        _judge_newness(view, role, account_id, space, expires_beat),
        _judge_room(view, role, account_id, space),
    ):
        if not verdict.allowed:
            return verdict
    return allow("ROLE_GRANTABLE", "The role can be granted.", role=role)


def _judge_receiver(view: View, account_id: bytes, granter: bytes) -> Verdict:
    if account_id == granter:
        return deny("ROLE_SELF_GRANT", "Nobody grants a role to himself.")
    if read_account(view, account_id) is None:
        return deny("ROLE_ACCOUNT_UNKNOWN", "The account to grant a role to does not exist.", account=account_id.hex())
    return allow("ROLE_ACCOUNT_KNOWN", "The account is another one, and exists.")


def _judge_newness(view: View, role: str, account_id: bytes, space: bytes, expires_beat: int | None) -> Verdict:
    beat = read_beat(view)
    if expires_beat is not None and not _is_live(expires_beat, beat):
        return deny("ROLE_EXPIRED", "The duty would be over already.", expires_beat=expires_beat, beat=beat)
    grant = read_grant(view, account_id, role, space)
    if grant is not None and _is_live(grant.expires_beat, beat):
        return deny("ROLE_EXISTS", "The account holds this role already.", role=role, space=space.hex())
    return allow("ROLE_NEW", "The account does not hold this role.")


def _judge_room(view: View, role: str, account_id: bytes, space: bytes) -> Verdict:
    kept, _ = _sort_out(view, role, account_id, space)
    facts: dict[str, Fact] = {"roles": len(kept), "roles_max": ROLES_MAX}
    if len(kept) < ROLES_MAX:
        return allow("ROLE_LIST_ROOM", "The account can hold another role.", **facts)
    return deny("ROLE_LIST_FULL", "The account holds as many roles as it can; it may resign some.", **facts)


def _sort_out(view: View, role: str, account_id: bytes, space: bytes) -> tuple[list[HeldRole], list[HeldRole]]:
    """Return what stays in an account's list beside this role, and what leaves it: expired, or the role itself."""
    beat = read_beat(view)
    kept: list[HeldRole] = []
    gone: list[HeldRole] = []
    for each in read_roles(view, account_id):
        stays = _is_live(each.expires_beat, beat) and (each.role, each.space) != (role, space)
        (kept if stays else gone).append(each)
    return kept, gone


def grant_role_writes(
    view: View, role: str, account_id: bytes, space: bytes, granter: bytes, height: int,
    expires_beat: int | None = None,
) -> Iterator[Write]:  # fmt: skip
    """Yield what grants a role; nothing where `judge_grant` denies.  For one grant on a view: write before the next."""
    if not judge_grant(view, role, account_id, space, granter, expires_beat).allowed:
        return
    kept, gone = _sort_out(view, role, account_id, space)
    for each in gone:
        yield Delete(keyspace.role_grant(account_id, each.role, each.space))
    grant = RoleGrant(account_id, expires_beat, granter, height, role, space)
    yield Put(keyspace.role_grant(account_id, role, space), encode_record(grant))
    held = HeldRoles((*kept, HeldRole(expires_beat, role, space)))
    yield Put(keyspace.roles_of(account_id), encode_record(held))


def revoke_role_writes(view: View, role: str, account_id: bytes, space: bytes) -> Iterator[Write]:
    """Yield what ends a grant, and drops those that expired; nothing where the account does not hold the role."""
    if read_grant(view, account_id, role, space) is None:
        return
    kept, gone = _sort_out(view, role, account_id, space)
    for each in gone:
        yield Delete(keyspace.role_grant(account_id, each.role, each.space))
    key = keyspace.roles_of(account_id)
    yield Put(key, encode_record(HeldRoles(tuple(kept)))) if kept else Delete(key)


def granter_may_grant(view: View, entry: Entry[RoleGranted]) -> Verdict:
    return may_grant(view, entry.author, entry.body.role, entry.body.space)


def receiver_is_another_account(view: View, entry: Entry[RoleGranted]) -> Verdict:
    return _judge_receiver(view, entry.body.account, entry.author)


def role_is_not_held(view: View, entry: Entry[RoleGranted]) -> Verdict:
    body = entry.body
    return _judge_newness(view, body.role, body.account, body.space, body.expires_beat)


def list_has_room(view: View, entry: Entry[RoleGranted]) -> Verdict:
    return _judge_room(view, entry.body.role, entry.body.account, entry.body.space)


def role_is_held(view: View, entry: Entry[RoleRevoked]) -> Verdict:
    body = entry.body
    if read_grant(view, body.account, body.role, body.space) is not None:
        return allow("ROLE_HELD", "The account holds the role.")
    return deny("ROLE_NOT_GRANTED", "The account does not hold the role.", role=body.role, space=body.space.hex())


def revoker_may_revoke(view: View, entry: Entry[RoleRevoked]) -> Verdict:
    return may_revoke(view, entry.author, entry.body.role, entry.body.account, entry.body.space)


def apply_role_granted(view: View, entry: Entry[RoleGranted]) -> Iterator[Write]:
    """Remember the grant, and list it with the account's."""
    body = entry.body
    yield from grant_role_writes(
        view, body.role, body.account, body.space, entry.author, entry.height, body.expires_beat
    )  # fmt: skip


def apply_role_revoked(view: View, entry: Entry[RoleRevoked]) -> Iterator[Write]:
    """Forget the grant."""
    yield from revoke_role_writes(view, entry.body.role, entry.body.account, entry.body.space)


EVENTS = (
    EventType(
        name="access.RoleGranted",
        version=1,
        body=RoleGranted,
        guards=(granter_may_grant, receiver_is_another_account, role_is_not_held, list_has_room),
        apply=apply_role_granted,
        summary="An account granted a role to another.",
        example=RoleGranted(bytes(32), 5_000, MODERATOR, bytes(32)),
        inputs=lambda body: {"account": body.account.hex(), "role": body.role, "space": body.space.hex()},
    ),
    EventType(
        name="access.RoleRevoked",
        version=1,
        body=RoleRevoked,
        guards=(role_is_held, revoker_may_revoke),
        apply=apply_role_revoked,
        summary="A grant of a role ended.",
        example=RoleRevoked(bytes(32), MODERATOR, bytes(32)),
        inputs=lambda body: {"account": body.account.hex(), "role": body.role, "space": body.space.hex()},
    ),
)
