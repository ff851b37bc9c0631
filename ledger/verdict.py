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


def make_verdict(parts: tuple[bool, str, str, dict[str, Fact], str, str, str]) -> Verdict:
    """Return the verdict of these parts, all of them: what `Verdict(*parts)` gives, in two thirds of the time.

    An event has a dozen verdicts, each made twice: by its guard, and again with the guard's name.
    """
    return tuple.__new__(Verdict, parts)  # pyright: ignore[reportUnknownMemberType]


def allow(code: str, because: str, **facts: Fact) -> Verdict:
    """Return a verdict that lets the event pass."""
    return make_verdict((True, code, because, facts, INFO, "", ""))


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
