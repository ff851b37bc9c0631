"""Challenges: a validator asks a node for its signature over a block drawn by a nonce.

The answer shows that the node is reachable, holds its key, and has the chain; nobody can prepare it before the nonce is
known.  What came of the challenges is attested by `node.reporter`.
"""

from dataclasses import dataclass

from ledger import keyspace
from ledger.block import compute_header_hash
from ledger.chain import Chain
from ledger.primitives.encoding import EncodingError
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import U64, Bytes32, decode_record, encode_record
from ledger.primitives.signing import SIGNATURE_BYTES, Purpose, SigningKey, is_valid_signature
from p2p.errors import PeerFault

CHALLENGE_REQUEST = "challenge"
CHALLENGE_BYTES_MAX = 256
NO_ANSWER = b""
"""Given for a block that the node does not have (yet)."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Sign the header of the block that the nonce draws, of those up to a height."""

    epoch: U64
    height_max: U64
    nonce: Bytes32

    @property
    def height(self) -> int:
        return int.from_bytes(tagged_hash("atlas/challenge", self.nonce), "big") % (self.height_max + 1)


@dataclass(frozen=True, slots=True)
class _Answered:
    """What the node's key signs, under Purpose.NODE_CHALLENGE."""

    epoch: U64
    header_hash: Bytes32
    height: U64
    nonce: Bytes32


def encode_challenge(challenge: Challenge) -> bytes:
    return encode_record(challenge)


def answer_challenge(chain: Chain, key: SigningKey, body: bytes) -> bytes:
    """Return the signature that a challenge asks for, or NO_ANSWER.  Raises PeerFault for a malformed one."""
    if len(body) > CHALLENGE_BYTES_MAX:
        raise PeerFault("challenge_malformed", 20, f"expected at most {CHALLENGE_BYTES_MAX} bytes, got {len(body)}")
    try:
        challenge = decode_record(Challenge, body)
    except EncodingError as error:
        raise PeerFault("challenge_malformed", 20, str(error)) from error
    header_hash = _read_hash(chain, challenge.height)
    if header_hash is None:
        return NO_ANSWER
    return key.sign(chain.chain_id, Purpose.NODE_CHALLENGE, _message(challenge, header_hash))


def is_right_answer(chain: Chain, node: bytes, challenge: Challenge, answer: bytes) -> bool:
    """Tell whether an answer is the node's signature over our block at the drawn height."""
    header_hash = _read_hash(chain, challenge.height)
    if header_hash is None or len(answer) != SIGNATURE_BYTES:
        return False
    return is_valid_signature(node, chain.chain_id, Purpose.NODE_CHALLENGE, _message(challenge, header_hash), answer)


def _read_hash(chain: Chain, height: int) -> bytes | None:
    """From the store, since the chain's own cache belongs to other threads."""
    data = chain.store.get(keyspace.header(height))
    return None if data is None else compute_header_hash(data)


def _message(challenge: Challenge, header_hash: bytes) -> bytes:
    return encode_record(_Answered(challenge.epoch, header_hash, challenge.height, challenge.nonce))
