"""Checkers: each holds one rule against everything that a run shows, and fails at the observation that breaks it.

They read observations alone, and judge correct replicas alone.  The rules are told in the modules.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from simulations.checkers.admission import Admission
from simulations.checkers.agreement import Agreement
from simulations.checkers.bounds import Bounds
from simulations.checkers.certificates import Certificates
from simulations.checkers.digests import Digests
from simulations.checkers.durability import Durability
from simulations.checkers.exactly_once import ExactlyOnce
from simulations.checkers.progress import Progress
from simulations.checkers.quiet import Quiet
from simulations.checkers.votes import Votes
from simulations.observations import Observation


class Checker(Protocol):
    """One rule.  `observe` is called for every observation, in order; `finish` once, when the run has ended."""

    @property
    def name(self) -> str: ...

    def observe(self, observation: Observation) -> None:
        """Raise CheckFailed when the rule is broken."""
        ...

    def finish(self) -> None:
        """Raise CheckFailed when the rule asks for something that has not happened."""
        ...


def make_checkers(
    chain_id: bytes,
    keys: Sequence[bytes],
    correct: Collection[int],
    *,
    may_halt: Collection[int] = (),
    within_ms: int = 60_000,
    views_max: int = 8,
) -> list[Checker]:
    """Return all checkers of a run.

    keys: public keys by replica.  correct: the replicas that no scenario lets lie.  may_halt: those of them whose disk
    the scenario damages, so that they have to stop.  within_ms, views_max: how long, in virtual time and in views of
    the core, `Progress` waits after the network healed; it waits for nothing before `expect` was called.
    """
    return [
        Agreement(correct, may_halt),
        Digests(correct),
        ExactlyOnce(chain_id, correct),
        Votes(correct),
        Certificates(chain_id, keys, correct),
        Bounds(correct),
        Durability(correct),
        Quiet(correct),
        Admission(chain_id, keys, correct),
        Progress(correct, within_ms, views_max),
    ]


def get_progress(checkers: Sequence[Checker]) -> Progress:
    """Return the one that is told what to wait for."""
    return next(checker for checker in checkers if isinstance(checker, Progress))
