"""Spaces: in which community and thread a post is.  Of a post for everybody nothing is kept here; of a reply it is."""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import keyspace
from ledger.events import Put, View, Write
from ledger.primitives.records import Bytes32, encode_record
from ledger.roles import PLATFORM, space_of
from ledger.state import read_record


@dataclass(frozen=True, slots=True)
class Place:
    """Where a post or reply is."""

    root: Bytes32  # the post that its thread began with
    space: Bytes32  # the community, or PLATFORM


def read_place(view: View, post_id: bytes) -> Place:
    """Return where a post is; one that nothing is kept of is a post of the platform."""
    return read_record(view, keyspace.community("t", post_id), Place) or Place(post_id, PLATFORM)


def place_writes(view: View, post_id: bytes, parent: bytes | None, space: bytes) -> Iterator[Write]:
    """Yield what keeps the place of a new post, or of a reply, which is where its parent is."""
    if parent is not None:
        yield Put(keyspace.community("t", post_id), encode_record(read_place(view, parent)))
    elif space != PLATFORM:
        yield Put(keyspace.community("t", post_id), encode_record(Place(post_id, space)))


def space_of_event(view: View, body: object) -> bytes:
    """Return where an event happens: in the space that it names, or in that of the post that it answers."""
    parent = getattr(body, "parent", None)
    if isinstance(parent, bytes) and len(parent) == len(PLATFORM):
        return read_place(view, parent).space
    return space_of(body)
