"""Who moderates a community.  Events: community.ModeratorAppointed, ModeratorRemoved.

The founder appoints members; each then holds the role MODERATOR for this community and for nothing else.  Whoever holds
it may give it up.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ledger import keyspace
from ledger.events import Entry, EventType, Put, View, Write
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import Bytes32, encode_record
from ledger.roles import grant_role_writes, has_role, judge_grant, read_grant, revoke_role_writes
from ledger.scopes import MODERATOR
from ledger.verdict import Verdict, allow, deny
from social.communities.founding import author_is_founder, community_is_open, read_known
from social.communities.records import (
    MODERATORS_MAX,
    Community,
    judge_founder,
    read_community,
    read_member,
)


@dataclass(frozen=True, slots=True)
class ModeratorAppointed:
    """The founder makes a member a moderator."""

    account: Bytes32
    space: Bytes32


@dataclass(frozen=True, slots=True)
class ModeratorRemoved:
    """The founder takes the role back, or a moderator gives it up."""

    account: Bytes32
    space: Bytes32


def list_moderators(view: View, space: bytes, community: Community) -> list[bytes]:
    """Return the appointed moderators of a community who still hold the role."""
    return [each for each in community.moderators if has_role(view, each, MODERATOR, space)]


def appointee_is_member(view: View, entry: Entry[ModeratorAppointed]) -> Verdict:
    body = entry.body
    if read_member(view, body.space, body.account) is None:
        return deny("COMMUNITY_NOT_MEMBER", "Moderators are members.", account=body.account.hex())
    return allow("COMMUNITY_MEMBER", "The account is a member.")


def role_can_be_granted(view: View, entry: Entry[ModeratorAppointed]) -> Verdict:
    return judge_grant(view, MODERATOR, entry.body.account, entry.body.space, entry.author)


def moderators_have_room(view: View, entry: Entry[ModeratorAppointed]) -> Verdict:
    community = read_community(view, entry.body.space)
    kept = 0 if community is None else len(list_moderators(view, entry.body.space, community))
    if kept >= MODERATORS_MAX:
        return deny(
            "COMMUNITY_MODERATORS_FULL", "The community has as many moderators as it can have.",
            moderators=kept, moderators_max=MODERATORS_MAX,
        )  # fmt: skip
    return allow("COMMUNITY_MODERATORS_ROOM", "There is room for a moderator.", moderators=kept)


def role_is_held(view: View, entry: Entry[ModeratorRemoved]) -> Verdict:
    if read_grant(view, entry.body.account, MODERATOR, entry.body.space) is not None:
        return allow("ROLE_HELD", "The account moderates the community.")
    return deny("ROLE_NOT_GRANTED", "The account does not moderate the community.", account=entry.body.account.hex())


def remover_may(view: View, entry: Entry[ModeratorRemoved]) -> Verdict:
    if entry.author == entry.body.account:
        return allow("ROLE_RESIGNED", "Whoever holds a role may give it up.")
    return judge_founder(view, entry.body.space, entry.author)


def apply_moderator_appointed(view: View, entry: Entry[ModeratorAppointed]) -> Iterator[Write]:
    """Grant the role, and list the moderator."""
    body = entry.body
    yield from grant_role_writes(view, MODERATOR, body.account, body.space, entry.author, entry.height)
    community = read_known(view, body.space)
    kept = [each for each in list_moderators(view, body.space, community) if each != body.account]
    yield _keep(community, body.space, (*kept, body.account))


def apply_moderator_removed(view: View, entry: Entry[ModeratorRemoved]) -> Iterator[Write]:
    """End the grant, and strike the moderator from the list."""
    body = entry.body
    yield from revoke_role_writes(view, MODERATOR, body.account, body.space)
    community = read_community(view, body.space)
    if community is not None:
        kept = tuple(each for each in community.moderators if each != body.account)
        yield _keep(community, body.space, kept)


def _keep(community: Community, space: bytes, moderators: tuple[bytes, ...]) -> Put:
    changes: dict[str, Any] = {"moderators": moderators}
    return Put(keyspace.community("c", space), encode_record(replace(community, **changes)))


EVENTS = (
    EventType(
        name="community.ModeratorAppointed",
        version=1,
        body=ModeratorAppointed,
        guards=(
            community_is_open, author_is_founder, appointee_is_member, role_can_be_granted, moderators_have_room,
        ),
        apply=apply_moderator_appointed,
        summary="A member became a moderator of a community.",
        example=ModeratorAppointed(bytes(32), bytes(32)),
        inputs=lambda body: {"account": body.account.hex(), "space": body.space.hex()},
        weight=SCALE // 4,
    ),
    EventType(
        name="community.ModeratorRemoved",
        version=1,
        body=ModeratorRemoved,
        guards=(role_is_held, remover_may),
        apply=apply_moderator_removed,
        summary="An account is no moderator of a community any more.",
        example=ModeratorRemoved(bytes(32), bytes(32)),
        inputs=lambda body: {"account": body.account.hex(), "space": body.space.hex()},
    ),
)  # fmt: skip
