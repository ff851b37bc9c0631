"""Who belongs to a community.  Events: community.CommunityMemberJoined, CommunityMemberLeft, MembershipDecided.

Where the way to join is "approval", joining is a request, which the founder or a moderator of the community decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, EventType, View, Write
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import Bytes32, encode_record
from ledger.roles import PLATFORM, has_role, read_founder
from ledger.scopes import MODERATOR
from ledger.verdict import Verdict, allow, deny
from social.communities.founding import community_is_open, read_known
from social.communities.records import OPEN, Member, members_of, read_member, requests_of

REQUESTS_MAX = 1_000
"""Who asks to join one community at a time."""


@dataclass(frozen=True, slots=True)
class CommunityMemberJoined:
    """The author joins a community, or asks to."""

    space: Bytes32


@dataclass(frozen=True, slots=True)
class CommunityMemberLeft:
    """The author leaves a community, or takes his request back."""

    space: Bytes32


@dataclass(frozen=True, slots=True)
class MembershipDecided:
    """The author lets somebody in who asked, or not."""

    accepted: bool
    account: Bytes32
    space: Bytes32


def is_moderator(view: View, space: bytes, account: bytes) -> bool:
    """Whether an account is the founder or holds the role MODERATOR for this very community."""
    if read_founder(view, space) == account:
        return True
    return has_role(view, account, MODERATOR, space) and not has_role(view, account, MODERATOR, PLATFORM)


def is_no_member_yet(view: View, entry: Entry[CommunityMemberJoined]) -> Verdict:
    space = entry.body.space
    if read_member(view, space, entry.author) is not None:
        return deny("COMMUNITY_MEMBER_ALREADY", "The account is a member already.")
    if requests_of(space).has(view, entry.author):
        return deny("COMMUNITY_ASKED_ALREADY", "The account has asked to join already.")
    return allow("COMMUNITY_NO_MEMBER_YET", "The account is no member yet.")


def requests_have_room(view: View, entry: Entry[CommunityMemberJoined]) -> Verdict:
    waiting = requests_of(entry.body.space).count(view)
    if waiting >= REQUESTS_MAX:
        return deny(
            "COMMUNITY_REQUESTS_FULL", "As many ask to join as may; a moderator has to decide first.",
            requests=waiting, requests_max=REQUESTS_MAX,
        )  # fmt: skip
    return allow("COMMUNITY_REQUESTS_ROOM", "There is room for a request.", requests=waiting)


def may_leave(view: View, entry: Entry[CommunityMemberLeft]) -> Verdict:
    space = entry.body.space
    if read_founder(view, space) == entry.author:
        return deny("COMMUNITY_FOUNDER_STAYS", "The founder hands the community on before leaving it.")
    if read_member(view, space, entry.author) is None and not requests_of(space).has(view, entry.author):
        return deny("COMMUNITY_NOT_MEMBER", "The account is no member, and has not asked to be.", space=space.hex())
    return allow("COMMUNITY_MAY_LEAVE", "Every member may leave.")


def decider_moderates(view: View, entry: Entry[MembershipDecided]) -> Verdict:
    if is_moderator(view, entry.body.space, entry.author):
        return allow("COMMUNITY_MODERATOR", "The account moderates the community.")
    return deny("COMMUNITY_NOT_MODERATOR", "Only the founder and moderators of the community decide who joins.")


def was_asked(view: View, entry: Entry[MembershipDecided]) -> Verdict:
    if requests_of(entry.body.space).has(view, entry.body.account):
        return allow("COMMUNITY_ASKED", "The account asks to join.")
    return deny("COMMUNITY_NOT_ASKED", "The account does not ask to join.", account=entry.body.account.hex())


def apply_member_joined(view: View, entry: Entry[CommunityMemberJoined]) -> Iterator[Write]:
    """Take the account in, or keep its request."""
    space, draft = entry.body.space, Draft(view)
    if read_known(view, space).join == OPEN:
        _take_in(draft, space, entry.author, entry)
    else:
        requests_of(space).add(draft, entry.author)
    yield from draft.writes()


def apply_member_left(view: View, entry: Entry[CommunityMemberLeft]) -> Iterator[Write]:
    """Forget the membership or the request; a moderator keeps the role until it is taken back or given up."""
    space, draft = entry.body.space, Draft(view)
    if read_member(view, space, entry.author) is not None:
        draft.delete(keyspace.community("m", space, entry.author))
        members_of(space).remove(draft, entry.author)
    else:
        requests_of(space).remove(draft, entry.author)
    yield from draft.writes()


def apply_membership_decided(view: View, entry: Entry[MembershipDecided]) -> Iterator[Write]:
    """Take the account in, or forget its request."""
    body, draft = entry.body, Draft(view)
    requests_of(body.space).remove(draft, body.account)
    if body.accepted:
        _take_in(draft, body.space, body.account, entry)
    yield from draft.writes()


def _take_in(
    draft: Draft, space: bytes, account: bytes, entry: Entry[CommunityMemberJoined] | Entry[MembershipDecided]
) -> None:
    draft.put(keyspace.community("m", space, account), encode_record(Member(entry.beat, entry.height)))
    members_of(space).add(draft, account)


EVENTS = (
    EventType(
        name="community.CommunityMemberJoined",
        version=1,
        body=CommunityMemberJoined,
        guards=(community_is_open, is_no_member_yet, requests_have_room),
        apply=apply_member_joined,
        summary="An account joined a community, or asked to.",
        example=CommunityMemberJoined(bytes(32)),
        inputs=lambda body: {"space": body.space.hex()},
        weight=SCALE // 4,
    ),
    EventType(
        name="community.CommunityMemberLeft",
        version=1,
        body=CommunityMemberLeft,
        guards=(may_leave,),
        apply=apply_member_left,
        summary="An account left a community.",
        example=CommunityMemberLeft(bytes(32)),
        inputs=lambda body: {"space": body.space.hex()},
    ),
    EventType(
        name="community.MembershipDecided",
        version=1,
        body=MembershipDecided,
        guards=(community_is_open, decider_moderates, was_asked),
        apply=apply_membership_decided,
        summary="A request to join a community was decided.",
        example=MembershipDecided(True, bytes(32), bytes(32)),
        inputs=lambda body: {"accepted": body.accepted, "account": body.account.hex(), "space": body.space.hex()},
        weight=SCALE // 10,
    ),
)
