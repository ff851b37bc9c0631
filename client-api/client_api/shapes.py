"""The shapes that many answers share, and how the ledger's values become them."""

from typing import Any, Literal, TypeAlias

from pydantic import Field

from client_api.endpoint import Model
from client_api.errors import AccountUnknown, InvalidRequest
from client_api.services import Alert
from ledger.primitives.ids import IdInvalid, IdKind, decode_id, encode_id
from ledger.receipts import Receipt
from ledger.verdict import Verdict
from social.profiles import read_handle_owner

FactShape: TypeAlias = int | str | bool


class Anchor(Model):
    """Where an answer was read: the same request at this height gives the same bytes."""

    height: int
    log_size: int
    beat: int
    header_hash: str
    state_digest: str
    rules_root: str
    policy_root: str


class VerdictShape(Model):
    """What one guard said."""

    allowed: bool
    code: str
    because: str
    facts: dict[str, FactShape]
    severity: Literal["info", "warning", "error", "critical"]
    guard: str
    policy: str


class ReceiptShape(Model):
    """What became of an event, and why."""

    event_id: str
    event_type: str
    event_version: int
    author: str
    height: int
    index: int
    log_index: int
    beat: int
    modules: list[str]
    inputs: dict[str, FactShape]
    evidence: dict[str, FactShape]
    verdicts: list[VerdictShape]
    outcome: Literal["applied", "denied", "skipped"]
    explanation: str
    version: int


class AlertShape(Model):
    """Why this node stopped voting and takes no events."""

    code: str
    what: Literal["state", "rules", "execution"]
    why: str
    height: int
    root: str
    seal: str = Field(description="hash over root, code and height")
    remedy: str


def alert_to_json(alert: Alert) -> dict[str, Any]:
    return {
        "code": alert.code,
        "what": alert.what,
        "why": alert.why,
        "height": alert.height,
        "root": alert.root.hex(),
        "seal": alert.seal.hex(),
        "remedy": alert.remedy,
    }


def event_text(event_id: bytes) -> str:
    return encode_id(IdKind.EVENT, event_id)


def account_text(account_id: bytes) -> str:
    return encode_id(IdKind.ACCOUNT, account_id)


def fact_to_json(value: int | str | bool) -> int | str | bool:
    """JSON numbers end at 2**53; larger integers are decimal strings."""
    return str(value) if type(value) is int and abs(value) > 2**53 - 1 else value


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    facts = {name: fact_to_json(value) for name, value in verdict.facts.items()}
    return {
        "allowed": verdict.allowed,
        "code": verdict.code,
        "because": verdict.because,
        "facts": facts,
        "severity": verdict.severity,
        "guard": verdict.guard,
        "policy": verdict.policy,
    }


def receipt_to_json(receipt: Receipt) -> dict[str, Any]:
    return {
        "event_id": event_text(receipt.event_id),
        "event_type": receipt.event_type,
        "event_version": receipt.event_version,
        "author": account_text(receipt.author),
        "height": receipt.height,
        "index": receipt.index,
        "log_index": receipt.log_index,
        "beat": receipt.beat,
        "modules": list(receipt.modules),
        "inputs": {name: fact_to_json(value) for name, value in receipt.inputs.items()},
        "evidence": {name: fact_to_json(value) for name, value in receipt.evidence.items()},
        "verdicts": [verdict_to_json(verdict) for verdict in receipt.verdicts],
        "outcome": receipt.outcome,
        "explanation": receipt.explanation,
        "version": receipt.version,
    }


def parse_event_id(text: str) -> bytes:
    """Return the event id in `text`.  Raises InvalidRequest."""
    try:
        return decode_id(IdKind.EVENT, text)
    except IdInvalid as error:
        raise InvalidRequest(str(error)) from error


def parse_account_id(text: str) -> bytes:
    """Return the account id in `text`.  Raises InvalidRequest."""
    try:
        return decode_id(IdKind.ACCOUNT, text)
    except IdInvalid as error:
        raise InvalidRequest(str(error)) from error


def find_account(state: Any, text: str) -> bytes:
    """Return the account that an id or a handle names.  Raises InvalidRequest and AccountUnknown."""
    if text.startswith("acct1"):
        return parse_account_id(text)
    owner = read_handle_owner(state, text.removeprefix("@"))
    if owner is None:
        raise AccountUnknown(f"nobody holds the handle {text!r} at this height")
    return owner
