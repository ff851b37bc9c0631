"""A ledger's files on disk, read without changing one of them.

LevelDB can't open a store for reading only: opening writes a manifest, replays the log and may compact.  Who only
looks takes LevelDB's own lock, so that no node starts meanwhile, and opens a shadow of the store elsewhere.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ledger.storage import StoreLocked

LOCK = "LOCK"
NOT_DATA = frozenset({LOCK, "LOG", "LOG.old"})
"""What LevelDB makes anew: its lock, and its log for people."""
TABLES = (".ldb", ".sst")
"""Files that LevelDB never changes once they are written."""


@contextmanager
def hold_ledger(folder: Path) -> Generator[None]:
    """Keep every node off the ledger in `folder` meanwhile; changes nothing.  Raises StoreLocked while one runs.

    The lock is the process's: it does not see, and closing drops, one that this very process holds by `Store`.
    """
    path = folder / LOCK
    if not path.exists():
        yield
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreLocked(
                f"{folder}: a running node uses this ledger; stop it first (Ctrl-C, or SIGTERM to its process)"
            ) from error
        yield
    finally:
        os.close(descriptor)


def list_ledger(folder: Path) -> list[Path]:
    """Return the files that make up a ledger, by name."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name not in NOT_DATA)


@contextmanager
def shadow_ledger(folder: Path) -> Generator[Path]:
    """Return a folder that opens as the ledger does: tables by link, all else copied.  Hold the ledger meanwhile."""
    with tempfile.TemporaryDirectory(prefix="atlas-shadow-") as name:
        shadow = Path(name)
        for path in list_ledger(folder):
            if path.suffix in TABLES:
                (shadow / path.name).symlink_to(path.resolve())
            else:
                shutil.copyfile(path, shadow / path.name)
        yield shadow
