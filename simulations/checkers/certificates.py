"""O5: what a correct replica sends, and what it takes for certified, is proved by signatures.

The verifier here is a second one: its own quorum, its own rules for proofs and for the places of a new view.  Of the
node it uses only the record types, the signing primitive and the canonical encoding.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from consensus.messages import (
    AnySigned,
    Body,
    Certificate,
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    Recall,
    Recalled,
    Status,
    ViewChange,
    Vote,
)
from ledger.primitives.checkpoint import is_checkpoint_signature
from ledger.primitives.encoding import EncodingError
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import decode_record, encode_record
from ledger.primitives.signing import Purpose, is_valid_signature
from ledger.primitives.votes import OrderingVote
from simulations.observations import Certified, CheckFailed, Observation, Sent

SEEN_MAX = 8_192
"""Messages and certificates remembered as verified; a broadcast is seen n - 1 times."""
SIGNATURES_MAX = 65_536
PURPOSES: dict[type[Message], Purpose] = {
    PrePrepare: Purpose.PRE_PREPARE,
    Prepare: Purpose.PREPARE,
    Commit: Purpose.COMMIT,
    Checkpoint: Purpose.CHECKPOINT,
    ViewChange: Purpose.VIEW_CHANGE,
    NewView: Purpose.NEW_VIEW,
    Status: Purpose.STATUS,
    Body: Purpose.BODY,
    Recall: Purpose.RECALL,
    Recalled: Purpose.RECALLED,
}

_is_valid = lru_cache(maxsize=SIGNATURES_MAX)(is_valid_signature)
_is_checkpoint = lru_cache(maxsize=SIGNATURES_MAX)(is_checkpoint_signature)


class Certificates:
    """Verifies each message and certificate once."""

    name = "certificates"

    def __init__(self, chain_id: bytes, keys: Sequence[bytes], correct: Collection[int]) -> None:
        self._correct = frozenset(correct)
        self._verifier = Verifier(chain_id, keys)
        self._seen: OrderedDict[object, None] = OrderedDict()

    def observe(self, observation: Observation) -> None:
        match observation:
            case Sent(_, source, _, signed, batch) if source in self._correct:
                if self._is_new((signed.signature, signed.encoded)):
                    try:
                        self._verifier.verify_message(signed, batch)
                    except ProofInvalid as invalid:
                        what = f"a {type(signed.message).__name__} that replica {source} can prove"
                        raise CheckFailed(self.name, what, str(invalid)) from invalid
            case Certified(_, replica, certificate) if replica in self._correct:
                if self._is_new(certificate):
                    try:
                        self._verifier.verify_certificate(certificate)
                    except ProofInvalid as invalid:
                        what = f"a valid certificate of height {certificate.seq} at replica {replica}"
                        raise CheckFailed(self.name, what, str(invalid)) from invalid
            case _:
                pass

    def finish(self) -> None:
        """Nothing is owed at the end."""

    def _is_new(self, key: object) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        return True


class ProofInvalid(ValueError):
    """Something is claimed that the signatures with it do not prove."""


class Verifier:
    """Checks what replicas claim, given nothing but the chain's id and the public keys."""

    def __init__(self, chain_id: bytes, keys: Sequence[bytes]) -> None:
        self._chain_id = chain_id
        self._keys = tuple(keys)
        self.n = len(self._keys)
        self.faulty_max = max(faulty for faulty in range(self.n) if self.n > 3 * faulty)
        # The smallest number for which two groups of that size share more replicas than can be faulty.
        self.quorum = min(size for size in range(self.n + 1) if 2 * size - self.n > self.faulty_max)

    def verify_message(self, signed: AnySigned, batch: bytes | None) -> None:
        """Check a message, its batch, and all inside it.  Raises ProofInvalid."""
        message = signed.message
        self.verify_signature_of(signed)
        match message:
            case PrePrepare() | Body():
                if isinstance(message, PrePrepare):
                    _require(message.replica == message.view % self.n, f"the proposal of a backup: {message!r}")
                _require(batch is not None and tagged_hash("atlas/batch", batch) == message.digest, "another batch")
            case Prepare():
                _require(message.replica != message.view % self.n, f"a PREPARE of the primary: {message!r}")
            case ViewChange():
                self.verify_view_change(message)
            case NewView():
                self.verify_new_view(message)
            case Status():
                if message.stable is not None:
                    self.verify_certificate(message.stable)
            case _:
                pass

    def verify_signature_of(self, signed: AnySigned) -> None:
        """Check that its sender signed the message as what it is.  Raises ProofInvalid."""
        message, kind = signed.message, type(signed.message)
        _require(0 <= message.replica < self.n, f"replica {message.replica} of {self.n}")
        _require(encode_record(message) == signed.encoded, f"the bytes of a {kind.__name__} are those of another one")
        self._verify_signature(message.replica, PURPOSES[kind], signed.encoded, signed.signature)

    def verify_certificate(self, certificate: Certificate) -> None:
        """Check that a quorum signed CHECKPOINT for the height and header.  Raises ProofInvalid."""
        _require(certificate.seq >= 1, f"a certificate of height {certificate.seq}")
        self._verify_distinct([vote.replica for vote in certificate.signatures], self.quorum)
        for vote in certificate.signatures:
            checkpoint = Checkpoint(certificate.digest, vote.replica, certificate.seq)
            valid = _is_checkpoint(self._keys[vote.replica], self._chain_id, checkpoint, vote.signature)
            _require(valid, f"no signature of replica {vote.replica} over {checkpoint!r}")

    def verify_prepared(self, proof: PreparedProof) -> None:
        """Check that the primary proposed the batch, and that backups that are a quorum with it agreed."""
        primary = proof.view % self.n
        self._verify_distinct([primary, *(vote.replica for vote in proof.prepares)], self.quorum)
        self._verify_votes(Purpose.PRE_PREPARE, proof, [Vote(primary, proof.pre_prepare)])
        self._verify_votes(Purpose.PREPARE, proof, proof.prepares)

    def verify_view_change(self, message: ViewChange) -> None:
        """Check the stable checkpoint, and the proofs above it.  Raises ProofInvalid."""
        low = 0
        if message.stable is not None:
            self.verify_certificate(message.stable)
            low = message.stable.seq
        places = [proof.seq for proof in message.prepared]
        ascending = all(a < b for a, b in zip([low, *places], places, strict=False))
        _require(ascending, f"proofs of {places} above the stable checkpoint {low}")
        for proof in message.prepared:
            _require(proof.view < message.view, f"prepared in view {proof.view}, and leaves for {message.view}")
            self.verify_prepared(proof)

    def verify_new_view(self, message: NewView) -> None:
        """Check the VIEW-CHANGEs, and that the proposals are those that follow from them.  Raises ProofInvalid."""
        _require(message.view >= 1 and message.replica == message.view % self.n, f"NEW-VIEW {message.view} of a backup")
        view_changes: list[ViewChange] = []
        for cited in message.view_changes:
            try:
                view_change = decode_record(ViewChange, cited.message)
            except EncodingError as error:
                raise ProofInvalid(f"not a VIEW-CHANGE: {error}") from error
            view_changes.append(view_change)
        self._verify_distinct([view_change.replica for view_change in view_changes], self.quorum)
        for view_change, cited in zip(view_changes, message.view_changes, strict=True):
            _require(view_change.view == message.view, f"a VIEW-CHANGE to view {view_change.view} in {message.view}")
            self._verify_signature(view_change.replica, Purpose.VIEW_CHANGE, cited.message, cited.signature)
            self.verify_view_change(view_change)
        proposed = [(each.seq, each.digest) for each in message.proposals]
        expected = compute_proposals(view_changes)
        _require(proposed == expected, f"proposals {_shorten(proposed)} where {_shorten(expected)} follow")
        for each in message.proposals:
            vote = OrderingVote(each.digest, message.replica, each.seq, message.view)
            self._verify_signature(message.replica, Purpose.PRE_PREPARE, encode_record(vote), each.signature)

    def _verify_votes(self, purpose: Purpose, proof: PreparedProof, votes: Iterable[Vote]) -> None:
        for vote in votes:
            said = OrderingVote(proof.digest, vote.replica, proof.seq, proof.view)
            self._verify_signature(vote.replica, purpose, encode_record(said), vote.signature)

    def _verify_signature(self, replica: int, purpose: Purpose, encoded: bytes, signature: bytes) -> None:
        valid = _is_valid(self._keys[replica], self._chain_id, purpose, encoded, signature)
        _require(valid, f"no {purpose.value} signature of replica {replica}")

    def _verify_distinct(self, replicas: Sequence[int], count_min: int) -> None:
        known = [replica for replica in replicas if 0 <= replica < self.n]
        distinct = len(set(known)) == len(replicas)
        _require(distinct and len(replicas) >= count_min, f"signers {list(replicas)}, {count_min} of {self.n} needed")


def compute_proposals(view_changes: Sequence[ViewChange]) -> list[tuple[int, bytes]]:
    """Section 4.4: each place above the highest stable checkpoint, up to the highest that anybody prepared.

    It keeps the batch that was prepared in the highest view; the null request fills the others.
    """
    low = max((0 if each.stable is None else each.stable.seq) for each in view_changes)
    proofs = [proof for each in view_changes for proof in each.prepared if proof.seq > low]
    chosen: dict[int, bytes] = {}
    for proof in sorted(proofs, key=lambda proof: (proof.view, proof.digest)):
        chosen[proof.seq] = proof.digest  # the last is of the highest view
    null = tagged_hash("atlas/batch", b"")
    return [(seq, chosen.get(seq, null)) for seq in range(low + 1, max(chosen, default=low) + 1)]


def _require(condition: bool, found: str) -> None:
    if not condition:
        raise ProofInvalid(found)


def _shorten(proposals: Sequence[tuple[int, bytes]]) -> str:
    return "[" + ", ".join(f"{seq}:{digest.hex()[:8]}" for seq, digest in proposals) + "]"
