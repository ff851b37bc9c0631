"""What a validator signs over a block that it has executed; consensus collects it, and the ledger counts it."""

from dataclasses import dataclass
from typing import Annotated

from ledger.primitives.records import U32, Between, Bytes32, encode_record
from ledger.primitives.signing import Purpose, is_valid_signature

Seq = Annotated[int, Between(1, 2**63 - 1)]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A replica has executed `seq`; `digest` is the hash of the block header that it made."""

    digest: Bytes32
    replica: U32
    seq: Seq


def is_checkpoint_signature(key: bytes, chain_id: bytes, checkpoint: Checkpoint, signature: bytes) -> bool:
    """Tell whether `signature` is one of `key` over a checkpoint."""
    return is_valid_signature(key, chain_id, Purpose.CHECKPOINT, encode_record(checkpoint), signature)
