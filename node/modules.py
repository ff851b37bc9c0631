"""The modules whose events this node knows.  Nothing registers itself: a new module is one line here."""

from ledger import beats, identity, tokens
from ledger.events import Registry
from social import follows, posts, profiles, reactions

MODULES = (beats, identity, tokens, profiles, posts, reactions, follows)


def make_registry() -> Registry:
    """Return the registry of all event types."""
    return Registry(kind for module in MODULES for kind in module.EVENTS)
