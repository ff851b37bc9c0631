"""How a community is made, ruled, handed on and closed.

Events: community.CommunityCreated, RulesetChanged, GuardProfileChanged, CommunityTransferred, CommunityArchived.

Description and rules are payloads; the ledger holds their salted hashes, and how many rules there are.  Rules change by
new versions: a decision names the version that it was made by.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from guards.content import judge_text_length
from guards.profiles import GuardProfile, Threshold, is_stricter
from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, EventType, Put, View, Write
from ledger.payloads import ContentRef
from ledger.policies import read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import Between, Bytes32, encode_record
from ledger.verdict import Verdict, allow, deny
from social.communities.records import (
    COMMUNITIES,
    JOIN_RULES,
    NAME_CHARACTERS,
    RESERVED_NAMES,
    RESERVED_START,
    Community,
    Join,
    Member,
    Name,
    RuleNumber,
    Ruleset,
    judge_founder,
    judge_open,
    members_of,
    read_community,
    read_member,
)


@dataclass(frozen=True, slots=True)
class CommunityCreated:
    """The author founds a community; he is its first member."""

    content: ContentRef  # description
    join: Join  # "open", or "approval"
    name: Name


@dataclass(frozen=True, slots=True)
class RulesetChanged:
    """The founder gives the community new rules."""

    content: ContentRef
    rules: RuleNumber  # how many, numbered from 1
    space: Bytes32


@dataclass(frozen=True, slots=True)
class GuardProfileChanged:
    """The founder sets what the community asks beyond the platform; None leaves the platform's number."""

    blocked_hate: Threshold | None
    hidden_hate: Threshold | None
    posts_max: Annotated[int, Between(1, 10_000)] | None
    s_chr_min: Annotated[int, Between(0, SCALE)] | None
    space: Bytes32
    warned_hate: Threshold | None
    warned_offensive: Threshold | None


@dataclass(frozen=True, slots=True)
class CommunityTransferred:
    """The founder hands the community to another member, who is its founder from here on."""

    account: Bytes32
    space: Bytes32


@dataclass(frozen=True, slots=True)
class CommunityArchived:
    """The founder closes the community for good; it stays readable."""

    space: Bytes32


def make_profile(body: GuardProfileChanged) -> GuardProfile:
    """Return the profile that an event sets."""
    return GuardProfile(
        blocked_hate=body.blocked_hate, hidden_hate=body.hidden_hate, warned_hate=body.warned_hate,
        warned_offensive=body.warned_offensive, posts_max=body.posts_max, s_chr_min=body.s_chr_min,
    )  # fmt: skip


def name_is_plain(view: View, entry: Entry[CommunityCreated]) -> Verdict:
    if all(character in NAME_CHARACTERS for character in entry.body.name):
        return allow("COMMUNITY_NAME_PLAIN", "The name is well formed.")
    return deny("COMMUNITY_NAME_INVALID", "Names hold lower-case letters a-z, digits and _ only.")


def name_is_not_reserved(view: View, entry: Entry[CommunityCreated]) -> Verdict:
    name = entry.body.name
    if name in RESERVED_NAMES or name.startswith(RESERVED_START):
        return deny("COMMUNITY_NAME_RESERVED", "The name means something else where spaces are named.", name=name)
    return allow("COMMUNITY_NAME_USABLE", "The name is not reserved.")


def name_is_free(view: View, entry: Entry[CommunityCreated]) -> Verdict:
    if view.get(keyspace.community_name(entry.body.name)) is None:
        return allow("COMMUNITY_NAME_FREE", "No community has this name.")
    return deny("COMMUNITY_NAME_TAKEN", "Another community has this name.", name=entry.body.name)


def join_rule_is_known(view: View, entry: Entry[CommunityCreated]) -> Verdict:
    if entry.body.join in JOIN_RULES:
        return allow("COMMUNITY_JOIN_RULE_KNOWN", "The way to join is one of those that there are.")
    expected = " or ".join(JOIN_RULES)
    return deny("COMMUNITY_JOIN_RULE_UNKNOWN", f"The way to join is {expected}.", join=entry.body.join)


def description_fits(view: View, entry: Entry[CommunityCreated]) -> Verdict:
    return judge_text_length(entry.body.content)


def rules_fit(view: View, entry: Entry[RulesetChanged]) -> Verdict:
    return judge_text_length(entry.body.content)


def community_is_open(view: View, entry: Entry[Any]) -> Verdict:
    return judge_open(view, entry.body.space)


def author_is_founder(view: View, entry: Entry[Any]) -> Verdict:
    return judge_founder(view, entry.body.space, entry.author)


def profile_is_stricter(view: View, entry: Entry[GuardProfileChanged]) -> Verdict:
    return is_stricter(make_profile(entry.body), read_policies(view))


def heir_is_member(view: View, entry: Entry[CommunityTransferred]) -> Verdict:
    body = entry.body
    if body.account == entry.author:
        return deny("COMMUNITY_HEIR_SAME", "A community is handed to somebody else.")
    if read_member(view, body.space, body.account) is None:
        return deny("COMMUNITY_NOT_MEMBER", "A community is handed to one of its members.", account=body.account.hex())
    return allow("COMMUNITY_MEMBER", "The new founder is a member.")


def apply_community_created(view: View, entry: Entry[CommunityCreated]) -> Iterator[Write]:
    """Keep the community, and make its founder the first member."""
    body, space, draft = entry.body, entry.event_id, Draft(view)
    community = Community(False, body.content, entry.height, body.join, (), body.name, 0)
    draft.put(keyspace.community("c", space), encode_record(community))
    draft.put(keyspace.community_name(body.name), space)
    draft.put(keyspace.space_founder(space), entry.author)
    draft.put(keyspace.community("m", space, entry.author), encode_record(Member(entry.beat, entry.height)))
    members_of(space).add(draft, entry.author)
    COMMUNITIES.add(draft, space)
    yield from draft.writes()


def read_known(view: View, space: bytes) -> Community:
    """Return a community that a guard has found."""
    community = read_community(view, space)
    assert community is not None, "a guard has found the community"
    return community


def apply_ruleset_changed(view: View, entry: Entry[RulesetChanged]) -> Iterator[Write]:
    """Keep the new version beside the old ones."""
    body, community = entry.body, read_known(view, entry.body.space)
    version = community.ruleset + 1
    rules = Ruleset(entry.beat, body.content, body.rules)
    yield Put(keyspace.community("r", body.space, keyspace.u64(version)), encode_record(rules))
    yield Put(keyspace.community("c", body.space), encode_record(replace(community, ruleset=version)))


def apply_guard_profile_changed(view: View, entry: Entry[GuardProfileChanged]) -> Iterator[Write]:
    """Keep the profile; posts in the community are judged under it from here on."""
    yield Put(keyspace.community("p", entry.body.space), encode_record(make_profile(entry.body)))


def apply_community_transferred(view: View, entry: Entry[CommunityTransferred]) -> Iterator[Write]:
    """Make the other account the founder."""
    yield Put(keyspace.space_founder(entry.body.space), entry.body.account)


def apply_community_archived(view: View, entry: Entry[CommunityArchived]) -> Iterator[Write]:
    """Close the community."""
    community = replace(read_known(view, entry.body.space), archived=True)
    yield Put(keyspace.community("c", entry.body.space), encode_record(community))


_EXAMPLE_CONTENT = ContentRef(bytes=12, hash=bytes(32))

EVENTS = (
    EventType(
        name="community.CommunityCreated",
        version=1,
        body=CommunityCreated,
        guards=(name_is_plain, name_is_not_reserved, name_is_free, join_rule_is_known, description_fits),
        apply=apply_community_created,
        summary="An account founded a community.",
        example=CommunityCreated(_EXAMPLE_CONTENT, "open", "programming"),
        inputs=lambda body: {"content": body.content.hash.hex(), "join": body.join, "name": body.name},
        content=lambda body: body.content,
        weight=10 * SCALE,
    ),
    EventType(
        name="community.RulesetChanged",
        version=1,
        body=RulesetChanged,
        guards=(community_is_open, author_is_founder, rules_fit),
        apply=apply_ruleset_changed,
        summary="A community got new rules.",
        example=RulesetChanged(_EXAMPLE_CONTENT, 3, bytes(32)),
        inputs=lambda body: {
            "content": body.content.hash.hex(), "rules": body.rules, "space": body.space.hex(),
        },
        content=lambda body: body.content,
        weight=SCALE,
    ),
    EventType(
        name="community.GuardProfileChanged",
        version=1,
        body=GuardProfileChanged,
        guards=(community_is_open, author_is_founder, profile_is_stricter),
        apply=apply_guard_profile_changed,
        summary="A community set its guard profile.",
        example=GuardProfileChanged(None, 80, None, None, bytes(32), 50, None),
        inputs=lambda body: {"space": body.space.hex()},
        weight=SCALE,
    ),
    EventType(
        name="community.CommunityTransferred",
        version=1,
        body=CommunityTransferred,
        guards=(community_is_open, author_is_founder, heir_is_member),
        apply=apply_community_transferred,
        summary="A community was handed to another founder.",
        example=CommunityTransferred(bytes(32), bytes(32)),
        inputs=lambda body: {"account": body.account.hex(), "space": body.space.hex()},
        weight=SCALE,
    ),
    EventType(
        name="community.CommunityArchived",
        version=1,
        body=CommunityArchived,
        guards=(community_is_open, author_is_founder),
        apply=apply_community_archived,
        summary="A community was closed.",
        example=CommunityArchived(bytes(32)),
        inputs=lambda body: {"space": body.space.hex()},
        weight=SCALE,
    ),
)  # fmt: skip
