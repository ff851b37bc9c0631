"""What all replicas of an era agree on before it starts, and each node's own timeouts.

An era is the time of one validator set.  Each has its own replicas, views and votes: nothing but the chain's heights
goes on from one to the next.
"""

from dataclasses import dataclass, field

from ledger.primitives.signing import Purpose
from ledger.primitives.votes import compute_era_domain

REPLICAS_MIN = 4
REPLICAS_MAX = 100
WINDOW_MAX = 32
VOTE_BYTES_MAX = 96
"""One signature with its replica's number inside a certificate."""
SMALL_BYTES_MAX = 256
"""A message without certificates, or what surrounds certificates."""
MESSAGE_BYTES_MAX = 4 * 1024 * 1024 - 1024
"""No message without its batch is longer."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """One frozen value for every part of consensus."""

    chain_id: bytes  # 1..64 bytes, bound into every signature
    replicas: tuple[bytes, ...]  # 32-byte Ed25519 public keys; the index is the replica's number
    era: int = 0
    """How many validator sets the chain had before this one; bound into every signature but CHECKPOINT's."""
    base: int = 0
    """The height of the last block before the era: its first is base + 1.  0 is genesis."""
    window: int = 8
    """L of the paper: sequence numbers in (h, h + window] are voted on, h being the stable checkpoint's."""
    checkpoint_interval: int = 1
    """K of the paper: every K-th sequence number gets a CHECKPOINT."""
    view_timeout_ms: int = 2_000
    view_timeout_ms_max: int = 60_000
    retransmit_ms: int = 500
    batch_bytes_max: int = 2 * 1024 * 1024
    era_domain: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.era < 0 or self.base < 0 or (self.era == 0) != (self.base == 0):
            raise ValueError(f"era: expected era 0 from height 0, or a later one, got {self.era} from {self.base}")
        if not 1 <= len(self.chain_id) <= 64:
            raise ValueError(f"chain_id: expected 1 to 64 bytes, got {len(self.chain_id)}")
        if not REPLICAS_MIN <= len(self.replicas) <= REPLICAS_MAX:
            raise ValueError(f"replicas: expected {REPLICAS_MIN} to {REPLICAS_MAX} keys, got {len(self.replicas)}")
        if any(len(key) != 32 for key in self.replicas) or len(set(self.replicas)) != len(self.replicas):
            raise ValueError("replicas: expected distinct keys of 32 bytes")
        if not self.checkpoint_interval >= 1 or not 1 <= self.window <= WINDOW_MAX:
            raise ValueError(f"window: expected 1 to {WINDOW_MAX}, and an interval of at least 1")
        if self.checkpoint_interval > 1 and self.window < 2 * self.checkpoint_interval:
            raise ValueError(f"window: expected at least twice the interval {self.checkpoint_interval}")
        certificate = SMALL_BYTES_MAX + self.quorum * VOTE_BYTES_MAX
        new_view = self.quorum * (SMALL_BYTES_MAX + (1 + self.window) * certificate)
        if new_view > MESSAGE_BYTES_MAX:
            raise ValueError(
                f"window: expected NEW-VIEW to stay below {MESSAGE_BYTES_MAX} bytes, it may have {new_view}"
            )
        if not 1 <= self.view_timeout_ms <= self.view_timeout_ms_max or self.retransmit_ms < 1:
            raise ValueError("timeouts: expected 1 <= view_timeout_ms <= view_timeout_ms_max, and retransmit_ms >= 1")
        object.__setattr__(self, "era_domain", compute_era_domain(self.chain_id, self.era))

    @property
    def n(self) -> int:
        return len(self.replicas)

    @property
    def f(self) -> int:
        """How many replicas may be faulty."""
        return (len(self.replicas) - 1) // 3

    @property
    def quorum(self) -> int:
        """Any two quorums share a correct replica, for every n: ceil((n + f + 1) / 2)."""
        return (len(self.replicas) + self.f + 2) // 2

    def domain(self, purpose: Purpose) -> bytes:
        """Return what a signature for this purpose is bound to.

        CHECKPOINT is for a height, and the header chain says whose turn that was, so that a certificate is checked
        without knowing of eras; all else counts in its era only.
        """
        return self.chain_id if purpose is Purpose.CHECKPOINT else self.era_domain

    def primary(self, view: int) -> int:
        return view % len(self.replicas)
