"""How hard the world is: one value, drawn from a scenario's ranges by the seed."""

import random
from dataclasses import dataclass, fields

Range = tuple[int, int]
"""The lowest and the highest value that may be drawn, both included."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates and durations.  Each link and node draws from the ranges; a gap of (0, 0) means never."""

    delay_ms: Range = (1, 5)
    loss_permille: Range = (0, 0)
    repeat_permille: Range = (0, 0)
    reorder_permille: Range = (0, 0)
    """Of the frames, these are held back by up to `reorder_ms`."""
    reorder_ms: Range = (0, 0)
    cut_gap_ms: Range = (0, 0)
    """Between two cuts; a cut takes away one direction of a link, one node's links, or parts the nodes in two."""
    cut_ms: Range = (0, 0)
    clog_gap_ms: Range = (0, 0)
    """Between two clogs; a clogged link takes frames and gives none before it is released."""
    clog_ms: Range = (0, 0)
    clog_frames_max: int = 128
    crash_gap_ms: Range = (0, 0)
    """Between two crashes at any time."""
    down_ms: Range = (200, 2_000)
    crash_point_ppm: Range = (0, 0)
    """In a million: crashes before and after a sync or a write, and between two sends."""
    write_failure_ppm: Range = (0, 0)
    """In a million: writes that the disk refuses; the node stops, as a node does."""
    flip_permille: Range = (0, 0)
    """Of the crashes of f replicas, these flip a bit in the vote log; those replicas are not judged."""
    drift_permille: Range = (0, 0)
    """How much a node's clock runs fast or slow."""


CALM = Faults()


def draw(stream: random.Random, bounds: Range) -> int:
    return stream.randint(*bounds)


def draw_rates(stream: random.Random, faults: Faults) -> Faults:
    """Return the faults with some of them left out: seeds differ in what goes wrong, not only in when."""
    kept = {field.name: getattr(faults, field.name) for field in fields(Faults)}
    for name in ("loss_permille", "repeat_permille", "reorder_permille", "cut_gap_ms", "clog_gap_ms", "crash_gap_ms"):
        if stream.randrange(5) == 0:
            kept[name] = (0, 0)
    return Faults(**kept)
