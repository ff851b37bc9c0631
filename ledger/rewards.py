"""Rewards: what a closed epoch pays, as events.  All derived, made by `ledger.settlement` alone.

RewardAccrued says what one item earned and from which numbers; RewardPaid what one account gets, and carries it from
one epoch into the next: payment, decay, recovery, standing, in that order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from ledger import keyspace
from ledger.draft import Draft
from ledger.electorate import compute_weight, enroll
from ledger.events import Entry, EventType, Put, View, Write
from ledger.primitives.fixed_point import SCALE, format_decimal
from ledger.primitives.records import U32, U64, U128, Between, Bytes32, Length, encode_record
from ledger.standing import bring_up_to_date, pass_epoch, read_standing, start_epoch, write_standing
from ledger.state import encode_number, read_record
from ledger.tokens import CHR, FLX, PSI, RES, issue, reserve_account

Raw1 = Annotated[int, Between(0, SCALE)]


@dataclass(frozen=True, slots=True)
class Economy:
    """What one epoch hands to the next."""

    growth: U64  # factor for the pools, raw
    mean_coherence: Raw1  # of the last items that were settled


def read_economy(view: View) -> Economy:
    """Return what the last closed epoch handed on; growth 1 before the first."""
    found = read_record(view, keyspace.economy(), Economy)
    return Economy(SCALE, 7 * SCALE // 10) if found is None else found


@dataclass(frozen=True, slots=True)
class RewardAccrued:
    """One item's part of the pools: weight = eligibility * coherence * c_holo * mass."""

    author: Bytes32
    c_holo: Raw1
    chr_author: U128
    chr_endorsers: U128
    coherence: Raw1
    eligibility: Raw1
    endorsers: U32
    flx_author: U128
    flx_endorsers: U128
    item: Bytes32
    mass: U128


@dataclass(frozen=True, slots=True)
class RewardPaid:
    """What an account gets for an epoch, after caps; amounts in atoms."""

    account: Bytes32
    chr_author: U128
    chr_endorser: U128
    epoch: U64
    flx_author: U128
    flx_endorser: U128
    items: U32  # of its own that were endorsed
    mass: Raw1  # that it could give
    performance: Raw1 | None
    psi: U128
    s_chr: Raw1  # after
    y: Raw1


@dataclass(frozen=True, slots=True)
class ReserveCredited:
    """FLX that was not issued, credited to the reserve."""

    atoms: U128
    epoch: U64
    withheld: U128


@dataclass(frozen=True, slots=True)
class EmissionEpochClosed:
    """The totals of an epoch; amounts in atoms."""

    accounts: U32
    chr_issued: U128
    chr_pool: U128
    credited: U128  # to the reserve
    epoch: U64
    flx_issued: U128
    flx_pool: U128
    growth: U64
    items: U32
    mean_coherence: Raw1
    network_c_holo: Raw1
    next_growth: U64
    nod_issued: U128
    nod_pool: U128
    policies: Annotated[str, Length(0, 160)]
    withheld: U128


def apply_reward_accrued(view: View, entry: Entry[RewardAccrued]) -> Iterator[Write]:
    """Leave the receipt; the accounts are paid by their own events."""
    return iter(())


def apply_reward_paid(view: View, entry: Entry[RewardPaid]) -> Iterator[Write]:
    """Pay, let the epoch pass over the balances, and begin the next epoch."""
    body, draft = entry.body, Draft(view)
    standing = read_standing(draft, body.account)
    assert standing is not None, "whoever is paid has a standing"
    standing = bring_up_to_date(draft, body.account, standing, body.epoch)
    for token, atoms in (
        (CHR, body.chr_author + body.chr_endorser),
        (FLX, body.flx_author + body.flx_endorser),
        (PSI, body.psi),
    ):
        if atoms:
            issue(draft, token, body.account, atoms)
    pass_epoch(draft, body.account, body.epoch)
    write_standing(draft, body.account, start_epoch(standing._replace(s_chr=body.s_chr), body.epoch + 1))
    enroll(draft, body.account, body.epoch + 1, compute_weight(body.s_chr, body.y))
    yield from draft.writes()


def apply_reserve_credited(view: View, entry: Entry[ReserveCredited]) -> Iterator[Write]:
    """Issue RES for FLX that was withheld."""
    draft = Draft(view)
    issue(draft, RES, reserve_account(), entry.body.atoms)
    yield from draft.writes()


def apply_epoch_closed(view: View, entry: Entry[EmissionEpochClosed]) -> Iterator[Write]:
    """Forget who acted, and hand on growth."""
    yield Put(keyspace.active_count(), encode_number(0))
    yield Put(keyspace.economy(), encode_record(Economy(entry.body.next_growth, entry.body.mean_coherence)))


REWARD_ACCRUED = EventType(
    name="economics.RewardAccrued",
    version=1,
    body=RewardAccrued,
    guards=(),
    apply=apply_reward_accrued,
    summary="An item earned its part of an epoch's pools.",
    example=RewardAccrued(bytes(32), SCALE, 8, 2, SCALE, SCALE, 3, 8, 2, bytes(32), SCALE),
    inputs=lambda body: {
        "author": body.author.hex(), "c_holo": body.c_holo, "chr_author": body.chr_author,
        "chr_endorsers": body.chr_endorsers, "coherence": body.coherence, "eligibility": body.eligibility,
        "endorsers": body.endorsers, "flx_author": body.flx_author, "flx_endorsers": body.flx_endorsers,
        "item": body.item.hex(), "mass": body.mass,
    },
    derived=True,
)  # fmt: skip
REWARD_PAID = EventType(
    name="economics.RewardPaid",
    version=1,
    body=RewardPaid,
    guards=(),
    apply=apply_reward_paid,
    summary="An account was paid for an epoch; its balances decayed and its energy recovered.",
    example=RewardPaid(bytes(32), 8, 1, 3, 8, 1, 1, SCALE, SCALE // 2, 5, SCALE // 2, SCALE),
    inputs=lambda body: {
        "account": body.account.hex(), "chr_author": body.chr_author, "chr_endorser": body.chr_endorser,
        "epoch": body.epoch, "flx_author": body.flx_author, "flx_endorser": body.flx_endorser, "items": body.items,
        "mass": body.mass, "performance": -1 if body.performance is None else body.performance, "psi": body.psi,
        "s_chr": body.s_chr, "y": body.y,
    },
    derived=True,
)  # fmt: skip
RESERVE_CREDITED = EventType(
    name="economics.ReserveCredited",
    version=1,
    body=ReserveCredited,
    guards=(),
    apply=apply_reserve_credited,
    summary="FLX that an epoch did not issue was credited to the reserve.",
    example=ReserveCredited(5, 3, 7),
    inputs=lambda body: {"amount": format_decimal(body.atoms), "epoch": body.epoch, "withheld_atoms": body.withheld},
    derived=True,
)
EPOCH_CLOSED = EventType(
    name="economics.EmissionEpochClosed",
    version=1,
    body=EmissionEpochClosed,
    guards=(),
    apply=apply_epoch_closed,
    summary="An epoch was settled.",
    example=EmissionEpochClosed(
        2, 10, 100, 5, 3, 10, 100, SCALE, 1, SCALE // 2, SCALE // 2, SCALE, 0, 0, "rewards@1", 7
    ),
    inputs=lambda body: {
        "accounts": body.accounts, "chr_issued": body.chr_issued, "chr_pool": body.chr_pool, "credited": body.credited,
        "epoch": body.epoch, "flx_issued": body.flx_issued, "flx_pool": body.flx_pool, "growth": body.growth,
        "items": body.items, "mean_coherence": body.mean_coherence, "network_c_holo": body.network_c_holo,
        "next_growth": body.next_growth, "nod_issued": body.nod_issued, "nod_pool": body.nod_pool,
        "policies": body.policies, "withheld": body.withheld,
    },
    derived=True,
)  # fmt: skip

EVENTS = (REWARD_ACCRUED, REWARD_PAID, RESERVE_CREDITED, EPOCH_CLOSED)
