"""Feed, posts, profiles and wallets."""

from typing import Annotated, Any, Literal, cast

import orjson
from pydantic import Field

from client_api.context import Context, Reading
from client_api.endpoint import Endpoint, Json, Model
from client_api.errors import AccountUnknown, CursorInvalid, PostUnknown, StaleHeight
from client_api.explorer import Height, Limit
from client_api.listing import Page, open_listing, read_page
from client_api.paging import LIMIT_DEFAULT, hash_filter
from client_api.shapes import Anchor, account_text, event_text, find_account, parse_event_id
from ledger import keyspace
from ledger.draft import Draft
from ledger.identity import read_account, read_nonce
from ledger.payloads import decode_payload
from ledger.primitives.fixed_point import format_decimal
from ledger.roles import PLATFORM
from ledger.sanctions import hiding_key, lock_key, read_sanction
from ledger.spaces import read_place
from ledger.standing import bring_up_to_date, read_standing
from ledger.state import read_number
from ledger.tokens import TOKENS, read_balance
from social.posts import Post, read_post
from social.profiles import read_handle, read_profile

Cursor = Annotated[str, Field(max_length=512)]


class PostShape(Model):
    post_id: str
    author: str
    handle: str | None
    text: str | None = Field(description="null when the text was erased, is not here yet, or is hidden")
    text_pending: bool = Field(description="true while this node, which began from a snapshot, still fetches the text")
    tags: list[str]
    parent: str | None
    height: int
    log_index: int
    likes: int
    replies: int
    content: str
    space: str | None = Field(description="the community that it is in; null for a post for everybody")
    hidden_by: str | None = Field(description="the decision that hides it; its text is then left out here")
    locked_by: str | None = Field(description="the decision that closed its thread to answers")


class FeedQuery(Model):
    rank: Literal["chronological"] = "chronological"
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None
    at: Height | None = None


class FeedAnswer(Model):
    rank: Literal["chronological"]
    items: list[PostShape]
    next: str | None
    prev: str | None
    ledger: Anchor


def post_to_json(reading: Reading, post_id: bytes, post: Post) -> Json:
    data = reading.snapshot.get(keyspace.payload(post.content.hash))
    place = read_place(reading.state, post_id)
    hiding = read_sanction(reading.state, hiding_key(post_id))
    lock = read_sanction(reading.state, lock_key(place.root))
    return {
        "post_id": event_text(post_id),
        "author": account_text(post.author),
        "handle": read_handle(reading.state, post.author),
        "text": None if data is None or hiding is not None else decode_payload(data).text,
        "text_pending": data is None and reading.history.misses(post.height),
        "tags": list(post.tags),
        "parent": None if post.parent is None else event_text(post.parent),
        "height": post.height,
        "log_index": post.log_index,
        "likes": read_number(reading.state, keyspace.like_count(post_id)),
        "replies": read_number(reading.state, keyspace.reply_count(post_id)),
        "content": post.content.hash.hex(),
        "space": None if place.space == PLATFORM else event_text(place.space),
        "hidden_by": None if hiding is None else event_text(hiding.decision),
        "locked_by": None if lock is None else event_text(lock.decision),
    }


async def get_feed(context: Context, query: FeedQuery, body: None) -> Json:
    """Posts, newest first; the order is (log index, newest first) and says so."""
    filter_hash = hash_filter("feed", query.rank)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        page = read_page(reading, keyspace.FEED, filter_hash, query.limit, before, after)
        return {"rank": query.rank, **posts_page(reading, page)}


def posts_page(reading: Reading, page: Page) -> Json:
    """Return a page of posts, as every listing of them answers."""
    items: list[Json] = []
    for _, post_id in page.entries:
        post = read_post(reading.state, post_id)
        assert post is not None, f"post {post_id.hex()} is in an index"
        items.append(post_to_json(reading, post_id, post))
    return {"items": items, "next": page.next, "prev": page.prev, "ledger": reading.anchor()}


class PostQuery(Model):
    post_id: str
    at: Height | None = None


class PostAnswer(Model):
    post: PostShape
    ledger: Anchor


async def get_post(context: Context, query: PostQuery, body: None) -> Json:
    post_id = parse_event_id(query.post_id)
    with context.read(query.at) as reading:
        post = read_post(reading.state, post_id)
        if post is None:
            raise PostUnknown(f"no post of this id at height {reading.height}", post_id=query.post_id)
        return {"post": post_to_json(reading, post_id, post), "ledger": reading.anchor()}


class RepliesQuery(Model):
    post_id: str
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None
    at: Height | None = None


class PostsAnswer(Model):
    items: list[PostShape]
    next: str | None
    prev: str | None
    ledger: Anchor


async def list_replies(context: Context, query: RepliesQuery, body: None) -> Json:
    post_id = parse_event_id(query.post_id)
    filter_hash = hash_filter("replies", query.post_id)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        if read_post(reading.state, post_id) is None:
            raise PostUnknown(f"no post of this id at height {reading.height}", post_id=query.post_id)
        prefix = keyspace.REPLIES_TO + post_id
        return posts_page(reading, read_page(reading, prefix, filter_hash, query.limit, before, after))


class ProfileQuery(Model):
    account: Annotated[str, Field(max_length=100, description="An account id, or a handle.")]
    at: Height | None = None


class ProfileAnswer(Model):
    account: str
    handle: str | None
    display_name: str | None
    bio: str | None
    profile_erased: bool
    created_height: int
    nonce: int
    posts: int
    followers: int
    following: int
    ledger: Anchor


async def get_profile(context: Context, query: ProfileQuery, body: None) -> Json:
    with context.read(query.at) as reading:
        account_id = find_account(reading.state, query.account)
        account = read_account(reading.state, account_id)
        if account is None:
            raise AccountUnknown(f"no account {query.account} at height {reading.height}")
        described, erased = _read_description(reading, account_id)
        return {
            "account": account_text(account_id),
            "handle": read_handle(reading.state, account_id),
            "display_name": described.get("display_name"),
            "bio": described.get("bio"),
            "profile_erased": erased,
            "created_height": account.created_height,
            "nonce": read_nonce(reading.state, account_id),
            "posts": read_number(reading.state, keyspace.post_count(account_id)),
            "followers": read_number(reading.state, keyspace.follower_count(account_id)),
            "following": read_number(reading.state, keyspace.following_count(account_id)),
            "ledger": reading.anchor(),
        }


def _read_description(reading: Reading, account_id: bytes) -> tuple[dict[str, Any], bool]:
    """Return what the profile's payload says; text that is not the expected JSON is shown as the biography."""
    profile = read_profile(reading.state, account_id)
    if profile is None:
        return {}, False
    data = reading.snapshot.get(keyspace.payload(profile.content.hash))
    if data is None:
        return {}, True
    text = decode_payload(data).text
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"bio": text}, False
    if not isinstance(found, dict):
        return {"bio": text}, False
    members = cast("dict[str, object]", found)
    return {name: members[name] for name in ("bio", "display_name") if type(members.get(name)) is str}, False


class PostsQuery(Model):
    account: Annotated[str, Field(max_length=100)]
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None
    at: Height | None = None


async def list_posts_of(context: Context, query: PostsQuery, body: None) -> Json:
    filter_hash = hash_filter("posts", query.account)
    with open_listing(context, query.cursor, filter_hash, query.at) as (reading, before, after):
        account_id = find_account(reading.state, query.account)
        if read_account(reading.state, account_id) is None:
            raise AccountUnknown(f"no account {query.account} at height {reading.height}")
        prefix = keyspace.POSTS_OF + account_id
        return posts_page(reading, read_page(reading, prefix, filter_hash, query.limit, before, after))


class BalancesQuery(Model):
    account: Annotated[str, Field(max_length=100)]
    at: Height | None = None


class BalancesAnswer(Model):
    account: str
    balances: dict[str, str] = Field(description="Decimal strings with 18 decimals, one for each token.")
    ledger: Anchor


async def get_balances(context: Context, query: BalancesQuery, body: None) -> Json:
    with context.read(query.at) as reading:
        account_id = find_account(reading.state, query.account)
        if read_account(reading.state, account_id) is None:
            raise AccountUnknown(f"no account {query.account} at height {reading.height}")
        now = Draft(reading.state)  # an idle account decays when it is next touched: here, for the reader alone
        standing = read_standing(now, account_id)
        if standing is not None:
            bring_up_to_date(now, account_id, standing, reading.header.epoch)
        return {
            "account": account_text(account_id),
            "balances": {token: format_decimal(read_balance(now, token, account_id)) for token in TOKENS},
            "ledger": reading.anchor(),
        }


ENDPOINTS = (
    Endpoint("GET", "/feed", "getFeed", "Posts, newest first.", "social", FeedAnswer, get_feed, query=FeedQuery,
             errors=(CursorInvalid, StaleHeight)),
    Endpoint("GET", "/posts/{post_id}", "getPost", "One post or reply.", "social", PostAnswer, get_post,
             query=PostQuery, errors=(PostUnknown, StaleHeight)),
    Endpoint("GET", "/posts/{post_id}/replies", "listReplies", "Answers to a post, newest first.", "social",
             PostsAnswer, list_replies, query=RepliesQuery, errors=(PostUnknown, CursorInvalid, StaleHeight)),
    Endpoint("GET", "/profiles/{account}", "getProfile", "A profile by account id or handle.", "social",
             ProfileAnswer, get_profile, query=ProfileQuery, errors=(AccountUnknown, StaleHeight)),
    Endpoint("GET", "/profiles/{account}/posts", "listPostsOf", "An account's posts and replies, newest first.",
             "social", PostsAnswer, list_posts_of, query=PostsQuery,
             errors=(AccountUnknown, CursorInvalid, StaleHeight)),
    Endpoint("GET", "/wallets/{account}/balances", "getBalances", "The six balances of an account.", "wallet",
             BalancesAnswer, get_balances, query=BalancesQuery, errors=(AccountUnknown, StaleHeight)),
)  # fmt: skip
