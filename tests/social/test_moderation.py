"""Reports and decisions: who may do what where, what each does, and what a lifting gives back."""

from pathlib import Path
from typing import Any

import pytest

from ledger import keyspace
from ledger.events import SignedEvent
from ledger.holds import list_held, read_held_flx
from ledger.primitives.fixed_point import SCALE
from ledger.receipts import APPLIED, Receipt
from ledger.roles import PLATFORM
from ledger.sanctions import hiding_key, lock_key, read_sanction, suspension_key
from ledger.scopes import MODERATOR
from ledger.standing import read_standing
from ledger.state import read_number
from social.communities.founding import CommunityCreated, RulesetChanged
from social.communities.members import CommunityMemberJoined, CommunityMemberLeft
from social.communities.moderators import ModeratorAppointed
from social.moderation.decisions import (
    AccountSuspended,
    ContentTakenDown,
    MemberSuspended,
    MemberWarned,
    PostHiddenInCommunity,
    PostThreadLocked,
)
from social.moderation.lifting import (
    AccountReinstated,
    ContentReinstated,
    MemberReinstated,
    PostRestoredInCommunity,
    PostThreadUnlocked,
)
from social.moderation.records import (
    FINAL,
    LIFTED,
    OPEN,
    deciders_of,
    open_cases,
    read_case,
    read_moderator_record,
)
from social.moderation.reports import ContentReported, ReportTriaged
from social.posts import PostAddressed, PostPublished, ReplyPublished
from social.reactions import ContentLiked
from tests.economy.harbour import Harbour
from tests.economy.town import by_type
from tests.ledger.world import Person, id_of
from tests.social.assembly import Plants, denials

NOWHERE = bytes(32)


def decide(harbour: Harbour, person: Person, body: type[Any], **changes: Any) -> Receipt:
    """Have somebody decide something by the first rule of the harbour."""
    reasons: dict[str, Any] = {
        "automated": False, "duration_beats": None, "rule": 1, "ruleset": 1, "space": harbour.space,
    }  # fmt: skip
    return harbour.do(person, body, text="What was found.", **(reasons | changes))


def lift(harbour: Harbour, person: Person, body: type[Any], decision: bytes, space: bytes | None = None) -> Receipt:
    where = harbour.space if space is None else space
    return harbour.do(person, body, text="It was a mistake.", decision=decision, space=where)


def appoint(harbour: Harbour, person: Person) -> Person:
    harbour.must(harbour.sign(harbour.founder, ModeratorAppointed, account=person.account, space=harbour.space))
    return person


def second_community(harbour: Harbour, founder: Person) -> bytes:
    created = harbour.sign(founder, CommunityCreated, text="About hills.", join="open", name="hills")
    harbour.must(created)
    harbour.must(harbour.sign(founder, RulesetChanged, text="1. Up.", rules=1, space=id_of(created)))
    return id_of(created)


# Reports.


def test_reports_of_one_post_are_one_case_weighed_by_who_reports(harbour: Harbour) -> None:
    post = harbour.publish(harbour.author, 0)
    for person in harbour.fans[:2]:
        harbour.report(post, person)

    case, standing = read_case(harbour.store, post), read_standing(harbour.store, harbour.fans[0].account)
    assert case is not None
    assert standing is not None
    assert (case.reports, case.total, case.decided, case.space) == (2, 2, 0, harbour.space)
    assert case.mass == 2 * standing.s_chr
    assert open_cases(harbour.space).read(harbour.store) == [post]


def test_an_account_reports_a_post_once_by_a_rule_that_there_is(harbour: Harbour) -> None:
    post, fan = harbour.publish(harbour.author, 0), harbour.fans[0]
    harbour.report(post, fan)
    report: dict[str, Any] = {"text": "Again.", "rule": 1, "subject": post}

    assert denials(harbour.do(fan, ContentReported, **report)) == {"REPORT_REPEATED"}
    assert denials(harbour.do(harbour.founder, ContentReported, **(report | {"rule": 3}))) == {"REPORT_RULE_UNKNOWN"}
    nowhere = harbour.do(harbour.founder, ContentReported, **(report | {"subject": NOWHERE}))
    assert denials(nowhere) == {"REPORT_SUBJECT_UNKNOWN"}


def test_a_moderator_answers_reports_and_they_can_come_again(harbour: Harbour) -> None:
    post, answer = harbour.publish(harbour.author, 0), {"text": "Nothing in it.", "space": harbour.space}
    harbour.report(post, harbour.fans[0])

    by_a_member = harbour.do(harbour.fans[1], ReportTriaged, subject=post, **answer)
    answered = harbour.do(harbour.founder, ReportTriaged, subject=post, **answer)
    again = harbour.do(harbour.founder, ReportTriaged, subject=post, **answer)

    assert denials(by_a_member) == {"ROLE_NOT_GRANTED"}
    assert answered.outcome == APPLIED
    assert denials(again) == {"REPORT_NONE_WAITING"}
    assert open_cases(harbour.space).count(harbour.store) == 0
    harbour.report(post, harbour.fans[2])
    case = read_case(harbour.store, post)
    assert case is not None
    assert (case.reports, case.total) == (1, 2)
    assert open_cases(harbour.space).read(harbour.store) == [post]


# Decisions.


def test_a_decision_is_a_statement_of_reasons(harbour: Harbour) -> None:
    post = harbour.publish(harbour.author, 0)
    harbour.report(post, harbour.fans[0])

    decision_id = harbour.hide(post, rule=2, automated=True)

    decision, beat = harbour.find_decision(decision_id), harbour.chain.head.header.beat
    assert (decision.kind, decision.rule, decision.ruleset, decision.automated) == ("hide", 2, 1, True)
    assert (decision.account, decision.decider) == (harbour.author.account, harbour.founder.account)
    assert (decision.space, decision.subject, decision.until_beat) == (harbour.space, post, None)
    assert (decision.state, decision.contest_until) == (OPEN, beat + 8)
    hiding = read_sanction(harbour.store, hiding_key(post))
    assert hiding is not None
    assert hiding.decision == decision_id
    case = read_case(harbour.store, post)
    assert case is not None
    assert (case.decided, case.reports) == (1, 0)
    assert open_cases(harbour.space).count(harbour.store) == 0
    record = read_moderator_record(harbour.store, harbour.space, harbour.founder.account)
    assert record is not None
    assert (record.decisions, record.acts, record.lifted) == (1, 1, 0)
    assert deciders_of(harbour.space).read(harbour.store) == [harbour.founder.account]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ruleset": 2}, "MODERATION_RULESET_OLD"),
        ({"rule": 3}, "MODERATION_RULE_UNKNOWN"),
        ({"subject": NOWHERE}, "MODERATION_SUBJECT_UNKNOWN"),
        ({"duration_beats": 5}, "MODERATION_DURATION_UNEXPECTED"),
    ],
)
def test_a_decision_needs_a_rule_in_force_and_a_subject(harbour: Harbour, changes: dict[str, Any], code: str) -> None:
    post = harbour.publish(harbour.author, 0)

    receipt = decide(harbour, harbour.founder, PostHiddenInCommunity, **({"subject": post} | changes))

    assert denials(receipt) == {code}


def test_a_community_without_rules_has_nothing_to_decide_by(harbour: Harbour) -> None:
    founder = harbour.fans[0]
    created = harbour.sign(founder, CommunityCreated, text="No rules.", join="open", name="wild")
    harbour.must(created)
    space = id_of(created)
    harbour.must(harbour.sign(harbour.author, CommunityMemberJoined, space=space))
    post = harbour.do(harbour.author, PostAddressed, text="Wild times.", tags=(), space=space)

    receipt = decide(harbour, founder, PostHiddenInCommunity, subject=post.event_id, space=space, ruleset=0)

    assert denials(receipt) == {"MODERATION_NO_RULES"}


def test_a_moderator_acts_only_in_his_community(harbour: Harbour) -> None:
    post, stranger = harbour.publish(harbour.author, 0), harbour.fans[0]
    other = second_community(harbour, stranger)
    elsewhere = harbour.do(harbour.author, PostPublished, text="For everybody.", tags=())

    from_outside = decide(harbour, stranger, PostHiddenInCommunity, subject=post)
    under_his_own = decide(harbour, stranger, PostHiddenInCommunity, subject=post, space=other)
    on_the_platform = decide(harbour, stranger, ContentTakenDown, subject=elsewhere.event_id, space=PLATFORM)
    not_in_it = decide(harbour, harbour.founder, PostHiddenInCommunity, subject=elsewhere.event_id)

    assert denials(from_outside) == {"ROLE_NOT_GRANTED"}
    assert denials(under_his_own) == {"MODERATION_SUBJECT_ELSEWHERE"}
    assert denials(on_the_platform) == {"ROLE_NOT_GRANTED"}
    assert denials(not_in_it) == {"MODERATION_SUBJECT_ELSEWHERE"}


def test_an_appointed_moderator_is_denied_elsewhere_by_the_constitution(harbour: Harbour) -> None:
    moderator = appoint(harbour, harbour.fans[0])
    other = second_community(harbour, harbour.fans[1])
    post = harbour.publish(harbour.author, 0)

    assert decide(harbour, moderator, PostHiddenInCommunity, subject=post).outcome == APPLIED
    elsewhere = decide(harbour, moderator, PostHiddenInCommunity, subject=post, space=other)
    assert denials(elsewhere) == {"ROLE_SPACE_MISMATCH", "MODERATION_SUBJECT_ELSEWHERE", "MODERATION_STANDS_ALREADY"}


def test_nobody_decides_about_himself_and_a_decision_is_made_once(harbour: Harbour) -> None:
    own, post = harbour.publish(harbour.founder, 0), harbour.publish(harbour.author, 2)
    moderator = appoint(harbour, harbour.fans[0])

    assert denials(decide(harbour, harbour.founder, PostHiddenInCommunity, subject=own)) == {"MODERATION_OWN_CASE"}
    harbour.hide(post)
    again = decide(harbour, moderator, PostHiddenInCommunity, subject=post)
    assert denials(again) == {"MODERATION_STANDS_ALREADY"}


def test_a_moderator_acts_as_often_as_the_policy_allows(tmp_path: Path) -> None:
    policy = {"actions_max": 2, "appeal_beats": 8, "review_beats": 8, "reviewers": 3, "reviewer_s_chr_min": SCALE // 2}
    harbour = Harbour(tmp_path / "ledger", {"moderation": policy})
    posts = [harbour.publish(harbour.author, number) for number in (0, 2, 4)]

    receipts = [decide(harbour, harbour.founder, PostHiddenInCommunity, subject=post) for post in posts]
    harbour.pass_epoch()
    later = decide(harbour, harbour.founder, PostHiddenInCommunity, subject=posts[2])

    assert [receipt.outcome for receipt in receipts] == [APPLIED, APPLIED, "denied"]
    assert denials(receipts[2]) == {"MODERATION_RATE"}
    assert later.outcome == APPLIED
    harbour.close()


def test_decisions_cost_their_author_nothing_and_earn_him_nothing(harbour: Harbour) -> None:
    post, before = harbour.publish(harbour.author, 0), harbour.read_account(harbour.founder)

    harbour.hide(post)

    assert harbour.read_account(harbour.founder) == before


def test_a_locked_thread_takes_no_answers_until_it_is_unlocked(harbour: Harbour) -> None:
    post = harbour.publish(harbour.author, 0)
    first = harbour.do(harbour.fans[0], ReplyPublished, text="An answer.", parent=post)
    on_a_reply = decide(harbour, harbour.founder, PostThreadLocked, subject=first.event_id)

    lock = decide(harbour, harbour.founder, PostThreadLocked, subject=post)
    deep: dict[str, Any] = {"text": "An answer to an answer.", "parent": first.event_id}

    assert denials(on_a_reply) == {"MODERATION_NOT_THREAD_ROOT"}
    assert denials(harbour.do(harbour.fans[1], ReplyPublished, **deep)) == {"content.thread_locked"}
    assert harbour.publish(harbour.fans[1], 2)
    assert lift(harbour, harbour.founder, PostThreadUnlocked, lock.event_id).outcome == APPLIED
    assert read_sanction(harbour.store, lock_key(post)) is None
    assert harbour.do(harbour.fans[1], ReplyPublished, **deep).outcome == APPLIED


def test_a_suspended_member_is_silent_there_for_so_many_beats_and_free_elsewhere(harbour: Harbour) -> None:
    member, post = harbour.fans[0], harbour.publish(harbour.author, 0)
    suspended = decide(harbour, harbour.founder, MemberSuspended, subject=member.account, duration_beats=3)
    assert suspended.outcome == APPLIED
    speak: dict[str, Any] = {"text": "I say so.", "tags": (), "space": harbour.space}

    inside = harbour.do(member, PostAddressed, **speak)
    reply = harbour.do(member, ReplyPublished, text="I answer.", parent=post)
    outside = harbour.do(member, PostPublished, text="Here I may speak.", tags=())

    assert denials(inside) == denials(reply) == {"SANCTION_SUSPENDED"}
    verdict = next(each for each in inside.verdicts if not each.allowed)
    assert verdict.facts["decision"] == suspended.event_id.hex()
    assert verdict.facts["until_beat"] == harbour.chain.head.header.beat + 3
    assert outside.outcome == APPLIED
    for _ in range(3):
        harbour.beat()
    assert harbour.do(member, PostAddressed, **speak).outcome == APPLIED


def test_a_suspended_moderator_does_not_moderate_and_may_leave(harbour: Harbour) -> None:
    moderator, post = appoint(harbour, harbour.fans[0]), harbour.publish(harbour.author, 0)
    decide(harbour, harbour.founder, MemberSuspended, subject=moderator.account, duration_beats=9)

    assert denials(decide(harbour, moderator, PostHiddenInCommunity, subject=post)) == {"SANCTION_SUSPENDED"}
    assert harbour.do(moderator, CommunityMemberLeft, space=harbour.space).outcome == APPLIED


@pytest.mark.parametrize("beats", [None, 0, 152_461])
def test_a_suspension_ends(harbour: Harbour, beats: int | None) -> None:
    subject = harbour.fans[0].account

    receipt = decide(harbour, harbour.founder, MemberSuspended, subject=subject, duration_beats=beats)

    assert denials(receipt) == {"MODERATION_DURATION"}


def test_only_members_are_suspended_and_never_the_founder(harbour: Harbour) -> None:
    moderator, member = appoint(harbour, harbour.fans[0]), harbour.fans[1]
    harbour.must(harbour.sign(member, CommunityMemberLeft, space=harbour.space))

    gone = decide(harbour, moderator, MemberSuspended, subject=member.account, duration_beats=3)
    founder = decide(harbour, moderator, MemberSuspended, subject=harbour.founder.account, duration_beats=3)

    assert denials(gone) == {"MODERATION_NOT_MEMBER"}
    assert denials(founder) == {"MODERATION_FOUNDER_EXEMPT"}


def test_a_reinstated_member_speaks_again(harbour: Harbour) -> None:
    member = harbour.fans[0]
    suspended = decide(harbour, harbour.founder, MemberSuspended, subject=member.account, duration_beats=9)

    assert lift(harbour, harbour.founder, MemberReinstated, suspended.event_id).outcome == APPLIED

    assert read_sanction(harbour.store, suspension_key(harbour.space, member.account)) is None
    assert harbour.publish(member, 0)


def test_a_warning_stands_on_the_ledger_and_stops_nothing(harbour: Harbour) -> None:
    warned = decide(harbour, harbour.founder, MemberWarned, subject=harbour.author.account)

    assert warned.outcome == APPLIED
    assert harbour.find_decision(warned.event_id).kind == "warn"
    assert harbour.publish(harbour.author, 0)


# Lifting and finality.


def test_a_restored_post_keeps_what_it_earned_while_it_was_hidden(harbour: Harbour) -> None:
    post, author = harbour.publish(harbour.author, 0), harbour.author.account
    harbour.like(post, *harbour.fans)
    decision = harbour.hide(post)
    harbour.pass_epoch()
    assert read_held_flx(harbour.store, author) > 0

    receipt = lift(harbour, harbour.founder, PostRestoredInCommunity, decision)

    assert receipt.outcome == APPLIED
    assert harbour.find_decision(decision).state == LIFTED
    assert read_sanction(harbour.store, hiding_key(post)) is None
    assert (read_held_flx(harbour.store, author), list_held(harbour.store, decision)) == (0, [])
    for _ in range(4):
        receipts = harbour.pass_epoch()
        assert by_type(receipts, "moderation.DecisionBecameFinal") == []
        assert by_type(receipts, "economics.RewardClawedBack") == []
    assert denials(lift(harbour, harbour.founder, PostRestoredInCommunity, decision)) == {"MODERATION_DECISION_OVER"}
    record = read_moderator_record(harbour.store, harbour.space, harbour.founder.account)
    assert record is not None
    assert record.lifted == 1


def test_a_decision_is_lifted_in_its_own_scope_by_the_event_of_its_kind(harbour: Harbour) -> None:
    stranger, post = harbour.fans[0], harbour.publish(harbour.author, 0)
    other = second_community(harbour, stranger)
    decision = harbour.hide(post)

    wrong_kind = lift(harbour, harbour.founder, MemberReinstated, decision)
    elsewhere = lift(harbour, stranger, PostRestoredInCommunity, decision, other)
    unknown = lift(harbour, harbour.founder, PostRestoredInCommunity, NOWHERE)

    assert denials(wrong_kind) == {"MODERATION_DECISION_KIND"}
    assert denials(elsewhere) == {"MODERATION_DECISION_ELSEWHERE"}
    assert denials(unknown) == {"MODERATION_DECISION_UNKNOWN"}


def test_what_nobody_contests_becomes_final_in_its_order_and_counts(harbour: Harbour) -> None:
    first, second = harbour.publish(harbour.author, 0), harbour.publish(harbour.fans[0], 1)
    decisions = [harbour.hide(first), harbour.hide(second)]
    lift(harbour, harbour.founder, PostRestoredInCommunity, decisions[0])

    harbour.pass_epoch()
    assert harbour.find_decision(decisions[1]).state == OPEN
    receipts = harbour.pass_epoch() + harbour.pass_epoch()

    assert [harbour.find_decision(each).state for each in decisions] == [LIFTED, FINAL]
    final = by_type(receipts, "moderation.DecisionBecameFinal")
    assert [receipt.inputs["decision"] for receipt in final] == [decisions[1].hex()]
    penalty = by_type(receipts, "economics.PenaltyApplied")
    assert [receipt.inputs["account"] for receipt in penalty] == [harbour.fans[0].account.hex()]


def test_a_penalty_lowers_standing_once_whether_the_account_acts_or_not(harbour: Harbour) -> None:
    for person in (harbour.fans[0], harbour.fans[1]):
        decide(harbour, harbour.founder, MemberWarned, subject=person.account)
    while not by_type(harbour.pass_epoch(), "economics.PenaltyApplied"):
        pass
    before = [harbour.read_account(person)[0].s_chr for person in harbour.fans[:2]]
    post = harbour.publish(harbour.author, 0)
    harbour.must(harbour.sign(harbour.fans[0], ContentLiked, target=post))
    assert read_number(harbour.store, keyspace.active_count()) == 3, "each is settled once"

    receipts = harbour.pass_epoch()

    paid = [receipt.inputs["account"] for receipt in by_type(receipts, "economics.RewardPaid")]
    assert sorted(paid) == sorted(each.account.hex() for each in (harbour.author, *harbour.fans[:2]))
    after = [harbour.read_account(person)[0].s_chr for person in harbour.fans[:2]]
    expected = [(9 * s_chr + (s_chr - SCALE // 10)) // 10 for s_chr in before]
    assert after == expected
    harbour.pass_epoch()
    assert harbour.read_account(harbour.fans[0])[0].s_chr > after[0], "the penalty counts once; standing drifts back"


def test_a_post_that_is_hidden_for_good_earns_nothing_and_its_endorsers_mass_goes_elsewhere(harbour: Harbour) -> None:
    post = harbour.publish(harbour.author, 0)
    harbour.hide(post)
    harbour.pass_epoch()
    harbour.pass_epoch()
    assert harbour.find_decision(harbour.find_hiding(post)).state == FINAL
    other = harbour.publish(harbour.fans[1], 1)
    harbour.like(post, harbour.fans[0])
    harbour.like(other, harbour.fans[0])

    receipts = harbour.pass_epoch()

    accrued = by_type(receipts, "economics.RewardAccrued")
    assert [receipt.inputs["item"] for receipt in accrued] == [other.hex()]
    assert by_type(receipts, "economics.RewardHeld") == []


# The platform.


@pytest.fixture
def governed(tmp_path: Path, plants: Plants) -> Any:
    """A harbour in which governance has made one of those who endorse a moderator of the platform."""
    harbour = Harbour(tmp_path / "ledger", registry=plants.registry)
    plants.grant(MODERATOR, harbour.fans[0])
    harbour.pass_epoch()
    yield harbour
    harbour.assert_conserved()
    harbour.close()


def test_a_moderator_of_the_platform_acts_everywhere_by_its_rules(governed: Harbour) -> None:
    moderator, post = governed.fans[0], governed.publish(governed.author, 0)
    platform: dict[str, Any] = {"space": PLATFORM, "rule": 7}

    wrong_event = decide(governed, moderator, PostHiddenInCommunity, subject=post, **platform)
    unknown_rule = decide(governed, moderator, ContentTakenDown, subject=post, **(platform | {"rule": 8}))
    taken_down = decide(governed, moderator, ContentTakenDown, subject=post, **platform)
    by_the_founder = lift(governed, governed.founder, PostRestoredInCommunity, taken_down.event_id)

    assert denials(wrong_event) == {"MODERATION_SCOPE_MISSING"}
    assert denials(unknown_rule) == {"MODERATION_RULE_UNKNOWN"}
    assert taken_down.outcome == APPLIED
    assert denials(by_the_founder) == {"MODERATION_DECISION_ELSEWHERE"}
    assert lift(governed, moderator, ContentReinstated, taken_down.event_id, PLATFORM).outcome == APPLIED


def test_an_account_that_the_platform_suspends_is_silent_everywhere_but_may_pay(governed: Harbour) -> None:
    moderator, author = governed.fans[0], governed.author
    subject: dict[str, Any] = {"subject": author.account, "space": PLATFORM, "duration_beats": 50}

    suspended = decide(governed, moderator, AccountSuspended, **subject)

    assert suspended.outcome == APPLIED
    publish: SignedEvent = governed.sign(author, PostPublished, text="Hello.", tags=())
    assert denials(governed.execute(publish).receipts[-1]) == {"SANCTION_SUSPENDED"}
    assert denials(governed.do(author, ContentLiked, target=NOWHERE)) >= {"SANCTION_SUSPENDED"}
    assert governed.pay(author, governed.founder, SCALE).outcome == APPLIED
    assert lift(governed, moderator, AccountReinstated, suspended.event_id, PLATFORM).outcome == APPLIED
    assert governed.do(author, PostPublished, text="Hello again.", tags=()).outcome == APPLIED
