"""Reposts.  Events: graph.ContentReposted, graph.RepostWithdrawn.

One repost per account and post; a withdrawal ends its effect.  A repost supports the post, and so its author.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import keyspace
from ledger.endorsements import REPOST, endorse
from ledger.events import Delete, Entry, EventType, Put, View, Write
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import Bytes32
from ledger.state import PRESENT, encode_number, read_number
from ledger.verdict import Verdict, allow, deny


@dataclass(frozen=True, slots=True)
class ContentReposted:
    """The author shows a post to his followers."""

    target: Bytes32


@dataclass(frozen=True, slots=True)
class RepostWithdrawn:
    """The author takes a repost back."""

    target: Bytes32


def repost_target_exists(view: View, entry: Entry[ContentReposted]) -> Verdict:
    if view.get(keyspace.post(entry.body.target)) is not None:
        return allow("graph.target_exists", "The post exists.")
    return deny("graph.target_unknown", "The post does not exist.", target=entry.body.target.hex())


def not_reposted_yet(view: View, entry: Entry[ContentReposted]) -> Verdict:
    if view.get(keyspace.repost(entry.body.target, entry.author)) is None:
        return allow("graph.not_reposted_yet", "The account has not reposted this post.")
    return deny("graph.reposted_already", "The account has reposted this post already.")


def is_reposted(view: View, entry: Entry[RepostWithdrawn]) -> Verdict:
    if view.get(keyspace.repost(entry.body.target, entry.author)) is not None:
        return allow("graph.is_reposted", "The account has reposted this post.")
    return deny("graph.not_reposted", "The account has not reposted this post, so there is nothing to withdraw.")


def apply_content_reposted(view: View, entry: Entry[ContentReposted]) -> Iterator[Write]:
    """Remember the repost and count it."""
    count = read_number(view, keyspace.repost_count(entry.body.target)) + 1
    yield Put(keyspace.repost(entry.body.target, entry.author), PRESENT)
    yield Put(keyspace.repost_count(entry.body.target), encode_number(count))


def apply_repost_withdrawn(view: View, entry: Entry[RepostWithdrawn]) -> Iterator[Write]:
    """Forget the repost."""
    count = read_number(view, keyspace.repost_count(entry.body.target)) - 1
    assert count >= 0, "a repost was withdrawn that was never counted"
    yield Delete(keyspace.repost(entry.body.target, entry.author))
    yield Put(keyspace.repost_count(entry.body.target), encode_number(count))


EVENTS = (
    EventType(
        name="graph.ContentReposted",
        version=1,
        body=ContentReposted,
        guards=(repost_target_exists, not_reposted_yet),
        apply=apply_content_reposted,
        summary="An account reposted a post.",
        example=ContentReposted(bytes(32)),
        inputs=lambda body: {"target": body.target.hex()},
        weight=SCALE // 2,
        endorses=lambda view, entry: endorse(view, REPOST, entry.body.target),
    ),
    EventType(
        name="graph.RepostWithdrawn",
        version=1,
        body=RepostWithdrawn,
        guards=(is_reposted,),
        apply=apply_repost_withdrawn,
        summary="An account withdrew a repost.",
        example=RepostWithdrawn(bytes(32)),
        inputs=lambda body: {"target": body.target.hex()},
        weight=SCALE // 10,
    ),
)
