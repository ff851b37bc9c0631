"""Liars: each takes what its correct replica would send to one other, and gives what is sent in its place.

A liar has one replica's key, `Sign`, and signs with it alone, so that what it says is a lie of that replica and not a
mere forgery; messages of others it can only repeat.  All are deterministic: the same frames in, the same out.
"""

from collections.abc import Callable
from typing import TypeAlias

from simulations.observations import Sent

Behaviour: TypeAlias = Callable[[Sent], list[Sent]]
"""Called for every frame to every receiver; a broadcast comes n - 1 times with the same message."""
