"""Filling a gap: a block's events and receipts, checked against its header, become the rows that executing it gave.

Nothing is executed: the header, which a quorum certified, commits to every event and every receipt, and what lists them
follows from those alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from ledger import keyspace
from ledger.block import (
    BATCH_EVENTS_MAX,
    Header,
    StoredEvent,
    compute_event_leaf,
    decode_header,
)
from ledger.chain import read_stored_block
from ledger.erasure import read_erasure
from ledger.events import CheckedEvent, Entry, EventRefused, SignedEvent, compute_event_id
from ledger.history import encode_history, read_history
from ledger.log_rows import list_log_rows
from ledger.primitives import merkle
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import Length
from ledger.reading import Snapshot
from ledger.receipts import APPLIED, SKIPPED, Receipt, decode_receipt
from ledger.storage import Storage
from ledger.transition import list_index

RECEIPTS_MAX = 65_536
RECEIPT_BYTES_MAX = 256 * 1024
Checked = CheckedEvent | EventRefused
_NOBODY = bytes(32)


class BlockInvalid(ValueError):
    """Events or receipts that are not those that a header commits to."""


@dataclass(frozen=True, slots=True)
class BlockContent:
    """What a header commits to: the signed events, in order, and all receipts."""

    items: Annotated[tuple[SignedEvent, ...], Length(0, BATCH_EVENTS_MAX)]
    receipts: Annotated[tuple[Annotated[bytes, Length(1, RECEIPT_BYTES_MAX)], ...], Length(0, RECEIPTS_MAX)]


def read_content(snapshot: Snapshot, height: int) -> BlockContent | None:
    """Return what a block holds beside its header; None where it is not here."""
    block = read_stored_block(snapshot, height)
    if block is None:
        return None
    header = decode_header(block.header)
    first = header.log_size - header.event_count
    receipts = snapshot.iterate(keyspace.receipt(first), keyspace.receipt(header.log_size))
    return BlockContent(block.items, tuple(data for _, data in receipts))


def verify_content(header: Header, content: BlockContent) -> tuple[Receipt, ...]:
    """Return the receipts of a block.  Raises BlockInvalid."""
    if merkle.compute_root([compute_event_leaf(item) for item in content.items]) != header.event_root:
        raise BlockInvalid(f"height {header.height}: the events are not those of the header")
    if merkle.compute_root([merkle.leaf_hash(data) for data in content.receipts]) != header.receipt_root:
        raise BlockInvalid(f"height {header.height}: the receipts are not those of the header")
    try:
        return tuple(decode_receipt(data) for data in content.receipts)
    except EncodingError as error:  # a quorum signed it: other software than ours
        raise BlockInvalid(f"height {header.height}: {error}") from error


def fill_block(store: Storage, header: Header, content: BlockContent, check: Callable[..., Sequence[Checked]]) -> None:
    """Write what a block of the lowest gap holds; the gap then begins above it.  Blocks on the disk.

    check: gives, for signed events of history, what `check_event` gives or raises.  Raises BlockInvalid, and writes
    nothing then.
    """
    receipts = verify_content(header, content)
    checked = check(content.items)
    for item, each in zip(content.items, checked, strict=True):
        if isinstance(each, EventRefused) and item.payload is not None:
            raise BlockInvalid(f"height {header.height}: a payload does not belong to its event: {each.because}")
    first = header.log_size - header.event_count
    stored: list[StoredEvent | None] = []
    puts: list[tuple[bytes, bytes]] = []
    signed = iter(zip(content.items, checked, strict=True))
    for receipt in receipts:
        if receipt.outcome != SKIPPED:
            puts += [(key, b"") for key in list_index(receipt.event_type, receipt.author, receipt.log_index)]
        if receipt.outcome != SKIPPED and receipt.author == _NOBODY:
            stored.append(None)  # derived
            continue
        item, event = next(signed)
        assert compute_event_id(item.event) == receipt.event_id, "receipts answer the events in their order"
        content_ref = None
        if isinstance(event, CheckedEvent) and receipt.event_type:  # without a type: refused for its form or signature
            content_ref = None if event.kind.content is None else event.kind.content(event.body).hash
            if receipt.outcome == APPLIED:
                puts += [(key, receipt.event_id) for key in event.kind.index(_make_entry(event, receipt, header))]
                has_erased = content_ref is not None and read_erasure(store, content_ref) is not None
                if content_ref is not None and item.payload is not None and not has_erased:
                    puts.append((keyspace.payload(content_ref), item.payload))
        stored.append(StoredEvent(content_ref, item.event, item.signature))

    def is_known(event_id: bytes, log_index: int) -> bool:
        place = store.get(keyspace.event_id(event_id))
        if place is None:
            return False
        known = store.get(keyspace.receipt(int.from_bytes(place, "big")))
        # A later copy that was skipped was written first: the earlier one takes its place.
        is_later = int.from_bytes(place, "big") > log_index
        return not is_later or known is None or decode_receipt(known).outcome != SKIPPED

    puts += list_log_rows(receipts, content.receipts, stored, is_known)
    leaves = [merkle.leaf_hash(data) for data in content.receipts]
    nodes, _ = merkle.append_leaves(first, leaves, _make_reader(store))
    puts += [(keyspace.log_node(*place), node) for place, node in sorted(nodes.items())]
    puts.append(encode_history(read_history(store).filled_to(header.height)))
    store.write(puts, [], sync=False)


def _make_reader(store: Storage) -> merkle.ReadNode:
    """Return what reads the complete nodes of the log below a gap."""

    def read(level: int, index: int) -> bytes:
        node = store.get(keyspace.log_node(level, index))
        assert node is not None, f"the log tree's node {level}/{index} is missing below a gap"
        return node

    return read


def _make_entry(event: CheckedEvent, receipt: Receipt, header: Header) -> Entry[Any]:
    return Entry(
        event.event_id, event.event.author, event.event.key, event.event.nonce, event.body, event.payload,
        receipt.height, receipt.log_index, receipt.beat, header.time_ms, header.chain_id,
    )  # fmt: skip
