"""A snapshot on its way into a store: collected beside what is there, then put in its place as a whole.

Everything that is fetched lies under the staging prefix until it is complete and proven, so a node that is stopped
goes on where it was, and serves its old state meanwhile.  `install` first writes, synced, that it has begun; from then
on opening the store finishes it, however often it is cut off.  Events and receipts below the old head stay; those up
to the snapshot's height are noted as missing (`ledger.history`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from ledger import keyspace
from ledger.block import Header, compute_header_hash, decode_header
from ledger.head import decode_head, encode_head
from ledger.history import encode_history, read_history
from ledger.primitives import lthash
from ledger.primitives.records import U64, Bytes32, Length, decode_record, encode_record
from ledger.snapshots import PAGES, ProvenPage, SnapshotInvalid, list_log_edge
from ledger.state import read_record
from ledger.state_pages import TreeVersion, encode_page, list_sum_rows, page_row
from ledger.state_tree import Subtree
from ledger.storage import Storage

KEYS_AT_ONCE = 2_048
SEGMENT_PAGES = 256
SEGMENTS = PAGES // SEGMENT_PAGES
"""The pages are fetched in so many runs, each from its first page up, from any peer."""
_REPLACED = (
    keyspace.STATE, keyspace.UNDO, keyspace.UNDO_KEYS, keyspace.TREE_ROW, keyspace.TREE_UNDO, keyspace.TREE_ROWS,
    keyspace.TREE_VERSION,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """Which snapshot is fetched: the state after a height in which an epoch began, and its certified root."""

    epoch: U64
    height: U64
    root: Bytes32


@dataclass(frozen=True, slots=True)
class _Install:
    """Written first: from here on the snapshot replaces what is there."""

    lanes: Annotated[bytes, Length(lthash.LANES_BYTES)]
    plan: Plan


class Staging:
    """The staged part of a store.  All methods block on the disk."""

    def __init__(self, store: Storage) -> None:
        self._store = store

    @property
    def plan(self) -> Plan | None:
        """What is being fetched."""
        return read_record(self._store, keyspace.META_STAGED, Plan)

    # Headers.

    def highest_header(self, above: int) -> tuple[int, bytes] | None:
        """Return the height and the bytes of the highest staged header above a height."""
        start = keyspace.staged(keyspace.header(above + 1))
        stop = keyspace.staged(keyspace.after(keyspace.HEADER))
        with self._store.snapshot() as snapshot:
            for key, value in snapshot.iterate(start, stop, reverse=True):
                return int.from_bytes(key[-8:], "big"), value
        return None

    def read_header(self, height: int) -> Header | None:
        data = self._store.get(keyspace.staged(keyspace.header(height)))
        return None if data is None else decode_header(data)

    def put_headers(
        self,
        first: int,
        headers: tuple[bytes, ...],
        certificates: tuple[tuple[int, bytes], ...],
        validators: bytes | None,
    ) -> None:
        """Keep proven headers in order of height, certificates by height, and the set that the last header names."""
        puts = [(keyspace.staged(keyspace.header(first + place)), data) for place, data in enumerate(headers)]
        puts += [(keyspace.staged(keyspace.certificate(height)), data) for height, data in certificates]
        if validators is not None:
            puts.append((keyspace.META_STAGED_VALIDATORS, validators))
        self._store.write(puts, [], sync=False)

    def read_validators(self) -> bytes | None:
        """Return the set that follows the highest staged header that changed it."""
        return self._store.get(keyspace.META_STAGED_VALIDATORS)

    # Pages.

    def begin(self, plan: Plan) -> None:
        """Begin to collect the pages of a snapshot, or go on; pages of another one are dropped."""
        if self.plan == plan:
            return
        for prefix in (keyspace.STATE, keyspace.TREE_ROW, keyspace.LOG_NODE, keyspace.CHUNK):
            _delete(self._store, keyspace.staged(prefix))
        self._store.write([(keyspace.META_STAGED, encode_record(plan))], [], sync=False)

    def next_page(self, segment: int) -> int:
        """Return the first page of a segment that is not here yet; the segment's end when it is complete."""
        data = self._store.get(keyspace.staged_chunk(segment))
        return segment * SEGMENT_PAGES if data is None else int.from_bytes(data, "big")

    def put_pages(self, segment: int, pages: list[ProvenPage], next_page: int) -> None:
        """Keep proven pages; the segment is complete below `next_page`."""
        puts: list[tuple[bytes, bytes]] = []
        for page in pages:
            puts += [(keyspace.staged(key), value) for key, value in page.items]
            row = encode_page([(key, leaf) for (key, _), leaf in zip(page.items, page.leaves, strict=True)])
            puts.append((keyspace.staged(page_row(page.page)), row))
        puts.append((keyspace.staged_chunk(segment), next_page.to_bytes(4, "big")))
        self._store.write(puts, [], sync=False)

    def put_sums(self, sums: dict[int, Subtree], log_edge: tuple[bytes, ...], log_size: int) -> None:
        """Keep what a proven manifest says."""
        puts = [(keyspace.staged(key), value) for key, value in list_sum_rows(sums)]
        for place, node in zip(list_log_edge(log_size), log_edge, strict=True):
            puts.append((keyspace.staged(keyspace.log_node(*place)), node))
        self._store.write(puts, [], sync=False)

    def is_complete(self) -> bool:
        return all(self.next_page(segment) == (segment + 1) * SEGMENT_PAGES for segment in range(SEGMENTS))

    def discard(self) -> None:
        """Drop everything that is staged."""
        self._store.write([], [keyspace.META_STAGED, keyspace.META_STAGED_VALIDATORS], sync=False)
        _delete(self._store, keyspace.STAGED)

    # Installing.

    def install(self) -> None:
        """Put the complete snapshot in the place of the state; about 20 µs a key.

        Raises SnapshotInvalid, and changes nothing then.
        """
        plan = self.plan
        assert plan is not None, "a snapshot was planned"
        assert self.is_complete(), "all pages are here"
        header = self.read_header(plan.height)
        assert header is not None, "the snapshot's header is here"
        prefix = keyspace.staged(keyspace.STATE)
        pairs = ((key[1:], value) for key, value in self._store.iterate(prefix, keyspace.after(prefix)))
        lanes = lthash.combine(lthash.EMPTY, [], pairs)
        if lthash.digest(lanes) != header.state_digest:
            raise SnapshotInvalid(f"height {plan.height}: the pages do not have the state digest of the header")
        self._store.write([(keyspace.META_INSTALLING, encode_record(_Install(lanes, plan)))], [])
        finish_install(self._store)


def finish_install(store: Storage) -> bool:
    """Carry an installation that has begun to its end; return whether there was one."""
    begun = store.get(keyspace.META_INSTALLING)
    if begun is None:
        return False
    install = decode_record(_Install, begun)
    plan = install.plan
    for prefix in _REPLACED:
        _delete(store, prefix)
    for some in _in_parts(_list_staged(store)):
        store.write(some, [], sync=False)
    header_bytes = store.get(keyspace.header(plan.height))
    assert header_bytes is not None, "the snapshot's header was staged"
    old_head, _ = decode_head(store.get(keyspace.META_HEAD) or b"")
    tree = encode_record(TreeVersion(plan.height, plan.root, plan.epoch))
    store.write(
        [
            (keyspace.META_HEAD, encode_head(plan.height, compute_header_hash(header_bytes))),
            (keyspace.META_LANES, install.lanes),
            (keyspace.META_UNDO_FLOOR, keyspace.u64(plan.height)),
            (keyspace.META_TREE, tree),
            (keyspace.tree_version(plan.epoch), tree),
            (keyspace.epoch_start(plan.epoch), keyspace.u64(plan.height)),
            encode_history(read_history(store).with_gap(old_head + 1, plan.height)),
        ],
        [keyspace.META_INSTALLING, keyspace.META_STAGED, keyspace.META_STAGED_VALIDATORS],
    )
    _delete(store, keyspace.STAGED)
    return True


def _list_staged(store: Storage) -> Iterator[tuple[bytes, bytes]]:
    markers = keyspace.staged(keyspace.CHUNK)
    plan = read_record(store, keyspace.META_INSTALLING, _Install)
    assert plan is not None, "an installation has begun"
    above = [
        (keyspace.staged(make(plan.plan.height + 1)), keyspace.staged(make(keyspace.HEIGHT_MAX)))
        for make in (keyspace.header, keyspace.certificate)
    ]
    for key, value in store.iterate(keyspace.STAGED, keyspace.after(keyspace.STAGED)):
        # What is above the snapshot comes with the blocks.
        if not key.startswith(markers) and not any(start <= key < stop for start, stop in above):
            yield key[1:], value


def _in_parts(items: Iterator[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    part: list[tuple[bytes, bytes]] = []
    for item in items:
        part.append(item)
        if len(part) == KEYS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _delete(store: Storage, prefix: bytes) -> None:
    keys: list[bytes] = []
    with store.snapshot() as snapshot:
        for key, _ in snapshot.iterate(prefix, keyspace.after(prefix), values=False):
            keys.append(key)
            if len(keys) == KEYS_AT_ONCE:
                store.write([], keys, sync=False)
                keys = []
    if keys:
        store.write([], keys, sync=False)
