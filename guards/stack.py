"""The guards of the network in their order.  A new guard is one file beside this one, and one line here."""

from guards import aegis, constitutional, economics, safety, sanctions, sybil
from guards.profiles import adapt_case
from ledger.judgement import GuardStack

GUARDS = (constitutional.GUARD, economics.GUARD, safety.GUARD, sybil.GUARD, sanctions.GUARD)


def make_guard_stack() -> GuardStack:
    """Return the guards that judge every event, under the profile of its community, with AEGIS over all."""
    return GuardStack(GUARDS, aegis.GUARD, aegis.decide, adapt_case)
