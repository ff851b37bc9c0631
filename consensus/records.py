"""The records of the vote log: the envelope of a signed message, or a prepared proof behind a tag of its own."""

from consensus.messages import AnySigned, PreparedProof, decode_signed
from consensus.parameters import Parameters
from ledger.primitives.records import decode_record, encode_record

PROOF_TAG = b"\x40"
"""No envelope begins with it."""


def encode_proof(proof: PreparedProof) -> bytes:
    return PROOF_TAG + encode_record(proof)


def decode_vote_record(record: bytes, parameters: Parameters) -> PreparedProof | tuple[AnySigned, bytes | None]:
    """Return what a record of our own vote log holds.  Raises ValueError when it is none."""
    if record[:1] == PROOF_TAG:
        return decode_record(PreparedProof, record[1:])
    return decode_signed(record, parameters)
