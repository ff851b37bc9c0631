"""Sybil: what identities that cost nothing may do, and how often anyone may act."""

from collections.abc import Iterator

from ledger.judgement import Case, Guard
from ledger.primitives.fixed_point import SCALE
from ledger.verdict import WARNING, Verdict, allow, deny, graded

TRANSFER = "economics.TokensTransferred"


def judge_sybil(case: Case) -> Iterator[Verdict]:
    """Judge rates, and what needs an identity that has cost something."""
    action, standing, policy = case.action, case.standing, case.policies.sybil
    if action is None or standing is None:
        yield allow("SYBIL_CLEAR", "The event needs no standing.")
        return
    denied = False
    if case.kind.name == TRANSFER and action.y < SCALE:
        denied = True
        yield deny(
            "SYBIL_STANDING_TOO_LOW", "A transfer needs an identity of full age and bond.",
            multiplier=action.y, multiplier_min=SCALE,
        )  # fmt: skip
    if action.assessment is not None:
        window = case.entry.beat // policy.posts_window_beats
        posts = standing.posts if window == standing.posts_window else 0
        if posts >= policy.posts_max:
            denied = True
            yield deny(
                "SYBIL_POST_RATE", "The account has published as much as it may in this window.",
                posts=posts, posts_max=policy.posts_max, window_beats=policy.posts_window_beats,
            )  # fmt: skip
        if standing.s_chr < case.policies.coherence.c_crit:
            denied = True
            yield deny(
                "SYBIL_BELOW_SURVIVAL", "The account's standing is too low to publish; it drifts back by epoch.",
                s_chr=standing.s_chr, s_chr_min=case.policies.coherence.c_crit,
            )  # fmt: skip
    if action.endorsement is not None and standing.endorsements >= policy.votes_max:
        denied = True
        yield deny(
            "SYBIL_VOTE_RATE", "The account has endorsed as often as it may in this epoch.",
            votes=standing.endorsements, votes_max=policy.votes_max,
        )  # fmt: skip
    if denied:
        return
    near = action.endorsement is not None and standing.endorsements + 1 >= policy.votes_max
    fine = allow("SYBIL_CLEAR", "The account may act.", multiplier=action.y)
    yield (
        graded(allow("SYBIL_NEAR_LIMIT", "This is the last endorsement of the epoch.", multiplier=action.y), WARNING)
        if (near)
        else fine
    )


GUARD = Guard(
    name="sybil",
    version=1,
    purpose="Makes identities cost something before they count, and bounds how often anyone acts.",
    inputs=("age, bond and vouches of the author", "posts in the window, endorsements in the epoch"),
    risk="Without it a thousand free accounts outvote everybody.",
    policy="sybil",
    codes={
        "SYBIL_BELOW_SURVIVAL": "the account's standing is below the survival line",
        "SYBIL_CLEAR": "the account may act",
        "SYBIL_NEAR_LIMIT": "allowed, with a warning: the last endorsement of the epoch",
        "SYBIL_POST_RATE": "more posts in the window than allowed",
        "SYBIL_STANDING_TOO_LOW": "a transfer by an identity that is too young or not bonded",
        "SYBIL_VOTE_RATE": "more endorsements in the epoch than allowed",
    },
    judge=judge_sybil,
)
