"""Replay: execute a stored chain again from genesis, and compare every header, certificate and the final state."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from consensus.messages import Certificate
from consensus.quorum import verify_certificate
from ledger import keyspace
from ledger.block import StoredEvent, compute_header_hash, decode_header
from ledger.chain import Chain, make_batch, read_stored_block
from ledger.genesis import Genesis
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
    state_keys: int
    header_hash: bytes
    state_digest: bytes


def replay_chain(
    store: Store, genesis: Genesis, registry: Registry, progress: Progress = lambda at, of: None
) -> Replayed:
    """Execute everything in `store` again, in a store of its own.  Raises ReplayFailed and StoreDamaged."""
    chain = Chain(store, genesis, registry)
    with tempfile.TemporaryDirectory(prefix="atlas-replay-") as folder:
        copy_store = Store(Path(folder))
        try:
            return _replay(chain, Chain(copy_store, genesis, registry), progress)
        finally:
            copy_store.close()


def _replay(chain: Chain, copy: Chain, progress: Progress) -> Replayed:
    certificates = payloads_missing = 0
    head = chain.head.height
    with chain.store.snapshot() as snapshot:
        for height in range(1, head + 1):
            block = read_stored_block(snapshot, height)
            if block is None:
                raise ReplayFailed(f"height {height}: the block is missing")
            header = decode_header(block.header)
            expected = compute_header_hash(block.header)
            if block.certificate:
                certificate = decode_record(Certificate, block.certificate)
                if (certificate.seq, certificate.digest) != (height, expected):
                    raise ReplayFailed(f"height {height}: the certificate is for another block")
                try:
                    verify_certificate(make_parameters(chain.chain_id, copy.validators), certificate)
                except ValueError as error:
                    raise ReplayFailed(f"height {height}: the certificate does not verify: {error}") from error
                certificates += 1
            checked = copy.check_events(block.items)
            executed = copy.compute(make_batch(header, copy.head.header, block.items), checked)
            if executed.hash != expected:
                different = [
                    name for name in header.__slots__ if getattr(header, name) != getattr(executed.header, name)
                ]  # fmt: skip
                raise ReplayFailed(f"height {height}: replay gives another header; different: {', '.join(different)}")
            payloads_missing += sum(
                1 for stored, item in zip(_signed_only(executed.stored), block.items, strict=True)
                if stored.content is not None and item.payload is None
            )  # fmt: skip
            copy.commit(executed)
            progress(height, head)
    state_keys = _compare_state(chain, copy)
    return Replayed(
        height=head,
        events=chain.head.header.log_size,
        certificates=certificates,
        payloads_missing=payloads_missing,
        state_keys=state_keys,
        header_hash=chain.head.hash,
        state_digest=chain.head.header.state_digest,
    )


def _signed_only(stored: tuple[StoredEvent | None, ...]) -> list[StoredEvent]:
    return [each for each in stored if each is not None]


def _compare_state(chain: Chain, copy: Chain) -> int:
    """Compare every state and index key.  Raises ReplayFailed naming the first that differs."""
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
    return count
