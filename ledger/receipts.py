"""Receipts: what became of an event, why, and from which inputs.  Every event gets one, allowed or not.

Outcomes: "applied" (all guards allowed it), "denied" (a guard denied it: no effect but this receipt and the nonce),
"skipped" (it was not this account's next event, or had expired: no effect at all).
"""

from dataclasses import dataclass
from typing import Any, cast

from ledger.primitives.encoding import EncodingError, Value, decode, encode_plain
from ledger.verdict import Fact, Verdict

RECEIPT_VERSION = 1
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


def encode_receipt(receipt: Receipt) -> bytes:
    """Return the canonical bytes of a receipt; keys are written here in their sorted order."""
    plain: Value = {
        "author": receipt.author,
        "beat": receipt.beat,
        "event_id": receipt.event_id,
        "event_type": receipt.event_type,
        "event_version": receipt.event_version,
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
    plain = decode(data)
    try:
        fields = cast("dict[str, Any]", plain)
        verdicts = tuple(_verdict_from_plain(verdict) for verdict in fields.pop("verdicts"))
        modules = tuple(fields.pop("modules"))
        receipt = Receipt(verdicts=verdicts, modules=modules, **fields)
    except (TypeError, KeyError, AttributeError) as error:
        raise EncodingError(f"expected a receipt, got something else: {error}") from error
    return receipt


def _sorted_facts(facts: dict[str, Fact]) -> Value:
    return {name: facts[name] for name in sorted(facts)}


def _verdict_to_plain(verdict: Verdict) -> Value:
    plain: dict[str, Value] = {"allowed": verdict.allowed}
    if not verdict.allowed:
        plain["because"] = verdict.because
    plain["code"] = verdict.code
    plain["facts"] = _sorted_facts(verdict.facts)
    return plain


def _verdict_from_plain(plain: dict[str, Any]) -> Verdict:
    return Verdict(plain["allowed"], plain["code"], plain.get("because", ""), plain["facts"])
