"""The flood of proposals: far-off places, views to come, no batch at all, too large a batch, and views of others."""

from dataclasses import replace

from consensus.messages import PrePrepare, Sign, compute_batch_digest
from simulations.byzantine.resign import Signer
from simulations.observations import Sent

FAR = 1_000_000
OVERSIZED_EVERY = 500
"""One in so many is larger than a batch may be; they cost the simulator more than the replicas."""


class FloodProposals:
    """Adds `times` proposals to each of its own frames, until it has added `total_max`.

    Only one that is for the next place of its own view condemns that view; the rest must cost nothing.
    """

    def __init__(self, me: int, sign: Sign, n: int, batch_bytes_max: int, total_max: int, times: int = 32) -> None:
        self._signer, self._n = Signer(me, sign), n
        self._batch_bytes_max = batch_bytes_max
        self._times = times
        self._left = total_max
        self._count = 0

    def __call__(self, sent: Sent) -> list[Sent]:
        view = getattr(sent.signed.message, "view", None)
        if view is None or not self._signer.is_own(sent.signed):
            return [sent]
        added = [self._make(sent, view) for _ in range(min(self._times, self._left))]
        self._left -= len(added)
        return [sent, *added]

    def _make(self, sent: Sent, view: int) -> Sent:
        self._count += 1
        count, me = self._count, self._signer.me
        own = view + (me - view) % self._n  # the next view that is its own
        seq = getattr(sent.signed.message, "seq", 0) + 1
        batch = b"no batch %d" % count
        if count % OVERSIZED_EVERY == 0:
            batch = bytes(self._batch_bytes_max + 1)
        place = {
            0: (own, seq + FAR + count),
            1: (own + self._n * (count % 3), seq + count % 64),
            2: (view + FAR * self._n + (me - view) % self._n, seq),
            3: (own + 1, seq),  # not its own
        }[count % 4]
        message = PrePrepare(compute_batch_digest(batch), me, place[1], place[0])
        return replace(sent, signed=self._signer.sign(message), batch=batch)
