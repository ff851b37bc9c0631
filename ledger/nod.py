"""NOD: what a closed epoch pays for serving the network, and why.

Events: infra.NodAllocated, infra.NodeRejected, both derived.

Every registered node is verified in a fixed order; the first thing that it lacks is its code.  Fit nodes share the pool
by contribution: votes in certificates, beats proposed, challenges answered.  A validator that was never primary could
propose nothing: how it voted stands for that part.  Other nodes can only answer challenges.

No operator gets more than NOD_SHARE_MAX of the pool, however many nodes he runs; what he would get above goes to the
others, and what nobody may take is not issued.  Operator groups are only declared, so they are no reason for a cap:
anybody could declare another's.  Votes and proposals are those of the closed epoch, attestations those of the epoch
before, which validators had the whole closed epoch to deliver.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from ledger import keyspace
from ledger.allocation import allocate, fill_under_caps
from ledger.draft import Draft
from ledger.emission import NOD_EPOCH_MAX, NOD_NODES_MIN, NOD_SHARE_MAX, NOD_VOTE_MAX
from ledger.events import Entry, EventType, View, Write
from ledger.nodes import NO_GROUP, NO_KEY, PQC_SCHEMES, VALIDATOR, Node, list_nodes, read_node
from ledger.policies import NodPolicy, Policies
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import U32, U64, U128, Between, Bytes32, Length, encode_record
from ledger.service import Service, read_service, read_validators
from ledger.standing import bring_up_to_date, read_standing
from ledger.state import read_record
from ledger.telemetry import compute_health
from ledger.tokens import NOD, issue, read_balance
from ledger.verdict import Fact

FIT = "NODE_FIT"
TOO_FEW = "ECON_NOD_INSUFFICIENT_ACTIVE_NODES"
CODES = {
    FIT: "everything is in order",
    "NODE_NOT_IN_REGISTRY": "the node serves only from a later epoch on",
    "NODE_REVOKED": "governance took the node out of service",
    "PQC_KEY_MISSING": "the node registered no post-quantum key",
    "PQC_SCHEME_UNSUPPORTED": "the post-quantum key is of a scheme that the network does not know",
    "TELEMETRY_MISSING": "too few certificates or attestations are on the ledger to tell how the node served",
    "UPTIME_BELOW_THRESHOLD": "the node was there for too little of the epoch",
    "HEALTH_BELOW_THRESHOLD": "the node answered too few challenges",
    "TELEMETRY_CONFLICTING": "several validators got enough answers, and several none at all",
    TOO_FEW: "the node is fit, but fewer than four are, so the epoch issues nothing",
}

Rate = Annotated[int, Between(0, SCALE)]


@dataclass(frozen=True, slots=True)
class Measures:
    """What the ledger says of a node's service.  Rates are raw, 0..1."""

    attesters: U32  # validators of others that attested
    beats: U32  # of the epoch
    certified: U32  # beats for which a quorum's signatures are on the ledger
    contribution: Rate
    health: Rate  # challenges answered
    led: U32
    proposals: U32
    uptime: Rate  # votes of certified beats; for other nodes than validators, health
    votes: U32


@dataclass(frozen=True, slots=True)
class NodAllocated:
    """A fit node, and what its operator gets for it."""

    account: Bytes32
    atoms: U128
    epoch: U64
    is_capped: bool  # the operator would have got more
    measures: Measures
    node: Bytes32
    policy: Annotated[str, Length(1, 32)]


@dataclass(frozen=True, slots=True)
class NodeRejected:
    """A node that gets nothing, and why."""

    account: Bytes32
    code: Annotated[str, Length(1, 64)]
    epoch: U64
    measures: Measures
    node: Bytes32
    policy: Annotated[str, Length(1, 32)]


@dataclass(frozen=True, slots=True)
class NodeOutcome:
    """What the last settled epoch made of a node."""

    atoms: U128
    code: Annotated[str, Length(1, 64)]
    epoch: U64
    is_capped: bool
    measures: Measures
    policy: Annotated[str, Length(1, 32)]


@dataclass(frozen=True, slots=True)
class NodPlan:
    """The allocation of an epoch; both lists by node."""

    pool: int
    pool_max: int
    allocations: tuple[NodAllocated, ...]
    rejections: tuple[NodeRejected, ...] = ()

    @property
    def operator_atoms_max(self) -> int:
        """The most that one operator gets, with all his nodes."""
        sums: dict[bytes, int] = {}
        for each in self.allocations:
            sums[each.account] = sums.get(each.account, 0) + each.atoms
        return max(sums.values(), default=0)

    @property
    def unissued(self) -> int:
        """What nobody may take."""
        return self.pool - sum(each.atoms for each in self.allocations)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A node, why it earned what it earned, and what it would need."""

    node: Node
    outcome: NodeOutcome | None  # None before its first settled epoch
    because: str


def plan_nod(view: View, closed: int, policies: Policies, spent: int, *, pay: bool) -> NodPlan:
    """Return the allocation of a closed epoch.  Pure: an auditor calls it on the state before the block.

    spent: the energy that the epoch's accounts spent, each counted by its sybil multiplier.
    pay: False when NOD is frozen or a settlement failed: then no node is judged.
    """
    if not pay:
        return NodPlan(0, 0, ())
    pool = min(policies.nod.fraction * spent // SCALE, NOD_EPOCH_MAX)
    cite = policies.cite["nod"]
    judged = [(node, *judge_node(view, node, closed, policies.nod)) for node in list_nodes(view)]
    fit = [(node, measures) for node, code, measures in judged if code == FIT]
    are_enough = len(fit) >= NOD_NODES_MIN
    rejections = tuple(
        NodeRejected(node.account, TOO_FEW if code == FIT else code, closed, measures, node.key, cite)
        for node, code, measures in judged
        if code != FIT or not are_enough
    )
    if not are_enough:
        return NodPlan(pool, pool, (), rejections)
    shares, capped = share_pool(pool, fit)
    allocations = tuple(
        NodAllocated(node.account, atoms, closed, node.account in capped, measures, node.key, cite)
        for (node, measures), atoms in zip(fit, shares, strict=True)
    )
    return NodPlan(pool, pool, allocations, rejections)


def share_pool(pool: int, fit: list[tuple[Node, Measures]]) -> tuple[list[int], frozenset[bytes]]:
    """Return what each fit node gets, and the operators that are at their cap.  `fit` is in order of key.

    Operators come in the order of their first node, so ties go by node id; an operator's share is divided over his
    nodes in the same way.  A pool so small that fewer than four nodes would get an atom is not issued.
    """
    owners: dict[bytes, list[int]] = {}
    for at, (node, _) in enumerate(fit):
        owners.setdefault(node.account, []).append(at)
    order = list(owners)  # order: of first node
    weights = [sum(fit[at][1].contribution for at in owners[owner]) for owner in order]
    cap = pool * NOD_SHARE_MAX // SCALE
    given, _ = fill_under_caps(pool, weights, cap)
    shares = [0] * len(fit)
    for owner, atoms in zip(order, given, strict=True):
        places = owners[owner]
        for at, share in zip(places, allocate(atoms, [fit[at][1].contribution for at in places]), strict=True):
            shares[at] = share
    if sum(1 for share in shares if share) < NOD_NODES_MIN:
        return [0] * len(fit), frozenset()
    total = sum(weights)
    capped = [owner for owner, weight in zip(order, weights, strict=True) if pool * weight > cap * total]
    return shares, frozenset(capped)


def judge_node(view: View, node: Node, closed: int, policy: NodPolicy) -> tuple[str, Measures]:
    """Return the code of a node in a closed epoch, FIT or the first thing that it lacks, and what was measured."""
    measures, is_uptime_known, is_health_known, is_conflicting = measure_node(view, node, closed, policy)
    checks = (
        (node.active_from > closed, "NODE_NOT_IN_REGISTRY"),
        (node.revoked, "NODE_REVOKED"),
        (node.pqc_key == NO_KEY, "PQC_KEY_MISSING"),
        (node.pqc_scheme not in PQC_SCHEMES, "PQC_SCHEME_UNSUPPORTED"),
        (not is_uptime_known, "TELEMETRY_MISSING"),
        (measures.uptime < policy.uptime_min, "UPTIME_BELOW_THRESHOLD"),
        (not is_health_known, "TELEMETRY_MISSING"),
        (measures.health < policy.health_min, "HEALTH_BELOW_THRESHOLD"),
        (is_conflicting, "TELEMETRY_CONFLICTING"),
    )
    return next((code for fails, code in checks if fails), FIT), measures


def measure_node(view: View, node: Node, closed: int, policy: NodPolicy) -> tuple[Measures, bool, bool, bool]:
    """Return what is known of a node's service; whether its uptime and its health are known, and health in conflict."""
    validators, service = read_validators(view), read_service(view, closed)
    if validators is None or service is None:
        return Measures(0, 0, 0, 0, 0, 0, 0, 0, 0), False, False, False
    health = compute_health(view, node, closed - 1, validators, policy.health_min)
    if node.kind != VALIDATOR or node.key not in validators.keys:
        contribution = policy.weight_challenges * health.rate // SCALE
        measures = Measures(
            health.attesters, service.beats, service.certified, contribution, health.rate, 0, 0, health.rate, 0
        )  # fmt: skip
        return measures, health.is_enough, health.is_enough, health.is_conflicting
    replica = validators.keys.index(node.key)
    measures = _measure_validator(service, replica, health.rate, health.attesters, policy)
    is_uptime_known = service.certified * 2 >= service.beats > 0
    return measures, is_uptime_known, health.is_enough, health.is_conflicting


def _measure_validator(service: Service, replica: int, health: int, attesters: int, policy: NodPolicy) -> Measures:
    votes, led, proposals = service.votes[replica], service.led[replica], service.proposals[replica]
    uptime = votes * SCALE // service.certified if service.certified else 0
    proposed = proposals * SCALE // led if led else uptime
    contribution = (
        policy.weight_votes * uptime + policy.weight_proposals * proposed + policy.weight_challenges * health
    ) // SCALE
    return Measures(
        attesters, service.beats, service.certified, contribution, health, led, proposals, uptime, votes
    )  # fmt: skip


def list_nod_events(plan: NodPlan) -> Iterator[tuple[EventType[Any], Any]]:
    """Yield the events of an allocation, one for each node that was judged."""
    for allocated in plan.allocations:
        yield NOD_ALLOCATED, allocated
    for rejected in plan.rejections:
        yield NODE_REJECTED, rejected


def read_operator_groups(view: View) -> Mapping[bytes, bytes]:
    """Return account -> declared operator group: members do not support one another."""
    return {node.account: node.group for node in list_nodes(view) if node.group != NO_GROUP}


def read_outcome(view: View, node: bytes) -> NodeOutcome | None:
    """Return what the last settled epoch made of a node, or None."""
    return read_record(view, keyspace.node_outcome(node), NodeOutcome)


def explain_node(view: View, key: bytes) -> Explanation | None:
    """Return a node and why it earned what it earned; None for a key that never was registered."""
    node = read_node(view, key)
    if node is None:
        return None
    outcome = read_outcome(view, key)
    return Explanation(node, outcome, "not settled yet" if outcome is None else CODES[outcome.code])


def read_nod_balances(view: View, closed: int) -> dict[bytes, int]:
    """Return account -> NOD of all operators with a node that was fit in an epoch, the one that closed last."""
    balances: dict[bytes, int] = {}
    for node in list_nodes(view):
        outcome = read_outcome(view, node.key)
        if not node.revoked and outcome is not None and (outcome.epoch, outcome.code) == (closed, FIT):
            balances[node.account] = read_balance(view, NOD, node.account)
    return {account: balances[account] for account in sorted(balances)}


def compute_nod_votes(balances: Mapping[bytes, int]) -> dict[bytes, int]:
    """Return account -> voting weight: balances clipped so that nobody has more than NOD_VOTE_MAX of their sum.

    The clip is the highest at which that holds, so among five or more it takes as little as it must.  Fewer than four
    accounts with NOD can't keep to it, and weigh nothing.
    """
    held = sorted((balance for balance in balances.values() if balance > 0), reverse=True)  # order: sorted
    weighs = dict.fromkeys(sorted(balances), 0)
    if len(held) < NOD_NODES_MIN:
        return weighs
    low, high = 0, held[0]
    while low < high:  # what is clipped at `low` keeps the bound, what is clipped above `high` does not
        middle = (low + high + 1) // 2
        if middle * SCALE <= sum(min(balance, middle) for balance in held) * NOD_VOTE_MAX:
            low = middle
        else:
            high = middle - 1
    return {account: min(max(balances[account], 0), low) for account in weighs}  # order: sorted above


def apply_nod_allocated(view: View, entry: Entry[NodAllocated]) -> Iterator[Write]:
    """Issue the NOD, which first decays with the next epoch, and keep the outcome."""
    body, draft = entry.body, Draft(view)
    standing = read_standing(draft, body.account)
    assert standing is not None, "an operator has an account"
    bring_up_to_date(draft, body.account, standing, body.epoch + 1)
    if body.atoms:
        issue(draft, NOD, body.account, body.atoms)
    outcome = NodeOutcome(body.atoms, FIT, body.epoch, body.is_capped, body.measures, body.policy)
    draft.put(keyspace.node_outcome(body.node), encode_record(outcome))
    yield from draft.writes()


def apply_node_rejected(view: View, entry: Entry[NodeRejected]) -> Iterator[Write]:
    """Keep the outcome."""
    body, draft = entry.body, Draft(view)
    outcome = NodeOutcome(0, body.code, body.epoch, False, body.measures, body.policy)
    draft.put(keyspace.node_outcome(body.node), encode_record(outcome))
    yield from draft.writes()


def _measured(measures: Measures) -> dict[str, Fact]:
    return {
        "attesters": measures.attesters, "beats": measures.beats, "certified": measures.certified,
        "contribution": measures.contribution, "health": measures.health, "led": measures.led,
        "proposals": measures.proposals, "uptime": measures.uptime, "votes": measures.votes,
    }  # fmt: skip


_EXAMPLE = Measures(3, 32, 31, 98 * SCALE // 100, SCALE, 0, 0, 97 * SCALE // 100, 30)
NOD_ALLOCATED = EventType(
    name="infra.NodAllocated",
    version=1,
    body=NodAllocated,
    guards=(),
    apply=apply_nod_allocated,
    summary="A node that served an epoch was given its part of the NOD pool.",
    example=NodAllocated(bytes(32), 5 * SCALE, 3, False, _EXAMPLE, bytes(32), "nod@1"),
    inputs=lambda body: {
        "account": body.account.hex(), "atoms": body.atoms, "code": FIT, "epoch": body.epoch,
        "is_capped": body.is_capped, "node": body.node.hex(), "policy": body.policy, **_measured(body.measures),
    },
    derived=True,
)  # fmt: skip
NODE_REJECTED = EventType(
    name="infra.NodeRejected",
    version=1,
    body=NodeRejected,
    guards=(),
    apply=apply_node_rejected,
    summary="A node got no NOD for an epoch; its code says why.",
    example=NodeRejected(bytes(32), "UPTIME_BELOW_THRESHOLD", 3, _EXAMPLE, bytes(32), "nod@1"),
    inputs=lambda body: {
        "account": body.account.hex(), "code": body.code, "epoch": body.epoch, "node": body.node.hex(),
        "policy": body.policy, **_measured(body.measures),
    },
    derived=True,
)  # fmt: skip

EVENTS = (NOD_ALLOCATED, NODE_REJECTED)
