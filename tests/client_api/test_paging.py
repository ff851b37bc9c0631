"""Pages never shift: each item is seen exactly once, forward and back, while the ledger grows."""

from typing import Any

import pytest
from client_api import listing
from client_api.paging import Cursor, encode_cursor, hash_filter
from client_api.shapes import account_text

from social.posts import PostPublished
from tests.client_api.api import Api


def publish(api: Api, count: int) -> None:
    for number in range(count):
        api.submit(api.world.sign(api.world.ada, PostPublished, text=f"Number {number}.", tags=()))
    api.node.execute_waiting()


def walk(api: Api, operation: str, way: str, start: Any, **query: Any) -> tuple[list[int], Any]:
    """Follow `next` or `prev` from a page to the end; return what was seen after it, and the last page."""
    seen: list[int] = []
    page = start
    while page[way] is not None:
        publish(api, 1)  # the ledger grows between any two pages
        page = api.call(operation, cursor=page[way], **query)
        indexes = [item["log_index"] for item in page["items"]]
        seen = seen + indexes if way == "next" else indexes + seen
    return seen, page


@pytest.mark.parametrize("operation", ["getFeed", "listEvents", "listPostsOf"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_forward_and_back_gives_each_item_once(api: Api, operation: str, limit: int) -> None:
    query: dict[str, Any] = {"limit": limit}
    if operation == "listPostsOf":
        query["account"] = account_text(api.world.ada.account)
    publish(api, 7)

    first = api.call(operation, **query)
    older, last = walk(api, operation, "next", first, **query)
    newer, newest = walk(api, operation, "prev", last, **query)

    top = [item["log_index"] for item in first["items"]]
    bottom = [item["log_index"] for item in last["items"]]
    assert top + older == list(range(6, -1, -1))
    if last is not first:
        assert newer + bottom == list(range(6, -1, -1))
        assert newest["prev"] is None


def test_every_page_of_a_walk_says_the_same_height(api: Api) -> None:
    publish(api, 3)
    first = api.call("getFeed", limit=1)
    publish(api, 3)

    second = api.call("getFeed", limit=1, cursor=first["next"])

    assert first["ledger"] == second["ledger"]


def test_a_filter_that_finds_little_ends_pages_early_and_loses_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SCANNED_MAX", 3)
    publish(api, 4)
    api.node.execute([], [], beat=True)
    publish(api, 8)
    api.node.execute([], [], beat=True)
    publish(api, 6)
    query = {"module": "infra", "limit": 2}

    first = api.call("listEvents", **query)
    found, last = walk(api, "listEvents", "next", first, **query)
    back, _ = walk(api, "listEvents", "prev", last, **query)

    assert [item["log_index"] for item in first["items"]] + found == [13, 4]
    assert back + [item["log_index"] for item in last["items"]] == [13, 4]


def test_a_pinned_listing_starts_at_its_height(api: Api) -> None:
    publish(api, 3)
    publish(api, 3)

    page = api.call("getFeed", at=1, limit=2)
    rest = api.call("getFeed", cursor=page["next"], limit=2)

    assert [item["log_index"] for item in page["items"] + rest["items"]] == [2, 1, 0]
    assert rest["next"] is None


FEED = hash_filter("feed", "chronological")
U64_MAX = 2**64 - 1


@pytest.mark.parametrize(
    ("cursor", "status"),
    [
        ("zz", 400),
        ("00", 400),
        ("", 400),
        (encode_cursor(Cursor(None, 5, FEED, 1))[:-2], 400),
        (encode_cursor(Cursor(None, 5, bytes(32), 1)), 400),
        (encode_cursor(Cursor(None, 5, FEED, 99)), 410),
        (encode_cursor(Cursor(None, 5, FEED, U64_MAX)), 410),
        (encode_cursor(Cursor(None, 0, FEED, 1)), 200),
        (encode_cursor(Cursor(None, U64_MAX, FEED, 1)), 200),
        (encode_cursor(Cursor(U64_MAX, None, FEED, 1)), 200),
        (encode_cursor(Cursor(0, 0, FEED, 1)), 200),
    ],
)
def test_a_made_up_cursor_does_no_harm(api: Api, cursor: str, status: int) -> None:
    publish(api, 2)

    answer = api.try_call("getFeed", cursor=cursor)

    assert answer.status == status
