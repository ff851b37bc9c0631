"""The tally: blocks go through in order; each is checked, and what the segment's index says of them is gathered.

Whoever writes a segment and whoever verifies one do the same walk, so a segment says what its blocks give.
"""

import hashlib
from collections.abc import Callable
from typing import TypeAlias

from ledger.archive.blocks import ArchivedBlock, encode_core
from ledger.archive.layout import (
    ERAS_MAX,
    ID_PREFIX_BYTES,
    ID_ROW,
    NODE_LEVEL,
    RECEIPTS_MAX,
    Summary,
)
from ledger.block import Header, StoredEvent, compute_event_leaf, compute_header_hash, decode_header
from ledger.certified import VerifyCertificate
from ledger.genesis import compute_validators_hash
from ledger.primitives import merkle
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import decode_record
from ledger.receipts import decode_receipt
from ledger.service import Validators

NextSet: TypeAlias = Callable[[int], Validators | None]
"""Returns the validator set of an era, as the source claims it; it is compared with the certified headers."""


class ChainBroken(ValueError):
    """Blocks that do not follow from each other, or that no quorum certified; the message names the height."""


class Tally:
    """A range of whole epochs in the making, from the block above `header_before` on."""

    def __init__(
        self,
        header_before: bytes,
        edge: tuple[bytes, ...],
        validators: Validators,
        next_set: NextSet,
        verify_certificate: VerifyCertificate,
    ) -> None:
        """Raises ChainBroken.  edge: the log tree below; validators: the set of the first block."""
        try:
            before = decode_header(header_before)
        except EncodingError as error:
            raise ChainBroken(f"the header below the first block is malformed: {error}") from error
        self._header_before = header_before
        self._before = self._last = before
        self._last_hash = compute_header_hash(header_before)
        self._edge_before = edge
        self._edge = open_edge(before.log_size, edge)
        self._sets = [validators]
        self._next_set = next_set
        self._verify_certificate = verify_certificate
        self._first_epoch: int | None = None
        self._leaves: list[bytes] = []
        self._ids: list[bytes] = []
        self._nodes: list[bytes] = []
        self._uncertified: int | None = None
        if compute_validators_hash(validators.keys) != before.validators_hash:
            raise ChainBroken(f"height {before.height}: the header names another validator set for the next height")
        if (
            len(edge) != len(list_edge(before.log_size))
            or merkle.root_at(before.log_size, self._read_node) != before.log_root
        ):
            raise ChainBroken(f"height {before.height}: the log tree is not the one that the header commits to")

    @property
    def last(self) -> Header:
        """The header of the newest block."""
        return self._last

    @property
    def is_certified(self) -> bool:
        """Tell whether the newest block has a certificate: only then may the range end here."""
        return bool(self._leaves) and self._uncertified is None

    @property
    def uncertified(self) -> int | None:
        """The lowest height that no certificate covers yet."""
        return self._uncertified

    def add(self, block: ArchivedBlock) -> bytes:
        """Check the next block; return its core.  Raises ChainBroken."""
        height = self._last.height + 1
        try:
            header = self._check(block, height)
            self._check_contents(block, header)
        except EncodingError as error:
            raise ChainBroken(f"height {height}: {error}") from error
        if self._first_epoch is None:
            self._first_epoch = header.epoch
        core = encode_core(block)
        self._leaves.append(merkle.leaf_hash(core))
        self._last, self._last_hash = header, compute_header_hash(block.header)
        return core

    def _check(self, block: ArchivedBlock, height: int) -> Header:
        header = decode_header(block.header)
        header_hash = compute_header_hash(block.header)
        if header.height != height or header.previous != self._last_hash or header.chain_id != self._before.chain_id:
            raise ChainBroken(f"height {height}: the block does not follow the one below it")
        if block.certificate:
            try:
                self._verify_certificate(self._sets[-1], height, header_hash, block.certificate)
            except ValueError as error:
                raise ChainBroken(f"height {height}: the certificate does not verify: {error}") from error
            self._uncertified = None
        elif self._uncertified is None:
            self._uncertified = height
        if header.validators_hash != self._last.validators_hash:
            self._change_set(header)
        return header

    def _change_set(self, header: Header) -> None:
        """The next set is what this block says, so no block of the next set can vouch for this one."""
        if self._uncertified is not None:
            raise ChainBroken(f"height {header.height}: it changes the validator set, but has no certificate")
        following = self._next_set(self._sets[-1].era + 1)
        if following is None or (following.era, following.since) != (self._sets[-1].era + 1, header.height + 1):
            raise ChainBroken(f"height {header.height}: the validator set that begins after it is missing")
        if compute_validators_hash(following.keys) != header.validators_hash:
            raise ChainBroken(f"height {header.height}: the header names another validator set than the one given")
        if len(self._sets) == ERAS_MAX:
            raise ChainBroken(f"height {header.height}: more than {ERAS_MAX} validator sets in one segment")
        self._sets.append(following)

    def _check_contents(self, block: ArchivedBlock, header: Header) -> None:
        where, size = f"height {header.height}", self._last.log_size
        leaves = [merkle.leaf_hash(data) for data in block.receipts]
        if len(leaves) != header.event_count or merkle.compute_root(leaves) != header.receipt_root:
            raise ChainBroken(f"{where}: the receipts are not those of the header")
        events = [compute_event_leaf(decode_record(StoredEvent, data)) for data in block.events if data]
        if len(block.events) != len(leaves) or merkle.compute_root(events) != header.event_root:
            raise ChainBroken(f"{where}: the events are not those of the header")
        if size + len(leaves) - self._before.log_size > RECEIPTS_MAX:
            raise ChainBroken(f"{where}: more than {RECEIPTS_MAX} receipts in one segment")
        nodes, root = merkle.append_leaves(size, leaves, self._read_node)
        if (size + len(leaves), root) != (header.log_size, header.log_root):
            raise ChainBroken(f"{where}: the log tree is not the one that the header commits to")
        for place, data in enumerate(block.receipts, size):
            receipt = decode_receipt(data)
            if (receipt.log_index, receipt.height) != (place, header.height):
                raise ChainBroken(f"{where}: a receipt claims another place than its own")
            self._ids.append(ID_ROW.pack(receipt.event_id[:ID_PREFIX_BYTES], place - self._before.log_size))
        complete = [index for level, index in nodes if level == NODE_LEVEL]  # order: sorted below
        self._nodes += [nodes[NODE_LEVEL, index] for index in sorted(complete)]
        self._edge = {where: nodes.get(where) or self._edge[where] for where in list_edge(header.log_size)}

    def _read_node(self, level: int, index: int) -> bytes:
        return self._edge[level, index]

    def finish(self) -> tuple[Summary, tuple[bytes, ...], bytes]:
        """Return the summary, the log nodes and the ids of what went through.  Raises ChainBroken."""
        if self._first_epoch is None:
            raise ChainBroken("a segment without blocks")
        if self._uncertified is not None:
            raise ChainBroken(f"height {self._uncertified}: no certificate, and no certified block above names it")
        before, last = self._before, self._last
        summary = Summary(
            blocks=len(self._leaves),
            chain_id=last.chain_id,
            edge=self._edge_before,
            first_epoch=self._first_epoch,
            first_height=before.height + 1,
            first_log_index=before.log_size,
            header_before=self._header_before,
            header_hash=self._last_hash,
            header_hash_before=compute_header_hash(self._header_before),
            last_epoch=last.epoch,
            last_height=last.height,
            log_size=last.log_size,
            root=merkle.compute_root(self._leaves),
            sets=tuple(self._sets),
            state_digest=last.state_digest,
            state_digest_before=before.state_digest,
        )
        return summary, tuple(self._nodes), b"".join(sorted(self._ids))


def list_edge(size: int) -> list[tuple[int, int]]:
    """Return the (level, index) of the complete subtrees that a log of `size` leaves is made of, from the left."""
    return [(level, (size >> level) - 1) for level in range(size.bit_length() - 1, -1, -1) if size >> level & 1]


def open_edge(size: int, edge: tuple[bytes, ...]) -> dict[tuple[int, int], bytes]:
    """Return the nodes of an edge by (level, index); as many as both sides have."""
    return dict(zip(list_edge(size), edge, strict=False))


def hash_ids(ids: bytes) -> bytes:
    return hashlib.sha256(ids).digest()
