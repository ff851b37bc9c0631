"""The modules whose events this node knows.  Nothing registers itself: a new module is one line here."""

from guards.stack import make_guard_stack
from ledger import (
    access_seals,
    account_keys,
    beats,
    bonds,
    conduct,
    identity,
    recovery,
    rewards,
    roles,
    transfers,
    vouches,
)
from ledger.registry import Registry
from social import follows, posts, profiles, reactions, reposts

MODULES = (
    beats, identity, bonds, vouches, access_seals, account_keys, recovery, roles, transfers, rewards, conduct,
    profiles, posts, reactions, reposts, follows,
)  # fmt: skip


def make_registry() -> Registry:
    """Return the registry of all event types and guards."""
    return Registry((kind for module in MODULES for kind in module.EVENTS), make_guard_stack())
