"""Drafts: a policy's new values, on the ledger under their content address.  Events: governance.PolicyDrafted.

What is here is the whole record of a policy, typed and within its ranges; a draft binds nobody and never changes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, cast

from ledger import keyspace
from ledger.events import Entry, EventType, Put, View, Write
from ledger.policies import (
    TRACKS,
    VALUES_BYTES_MAX,
    PolicyInvalid,
    compute_policy_id,
    decode_values,
    describe,
    encode_values,
    list_active,
)
from ledger.primitives.encoding import EncodingError, decode
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import U64, Bytes32, Length, encode_record
from ledger.state import read_record
from ledger.verdict import Fact, Verdict, allow, deny

FAULT_LETTERS_MAX = 240
QUORUMS = ("infra_quorum", "social_majority", "social_quorum")
"""The fields of the governance policy whose bounds are constitutional, with codes of their own."""

PolicyName = Annotated[str, Length(1, 32)]
Values = Annotated[bytes, Length(1, VALUES_BYTES_MAX)]


@dataclass(frozen=True, slots=True)
class PolicyDrafted:
    """The author writes down a policy's new values: the canonical record, all of its fields."""

    policy: PolicyName
    values: Values


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft as the state keeps it."""

    author: Bytes32
    beat: U64
    policy: PolicyName
    report: Bytes32 | None  # the newest impact report that enough validators signed
    values: Values


DRAFT, SIMULATED = "DRAFT", "SIMULATED"


def compute_draft_state(draft: Draft) -> str:
    """Return how far a draft has come; whether a report is still fresh, its proposal shows."""
    return DRAFT if draft.report is None else SIMULATED


def read_draft(view: View, draft_id: bytes) -> Draft | None:
    """Return a draft, or None."""
    return read_record(view, keyspace.draft(draft_id), Draft)


def policy_can_be_voted_on(view: View, entry: Entry[PolicyDrafted]) -> Verdict:
    name = entry.body.policy
    if name in TRACKS:
        return allow("POLICY_KNOWN", "The policy can be voted on.", policy=name, track=TRACKS[name])
    return deny("K5_CONSTANT_IMMUTABLE", "No vote changes this; only new software does.", policy=name)


def quorums_are_constitutional(view: View, entry: Entry[PolicyDrafted]) -> Verdict:
    if entry.body.policy == "governance":
        given = _read_plain(entry.body.values)
        bounds = {field: (low, high) for field, _, low, high in describe("governance")}
        for field in QUORUMS:
            value, (low, high) = given.get(field), bounds[field]
            if type(value) is not int or low is None or high is None:
                continue
            facts: dict[str, Fact] = {
                "field": field,
                "percent": _percent(value),
                "min": _percent(low),
                "max": _percent(high),
            }
            if value > high:
                return deny("GOV_SAFETY_QUORUM_ABOVE_MAX", "Such a quorum could stop every vote.", **facts)
            if value < low:
                return deny("GOV_SAFETY_QUORUM_BELOW_MIN", "Such a quorum would let a few decide.", **facts)
    return allow("GOV_SAFETY_QUORUM_WITHIN", "No quorum leaves its bounds.")


def values_are_legal(view: View, entry: Entry[PolicyDrafted]) -> Verdict:
    return judge_values(entry.body.policy, entry.body.values)


def draft_is_new(view: View, entry: Entry[PolicyDrafted]) -> Verdict:
    draft_id = compute_policy_id(entry.body.policy, entry.body.values)
    if read_draft(view, draft_id) is None:
        return allow("DRAFT_NEW", "These values were not drafted before.", draft=draft_id.hex())
    return deny("DRAFT_EXISTS", "These values were drafted already; that draft can be used.", draft=draft_id.hex())


def draft_changes_something(view: View, entry: Entry[PolicyDrafted]) -> Verdict:
    return judge_change(view, entry.body.policy, compute_policy_id(entry.body.policy, entry.body.values))


def judge_values(policy: str, values: bytes) -> Verdict:
    """Say whether these are legal values of a policy."""
    if policy not in TRACKS:
        return allow("GOV_SAFETY_PARAMETERS_UNKNOWN", "There is no such policy to hold the values against.")
    try:
        decode_values(policy, values)
    except PolicyInvalid as invalid:
        fault = str(invalid)[:FAULT_LETTERS_MAX]
        return deny("GOV_SAFETY_PARAMETER_INVALID", "A value is not legal.", fault=fault, policy=policy)
    return allow("GOV_SAFETY_PARAMETERS_LEGAL", "Every value is within its range.", policy=policy)


def judge_change(view: View, policy: str, draft_id: bytes) -> Verdict:
    """Say whether values differ from those in force."""
    if any(each.name == policy and each.id == draft_id for each in list_active(view)):
        return deny("PROPOSAL_CHANGES_NOTHING", "These values are in force already.", draft=draft_id.hex())
    return allow("PROPOSAL_CHANGES_SOMETHING", "These values are not those in force.")


def _read_plain(values: bytes) -> dict[str, Any]:
    """Return the fields of a record whose values may not be legal; empty where there are none to read."""
    try:
        plain: Any = decode(values)
    except EncodingError:
        return {}
    return cast("dict[str, Any]", plain) if type(plain) is dict else {}


def _percent(raw: int) -> int:
    return max(-1, min(raw * 100 // SCALE, 10**6))


def apply_policy_drafted(view: View, entry: Entry[PolicyDrafted]) -> Iterator[Write]:
    """Keep the draft."""
    body = entry.body
    draft = Draft(entry.author, entry.beat, body.policy, None, body.values)
    yield Put(keyspace.draft(compute_policy_id(body.policy, body.values)), encode_record(draft))


EVENTS = (
    EventType(
        name="governance.PolicyDrafted",
        version=1,
        body=PolicyDrafted,
        guards=(
            policy_can_be_voted_on,
            quorums_are_constitutional,
            values_are_legal,
            draft_is_new,
            draft_changes_something,
        ),
        apply=apply_policy_drafted,
        summary="An account drafted new values of a policy.",
        example=PolicyDrafted("energy", encode_values("energy", {})),
        inputs=lambda body: {"draft": compute_policy_id(body.policy, body.values).hex(), "policy": body.policy},
        weight=2 * SCALE,
    ),
)
