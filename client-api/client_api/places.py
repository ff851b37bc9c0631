"""Pages of a list that is made as a whole at one height; and what texts and spaces look like in answers."""

from collections.abc import Sequence
from typing import TypeVar

from client_api.context import Reading
from client_api.errors import CommunityUnknown
from client_api.paging import Cursor, encode_cursor
from client_api.shapes import event_text, parse_event_id
from ledger import keyspace
from ledger.payloads import ContentRef, decode_payload
from ledger.roles import PLATFORM
from social.communities.records import find_community, read_community

T = TypeVar("T")
PLATFORM_NAME = "platform"


def slice_page(
    items: Sequence[T], limit: int, before: int | None, after: int | None, filter_hash: bytes, height: int
) -> tuple[Sequence[T], str | None, str | None]:
    """Return (items, next, prev) of a page; the cursor's two places are: from here on, or back from here."""
    first = after if after is not None else 0 if before is None else max(0, before - limit)
    last = min(first + limit if before is None else before, len(items))
    forth = Cursor(last, None, filter_hash, height) if last < len(items) else None
    back = Cursor(None, first, filter_hash, height) if first > 0 else None
    return (
        items[first:last],
        None if forth is None else encode_cursor(forth),
        None if back is None else encode_cursor(back),
    )


def read_text(reading: Reading, content: ContentRef) -> str | None:
    """Return a payload's text; None where it was erased, or is not here yet."""
    data = reading.snapshot.get(keyspace.payload(content.hash))
    return None if data is None else decode_payload(data).text


def space_text(space: bytes) -> str:
    """Return a space as answers name it: a community's id, or "platform"."""
    return PLATFORM_NAME if space == PLATFORM else event_text(space)


def find_space(reading: Reading, text: str) -> bytes:
    """Return the community that an id or a name names, or the platform.  Raises InvalidRequest, CommunityUnknown."""
    if text == PLATFORM_NAME:
        return PLATFORM
    space = parse_event_id(text) if text.startswith("evt1") else find_community(reading.state, text)
    if space is None or read_community(reading.state, space) is None:
        raise CommunityUnknown(f"no community {text!r} at height {reading.height}", space=text)
    return space
