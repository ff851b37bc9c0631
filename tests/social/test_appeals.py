"""Appeals: who may contest what until when, who reviews, what votes and silence mean, and what a reversal undoes."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.beats import read_seed
from ledger.holds import list_held
from ledger.payloads import ContentRef
from ledger.receipts import APPLIED, Receipt
from ledger.sanctions import hiding_key, read_sanction, suspension_key
from social.appeals.closing import compute_outcome
from social.appeals.records import OPEN_APPEALS, Appeal
from social.appeals.reviewers import ReviewerEnlisted, ReviewerResigned, draw_reviewers
from social.appeals.reviewing import AppealReviewed
from social.appeals.submitting import MESSAGES_MAX, AppealMessageAdded, AppealSubmitted, EscalationRequested
from social.communities.moderators import ModeratorAppointed
from social.moderation.decisions import MemberSuspended
from social.moderation.lifting import PostRestoredInCommunity
from social.moderation.records import CONTESTED, FINAL, LIFTED, OPEN, REVERSED, read_moderator_record
from social.posts import PostAddressed
from tests.economy.harbour import Harbour
from tests.economy.town import by_type
from tests.ledger.world import Person
from tests.social.assembly import denials

NOWHERE = bytes(32)


def submit(harbour: Harbour, person: Person, decision: bytes) -> Receipt:
    return harbour.do(person, AppealSubmitted, text="It is not so.", decision=decision)


def vote(harbour: Harbour, person: Person, appeal: bytes, what: str = "reverse") -> Receipt:
    return harbour.do(person, AppealReviewed, appeal=appeal, text="I read it.", vote=what)


def contested(harbour: Harbour) -> tuple[bytes, bytes, bytes]:
    """Have a post hidden and its author appeal; return post, decision and appeal."""
    post = harbour.publish(harbour.author, 0)
    decision = harbour.hide(post)
    return post, decision, harbour.appeal(decision)


def reviewed(harbour: Harbour) -> tuple[bytes, bytes, bytes]:
    """The same, with reviewers drawn."""
    found = contested(harbour)
    harbour.pass_epoch()
    return found


def drawn(harbour: Harbour, appeal: bytes) -> list[Person]:
    accounts = harbour.find_appeal(appeal).reviewers
    return [person for person in harbour.people if person.account in accounts]


# Submitting.


def test_only_whom_a_decision_concerns_appeals_it_and_once(harbour: Harbour) -> None:
    decision = harbour.hide(harbour.publish(harbour.author, 0))

    assert denials(submit(harbour, harbour.fans[0], decision)) == {"APPEAL_NOT_CONCERNED"}
    assert denials(submit(harbour, harbour.author, NOWHERE)) == {"APPEAL_DECISION_UNKNOWN"}
    appeal = harbour.appeal(decision)
    assert denials(submit(harbour, harbour.author, decision)) == {"APPEAL_NOT_OPEN"}
    assert harbour.find_decision(decision).state == CONTESTED
    assert harbour.find_decision(decision).appeal == appeal
    assert OPEN_APPEALS.read(harbour.store) == [appeal]


def test_an_appeal_costs_nothing_and_counts_as_no_action(harbour: Harbour) -> None:
    decision = harbour.hide(harbour.publish(harbour.author, 0))
    before = harbour.read_account(harbour.author)

    harbour.appeal(decision)

    assert harbour.read_account(harbour.author) == before


def test_whoever_is_suspended_appeals_it(harbour: Harbour) -> None:
    reasons: dict[str, Any] = {"automated": False, "rule": 1, "ruleset": 1, "space": harbour.space}
    member = harbour.fans[0]
    suspended = harbour.do(
        harbour.founder, MemberSuspended, text="Noise.", subject=member.account, duration_beats=100, **reasons
    )  # fmt: skip

    appeal = submit(harbour, member, suspended.event_id)

    assert appeal.outcome == APPLIED
    harbour.pass_epoch()
    harbour.review(appeal.event_id, "reverse", "reverse")
    harbour.pass_epoch()
    assert read_sanction(harbour.store, suspension_key(harbour.space, member.account)) is None
    speak: dict[str, Any] = {"text": "I am back.", "tags": (), "space": harbour.space}
    assert harbour.do(member, PostAddressed, **speak).outcome == APPLIED


def test_an_appeal_comes_before_its_time_is_over(harbour: Harbour) -> None:
    harbour.beat()
    early, late = (harbour.hide(harbour.publish(harbour.author, number)) for number in (0, 2))
    until = harbour.find_decision(late).contest_until
    while harbour.chain.head.header.beat < until - 1:
        harbour.beat()
    assert submit(harbour, harbour.author, early).outcome == APPLIED

    harbour.beat()

    assert harbour.find_decision(late).state == OPEN
    assert denials(submit(harbour, harbour.author, late)) == {"APPEAL_LATE"}


def test_the_sides_and_the_reviewers_speak_and_only_so_often(harbour: Harbour) -> None:
    _, _, appeal = reviewed(harbour)
    reviewer, stranger = drawn(harbour, appeal)[0], harbour.fans[0]

    def say(person: Person) -> Receipt:
        return harbour.do(person, AppealMessageAdded, appeal=appeal, text="Hear me.")

    assert [say(person).outcome for person in (harbour.author, harbour.founder, reviewer)] == [APPLIED] * 3
    assert denials(say(stranger)) == {"APPEAL_NO_SAY"}
    for _ in range(MESSAGES_MAX - 1):
        assert say(harbour.author).outcome == APPLIED
    assert denials(say(harbour.author)) == {"APPEAL_MESSAGES_FULL"}


# Reviewers.


def test_reviewers_have_nothing_to_do_with_the_case(harbour: Harbour) -> None:
    """Everybody but the author and the decider is willing; who moderates or has reported is left out."""
    post = harbour.publish(harbour.author, 0)
    for person in (harbour.author, harbour.founder, *harbour.fans):
        harbour.must(harbour.sign(person, ReviewerEnlisted))
    moderator, reporter = harbour.fans[0], harbour.fans[1]
    harbour.must(harbour.sign(harbour.founder, ModeratorAppointed, account=moderator.account, space=harbour.space))
    harbour.report(post, reporter)
    decision_id = harbour.hide(post)
    appeal_id = harbour.appeal(decision_id)
    appeal, decision = harbour.find_appeal(appeal_id), harbour.find_decision(decision_id)
    barred = {person.account for person in (harbour.author, harbour.founder, moderator, reporter)}

    seen: set[bytes] = set()
    for number in range(60):
        found = draw_reviewers(harbour.store, appeal_id, appeal, decision, bytes([number]) * 32, 0)
        assert len(set(found)) == 3
        assert found == sorted(found)
        seen |= set(found)

    assert seen == {person.account for person in harbour.people} - barred


def test_reviewers_are_drawn_from_the_seed_of_the_beat_and_nobody_chooses_them(harbour: Harbour) -> None:
    _, decision_id, appeal_id = contested(harbour)
    below = harbour.chain.head.header.epoch

    receipts = harbour.pass_epoch()

    assigned = by_type(receipts, "appeals.AppealAssigned")[0].inputs
    assert assigned["seed"] == read_seed(harbour.store).hex() != NOWHERE.hex()
    appeal, decision = harbour.find_appeal(appeal_id), harbour.find_decision(decision_id)
    again = draw_reviewers(harbour.store, appeal_id, appeal, decision, read_seed(harbour.store), below + 1)
    assert list(appeal.reviewers) == again
    assert (appeal.state, appeal.stage) == ("REVIEW", "community")
    assert appeal.closes_beat == harbour.chain.head.header.beat + 8


def test_of_equal_tickets_the_one_with_more_psi_is_drawn(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    _, decision_id, appeal_id = contested(harbour)
    busy = harbour.reviewers[2:]
    harbour.pass_epoch()
    harbour.like(harbour.posts[0], *busy)
    harbour.pass_epoch()
    appeal, decision = harbour.find_appeal(appeal_id), harbour.find_decision(decision_id)

    def same(*parts: bytes | str) -> bytes:
        return bytes(32)

    monkeypatch.setattr("social.appeals.reviewers.tagged_hash", same)

    found = draw_reviewers(harbour.store, appeal_id, appeal, decision, NOWHERE, 2)

    assert found == sorted(person.account for person in busy)


def test_reviewers_enlist_with_good_standing_once_and_resign(harbour: Harbour) -> None:
    willing = harbour.reviewers[0]

    assert denials(harbour.do(willing, ReviewerEnlisted)) == {"REVIEWER_ENLISTED_ALREADY"}
    assert harbour.do(willing, ReviewerResigned).outcome == APPLIED
    assert denials(harbour.do(willing, ReviewerResigned)) == {"REVIEWER_NOT_ENLISTED"}


def test_a_standing_that_is_too_low_is_not_drawn_and_does_not_enlist(tmp_path: Path) -> None:
    policy = {"appeal_beats": 8, "review_beats": 8, "reviewers": 3, "reviewer_s_chr_min": 10**18 * 6 // 10}
    harbour = Harbour(tmp_path / "ledger", {"moderation": policy})
    policy_now, account = harbour.find_policy(), harbour.read_account(harbour.fans[0])[0]
    assert account.s_chr >= policy_now.reviewer_s_chr_min

    _, decision_id, appeal_id = contested(harbour)
    harbour.lower(harbour.reviewers[0], 10**18 // 2)
    appeal, decision = harbour.find_appeal(appeal_id), harbour.find_decision(decision_id)
    found: set[bytes] = set()
    for number in range(40):
        found |= set(draw_reviewers(harbour.view(), appeal_id, appeal, decision, bytes([number]) * 32, 0))

    assert found == {person.account for person in harbour.reviewers[1:]}
    harbour.close()


# Votes.


def test_only_who_was_drawn_votes_once_while_the_appeal_is_reviewed(harbour: Harbour) -> None:
    _, _, appeal = contested(harbour)
    assert denials(vote(harbour, harbour.reviewers[0], appeal)) >= {"APPEAL_NOT_IN_REVIEW"}
    harbour.pass_epoch()
    reviewer = drawn(harbour, appeal)[0]

    assert denials(vote(harbour, harbour.fans[0], appeal)) == {"APPEAL_NOT_REVIEWER"}
    assert denials(vote(harbour, reviewer, appeal, "perhaps")) == {"APPEAL_VOTE_UNKNOWN"}
    assert vote(harbour, reviewer, appeal).outcome == APPLIED
    assert denials(vote(harbour, reviewer, appeal)) == {"APPEAL_VOTED_ALREADY"}


def make_appeal(reviewers: int, uphold: int, reverse: int, closes: int) -> Appeal:
    return Appeal(
        account=NOWHERE, beat=0, closes_beat=closes, content=ContentRef(0, NOWHERE), decision=NOWHERE, earlier=(),
        escalates=False, height=1, outcome="", reverse=reverse, reviewers=(NOWHERE,) * reviewers, stage="community",
        state="REVIEW", uphold=uphold,
    )  # fmt: skip


@given(st.integers(3, 9), st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_an_outcome_has_a_majority_and_comes_in_time(reviewers: int, uphold: int, reverse: int, over: bool) -> None:
    reverse = min(reverse, reviewers)
    uphold = min(uphold, reviewers - reverse)

    outcome = compute_outcome(make_appeal(reviewers, uphold, reverse, 10), 10 if over else 9)

    if outcome == "reversed":
        assert reverse > uphold
    elif outcome == "upheld":
        assert uphold > reverse
    elif outcome == "":
        assert over
        assert uphold == reverse
    else:
        assert not over
        assert 2 * max(uphold, reverse) <= reviewers
    swapped = compute_outcome(make_appeal(reviewers, reverse, uphold, 10), 10 if over else 9)
    assert swapped == {"reversed": "upheld", "upheld": "reversed"}.get(outcome or "", outcome)


def test_a_reversal_takes_the_decision_back_and_counts_for_its_maker(harbour: Harbour) -> None:
    post, decision, appeal = reviewed(harbour)
    harbour.review(appeal, "reverse", "reverse")

    receipts = harbour.pass_epoch()

    names = [receipt.event_type for receipt in receipts if receipt.event_type.startswith("appeals.")]
    assert names == ["appeals.AppealResolved", "appeals.DecisionReversed", "appeals.AppealClosed"]
    assert harbour.find_decision(decision).state == REVERSED
    assert read_sanction(harbour.store, hiding_key(post)) is None
    assert (harbour.find_appeal(appeal).state, harbour.find_appeal(appeal).outcome) == ("CLOSED", "reversed")
    assert OPEN_APPEALS.count(harbour.store) == 0
    record = read_moderator_record(harbour.store, harbour.space, harbour.founder.account)
    assert record is not None
    assert (record.decisions, record.appealed, record.reversed, record.upheld) == (1, 1, 1, 0)
    assert denials(submit(harbour, harbour.author, decision)) == {"APPEAL_NOT_OPEN"}
    for _ in range(4):
        assert by_type(harbour.pass_epoch(), "economics.PenaltyApplied") == []


def test_an_upheld_appeal_waits_for_the_wish_to_go_on_and_then_is_final(harbour: Harbour) -> None:
    post, decision, appeal = reviewed(harbour)
    harbour.review(appeal, "uphold", "uphold")

    receipts = harbour.pass_epoch()
    assert [r.inputs["outcome"] for r in by_type(receipts, "appeals.AppealResolved")] == ["upheld"]
    assert harbour.find_decision(decision).state == CONTESTED
    later = harbour.pass_epoch() + harbour.pass_epoch()

    assert harbour.find_decision(decision).state == FINAL
    assert [r.inputs["outcome"] for r in by_type(later, "appeals.AppealClosed")] == ["upheld"]
    assert len(by_type(later, "economics.PenaltyApplied")) == 1
    assert read_sanction(harbour.store, hiding_key(post)) is not None
    record = read_moderator_record(harbour.store, harbour.space, harbour.founder.account)
    assert record is not None
    assert (record.upheld, record.reversed) == (1, 0)


def test_the_account_takes_an_upheld_appeal_to_other_reviewers_of_the_platform(harbour: Harbour) -> None:
    _, decision, appeal = reviewed(harbour)
    first = harbour.find_appeal(appeal).reviewers
    for person in harbour.fans:
        harbour.must(harbour.sign(person, ReviewerEnlisted))
    harbour.review(appeal, "uphold", "uphold")
    early = harbour.do(harbour.author, EscalationRequested, appeal=appeal)
    harbour.pass_epoch()

    by_another = harbour.do(harbour.fans[0], EscalationRequested, appeal=appeal)
    wished = harbour.do(harbour.author, EscalationRequested, appeal=appeal)
    harbour.pass_epoch()
    escalated = harbour.find_appeal(appeal)
    assert (escalated.stage, escalated.earlier, escalated.reviewers) == ("platform", first, ())
    for number in range(20):
        found = draw_reviewers(
            harbour.store, appeal, escalated, harbour.find_decision(decision), bytes([number]) * 32, 3
        )  # fmt: skip
        assert set(first).isdisjoint(found)
    harbour.pass_epoch()
    second = harbour.find_appeal(appeal).reviewers
    harbour.review(appeal, "reverse", "reverse")
    harbour.pass_epoch()

    assert denials(early) == {"APPEAL_NO_ESCALATION"}
    assert denials(by_another) == {"APPEAL_NOT_CONCERNED"}
    assert wished.outcome == APPLIED
    assert len(second) == 3
    assert set(first).isdisjoint(second)
    assert harbour.find_decision(decision).state == REVERSED


def test_what_the_platforms_reviewers_uphold_is_final_at_once(harbour: Harbour) -> None:
    _, decision, appeal = reviewed(harbour)
    for person in harbour.fans:
        harbour.must(harbour.sign(person, ReviewerEnlisted))
    while harbour.find_appeal(appeal).stage == "community":
        harbour.pass_epoch()
    while harbour.find_appeal(appeal).state != "REVIEW":
        harbour.pass_epoch()
    harbour.review(appeal, "uphold", "uphold", "reverse")

    harbour.pass_epoch()

    assert harbour.find_decision(decision).state == FINAL


def test_silence_sends_an_appeal_on_and_in_the_end_nothing_stands_that_nobody_confirms(harbour: Harbour) -> None:
    """Too few are left for the second stage, and nobody votes in the first."""
    _, decision, appeal = reviewed(harbour)
    receipts: list[Receipt] = []
    for _ in range(8):
        receipts += harbour.pass_epoch()

    escalated = by_type(receipts, "appeals.AppealEscalated")
    assert [receipt.inputs["reason"] for receipt in escalated] == ["no majority"]
    assert harbour.find_decision(decision).state == REVERSED
    assert harbour.find_appeal(appeal).outcome == "reversed"


def test_a_decision_falls_where_the_platforms_reviewers_are_silent_too(harbour: Harbour) -> None:
    _, decision, appeal = reviewed(harbour)
    for person in harbour.fans:
        harbour.must(harbour.sign(person, ReviewerEnlisted))
    receipts: list[Receipt] = []
    while harbour.find_appeal(appeal).state != "CLOSED":
        receipts += harbour.pass_epoch()

    assert [receipt.inputs["stage"] for receipt in by_type(receipts, "appeals.AppealAssigned")] == ["platform"]
    assert harbour.find_decision(decision).state == REVERSED


def test_a_majority_of_those_who_voted_decides_when_time_is_up(harbour: Harbour) -> None:
    _, decision, appeal = reviewed(harbour)
    harbour.review(appeal, "reverse")

    harbour.pass_epoch()
    assert harbour.find_decision(decision).state == CONTESTED
    harbour.pass_epoch()

    assert harbour.find_decision(decision).state == REVERSED


def test_a_decision_that_a_moderator_lifts_ends_its_appeal(harbour: Harbour) -> None:
    _, decision, _ = reviewed(harbour)
    lifted = harbour.do(
        harbour.founder, PostRestoredInCommunity, text="Sorry.", decision=decision, space=harbour.space
    )  # fmt: skip
    assert lifted.outcome == APPLIED

    receipts = harbour.pass_epoch()

    assert [r.inputs["outcome"] for r in by_type(receipts, "appeals.AppealClosed")] == ["lifted"]
    assert harbour.find_decision(decision).state == LIFTED
    assert list_held(harbour.store, decision) == []
    assert by_type(receipts, "economics.PenaltyApplied") == []
