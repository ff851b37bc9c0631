"""Reports: validators vouch for the impact report of a dry run.  Events: governance.PolicySimulated.

Execution can't replay thousands of blocks inside one event.  So validators do it beside the ledger (`node.dry_run`),
and sign the report's hash, each with its validator key; once more than f have signed the same hash, one of them is
honest, and the draft is simulated.  Any account may carry the signatures in.  The hash commits to the place of the
replay as well as to its findings, so nobody can give a true report a false age.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from ledger import keyspace
from ledger.events import Entry, Event, EventRefused, EventType, Put, View, Write
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U32, U64, Bytes32, Bytes64, Length, encode_record
from ledger.primitives.signing import Purpose, is_valid_signature
from ledger.service import VALIDATORS_MAX, Validators, read_validators
from ledger.state import read_record
from ledger.verdict import Fact, Verdict, allow, deny
from social.governance.drafts import read_draft

REPORT_BLOCKS = 2_048
"""A dry run replays at least this many blocks, or all that there are; constitutional."""


@dataclass(frozen=True, slots=True)
class ReportHead:
    """Which replay a report is of, and the hash of what it found."""

    base_digest: Bytes32  # of the state that the replay started from
    blocks: U32
    draft: Bytes32
    epoch: U64  # of the last block that was replayed
    findings: Bytes32
    height: U64  # of the last block that was replayed


@dataclass(frozen=True, slots=True)
class PolicySimulated:
    """A validator vouches for a report; the author only carries the signature in."""

    base_digest: Bytes32
    blocks: U32
    draft: Bytes32
    epoch: U64
    findings: Bytes32
    height: U64
    signature: Bytes64  # over the report's hash, under Purpose.POLICY_REPORT
    validator: Bytes32  # public key


@dataclass(frozen=True, slots=True)
class Report:
    """A report as the state keeps it."""

    attesters: Annotated[tuple[Bytes32, ...], Length(1, VALIDATORS_MAX)]  # sorted
    head: ReportHead


def compute_report_hash(head: ReportHead) -> bytes:
    """Return the hash that validators sign and proposals quote."""
    return tagged_hash("atlas/policy-report", encode_record(head))


def head_of(body: PolicySimulated) -> ReportHead:
    """Return the head that an attestation is for."""
    return ReportHead(body.base_digest, body.blocks, body.draft, body.epoch, body.findings, body.height)


def read_report(view: View, report_hash: bytes) -> Report | None:
    """Return a report that at least one validator signed, or None."""
    return read_record(view, keyspace.policy_report(report_hash), Report)


def is_attested(view: View, report: Report) -> bool:
    """Whether more than f of the present validators have signed a report."""
    validators = _read_set(view)
    return len([key for key in report.attesters if key in validators.keys]) > validators.faulty_max


def _read_set(view: View) -> Validators:
    validators = read_validators(view)
    assert validators is not None, "the state has the validator set since genesis"
    return validators


def verify_attestation(chain_id: bytes, event: Event, body: PolicySimulated) -> None:
    """Check the validator's signature.  Raises EventRefused."""
    report_hash = compute_report_hash(head_of(body))
    if not is_valid_signature(body.validator, chain_id, Purpose.POLICY_REPORT, report_hash, body.signature):
        raise EventRefused(
            "REPORT_SIGNATURE_INVALID",
            "The validator's key has not signed this report for this chain.",
            report=report_hash.hex(),
        )


def draft_is_known(view: View, entry: Entry[PolicySimulated]) -> Verdict:
    draft_id = entry.body.draft
    if read_draft(view, draft_id) is None:
        return deny("PROPOSAL_DRAFT_UNKNOWN", "There is no such draft on the ledger.", draft=draft_id.hex())
    return allow("PROPOSAL_DRAFT_KNOWN", "The draft is on the ledger.", draft=draft_id.hex())


def signer_is_validator(view: View, entry: Entry[PolicySimulated]) -> Verdict:
    if entry.body.validator in _read_set(view).keys:
        return allow("REPORT_VALIDATOR_KNOWN", "The report is signed by a validator.")
    return deny("REPORT_VALIDATOR_UNKNOWN", "Only validators vouch for reports.", key=entry.body.validator.hex())


def replay_is_of_the_past(view: View, entry: Entry[PolicySimulated]) -> Verdict:
    body = entry.body
    facts: dict[str, Fact] = {"height": body.height, "epoch": body.epoch}
    if body.height < entry.height and body.epoch <= entry.epoch:
        return allow("REPORT_OF_PAST", "The replay ended at an earlier block.", **facts)
    return deny("REPORT_OF_FUTURE", "A replay can only be of blocks that exist.", **facts)


def replay_is_long_enough(view: View, entry: Entry[PolicySimulated]) -> Verdict:
    body = entry.body
    facts: dict[str, Fact] = {"blocks": body.blocks, "blocks_min": min(REPORT_BLOCKS, body.height)}
    if min(REPORT_BLOCKS, body.height) <= body.blocks <= body.height:
        return allow("REPORT_LONG_ENOUGH", "Enough blocks were replayed.", **facts)
    return deny("REPORT_TOO_SHORT", "A dry run replays more blocks, or all there are.", **facts)


def validator_signs_once(view: View, entry: Entry[PolicySimulated]) -> Verdict:
    report = read_report(view, compute_report_hash(head_of(entry.body)))
    if report is None or entry.body.validator not in report.attesters:
        return allow("REPORT_NOT_ATTESTED", "The validator has not vouched for this report yet.")
    return deny("REPORT_ATTESTED_ALREADY", "The validator has vouched for this report already.")


def apply_policy_simulated(view: View, entry: Entry[PolicySimulated]) -> Iterator[Write]:
    """Count the validator; the draft is simulated once enough have signed."""
    head = head_of(entry.body)
    report_hash = compute_report_hash(head)
    known = read_report(view, report_hash)
    others = () if known is None else known.attesters
    members = _read_set(view).keys  # who has left the set, or has another key now, is not counted beside the new one
    attesters = (entry.body.validator, *[key for key in others if key in members])
    report = Report(tuple(sorted(attesters)), head)
    yield Put(keyspace.policy_report(report_hash), encode_record(report))
    draft = read_draft(view, head.draft)
    assert draft is not None, "a guard found it"
    if is_attested(view, report):
        yield Put(keyspace.draft(head.draft), encode_record(replace(draft, report=report_hash)))


EVENTS = (
    EventType(
        name="governance.PolicySimulated",
        version=1,
        body=PolicySimulated,
        guards=(
            draft_is_known,
            signer_is_validator,
            replay_is_of_the_past,
            replay_is_long_enough,
            validator_signs_once,
        ),
        apply=apply_policy_simulated,
        summary="A validator vouched for the impact report of a dry run.",
        example=PolicySimulated(bytes(32), 2_048, bytes(32), 9, bytes(32), 4_711, bytes(64), bytes(32)),
        inputs=lambda body: {
            "blocks": body.blocks, "draft": body.draft.hex(), "epoch": body.epoch, "height": body.height,
            "report": compute_report_hash(head_of(body)).hex(), "validator": body.validator.hex(),
        },
        weight=SCALE // 4,
        verify=verify_attestation,
    ),
)  # fmt: skip
