"""The guards of the network in their order.  A new guard is one file beside this one, and one line here."""

from guards import aegis, constitutional, economics, safety, sybil
from ledger.judgement import GuardStack

GUARDS = (constitutional.GUARD, economics.GUARD, safety.GUARD, sybil.GUARD)


def make_guard_stack() -> GuardStack:
    """Return the guards that judge every event, with AEGIS over all."""
    return GuardStack(GUARDS, aegis.GUARD, aegis.decide)
