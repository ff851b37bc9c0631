"""Counting: votes by distinct replica, and the certificates that a quorum of signatures makes."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Generic, TypeVar

from consensus.errors import InvalidMessage
from consensus.messages import (
    Certificate,
    Checkpoint,
    Commit,
    Message,
    Prepare,
    Signed,
    Vote,
    get_purpose,
)
from consensus.parameters import Parameters
from ledger.primitives.records import encode_record
from ledger.primitives.signing import is_valid_signature

VERIFIED_MAX = 16_384
"""Signatures remembered as checked, so that a vote is not checked again inside each certificate that holds it."""

VoteM = TypeVar("VoteM", Prepare, Commit, Checkpoint)


class VoteSet(Generic[VoteM]):
    """The votes for one place, at most one of each replica; a replica's first vote is the one that counts."""

    __slots__ = ("_counts", "votes")

    def __init__(self) -> None:
        self.votes: dict[int, Signed[VoteM]] = {}
        self._counts: dict[bytes, int] = {}

    def add(self, signed: Signed[VoteM]) -> Signed[VoteM] | None:
        """Count a vote; return the earlier vote of the same replica, if there is one, and do not count this."""
        replica, digest = signed.message.replica, signed.message.digest
        earlier = self.votes.get(replica)
        if earlier is None:
            self.votes[replica] = signed
            self._counts[digest] = self._counts.get(digest, 0) + 1
        return earlier

    def count(self, digest: bytes) -> int:
        return self._counts.get(digest, 0)

    def count_most(self) -> int:
        """Return how many votes the digest with most of them has."""
        return max(self._counts.values(), default=0)

    def collect(self, digest: bytes, limit: int) -> tuple[Vote, ...]:
        """Return up to `limit` signatures for `digest`, in order of replica."""
        ordered = [self.votes[replica] for replica in sorted(self.votes)]
        matching = [vote for vote in ordered if vote.message.digest == digest]
        return tuple(Vote(vote.message.replica, vote.signature) for vote in matching[:limit])


def verify_certificate(parameters: Parameters, certificate: Certificate) -> None:
    """Raise InvalidMessage unless a quorum of `parameters.replicas` signed CHECKPOINT for this seq and digest."""
    seq, digest = certificate.seq, certificate.digest
    if seq <= parameters.base or seq % parameters.checkpoint_interval:
        raise InvalidMessage("certificate_seq", f"sequence number {seq} has no checkpoint in era {parameters.era}")
    verify_signers(parameters, certificate.signatures, parameters.quorum)
    for vote in certificate.signatures:
        verify_vote(parameters, Checkpoint(digest, vote.replica, seq), vote.signature)


def verify_signers(parameters: Parameters, votes: Sequence[Vote], count_min: int) -> None:
    """Raise InvalidMessage unless there are enough signers, all of them replicas, distinct and in order."""
    signers = [vote.replica for vote in votes]
    if len(signers) < count_min:
        raise InvalidMessage("too_few_signers", f"expected at least {count_min} signatures, got {len(signers)}")
    if signers[-1] >= parameters.n or any(a >= b for a, b in pairwise(signers)):
        raise InvalidMessage("signers", f"expected distinct replicas below {parameters.n} in order, got {signers}")


def verify_vote(parameters: Parameters, message: Message, signature: bytes) -> None:
    """Raise InvalidMessage unless `signature` is that of message.replica over the message."""
    verify_bytes(parameters, type(message), message.replica, encode_record(message), signature)


def verify_bytes(parameters: Parameters, kind: type[Message], replica: int, encoded: bytes, signature: bytes) -> None:
    """Raise InvalidMessage unless `signature` is that of `replica` over a message of class `kind`."""
    public = parameters.replicas[replica]
    purpose = get_purpose(kind)
    if not _is_valid(public, parameters.domain(purpose), purpose, encoded, signature):
        raise InvalidMessage("signature", f"expected a {kind.__name__} signed by replica {replica}", replica)


_is_valid = lru_cache(maxsize=VERIFIED_MAX)(is_valid_signature)
