"""How a liar signs: another message in a frame's place, valid under the liar's own key."""

from dataclasses import replace

from consensus.messages import AnySigned, M, Message, Sign, Signed, make_signed
from simulations.observations import Sent


class Signer:
    """One replica's key.  Refuses to sign for anybody else, as the liar could not either."""

    def __init__(self, me: int, sign: Sign) -> None:
        self.me = me
        self._sign = sign

    def is_own(self, signed: AnySigned) -> bool:
        """Tell whether the liar itself signed it; what it relays for others it cannot change."""
        return signed.message.replica == self.me

    def sign(self, message: M) -> Signed[M]:
        assert message.replica == self.me, f"expected a message of replica {self.me}, got one of {message.replica}"
        return make_signed(message, self._sign)

    def put(self, sent: Sent, message: Message) -> Sent:
        """Return the frame with another message; its batch stays."""
        return replace(sent, signed=self.sign(message))
