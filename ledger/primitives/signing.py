"""Ed25519 under one rule, ZIP 215, with every signature bound to its chain and its purpose.

What is signed is never a caller's bytes but tagged_hash("atlas/sign/" + purpose, chain_id, message): 32 bytes.  The
noise handshake of libp2p signs longer strings with another prefix, so the node's key can serve both without confusion.

The rule (https://zips.z.cash/zip-0215): A and R may be non-canonical or of small order; S must be below the group
order; the equation is the cofactored one, [8][S]B = [8]R + [8][k]A.  Single and batch verification then always agree.
ed25519-zebra implements it, and does both the signing and the verifying here.
"""

from collections.abc import Callable
from enum import StrEnum

import ed25519_zebra as _library

from ledger.primitives.hashing import tagged_hash

# The library has no types of its own; these are its three functions that we use.
_from_seed: Callable[[bytes], tuple[bytes, bytes]] = _library.ed_from_seed  # pyright: ignore
_sign: Callable[[bytes, bytes], bytes] = _library.ed_sign  # pyright: ignore
_verify: Callable[[bytes, bytes, bytes], bool] = _library.ed_verify  # pyright: ignore

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEED_BYTES = 32


class Purpose(StrEnum):
    """What a signature means.  A signature given for one purpose verifies for no other."""

    EVENT = "event"
    PRE_PREPARE = "pre-prepare"
    PREPARE = "prepare"
    COMMIT = "commit"
    CHECKPOINT = "checkpoint"
    VIEW_CHANGE = "view-change"
    NEW_VIEW = "new-view"
    STATUS = "status"
    BODY = "body"
    RECALL = "recall"
    RECALLED = "recalled"
    KEY_ROTATION = "key-rotation"
    POLICY_REPORT = "policy-report"
    NODE_REGISTRATION = "node-registration"
    NODE_CHALLENGE = "node-challenge"
    NODE_READY = "node-ready"
    BUNDLE = "bundle"


class SignatureInvalid(ValueError):
    """A signature does not verify under the key, chain and purpose that it was claimed for."""


def signed_digest(chain_id: bytes, purpose: Purpose, message: bytes) -> bytes:
    """Return the 32 bytes that are signed for `message`."""
    return tagged_hash("atlas/sign/" + purpose.value, chain_id, message)


class SigningKey:
    """An Ed25519 key.  `seed` is 32 secret bytes; equal seeds give equal keys, equal messages equal signatures."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"expected a seed of {SEED_BYTES} bytes, got {len(seed)}")
        self._secret, public = _from_seed(seed)
        self.public: bytes = bytes(public)

    def sign(self, chain_id: bytes, purpose: Purpose, message: bytes) -> bytes:
        """Return the 64-byte signature of `message` for this chain and purpose."""
        return bytes(_sign(self._secret, signed_digest(chain_id, purpose, message)))

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"


def is_valid_signature(public: bytes, chain_id: bytes, purpose: Purpose, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is one of `public` over `message`; False for malformed keys and signatures too."""
    if len(public) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    return bool(_verify(signature, signed_digest(chain_id, purpose, message), public))


def verify_signature(public: bytes, chain_id: bytes, purpose: Purpose, message: bytes, signature: bytes) -> None:
    """Raise SignatureInvalid unless `is_valid_signature`."""
    if not is_valid_signature(public, chain_id, purpose, message, signature):
        raise SignatureInvalid(f"expected a {purpose.value} signature of key {public.hex()[:16]}…, got one that fails")
