"""The route table: every endpoint of the API, by domain.  A new domain is one line here."""

from client_api import (
    appeals,
    archives,
    communities,
    decisions,
    explorer,
    gateway,
    moderation,
    node_card,
    people,
    registry,
    rules,
    state_facts,
    validator_set,
    wallets,
)
from client_api.endpoint import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *gateway.ENDPOINTS,
    *node_card.ENDPOINTS,
    *people.ENDPOINTS,
    *communities.ENDPOINTS,
    *moderation.ENDPOINTS,
    *decisions.ENDPOINTS,
    *appeals.ENDPOINTS,
    *wallets.ENDPOINTS,  # before the explorer, whose events have ids in the place of "export"
    *explorer.ENDPOINTS,
    *archives.ENDPOINTS,
    *state_facts.ENDPOINTS,
    *rules.ENDPOINTS,
    *registry.ENDPOINTS,
    *validator_set.ENDPOINTS,
)
