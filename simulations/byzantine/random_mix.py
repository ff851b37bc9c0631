"""The mix: for each frame the seed draws how to lie, if at all."""

import random
from collections.abc import Collection, Mapping

from consensus.messages import Sign
from simulations.byzantine import Behaviour
from simulations.byzantine.equivocate import Equivocate, MakeOther
from simulations.byzantine.flood import Flood
from simulations.byzantine.mutate import (
    BadSignature,
    DropCertificate,
    DropPrepared,
    OtherDigest,
    ReplayOld,
    ShiftSeq,
    ShiftView,
)
from simulations.byzantine.silent import Mute, Sluggish
from simulations.observations import Sent

RATES = {
    "view_up": 3,
    "view_down": 3,
    "seq_up": 3,
    "seq_down": 3,
    "other_digest": 5,
    "replay_old": 5,
    "drop_certificate": 20,
    "drop_prepared": 40,
    "bad_signature": 2,
    "mute": 5,
    "sluggish": 5,
    "flood": 2,
}
"""Percent of frames; the rest is left as it is.  A behaviour that has nothing to change leaves the frame too."""


class RandomMix:
    """Draws one behaviour for each frame.  What it equivocates about it does not draw: halves must hear one story."""

    def __init__(
        self,
        me: int,
        sign: Sign,
        rng: random.Random,
        *,
        n: int,
        window: int,
        second_half: Collection[int] = (),
        make_other: MakeOther | None = None,
        rates: Mapping[str, int] = RATES,
    ) -> None:
        self._rng = rng
        self._equivocate = None if make_other is None else Equivocate(me, sign, second_half, make_other)
        behaviours: dict[str, Behaviour] = {
            "view_up": ShiftView(me, sign, n, 1),
            "view_down": ShiftView(me, sign, n, -1),
            "seq_up": ShiftSeq(me, sign, 1),
            "seq_down": ShiftSeq(me, sign, -1),
            "other_digest": OtherDigest(me, sign),
            "replay_old": ReplayOld(),
            "drop_certificate": DropCertificate(me, sign, window),
            "drop_prepared": DropPrepared(me, sign),
            "bad_signature": BadSignature(),
            "mute": Mute(range(n)),
            "sluggish": Sluggish(3),
            "flood": Flood(me, sign, n),
        }
        unknown = sorted(set(rates) - set(behaviours))
        assert not unknown, f"expected rates for {sorted(behaviours)}, got {unknown}"
        self._drawn = [(rates[name], behaviours[name]) for name in behaviours if rates.get(name, 0)]
        self._percent = [rate for rate, _ in self._drawn]
        assert sum(self._percent) <= 100, f"expected at most 100 percent, got {sum(self._percent)}"

    def __call__(self, sent: Sent) -> list[Sent]:
        told = [sent] if self._equivocate is None else self._equivocate(sent)
        return [each for frame in told for each in self._lie(frame)]

    def _lie(self, sent: Sent) -> list[Sent]:
        drawn = self._rng.randrange(100)
        for rate, behaviour in self._drawn:
            if drawn < rate:
                return behaviour(sent)
            drawn -= rate
        return [sent]
