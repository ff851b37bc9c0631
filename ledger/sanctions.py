"""Sanctions: what decisions of moderators do to posts and accounts, as guards, settlement and readers see it.

A hidden post stays where it is.  While its decision can still be reversed, what the post earns is paid and held back
(`ledger.holds`); once the decision is final, the post earns nothing any more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import keyspace
from ledger.beats import read_beat
from ledger.events import Delete, Put, View, Write
from ledger.primitives.records import U64, Bytes32, encode_record
from ledger.state import read_record


@dataclass(frozen=True, slots=True)
class Sanction:
    """That a decision hides a post, locks a thread, or suspends an account."""

    decision: Bytes32
    final: bool  # the decision can't be reversed any more
    until_beat: U64 | None  # ends when this beat begins; None: until it is lifted

    def holds_at(self, beat: int) -> bool:
        """Whether it is in force at a beat."""
        return self.until_beat is None or beat < self.until_beat


def hiding_key(post_id: bytes) -> bytes:
    """Return the key of what hides a post."""
    return keyspace.moderation("i", post_id)


def lock_key(root: bytes) -> bytes:
    """Return the key of what locks a thread."""
    return keyspace.moderation("l", root)


def suspension_key(space: bytes, account: bytes) -> bytes:
    """Return the key of what suspends an account in a space, or on the platform."""
    return keyspace.moderation("s", space, account)


def read_sanction(view: View, key: bytes) -> Sanction | None:
    """Return the sanction under a key of this file, if it is in force now."""
    found = read_record(view, key, Sanction)
    return found if found is not None and found.holds_at(read_beat(view)) else None


def sanction_writes(key: bytes, sanction: Sanction) -> Iterator[Write]:
    """Yield what puts a sanction into force; it takes the place of one that has ended."""
    yield Put(key, encode_record(sanction))


def end_sanction(view: View, key: bytes, decision: bytes) -> Iterator[Write]:
    """Yield what ends a decision's sanction; nothing where another decision's stands there."""
    found = read_record(view, key, Sanction)
    if found is not None and found.decision == decision:
        yield Delete(key)


def finish_sanction(view: View, key: bytes, decision: bytes) -> Iterator[Write]:
    """Yield what makes a decision's sanction final."""
    found = read_record(view, key, Sanction)
    if found is not None and found.decision == decision:
        yield Put(key, encode_record(Sanction(decision, True, found.until_beat)))
