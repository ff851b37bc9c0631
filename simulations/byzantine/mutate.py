"""One small lie for each frame: a neighbouring view or place, another digest, an old message, a proof left out."""

from collections import deque
from dataclasses import replace

from consensus.messages import (
    AnySigned,
    Checkpoint,
    Commit,
    Message,
    Prepare,
    PrePrepare,
    Sign,
    Status,
    ViewChange,
)
from ledger.primitives.hashing import tagged_hash
from simulations.byzantine.resign import Signer
from simulations.observations import Sent

REMEMBERED_MAX = 256
"""Old messages kept for replay."""


class ShiftView:
    """The view is one higher or lower, where that view lets this replica say it."""

    def __init__(self, me: int, sign: Sign, n: int, by: int) -> None:
        self._signer, self._n, self._by = Signer(me, sign), n, by

    def __call__(self, sent: Sent) -> list[Sent]:
        message = sent.signed.message
        if not self._signer.is_own(sent.signed) or not isinstance(message, Prepare | Commit | Status | ViewChange):
            return [sent]
        view = message.view + self._by
        lowest = 1 if isinstance(message, ViewChange) else 0
        if view < lowest or (isinstance(message, Prepare) and view % self._n == message.replica):
            return [sent]
        if isinstance(message, ViewChange) and any(proof.view >= view for proof in message.prepared):
            return [sent]
        return [self._signer.put(sent, replace(message, view=view))]


class ShiftSeq:
    """The place is one higher or lower."""

    def __init__(self, me: int, sign: Sign, by: int) -> None:
        self._signer, self._by = Signer(me, sign), by

    def __call__(self, sent: Sent) -> list[Sent]:
        message = sent.signed.message
        if not self._signer.is_own(sent.signed) or not isinstance(message, PrePrepare | Prepare | Commit | Checkpoint):
            return [sent]
        seq = message.seq + self._by
        return [sent] if seq < 1 else [self._signer.put(sent, replace(message, seq=seq))]


class OtherDigest:
    """The vote is for something that nobody proposed or made."""

    def __init__(self, me: int, sign: Sign, kinds: tuple[type[Message], ...] = (Prepare, Commit, Checkpoint)) -> None:
        self._signer, self._kinds = Signer(me, sign), kinds

    def __call__(self, sent: Sent) -> list[Sent]:
        message = sent.signed.message
        if not self._signer.is_own(sent.signed) or not isinstance(message, self._kinds):
            return [sent]
        assert isinstance(message, Prepare | Commit | Checkpoint), "kinds that have a digest"
        return [self._signer.put(sent, replace(message, digest=tagged_hash("test/other", message.digest)))]


class ReplayOld:
    """An old message goes along with each one: what it sent to anyone `age` frames ago."""

    def __init__(self, age: int = 32) -> None:
        assert 1 <= age <= REMEMBERED_MAX, f"expected 1 to {REMEMBERED_MAX}, got {age}"
        self._old: deque[Sent] = deque(maxlen=age)

    def __call__(self, sent: Sent) -> list[Sent]:
        full = len(self._old) == self._old.maxlen
        old = self._old[0] if full else None
        self._old.append(sent)
        if old is None:
            return [sent]
        return [sent, replace(sent, signed=old.signed, batch=old.batch)]


class DropCertificate:
    """VIEW-CHANGE and STATUS pretend that nothing was ever stable."""

    def __init__(self, me: int, sign: Sign, window: int) -> None:
        self._signer, self._window = Signer(me, sign), window

    def __call__(self, sent: Sent) -> list[Sent]:
        message = sent.signed.message
        if not self._signer.is_own(sent.signed) or not isinstance(message, ViewChange | Status):
            return [sent]
        without: Message = replace(message, stable=None)
        if isinstance(without, ViewChange):  # proofs beyond the window of genesis would show the lie
            near = tuple(proof for proof in without.prepared if proof.seq <= self._window)
            without = replace(without, prepared=near)
        return [self._signer.put(sent, without)]


class DropPrepared:
    """VIEW-CHANGE pretends that nothing was prepared; with `keep`, only the lowest places were."""

    def __init__(self, me: int, sign: Sign, keep: int = 0) -> None:
        self._signer, self._keep = Signer(me, sign), keep

    def __call__(self, sent: Sent) -> list[Sent]:
        message = sent.signed.message
        if not self._signer.is_own(sent.signed) or not isinstance(message, ViewChange):
            return [sent]
        return [self._signer.put(sent, replace(message, prepared=message.prepared[: self._keep]))]


class BadSignature:
    """Every k-th message has one bit of its signature flipped: the one lie that a receiver sees at once."""

    def __init__(self, every: int = 1) -> None:
        self._every, self._count = every, 0

    def __call__(self, sent: Sent) -> list[Sent]:
        self._count += 1
        if self._count % self._every:
            return [sent]
        return [replace(sent, signed=flip_signature(sent.signed))]


def flip_signature(signed: AnySigned) -> AnySigned:
    """Return the message with a signature that is nobody's."""
    return replace(signed, signature=bytes((signed.signature[0] ^ 1,)) + signed.signature[1:])
