"""Walking an index from new to old, a page at a time, pinned to a height."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import merge
from itertools import islice

from client_api.context import Context, Reading
from client_api.paging import decode_cursor, make_cursors
from ledger import keyspace

SCANNED_MAX = 20_000
"""Index entries that one request looks at while it filters; the page then ends early, and `next` goes on."""


@dataclass(frozen=True, slots=True)
class Page:
    """The log indexes of one page, newest first, with what the index holds for each."""

    entries: list[tuple[int, bytes]]
    next: str | None
    prev: str | None


@contextmanager
def open_listing(
    context: Context, cursor: str | None, filter_hash: bytes, at: int | None
) -> Generator[tuple[Reading, int | None, int | None]]:
    """Give (reading, before, after): pinned by the cursor's height, else by `at`, else the head."""
    found = None if cursor is None else decode_cursor(cursor, filter_hash)
    with context.read(at if found is None else found.height) as reading:
        yield reading, None if found is None else found.before, None if found is None else found.after


def read_page(
    reading: Reading,
    prefix: bytes | tuple[bytes, ...],
    filter_hash: bytes,
    limit: int,
    before: int | None,
    after: int | None,
    keep: Callable[[int, bytes], bool] = lambda index, value: True,
) -> Page:
    """Return one page of an index whose keys are `prefix` and a log index, or of several such read as one."""
    size = reading.header.log_size
    low = 0 if after is None else min(after + 1, size)
    high = size if before is None else min(before, size)
    backward = after is None
    parts = [
        reading.snapshot.iterate(each + keyspace.u64(low), each + keyspace.u64(high), reverse=backward)
        for each in ((prefix,) if isinstance(prefix, bytes) else prefix)
    ]
    found = parts[0] if len(parts) == 1 else merge(*parts, key=lambda item: item[0][-8:], reverse=backward)
    entries: list[tuple[int, bytes]] = []
    more = False
    last = high if backward else low - 1
    for key, value in islice(found, SCANNED_MAX):
        index = last = int.from_bytes(key[-8:], "big")
        if not keep(index, value):
            continue
        if len(entries) == limit:
            more = True
            break
        entries.append((index, value))
    else:
        more = next(found, None) is not None
    # A full page ends at its last entry; one that ended early, at the last that was looked at.
    edge = entries[-1][0] if len(entries) == limit else last
    if backward:
        lowest, highest = edge, entries[0][0] if entries else max(high - 1, 0)
        older, newer = more, before is not None
    else:
        entries.reverse()
        lowest, highest = entries[-1][0] if entries else low, edge
        older, newer = True, more
    following, preceding = make_cursors(lowest, highest, filter_hash, reading.height, older=older, newer=newer)
    return Page(entries, following, preceding)
