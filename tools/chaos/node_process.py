"""One node's process, with a wall clock that the harness can move.

Started as `python -m tools.chaos.node_process OFFSET_FILE FOLDER`.  The node itself knows nothing of it: before its
command line runs, `time.time` and `time.time_ns` are replaced by ones that add the milliseconds which OFFSET_FILE holds
(8 bytes, signed, big endian, shared memory).  `time.monotonic` is left alone, as an operator's clock change leaves it.
"""

import mmap
import sys
import time
from pathlib import Path

OFFSET_BYTES = 8


def move_wall_clock(path: Path) -> None:
    """From now on, this process' wall clock is the machine's plus what the file says."""
    with path.open("r+b") as file:
        offset = mmap.mmap(file.fileno(), OFFSET_BYTES)
    real_time_ns = time.time_ns

    def time_ns() -> int:
        return real_time_ns() + int.from_bytes(offset[:OFFSET_BYTES], "big", signed=True) * 1_000_000

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1_000_000_000


def write_offset(path: Path, offset_ms: int) -> None:
    """Set what a running process adds to its wall clock."""
    with path.open("r+b") as file:
        file.write(offset_ms.to_bytes(OFFSET_BYTES, "big", signed=True))


if __name__ == "__main__":
    move_wall_clock(Path(sys.argv[1]))
    from node.cli.main import main  # only now: nothing may have taken a reference to the real clock before

    sys.exit(main(["run", sys.argv[2]]))
