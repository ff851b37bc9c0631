"""Communities: who founds, rules, joins and moderates them, and what a guard profile does inside one alone."""

from typing import Any

import pytest

from guards.profiles import GuardProfile, read_profile
from ledger import keyspace
from ledger.events import SignedEvent
from ledger.identity import IdentityCreated
from ledger.items import HIDDEN, LABELS, read_item
from ledger.primitives.fixed_point import SCALE
from ledger.receipts import APPLIED, Receipt
from ledger.roles import has_role, read_founder
from ledger.scopes import MODERATOR
from ledger.spaces import Place, read_place
from social.communities.founding import (
    CommunityArchived,
    CommunityCreated,
    CommunityTransferred,
    GuardProfileChanged,
    RulesetChanged,
)
from social.communities.members import (
    CommunityMemberJoined,
    CommunityMemberLeft,
    MembershipDecided,
    is_moderator,
)
from social.communities.moderators import ModeratorAppointed, ModeratorRemoved, list_moderators
from social.communities.records import (
    COMMUNITIES,
    find_community,
    members_of,
    read_community,
    read_member,
    read_ruleset,
    requests_of,
)
from social.posts import PostAddressed, PostPublished, ReplyPublished
from tests.ledger.world import Person, World
from tests.social.assembly import denials

NOWHERE = bytes(32)
UNCHANGED: dict[str, Any] = dict.fromkeys(GuardProfile.__slots__)


def found(world: World, name: str = "harbour", join: str = "open") -> bytes:
    receipt = world.do(world.ada, CommunityCreated, text="About boats.", join=join, name=name)
    assert receipt.outcome == APPLIED, denials(receipt)
    return receipt.event_id


def join(world: World, space: bytes, person: Person | None = None) -> Receipt:
    return world.do(person or world.ben, CommunityMemberJoined, space=space)


def post_in(world: World, space: bytes, person: Person, text: str = "A quiet morning in the harbour.") -> Receipt:
    return world.do(person, PostAddressed, text=text, tags=(), space=space)


def set_profile(world: World, space: bytes, person: Person | None = None, **numbers: int) -> Receipt:
    return world.do(person or world.ada, GuardProfileChanged, space=space, **(UNCHANGED | numbers))


def test_a_community_is_found_by_name_and_its_founder_is_its_first_member(world: World) -> None:
    space = found(world)

    state, community = world.state(), read_community(world.state(), space)
    assert community is not None
    assert (community.name, community.join, community.ruleset, community.archived) == ("harbour", "open", 0, False)
    assert find_community(state, "harbour") == space
    assert read_founder(state, space) == world.ada.account
    assert members_of(space).read(state) == [world.ada.account]
    assert COMMUNITIES.read(state) == [space]
    assert is_moderator(state, space, world.ada.account)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "Harbour"}, "COMMUNITY_NAME_INVALID"),
        ({"name": "har bour"}, "COMMUNITY_NAME_INVALID"),
        ({"name": "platform"}, "COMMUNITY_NAME_RESERVED"),
        ({"name": "evt1harbour"}, "COMMUNITY_NAME_RESERVED"),
        ({"join": "by_lot"}, "COMMUNITY_JOIN_RULE_UNKNOWN"),
        ({"text": ""}, "content.text_empty"),
    ],
)
def test_a_community_needs_a_plain_name_a_way_to_join_and_a_description(
    world: World, changes: dict[str, Any], code: str
) -> None:
    receipt = world.do(world.ada, CommunityCreated, **({"text": "About.", "join": "open", "name": "boats"} | changes))

    assert denials(receipt) == {code}


def test_a_name_is_taken_once(world: World) -> None:
    found(world)

    receipt = world.do(world.ben, CommunityCreated, text="Mine.", join="open", name="harbour")

    assert denials(receipt) == {"COMMUNITY_NAME_TAKEN"}


def test_rules_change_by_new_versions_and_old_ones_stay(world: World) -> None:
    space = found(world)

    receipts = [
        world.do(world.ada, RulesetChanged, text="1. Be kind.", rules=1, space=space),
        world.do(world.ada, RulesetChanged, text="1. Be kind.  2. Be brief.", rules=2, space=space),
        world.do(world.ben, RulesetChanged, text="No rules.", rules=1, space=space),
    ]

    assert [receipt.outcome for receipt in receipts] == [APPLIED, APPLIED, "denied"]
    assert denials(receipts[2]) == {"COMMUNITY_NOT_FOUNDER"}
    state = world.state()
    versions = [read_ruleset(state, space, version) for version in (1, 2, 3)]
    assert [None if each is None else each.rules for each in versions] == [1, 2, None]
    community = read_community(state, space)
    assert community is not None
    assert community.ruleset == 2


def test_everybody_joins_an_open_community_once_and_leaves_it(world: World) -> None:
    space = found(world)

    assert join(world, space).outcome == APPLIED
    assert denials(join(world, space)) == {"COMMUNITY_MEMBER_ALREADY"}
    assert members_of(space).read(world.state()) == [world.ada.account, world.ben.account]
    assert world.do(world.ben, CommunityMemberLeft, space=space).outcome == APPLIED
    assert read_member(world.state(), space, world.ben.account) is None
    assert members_of(space).read(world.state()) == [world.ada.account]
    assert denials(world.do(world.ben, CommunityMemberLeft, space=space)) == {"COMMUNITY_NOT_MEMBER"}
    assert denials(world.do(world.ada, CommunityMemberLeft, space=space)) == {"COMMUNITY_FOUNDER_STAYS"}


def test_where_joining_needs_approval_it_is_a_request(world: World) -> None:
    space = found(world, join="approval")
    account = world.ben.account

    join(world, space)

    assert requests_of(space).read(world.state()) == [account]
    assert read_member(world.state(), space, account) is None
    assert denials(join(world, space)) == {"COMMUNITY_ASKED_ALREADY"}
    decide: dict[str, Any] = {"account": account, "space": space}
    assert denials(world.do(world.ben, MembershipDecided, accepted=True, **decide)) == {"COMMUNITY_NOT_MODERATOR"}
    assert world.do(world.ada, MembershipDecided, accepted=False, **decide).outcome == APPLIED
    assert requests_of(space).read(world.state()) == []
    assert denials(world.do(world.ada, MembershipDecided, accepted=True, **decide)) == {"COMMUNITY_NOT_ASKED"}
    join(world, space)
    assert world.do(world.ada, MembershipDecided, accepted=True, **decide).outcome == APPLIED
    assert read_member(world.state(), space, account) is not None


def test_a_request_can_be_taken_back(world: World) -> None:
    space = found(world, join="approval")
    join(world, space)

    assert world.do(world.ben, CommunityMemberLeft, space=space).outcome == APPLIED
    assert requests_of(space).count(world.state()) == 0


def test_a_moderator_is_appointed_for_one_community_alone(world: World) -> None:
    space, other = found(world), found(world, "hills")
    account = world.ben.account

    before = world.do(world.ada, ModeratorAppointed, account=account, space=space)
    join(world, space)
    appointed = world.do(world.ada, ModeratorAppointed, account=account, space=space)

    assert denials(before) == {"COMMUNITY_NOT_MEMBER"}
    assert appointed.outcome == APPLIED
    state, community = world.state(), read_community(world.state(), space)
    assert community is not None
    assert list_moderators(state, space, community) == [account]
    assert has_role(state, account, MODERATOR, space)
    assert not has_role(state, account, MODERATOR, other)
    assert denials(world.do(world.ada, ModeratorAppointed, account=account, space=space)) == {"ROLE_EXISTS"}


def test_only_the_founder_appoints_and_a_moderator_may_resign(world: World) -> None:
    space = found(world)
    join(world, space)

    by_ben = world.do(world.ben, ModeratorAppointed, account=world.ada.account, space=space)
    world.do(world.ada, ModeratorAppointed, account=world.ben.account, space=space)
    resigned = world.do(world.ben, ModeratorRemoved, account=world.ben.account, space=space)

    assert "COMMUNITY_NOT_FOUNDER" in denials(by_ben)
    assert resigned.outcome == APPLIED
    assert not is_moderator(world.state(), space, world.ben.account)
    community = read_community(world.state(), space)
    assert community is not None
    assert community.moderators == ()


def test_a_founder_hands_the_community_to_a_member(world: World) -> None:
    space = found(world)
    hand: dict[str, Any] = {"account": world.ben.account, "space": space}

    assert denials(world.do(world.ada, CommunityTransferred, **hand)) == {"COMMUNITY_NOT_MEMBER"}
    join(world, space)
    assert world.do(world.ada, CommunityTransferred, **hand).outcome == APPLIED

    assert read_founder(world.state(), space) == world.ben.account
    assert denials(world.do(world.ada, CommunityArchived, space=space)) == {"COMMUNITY_NOT_FOUNDER"}
    assert world.do(world.ada, CommunityMemberLeft, space=space).outcome == APPLIED


def test_an_archived_community_takes_nothing_new(world: World) -> None:
    space = found(world)
    world.do(world.ada, CommunityArchived, space=space)

    assert denials(join(world, space)) == {"COMMUNITY_ARCHIVED"}
    assert denials(post_in(world, space, world.ada)) == {"COMMUNITY_ARCHIVED"}
    assert denials(set_profile(world, space)) == {"COMMUNITY_ARCHIVED"}


# Posts.


def test_a_post_in_a_community_is_listed_there_and_its_replies_are_in_it(world: World) -> None:
    space = found(world)

    post = post_in(world, space, world.ada)
    reply = world.do(world.ada, ReplyPublished, text="Very quiet.", parent=post.event_id)
    deeper = world.do(world.ada, ReplyPublished, text="Indeed.", parent=reply.event_id)

    state, index = world.state(), keyspace.listed(keyspace.IN_COMMUNITY, space, post.log_index)
    assert state.get(index) == post.event_id
    assert state.get(keyspace.in_feed(post.log_index)) == post.event_id
    assert [read_place(state, each.event_id) for each in (post, reply, deeper)] == [Place(post.event_id, space)] * 3


def test_only_members_publish_and_reply_in_a_community(world: World) -> None:
    space = found(world)
    post = post_in(world, space, world.ada)

    assert denials(post_in(world, space, world.ben)) == {"COMMUNITY_NOT_MEMBER"}
    reply: dict[str, Any] = {"text": "Hello from outside.", "parent": post.event_id}
    assert denials(world.do(world.ben, ReplyPublished, **reply)) == {"COMMUNITY_NOT_MEMBER"}
    join(world, space)
    assert world.do(world.ben, ReplyPublished, **reply).outcome == APPLIED
    assert denials(post_in(world, b"x" * 32, world.ben)) == {"COMMUNITY_UNKNOWN"}


def test_a_post_for_everybody_is_the_same_in_both_versions(world: World) -> None:
    old = world.do(world.ada, PostPublished, text="One text.", tags=())
    new = world.do(world.ada, PostAddressed, text="Another text, quite different.", tags=())

    state = world.state()
    assert [read_place(state, each.event_id).space for each in (old, new)] == [NOWHERE] * 2
    assert state.get(keyspace.community("t", new.event_id)) is None


# Guard profiles.


def test_a_profile_may_only_be_stricter(world: World) -> None:
    space = found(world)

    assert denials(set_profile(world, space, warned_hate=61)) == {"PROFILE_NOT_STRICTER"}
    assert denials(set_profile(world, space, world.ben, warned_hate=50)) == {"COMMUNITY_NOT_FOUNDER"}
    assert set_profile(world, space, warned_hate=50).outcome == APPLIED
    assert read_profile(world.state(), space) == GuardProfile(warned_hate=50)


def publishing(world: World, space: bytes) -> SignedEvent:
    return world.sign(world.ada, PostAddressed, text="A plain text about the tide.", tags=(), space=space)


def test_a_profile_holds_inside_its_community_and_nowhere_else(world: World) -> None:
    space, other = found(world), found(world, "hills")
    set_profile(world, space, s_chr_min=SCALE)

    receipts = [world.execute(publishing(world, where)).receipts[-1] for where in (space, other, NOWHERE)]

    assert denials(receipts[0]) == {"SYBIL_BELOW_SURVIVAL"}
    denied = next(verdict for verdict in receipts[0].verdicts if not verdict.allowed)
    assert denied.facts["s_chr_min"] == SCALE
    assert [receipt.outcome for receipt in receipts[1:]] == [APPLIED, APPLIED]


def test_a_reply_is_judged_under_the_profile_of_its_thread(world: World) -> None:
    space = found(world)
    post = post_in(world, space, world.ada)
    set_profile(world, space, s_chr_min=SCALE)

    reply = world.do(world.ada, ReplyPublished, text="Not under this profile.", parent=post.event_id)

    assert denials(reply) == {"SYBIL_BELOW_SURVIVAL"}


def test_a_stricter_label_holds_for_the_item(world: World) -> None:
    space = found(world)
    set_profile(world, space, blocked_hate=101, hidden_hate=0, warned_hate=0)

    inside, outside = post_in(world, space, world.ada), post_in(world, NOWHERE, world.ada)

    items = [read_item(world.state(), each.event_id) for each in (inside, outside)]
    labels = [None if each is None else LABELS[each.label] for each in items]
    assert labels == [HIDDEN, "visible"]


def test_a_newcomer_joins_and_publishes(world: World) -> None:
    space = found(world)
    world.do(world.cyd, IdentityCreated)

    join(world, space, world.cyd)

    assert post_in(world, space, world.cyd).outcome == APPLIED
