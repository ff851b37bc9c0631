"""The route table: every endpoint of the API, by domain.  A new domain is one line here."""

from client_api import archives, explorer, gateway, people, registry, rules, state_facts, validator_set
from client_api.endpoint import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *gateway.ENDPOINTS,
    *people.ENDPOINTS,
    *explorer.ENDPOINTS,
    *archives.ENDPOINTS,
    *state_facts.ENDPOINTS,
    *rules.ENDPOINTS,
    *registry.ENDPOINTS,
    *validator_set.ENDPOINTS,
)
