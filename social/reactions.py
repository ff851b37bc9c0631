"""Likes.  Events: graph.ContentLiked, graph.LikeWithdrawn.

One like per account and post; a withdrawal ends its effect.  A like supports the post, and so its author.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import keyspace
from ledger.endorsements import LIKE, endorse
from ledger.events import Delete, Entry, EventType, Put, View, Write
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import Bytes32
from ledger.state import PRESENT, encode_number, read_number
from ledger.verdict import Verdict, allow, deny


@dataclass(frozen=True, slots=True)
class ContentLiked:
    """The author likes a post."""

    target: Bytes32


@dataclass(frozen=True, slots=True)
class LikeWithdrawn:
    """The author takes a like back."""

    target: Bytes32


def target_exists(view: View, entry: Entry[ContentLiked]) -> Verdict:
    if view.get(keyspace.post(entry.body.target)) is not None:
        return allow("graph.target_exists", "The post exists.")
    return deny("graph.target_unknown", "The post does not exist.", target=entry.body.target.hex())


def not_liked_yet(view: View, entry: Entry[ContentLiked]) -> Verdict:
    if view.get(keyspace.like(entry.body.target, entry.author)) is None:
        return allow("graph.not_liked_yet", "The account has not liked this post.")
    return deny("graph.liked_already", "The account likes this post already.")


def is_liked(view: View, entry: Entry[LikeWithdrawn]) -> Verdict:
    if view.get(keyspace.like(entry.body.target, entry.author)) is not None:
        return allow("graph.is_liked", "The account likes this post.")
    return deny("graph.not_liked", "The account does not like this post, so there is nothing to withdraw.")


def apply_content_liked(view: View, entry: Entry[ContentLiked]) -> Iterator[Write]:
    """Remember the like and count it."""
    count = read_number(view, keyspace.like_count(entry.body.target)) + 1
    yield Put(keyspace.like(entry.body.target, entry.author), PRESENT)
    yield Put(keyspace.like_count(entry.body.target), encode_number(count))


def apply_like_withdrawn(view: View, entry: Entry[LikeWithdrawn]) -> Iterator[Write]:
    """Forget the like."""
    count = read_number(view, keyspace.like_count(entry.body.target)) - 1
    assert count >= 0, "a like was withdrawn that was never counted"
    yield Delete(keyspace.like(entry.body.target, entry.author))
    yield Put(keyspace.like_count(entry.body.target), encode_number(count))


EVENTS = (
    EventType(
        name="graph.ContentLiked",
        version=1,
        body=ContentLiked,
        guards=(target_exists, not_liked_yet),
        apply=apply_content_liked,
        summary="An account liked a post.",
        example=ContentLiked(bytes(32)),
        inputs=lambda body: {"target": body.target.hex()},
        weight=SCALE // 10,
        endorses=lambda view, entry: endorse(view, LIKE, entry.body.target),
    ),
    EventType(
        name="graph.LikeWithdrawn",
        version=1,
        body=LikeWithdrawn,
        guards=(is_liked,),
        apply=apply_like_withdrawn,
        summary="An account withdrew a like.",
        example=LikeWithdrawn(bytes(32)),
        inputs=lambda body: {"target": body.target.hex()},
        weight=SCALE // 10,
    ),
)
