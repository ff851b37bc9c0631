"""Signatures in the wrong place: made for another chain, or for another kind of message with the same fields."""

from dataclasses import replace

from consensus.messages import AnySigned, Commit, Prepare, Sign, Signed, make_signed
from simulations.byzantine.resign import Signer
from simulations.observations import Sent


class Foreign:
    """Adds to each of its frames the same message as signed for another chain, and its vote as one of another kind."""

    def __init__(self, me: int, sign: Sign, sign_elsewhere: Sign) -> None:
        self._signer = Signer(me, sign)
        self._sign_elsewhere = sign_elsewhere

    def __call__(self, sent: Sent) -> list[Sent]:
        signed = sent.signed
        if not self._signer.is_own(signed):
            return [sent]
        added: list[AnySigned] = [make_signed(signed.message, self._sign_elsewhere)]
        message = signed.message
        if isinstance(message, Prepare | Commit):
            kind = Commit if isinstance(message, Prepare) else Prepare
            other = kind(message.digest, message.replica, message.seq, message.view)
            added.append(Signed(other, signed.signature, signed.encoded))
        return [sent, *(replace(sent, signed=each) for each in added)]
