"""Guard profiles: what a community asks of its own posts beyond the platform's policies.  It may only be stricter.

Judging under a profile runs the same guards on the same event, with the stricter of both numbers; a number that the
platform makes stricter later holds at once.  Links are not among the fields: events are judged by their assessment,
which does not count them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

from ledger import keyspace
from ledger.events import View
from ledger.items import compute_label
from ledger.judgement import Case
from ledger.policies import Policies
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import Between
from ledger.roles import PLATFORM
from ledger.spaces import space_of_event
from ledger.state import read_record
from ledger.verdict import Verdict, allow, deny

Threshold = Annotated[int, Between(0, 101)]


@dataclass(frozen=True, slots=True)
class GuardProfile:
    """A community's own numbers; None leaves the platform's."""

    blocked_hate: Threshold | None = None  # at most the platform's, as the three that follow
    hidden_hate: Threshold | None = None
    warned_hate: Threshold | None = None
    warned_offensive: Threshold | None = None
    posts_max: Annotated[int, Between(1, 10_000)] | None = None  # in the platform's window; at most its number
    s_chr_min: Annotated[int, Between(0, SCALE)] | None = None  # to publish; at least the platform's survival line


class _Pair(NamedTuple):
    field: str
    policy: str
    asked: int | None
    platform: int
    lower_is_stricter: bool

    @property
    def is_looser(self) -> bool:
        if self.asked is None:
            return False
        return self.asked > self.platform if self.lower_is_stricter else self.asked < self.platform

    @property
    def stricter(self) -> int:
        if self.asked is None:
            return self.platform
        return min(self.asked, self.platform) if self.lower_is_stricter else max(self.asked, self.platform)


def _pair(profile: GuardProfile, policies: Policies) -> Iterator[_Pair]:
    safety = policies.safety
    yield _Pair("blocked_hate", "safety", profile.blocked_hate, safety.blocked_hate, True)
    yield _Pair("hidden_hate", "safety", profile.hidden_hate, safety.hidden_hate, True)
    yield _Pair("warned_hate", "safety", profile.warned_hate, safety.warned_hate, True)
    yield _Pair("warned_offensive", "safety", profile.warned_offensive, safety.warned_offensive, True)
    yield _Pair("posts_max", "sybil", profile.posts_max, policies.sybil.posts_max, True)
    yield _Pair("s_chr_min", "coherence", profile.s_chr_min, policies.coherence.c_crit, False)


def is_stricter(profile: GuardProfile, policies: Policies) -> Verdict:
    """Say whether a community may set a profile: no number of it is looser than the platform's."""
    for pair in _pair(profile, policies):
        if pair.is_looser and pair.asked is not None:
            verdict = deny(
                "PROFILE_NOT_STRICTER", "A community's guard profile may only be stricter than the platform's policy.",
                field=pair.field, asked=pair.asked, platform=pair.platform,
            )  # fmt: skip
            return verdict._replace(policy=policies.cite[pair.policy])
    return allow("PROFILE_STRICTER", "No number of the profile is looser than the platform's.")


def apply_profile(policies: Policies, profile: GuardProfile) -> Policies:
    """Return the policies with the stricter of both numbers everywhere; never looser, whatever the profile says."""
    numbers = {pair.field: pair.stricter for pair in _pair(profile, policies)}
    return replace(
        policies,
        coherence=replace(policies.coherence, c_crit=numbers["s_chr_min"]),
        safety=replace(
            policies.safety,
            blocked_hate=numbers["blocked_hate"],
            hidden_hate=numbers["hidden_hate"],
            warned_hate=numbers["warned_hate"],
            warned_offensive=numbers["warned_offensive"],
        ),
        sybil=replace(policies.sybil, posts_max=numbers["posts_max"]),
    )


def apply_to_case(case: Case, profile: GuardProfile) -> Case:
    """Return an event's case as it is judged inside a community with this profile."""
    policies = apply_profile(case.policies, profile)
    action = case.action
    if action is not None and action.assessment is not None:
        label = compute_label(action.assessment.hate, action.assessment.offensive, policies.safety)
        action = action._replace(label=label)
    return case._replace(policies=policies, action=action)


def read_profile(view: View, space: bytes) -> GuardProfile | None:
    """Return the guard profile of a community; None where it has set none."""
    return read_record(view, keyspace.community("p", space), GuardProfile)


def adapt_case(case: Case) -> Case:
    """Return the case under the profile of the community that the text is published in; others as they are.

    The numbers that were compared are in the verdicts' facts; the policies that they cite are the platform's.
    """
    if case.action is None or case.action.assessment is None:
        return case
    space = space_of_event(case.view, case.entry.body)
    profile = None if space == PLATFORM else read_profile(case.view, space)
    return case if profile is None else apply_to_case(case, profile)
