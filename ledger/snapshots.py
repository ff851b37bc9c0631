"""Snapshots of the state, in pages that anyone can check: what a node serves, and what one that fetches believes.

Every header commits to the root of the state tree over an earlier state.  A manifest gives the tree's subtrees at depth
14, which join to that root, so each page of keys and values is proven by itself, whoever sent it; and the right edge of
the log, which gives the log root of the header of that height.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, cast

from ledger import keyspace
from ledger.block import Header, decode_header
from ledger.head import decode_head
from ledger.primitives import merkle
from ledger.primitives.encoding import EncodingError, decode_plain, encode_plain
from ledger.primitives.records import U32, Bytes32, Length
from ledger.reading import Snapshot
from ledger.state_pages import (
    GROUP_BITS,
    PAGE_BITS,
    TreeAt,
    TreeVersion,
    read_newest,
    read_version,
)
from ledger.state_tree import Subtree, compute_subtree, join_sparse, make_leaf
from ledger.undo import StateAt

PAGES = 1 << PAGE_BITS
PAGE_PARTS_MAX = 65_536
PAGE_BYTES_MAX = 8 * 1024 * 1024
LOG_EDGE_MAX = 64


class SnapshotInvalid(ValueError):
    """A part of a snapshot is not what the certified headers commit to."""


@dataclass(frozen=True, slots=True)
class PageSum:
    """The subtree over one page: how many leaves it has (2 for more), its hash, and which page it is."""

    hash: Bytes32
    leaves: U32
    page: U32


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the pages of a snapshot must hash to, and the complete log nodes on the right edge, from the lowest."""

    log_edge: Annotated[tuple[Bytes32, ...], Length(0, LOG_EDGE_MAX)]
    pages: Annotated[tuple[PageSum, ...], Length(0, PAGES)]


@dataclass(frozen=True, slots=True)
class Page:
    """All of the state in one page: the canonical form of the list key, value, key, value … in order of path."""

    items: Annotated[bytes, Length(1, PAGE_BYTES_MAX)]
    page: U32


@dataclass(frozen=True, slots=True)
class ProvenPage:
    """A page that is proven: its keys, values and leaf hashes in order of path."""

    items: list[tuple[bytes, bytes]]
    leaves: list[bytes]
    page: int


# Serving.


def find_version(snapshot: Snapshot, height: int) -> TreeVersion | None:
    """Return the version of the state tree over the state after `height`; None when it is not kept, or not built."""
    newest = read_newest(snapshot).version
    for version in range(newest, max(-1, newest - PAGES), -1):
        found = read_version(snapshot, version)
        if found is None or found.height <= height:
            return found if found is not None and found.height == height else None
    return None


def make_manifest(snapshot: Snapshot, version: TreeVersion) -> Manifest:
    """Return the manifest of a version that `find_version` gave for the same snapshot of the store."""
    tree = TreeAt(snapshot, version.version)
    pages = tuple(
        PageSum(subtree.hash, subtree.leaves, group << GROUP_BITS | place)
        for group, _ in tree.read_groups()
        for place, subtree in tree.read_pages_of(group)
    )
    data = snapshot.get(keyspace.header(version.height))
    assert data is not None, f"the header of height {version.height} is missing"
    return Manifest(tuple(_read_log_edge(snapshot, decode_header(data).log_size)), pages)


def _read_log_edge(snapshot: Snapshot, size: int) -> Iterator[bytes]:
    for level, index in list_log_edge(size):
        node = snapshot.get(keyspace.log_node(level, index))
        assert node is not None, f"the log tree's node {level}/{index} is missing"
        yield node


def list_log_edge(size: int) -> Iterator[tuple[int, int]]:
    """Yield the places of the complete subtrees that a log of this size is made of, from the lowest."""
    for level in range(size.bit_length()):
        if size >> level & 1:
            yield level, (size >> level) - 1


def read_pages(
    snapshot: Snapshot, version: TreeVersion, first: int, last: int, bytes_max: int
) -> tuple[list[Page], int]:
    """Return what is not empty of the pages first..last, as many as fit and at least one, and which page follows."""
    tree = TreeAt(snapshot, version.version)
    head, _ = decode_head(snapshot.get(keyspace.META_HEAD) or b"")
    state = StateAt(snapshot, version.height, head)
    pages: list[Page] = []
    size = 0
    for number in range(first, last + 1):
        entries = tree.read_page(number)
        if not entries:
            continue
        items = encode_plain([part for key, _ in entries for part in (key, _read_value(state, key))])
        size += len(items)
        if pages and size > bytes_max:
            return pages, number
        pages.append(Page(items, number))
    return pages, last + 1


def _read_value(state: StateAt, key: bytes) -> bytes:
    value = state.get(key)
    assert value is not None, f"the state tree has a key that the state has not: {key.hex()}"
    return value


# Believing.


def verify_manifest(manifest: Manifest, root: bytes, header: Header) -> dict[int, Subtree]:
    """Return the subtrees of the pages that are not empty, by page.  Raises SnapshotInvalid.

    root: of the state tree, from a certified header that names `header`'s height as its state's.
    """
    sums: dict[int, Subtree] = {}
    before = -1
    for each in manifest.pages:
        if not before < each.page < PAGES or each.leaves not in (1, 2):
            raise SnapshotInvalid(f"expected pages in order, with leaves, below {PAGES}; got page {each.page}")
        before = each.page
        sums[each.page] = Subtree(each.hash, each.leaves)
    found = join_sparse(sorted(sums.items()), PAGE_BITS).hash
    if found != root:
        raise SnapshotInvalid(f"expected pages with the state root {root.hex()}, got {found.hex()}")
    places = list(list_log_edge(header.log_size))
    if len(places) != len(manifest.log_edge):
        raise SnapshotInvalid(f"expected {len(places)} log nodes, got {len(manifest.log_edge)}")
    nodes = dict(zip(places, manifest.log_edge, strict=True))
    if merkle.root_at(header.log_size, lambda level, index: nodes[level, index]) != header.log_root:
        raise SnapshotInvalid("expected log nodes with the header's log root, got others")
    return sums


def verify_page(page: Page, expected: Subtree) -> ProvenPage:
    """Return what a page holds.  Raises SnapshotInvalid."""
    try:
        parts = decode_plain(page.items, PAGE_PARTS_MAX)
    except EncodingError as error:
        raise SnapshotInvalid(f"page {page.page}: {error}") from error
    if type(parts) is not list or len(parts) % 2 or any(type(part) is not bytes for part in parts):
        raise SnapshotInvalid(f"page {page.page}: expected a list of keys and values")
    flat = cast("list[bytes]", parts)
    items = list(zip(flat[::2], flat[1::2], strict=True))
    leaves = [make_leaf(key, value) for key, value in items]
    before = b""
    for (path, _), (key, _) in zip(leaves, items, strict=True):
        if int.from_bytes(path[:2], "big") >> 16 - PAGE_BITS != page.page or path <= before:
            raise SnapshotInvalid(f"page {page.page}: expected keys of this page in order of path, got {key.hex()}")
        before = path
    found = compute_subtree(leaves, PAGE_BITS)
    if found != expected:
        raise SnapshotInvalid(f"page {page.page}: expected the hash {expected.hash.hex()}, got {found.hash.hex()}")
    return ProvenPage(items, [leaf for _, leaf in leaves], page.page)
