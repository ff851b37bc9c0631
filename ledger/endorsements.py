"""Endorsements: the support that an account gives in an epoch, kept until the epoch is settled.

An account's mass in an epoch is its standing times its sybil multiplier, never above 1.  It is divided over the
distinct items that it endorsed, by the weights below.
"""

from dataclasses import dataclass

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Endorsement, View
from ledger.items import read_item

LIKE, COMMENT, REPOST, FOLLOW = range(4)
KINDS = ("like", "comment", "repost", "follow")
WEIGHTS = (2, 10, 4, 1)  # halves: like 1, comment 5, repost 2, follow 0.5


@dataclass(frozen=True, slots=True)
class Given:
    """One endorsement that an account gave in the epoch."""

    kind: int
    item: bytes
    author: bytes


def endorse(view: View, kind: int, item_id: bytes) -> Endorsement | None:
    """Return the support that an action on an item gives, or None when there is no such item."""
    item = read_item(view, item_id)
    return None if item is None else Endorsement(kind, item_id, item.author)


def write_endorsement(draft: Draft, endorser: bytes, number: int, endorsement: Endorsement) -> None:
    """Keep an endorsement at the account's place `number`."""
    data = bytes([endorsement.kind]) + endorsement.item + endorsement.author
    draft.put(keyspace.endorsement(endorser, number), data)


def read_endorsements(view: View, endorser: bytes, count: int) -> list[Given]:
    """Return what an account endorsed in the epoch and has not taken back."""
    found: list[Given] = []
    for number in range(count):
        data = view.get(keyspace.endorsement(endorser, number))
        assert data is not None, "an endorsement that was counted is kept"
        given = Given(data[0], data[1:33], data[33:])
        if _stands(view, endorser, given):
            found.append(given)
    return found


def _stands(view: View, endorser: bytes, given: Given) -> bool:
    if given.kind == LIKE:
        return view.get(keyspace.like(given.item, endorser)) is not None
    if given.kind == REPOST:
        return view.get(keyspace.repost(given.item, endorser)) is not None
    if given.kind == FOLLOW:
        return view.get(keyspace.follow(endorser, given.author)) is not None
    return True  # a reply stays
