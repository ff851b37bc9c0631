"""The state tree on disk: kept in pages, brought up to date at each epoch's begin from the keys touched since the last.

A page holds the leaves whose paths share 14 bits, as keys and leaf hashes in order of path.  A group sums up 128 pages,
the top row sums up the 128 groups.  None of that shows in the root: it only bounds how much is read and hashed again.

Version e is the tree over the state in which epoch e began.  What a version changed is kept with what was there before,
so the last versions can be read: headers commit to the version of their epoch, or of the one before in its first
quarter, and snapshots are served from there.  A build reads a snapshot of the store, so it may run beside the
execution of the next blocks; everything that it writes can be written again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from ledger import keyspace
from ledger.events import View
from ledger.head import decode_head
from ledger.primitives.encoding import decode_plain, encode_plain
from ledger.primitives.records import U64, Bytes32, decode_record, encode_record
from ledger.reading import Snapshot
from ledger.state_tree import (
    StateProof,
    Subtree,
    compute_path,
    compute_subtree,
    find_siblings,
    join_sparse,
    make_leaf,
)
from ledger.storage import Storage
from ledger.undo import StateAt, list_changed

PAGE_BITS = 14
GROUP_BITS = 7
VERSIONS_KEPT = 4
"""Versions that can be read, the newest included: whoever fetches a snapshot has so many epochs for it."""

_TOP = b"t"


@dataclass(frozen=True, slots=True)
class TreeVersion:
    """A version of the state tree: the root over the state after a height, in which an epoch began."""

    height: U64
    root: Bytes32
    version: U64


def _page(number: int) -> bytes:
    return b"p" + number.to_bytes(2, "big")


def _group(number: int) -> bytes:
    return b"g" + bytes([number])


class TreeAt:
    """The state tree as of one version, also of the newest while the next one is being built over it."""

    def __init__(self, snapshot: Snapshot, version: int) -> None:
        self._snapshot = snapshot
        self._version = version

    def read_page(self, number: int) -> list[tuple[bytes, bytes]]:
        """Return the keys and leaf hashes of a page, in order of path."""
        return _decode_page(self._get(_page(number)))

    def read_groups(self) -> list[tuple[int, Subtree]]:
        """Return what is not empty of the 128 subtrees at depth 7."""
        return _decode_row(self._get(_TOP))

    def read_pages_of(self, group: int) -> list[tuple[int, Subtree]]:
        """Return what is not empty of a group's 128 subtrees at depth 14, by their place in the group."""
        return _decode_row(self._get(_group(group)))

    def prove(self, key: bytes, read: Callable[[bytes], bytes | None]) -> StateProof:
        """Return what shows the value of a key, or that it has none; `read` gives values of this version's state."""
        path = compute_path(key)
        page = int.from_bytes(path[:2], "big") >> 16 - PAGE_BITS
        group, place = page >> GROUP_BITS, page & (1 << GROUP_BITS) - 1
        siblings, row = _descend(self.read_groups(), group)
        if not row or row[0][0] != group or row[0][1].leaves == 1:
            other = self._read_only(row[0][0]) if row else None
            return _make_proof(siblings, key, other, read)
        below, row = _descend(self.read_pages_of(group), place)
        siblings += below
        if not row or row[0][0] != place or row[0][1].leaves == 1:
            other = self.read_page(group << GROUP_BITS | row[0][0])[0][0] if row else None
            return _make_proof(siblings, key, other, read)
        entries = self.read_page(page)
        below, at = find_siblings([(compute_path(each), leaf) for each, leaf in entries], path, PAGE_BITS)
        other = None if at is None else entries[at][0]
        return _make_proof([*siblings, *reversed(below)], key, other, read)

    def _read_only(self, group: int) -> bytes:
        """Return the key of the one leaf below a group."""
        return self.read_page(group << GROUP_BITS | self.read_pages_of(group)[0][0])[0][0]

    def _get(self, place: bytes) -> bytes:
        start, stop = keyspace.tree_undo(place, self._version + 1), keyspace.tree_undo(place, keyspace.HEIGHT_MAX)
        for _, saved in self._snapshot.iterate(start, stop):
            return saved
        return self._snapshot.get(keyspace.tree_row(place)) or b""


def _descend(row: list[tuple[int, Subtree]], place: int) -> tuple[list[bytes], list[tuple[int, Subtree]]]:
    """Return the siblings of a place of a row, from the top, and what stands there: one subtree or none."""
    siblings: list[bytes] = []
    for below in range(GROUP_BITS - 1, -1, -1):
        if sum(subtree.leaves for _, subtree in row) <= 1:
            break
        halves: tuple[list[tuple[int, Subtree]], list[tuple[int, Subtree]]] = ([], [])
        for each in row:
            halves[each[0] >> below & 1].append(each)
        mine = place >> below & 1
        siblings.append(join_sparse(halves[1 - mine], below).hash)
        row = halves[mine]
    return siblings, row


def _make_proof(
    siblings: list[bytes], key: bytes, found: bytes | None, read: Callable[[bytes], bytes | None]
) -> StateProof:
    """siblings: from the top.  found: the key of the leaf that stands at the key's place."""
    other = None
    if found is not None and found != key:
        value = read(found)
        assert value is not None, f"the state tree has a key that the state has not: {found.hex()}"
        other = compute_path(found), hashlib.sha256(value).digest()
    return StateProof(tuple(reversed(siblings)), other)


def read_newest(snapshot: Snapshot) -> TreeVersion:
    """Return the newest version that is built."""
    data = snapshot.get(keyspace.META_TREE)
    assert data is not None, "every chain has a version of its state tree from genesis on"
    return decode_record(TreeVersion, data)


def read_version(view: View, version: int) -> TreeVersion | None:
    """Return a version that can still be read, or None."""
    data = view.get(keyspace.tree_version(version))
    return None if data is None else decode_record(TreeVersion, data)


def build_first(state: Iterable[tuple[bytes, bytes]], version: int, height: int) -> list[tuple[bytes, bytes]]:
    """Return what to put for the tree over a whole state, where there is none yet."""
    leaves = sorted((*make_leaf(key, value), key) for key, value in state)
    puts: list[tuple[bytes, bytes]] = []
    sums: dict[int, Subtree] = {}
    for number, found in groupby(leaves, lambda leaf: int.from_bytes(leaf[0][:2], "big") >> 16 - PAGE_BITS):
        members = list(found)
        puts.append((page_row(number), encode_page([(key, leaf) for _, leaf, key in members])))
        sums[number] = compute_subtree([(path, leaf) for path, leaf, _ in members], PAGE_BITS)
    root = join_sparse(sorted(sums.items()), PAGE_BITS).hash
    return [*puts, *list_sum_rows(sums), *_list_version(TreeVersion(height, root, version))]


def page_row(number: int) -> bytes:
    """Return the key of a page's row."""
    return keyspace.tree_row(_page(number))


def list_sum_rows(sums: dict[int, Subtree]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows over pages, from the subtrees of those that are not empty, in order of page."""
    top: list[tuple[int, Subtree]] = []
    for group, members in groupby(sorted(sums.items()), lambda each: each[0] >> GROUP_BITS):
        row = [(number & (1 << GROUP_BITS) - 1, subtree) for number, subtree in members]
        yield keyspace.tree_row(_group(group)), _encode_row(row)
        top.append((group, join_sparse(row, GROUP_BITS)))
    yield keyspace.tree_row(_TOP), _encode_row(top)


def build_next(store: Storage, height: int, after: TreeVersion) -> TreeVersion:
    """Bring the tree up to the state after `height`, in which the epoch after that of version `after` began.

    Written in parts, each of which can be written again after a crash; the new
    version counts once the last is written.  Blocks on the disk, for as long as about 10 µs a touched key.
    """
    version = after.version + 1
    with store.snapshot() as snapshot:
        head, _ = decode_head(snapshot.get(keyspace.META_HEAD) or b"")
        changed = _list_touched(snapshot, after.height, height, head)
        top = dict(_read_before(snapshot, _TOP, version))
        places: list[bytes] = []
        for group, keys in groupby(changed, lambda each: each[0][0] >> 8 - GROUP_BITS):
            puts, touched, row = _rebuild_group(snapshot, group, list(keys), version)
            places += touched
            _set(top, group, join_sparse(sorted(row.items()), GROUP_BITS))
            store.write(puts, [], sync=False)
        puts = _replace(snapshot, _TOP, _encode_row(sorted(top.items())), version)
        built = TreeVersion(height, join_sparse(sorted(top.items()), GROUP_BITS).hash, version)
        puts += [*_list_version(built), (keyspace.tree_rows(version), encode_plain([*places, _TOP]))]
        store.write(puts, list(_list_outdated(snapshot, version)), sync=False)
    return built


def _list_touched(snapshot: Snapshot, after: int, height: int, head: int) -> list[tuple[bytes, bytes, bytes | None]]:
    """Return (path, key, value or None) of every key that blocks after..height touched, in order of path."""
    keys = _list_keys(snapshot, after + 1, height)
    later = _list_keys(snapshot, height + 1, head)
    state = StateAt(snapshot, height, head)
    return sorted((compute_path(key), key, state.get(key) if key in later else snapshot.get(key)) for key in keys)


def _list_keys(snapshot: Snapshot, first: int, last: int) -> set[bytes]:
    keys: set[bytes] = set()
    for height in range(first, last + 1):
        data = snapshot.get(keyspace.undo_keys(height))
        assert data is not None, f"the undo record of height {height} is missing"
        keys.update(list_changed(data))
    return keys


def _rebuild_group(
    snapshot: Snapshot, group: int, changed: list[tuple[bytes, bytes, bytes | None]], version: int
) -> tuple[list[tuple[bytes, bytes]], list[bytes], dict[int, Subtree]]:
    puts: list[tuple[bytes, bytes]] = []
    row = dict(_read_before(snapshot, _group(group), version))
    places: list[bytes] = []
    for number, found in groupby(changed, lambda each: int.from_bytes(each[0][:2], "big") >> 16 - PAGE_BITS):
        page = dict(_decode_page(_get_before(snapshot, _page(number), version)))
        for _, key, value in found:
            if value is None:
                page.pop(key, None)
            else:
                page[key] = make_leaf(key, value)[1]
        leaves = sorted((compute_path(key), leaf, key) for key, leaf in page.items())
        data = encode_page([(key, leaf) for _, leaf, key in leaves])
        puts += _replace(snapshot, _page(number), data, version)
        places.append(_page(number))
        subtree = compute_subtree([(path, leaf) for path, leaf, _ in leaves], PAGE_BITS)
        _set(row, number & (1 << GROUP_BITS) - 1, subtree)
    puts += _replace(snapshot, _group(group), _encode_row(sorted(row.items())), version)
    places.append(_group(group))
    return puts, places, row


def _set(row: dict[int, Subtree], place: int, subtree: Subtree) -> None:
    if subtree.leaves:
        row[place] = subtree
    else:
        row.pop(place, None)


def _get_before(snapshot: Snapshot, place: bytes, version: int) -> bytes:
    """Return a row as it was before a version, of which a part may have been written before a crash."""
    saved = snapshot.get(keyspace.tree_undo(place, version))
    return (snapshot.get(keyspace.tree_row(place)) or b"") if saved is None else saved


def _read_before(snapshot: Snapshot, place: bytes, version: int) -> list[tuple[int, Subtree]]:
    return _decode_row(_get_before(snapshot, place, version))


def _replace(snapshot: Snapshot, place: bytes, data: bytes, version: int) -> list[tuple[bytes, bytes]]:
    before = _get_before(snapshot, place, version)
    return [(keyspace.tree_row(place), data), (keyspace.tree_undo(place, version), before)]


def _list_version(version: TreeVersion) -> Iterator[tuple[bytes, bytes]]:
    record = encode_record(version)
    yield keyspace.META_TREE, record
    yield keyspace.tree_version(version.version), record


def _list_outdated(snapshot: Snapshot, version: int) -> Iterator[bytes]:
    """Yield what only versions need that are no longer kept once this one is the newest."""
    oldest = version - VERSIONS_KEPT + 1
    for key, _ in snapshot.iterate(keyspace.TREE_VERSION, keyspace.tree_version(max(0, oldest)), values=False):
        yield key
    for key, data in snapshot.iterate(keyspace.TREE_ROWS, keyspace.tree_rows(max(0, oldest + 1))):
        yield key
        changed = int.from_bytes(key[1:], "big")
        for place in cast("list[bytes]", decode_plain(data)):
            yield keyspace.tree_undo(place, changed)


def encode_page(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Return the row of a page that holds these keys and leaf hashes, in order of path."""
    return encode_plain([part for entry in entries for part in entry]) if entries else b""


def _decode_page(data: bytes) -> list[tuple[bytes, bytes]]:
    if not data:
        return []
    flat = cast("list[bytes]", decode_plain(data))
    return list(zip(flat[::2], flat[1::2], strict=True))


def _encode_row(row: list[tuple[int, Subtree]]) -> bytes:
    return b"".join(bytes([place, subtree.leaves]) + subtree.hash for place, subtree in row)


def _decode_row(data: bytes) -> list[tuple[int, Subtree]]:
    return [(data[at], Subtree(data[at + 2 : at + 34], data[at + 1])) for at in range(0, len(data), 34)]
