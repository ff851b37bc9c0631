"""Measures: votes that change no number, but who may do what.  Events: governance.RoleGrantProposed,
RoleRevocationProposed, NodeRevocationProposed, ValidatorAdmissionProposed, ValidatorRemovalProposed;
governance.MeasureEnacted, derived.

They are held like the votes on policies: deposit, weights of the epoch in which they open, window, quorum, majority,
delay, and they come into force where an epoch begins.  There is no dry run, since no parameter changes and no block
would be judged otherwise, and no version to return to: what was granted can be revoked, what was revoked granted again,
each by a vote of its own; a node's key alone never comes back.  Operators decide on nodes, the validator set and the
role OPERATOR, by NOD; on all other roles everybody, by standing.  A node that changes its key meanwhile stays the one
that was voted on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from ledger import keyspace
from ledger.events import Entry, EventType, Put, View, Write
from ledger.nodes import NODE_REVOKED, NodeRevoked, find_current
from ledger.policies import INFRA, SOCIAL
from ledger.primitives.fixed_point import SCALE, format_decimal
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U64, U128, Bytes32, Length, encode_record
from ledger.roles import GOVERNANCE, PLATFORM, grant_role_writes, judge_grant, read_grant, revoke_role_writes
from ledger.scopes import AUDITOR, GRANTED, OPERATOR
from ledger.validators import (
    VALIDATOR_ADMITTED,
    VALIDATOR_DISMISSED,
    ValidatorAdmitted,
    ValidatorDismissed,
    find_current_key,
    judge_admission,
    judge_dismissal,
)
from ledger.verdict import Verdict, allow, deny
from social.governance.proposals import (
    ACTIVE,
    NONE,
    OPEN_MAX,
    Measure,
    close_proposal,
    deposit_is_enough,
    judge_electorate,
    list_open,
    open_vote,
    proposer_has_cooled_down,
    read_proposal,
)

GRANT_ROLE, REVOKE_ROLE, REVOKE_NODE = "grant role", "revoke role", "revoke node"
ADMIT_VALIDATOR, REMOVE_VALIDATOR = "admit validator", "remove validator"
KINDS = (GRANT_ROLE, REVOKE_ROLE, REVOKE_NODE, ADMIT_VALIDATOR, REMOVE_VALIDATOR)
OF_NODES = (REVOKE_NODE, ADMIT_VALIDATOR, REMOVE_VALIDATOR)
TOPICS = {
    GRANT_ROLE: "roles", REVOKE_ROLE: "roles", REVOKE_NODE: "nodes", ADMIT_VALIDATOR: "validators",
    REMOVE_VALIDATOR: "validators",
}  # fmt: skip
"""What stands in place of a policy's name."""

RoleName = Annotated[str, Length(4, 16)]
Reason = Annotated[str, Length(1, 96)]


@dataclass(frozen=True, slots=True)
class RoleGrantProposed:
    """The author asks that an account be given a role for the whole platform."""

    account: Bytes32
    deposit: U128  # FLX, in atoms
    expires_beat: U64 | None
    role: RoleName


@dataclass(frozen=True, slots=True)
class RoleRevocationProposed:
    """The author asks that a role for the whole platform be taken back."""

    account: Bytes32
    deposit: U128
    role: RoleName


@dataclass(frozen=True, slots=True)
class NodeRevocationProposed:
    """The author asks that a node be taken out of service."""

    deposit: U128
    node: Bytes32
    reason: Reason
    urgent: bool  # half the time, and a higher quorum


@dataclass(frozen=True, slots=True)
class ValidatorAdmissionProposed:
    """The author asks that a registered node be admitted to the validator set."""

    deposit: U128
    node: Bytes32


@dataclass(frozen=True, slots=True)
class ValidatorRemovalProposed:
    """The author asks that a validator be let go; its node keeps its bond and serves on as a relay."""

    deposit: U128
    node: Bytes32
    reason: Reason
    urgent: bool


@dataclass(frozen=True, slots=True)
class MeasureEnacted:
    """What a vote decided about a role or a node holds from here on."""

    account: Bytes32  # zero where it is about a node
    kind: Annotated[str, Length(1, 16)]
    node: Bytes32  # zero where it is about a role
    proposal: Bytes32
    role: Annotated[str, Length(0, 16)]


Proposed = (
    RoleGrantProposed
    | RoleRevocationProposed
    | NodeRevocationProposed
    | ValidatorAdmissionProposed
    | ValidatorRemovalProposed
)


def make_measure(body: Proposed) -> Measure:
    """Return what a proposal would do."""
    match body:
        case RoleGrantProposed():
            return Measure(body.account, body.expires_beat, GRANT_ROLE, NONE, "", body.role)
        case RoleRevocationProposed():
            return Measure(body.account, None, REVOKE_ROLE, NONE, "", body.role)
        case NodeRevocationProposed():
            return Measure(NONE, None, REVOKE_NODE, body.node, body.reason, "")
        case ValidatorAdmissionProposed():
            return Measure(NONE, None, ADMIT_VALIDATOR, body.node, "", "")
        case ValidatorRemovalProposed():
            return Measure(NONE, None, REMOVE_VALIDATOR, body.node, body.reason, "")


def track_of(measure: Measure) -> str:
    """Return who decides: operators on nodes and who is one, everybody on the rest."""
    return INFRA if measure.kind in OF_NODES or measure.role == OPERATOR else SOCIAL


def judge_measure(view: View, measure: Measure) -> Verdict:
    """Say whether a measure could be carried out now; asked when it is proposed, and again when it is due."""
    if measure.kind == GRANT_ROLE:
        return judge_grant(view, measure.role, measure.account, PLATFORM, GOVERNANCE, measure.expires_beat)
    if measure.kind == REVOKE_ROLE:
        if measure.role not in GRANTED:
            return deny("ROLE_UNKNOWN", "There is no such role.", role=measure.role)
        if read_grant(view, measure.account, measure.role, PLATFORM) is None:
            return deny("ROLE_NOT_GRANTED", "The account does not hold this role.", role=measure.role)
        return allow("ROLE_HELD", "The account holds the role.", role=measure.role)
    if measure.kind == ADMIT_VALIDATOR:
        return judge_admission(view, measure.node)
    if measure.kind == REMOVE_VALIDATOR:
        return judge_dismissal(view, measure.node)
    node = find_current(view, measure.node)
    if node is None:
        return deny("NODE_NOT_IN_REGISTRY", "No node was registered under this key.", node=measure.node.hex())
    if node.revoked:
        return deny("NODE_REVOKED", "The node was taken out of service already.", node=measure.node.hex())
    if node.retired_epoch is not None:
        return deny("NODE_RETIRED", "The node has left by itself.", node=measure.node.hex())
    return allow("NODE_IN_SERVICE", "The node is in service.", node=measure.node.hex())


def _names_the_same(one: Measure, other: Measure) -> bool:
    """Whether two measures are about the same role of an account, or the same node."""
    return (one.account, one.role, one.node) == (other.account, other.role, other.node)


# Guards.


def measure_can_be_taken(view: View, entry: Entry[Any]) -> Verdict:
    return judge_measure(view, make_measure(entry.body))


def measure_has_no_open_proposal(view: View, entry: Entry[Any]) -> Verdict:
    measure, opened = make_measure(entry.body), list_open(view)
    topic = TOPICS[measure.kind]
    for each in opened:  # at most OPEN_MAX
        other = read_proposal(view, each.proposal) if each.policy == topic else None
        if other is not None and other.measure is not None and _names_the_same(measure, other.measure):
            return deny("PROPOSAL_ALREADY_OPEN", "Another proposal about this is open.", proposal=each.proposal.hex())
    if len(opened) >= OPEN_MAX:
        return deny("PROPOSAL_TOO_MANY_OPEN", "As many proposals are open as there may be.", open_max=OPEN_MAX)
    return allow("PROPOSAL_ONLY_ONE", "No other proposal about this is open.", open=len(opened))


CHEAP_GUARDS = (measure_can_be_taken, proposer_has_cooled_down, measure_has_no_open_proposal, deposit_is_enough)
"""What is asked before all nodes are read."""


def somebody_can_vote(view: View, entry: Entry[Any]) -> Verdict:
    track = track_of(make_measure(entry.body))
    if track != SOCIAL and not all(guard(view, entry).allowed for guard in CHEAP_GUARDS):
        return allow("PROPOSAL_ELECTORATE_OPEN", "Not looked at: the proposal fails for another reason.", track=track)
    return judge_electorate(view, entry.epoch, track)


GUARDS = (*CHEAP_GUARDS, somebody_can_vote)


# Transitions.


def apply_proposed(view: View, entry: Entry[Any]) -> Iterator[Write]:
    """Open the vote."""
    measure = make_measure(entry.body)
    yield from open_vote(
        view, entry, policy=TOPICS[measure.kind], track=track_of(measure), base=0, kind=measure.kind,
        draft=tagged_hash("atlas/measure", encode_record(measure)), report=NONE, rollback=0,
        urgent=isinstance(entry.body, NodeRevocationProposed | ValidatorRemovalProposed) and entry.body.urgent,
        measure=measure,
    )  # fmt: skip


def list_enacted(view: View, proposal_id: bytes, measure: Measure) -> Iterator[tuple[EventType[Any], Any]]:
    """Yield what carries a measure out; the caller has asked `judge_measure`."""
    if measure.kind == REVOKE_NODE:
        yield NODE_REVOKED, NodeRevoked(find_current_key(view, measure.node), measure.reason)
    elif measure.kind == ADMIT_VALIDATOR:
        yield VALIDATOR_ADMITTED, ValidatorAdmitted(measure.node)
    elif measure.kind == REMOVE_VALIDATOR:
        yield VALIDATOR_DISMISSED, ValidatorDismissed(find_current_key(view, measure.node), measure.reason)
    yield MEASURE_ENACTED, MeasureEnacted(measure.account, measure.kind, measure.node, proposal_id, measure.role)


def apply_enacted(view: View, entry: Entry[MeasureEnacted]) -> Iterator[Write]:
    """Grant or revoke the role, and end the proposal.  What is about a node was done by an event of its own
    before."""
    proposal = read_proposal(view, entry.body.proposal)
    assert proposal is not None, "a queued proposal is kept"
    assert proposal.measure is not None, "it is one of a measure"
    measure = proposal.measure
    if measure.kind == GRANT_ROLE:
        yield from grant_role_writes(
            view, measure.role, measure.account, PLATFORM, GOVERNANCE, entry.height, measure.expires_beat
        )  # fmt: skip
    elif measure.kind == REVOKE_ROLE:
        yield from revoke_role_writes(view, measure.role, measure.account, PLATFORM)
    yield Put(keyspace.proposal(entry.body.proposal), encode_record(replace(proposal, state=ACTIVE)))
    yield from close_proposal(view, entry.body.proposal)


MEASURE_ENACTED = EventType(
    name="governance.MeasureEnacted",
    version=1,
    body=MeasureEnacted,
    guards=(),
    apply=apply_enacted,
    summary="What a vote decided about a role or a node was carried out.",
    example=MeasureEnacted(bytes(32), GRANT_ROLE, bytes(32), bytes(32), AUDITOR),
    inputs=lambda body: {
        "account": body.account.hex(), "kind": body.kind, "node": body.node.hex(), "proposal": body.proposal.hex(),
        "role": body.role,
    },
    derived=True,
)  # fmt: skip

EVENTS = (
    EventType(
        name="governance.RoleGrantProposed",
        version=1,
        body=RoleGrantProposed,
        guards=GUARDS,
        apply=apply_proposed,
        summary="The grant of a role was put to the vote.",
        example=RoleGrantProposed(bytes(32), 10 * SCALE, None, AUDITOR),
        inputs=lambda body: {
            "account": body.account.hex(), "deposit": format_decimal(body.deposit), "role": body.role,
        },
        weight=20 * SCALE,
    ),
    EventType(
        name="governance.RoleRevocationProposed",
        version=1,
        body=RoleRevocationProposed,
        guards=GUARDS,
        apply=apply_proposed,
        summary="Taking a role back was put to the vote.",
        example=RoleRevocationProposed(bytes(32), 10 * SCALE, AUDITOR),
        inputs=lambda body: {
            "account": body.account.hex(), "deposit": format_decimal(body.deposit), "role": body.role,
        },
        weight=20 * SCALE,
    ),
    EventType(
        name="governance.NodeRevocationProposed",
        version=1,
        body=NodeRevocationProposed,
        guards=GUARDS,
        apply=apply_proposed,
        summary="Taking a node out of service was put to the vote of the operators.",
        example=NodeRevocationProposed(10 * SCALE, bytes(32), "served other blocks", False),
        inputs=lambda body: {
            "deposit": format_decimal(body.deposit), "node": body.node.hex(), "reason": body.reason,
            "urgent": body.urgent,
        },
        weight=20 * SCALE,
    ),
    EventType(
        name="governance.ValidatorAdmissionProposed",
        version=1,
        body=ValidatorAdmissionProposed,
        guards=GUARDS,
        apply=apply_proposed,
        summary="Admitting a node to the validator set was put to the vote of the operators.",
        example=ValidatorAdmissionProposed(10 * SCALE, bytes(32)),
        inputs=lambda body: {"deposit": format_decimal(body.deposit), "node": body.node.hex()},
        weight=20 * SCALE,
    ),
    EventType(
        name="governance.ValidatorRemovalProposed",
        version=1,
        body=ValidatorRemovalProposed,
        guards=GUARDS,
        apply=apply_proposed,
        summary="Letting a validator go was put to the vote of the operators.",
        example=ValidatorRemovalProposed(10 * SCALE, bytes(32), "often absent", False),
        inputs=lambda body: {
            "deposit": format_decimal(body.deposit), "node": body.node.hex(), "reason": body.reason,
            "urgent": body.urgent,
        },
        weight=20 * SCALE,
    ),
    MEASURE_ENACTED,
)  # fmt: skip
