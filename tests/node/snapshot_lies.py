"""Lies about headers and snapshots: each an honest answer with one thing changed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from ledger.block import decode_header, encode_header
from ledger.primitives.encoding import decode_plain, encode_plain
from ledger.primitives.records import decode_record, encode_record
from ledger.snapshots import Page
from node.snapshot_fetch import (
    HEADERS_REQUEST,
    MANIFEST_REQUEST,
    PAGES_REQUEST,
    Headers,
    ManifestAnswer,
    PagesAnswer,
)
from tests.ledger.changing_sets import ChangingWorld
from tests.node.joining import Answer, honest

Change = Callable[[Any], Any]


def lying(source: ChangingWorld, kind: str, shape: type[Any], change: Change) -> Answer:
    """Answer honestly, but change what is said to one kind of request."""
    right = honest(source)

    async def answer(asked: str, body: bytes) -> bytes:
        found = await right(asked, body)
        return found if asked != kind else encode_record(change(decode_record(shape, found)))

    return answer


def edit_header(headers: Headers, **fields: Any) -> Headers:
    return replace(headers, headers=(*headers.headers[:-1], forge(headers.headers[-1], **fields)))


def forge(header: bytes, **fields: Any) -> bytes:
    return encode_header(replace(decode_header(header), **fields))


def edit_pages(answer: PagesAnswer, edit: Callable[[Page], Page | None]) -> PagesAnswer:
    pages = [found for page in answer.pages or () if (found := edit(page)) is not None]
    return replace(answer, pages=tuple(pages))


def edit_first(page: Page, edit: Callable[[bytes, bytes], list[bytes]]) -> Page:
    key, value, *others = cast("list[bytes]", decode_plain(page.items))
    return replace(page, items=encode_plain([*edit(key, value), *others]))


TRICKS: dict[str, tuple[str, type[Any], Change]] = {
    "another state root": (HEADERS_REQUEST, Headers, lambda found: edit_header(found, state_root=bytes(32))),
    "an older state": (HEADERS_REQUEST, Headers, lambda found: edit_header(found, state_height=0)),
    "a false height": (HEADERS_REQUEST, Headers, lambda found: edit_header(found, height=10**6)),
    "a header left out": (HEADERS_REQUEST, Headers, lambda found: replace(found, headers=found.headers[1:])),
    "a forged header below the last": (
        HEADERS_REQUEST, Headers,
        lambda found: replace(found, headers=(forge(found.headers[0], state_root=bytes(32)), *found.headers[1:])),
    ),
    "no certificate": (HEADERS_REQUEST, Headers, lambda found: replace(found, certificates=found.certificates[:-1])),
    "a forged certificate": (
        HEADERS_REQUEST, Headers,
        lambda found: replace(
            found, certificates=(*found.certificates[:-1], found.certificates[-1][:-1] + b"\x01")
        ),
    ),
    "the certificate of another block": (
        HEADERS_REQUEST, Headers, lambda found: replace(found, certificates=(*found.certificates, b"\x80")),
    ),
    "another validator set": (
        HEADERS_REQUEST, Headers,
        lambda found: replace(
            found,
            validators=None if found.validators is None else replace(found.validators, keys=(bytes(32),) * 4),
        ),
    ),
    "no validator set": (HEADERS_REQUEST, Headers, lambda found: replace(found, validators=None)),
    "no headers that can be read": (
        HEADERS_REQUEST, Headers, lambda found: replace(found, headers=(b"\xff", *found.headers[1:])),
    ),
    "a manifest without a page": (
        MANIFEST_REQUEST, ManifestAnswer,
        lambda found: ManifestAnswer(replace(found.manifest, pages=found.manifest.pages[1:])),
    ),
    "a manifest out of order": (
        MANIFEST_REQUEST, ManifestAnswer,
        lambda found: ManifestAnswer(replace(found.manifest, pages=found.manifest.pages[::-1])),
    ),
    "a manifest with another log": (
        MANIFEST_REQUEST, ManifestAnswer,
        lambda found: ManifestAnswer(replace(found.manifest, log_edge=(bytes(32), *found.manifest.log_edge[1:]))),
    ),
    "a manifest with a shorter log": (
        MANIFEST_REQUEST, ManifestAnswer,
        lambda found: ManifestAnswer(replace(found.manifest, log_edge=found.manifest.log_edge[1:])),
    ),
    "another value": (
        PAGES_REQUEST, PagesAnswer,
        lambda found: edit_pages(
            found, lambda page: edit_first(page, lambda key, value: [key, value + b"\0"])
        ),
    ),
    "a key left out": (
        PAGES_REQUEST, PagesAnswer,
        lambda found: edit_pages(found, lambda page: edit_first(page, lambda key, value: [])),
    ),
    "a key twice": (
        PAGES_REQUEST, PagesAnswer,
        lambda found: edit_pages(found, lambda page: edit_first(page, lambda key, value: [key, value, key, value])),
    ),
    "a key without a value": (
        PAGES_REQUEST, PagesAnswer,
        lambda found: edit_pages(found, lambda page: edit_first(page, lambda key, value: [key])),
    ),
    "a number for a key": (
        PAGES_REQUEST, PagesAnswer,
        lambda found: edit_pages(found, lambda page: replace(page, items=encode_plain([1, 2]))),
    ),
    "what is no list": (
        PAGES_REQUEST, PagesAnswer, lambda found: edit_pages(found, lambda page: replace(page, items=b"\xc1")),
    ),
    "a page left out": (PAGES_REQUEST, PagesAnswer, lambda found: edit_pages(found, lambda page: None)),
    "no progress": (PAGES_REQUEST, PagesAnswer, lambda found: replace(found, following=0, pages=())),
    "more pages than were asked for": (
        PAGES_REQUEST, PagesAnswer, lambda found: replace(found, following=found.following + 1),
    ),
}  # fmt: skip
