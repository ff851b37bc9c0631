"""Drafts and reports: legal values, and who vouches for a dry run of them."""

from typing import Any

import pytest

from ledger.events import SignedEvent
from ledger.policies import (
    compute_policy_id,
    encode_values,
)
from ledger.primitives.encoding import decode_plain, encode_plain
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.signing import Purpose, SigningKey
from social.governance.drafts import PolicyDrafted, read_draft
from social.governance.reports import PolicySimulated, ReportHead, compute_report_hash, read_report
from tests.ledger.world import VALIDATORS
from tests.social.assembly import Assembly, denial, refused

DEARER = 200 * SCALE


# Drafts.


def edited(policy: str, **changes: Any) -> bytes:
    """Return a policy's encoded values with fields that no rule checked."""
    plain: Any = decode_plain(encode_values(policy, {}))
    plain.update(changes)
    return encode_plain({name: plain[name] for name in sorted(plain) if plain[name] is not ...})


ILLEGAL = [
    ("protocol", b"\x80", "K5_CONSTANT_IMMUTABLE"),
    ("flx_balance_max", encode_values("energy", {}), "K5_CONSTANT_IMMUTABLE"),
    ("energy", b"\xc1", "GOV_SAFETY_PARAMETER_INVALID"),
    ("energy", edited("energy", base_cost=1), "GOV_SAFETY_PARAMETER_INVALID"),
    ("energy", edited("energy", base_cost="1"), "GOV_SAFETY_PARAMETER_INVALID"),
    ("energy", edited("energy", atr_store=1), "GOV_SAFETY_PARAMETER_INVALID"),
    ("energy", edited("energy", recovery=...), "GOV_SAFETY_PARAMETER_INVALID"),
    ("energy", encode_values("decay", {}), "GOV_SAFETY_PARAMETER_INVALID"),
    ("nod", edited("nod", weight_votes=0), "GOV_SAFETY_PARAMETER_INVALID"),
    ("governance", edited("governance", window_beats=0), "GOV_SAFETY_PARAMETER_INVALID"),
    ("governance", edited("governance", social_quorum=SCALE), "GOV_SAFETY_QUORUM_ABOVE_MAX"),
    ("governance", edited("governance", infra_quorum=91 * SCALE // 100), "GOV_SAFETY_QUORUM_ABOVE_MAX"),
    ("governance", edited("governance", social_quorum=0), "GOV_SAFETY_QUORUM_BELOW_MIN"),
    ("governance", edited("governance", social_majority=SCALE // 2), "GOV_SAFETY_QUORUM_BELOW_MIN"),
    ("governance", edited("governance", infra_quorum=-(2**60)), "GOV_SAFETY_QUORUM_BELOW_MIN"),
]


@pytest.mark.parametrize(("policy", "values", "code"), ILLEGAL)
def test_a_draft_holds_only_legal_values(town: Assembly, policy: str, values: bytes, code: str) -> None:
    receipt = town.do(town.people[0], PolicyDrafted, policy=policy, values=values)

    assert denial(receipt) == code
    assert read_draft(town.store, compute_policy_id(policy, values)) is None


def test_the_same_values_are_drafted_once(town: Assembly) -> None:
    town.draft(base_cost=DEARER)
    values = encode_values("energy", {"base_cost": DEARER})
    receipt = town.do(town.people[1], PolicyDrafted, policy="energy", values=values)

    assert denial(receipt) == "DRAFT_EXISTS"


# Reports.


def test_a_report_counts_every_validator_once(town: Assembly) -> None:
    draft = town.draft(base_cost=DEARER)
    head = town.head_of(draft)
    town.execute(town.attest(head, 0))

    assert refused(town, town.attest(head, 0, town.people[2])) == "REPORT_ATTESTED_ALREADY"
    assert refused(town, town.attest(head, 3)) == ""
    report = read_report(town.store, compute_report_hash(head))
    assert report is not None
    assert report.attesters == tuple(sorted((VALIDATORS[0].public, VALIDATORS[3].public)))


def test_only_validators_vouch_for_a_report(town: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    head = town.head_of(town.draft(base_cost=DEARER))
    monkeypatch.setattr("tests.social.assembly.VALIDATORS", (SigningKey(b"n" * 32),))

    assert refused(town, town.attest(head, 0)) == "REPORT_VALIDATOR_UNKNOWN"


def test_a_signature_over_another_report_chain_or_purpose_is_none(town: Assembly) -> None:
    head = town.head_of(town.draft(base_cost=DEARER))
    signed = town.attest(head, 0)
    other = town.head_of(head.draft, findings=b"o" * 32)
    key, message = VALIDATORS[0], compute_report_hash(head)
    signatures = [
        key.sign(town.chain.chain_id, Purpose.POLICY_REPORT, compute_report_hash(other)),
        key.sign(bytes(32), Purpose.POLICY_REPORT, message),
        key.sign(town.chain.chain_id, Purpose.CHECKPOINT, message),
        VALIDATORS[1].sign(town.chain.chain_id, Purpose.POLICY_REPORT, message),
    ]

    for signature in signatures:
        (checked,) = town.check(_with_signature(town, head, signature))
        assert getattr(checked, "code", "") == "REPORT_SIGNATURE_INVALID"
    assert getattr(town.check(signed)[0], "code", "") == ""


def _with_signature(town: Assembly, head: Any, signature: bytes) -> SignedEvent:
    fields = {name: getattr(head, name) for name in ReportHead.__slots__}
    return town.sign(
        town.people[1], PolicySimulated, signature=signature, validator=VALIDATORS[0].public, nonce=99, **fields
    )  # fmt: skip


def test_a_report_is_of_enough_blocks_that_exist(town: Assembly) -> None:
    draft, height = town.draft(base_cost=DEARER), town.chain.head.height
    changes: list[tuple[dict[str, int], str]] = [
        ({"height": height + 1, "blocks": height + 1}, "REPORT_OF_FUTURE"),
        ({"epoch": town.epoch + 1}, "REPORT_OF_FUTURE"),
        ({"blocks": height - 1}, "REPORT_TOO_SHORT"),
        ({"blocks": height + 1}, "REPORT_TOO_SHORT"),
    ]

    for change, code in changes:
        fields: dict[str, int] = {"height": height, "blocks": height} | change
        assert refused(town, town.attest(town.head_of(draft, **fields), 0)) == code


def test_a_report_is_of_a_draft(town: Assembly) -> None:
    assert refused(town, town.attest(town.head_of(bytes(32)), 0)) == "PROPOSAL_DRAFT_UNKNOWN"
