"""The checkpoint that an operator pins: which block a height must have, whoever certified another one.

Genesis says who certified the first blocks.  Whoever stole the keys of validators that have long left could certify
another history from there on; a block that the operator knows from elsewhere rules that out.
"""

from dataclasses import dataclass

from ledger.block import compute_header_hash, encode_header
from ledger.chain import Chain
from ledger.primitives.ids import IdInvalid, IdKind, decode_id, encode_id
from node.block_fetch import SourceFault
from node.config import ConfigInvalid


class CheckpointInvalid(ConfigInvalid):
    """A checkpoint that is none, or that the chain here contradicts; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The block of a height."""

    height: int
    block: bytes

    def verify(self, height: int, header_hash: bytes) -> None:
        """Raise SourceFault when a block at this height is another than the pinned one."""
        if height == self.height and header_hash != self.block:
            raise SourceFault(
                f"height {height}: expected the pinned block {_text(self.block)}, got {_text(header_hash)}"
            )

    def verify_chain(self, chain: Chain) -> None:
        """Raise CheckpointInvalid when the chain here has another block at the height."""
        header = chain.read_header(self.height)
        if header is not None and compute_header_hash(encode_header(header)) != self.block:
            raise CheckpointInvalid(
                f"{chain.store.path}: the chain here has another block at height {self.height} than the pinned "
                f"checkpoint {_text(self.block)}; correct the checkpoint, or begin with an empty folder"
            )


def parse_checkpoint(text: str) -> Checkpoint | None:
    """Return the checkpoint in "HEIGHT:blk1…", as `GET /ledger/head` shows both; None for "".  CheckpointInvalid."""
    if not text:
        return None
    height, _, block = text.partition(":")
    try:
        found = decode_id(IdKind.BLOCK, block)
    except IdInvalid as error:
        raise CheckpointInvalid(f"expected a checkpoint like 1000:blk1…, got {text!r}: {error}") from error
    if not (height.isascii() and height.isdigit() and len(height) < 19 and int(height) > 0):
        raise CheckpointInvalid(f"expected a checkpoint like 1000:blk1…, got the height {height!r}")
    return Checkpoint(int(height), found)


def _text(header_hash: bytes) -> str:
    return encode_id(IdKind.BLOCK, header_hash)
