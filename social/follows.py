"""Follows.  Events: graph.AccountFollowed, graph.AccountUnfollowed."""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import keyspace
from ledger.endorsements import FOLLOW
from ledger.events import Delete, Endorsement, Entry, EventType, Put, View, Write
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import Bytes32
from ledger.standing import read_standing
from ledger.state import PRESENT, encode_number, read_number
from ledger.verdict import Verdict, allow, deny


@dataclass(frozen=True, slots=True)
class AccountFollowed:
    """The author follows an account."""

    target: Bytes32


@dataclass(frozen=True, slots=True)
class AccountUnfollowed:
    """The author stops following an account."""

    target: Bytes32


def target_is_another_account(view: View, entry: Entry[AccountFollowed]) -> Verdict:
    if entry.body.target == entry.author:
        return deny("graph.follows_oneself", "An account cannot follow itself.")
    if view.get(keyspace.account(entry.body.target)) is None:
        return deny("graph.account_unknown", "The account to follow does not exist.", target=entry.body.target.hex())
    return allow("graph.account_exists", "The account to follow exists.")


def not_followed_yet(view: View, entry: Entry[AccountFollowed]) -> Verdict:
    if view.get(keyspace.follow(entry.author, entry.body.target)) is None:
        return allow("graph.not_followed_yet", "The account is not followed yet.")
    return deny("graph.followed_already", "The account is followed already.")


def is_followed(view: View, entry: Entry[AccountUnfollowed]) -> Verdict:
    if view.get(keyspace.follow(entry.author, entry.body.target)) is not None:
        return allow("graph.is_followed", "The account is followed.")
    return deny("graph.not_followed", "The account is not followed, so there is nothing to end.")


def endorse_followed(view: View, entry: Entry[AccountFollowed]) -> Endorsement | None:
    """A new follower supports the newest item of the account, if it has one."""
    standing = read_standing(view, entry.body.target)
    item = None if standing is None else standing.last_item
    return None if item is None else Endorsement(FOLLOW, item, entry.body.target)


def apply_account_followed(view: View, entry: Entry[AccountFollowed]) -> Iterator[Write]:
    """Remember the follow and count it on both sides."""
    yield Put(keyspace.follow(entry.author, entry.body.target), PRESENT)
    yield from _count(view, entry.author, entry.body.target, 1)


def apply_account_unfollowed(view: View, entry: Entry[AccountUnfollowed]) -> Iterator[Write]:
    """Forget the follow."""
    yield Delete(keyspace.follow(entry.author, entry.body.target))
    yield from _count(view, entry.author, entry.body.target, -1)


def _count(view: View, follower: bytes, followed: bytes, change: int) -> Iterator[Write]:
    for key in (keyspace.following_count(follower), keyspace.follower_count(followed)):
        count = read_number(view, key) + change
        assert count >= 0, "a follow ended that was never counted"
        yield Put(key, encode_number(count))


EVENTS = (
    EventType(
        name="graph.AccountFollowed",
        version=1,
        body=AccountFollowed,
        guards=(target_is_another_account, not_followed_yet),
        apply=apply_account_followed,
        summary="An account followed another.",
        example=AccountFollowed(bytes(32)),
        inputs=lambda body: {"target": body.target.hex()},
        weight=SCALE // 4,
        endorses=endorse_followed,
    ),
    EventType(
        name="graph.AccountUnfollowed",
        version=1,
        body=AccountUnfollowed,
        guards=(is_followed,),
        apply=apply_account_unfollowed,
        summary="An account stopped following another.",
        example=AccountUnfollowed(bytes(32)),
        inputs=lambda body: {"target": body.target.hex()},
        weight=SCALE // 10,
    ),
)
