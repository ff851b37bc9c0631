"""Which rules a decision can name: those of the platform, which software brings, or a version of a community's own."""

from ledger.events import View
from ledger.roles import PLATFORM
from social.communities.records import read_community, read_ruleset

PLATFORM_RULESET = 1
PLATFORM_RULES = (
    "No matter that the law forbids to publish.",
    "No threats, and no calls to harm anybody.",
    "No harassment: nobody is pursued, insulted again and again, or hunted by many.",
    "No spam, and no coordinated deception.",
    "Nobody poses as somebody else.",
    "No private data of others without their consent.",
    "No way around a suspension.",
)
"""The platform's rules, numbered from 1."""


def current_ruleset(view: View, space: bytes) -> int:
    """Return the version of a space's rules that decisions are made by now; 0 where there is none."""
    if space == PLATFORM:
        return PLATFORM_RULESET
    community = read_community(view, space)
    return 0 if community is None else community.ruleset


def count_rules(view: View, space: bytes, version: int) -> int:
    """Return how many rules a version has; 0 for one that there is not."""
    if space == PLATFORM:
        return len(PLATFORM_RULES) if version == PLATFORM_RULESET else 0
    rules = read_ruleset(view, space, version)
    return 0 if rules is None else rules.rules
