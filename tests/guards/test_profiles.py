"""Guard profiles: a community may only be stricter than the platform, and what it judges by shows it."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guards.profiles import GuardProfile, apply_profile, apply_to_case, is_stricter
from ledger import judgement
from ledger.items import LABELS, compute_label
from ledger.judgement import Judged
from ledger.policies import Policies
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import decode_record, encode_record
from ledger.verdict import Verdict
from tests.guards.court import STACK, Court, change_policy, changed
from tools.fuzz_guards import Fuzzer

PLATFORM: dict[str, tuple[str, str]] = {
    "blocked_hate": ("safety", "blocked_hate"),
    "hidden_hate": ("safety", "hidden_hate"),
    "warned_hate": ("safety", "warned_hate"),
    "warned_offensive": ("safety", "warned_offensive"),
    "posts_max": ("sybil", "posts_max"),
    "s_chr_min": ("coherence", "c_crit"),
}
"""Where the platform has the number of a profile's field."""
PERCENT = st.integers(0, 100)
PROFILES = st.builds(
    GuardProfile,
    blocked_hate=st.none() | st.integers(0, 101),
    hidden_hate=st.none() | st.integers(0, 101),
    warned_hate=st.none() | st.integers(0, 101),
    warned_offensive=st.none() | st.integers(0, 101),
    posts_max=st.none() | st.integers(1, 12),
    s_chr_min=st.none() | st.integers(0, SCALE),
)
KEPT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def platform_number(policies: Policies, name: str) -> int:
    policy, field = PLATFORM[name]
    number: int = getattr(getattr(policies, policy), field)
    return number


def draw_policies(court: Court, hate: list[int], offensive: int, posts: int) -> Policies:
    warned, hidden = sorted(hate)
    policies = change_policy(court.policies, "sybil", posts_max=posts)
    return change_policy(policies, "safety", warned_hate=warned, hidden_hate=hidden, warned_offensive=offensive)


def judge_under(court: Court, policies: Policies, scores: dict[str, int]) -> Judged:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judgement, "read_policies", lambda view: policies)
        return court.judge_post(assessment=scores)


@settings(KEPT, max_examples=250)
@given(
    PROFILES, st.lists(PERCENT, min_size=2, max_size=2), PERCENT, st.integers(1, 12), PERCENT, PERCENT,
    st.integers(0, 13), st.integers(0, SCALE),
)  # fmt: skip
def test_what_the_platform_denies_a_community_denies_and_no_label_is_milder(
    court: Court,
    profile: GuardProfile,
    hate_limits: list[int],
    offensive_limit: int,
    posts_max: int,
    hate: int,
    offensive: int,
    posts: int,
    s_chr: int,
) -> None:
    policies = draw_policies(court, hate_limits, offensive_limit, posts_max)
    court.set_standing(court.people[0], posts=posts, s_chr=s_chr)
    scores = {"hate": hate, "offensive": offensive}

    outside = judge_under(court, policies, scores)
    inside = judge_under(court, apply_profile(policies, profile), scores)

    assert outside.fault is None
    assert inside.fault is None
    assert outside.allowed or not inside.allowed
    labels = [LABELS.index(str(judged.evidence["label"])) for judged in (outside, inside)]
    assert labels[1] >= labels[0]


@settings(KEPT, max_examples=200)
@given(PROFILES)
def test_a_profile_is_stricter_exactly_when_it_changes_no_number_of_its_own(
    court: Court, profile: GuardProfile
) -> None:
    """Where a number of the profile is looser, the platform's holds: applying it gives another number."""
    policies = court.policies
    verdict = is_stricter(profile, policies)

    applied = apply_profile(policies, profile)
    asked = {name: getattr(profile, name) for name in PLATFORM}
    kept = all(each is None or each == platform_number(applied, name) for name, each in asked.items())
    assert verdict.allowed == kept
    assert apply_profile(applied, profile) == applied
    if not verdict.allowed:
        name = str(verdict.facts["field"])
        assert verdict.code == "PROFILE_NOT_STRICTER"
        assert verdict.facts == {"field": name, "asked": asked[name], "platform": platform_number(policies, name)}
        assert verdict.policy == policies.cite[PLATFORM[name][0]]


@pytest.mark.parametrize(
    ("profile", "allowed"),
    [
        (GuardProfile(), True),
        (GuardProfile(hidden_hate=90, warned_hate=60, warned_offensive=80, posts_max=10), True),
        (GuardProfile(hidden_hate=89), True),
        (GuardProfile(hidden_hate=91), False),
        (GuardProfile(warned_hate=61), False),
        (GuardProfile(warned_offensive=81), False),
        (GuardProfile(posts_max=11), False),
        (GuardProfile(s_chr_min=SCALE // 10), False),
        (GuardProfile(s_chr_min=SCALE // 2, posts_max=1), True),
    ],
)
def test_each_number_is_compared_with_the_platforms(court: Court, profile: GuardProfile, allowed: bool) -> None:
    assert is_stricter(profile, court.policies).allowed == allowed


def test_the_same_guards_are_never_milder_on_any_case() -> None:
    """Over fuzzed cases of every event type: each guard, and AEGIS over all."""
    fuzzer = Fuzzer(11)
    decide, stricter, graver = STACK.decide, 0, 0
    assert decide is not None
    for _ in range(2_000):
        case = fuzzer.case()
        if case.action is not None and case.action.assessment is not None:
            scores = case.action.assessment
            label = compute_label(scores.hate, scores.offensive, case.policies.safety)
            case = changed(case, action=changed(case.action, label=label))
        inner = apply_to_case(case, draw_profile(fuzzer))
        outside = [verdict for guard in STACK.guards for verdict in guard.judge(case)]
        inside = [verdict for guard in STACK.guards for verdict in guard.judge(inner)]

        allowed = [is_allowed(outside, decide(case, tuple(outside))), is_allowed(inside, decide(inner, tuple(inside)))]
        assert allowed[0] or not allowed[1]
        denied = [{verdict.code for verdict in found if not verdict.allowed} for found in (outside, inside)]
        assert denied[0] <= denied[1]
        stricter += denied[0] < denied[1]
        if case.action is not None and inner.action is not None:
            labels = [LABELS.index(each.action.label) for each in (case, inner) if each.action is not None]
            assert labels[1] >= labels[0] or case.action.assessment is None
            graver += labels[1] > labels[0]
    assert stricter > 20
    assert graver > 20


def is_allowed(verdicts: list[Verdict], last: Verdict) -> bool:
    return last.allowed and all(verdict.allowed for verdict in verdicts)


def draw_profile(fuzzer: Fuzzer) -> GuardProfile:
    drawn: Any = fuzzer.draw.record(GuardProfile)
    assert isinstance(drawn, GuardProfile)
    return drawn


def test_a_profile_is_a_record_and_every_field_has_a_number_of_the_platform() -> None:
    profile = GuardProfile(hidden_hate=50, s_chr_min=SCALE // 2)

    assert decode_record(GuardProfile, encode_record(profile)) == profile
    assert {field.name for field in fields(GuardProfile)} == set(PLATFORM)
