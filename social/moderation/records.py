"""Decisions, cases and the record of each moderator, as the state keeps them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from ledger import keyspace
from ledger.events import View
from ledger.payloads import ContentRef
from ledger.primitives.records import U32, U64, U128, Bytes32, Length
from ledger.rolls import EVERYBODY, Roll
from ledger.sanctions import hiding_key, lock_key, suspension_key
from ledger.state import read_number, read_record

HIDE, LOCK, WARN, SUSPEND = "hide", "lock", "warn", "suspend"
KINDS = (HIDE, LOCK, WARN, SUSPEND)
PENALISED = frozenset({HIDE, WARN, SUSPEND})
"""What counts against an account once it is final; a locked thread is nobody's fault alone."""

OPEN, CONTESTED, FINAL = "OPEN", "CONTESTED", "FINAL"
REVERSED, LIFTED = "REVERSED", "LIFTED"
STATES = (OPEN, CONTESTED, FINAL, REVERSED, LIFTED)
"""Can be appealed; an appeal is open; can't be changed by an appeal any more; taken back by one; by a moderator."""
PENDING = frozenset({OPEN, CONTESTED})
NONE = bytes(32)

Word = Annotated[str, Length(1, 16)]


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision, with its statement of reasons.  Its id is that of the event that made it."""

    account: Bytes32  # whom it concerns: the author of the post, or the account itself
    appeal: Bytes32  # the one that contests it; zero for none
    automated: bool
    beat: U64
    content: ContentRef  # the facts, in words
    contest_until: U64  # an appeal must come before this beat
    decider: Bytes32
    height: U64
    kind: Word  # one of KINDS
    rule: U32
    ruleset: U32
    space: Bytes32  # its scope
    state: Word  # one of STATES
    subject: Bytes32  # post, root of a thread, or account
    until_beat: U64 | None  # how long a suspension lasts


@dataclass(frozen=True, slots=True)
class Case:
    """What was reported of a post, and how often it was decided about."""

    decided: U32
    first_beat: U64  # of the reports that wait
    last_beat: U64
    mass: U128  # of who reported and waits for an answer: standing times sybil multiplier, raw
    reports: U32  # that wait
    space: Bytes32
    total: U32  # reports ever


@dataclass(frozen=True, slots=True)
class ModeratorRecord:
    """What a moderator decided in a space, and what became of it."""

    acts: U32  # of any kind in `epoch`
    appealed: U32
    decisions: U32
    epoch: U64
    lifted: U32  # taken back by a moderator
    reversed: U32  # taken back by an appeal
    upheld: U32  # by an appeal


NO_RECORD = ModeratorRecord(0, 0, 0, 0, 0, 0, 0)


def read_decision(view: View, decision_id: bytes) -> Decision | None:
    """Return a decision, or None."""
    return read_record(view, keyspace.moderation("d", decision_id), Decision)


def read_case(view: View, post_id: bytes) -> Case | None:
    """Return the case of a post, or None when nobody ever reported it and nothing was decided about it."""
    return read_record(view, keyspace.moderation("c", post_id), Case)


def open_cases(space: bytes) -> Roll:
    """Return the roll of posts in a space whose reports wait for an answer."""
    return Roll("w", space)


def deciders_of(space: bytes) -> Roll:
    """Return the roll of those who ever decided something in a space."""
    return Roll("d", space)


def read_moderator_record(view: View, space: bytes, account: bytes) -> ModeratorRecord | None:
    """Return the record of a moderator, or None."""
    return read_record(view, keyspace.moderation("m", space, account), ModeratorRecord)


def sanction_key(decision: Decision) -> bytes | None:
    """Return the key of what a decision puts into force; None for a warning."""
    if decision.kind == HIDE:
        return hiding_key(decision.subject)
    if decision.kind == LOCK:
        return lock_key(decision.subject)
    if decision.kind == SUSPEND:
        return suspension_key(decision.space, decision.subject)
    return None


# The queue of decisions that can be appealed, oldest first.


def queue_key(place: int) -> bytes:
    """Return the key of a place in the queue."""
    return keyspace.moderation("q", EVERYBODY, keyspace.u64(place))


QUEUE_HEAD, QUEUE_TAIL = keyspace.moderation("q", EVERYBODY, b"head"), keyspace.moderation("q", EVERYBODY, b"tail")


def list_queue(view: View) -> Iterator[tuple[int, bytes]]:
    """Yield (place, decision) from the oldest on; each is read when it is asked for."""
    for place in range(read_number(view, QUEUE_HEAD), read_number(view, QUEUE_TAIL)):
        decision = view.get(queue_key(place))
        assert decision is not None, "a place of the queue is kept until its head has passed"
        yield place, decision
