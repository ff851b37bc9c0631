"""The chain on disk: genesis, execution at the head, one synced write per height, and the checks at start.

One thread writes (`execute`); any thread may read snapshots.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ledger import keyspace
from ledger.block import (
    HEADER_VERSION,
    Batch,
    Header,
    StoredBlock,
    StoredEvent,
    compute_event_leaf,
    compute_header_hash,
    decode_header,
    encode_header,
)
from ledger.draft import Draft
from ledger.events import CheckedEvent, EventRefused, Put, SignedEvent, check_event
from ledger.genesis import Genesis, compute_chain_id, compute_validators_hash, decode_policies
from ledger.head import decode_head, encode_head
from ledger.history import read_history
from ledger.identity import make_account
from ledger.log_rows import list_log_rows
from ledger.migrations import FORMAT, migrate
from ledger.policies import compute_genesis_policies, compute_policy_root
from ledger.primitives import lthash, merkle
from ledger.primitives.encoding import EncodingError
from ledger.primitives.hashing import ZERO_HASH
from ledger.primitives.ids import compute_account_id
from ledger.primitives.records import decode_record, encode_record
from ledger.reading import Snapshot
from ledger.registry import Registry
from ledger.service import Validators, list_era_writes, read_validators, read_validators_at
from ledger.staging import Staging, finish_install
from ledger.standing import open_standing
from ledger.state_pages import VERSIONS_KEPT, TreeVersion, build_first, build_next, read_version
from ledger.state_tree import compute_subtree, make_leaf
from ledger.storage import Storage, StoreDamaged
from ledger.tokens import FLX, issue
from ledger.transition import Executed, Parent, execute_batch
from ledger.undo import UNDO_BLOCKS, encode_undo, list_undo_keys

REFERENCES_CACHED = 4_096
CACHED_KEYS_MAX = 65_536
"""How many values of the state execution keeps at hand; when it is full, it begins anew."""
PRUNED_AT_ONCE = 64
"""How many undo records one block drops: an epoch's can be dropped at its end, but not all in one go."""
CHECKED_BLOCKS = 512
"""At start the newest this many blocks are compared with their headers; `atlas verify` replays all."""


class _Nothing:
    """The state before genesis."""

    def get(self, key: bytes) -> bytes | None:
        return None


NOTHING = _Nothing()
OnFault = Callable[[str, str], None]
"""(what, why)"""
CheckEvents = Callable[[tuple[SignedEvent, ...]], tuple[CheckedEvent | EventRefused, ...]]


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block."""

    height: int
    hash: bytes
    header: Header


class Chain:
    """A chain in a store.  `head` changes when a block is durable, never before."""

    def __init__(
        self,
        store: Storage,
        genesis: Genesis,
        registry: Registry,
        *,
        on_fault: OnFault | None = None,
        on_migration: Callable[[str], None] = lambda message: None,
    ) -> None:
        """Open the chain, or start it from genesis.  Raises StoreDamaged when the store can't be trusted.

        on_fault: told, in place of StoreDamaged, of faults that leave blocks and receipts to be read: "state" when
        the state is not the head's, "rules" when the software is not the chain's.  Nothing may be executed then.
        on_migration: told what is done to a store of an earlier format, which may take long.
        """
        self._on_fault = on_fault
        self.store = store
        self.genesis = genesis
        self.registry = registry
        self.chain_id = compute_chain_id(genesis)
        self._references: OrderedDict[int, tuple[bytes, int]] = OrderedDict()
        self._cached: dict[bytes, bytes | None] = {}  # of the store, as the last commit left it
        self._undo_floor = 0
        self._epoch_starts: dict[int, int] = {}  # of the one epoch that was asked for last
        self.tree_builder: Callable[[], object] | None = None
        """Calls `build_tree`, one call at a time, and may have done so when an epoch began; None: `commit` does."""
        if next(store.iterate(b"", b"\xff"), None) is None:
            self._write_genesis()
        migrate(store, on_migration)  # before an installation that was cut off: that is of this format
        finish_install(store)
        self.head, self._lanes = self._open()
        self.validators = self._read_validators()
        """The set that orders and certifies the height above the head."""

    def install_snapshot(self) -> None:
        """Replace the state by the snapshot that is staged, and go on from its height.

        Nothing else may execute meanwhile, and the state tree may not be built.  Blocks on the disk.  Raises
        SnapshotInvalid, and changes nothing then.
        """
        Staging(self.store).install()
        self._cached.clear()
        self._references.clear()
        self._epoch_starts.clear()
        head, self._lanes = self._open()
        self.validators = self._read_validators()
        self.head = head

    # Reading.

    def validators_at(self, height: int) -> Validators:
        """Return the set that orders and certifies a height, up to the one above the head.  Raises StoreDamaged."""
        if height >= self.validators.since:
            return self.validators
        found = read_validators_at(self.store, height)
        if found is None:
            raise StoreDamaged(f"{self.store.path}: the validator set of height {height} is missing")
        return found

    def _read_validators(self) -> Validators:
        found = read_validators(self.store)
        if found is None:
            raise StoreDamaged(f"{self.store.path}: the validator set is missing")
        return found

    def read_log_node(self, level: int, index: int) -> bytes:
        node = self.store.get(keyspace.log_node(level, index))
        if node is None:
            raise StoreDamaged(f"{self.store.path}: the log tree's node {level}/{index} is missing")
        return node

    def references(self, height: int) -> tuple[bytes, int] | None:
        """Return the header hash and the beat of a height; None above the head."""
        if height > self.head.height:
            return None
        known = self._references.get(height)
        if known is None:
            data = self.store.get(keyspace.header(height))
            if data is None:
                raise StoreDamaged(f"{self.store.path}: the header of height {height} is missing")
            known = self._remember(height, compute_header_hash(data), decode_header(data).beat)
        return known

    def read_header(self, height: int) -> Header | None:
        data = self.store.get(keyspace.header(height))
        return None if data is None else decode_header(data)

    def read_certificate(self, height: int) -> bytes | None:
        return self.store.get(keyspace.certificate(height))

    def read_block(self, height: int) -> StoredBlock | None:
        """Return a block as peers exchange it; the certificate is empty until a quorum has signed."""
        with self.store.snapshot() as snapshot:
            return read_stored_block(snapshot, height)

    def check_events(
        self, items: tuple[SignedEvent, ...], *, certified: bool = False
    ) -> tuple[CheckedEvent | EventRefused, ...]:
        """Check events from history, whose payloads may be gone.  certified: as `check_event` takes it."""
        results: list[CheckedEvent | EventRefused] = []
        for signed in items:
            try:
                checked = check_event(self.registry, self.chain_id, signed, payload_required=False, certified=certified)
                results.append(checked)
            except EventRefused as refused:
                results.append(refused)
        return tuple(results)

    # Writing.

    def execute(self, batch: Batch | None, checked: tuple[CheckedEvent | EventRefused, ...]) -> Executed:
        """Execute the next batch and make it durable.  Blocks on the disk: call it from one thread."""
        executed = self.compute(batch, checked)
        self.commit(executed)
        return executed

    def compute(self, batch: Batch | None, checked: tuple[CheckedEvent | EventRefused, ...]) -> Executed:
        """Execute the next batch without writing anything."""
        return execute_batch(
            batch,
            checked,
            Parent(self.head.header, self.head.hash, self._lanes),
            epoch_beats=self.genesis.epoch_beats,
            read=self._read_state,
            read_log_node=self.read_log_node,
            references=self.references,
            commit_state=self.commit_state,
            stack=self.registry.stack,
            at_close=self.registry.at_close,
        )

    def commit(self, executed: Executed, *, synced: bool = True) -> None:
        """Write what `compute` gave, all or nothing; then it is the head.

        synced: a power failure loses none of it.  Otherwise it may lose the newest blocks, but never a part of one.
        """
        header = executed.header
        height = header.height
        assert height == self.head.height + 1, "blocks are written in order"
        assert header.previous == self.head.hash, "a block is written on the one that it was executed on"
        puts: list[tuple[bytes, bytes]] = [
            (keyspace.header(height), executed.header_bytes),
            (keyspace.META_HEAD, encode_head(height, executed.hash)),
            (keyspace.META_LANES, executed.lanes),
        ]
        deletes: list[bytes] = []
        undo: list[tuple[bytes, bytes | None]] = []
        for key, before, after in executed.changes:
            if after is None:
                deletes.append(key)
            else:
                puts.append((key, after))
            if key[:1] == keyspace.STATE:
                undo.append((key, before))
        begins_epoch = header.epoch != self.head.header.epoch
        if begins_epoch:
            puts.append((keyspace.epoch_start(header.epoch), keyspace.u64(height)))
        puts.extend(encode_undo(height, undo))
        puts.extend(list_log_rows(executed.receipts, executed.receipt_bytes, executed.stored, self._is_known))
        puts.extend((keyspace.log_node(*where), node) for where, node in sorted(executed.log_nodes.items()))
        puts.extend((keyspace.payload(content_hash), data) for content_hash, data in executed.payloads)
        floor = self._prune(height, puts, deletes)
        self.store.write(puts, deletes, sync=synced)
        cached = self._cached
        for key, _, after in executed.changes:
            if key in cached:
                cached[key] = after
        self._undo_floor = floor
        self._lanes = executed.lanes
        self._remember(height, executed.hash, header.beat)
        if header.validators_hash != self.head.header.validators_hash:
            self.validators = self._read_validators()  # before the head: who sees the head knows who goes on from it
        self.head = Head(height, executed.hash, header)
        if begins_epoch and self.tree_builder is None:
            self.build_tree()

    def build_tree(self) -> TreeVersion:
        """Bring the state tree up to the begin of the head's epoch; return its newest version.

        Blocks on the disk.  Runs in any thread, beside the one that executes, but not twice at a time.
        """
        epoch = self.head.header.epoch
        newest = decode_record(TreeVersion, self._read(keyspace.META_TREE, "state tree's version"))
        while newest.version < epoch:
            start = self._read(keyspace.epoch_start(newest.version + 1), f"begin of epoch {newest.version + 1}")
            newest = build_next(self.store, int.from_bytes(start, "big"), newest)
        return newest

    def commit_state(self, epoch: int) -> tuple[int, bytes]:
        """Return the height in which an epoch began, and the root of the state tree after it; build it if need be."""
        found = read_version(self.store, epoch)
        if found is None:
            (self.tree_builder or self.build_tree)()
            found = read_version(self.store, epoch)
        assert found is not None, f"the state tree of epoch {epoch} is not kept"
        return found.height, found.root

    def _is_known(self, event_id: bytes, log_index: int) -> bool:
        return self.store.get(keyspace.event_id(event_id)) is not None

    def _read_state(self, key: bytes) -> bytes | None:
        cached = self._cached
        if key in cached:
            return cached[key]
        if len(cached) >= CACHED_KEYS_MAX:
            cached.clear()
        value = cached[key] = self.store.get(key)
        return value

    def write_certificate(self, height: int, certificate: bytes, *, sync: bool = False) -> None:
        """Keep a block's certificate.  Usually not synced: it can be fetched again from any peer."""
        self.store.write([(keyspace.certificate(height), certificate)], [], sync=sync)

    def _prune(self, height: int, puts: list[tuple[bytes, bytes]], deletes: list[bytes]) -> int:
        floor = max(self._undo_floor, min(height - UNDO_BLOCKS, self._undo_floor + PRUNED_AT_ONCE, self._oldest_tree()))
        for old in range(self._undo_floor + 1, floor + 1):
            keys = self.store.get(keyspace.undo_keys(old))
            if keys is not None:
                deletes.extend(list_undo_keys(old, keys))
        if floor != self._undo_floor:
            puts.append((keyspace.META_UNDO_FLOOR, keyspace.u64(floor)))
        return floor

    def _oldest_tree(self) -> int:
        """Return the lowest height whose state the state tree's versions are read with."""
        epoch = max(0, self.head.header.epoch - VERSIONS_KEPT)
        if epoch not in self._epoch_starts:
            start = self.store.get(keyspace.epoch_start(epoch))
            self._epoch_starts = {epoch: 0 if start is None else int.from_bytes(start, "big")}
        return self._epoch_starts[epoch]

    def _remember(self, height: int, header_hash: bytes, beat: int) -> tuple[bytes, int]:
        known = self._references[height] = (header_hash, beat)
        while len(self._references) > REFERENCES_CACHED:
            self._references.popitem(last=False)
        return known

    # Start.

    def _write_genesis(self) -> None:
        header, lanes, state = compute_genesis_block(self.genesis, self.registry)
        header_bytes = encode_header(header)
        puts = [
            *state,
            (keyspace.header(0), header_bytes),
            (keyspace.META_HEAD, encode_head(0, compute_header_hash(header_bytes))),
            (keyspace.META_LANES, lanes),
            (keyspace.META_GENESIS, encode_record(self.genesis)),
            (keyspace.META_FORMAT, keyspace.u64(FORMAT)),
            (keyspace.META_UNDO_FLOOR, keyspace.u64(0)),
            *build_first(state, 0, 0),
        ]
        self.store.write(puts, [])

    def _open(self) -> tuple[Head, bytes]:
        where = self.store.path
        if self.store.get(keyspace.META_GENESIS) != encode_record(self.genesis):
            raise StoreDamaged(f"{where}: the store belongs to another genesis than the configured one")
        head_data = self._read(keyspace.META_HEAD, "head record")
        lanes = self._read(keyspace.META_LANES, "lanes")
        floor = self._read(keyspace.META_UNDO_FLOOR, "lowest readable height")
        try:
            height, head_hash = decode_head(head_data)
        except EncodingError as error:
            raise StoreDamaged(f"{where}: the head record is damaged: {error}") from error
        self._undo_floor = int.from_bytes(floor, "big")
        if self._undo_floor > height:
            raise StoreDamaged(f"{where}: the lowest readable height {self._undo_floor} is above the head {height}")
        header = self._verify_headers(height, head_hash)
        self._verify_state(header, lanes)
        return Head(height, head_hash, header), lanes

    def _read(self, key: bytes, what: str) -> bytes:
        data = self.store.get(key)
        if data is None:
            raise StoreDamaged(f"{self.store.path}: the {what} is missing")
        return data

    def _verify_headers(self, height: int, head_hash: bytes) -> Header:
        """Walk down from the head: every header hashes to what the one above names, and covers its receipts."""
        expected, first = head_hash, None
        with self.store.snapshot() as snapshot:
            history = read_history(snapshot)
            for at in range(height, max(-1, height - CHECKED_BLOCKS), -1):
                data = snapshot.get(keyspace.header(at))
                if data is None or compute_header_hash(data) != expected:
                    raise StoreDamaged(f"{self.store.path}: the header of height {at} is missing or edited")
                header = decode_header(data)
                if not history.misses(at):
                    _verify_block(self.store, snapshot, header)
                first = first or header
                expected = header.previous
        assert first is not None
        if first.rules_root != self.registry.compute_root():
            self._find_fault("rules", "the chain runs under other rules than this software has")
        if merkle.root_at(first.log_size, self.read_log_node) != first.log_root:
            raise StoreDamaged(f"{self.store.path}: the log tree does not have the root that the head commits to")
        return first

    def _verify_state(self, header: Header, lanes: bytes) -> None:
        """Recompute the digest over every state key; about 5 µs a key."""
        found = lthash.combine(lthash.EMPTY, [], self.store.iterate(keyspace.STATE, keyspace.after(keyspace.STATE)))
        if lthash.digest(found) == header.state_digest and found != lanes:
            self._find_fault("state", "the lanes are not those of the state")
        elif found != lanes:
            self._find_fault(
                "state",
                f"the state does not have the digest that the head (height {header.height}) commits "
                f"to; remove the store and let the node fetch the chain again",
            )

    def _find_fault(self, what: str, why: str) -> None:
        if self._on_fault is None:
            raise StoreDamaged(f"{self.store.path}: {why}")
        self._on_fault(what, f"{self.store.path}: {why}")


def compute_genesis_block(genesis: Genesis, registry: Registry) -> tuple[Header, bytes, list[tuple[bytes, bytes]]]:
    """Return the header of height 0, the LtHash lanes, and the state that it commits to."""
    chain_id = compute_chain_id(genesis)
    draft = Draft(NOTHING)
    for key, value in compute_genesis_policies(decode_policies(genesis)):
        draft.put(key, value)
    draft.write(list_era_writes(Validators(genesis.validators)))
    for each in genesis.allocations:
        account_id = compute_account_id(chain_id, each.key)
        draft.put(keyspace.account(account_id), encode_record(make_account(each.key, 0)))
        open_standing(draft, account_id, 0, founder=True)
        issue(draft, FLX, account_id, each.atoms)
    state = {write.key: write.value for write in draft.writes() if isinstance(write, Put)}
    ordered = sorted(state.items())
    lanes = lthash.combine(lthash.EMPTY, [], ordered)
    header = Header(
        beat=0,
        chain_id=chain_id,
        epoch=0,
        event_count=0,
        event_root=merkle.compute_root([]),
        height=0,
        log_root=merkle.compute_root([]),
        log_size=0,
        policy_root=compute_policy_root(state[keyspace.policies()]),
        previous=ZERO_HASH,
        proposer=None,
        receipt_root=merkle.compute_root([]),
        rules_root=registry.compute_root(),
        state_digest=lthash.digest(lanes),
        state_height=0,
        state_root=compute_subtree(sorted(make_leaf(key, value) for key, value in ordered)).hash,
        time_ms=genesis.time_ms,
        validators_hash=compute_validators_hash(genesis.validators),
        version=HEADER_VERSION,
        view=0,
    )
    return header, lanes, ordered


def read_stored_block(snapshot: Snapshot, height: int) -> StoredBlock | None:
    """Return a block with its payloads where they are still held, or None; also where only its header is here."""
    header_bytes = snapshot.get(keyspace.header(height))
    if header_bytes is None or read_history(snapshot).misses(height):
        return None
    header = decode_header(header_bytes)
    items: list[SignedEvent] = []
    first = header.log_size - header.event_count
    for _, data in snapshot.iterate(keyspace.event(first), keyspace.event(header.log_size)):
        stored = decode_record(StoredEvent, data)
        payload = None if stored.content is None else snapshot.get(keyspace.payload(stored.content))
        items.append(SignedEvent(stored.event, payload, stored.signature))
    certificate = snapshot.get(keyspace.certificate(height)) or b""
    return StoredBlock(certificate, header_bytes, tuple(items))


def make_batch(header: Header, parent: Header, items: tuple[SignedEvent, ...]) -> Batch | None:
    """Return the batch that gives this header when it is executed on its parent."""
    if header.proposer is None:
        return None
    return Batch(header.beat != parent.beat, header.height, items, header.proposer, header.time_ms, header.view)


def _verify_block(store: Storage, snapshot: Snapshot, header: Header) -> None:
    """Compare a block's stored events and receipts with its header.  Raises StoreDamaged."""
    first = header.log_size - header.event_count
    stop = header.log_size
    receipts = [data for _, data in snapshot.iterate(keyspace.receipt(first), keyspace.receipt(stop))]
    if merkle.compute_root([merkle.leaf_hash(data) for data in receipts]) != header.receipt_root:
        raise StoreDamaged(f"{store.path}: a receipt of height {header.height} is missing or edited")
    events = [data for _, data in snapshot.iterate(keyspace.event(first), keyspace.event(stop))]
    try:
        leaves = [compute_event_leaf(decode_record(StoredEvent, data)) for data in events]
    except EncodingError as error:
        raise StoreDamaged(f"{store.path}: an event of height {header.height} is edited: {error}") from error
    if merkle.compute_root(leaves) != header.event_root:
        raise StoreDamaged(f"{store.path}: an event of height {header.height} is missing or edited")
