"""Receipts: what became of an event, why, and from which inputs.  Every event gets one, allowed or not.

Outcomes: "applied" (all guards allowed it), "denied" (a guard denied it: no effect but this receipt and the nonce),
"skipped" (it was not this account's next event, or had expired: no effect at all).

A receipt is a canonical map of its fields, but its verdicts, which most of its bytes would be, are lists:

    [code, guard, policy, facts]                        allowed, severity "info"
    [code, guard, policy, facts, severity]              allowed, of another severity
    [code, guard, policy, facts, severity, because]     denied
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ledger.primitives.encoding import EncodingError, Value, decode, encode_plain
from ledger.verdict import INFO, SEVERITIES, Fact, Verdict

RECEIPT_VERSION = 2
APPLIED, DENIED, SKIPPED = "applied", "denied", "skipped"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The ledger's answer to one event, a leaf of the log tree."""

    event_id: bytes
    event_type: str
    event_version: int
    author: bytes
    height: int
    index: int  # within its block
    log_index: int  # among all receipts ever, from 0
    beat: int
    modules: tuple[str, ...]
    inputs: dict[str, Fact]
    verdicts: tuple[Verdict, ...]
    outcome: str
    explanation: str
    version: int = RECEIPT_VERSION
    evidence: dict[str, Fact] = field(default_factory=dict[str, Fact])  # what an action measured and was charged


_RECEIPT_MEMBERS: dict[str, type[Any]] = {
    "author": bytes, "beat": int, "event_id": bytes, "event_type": str, "event_version": int, "evidence": dict,
    "explanation": str,
    "height": int, "index": int, "inputs": dict, "log_index": int, "modules": list, "outcome": str, "verdicts": list,
    "version": int,
}  # fmt: skip
_VERDICT_PARTS = (str, str, str, dict, str, str)
_ALLOWED_PARTS, _GRADED_PARTS, _DENIED_PARTS = 4, 5, 6


def encode_receipt(receipt: Receipt) -> bytes:
    """Return the canonical bytes of a receipt; keys are written here in their sorted order."""
    plain: Value = {
        "author": receipt.author,
        "beat": receipt.beat,
        "event_id": receipt.event_id,
        "event_type": receipt.event_type,
        "event_version": receipt.event_version,
        "evidence": _sorted_facts(receipt.evidence),
        "explanation": receipt.explanation,
        "height": receipt.height,
        "index": receipt.index,
        "inputs": _sorted_facts(receipt.inputs),
        "log_index": receipt.log_index,
        "modules": list(receipt.modules),
        "outcome": receipt.outcome,
        "verdicts": [_verdict_to_plain(verdict) for verdict in receipt.verdicts],
        "version": receipt.version,
    }
    return encode_plain(plain)


def decode_receipt(data: bytes) -> Receipt:
    """Return the receipt in `data`.  Raises EncodingError."""
    members = _members(decode(data), _RECEIPT_MEMBERS)
    verdicts = tuple(_verdict_from_plain(verdict) for verdict in members.pop("verdicts"))
    modules = tuple(members.pop("modules"))
    if not all(type(module) is str for module in modules):
        raise EncodingError(f"receipt: expected modules of text, got {modules!r}")
    members["inputs"] = _facts(members["inputs"])
    members["evidence"] = _facts(members["evidence"])
    return Receipt(verdicts=verdicts, modules=modules, **members)


def _members(plain: object, kinds: dict[str, type[Any]]) -> dict[str, Any]:
    """Return a map that has exactly these members of exactly these types."""
    if type(plain) is not dict:
        raise EncodingError(f"receipt: expected a map, got {type(plain).__name__}")
    members = cast("dict[str, Any]", plain)
    if len(members) != len(kinds) or any(type(members.get(name)) is not kind for name, kind in sorted(kinds.items())):
        raise EncodingError(f"receipt: expected the members {sorted(kinds)} with their types, got {sorted(members)}")
    return members


def _facts(facts: dict[str, Any]) -> dict[str, Fact]:
    if any(type(facts[name]) not in (int, str, bool) for name in sorted(facts)):
        raise EncodingError("receipt: expected facts that are numbers, texts and truth values")
    return facts


def _sorted_facts(facts: dict[str, Fact]) -> Value:
    if len(facts) < 2:
        return cast(Value, facts)
    names = sorted(facts)
    return cast(Value, facts) if names == list(facts) else {name: facts[name] for name in names}


def _verdict_to_plain(verdict: Verdict) -> Value:
    allowed, code, because, facts, severity, guard, policy = verdict
    shown = cast(Value, facts) if len(facts) < 2 else _sorted_facts(facts)
    if not allowed:
        return [code, guard, policy, shown, severity, because]
    if severity != INFO:
        return [code, guard, policy, shown, severity]
    return [code, guard, policy, shown]


def _verdict_from_plain(plain: Any) -> Verdict:
    parts: Sequence[Any] = cast("Sequence[Any]", plain if type(plain) is list else [])
    if not _ALLOWED_PARTS <= len(parts) <= _DENIED_PARTS or any(
        type(part) is not kind for part, kind in zip(parts, _VERDICT_PARTS, strict=False)
    ):
        raise EncodingError(f"receipt: expected a verdict of 4 to 6 parts with their types, got {plain!r}")
    code, guard, policy, facts = parts[:_ALLOWED_PARTS]
    severity = parts[_ALLOWED_PARTS] if len(parts) > _ALLOWED_PARTS else INFO
    because = parts[_GRADED_PARTS] if len(parts) > _GRADED_PARTS else ""
    if severity not in SEVERITIES or (len(parts) == _GRADED_PARTS and severity == INFO):
        raise EncodingError(f"receipt: expected one of {SEVERITIES}, the usual one left out, got {severity!r}")
    return Verdict(len(parts) < _DENIED_PARTS, code, because, _facts(facts), severity, guard, policy)
