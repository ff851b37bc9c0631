"""Communities, moderation and appeals over the API: each answer says what the ledger says, at any height."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_api.shapes import account_text, event_text
from hypothesis import given
from hypothesis import strategies as st

from ledger.primitives.fixed_point import SCALE
from social.appeals.submitting import AppealMessageAdded
from social.communities.discovery import POSTS_HALF, POSTS_JUDGED, compute_score, order_communities
from social.communities.founding import CommunityCreated, GuardProfileChanged
from social.communities.moderators import ModeratorAppointed
from social.moderation.decisions import PostThreadLocked
from social.posts import ReplyPublished
from tests.client_api.api import Api, check_problem
from tests.economy.harbour import Harbour


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path / "ledger")


@pytest.fixture
def api(harbour: Harbour, tmp_path: Path) -> Iterator[Api]:
    with Api(tmp_path, harbour) as api:
        yield api


def test_a_community_is_shown_with_rules_moderators_and_profile(harbour: Harbour, api: Api) -> None:
    moderator = harbour.fans[0].account
    harbour.must(harbour.sign(harbour.founder, ModeratorAppointed, account=moderator, space=harbour.space))
    numbers: dict[str, Any] = dict.fromkeys(GuardProfileChanged.__slots__)
    numbers |= {"space": harbour.space, "posts_max": 9}
    harbour.must(harbour.sign(harbour.founder, GuardProfileChanged, **numbers))

    answer = api.call("getCommunity", space="harbour")

    found = answer["community"]
    assert (found["name"], found["members"], found["rules"], found["ruleset"]) == ("harbour", 11, 2, 1)
    assert found["space"] == event_text(harbour.space)
    assert found["description"] == "About boats."
    assert answer["rules_text"] == "1. Be kind.  2. Boats."
    assert answer["moderators"] == [account_text(moderator)]
    assert answer["guard_profile"] == [{"field": "posts_max", "value": "9"}]
    assert api.call("getCommunity", space=event_text(harbour.space))["community"] == found


def test_an_unknown_community_is_a_problem_with_a_remedy(api: Api) -> None:
    for space in ("nowhere", "platform", event_text(bytes(32))):
        answer = api.try_call("getCommunity", space=space)

        assert answer.status == 404
        assert check_problem(answer)["type"].endswith("community-unknown")


def test_communities_are_ordered_by_the_coherence_of_what_is_shown(harbour: Harbour, api: Api) -> None:
    created = harbour.sign(harbour.fans[0], CommunityCreated, text="Empty.", join="open", name="empty")
    harbour.must(created)
    post = harbour.publish(harbour.author, 0)

    before = api.call("listCommunities")["items"]
    harbour.hide(post)
    hidden = api.call("listCommunities")["items"]

    assert [each["name"] for each in before] == ["harbour", "empty"]
    assert [each["posts_judged"] for each in before] == [1, 0]
    assert [each["score"] for each in hidden] == ["0.000000000000000000"] * 2
    first = api.call("listCommunities", limit=1)
    second = api.call("listCommunities", limit=1, cursor=first["next"])
    assert [each["name"] for each in first["items"] + second["items"]] == [each["name"] for each in hidden]
    assert second["next"] is None
    assert second["prev"] is not None


@given(st.lists(st.integers(0, SCALE), max_size=POSTS_JUDGED))
def test_a_score_is_at_most_the_best_post_and_grows_with_more_of_the_same(coherences: list[int]) -> None:
    score = compute_score(coherences)

    assert 0 <= score <= max(coherences, default=0)
    assert score == sum(coherences) // (len(coherences) + POSTS_HALF)
    if 0 < len(coherences) < POSTS_JUDGED:
        assert compute_score([*coherences, max(coherences)]) >= score


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.integers(0, 3), st.integers(0, 3)), max_size=8))
def test_the_order_of_communities_does_not_depend_on_that_of_the_reading(found: list[tuple[bytes, int, int]]) -> None:
    assert order_communities(found) == order_communities(found[::-1])


def test_the_feed_of_a_community_marks_what_is_hidden_and_by_which_decision(harbour: Harbour, api: Api) -> None:
    shown, hidden = harbour.publish(harbour.fans[0], 2), harbour.publish(harbour.author, 0)
    height = harbour.chain.head.height
    decision = harbour.hide(hidden)

    items = api.call("getCommunityFeed", space="harbour")["items"]

    assert [each["post_id"] for each in items] == [event_text(hidden), event_text(shown)]
    assert [each["hidden_by"] for each in items] == [event_text(decision), None]
    assert items[0]["text"] is None
    assert items[1]["text"].startswith("We measured")
    assert {each["space"] for each in items} == {event_text(harbour.space)}
    assert api.call("getPost", post_id=event_text(hidden))["post"] == items[0]
    assert api.call("getFeed")["items"] == items
    earlier = api.call("getCommunityFeed", space="harbour", at=height)["items"]
    assert earlier[0]["hidden_by"] is None
    assert earlier[0]["text"].startswith("The harbour")


def test_a_locked_thread_is_marked_at_the_post_and_its_answers(harbour: Harbour, api: Api) -> None:
    post = harbour.publish(harbour.author, 0)
    reply = harbour.do(harbour.fans[0], ReplyPublished, text="An answer.", parent=post)
    reasons: dict[str, Any] = {"automated": False, "duration_beats": None, "rule": 1, "ruleset": 1}
    lock = harbour.do(
        harbour.founder, PostThreadLocked, text="Enough.", space=harbour.space, subject=post, **reasons
    )  # fmt: skip

    for found in (post, reply.event_id):
        assert api.call("getPost", post_id=event_text(found))["post"]["locked_by"] == event_text(lock.event_id)


def test_members_are_listed_in_pages_that_keep_their_height(harbour: Harbour, api: Api) -> None:
    first = api.call("listMembers", space="harbour", limit=8)
    second = api.call("listMembers", space="harbour", limit=8, cursor=first["next"])

    listed = [each["account"] for each in first["items"] + second["items"]]
    assert sorted(listed) == sorted(account_text(person.account) for person in harbour.people)
    assert (second["next"], len(second["items"])) == (None, 3)
    assert api.call("listMembers", space="harbour", limit=8, cursor=second["prev"])["items"] == first["items"]


def test_the_queue_groups_reports_and_puts_the_weightiest_first(harbour: Harbour, api: Api) -> None:
    light, heavy = harbour.publish(harbour.author, 0), harbour.publish(harbour.author, 2)
    harbour.report(light, harbour.fans[0])
    for person in harbour.fans[1:]:
        harbour.report(heavy, person)

    answer = api.call("getModerationQueue", space="harbour")

    assert [each["subject"]["post_id"] for each in answer["items"]] == [event_text(heavy), event_text(light)]
    assert [each["reports"] for each in answer["items"]] == [3, 1]
    assert (answer["waiting"], answer["ordered"]) == (2, 2)
    assert [each["event_type"] for each in answer["items"][0]["history"]] == ["graph.ContentReported"] * 3
    harbour.hide(heavy)
    assert [each["reports"] for each in api.call("getModerationQueue", space="harbour")["items"]] == [1]
    assert api.call("getModerationQueue")["items"] == [], "the platform has its own"


def test_a_decision_is_answered_as_a_statement_of_reasons(harbour: Harbour, api: Api) -> None:
    post = harbour.publish(harbour.author, 0)
    decision = harbour.hide(post, rule=2)
    harbour.like(post, *harbour.fans)
    harbour.pass_epoch()

    answer = api.call("getDecision", decision_id=event_text(decision))

    found = answer["decision"]
    assert found["facts"] == "It insults the harbour master."
    assert (found["kind"], found["rule"], found["ruleset"], found["state"]) == ("hide", 2, 1, "OPEN")
    assert (found["subject"], found["space"]) == (event_text(post), event_text(harbour.space))
    assert (found["account"], found["decider"]) == (
        account_text(harbour.author.account), account_text(harbour.founder.account),
    )  # fmt: skip
    assert found["proof"] == f"/api/v1/ledger/events/{event_text(decision)}/proof"
    assert answer["preserved"].startswith("The harbour")
    assert [each["account"] for each in answer["held"]] == [account_text(harbour.author.account)]
    author = account_text(harbour.author.account)
    assert api.call("listDecisions", space="harbour", account=author, state="pending")["items"] == [found]
    assert api.call("listDecisions", state="ended")["items"] == []
    assert api.try_call("getDecision", decision_id=event_text(post)).status == 404


def test_an_appeal_is_answered_with_all_that_was_said(harbour: Harbour, api: Api) -> None:
    decision = harbour.hide(harbour.publish(harbour.author, 0))
    appeal = harbour.appeal(decision)
    harbour.must(harbour.sign(harbour.founder, AppealMessageAdded, appeal=appeal, text="It does insult him."))
    harbour.pass_epoch()
    harbour.review(appeal, "reverse", "uphold", "reverse")
    harbour.pass_epoch()

    answer = api.call("getAppeal", appeal_id=event_text(appeal))

    assert answer["appeal"]["reason"] == "It praises him."
    assert (answer["appeal"]["state"], answer["appeal"]["outcome"]) == ("CLOSED", "reversed")
    assert (answer["appeal"]["uphold"], answer["appeal"]["reverse"]) == (1, 2)
    assert answer["decision"]["state"] == "REVERSED"
    assert [each["text"] for each in answer["said"]] == ["It does insult him."] + ["I read it."] * 3
    assert [each["vote"] for each in answer["said"]] == [None, "reverse", "uphold", "reverse"]
    reviewer = answer["appeal"]["reviewers"][0]
    assert [each["appeal_id"] for each in api.call("listAppeals", reviewer=reviewer)["items"]] == [event_text(appeal)]
    assert api.call("listAppeals", state="open")["items"] == []
    assert api.try_call("getAppeal", appeal_id=event_text(decision)).status == 404


def test_the_log_and_the_statistics_show_what_became_of_each_decision(harbour: Harbour, api: Api) -> None:
    reversed_one = harbour.hide(harbour.publish(harbour.author, 0))
    kept = harbour.hide(harbour.publish(harbour.fans[0], 2))
    appeal = harbour.appeal(reversed_one)
    harbour.pass_epoch()
    harbour.review(appeal, "reverse", "reverse")
    harbour.pass_epoch()

    log = api.call("getModerationLog", space="harbour")["items"]
    statistics = api.call("getModerationStatistics", space="harbour")

    assert [each["event"]["event_id"] for each in log] == [event_text(kept), event_text(reversed_one)]
    assert [each["decision"]["state"] for each in log] == ["FINAL", "REVERSED"]
    assert {each["event"]["event_type"] for each in log} == {"moderation.PostHiddenInCommunity"}
    (record,) = statistics["items"]
    assert record["account"] == account_text(harbour.founder.account)
    assert (record["decisions"], record["appealed"], record["reversed"], record["upheld"]) == (2, 1, 1, 0)
    assert record["reversal_rate"] == "0.500000000000000000"
    assert record["reversal_rate_contested"] == "1.000000000000000000"
    assert statistics["total"] == record | {"account": ""}
    assert api.call("getModerationStatistics")["items"] == []


def test_a_post_is_prepared_for_a_community_or_for_everybody(harbour: Harbour, api: Api) -> None:
    key = harbour.author.key.public.hex()
    common: dict[str, Any] = {"type": "content.PostPublished", "key": key, "text": "A calm sea, and no wind at all."}

    inside = api.call("prepareEvent", common | {"body": {"tags": [], "space": event_text(harbour.space)}})
    everywhere = api.call("prepareEvent", common | {"body": {"tags": []}})

    assert [each["would"] for each in (inside, everywhere)] == ["applied", "applied"]
    assert harbour.space.hex() in inside["readable"]
    assert bytes(32).hex() in everywhere["readable"]


def test_a_decision_is_prepared_by_whoever_may_make_it(harbour: Harbour, api: Api) -> None:
    post = harbour.publish(harbour.author, 0)
    body = {
        "automated": False, "duration_beats": None, "rule": 1, "ruleset": 1, "space": event_text(harbour.space),
        "subject": event_text(post),
    }  # fmt: skip
    prepared = [
        api.call(
            "prepareEvent",
            {"type": "moderation.PostHiddenInCommunity", "key": person.key.public.hex(), "text": "Why.", "body": body},
        )
        for person in (harbour.founder, harbour.fans[0])
    ]

    assert [each["would"] for each in prepared] == ["applied", "denied"]
    assert "ROLE_NOT_GRANTED" in {each["code"] for each in prepared[1]["guards"]}
