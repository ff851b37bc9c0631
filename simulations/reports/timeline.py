"""A run as text: one line for each observation, with its time, its replica and what happened."""

from collections.abc import Iterable, Iterator

from simulations.observations import Delivered, Dropped, Observation, Paced, Sent, Sized
from simulations.reports.words import get_replica, select, tell

TIME_CHARS = 9
REPLICA_CHARS = 7
FRAMES = (Sent, Delivered, Dropped, Sized, Paced)
"""What there is most of; `frames=False` leaves it out."""


def make_timeline(
    observations: Iterable[Observation], from_ms: int = 0, to_ms: int | None = None, *, frames: bool = True
) -> str:
    """Return the text; with a time window only what happened in it, both ends included."""
    return "".join(f"{line}\n" for line in list_lines(select(observations, from_ms, to_ms), frames=frames))


def list_lines(observations: Iterable[Observation], *, frames: bool = True) -> Iterator[str]:
    """Yield a heading and the lines, so that a long run need not be held as text."""
    yield f"{'ms':>{TIME_CHARS}}  {'replica':<{REPLICA_CHARS}}  what"
    for observation in observations:
        if frames or not isinstance(observation, FRAMES):
            replica = get_replica(observation)
            where = "-" if replica is None else str(replica)
            yield f"{observation.at_ms:>{TIME_CHARS}}  {where:<{REPLICA_CHARS}}  {tell(observation)}"
