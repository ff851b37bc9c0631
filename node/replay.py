"""Replay: execute a stored chain again from genesis, and compare every header, certificate and the final state."""

import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from consensus.messages import Certificate
from consensus.quorum import verify_certificate
from ledger import keyspace
from ledger.archive.blocks import to_stored_block
from ledger.archive.collection import Archive
from ledger.block import StoredBlock, StoredEvent, compute_header_hash, decode_header
from ledger.chain import Chain, make_batch, read_stored_block
from ledger.genesis import Genesis
from ledger.history import read_history
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import decode_record
from ledger.registry import Registry
from ledger.store import Store
from node.eras import make_parameters

Progress = Callable[[int, int], None]


class ReplayFailed(RuntimeError):
    """The stored chain is not what its events give; the message names the first height that differs."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found equal."""

    height: int
    events: int
    certificates: int
    payloads_missing: int
    """Texts that are not held, those that were erased included."""
    payloads_erased: int
    state_keys: int
    header_hash: bytes
    state_digest: bytes


def replay_chain(
    store: Store, genesis: Genesis, registry: Registry, progress: Progress = lambda at, of: None
) -> Replayed:
    """Execute everything in `store` again, in a store of its own.  Raises ReplayFailed and StoreDamaged."""
    chain = Chain(store, genesis, registry)
    history = read_history(store)
    if history.pruned_to:
        raise ReplayFailed(
            f"the blocks up to height {history.pruned_to} are pruned here; replay the archive that has them with "
            "`atlas archive verify`"
        )
    if history.gaps:
        raise ReplayFailed(
            f"{history.blocks} blocks from height {history.gaps[0].first} on are not here yet, as the node began from "
            "a snapshot; let it run until it has fetched them"
        )
    with _open_copy(genesis, registry) as copy, chain.store.snapshot() as snapshot:
        counts = _replay(copy, lambda height: read_stored_block(snapshot, height), chain.head.height, progress)
        return _conclude(copy, counts, _compare_state(chain, copy))


def replay_archive(
    archive: Archive, genesis: Genesis, registry: Registry, progress: Progress = lambda at, of: None
) -> Replayed:
    """Execute everything in an archive, from genesis alone.  Raises ReplayFailed, SegmentDamaged and StoreDamaged.

    Receipts and the state need no comparison of their own: each header commits to both.
    """

    def read_block(height: int) -> StoredBlock | None:
        block = archive.read_block(height)
        try:
            return None if block is None else to_stored_block(block)
        except EncodingError as error:
            raise ReplayFailed(f"height {height}: a stored event is malformed: {error}") from error

    with _open_copy(genesis, registry) as copy:
        counts = _replay(copy, read_block, archive.height, progress)
        return _conclude(copy, counts, _count_state(copy))


@contextmanager
def _open_copy(genesis: Genesis, registry: Registry) -> Generator[Chain]:
    """Give a chain that is at genesis, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="atlas-replay-") as folder:
        copy_store = Store(Path(folder))
        try:
            yield Chain(copy_store, genesis, registry)
        finally:
            copy_store.close()


@dataclass(slots=True)
class _Counts:
    certificates: int = 0
    payloads_missing: int = 0


def _replay(
    copy: Chain, read_block: Callable[[int], StoredBlock | None], head: int, progress: Progress
) -> _Counts:  # fmt: skip
    counts = _Counts()
    for height in range(1, head + 1):
        block = read_block(height)
        if block is None:
            raise ReplayFailed(f"height {height}: the block is missing")
        header = decode_header(block.header)
        expected = compute_header_hash(block.header)
        if block.certificate:
            certificate = decode_record(Certificate, block.certificate)
            if (certificate.seq, certificate.digest) != (height, expected):
                raise ReplayFailed(f"height {height}: the certificate is for another block")
            try:
                verify_certificate(make_parameters(copy.chain_id, copy.validators), certificate)
            except ValueError as error:
                raise ReplayFailed(f"height {height}: the certificate does not verify: {error}") from error
            counts.certificates += 1
        checked = copy.check_events(block.items)
        executed = copy.compute(make_batch(header, copy.head.header, block.items), checked)
        if executed.hash != expected:
            different = [
                name for name in header.__slots__ if getattr(header, name) != getattr(executed.header, name)
            ]  # fmt: skip
            raise ReplayFailed(f"height {height}: replay gives another header; different: {', '.join(different)}")
        counts.payloads_missing += sum(
            1 for stored, item in zip(_signed_only(executed.stored), block.items, strict=True)
            if stored.content is not None and item.payload is None
        )  # fmt: skip
        copy.commit(executed)
        progress(height, head)
    return counts


def _conclude(copy: Chain, counts: _Counts, state_keys: int) -> Replayed:
    head = copy.head
    return Replayed(
        height=head.height,
        events=head.header.log_size,
        certificates=counts.certificates,
        payloads_missing=counts.payloads_missing,
        payloads_erased=sum(1 for _ in copy.store.iterate(keyspace.ERASURE, keyspace.after(keyspace.ERASURE))),
        state_keys=state_keys,
        header_hash=head.hash,
        state_digest=head.header.state_digest,
    )


def _signed_only(stored: tuple[StoredEvent | None, ...]) -> list[StoredEvent]:
    return [each for each in stored if each is not None]


def _count_state(chain: Chain) -> int:
    return sum(1 for _ in chain.store.iterate(keyspace.STATE, keyspace.after(keyspace.STATE)))


def _compare_state(chain: Chain, copy: Chain) -> int:
    """Compare every state and index key, and the moves that are kept.  Raises ReplayFailed naming the first fault."""
    count = 0
    for prefix in (keyspace.STATE, keyspace.INDEX, keyspace.RECEIPT, keyspace.EVENT_ID, keyspace.LOG_NODE):
        stop = bytes([prefix[0] + 1])
        theirs = chain.store.iterate(prefix, stop)
        for key, value in copy.store.iterate(prefix, stop):
            found = next(theirs, None)
            if found != (key, value):
                raise ReplayFailed(f"key {key.hex()}: replay gives another value than the store holds")
            count += prefix == keyspace.STATE
        extra = next(theirs, None)
        if extra is not None:
            raise ReplayFailed(f"key {extra[0].hex()}: the store holds a key that replay does not give")
    # Moves may be missing: a store of an earlier release, or one that began from a snapshot, lacks what came before.
    for key, value in chain.store.iterate(keyspace.MOVES, keyspace.after(keyspace.MOVES)):
        if copy.store.get(key) != value:
            raise ReplayFailed(f"key {key.hex()}: replay gives another change of balances than the store holds")
    return count
