"""The catalogue of the archive: which segments of cold epochs there are, and which nodes hold them."""

import asyncio

from pydantic import Field

from client_api.context import Context
from client_api.endpoint import Endpoint, Json, Model
from client_api.explorer import Height
from client_api.paging import LIMIT_DEFAULT, LIMIT_MAX
from client_api.shapes import Anchor
from ledger.archive.catalogue import SegmentEntry, list_entries

CURSOR = "^[0-9]{1,19}-[0-9]{1,19}-[0-9a-f]{64}$"


class SegmentShape(Model):
    first_epoch: int
    last_epoch: int
    first_height: int
    last_height: int
    first_log_index: int
    log_size: int = Field(description="of the log after its last block")
    header_hash: str = Field(description="of its last block")
    root: str = Field(description="RFC 6962 root over its blocks: equal for every copy, whatever was erased")
    bytes: int = Field(description="of the copy here, else of the first holder's; an erased payload makes one smaller")
    here: bool = Field(description="whether this node's own archive holds it")
    holders: list[str] = Field(description="keys of connected peers that say that they hold it")


class SegmentsQuery(Model):
    height: Height = Field(default=0, description="leave out segments that end below this height")
    cursor: str | None = Field(default=None, pattern=CURSOR, description="`next` of the page before")
    limit: int = Field(default=LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)


class SegmentsAnswer(Model):
    segments: list[SegmentShape] = Field(description="in order of height; several of one range where roots differ")
    next: str | None = Field(description="cursor of the page that follows; null at the end")
    ledger: Anchor


async def list_segments(context: Context, query: SegmentsQuery, body: None) -> Json:
    """Segments of this node's archive and of those that its peers tell of.  What peers say is compared with headers."""
    own = await asyncio.to_thread(lambda: list_entries(context.services.open_archive()))
    found: dict[tuple[int, int, bytes], tuple[SegmentEntry, bool, list[str]]] = {
        _place(entry): (entry, True, []) for entry in own
    }
    for peer, entries in sorted(context.services.list_catalogues().items()):
        for entry in entries:
            found.setdefault(_place(entry), (entry, False, []))[2].append(peer.hex())
    after = (-1, -1, b"") if query.cursor is None else _read_cursor(query.cursor)
    places = [place for place in sorted(found) if place[1] >= query.height and place > after]
    shown = places[: query.limit]
    with context.read() as reading:
        return {
            "segments": [_to_json(*found[place]) for place in shown],
            "next": _make_cursor(shown[-1]) if len(shown) < len(places) else None,
            "ledger": reading.anchor(),
        }


def _make_cursor(place: tuple[int, int, bytes]) -> str:
    return f"{place[0]}-{place[1]}-{place[2].hex()}"


def _read_cursor(text: str) -> tuple[int, int, bytes]:
    first, last, root = text.split("-")
    return int(first), int(last), bytes.fromhex(root)


def _place(entry: SegmentEntry) -> tuple[int, int, bytes]:
    return entry.first_height, entry.last_height, entry.root


def _to_json(entry: SegmentEntry, here: bool, holders: list[str]) -> Json:
    return {
        "first_epoch": entry.first_epoch,
        "last_epoch": entry.last_epoch,
        "first_height": entry.first_height,
        "last_height": entry.last_height,
        "first_log_index": entry.first_log_index,
        "log_size": entry.log_size,
        "header_hash": entry.header_hash.hex(),
        "root": entry.root.hex(),
        "bytes": entry.bytes,
        "here": here,
        "holders": holders,
    }


ENDPOINTS = (
    Endpoint("GET", "/archive/segments", "listArchiveSegments", "Which segments of cold epochs there are, and where.",
             "ledger", SegmentsAnswer, list_segments, query=SegmentsQuery),
)  # fmt: skip
