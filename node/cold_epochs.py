"""The archive of a node's cold epochs, as the running node reads it: opened when needed, again when it has changed."""

import logging
from threading import Lock

from ledger.archive.collection import Archive, ArchiveIncomplete
from ledger.archive.layout import SegmentDamaged
from node.archive_store import ArchiveStore, ArchiveUnreachable

logger = logging.getLogger(__name__)


class ColdEpochs:
    """Opens an archive; callable from any thread.  Blocks on whatever the archive lies on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = Lock()
        self._states: list[tuple[str, str]] = []
        self._archive: Archive | None = None

    def open(self) -> Archive | None:
        """Return the archive as it is now; None where there is none, or where it can't be read."""
        with self._lock:
            try:
                store = ArchiveStore(self._url)
                states = store.list_states()
                if states != self._states:  # it has grown, or a text was erased from it
                    self._archive = store.open_archive() if states else None
                    self._states = states
            except (ArchiveUnreachable, ArchiveIncomplete, SegmentDamaged) as error:
                logger.warning("the archive can't be read: %s", error)
                return None
            return self._archive
