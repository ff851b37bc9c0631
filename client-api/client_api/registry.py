"""The nodes of the registry: who serves, and what the last settled epoch made of each."""

from typing import Annotated, Literal

from pydantic import Field

from client_api.context import Context, Reading
from client_api.endpoint import Endpoint, Json, Model
from client_api.errors import CursorInvalid, NodeUnknown, StaleHeight
from client_api.explorer import Height, Limit
from client_api.listing import open_listing
from client_api.paging import LIMIT_DEFAULT, Cursor, encode_cursor, hash_filter
from client_api.shapes import Anchor, account_text
from ledger.nod import Explanation, explain_node
from ledger.nodes import NO_GROUP, NO_KEY, list_nodes
from ledger.primitives.fixed_point import format_decimal


class MeasuresShape(Model):
    attesters: int
    beats: int
    certified: int
    contribution: str
    health: str
    led: int
    proposals: int
    uptime: str
    votes: int


class OutcomeShape(Model):
    epoch: int
    code: str
    because: str
    nod: str = Field(description="a decimal string")
    capped: bool
    policy: str
    measures: MeasuresShape


class NodeShape(Model):
    node: str = Field(description="its Ed25519 public key")
    operator: str
    kind: Literal["validator", "auditor", "relay"]
    group: str | None
    pqc_scheme: str | None
    pqc_key: str | None = Field(description="hash of the post-quantum public key")
    active_from: int = Field(description="epoch")
    registered_height: int
    retired_epoch: int | None
    revoked: bool
    outcome: OutcomeShape | None = Field(description="of the last settled epoch")


class NodesQuery(Model):
    limit: Limit = LIMIT_DEFAULT
    cursor: Annotated[str, Field(max_length=512)] | None = None
    at: Height | None = None


class NodesAnswer(Model):
    items: list[NodeShape]
    next: str | None
    prev: str | None
    ledger: Anchor


async def list_registered(context: Context, query: NodesQuery, body: None) -> Json:
    """The registered nodes that have not retired, by key.  A cursor keeps its height, so pages never shift."""
    filter_hash = hash_filter("nodes")
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        nodes = list_nodes(reading.state)
        # The cursor's two places: from here on, or back from here.
        first = after if after is not None else 0 if before is None else max(0, before - query.limit)
        last = min(first + query.limit if before is None else before, len(nodes))
        forth = Cursor(last, None, filter_hash, reading.height) if last < len(nodes) else None
        back = Cursor(None, first, filter_hash, reading.height) if first > 0 else None
        return {
            "items": [_read_node(reading, node.key) for node in nodes[first:last]],
            "next": None if forth is None else encode_cursor(forth),
            "prev": None if back is None else encode_cursor(back),
            "ledger": reading.anchor(),
        }


class RegisteredQuery(Model):
    node: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="The node's public key.")]
    at: Height | None = None


class RegisteredAnswer(Model):
    node: NodeShape
    ledger: Anchor


async def get_registered(context: Context, query: RegisteredQuery, body: None) -> Json:
    """A node, also one that retired or was revoked, and why it earned what it earned."""
    with context.read(query.at) as reading:
        if explain_node(reading.state, bytes.fromhex(query.node)) is None:
            raise NodeUnknown(f"no node of this key was registered at height {reading.height}", node=query.node)
        return {"node": _read_node(reading, bytes.fromhex(query.node)), "ledger": reading.anchor()}


def _read_node(reading: Reading, key: bytes) -> Json:
    found = explain_node(reading.state, key)
    assert found is not None, "a listed node is registered"
    node = found.node
    return {
        "node": node.key.hex(),
        "operator": account_text(node.account),
        "kind": node.kind,
        "group": None if node.group == NO_GROUP else node.group.hex(),
        "pqc_scheme": node.pqc_scheme or None,
        "pqc_key": None if node.pqc_key == NO_KEY else node.pqc_key.hex(),
        "active_from": node.active_from,
        "registered_height": node.registered_height,
        "retired_epoch": node.retired_epoch,
        "revoked": node.revoked,
        "outcome": _outcome_to_json(found),
    }


def _outcome_to_json(found: Explanation) -> Json | None:
    outcome = found.outcome
    if outcome is None:
        return None
    measures = outcome.measures
    return {
        "epoch": outcome.epoch,
        "code": outcome.code,
        "because": found.because,
        "nod": format_decimal(outcome.atoms),
        "capped": outcome.is_capped,
        "policy": outcome.policy,
        "measures": {
            "attesters": measures.attesters,
            "beats": measures.beats,
            "certified": measures.certified,
            "contribution": format_decimal(measures.contribution),
            "health": format_decimal(measures.health),
            "led": measures.led,
            "proposals": measures.proposals,
            "uptime": format_decimal(measures.uptime),
            "votes": measures.votes,
        },
    }


ENDPOINTS = (
    Endpoint("GET", "/nodes", "listNodes", "The registered nodes, and what they last earned.", "infra", NodesAnswer,
             list_registered, query=NodesQuery, errors=(CursorInvalid, StaleHeight)),
    Endpoint("GET", "/nodes/{node}", "getRegisteredNode", "One node of the registry, and why it earned what it earned.",
             "infra", RegisteredAnswer, get_registered, query=RegisteredQuery, errors=(NodeUnknown, StaleHeight)),
)  # fmt: skip
