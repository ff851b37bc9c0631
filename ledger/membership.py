"""Membership: which changes of the validator set wait, and what the end of an epoch makes of them.

Events, all derived: infra.ValidatorSetChanged, infra.ValidatorChangeLapsed.

    admit   a node that a vote admitted, and whose key has shown in the closing epoch that it follows the chain
    leave   a validator whose operator resigned or retired it, or that a vote dismissed
    expel   a validator whose node is revoked: by a vote, or because its key signed two votes that contradict each other
    rotate  a validator that goes on under another key

Nothing changes within an epoch.  The block that ends one carries ValidatorSetChanged; the old set still orders and
certifies that block, whose header names the new set, and from the next height on the new one does, in an era of its
own.  Every set is kept, so what an old one signed can be checked for ever.

Two rules hold whatever is asked for.  The set never falls under VALIDATORS_MIN: who would make it smaller stays, and
goes when somebody has joined; who was expelled has lost its bond at once, and until it goes it is one of the f that may
be faulty.  And those who stay are a quorum of the new set without those who join, so the chain goes on even when no
newcomer votes; the others that are ready join at a later end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, EventType, Put, View, Write
from ledger.genesis import VALIDATORS_MIN
from ledger.nodes import NO_KEY, RELAY, VALIDATOR, compute_node_bond_account, read_node
from ledger.primitives.records import U32, U64, Bytes32, Length, encode_record
from ledger.service import (
    VALIDATORS_MAX,
    Service,
    Validators,
    compute_quorum,
    list_era_writes,
    read_service,
    read_validators,
)
from ledger.state import read_record
from ledger.tokens import FLX, move, read_balance
from ledger.verdict import Fact

ADMIT, EXPEL, LEAVE, ROTATE = "admit", "expel", "leave", "rotate"
WAITING_MAX = 256
"""Changes that wait at a time: one of each validator, and candidates."""
ADMISSION_EPOCHS = 16
"""A node has so many epochs to join after it was admitted: that of the admission is the first."""
NOT_JOINED, NODE_GONE, KEY_TAKEN = "did not join in time", "node is out of service", "new key was taken"

Kind = Annotated[str, Length(1, 8)]


@dataclass(frozen=True, slots=True)
class Change:
    """One change that waits.  Of each key one does."""

    epoch: U64  # in which it was decided
    key: Bytes32
    kind: Kind  # ADMIT, LEAVE or ROTATE
    new_key: Bytes32 = NO_KEY  # of a rotation; zero for the others
    ready_epoch: U64 | None = None  # of an admission: the last epoch in which the node said that it is ready


@dataclass(frozen=True, slots=True)
class Membership:
    """All changes that wait, in the order in which they were decided."""

    waiting: Annotated[tuple[Change, ...], Length(0, WAITING_MAX)]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A change as people and programs see it: also one that only the registry shows."""

    key: bytes
    kind: str
    decided_epoch: int | None  # None where the node was revoked or retired
    new_key: bytes | None
    ready_epoch: int | None
    last_epoch: int | None  # at whose end an admission lapses


@dataclass(frozen=True, slots=True)
class ValidatorSetChanged:
    """The set that orders and certifies everything after this block."""

    era: U32
    expelled: U32
    joined: U32
    keys: Annotated[tuple[Bytes32, ...], Length(VALIDATORS_MIN, VALIDATORS_MAX)]  # in replica order
    left: U32
    rotated: U32


@dataclass(frozen=True, slots=True)
class ValidatorChangeLapsed:
    """A change that waited will not be made."""

    kind: Kind
    node: Bytes32
    reason: Annotated[str, Length(1, 32)]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the end of an epoch makes of the changes that wait."""

    keys: tuple[bytes, ...]
    joined: tuple[bytes, ...]
    left: tuple[bytes, ...]
    expelled: tuple[bytes, ...]
    rotated: tuple[Change, ...]
    lapsed: tuple[tuple[Change, str], ...]
    waiting: tuple[Change, ...]


# Reading.


def read_membership(view: View) -> Membership:
    """Return the changes that wait."""
    return read_record(view, keyspace.membership(), Membership) or Membership(())


def find_change(view: View, key: bytes) -> Change | None:
    """Return the change of a key that waits, or None."""
    return next((change for change in read_membership(view).waiting if change.key == key), None)


def list_waiting(view: View) -> tuple[Waiting, ...]:
    """Return everything that waits for the end of an epoch: first those who are to go, then the rest as decided."""
    validators, changes = read_validators(view), read_membership(view).waiting
    keys = () if validators is None else validators.keys
    decided = [change.key for change in changes if change.kind == LEAVE]
    gone = [Waiting(key, EXPEL, None, None, None, None) for key in keys if is_expelled(view, key)]
    gone += [
        Waiting(key, LEAVE, None, None, None, None)
        for key in keys
        if has_retired(view, key) and not is_expelled(view, key) and key not in decided
    ]
    return (*gone, *[_show(change) for change in changes if not is_expelled(view, change.key)])


def _show(change: Change) -> Waiting:
    return Waiting(
        change.key,
        change.kind,
        change.epoch,
        change.new_key if change.kind == ROTATE else None,
        change.ready_epoch,
        change.epoch + ADMISSION_EPOCHS - 1 if change.kind == ADMIT else None,
    )


def is_expelled(view: View, key: bytes) -> bool:
    """Whether a key must leave the set: its node is revoked, or it signed two votes that contradict each other."""
    node = read_node(view, key)
    return view.get(keyspace.evidence(key)) is not None or (node is not None and node.revoked)


def has_retired(view: View, key: bytes) -> bool:
    """Whether a key's node has left the registry."""
    node = read_node(view, key)
    return node is not None and node.retired_epoch is not None


# Planning.


def plan_changes(view: View, validators: Validators, closed: int) -> Plan:
    """Return what becomes of the changes that wait, at the end of epoch `closed`.  Pure: it can be asked in advance."""
    changes = read_membership(view).waiting
    lapsed: list[tuple[Change, str]] = []
    rotated = [change for change in changes if change.kind == ROTATE and _is_possible(view, change, closed, lapsed)]
    ready: list[Change] = []
    waiting: list[Change] = []
    for change in changes:
        if change.kind != ADMIT or not _is_possible(view, change, closed, lapsed):
            continue
        (ready if change.ready_epoch == closed else waiting).append(change)
    leaving = _list_leaving(view, validators, changes)
    joins = _count_joins(len(validators.keys), len(leaving), len(ready))
    waiting += ready[joins:]
    for change in waiting:
        if closed + 1 >= change.epoch + ADMISSION_EPOCHS:
            lapsed.append((change, NOT_JOINED))
    gone = leaving[: len(validators.keys) + joins - VALIDATORS_MIN]
    waiting += [change for change in changes if change.kind == LEAVE and change.key in leaving[len(gone) :]]
    renamed = {change.key: change.new_key for change in rotated}
    joined = tuple([change.key for change in ready[:joins]])
    stays = tuple([renamed.get(key, key) for key in validators.keys if key not in gone])
    return Plan(
        keys=(*stays, *joined),
        joined=joined,
        left=tuple([key for key in gone if not is_expelled(view, key)]),
        expelled=tuple([key for key in gone if is_expelled(view, key)]),
        rotated=tuple(rotated),
        lapsed=tuple(lapsed),
        waiting=tuple(
            [change for change in changes if change in waiting and all(each is not change for each, _ in lapsed)]
        ),
    )


def _is_possible(view: View, change: Change, closed: int, lapsed: list[tuple[Change, str]]) -> bool:
    """Tell whether an admission or rotation can still be made; note in `lapsed` why not."""
    node = read_node(view, change.key)
    if node is None or not node.serves_in(closed + 1):
        lapsed.append((change, NODE_GONE))
        return False
    if change.kind == ROTATE and (
        read_node(view, change.new_key) is not None or view.get(keyspace.evidence(change.new_key)) is not None
    ):
        lapsed.append((change, KEY_TAKEN))
        return False
    return True


def _list_leaving(view: View, validators: Validators, changes: tuple[Change, ...]) -> list[bytes]:
    """Return who is to leave, in the order in which they go: the expelled, those decided on, those retired."""
    expelled = [key for key in validators.keys if is_expelled(view, key)]
    decided = [change.key for change in changes if change.kind == LEAVE and change.key in validators.keys]
    retired = [key for key in validators.keys if has_retired(view, key)]
    return list(dict.fromkeys([*expelled, *decided, *retired]))  # order: of the lists, each key once


def _count_joins(size: int, leaving: int, ready: int) -> int:
    """Return how many may join a set of `size`: as many as leave those who stay a quorum, and the set in its bounds."""
    for joins in range(ready, 0, -1):
        stay = size - min(leaving, size + joins - VALIDATORS_MIN)
        if stay + joins <= VALIDATORS_MAX and stay >= compute_quorum(stay + joins):
            return joins
    return 0


def list_change_writes(view: View, change: Change) -> Iterator[Write]:
    """Yield what makes a change wait, in place of an earlier one of the same key; the caller knows that there is
    room."""
    others = tuple([each for each in read_membership(view).waiting if each.key != change.key])
    yield Put(keyspace.membership(), encode_record(Membership((*others, change))))


def change_set(view: View, closed: int, beat: int) -> Iterator[tuple[EventType[Any], Any]]:
    """Yield what the end of an epoch means for the validator set; most often nothing."""
    validators = read_validators(view)
    if validators is None:
        return
    plan = plan_changes(view, validators, closed)
    for change, reason in plan.lapsed:
        yield CHANGE_LAPSED, ValidatorChangeLapsed(change.kind, change.key, reason)
    if plan.keys != validators.keys:
        yield (
            SET_CHANGED,
            ValidatorSetChanged(
                era=validators.era + 1,
                expelled=len(plan.expelled),
                joined=len(plan.joined),
                keys=plan.keys,
                left=len(plan.left),
                rotated=len(plan.rotated),
            ),
        )


AT_CLOSE = ("membership", change_set)


# Transitions.


def apply_change_lapsed(view: View, entry: Entry[ValidatorChangeLapsed]) -> Iterator[Write]:
    """Forget the change."""
    kept = tuple([change for change in read_membership(view).waiting if change.key != entry.body.node])
    yield Put(keyspace.membership(), encode_record(Membership(kept)))


def apply_set_changed(view: View, entry: Entry[ValidatorSetChanged]) -> Iterator[Write]:
    """Change the set from the next height on, the registry with it, and the counts of the epoch that has just begun."""
    draft, before = Draft(view), read_validators(view)
    assert before is not None, "the state has the validator set since genesis"
    plan = plan_changes(view, before, entry.epoch - 1)
    assert plan.keys == entry.body.keys, "the event says what the plan gives"
    assert len(frozenset(plan.keys)) == len(plan.keys), "a key is in the set once"
    draft.put(keyspace.membership(), encode_record(Membership(plan.waiting)))
    for change in plan.rotated:
        _rotate(draft, change, entry.epoch)
    for key in plan.joined:
        _seat(draft, key)
    for key in (*plan.left, *plan.expelled):
        _unseat(draft, key, entry.epoch)
    draft.write(list_era_writes(Validators(plan.keys, before.era + 1, entry.height + 1)))
    service = read_service(draft, entry.epoch)
    if service is not None:
        renamed = {change.key: change.new_key for change in plan.rotated}
        kept = tuple([renamed.get(key, key) for key in before.keys])
        draft.put(keyspace.service(entry.epoch), encode_record(remap(service, kept, plan.keys)))
    yield from draft.writes()


def _seat(draft: Draft, key: bytes) -> None:
    node = read_node(draft, key)
    assert node is not None, "who joins is registered"
    draft.put(keyspace.node(key), encode_record(replace(node, kind=VALIDATOR)))


def _unseat(draft: Draft, key: bytes, epoch: int) -> None:
    """Let a node go on as a relay.  The bond of one that has retired stays locked from now on, as its votes ended."""
    node = read_node(draft, key)
    if node is not None:
        retired_epoch = None if node.retired_epoch is None else epoch
        draft.put(keyspace.node(key), encode_record(replace(node, kind=RELAY, retired_epoch=retired_epoch)))


def _rotate(draft: Draft, change: Change, epoch: int) -> None:
    """Give a node's place in the registry, its bond and its last outcome to the new key; the old one is never used
    again."""
    node = read_node(draft, change.key)
    assert node is not None, "a node that is out of service is not rotated"
    old, new = compute_node_bond_account(change.key), compute_node_bond_account(change.new_key)
    move(draft, FLX, old, new, read_balance(draft, FLX, old))
    gone = replace(node, released=True, retired_epoch=epoch, successor=change.new_key)
    draft.put(keyspace.node(change.key), encode_record(gone))
    goes_on = replace(node, key=change.new_key, rotations=node.rotations + 1)
    draft.put(keyspace.node(change.new_key), encode_record(goes_on))
    draft.put(keyspace.listed_node(node.place), change.new_key)
    outcome = draft.get(keyspace.node_outcome(change.key))
    if outcome is not None:
        draft.put(keyspace.node_outcome(change.new_key), outcome)


def remap(service: Service, before: tuple[bytes, ...], after: tuple[bytes, ...]) -> Service:
    """Return the counts of an epoch in the order of a new set: whoever is new has none, and views begin at 0 again."""

    def moved(counts: tuple[int, ...]) -> tuple[int, ...]:
        return tuple([counts[before.index(key)] if key in before else 0 for key in after])

    return replace(
        service, led=moved(service.led), proposals=moved(service.proposals), view=0, votes=moved(service.votes)
    )  # fmt: skip


def _set_facts(body: ValidatorSetChanged) -> dict[str, Fact]:
    return {
        "era": body.era, "expelled": body.expelled, "joined": body.joined, "left": body.left,
        "rotated": body.rotated, "validators": len(body.keys),
    }  # fmt: skip


SET_CHANGED = EventType(
    name="infra.ValidatorSetChanged",
    version=1,
    body=ValidatorSetChanged,
    guards=(),
    apply=apply_set_changed,
    summary="From the next block on, another validator set orders and certifies.",
    example=ValidatorSetChanged(1, 0, 1, tuple(bytes([number]) * 32 for number in range(5)), 0, 0),
    inputs=_set_facts,
    derived=True,
)
CHANGE_LAPSED = EventType(
    name="infra.ValidatorChangeLapsed",
    version=1,
    body=ValidatorChangeLapsed,
    guards=(),
    apply=apply_change_lapsed,
    summary="A change of the validator set that waited will not be made.",
    example=ValidatorChangeLapsed(ADMIT, bytes(32), NOT_JOINED),
    inputs=lambda body: {"kind": body.kind, "node": body.node.hex(), "reason": body.reason},
    derived=True,
)
EVENTS = (SET_CHANGED, CHANGE_LAPSED)
