"""What the tables of bundles say, and how each row follows from what a bundle proves: events, wallets, rankings.

Whoever makes a table and whoever checks it use the same functions, so the rows of a valid bundle are never typed in.
"""

import re
from collections.abc import Sequence

from ledger.bundles import EVENTS, RANKING, WALLET, Bundle, Finding, ProvenBundle
from ledger.certified import ProofInvalid
from ledger.ranking import verify_ranking
from ledger.receipts import Receipt
from ledger.wallet_table import verify_wallet

EVENT_COLUMNS = ("log_index", "height", "event_id", "event_type", "author", "outcome", "explanation")
FILTERS = ("author", "from_height", "module", "outcome", "to_height", "type")


def verify_table(bundle: ProvenBundle) -> Finding:
    """Check that the rows follow from the events and the state that a bundle proves.  Raises ProofInvalid."""
    match bundle.subject:
        case "events":
            return _verify_events(bundle)
        case "wallet":
            return verify_wallet(bundle)
        case "ranking":
            return verify_ranking(bundle)
        case _:
            raise ProofInvalid(f"subject: expected {EVENTS}, {RANKING} or {WALLET}, got {bundle.subject!r}")


def make_event_row(receipt: Receipt) -> tuple[str, ...]:
    """Return a line of a list of events; ids are hex, the author of what nobody signed is empty."""
    author = receipt.author.hex() if any(receipt.author) else ""
    return (
        str(receipt.log_index), str(receipt.height), receipt.event_id.hex(), receipt.event_type, author,
        receipt.outcome, receipt.explanation,
    )  # fmt: skip


def make_events_bundle(receipts: Sequence[Receipt], query: dict[str, str], following: str | None) -> Bundle:
    """Return the bundle of some events, in order of the log.  query: some of FILTERS; the author as hex."""
    rows = tuple(make_event_row(receipt) for receipt in receipts)
    return Bundle(EVENTS, query, EVENT_COLUMNS, rows, [receipt.log_index for receipt in receipts], next=following)


def fits_query(receipt: Receipt, query: dict[str, str]) -> bool:
    """Tell whether a receipt is one that a query asks for."""
    says = {
        "author": receipt.author.hex(), "outcome": receipt.outcome, "type": receipt.event_type,
    }  # fmt: skip
    return (
        all(query.get(name, says[name]) == says[name] for name in sorted(says))
        and query.get("module", "") in ("", *receipt.modules)
        and int(query.get("from_height", receipt.height)) <= receipt.height
        and receipt.height <= int(query.get("to_height", receipt.height))
    )


def _verify_events(bundle: ProvenBundle) -> Finding:
    if bundle.columns != EVENT_COLUMNS:
        raise ProofInvalid(f"columns: expected {', '.join(EVENT_COLUMNS)}")
    if bundle.state:
        raise ProofInvalid("states: expected none beside events")
    if not set(bundle.query) <= set(FILTERS):
        raise ProofInvalid(f"query: expected some of {', '.join(FILTERS)}, got {', '.join(bundle.query)}")
    for name in ("from_height", "to_height"):
        if not re.fullmatch(r"[0-9]{1,19}", bundle.query.get(name, "0")):
            raise ProofInvalid(f"query: {name}: expected a height, got {bundle.query[name]!r}")
    receipts = [bundle.receipts[log_index] for log_index in sorted(bundle.receipts)]
    if bundle.rows != tuple(make_event_row(receipt) for receipt in receipts):
        raise ProofInvalid("rows: expected one for each event, in order, saying what its receipt says")
    for receipt in receipts:
        if not fits_query(receipt, bundle.query):
            raise ProofInvalid(f"rows: event {receipt.log_index} is not one that the query asks for")
    return Finding(
        (f"each of the {len(receipts)} events is in the ledger, with this receipt, and is one that was asked for",),
        ("that no event was left out; the node's signature holds it to that",),
    )
