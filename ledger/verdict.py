"""What a guard says of an event: allowed or not, with the code, the reason and the numbers that were compared."""

from typing import NamedTuple, TypeAlias

Fact: TypeAlias = int | str | bool

INFO, WARNING, ERROR, CRITICAL = "info", "warning", "error", "critical"
SEVERITIES = (INFO, WARNING, ERROR, CRITICAL)
"""From harmless to gravest.  An allowed verdict may be grave too: it is what AEGIS weighs."""


class Verdict(NamedTuple):
    """A guard's answer.  `code` is stable and for programs, `because` one sentence for people."""

    allowed: bool
    code: str
    because: str
    facts: dict[str, Fact]
    severity: str = INFO
    guard: str = ""  # who judged, such as "economics@1"; filled in where guards are run
    policy: str = ""  # under which policy and version, such as "energy@3"; filled in where guards are run


def allow(code: str, because: str, **facts: Fact) -> Verdict:
    """Return a verdict that lets the event pass."""
    return Verdict(True, code, because, facts)


def deny(code: str, because: str, **facts: Fact) -> Verdict:
    """Return a verdict that denies the event."""
    return Verdict(False, code, because, facts, ERROR)


def graded(verdict: Verdict, severity: str) -> Verdict:
    """Return the verdict with another severity."""
    assert severity in SEVERITIES, severity
    return verdict._replace(severity=severity)


def under(verdict: Verdict, policy: str) -> Verdict:
    """Return the verdict with the policy and version that it was given under."""
    return verdict._replace(policy=policy)
