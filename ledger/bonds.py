"""Bonds: FLX that an account locks so that its identity has cost something.  Events: identity.BondLocked, BondReleased.

A bond is held by a system account of its own; it neither decays nor can be spent.  What counts is what is locked when
an epoch closes, so the same FLX never stands behind two accounts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from ledger.draft import Draft
from ledger.electorate import lower_weight
from ledger.events import Entry, EventType, View, Write
from ledger.primitives.fixed_point import SCALE, format_decimal
from ledger.primitives.records import U128_MAX, Between
from ledger.tokens import FLX, compute_bond_account, move, read_balance
from ledger.verdict import Fact, Verdict, allow, deny
from ledger.vouches import count_live_vouches

Atoms = Annotated[int, Between(1, U128_MAX)]


@dataclass(frozen=True, slots=True)
class BondLocked:
    """The author locks FLX."""

    atoms: Atoms


@dataclass(frozen=True, slots=True)
class BondReleased:
    """The author takes locked FLX back."""

    atoms: Atoms


def balance_covers_bond(view: View, entry: Entry[BondLocked]) -> Verdict:
    balance = read_balance(view, FLX, entry.author)
    facts: dict[str, Fact] = {"amount_atoms": entry.body.atoms, "balance_atoms": balance}
    if balance >= entry.body.atoms:
        return allow("bonds.covered", "The balance covers the bond.", **facts)
    return deny("bonds.overdraft", "The balance does not cover the bond.", **facts)


def bond_covers_release(view: View, entry: Entry[BondReleased]) -> Verdict:
    locked = read_balance(view, FLX, compute_bond_account(entry.author))
    facts: dict[str, Fact] = {"amount_atoms": entry.body.atoms, "locked_atoms": locked}
    if locked >= entry.body.atoms:
        return allow("bonds.locked", "So much is locked.", **facts)
    return deny("bonds.not_locked", "Less than that is locked.", **facts)


def stands_for_nobody(view: View, entry: Entry[BondReleased]) -> Verdict:
    live = count_live_vouches(view, entry.author)
    if live == 0:
        return allow("bonds.vouches_for_nobody", "The account vouches for nobody.")
    return deny("bonds.vouches_live", "The bond stands behind live vouches; withdraw them first.", vouches=live)


def apply_bond_locked(view: View, entry: Entry[BondLocked]) -> Iterator[Write]:
    """Move the amount to the account's bond."""
    draft = Draft(view)
    move(draft, FLX, entry.author, compute_bond_account(entry.author), entry.body.atoms)
    yield from draft.writes()


def apply_bond_released(view: View, entry: Entry[BondReleased]) -> Iterator[Write]:
    """Move the amount back."""
    draft = Draft(view)
    move(draft, FLX, compute_bond_account(entry.author), entry.author, entry.body.atoms)
    lower_weight(draft, entry.author, entry.epoch)
    yield from draft.writes()


EVENTS = (
    EventType(
        name="identity.BondLocked",
        version=1,
        body=BondLocked,
        guards=(balance_covers_bond,),
        apply=apply_bond_locked,
        summary="An account locked FLX as its bond.",
        example=BondLocked(100 * SCALE),
        inputs=lambda body: {"amount": format_decimal(body.atoms)},
        weight=SCALE // 4,
    ),
    EventType(
        name="identity.BondReleased",
        version=1,
        body=BondReleased,
        guards=(bond_covers_release, stands_for_nobody),
        apply=apply_bond_released,
        summary="An account took FLX of its bond back.",
        example=BondReleased(100 * SCALE),
        inputs=lambda body: {"amount": format_decimal(body.atoms)},
        weight=SCALE // 4,
    ),
)
