"""The node itself: is it healthy, who is it, and how is it doing."""

from typing import Literal

from client_api.context import Context, make_integrity_error
from client_api.endpoint import Endpoint, Json, Model, NoQuery
from client_api.errors import IntegrityLost, NotReady
from client_api.gateway import SUBMIT_EVENTS_MAX
from client_api.services import NodeStatus
from client_api.shapes import AlertShape, Anchor, alert_to_json
from ledger.authoring import EXPIRY_BEATS
from ledger.events import EVENT_BYTES_MAX
from ledger.genesis import encode_genesis_file
from ledger.payloads import TEXT_BYTES_MAX
from ledger.primitives.ids import IdKind, encode_id


class HealthQuery(Model):
    probe: Literal["live", "ready"]


class Health(Model):
    status: Literal["ok"]
    height: int
    height_age_ms: int


async def get_health(context: Context, query: HealthQuery, body: None) -> Json:
    """live: the process answers.  ready: the height advances, so events that are sent now become final."""
    status = context.services.status()
    if query.probe == "ready" and status.alert is not None:
        raise make_integrity_error(status.alert)
    if query.probe == "ready" and not is_healthy(status):
        raise NotReady(why_unhealthy(status), height=status.height, height_age_ms=status.height_age_ms)
    return {"status": "ok", "height": status.height, "height_age_ms": status.height_age_ms}


def is_healthy(status: NodeStatus) -> bool:
    return status.alert is None and status.halted is None and status.height_age_ms <= status.healthy_age_ms_max


def why_unhealthy(status: NodeStatus) -> str:
    if status.alert is not None:
        return f"{status.alert.code}: this node serves reads only: {status.alert.why}"
    if status.halted is not None:
        return f"this node stopped voting: {status.halted}"
    return f"the height has stood at {status.height} for {status.height_age_ms} ms; {len(status.peers)} peers connected"


class NodeCard(Model):
    name: str
    role: str
    version: str
    chain_id: str
    chain: str
    public_key: str
    genesis: str
    beat_ms: int
    epoch_beats: int
    validators: list[str]
    event_types: list[str]
    limits: dict[str, int]
    ledger: Anchor


async def get_node(context: Context, query: NoQuery, body: None) -> Json:
    chain, status = context.chain, context.services.status()
    with context.read() as reading:
        return {
            "name": chain.genesis.name,
            "role": status.role,
            "version": status.version,
            "chain_id": chain.chain_id.hex(),
            "chain": encode_id(IdKind.CHAIN, chain.chain_id),
            "public_key": status.public_key.hex(),
            "genesis": encode_genesis_file(chain.genesis).decode(),
            "beat_ms": chain.genesis.beat_ms,
            "epoch_beats": chain.genesis.epoch_beats,
            "validators": [key.hex() for key in chain.genesis.validators],
            "event_types": [kind.name for kind in chain.registry.all() if not kind.derived],
            "limits": {
                "event_bytes_max": EVENT_BYTES_MAX,
                "text_bytes_max": TEXT_BYTES_MAX,
                "submit_events_max": SUBMIT_EVENTS_MAX,
                "expiry_beats_default": EXPIRY_BEATS,
            },
            "ledger": reading.anchor(),
        }


class PeerShape(Model):
    public_key: str
    address: str
    role: str
    height: int
    rtt_ms: float | None
    queued_bytes: int
    score: float
    protocol_version: int


class StatusAnswer(Model):
    name: str
    role: str
    version: str
    public_key: str
    healthy: bool
    why_unhealthy: str | None
    replica: int | None
    view: int | None
    primary: int | None
    in_view_change: bool
    abstains: bool
    syncing: bool
    history_missing: int
    halted: str | None
    height: int
    certified_height: int
    height_age_ms: int
    mempool_events: int
    mempool_bytes: int
    uptime_ms: int
    protocol_min: int
    protocol_max: int
    addresses_known: int
    addresses_verified: int
    alert: AlertShape | None
    peers: list[PeerShape]
    ledger: Anchor


async def get_status(context: Context, query: NoQuery, body: None) -> Json:
    status = context.services.status()
    names = (
        "name", "role", "version", "replica", "view", "primary", "in_view_change", "abstains", "syncing",
        "history_missing", "halted", "height", "certified_height", "height_age_ms", "mempool_events", "mempool_bytes",
        "uptime_ms", "protocol_min", "protocol_max", "addresses_known", "addresses_verified",
    )  # fmt: skip
    answer: Json = {name: getattr(status, name) for name in names}
    with context.read() as reading:
        return answer | {
            "public_key": status.public_key.hex(),
            "healthy": is_healthy(status),
            "why_unhealthy": None if is_healthy(status) else why_unhealthy(status),
            "alert": None if status.alert is None else alert_to_json(status.alert),
            "peers": [
                {
                    "public_key": peer.public_key.hex(),
                    "address": peer.address,
                    "role": peer.role,
                    "height": peer.height,
                    "rtt_ms": None if peer.rtt_ms is None else round(peer.rtt_ms, 3),
                    "queued_bytes": peer.queued_bytes,
                    "score": round(peer.score, 1),
                    "protocol_version": peer.protocol_version,
                }
                for peer in status.peers
            ],
            "ledger": reading.anchor(),
        }


ENDPOINTS = (
    Endpoint("GET", "/health/{probe}", "getHealth", "Is the process alive, and does the height advance?", "infra",
             Health, get_health, query=HealthQuery, errors=(NotReady, IntegrityLost)),
    Endpoint("GET", "/node", "getNode", "The node's card: chain, genesis, event types and limits.", "gateway",
             NodeCard, get_node, query=NoQuery),
    Endpoint("GET", "/node/status", "getNodeStatus", "Height, view, waiting events and peers.", "infra",
             StatusAnswer, get_status, query=NoQuery),
)  # fmt: skip
