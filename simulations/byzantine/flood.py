"""The flood: valid messages for far-off places and views, and the same message many times, up to a number."""

from dataclasses import replace

from consensus.messages import Checkpoint, Commit, Message, Prepare, Sign, Status, ViewChange
from simulations.byzantine.resign import Signer
from simulations.observations import Sent

FAR = 1_000_000
"""How far ahead it speaks of, in places and in views."""


class Flood:
    """Adds `times` messages to each of its own frames, until it has added `total_max`."""

    def __init__(self, me: int, sign: Sign, n: int, times: int = 8, total_max: int = 10_000) -> None:
        self._signer, self._n = Signer(me, sign), n
        self._times = times
        self._left = total_max
        self._count = 0

    def __call__(self, sent: Sent) -> list[Sent]:
        added = [self._make(sent) for _ in range(min(self._times, self._left))]
        self._left -= len(added)
        return [sent, *added]

    def _make(self, sent: Sent) -> Sent:
        """Far places, far views, places that come soon, and repetition, in turn."""
        self._count += 1
        count, message = self._count, sent.signed.message
        if not self._signer.is_own(sent.signed):
            return sent
        view = FAR + count
        view += view % self._n == message.replica  # a primary does not prepare
        kinds: list[Message] = []
        match message:
            case Prepare() | Commit():
                later = replace(message, view=message.view + self._n * (1 + count % 4))
                kinds = [replace(message, seq=message.seq + FAR + count), replace(message, view=view), later]
            case Checkpoint():
                kinds = [
                    replace(message, seq=message.seq + FAR + count),
                    replace(message, seq=message.seq + count % 64),
                ]
            case ViewChange():
                kinds = [replace(message, view=view), replace(message, view=message.view + count % 8)]
            case Status():
                kinds = [replace(message, attempt=count), replace(message, last_executed=FAR, view=view)]
            case _:
                pass
        chosen = count % (len(kinds) + 1)
        return sent if chosen == len(kinds) else replace(sent, signed=self._signer.sign(kinds[chosen]), batch=None)
