"""The modules whose events this node knows.  Nothing registers itself: a new module is one line here."""

from guards.stack import make_guard_stack
from ledger import (
    access_seals,
    account_keys,
    beats,
    bonds,
    conduct,
    identity,
    nod,
    nodes,
    recovery,
    rewards,
    roles,
    telemetry,
    transfers,
    vouches,
)
from ledger.registry import Registry
from social import follows, posts, profiles, reactions, reposts
from social.governance import close, drafts, proposals, reports, votes

AT_CLOSE = (close.AT_CLOSE,)
"""What happens after an epoch was settled, in this order."""
MODULES = (
    beats, identity, bonds, vouches, access_seals, account_keys, recovery, roles, transfers, rewards, conduct,
    nodes, telemetry, nod,
    profiles, posts, reactions, reposts, follows,
    drafts, reports, proposals, votes, close,
)  # fmt: skip


def make_registry() -> Registry:
    """Return the registry of all event types and guards."""
    return Registry((kind for module in MODULES for kind in module.EVENTS), make_guard_stack(), AT_CLOSE)
