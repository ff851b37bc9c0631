"""Holds: what hidden posts earn while their decision can be reversed.

Events: economics.RewardHeld, RewardReleased, RewardClawedBack, PenaltyApplied, all derived.

A contested post is settled as if nothing had happened: support is shared, so an unpaid post would change what everybody
else gets, and nothing could ever undo that.  What it earns, for its author and its endorsers, is paid into their
balances and held there: held FLX can't be spent.  A reversal drops the hold, and every balance is what it would have
been.  A decision that becomes final takes the earnings back, less the decay since, and counts as a penalty: an upheld
decision lowers the performance of the epoch in which it became final.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, EventType, Put, View, Write
from ledger.primitives.records import U32, U64, U128, Bytes32, encode_record
from ledger.standing import (
    bring_up_to_date,
    credit_reserve,
    decay_earned,
    read_standing,
    write_standing,
)
from ledger.state import encode_number, read_number, read_record
from ledger.tokens import CHR, FLX, burn, read_balance

Derived: TypeAlias = tuple[EventType[Any], Any]


@dataclass(frozen=True, slots=True)
class RewardHeld:
    """What an account was paid for a contested post in an epoch, in atoms; also how the state keeps it."""

    account: Bytes32
    chr: U128
    decision: Bytes32
    epoch: U64
    flx: U128
    item: Bytes32


@dataclass(frozen=True, slots=True)
class RewardReleased:
    """All that a decision held is free: it was reversed or taken back."""

    chr: U128
    decision: Bytes32
    flx: U128
    payments: U32


@dataclass(frozen=True, slots=True)
class RewardClawedBack:
    """What was held of an account is taken back, less what has decayed since; at most what it still has."""

    account: Bytes32
    chr: U128
    decision: Bytes32
    flx: U128
    payment: U32  # its number among those that the decision held


@dataclass(frozen=True, slots=True)
class PenaltyApplied:
    """An upheld decision counts against an account in this epoch's performance."""

    account: Bytes32
    decision: Bytes32


def read_held_flx(view: View, account: bytes) -> int:
    """Return how much FLX of an account is held, in atoms."""
    return read_number(view, keyspace.moderation("f", account))


def list_held(view: View, decision: bytes) -> list[RewardHeld]:
    """Return what a decision holds, oldest first.  Cost: linear in the payments for the posts that it hides."""
    found: list[RewardHeld] = []
    for number in range(read_number(view, keyspace.moderation("H", decision))):
        held = read_record(view, keyspace.moderation("h", decision, keyspace.u64(number)), RewardHeld)
        assert held is not None, "a hold that was counted is kept"
        found.append(held)
    return found


def list_released(view: View, decision: bytes) -> Iterator[Derived]:
    """Yield the event that drops what a decision holds; nothing where it holds nothing."""
    held = list_held(view, decision)
    if held:
        yield (
            REWARD_RELEASED,
            RewardReleased(sum(each.chr for each in held), decision, sum(each.flx for each in held), len(held)),
        )


def list_clawed_back(view: View, decision: bytes, epoch: int) -> Iterator[Derived]:
    """Yield the events that take back what a decision holds.  epoch: the current one."""
    for number, held in enumerate(list_held(view, decision)):
        draft = Draft(view)
        standing = read_standing(draft, held.account)
        assert standing is not None, "whoever was paid has a standing"
        bring_up_to_date(draft, held.account, standing, epoch)
        left = {
            token: min(decay_earned(view, token, atoms, held.epoch, epoch), read_balance(draft, token, held.account))
            for token, atoms in ((CHR, held.chr), (FLX, held.flx))
        }
        yield REWARD_CLAWED_BACK, RewardClawedBack(held.account, left[CHR], decision, left[FLX], number)


def drop_holds(view: View, decision: bytes) -> Iterator[Write]:
    """Yield what forgets all that a decision holds, and frees the FLX."""
    draft = Draft(view)
    for number, held in enumerate(list_held(view, decision)):
        _free(draft, held)
        draft.delete(keyspace.moderation("h", decision, keyspace.u64(number)))
    draft.delete(keyspace.moderation("H", decision))
    yield from draft.writes()


def _free(draft: Draft, held: RewardHeld) -> None:
    left = read_held_flx(draft, held.account) - held.flx
    assert left >= 0, "what is freed was held"
    key = keyspace.moderation("f", held.account)
    if left:
        draft.put(key, encode_number(left))
    else:
        draft.delete(key)


def apply_reward_held(view: View, entry: Entry[RewardHeld]) -> Iterator[Write]:
    """Keep the payment, and count its FLX as held."""
    body = entry.body
    number = read_number(view, keyspace.moderation("H", body.decision))
    yield Put(keyspace.moderation("h", body.decision, keyspace.u64(number)), encode_record(body))
    yield Put(keyspace.moderation("H", body.decision), encode_number(number + 1))
    if body.flx:
        yield Put(keyspace.moderation("f", body.account), encode_number(read_held_flx(view, body.account) + body.flx))


def apply_reward_released(view: View, entry: Entry[RewardReleased]) -> Iterator[Write]:
    """Drop the hold; the balances stay as they are."""
    yield from drop_holds(view, entry.body.decision)


def apply_reward_clawed_back(view: View, entry: Entry[RewardClawedBack]) -> Iterator[Write]:
    """Burn what was earned; for the FLX the reserve is credited, as for all FLX that is withheld."""
    body, draft = entry.body, Draft(view)
    standing = read_standing(draft, body.account)
    assert standing is not None, "whoever was paid has a standing"
    bring_up_to_date(draft, body.account, standing, entry.epoch)
    if body.chr:
        burn(draft, CHR, body.account, body.chr)
    if body.flx:
        burn(draft, FLX, body.account, body.flx)
        credit_reserve(draft, body.flx)
    yield from draft.writes()


def apply_penalty(view: View, entry: Entry[PenaltyApplied]) -> Iterator[Write]:
    """Count the penalty, and have the account settled when the epoch closes."""
    account, draft = entry.body.account, Draft(view)
    standing = read_standing(draft, account)
    assert standing is not None, "whoever is decided about has a standing"
    standing = bring_up_to_date(draft, account, standing, entry.epoch)
    if standing.actions == 0 and standing.penalties == 0:
        count = read_number(draft, keyspace.active_count())
        draft.put(keyspace.active_account(count), account)
        draft.put(keyspace.active_count(), encode_number(count + 1))
    write_standing(draft, account, standing._replace(penalties=standing.penalties + 1))
    yield from draft.writes()


REWARD_HELD = EventType(
    name="economics.RewardHeld",
    version=1,
    body=RewardHeld,
    guards=(),
    apply=apply_reward_held,
    summary="What an account earned by a contested post is held until its decision is final or reversed.",
    example=RewardHeld(bytes(32), 8, bytes(32), 3, 2, bytes(32)),
    inputs=lambda body: {
        "account": body.account.hex(), "chr": body.chr, "decision": body.decision.hex(), "epoch": body.epoch,
        "flx": body.flx, "item": body.item.hex(),
    },
    derived=True,
)  # fmt: skip
REWARD_RELEASED = EventType(
    name="economics.RewardReleased",
    version=1,
    body=RewardReleased,
    guards=(),
    apply=apply_reward_released,
    summary="What a decision held is free again.",
    example=RewardReleased(8, bytes(32), 2, 1),
    inputs=lambda body: {
        "chr": body.chr, "decision": body.decision.hex(), "flx": body.flx, "payments": body.payments,
    },
    derived=True,
)  # fmt: skip
REWARD_CLAWED_BACK = EventType(
    name="economics.RewardClawedBack",
    version=1,
    body=RewardClawedBack,
    guards=(),
    apply=apply_reward_clawed_back,
    summary="What an account earned by a post that was rightly hidden was taken back.",
    example=RewardClawedBack(bytes(32), 8, bytes(32), 2, 0),
    inputs=lambda body: {
        "account": body.account.hex(), "chr": body.chr, "decision": body.decision.hex(), "flx": body.flx,
        "payment": body.payment,
    },
    derived=True,
)  # fmt: skip
PENALTY_APPLIED = EventType(
    name="economics.PenaltyApplied",
    version=1,
    body=PenaltyApplied,
    guards=(),
    apply=apply_penalty,
    summary="An upheld decision counts against an account's standing.",
    example=PenaltyApplied(bytes(32), bytes(32)),
    inputs=lambda body: {"account": body.account.hex(), "decision": body.decision.hex()},
    derived=True,
)

EVENTS = (REWARD_HELD, REWARD_RELEASED, REWARD_CLAWED_BACK, PENALTY_APPLIED)
