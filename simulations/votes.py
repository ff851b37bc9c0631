"""What operators have decided about the validator set.  The voting itself is not simulated; what follows from it is.

A decision holds where an epoch closes, as one of `social.governance.measures` does, and is asked of the same guards.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ledger import membership
from ledger.events import EventType, View
from ledger.primitives.signing import SigningKey
from ledger.registry import Registry
from ledger.validators import VALIDATOR_ADMITTED, ValidatorAdmitted, judge_admission
from node.modules import make_registry


@dataclass(frozen=True, slots=True)
class Votes:
    """admit: machine, first and last epoch: admitted where one of them closes, unless it is in the set or waits."""

    admit: tuple[tuple[int, int, int], ...] = ()
    successors: tuple[int, ...] = ()
    """Machines that are to go on in another's place: of no operator of their own."""

    @property
    def machines(self) -> tuple[int, ...]:
        """The machines that are there beside those of genesis."""
        return tuple(sorted({*(machine for machine, _, _ in self.admit), *self.successors}))

    def make_registry(self, key_of: Callable[[int], SigningKey]) -> Registry:
        """Return all rules, and what votes decide before the set is changed.  Equal votes give the same one."""
        return _make_registry(self, key_of)


NO_VOTES = Votes()


@lru_cache
def _make_registry(votes: Votes, key_of: Callable[[int], SigningKey]) -> Registry:
    real = make_registry()

    def step(view: View, closed: int, beat: int) -> Iterator[tuple[EventType[Any], Any]]:
        for machine, first, last in votes.admit:
            key = key_of(machine).public
            if first <= closed <= last and judge_admission(view, key).allowed:
                yield VALIDATOR_ADMITTED, ValidatorAdmitted(key)

    before = tuple(each for each in real.at_close if each != membership.AT_CLOSE)
    return Registry(real.all(), real.stack, (*before, ("votes", step), membership.AT_CLOSE))
