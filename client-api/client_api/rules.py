"""The rules in force and who changes them: policies, guards, proposals."""

from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import Field

from client_api.context import Context, Reading
from client_api.endpoint import Endpoint, Json, Model, NoQuery
from client_api.errors import CursorInvalid, GuardUnknown, PolicyUnknown, ProposalUnknown, StaleHeight
from client_api.explorer import Height, Limit
from client_api.listing import open_listing, read_page
from client_api.paging import LIMIT_DEFAULT, hash_filter
from client_api.shapes import Anchor, account_text, event_text, parse_event_id
from ledger import keyspace
from ledger.judgement import Guard
from ledger.policies import TRACKS, PolicyVersion, decode_values, describe, list_active, read_version
from ledger.primitives.fixed_point import format_decimal
from ledger.receipts import APPLIED, decode_receipt
from ledger.state import read_number
from social.governance.drafts import read_draft
from social.governance.proposals import CHANGE, QUEUED, ROLLBACK, VOTING, Proposal, read_proposal

PROPOSED = (
    "governance.NodeRevocationProposed", "governance.PolicyProposed", "governance.RoleGrantProposed",
    "governance.RoleRevocationProposed", "governance.RollbackProposed",
    "governance.ValidatorAdmissionProposed", "governance.ValidatorRemovalProposed",
)  # fmt: skip
"""The events that make a proposal; its id is that of the event."""
Cursor = Annotated[str, Field(max_length=512)]
Name = Annotated[str, Field(max_length=64)]


class PolicyShape(Model):
    policy: str
    version: int
    id: str = Field(description="content address of the values")
    from_epoch: int
    in_force: bool
    track: Literal["social", "infra"]


class ValueShape(Model):
    field: str
    value: str = Field(description="digits, of 10**-18 where the range says so; or hex")
    min: str | None
    max: str | None


class PoliciesQuery(Model):
    at: Height | None = None


class PoliciesAnswer(Model):
    items: list[PolicyShape]
    ledger: Anchor


async def list_policies(context: Context, query: PoliciesQuery, body: None) -> Json:
    """All policies in force, by name."""
    with context.read(query.at) as reading:
        items = [_policy_to_json(each, in_force=True) for each in list_active(reading.state)]
        return {"items": items, "ledger": reading.anchor()}


class PolicyQuery(Model):
    policy: Annotated[str, Field(max_length=64, description='A name, such as "energy", or a version, "energy@2".')]
    at: Height | None = None


class PolicyAnswer(Model):
    policy: PolicyShape
    values: list[ValueShape]
    versions: int = Field(description="how many there have been")
    ledger: Anchor


async def get_policy(context: Context, query: PolicyQuery, body: None) -> Json:
    """A policy's values with their legal ranges; any version that was ever in force."""
    name, separator, number = query.policy.partition("@")
    if name not in TRACKS or (separator and (not number.isascii() or not number.isdigit() or len(number) > 9)):
        raise PolicyUnknown(f"no policy or version {query.policy!r}; there are {', '.join(sorted(TRACKS))}")
    with context.read(query.at) as reading:
        count = read_number(reading.state, keyspace.policy_count(name))
        version = int(number) if separator else count
        found = read_version(reading.state, name, version) if 1 <= version <= count else None
        if found is None:
            raise PolicyUnknown(f"policy {name} has the versions 1 to {count}, not {version}")
        ranges = {field: (low, high) for field, _, low, high in describe(name)}
        values = _read_values(found)
        return {
            "policy": _policy_to_json(found, in_force=version == count),
            "values": [
                {"field": field, "value": value, "min": _digits(ranges[field][0]), "max": _digits(ranges[field][1])}
                for field, value in values.items()
            ],
            "versions": count,
            "ledger": reading.anchor(),
        }


def _policy_to_json(version: PolicyVersion, *, in_force: bool) -> Json:
    return {
        "policy": version.name,
        "version": version.version,
        "id": version.id.hex(),
        "from_epoch": version.from_epoch,
        "in_force": in_force,
        "track": TRACKS[version.name],
    }


def _read_values(version: PolicyVersion) -> dict[str, str]:
    return _values_to_json(version.name, version.values)


def _values_to_json(policy: str, values: bytes) -> dict[str, str]:
    decoded = decode_values(policy, values)
    found = {field.name: getattr(decoded, field.name) for field in fields(decoded)}
    return {name: value.hex() if isinstance(value, bytes) else str(value) for name, value in found.items()}


def _digits(bound: int | None) -> str | None:
    return None if bound is None else str(bound)


class GuardShape(Model):
    name: str
    version: int
    purpose: str
    inputs: list[str]
    risk: str
    policy: str
    codes: dict[str, str]


class GuardsAnswer(Model):
    items: list[GuardShape]
    ledger: Anchor


class GuardQuery(Model):
    name: Name


class GuardAnswer(Model):
    guard: GuardShape
    ledger: Anchor


def _guard_to_json(guard: Guard) -> Json:
    return {
        "name": guard.name,
        "version": guard.version,
        "purpose": guard.purpose,
        "inputs": list(guard.inputs),
        "risk": guard.risk,
        "policy": guard.policy,
        "codes": guard.codes,
    }


async def list_guards(context: Context, query: NoQuery, body: None) -> Json:
    """The guards of this network in their order; the last is over the others."""
    with context.read() as reading:
        items = [_guard_to_json(guard) for guard in context.chain.registry.stack.all()]
        return {"items": items, "ledger": reading.anchor()}


async def get_guard(context: Context, query: GuardQuery, body: None) -> Json:
    guards = {guard.name: guard for guard in context.chain.registry.stack.all()}
    if query.name not in guards:
        raise GuardUnknown(f"no guard {query.name!r}; there are {', '.join(guards)}")
    with context.read() as reading:
        return {"guard": _guard_to_json(guards[query.name]), "ledger": reading.anchor()}


class MeasureShape(Model):
    kind: Literal["grant role", "revoke role", "revoke node", "admit validator", "remove validator"]
    account: str | None
    role: str | None
    expires_beat: int | None
    node: str | None
    reason: str | None


class ProposalShape(Model):
    proposal_id: str
    kind: Literal[
        "change", "rollback", "grant role", "revoke role", "revoke node", "admit validator", "remove validator"
    ]  # fmt: skip
    subject: str = Field(description='A policy\'s name; "roles", "nodes" or "validators" for what is on none.')
    track: Literal["social", "infra"]
    state: Literal["VOTING", "QUEUED", "ACTIVE", "SUPERSEDED", "REJECTED", "EXPIRED", "CANCELLED", "ROLLED_BACK"]
    urgent: bool
    proposer: str
    deposit: str = Field(description="FLX, a decimal string")
    epoch: int = Field(description="whose weights count")
    opened_beat: int
    closes_beat: int
    delay_beats: int
    ready_beat: int | None
    eligible: str
    yes: str
    no: str
    abstain: str
    voters: int
    quorum: str = Field(description="share of all who may vote")
    majority: str = Field(description="share of yes and no that must be yes")
    draft: str | None
    report: str | None
    base: int | None = Field(description="version in force when it was made")
    rollback: int | None = Field(description="version to return to")
    version: int | None = Field(description="version that it brought into force")
    measure: MeasureShape | None


class ProposalsQuery(Model):
    state: Literal["open", "closed"] | None = None
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None
    at: Height | None = None


class ProposalsAnswer(Model):
    items: list[ProposalShape]
    next: str | None
    prev: str | None
    ledger: Anchor


async def list_proposals(context: Context, query: ProposalsQuery, body: None) -> Json:
    """Newest first.  open: voted on, or waiting for their delay."""
    filter_hash = hash_filter("proposals", query.state)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        found: dict[int, Json] = {}

        def keep(index: int, value: bytes) -> bool:
            data = reading.snapshot.get(keyspace.receipt(index))
            assert data is not None, f"receipt {index} is missing"
            receipt = decode_receipt(data)
            proposal = read_proposal(reading.state, receipt.event_id) if receipt.outcome == APPLIED else None
            if proposal is None:
                return False
            is_open = proposal.state in (VOTING, QUEUED)
            if query.state is not None and is_open != (query.state == "open"):
                return False
            found[index] = _proposal_to_json(receipt.event_id, proposal)
            return True

        prefixes = tuple(keyspace.BY_TYPE + name.encode() + b"/" for name in PROPOSED)
        page = read_page(reading, prefixes, filter_hash, query.limit, before, after, keep)
        return {
            "items": [found[index] for index, _ in page.entries],
            "next": page.next,
            "prev": page.prev,
            "ledger": reading.anchor(),
        }


class ProposalQuery(Model):
    proposal_id: Annotated[str, Field(max_length=100)]
    at: Height | None = None


class ChangeShape(Model):
    field: str
    before: str
    after: str


class ProposalAnswer(Model):
    proposal: ProposalShape
    changes: list[ChangeShape] = Field(description="what it changes of the version in force when it was made")
    ledger: Anchor


async def get_proposal(context: Context, query: ProposalQuery, body: None) -> Json:
    """One proposal, how its vote stands, and what it would change."""
    proposal_id = parse_event_id(query.proposal_id)
    with context.read(query.at) as reading:
        proposal = read_proposal(reading.state, proposal_id)
        if proposal is None:
            raise ProposalUnknown(f"no proposal of this id at height {reading.height}", proposal_id=query.proposal_id)
        return {
            "proposal": _proposal_to_json(proposal_id, proposal),
            "changes": _list_changes(reading, proposal),
            "ledger": reading.anchor(),
        }


def _list_changes(reading: Reading, proposal: Proposal) -> list[Json]:
    base = read_version(reading.state, proposal.policy, proposal.base) if proposal.policy in TRACKS else None
    values: bytes | None = None
    if proposal.kind == CHANGE:
        draft = read_draft(reading.state, proposal.draft)
        values = None if draft is None else draft.values
    elif proposal.kind == ROLLBACK:
        target = read_version(reading.state, proposal.policy, proposal.rollback)
        values = None if target is None else target.values
    if base is None or values is None:
        return []
    old, new = _read_values(base), _values_to_json(proposal.policy, values)
    return [{"field": name, "before": old[name], "after": new[name]} for name in old if old[name] != new[name]]


def _proposal_to_json(proposal_id: bytes, proposal: Proposal) -> Json:
    of_policy = proposal.measure is None
    return {
        "proposal_id": event_text(proposal_id),
        "kind": proposal.kind,
        "subject": proposal.policy,
        "track": proposal.track,
        "state": proposal.state,
        "urgent": proposal.urgent,
        "proposer": account_text(proposal.proposer),
        "deposit": format_decimal(proposal.deposit),
        "epoch": proposal.epoch,
        "opened_beat": proposal.opened_beat,
        "closes_beat": proposal.closes_beat,
        "delay_beats": proposal.delay_beats,
        "ready_beat": proposal.ready_beat,
        "eligible": format_decimal(proposal.eligible),
        "yes": format_decimal(proposal.yes),
        "no": format_decimal(proposal.no),
        "abstain": format_decimal(proposal.abstain),
        "voters": proposal.voters,
        "quorum": format_decimal(proposal.quorum),
        "majority": format_decimal(proposal.majority),
        "draft": proposal.draft.hex() if of_policy else None,
        "report": proposal.report.hex() if proposal.kind == CHANGE else None,
        "base": proposal.base if of_policy else None,
        "rollback": proposal.rollback if of_policy else None,
        "version": proposal.version,
        "measure": _measure_to_json(proposal),
    }


def _measure_to_json(proposal: Proposal) -> Any:
    measure = proposal.measure
    if measure is None:
        return None
    of_role = bool(measure.role)
    return {
        "kind": measure.kind,
        "account": account_text(measure.account) if of_role else None,
        "role": measure.role or None,
        "expires_beat": measure.expires_beat,
        "node": None if of_role else measure.node.hex(),
        "reason": measure.reason or None,
    }


ENDPOINTS = (
    Endpoint("GET", "/policies", "listPolicies", "The policies in force.", "governance", PoliciesAnswer, list_policies,
             query=PoliciesQuery, errors=(StaleHeight,)),
    Endpoint("GET", "/policies/{policy}", "getPolicy", "A policy's values and their legal ranges, of any version.",
             "governance", PolicyAnswer, get_policy, query=PolicyQuery, errors=(PolicyUnknown, StaleHeight)),
    Endpoint("GET", "/guards", "listGuards", "The guards that judge every event, in their order.", "governance",
             GuardsAnswer, list_guards, query=NoQuery),
    Endpoint("GET", "/guards/{name}", "getGuard", "One guard: purpose, inputs, risk, policy and codes.", "governance",
             GuardAnswer, get_guard, query=GuardQuery, errors=(GuardUnknown,)),
    Endpoint("GET", "/proposals", "listProposals", "Proposals and how their votes stand, newest first.", "governance",
             ProposalsAnswer, list_proposals, query=ProposalsQuery, errors=(CursorInvalid, StaleHeight)),
    Endpoint("GET", "/proposals/{proposal_id}", "getProposal", "One proposal, its vote, and what it would change.",
             "governance", ProposalAnswer, get_proposal, query=ProposalQuery, errors=(ProposalUnknown, StaleHeight)),
)  # fmt: skip
