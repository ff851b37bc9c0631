"""Pruning: dropping what old blocks hold, once it lies in an archive.

Kept are all headers, certificates, log nodes, ids of events and the state: so every proof can still be made, with the
event and the receipt from the archive.  Dropped are events, receipts, what lists them, moves, and their payloads.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ledger import keyspace
from ledger.block import StoredEvent, decode_header
from ledger.history import encode_history, read_history
from ledger.primitives.records import decode_record
from ledger.reading import Snapshot
from ledger.storage import Storage

KEYS_AT_ONCE = 4_096


def prune(store: Storage, height: int, progress: Callable[[int], None] = lambda keys: None) -> int:
    """Drop what the blocks up to `height` hold; return how many keys that were.

    The store says first that they are pruned, so one that was cut off can be pruned again.  All blocks up to the height
    must be here.  Blocks on the disk.
    """
    assert mark_pruned(store, height), f"blocks up to height {height} are missing"
    return drop_pruned(store, height, progress)


def mark_pruned(store: Storage, height: int) -> bool:
    """Let the store say that the blocks up to `height` are pruned; False where some of them have yet to come.

    Nothing else may write what is said of history meanwhile.
    """
    history = read_history(store)
    if any(gap.first <= height for gap in history.gaps):
        return False
    if height > history.pruned_to:
        store.write([encode_history(replace(history, pruned_to=height))], [])
    return True


def drop_pruned(store: Storage, height: int, progress: Callable[[int], None] = lambda keys: None) -> int:
    """Drop what the store says is pruned up to `height`, a part at a time; return how many keys that were."""
    dropped = 0
    with store.snapshot() as snapshot:
        some: list[bytes] = []
        for key in _list_keys(snapshot, height):
            some.append(key)
            if len(some) == KEYS_AT_ONCE:
                store.write([], some, sync=False)
                dropped += len(some)
                progress(dropped)
                some = []
    store.write([], some)
    return dropped + len(some)


def _list_keys(snapshot: Snapshot, height: int) -> Iterator[bytes]:
    """Yield the keys of payloads, events, receipts and index rows up to a height, payloads before their events."""
    header = snapshot.get(keyspace.header(height))
    assert header is not None, f"the header of height {height} is missing"
    size = decode_header(header).log_size
    for key, data in snapshot.iterate(keyspace.event(0), keyspace.event(size)):
        content = decode_record(StoredEvent, data).content
        if content is not None:
            yield keyspace.payload(content)
        yield key
    for key, _ in snapshot.iterate(keyspace.receipt(0), keyspace.receipt(size), values=False):
        yield key
    for prefix in (keyspace.INDEX, keyspace.MOVES):
        for key, _ in snapshot.iterate(prefix, keyspace.after(prefix), values=False):
            if int.from_bytes(key[-8:], "big") < size:  # every key of these ends in a log index
                yield key
