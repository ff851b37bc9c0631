"""What a guard says of an event: allowed or not, with the code, the reason and the numbers that were compared."""

from dataclasses import dataclass
from typing import TypeAlias

Fact: TypeAlias = int | str | bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """A guard's answer.  `code` is stable and for programs, `because` one sentence for people."""

    allowed: bool
    code: str
    because: str
    facts: dict[str, Fact]


def allow(code: str, because: str, **facts: Fact) -> Verdict:
    """Return a verdict that lets the event pass."""
    return Verdict(True, code, because, facts)


def deny(code: str, because: str, **facts: Fact) -> Verdict:
    """Return a verdict that denies the event."""
    return Verdict(False, code, because, facts)
