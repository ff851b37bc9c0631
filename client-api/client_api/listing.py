"""Walking an index from new to old, a page at a time, pinned to a height."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
) -> Iterator[tuple[Reading, int | None, int | None]]:
    """Give (reading, before, after): pinned by the cursor's height, else by `at`, else the head."""
    found = None if cursor is None else decode_cursor(cursor, filter_hash)
    with context.read(at if found is None else found.height) as reading:
        yield reading, None if found is None else found.before, None if found is None else found.after


def read_page(
    reading: Reading,
    prefix: bytes,
    filter_hash: bytes,
    limit: int,
    before: int | None,
    after: int | None,
    keep: Callable[[int, bytes], bool] = lambda index, value: True,
) -> Page:
    """Return one page of an index whose keys are `prefix` and a log index."""
    low = 0 if after is None else after + 1
    high = reading.header.log_size if before is None else min(before, reading.header.log_size)
    backward = after is None
    found = reading.snapshot.iterate(prefix + keyspace.u64(low), prefix + keyspace.u64(high), reverse=backward)
    entries: list[tuple[int, bytes]] = []
    more = False
    last = None
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
    indexes = [index for index, _ in entries]
    if backward:
        if more and len(entries) < limit and last is not None:
            indexes.append(last)  # the scan's bound ended the page: go on below the last entry looked at
        older, newer = more, before is not None
    else:
        entries.reverse()
        indexes.reverse()
        older, newer = True, more
    following, preceding = make_cursors(indexes, filter_hash, reading.height, older=older, newer=newer)
    return Page(entries, following, preceding)
