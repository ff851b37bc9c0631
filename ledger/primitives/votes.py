"""What a validator signs to order a batch, as outsiders need it: to prove that a key voted two ways.

Consensus has these records for each of its three kinds of vote; their canonical bytes are these, which a test holds.
"""

from dataclasses import dataclass
from typing import Annotated

from ledger.primitives.checkpoint import Seq
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U32, Between, Bytes32
from ledger.primitives.signing import Purpose

ORDERING = (Purpose.PRE_PREPARE, Purpose.PREPARE, Purpose.COMMIT)
"""The votes of which a key may sign one for each place in a view."""


@dataclass(frozen=True, slots=True)
class OrderingVote:
    """PRE-PREPARE, PREPARE or COMMIT: which of them, the purpose says under which it was signed."""

    digest: Bytes32
    replica: U32
    seq: Seq
    view: Annotated[int, Between(0, 2**63 - 1)]


def compute_era_domain(chain_id: bytes, era: int) -> bytes:
    """Return what votes of an era are bound to.  A vote of one validator set is none for another.

    CHECKPOINT is bound to the chain alone: it is for a height, and the header chain says whose turn that was.
    """
    return chain_id if era == 0 else tagged_hash("atlas/era", chain_id, era.to_bytes(4, "big"))
