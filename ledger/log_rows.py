"""The rows of the log: what the store keeps of each receipt and of the event that it answers, by place and by id."""

from collections.abc import Callable, Iterator, Sequence

from ledger import keyspace
from ledger.block import StoredEvent
from ledger.primitives.records import encode_record
from ledger.receipts import SKIPPED, Receipt

IsKnown = Callable[[bytes, int], bool]
"""(event id, log index): whether the id already leads to something that a copy skipped here must not hide."""


def list_log_rows(
    receipts: Sequence[Receipt],
    receipt_bytes: Sequence[bytes],
    stored: Sequence[StoredEvent | None],
    is_known: IsKnown,
) -> Iterator[tuple[bytes, bytes]]:
    """Yield what to put for the receipts of one block, each with its signed event, if any."""
    executed_here = {receipt.event_id for receipt in receipts if receipt.outcome != SKIPPED}
    for receipt, data, event in zip(receipts, receipt_bytes, stored, strict=True):
        yield keyspace.receipt(receipt.log_index), data
        if event is not None:
            yield keyspace.event(receipt.log_index), encode_record(event)
        # What was executed is found under its id for ever: no skipped copy may hide it.
        if receipt.outcome != SKIPPED or (
            receipt.event_id not in executed_here and not is_known(receipt.event_id, receipt.log_index)
        ):
            yield keyspace.event_id(receipt.event_id), keyspace.u64(receipt.log_index)
