"""Communities: which there are, what each is, what is published there, who belongs to it."""

import asyncio
from dataclasses import fields
from itertools import islice
from typing import Annotated, Literal

from pydantic import Field

from client_api.context import Context, Reading
from client_api.endpoint import Endpoint, Json, Model
from client_api.errors import CommunityUnknown, CursorInvalid, StaleHeight
from client_api.explorer import Height, Limit
from client_api.listing import open_listing, read_page
from client_api.paging import LIMIT_DEFAULT, hash_filter
from client_api.people import Cursor, PostsAnswer, posts_page
from client_api.places import find_space, read_text, slice_page
from client_api.shapes import Anchor, account_text, event_text
from guards.profiles import GuardProfile, read_profile
from ledger import keyspace
from ledger.items import read_item
from ledger.primitives.fixed_point import format_decimal
from ledger.roles import PLATFORM, read_founder
from ledger.sanctions import hiding_key, read_sanction
from social.communities.discovery import POSTS_JUDGED, compute_score, order_communities
from social.communities.moderators import list_moderators
from social.communities.records import COMMUNITIES, members_of, read_community, read_member, read_ruleset, requests_of
from social.profiles import read_handle

COMMUNITIES_RANKED_MAX = 1_000
"""The oldest so many are ranked for one request; beyond them a community is found by its name."""
SpaceName = Annotated[str, Field(max_length=100, description="A community's id, or its name.")]


class CommunityShape(Model):
    space: str = Field(description="its id: that of the event that created it")
    name: str
    description: str | None = Field(description="null when the text was erased, or is not here yet")
    founder: str
    join: Literal["open", "approval"]
    members: int
    requests: int = Field(description="who asks to join")
    ruleset: int = Field(description="the newest version of its rules; 0 while there are none")
    rules: int
    archived: bool
    created_height: int
    score: str = Field(description="by which communities are ordered: a decimal string, see posts_judged")
    posts_judged: int = Field(description="score is the sum of their coherence over (posts_judged + 5)")


class ProfileNumber(Model):
    field: str
    value: str


class CommunitiesQuery(Model):
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None
    at: Height | None = None


class CommunitiesAnswer(Model):
    items: list[CommunityShape]
    next: str | None
    prev: str | None
    ledger: Anchor


async def list_communities(context: Context, query: CommunitiesQuery, body: None) -> Json:
    """Best first, by the coherence of what is published there; archived ones are left out."""
    filter_hash = hash_filter("communities")
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        ordered = await asyncio.to_thread(_rank_communities, reading)  # many small reads: not in the API's loop
        page, forth, back = slice_page(ordered, query.limit, before, after, filter_hash, reading.height)
        return {
            "items": [community_to_json(reading, space) for space in page],
            "next": forth,
            "prev": back,
            "ledger": reading.anchor(),
        }


def _rank_communities(reading: Reading) -> list[bytes]:
    found: list[tuple[bytes, int, int]] = []
    for space in COMMUNITIES.read(reading.state, 0, COMMUNITIES_RANKED_MAX):
        community = read_community(reading.state, space)
        if community is not None and not community.archived:
            score, _ = read_score(reading, space)
            found.append((space, score, members_of(space).count(reading.state)))
    return order_communities(found)


def read_score(reading: Reading, space: bytes) -> tuple[int, int]:
    """Return a community's score and of how many posts it is: the newest ones that are shown."""
    prefix = keyspace.IN_COMMUNITY + space
    stop = prefix + keyspace.u64(reading.header.log_size)
    newest = islice(reading.snapshot.iterate(prefix, stop, reverse=True), POSTS_JUDGED)
    coherences: list[int] = []
    for _, post_id in newest:
        item = read_item(reading.state, post_id)
        if item is not None and read_sanction(reading.state, hiding_key(post_id)) is None:
            coherences.append(item.coherence)
    return compute_score(coherences), len(coherences)


def community_to_json(reading: Reading, space: bytes) -> Json:
    community, founder = read_community(reading.state, space), read_founder(reading.state, space)
    assert community is not None, "a listed community is kept"
    assert founder is not None, "a community has a founder"
    rules = read_ruleset(reading.state, space, community.ruleset)
    score, judged = read_score(reading, space)
    return {
        "space": event_text(space),
        "name": community.name,
        "description": read_text(reading, community.content),
        "founder": account_text(founder),
        "join": community.join,
        "members": members_of(space).count(reading.state),
        "requests": requests_of(space).count(reading.state),
        "ruleset": community.ruleset,
        "rules": 0 if rules is None else rules.rules,
        "archived": community.archived,
        "created_height": community.height,
        "score": format_decimal(score),
        "posts_judged": judged,
    }


class CommunityQuery(Model):
    space: SpaceName
    at: Height | None = None


class CommunityAnswer(Model):
    community: CommunityShape
    rules_text: str | None = Field(description="of the newest version")
    moderators: list[str]
    guard_profile: list[ProfileNumber] = Field(description="what it asks beyond the platform; raw numbers as digits")
    ledger: Anchor


async def get_community(context: Context, query: CommunityQuery, body: None) -> Json:
    """A community with its rules, moderators and guard profile."""
    with context.read(query.at) as reading:
        space = _find(reading, query.space)
        community = read_community(reading.state, space)
        assert community is not None, "a space that was found is a community"
        rules = read_ruleset(reading.state, space, community.ruleset)
        profile = read_profile(reading.state, space) or GuardProfile()
        numbers = {each.name: getattr(profile, each.name) for each in fields(GuardProfile)}
        return {
            "community": community_to_json(reading, space),
            "rules_text": None if rules is None else read_text(reading, rules.content),
            "moderators": [account_text(each) for each in list_moderators(reading.state, space, community)],
            "guard_profile": [
                {"field": name, "value": str(number)} for name, number in numbers.items() if number is not None
            ],
            "ledger": reading.anchor(),
        }


def _find(reading: Reading, text: str) -> bytes:
    space = find_space(reading, text)
    if space == PLATFORM:
        raise CommunityUnknown("the platform is no community", space=text)
    return space


class CommunityPagesQuery(Model):
    space: SpaceName
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None
    at: Height | None = None


async def get_community_feed(context: Context, query: CommunityPagesQuery, body: None) -> Json:
    """What is published in a community, newest first; what is hidden is marked and has no text."""
    filter_hash = hash_filter("community feed", query.space)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        prefix = keyspace.IN_COMMUNITY + _find(reading, query.space)
        return posts_page(reading, read_page(reading, prefix, filter_hash, query.limit, before, after))


class MemberShape(Model):
    account: str
    handle: str | None
    since_beat: int


class MembersAnswer(Model):
    items: list[MemberShape]
    next: str | None
    prev: str | None
    ledger: Anchor


async def list_members(context: Context, query: CommunityPagesQuery, body: None) -> Json:
    """Who belongs to a community, in no order that means anything; a cursor keeps its height."""
    filter_hash = hash_filter("members", query.space)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        space = _find(reading, query.space)
        roll = members_of(space)
        page, forth, back = slice_page(
            range(roll.count(reading.state)), query.limit, before, after, filter_hash, reading.height
        )  # fmt: skip
        accounts = roll.read(reading.state, page[0], len(page)) if page else []
        return {
            "items": [_member_to_json(reading, space, account) for account in accounts],
            "next": forth,
            "prev": back,
            "ledger": reading.anchor(),
        }


def _member_to_json(reading: Reading, space: bytes, account: bytes) -> Json:
    member = read_member(reading.state, space, account)
    assert member is not None, "who is on the roll is a member"
    return {
        "account": account_text(account),
        "handle": read_handle(reading.state, account),
        "since_beat": member.beat,
    }


ENDPOINTS = (
    Endpoint("GET", "/communities", "listCommunities", "Communities, by the coherence of what is published there.",
             "communities", CommunitiesAnswer, list_communities, query=CommunitiesQuery,
             errors=(CursorInvalid, StaleHeight)),
    Endpoint("GET", "/communities/{space}", "getCommunity", "A community, its rules, moderators and guard profile.",
             "communities", CommunityAnswer, get_community, query=CommunityQuery,
             errors=(CommunityUnknown, StaleHeight)),
    Endpoint("GET", "/communities/{space}/feed", "getCommunityFeed", "Posts of a community, newest first.",
             "communities", PostsAnswer, get_community_feed, query=CommunityPagesQuery,
             errors=(CommunityUnknown, CursorInvalid, StaleHeight)),
    Endpoint("GET", "/communities/{space}/members", "listMembers", "The members of a community.", "communities",
             MembersAnswer, list_members, query=CommunityPagesQuery,
             errors=(CommunityUnknown, CursorInvalid, StaleHeight)),
)  # fmt: skip
