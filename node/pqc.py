"""The node's post-quantum key: ML-DSA-65 (FIPS 204), made from the node's seed.

The registry keeps its hash: the key (1,952 bytes) and a signature (3,309) are larger than an event's body.
"""

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from ledger.primitives.hashing import tagged_hash

PQC_SCHEME = "ML-DSA-65"


def compute_pqc_public_key(seed: bytes) -> bytes:
    """Return the ML-DSA-65 public key of a node, 1,952 bytes.  seed: the node's 32 secret bytes."""
    return MLDSA65PrivateKey.from_seed_bytes(tagged_hash("atlas/node-pqc", seed)).public_key().public_bytes_raw()


def compute_pqc_key_hash(public: bytes) -> bytes:
    """Return the hash under which the registry keeps a post-quantum public key."""
    return tagged_hash("atlas/pqc-key", PQC_SCHEME.encode(), public)
