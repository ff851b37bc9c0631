"""What a new view begins with, computed from a set of VIEW-CHANGEs alone: every replica must find the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.messages import NULL_DIGEST, Certificate, PreparedProof, ViewChange


@dataclass(frozen=True, slots=True)
class Plan:
    """min-s of the paper with its proof, and the set O: place and digest, ascending and without gaps."""

    stable: Certificate | None
    proposals: list[tuple[int, bytes]]


def compute_plan(view_changes: Sequence[ViewChange], base: int) -> Plan:
    """Section 4.4: the highest stable checkpoint; above it each place's prepared batch of the highest view, or null.

    base: the era's, where it has no stable checkpoint yet.  The VIEW-CHANGEs are verified.  A checkpoint certificate
    holds a quorum of signatures, so one of them proves itself.
    """
    stable: Certificate | None = None
    for view_change in view_changes:
        certificate = view_change.stable
        if certificate is not None and (stable is None or certificate.seq > stable.seq):
            stable = certificate
    low = base if stable is None else stable.seq
    best: dict[int, PreparedProof] = {}
    for view_change in view_changes:
        for proof in view_change.prepared:
            known = best.get(proof.seq)
            # Two proofs of one view name one digest unless more than f are faulty; then the digest decides.
            if proof.seq > low and (known is None or (proof.view, proof.digest) > (known.view, known.digest)):
                best[proof.seq] = proof
    high = max(best, default=low)
    proposals = [(seq, best[seq].digest if seq in best else NULL_DIGEST) for seq in range(low + 1, high + 1)]
    return Plan(stable, proposals)
