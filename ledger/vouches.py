"""Vouches: who has paid for an identity stands up for another.  Events: reputation.VouchGiven, VouchWithdrawn.

A voucher's own bond must be full: a vouched identity can't vouch for more, so that N bonded accounts carry at most
N * vouches_live_max * vouch_share more.  A place that was used stays used for some epochs after a withdrawal.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from ledger import keyspace
from ledger.draft import Draft
from ledger.electorate import lower_weight
from ledger.events import Delete, Entry, EventType, Put, View, Write
from ledger.policies import read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import U64, Bytes32, Length, encode_record
from ledger.standing import compute_sybil_multiplier, read_standing, write_standing
from ledger.state import PRESENT, read_record
from ledger.tokens import FLX, compute_bond_account, read_balance
from ledger.verdict import Fact, Verdict, allow, deny

VOUCHES_KEPT = 100


@dataclass(frozen=True, slots=True)
class VouchGiven:
    """The author vouches for an account."""

    target: Bytes32


@dataclass(frozen=True, slots=True)
class VouchWithdrawn:
    """The author takes a vouch back."""

    target: Bytes32


@dataclass(frozen=True, slots=True)
class Vouch:
    """A vouch that was given."""

    epoch: U64
    target: Bytes32


@dataclass(frozen=True, slots=True)
class _Vouches:
    given: Annotated[tuple[Vouch, ...], Length(0, VOUCHES_KEPT)]  # oldest first


def read_vouches(view: View, account_id: bytes) -> tuple[Vouch, ...]:
    """Return the vouches that an account gave, live ones and those whose place is still used."""
    found = read_record(view, keyspace.vouches(account_id), _Vouches)
    return () if found is None else found.given


def count_live_vouches(view: View, account_id: bytes) -> int:
    """Return for how many accounts somebody vouches now."""
    return sum(1 for each in read_vouches(view, account_id) if is_live(view, account_id, each.target))


def is_live(view: View, voucher: bytes, target: bytes) -> bool:
    """Whether a vouch stands."""
    return view.get(keyspace.vouch(voucher, target)) is not None


def _list_used(view: View, voucher: bytes, epoch: int) -> tuple[Vouch, ...]:
    """Return the vouches whose place is used."""
    kept = read_policies(view).sybil.vouch_epochs
    return tuple(
        each
        for each in read_vouches(view, voucher)
        if is_live(view, voucher, each.target) or each.epoch + kept > epoch
    )  # fmt: skip


def voucher_has_standing(view: View, entry: Entry[VouchGiven]) -> Verdict:
    policies = read_policies(view)
    standing = read_standing(view, entry.author)
    assert standing is not None, "an author has a standing"
    bond = read_balance(view, FLX, compute_bond_account(entry.author))
    alone = compute_sybil_multiplier(standing._replace(vouches=0), bond, entry.epoch, policies)
    facts: dict[str, Fact] = {
        "multiplier": alone, "s_chr": standing.s_chr, "s_chr_min": policies.sybil.vouch_s_chr_min,
    }  # fmt: skip
    if alone < SCALE:
        return deny("SYBIL_VOUCHER_NOT_BONDED", "A voucher's own age and bond must be full.", **facts)
    if standing.s_chr < policies.sybil.vouch_s_chr_min:
        return deny("SYBIL_VOUCHER_STANDING", "The voucher's standing is too low.", **facts)
    return allow("SYBIL_VOUCHER_FIT", "The account may vouch.", **facts)


def vouch_has_place(view: View, entry: Entry[VouchGiven]) -> Verdict:
    used = len(_list_used(view, entry.author, entry.epoch))
    limit = read_policies(view).sybil.vouches_live_max
    if used < limit:
        return allow("SYBIL_VOUCH_PLACE", "The account has a vouch left.", used=used, vouches_max=limit)
    return deny("SYBIL_VOUCHES_USED", "The account has given all the vouches it may.", used=used, vouches_max=limit)


def target_can_be_vouched_for(view: View, entry: Entry[VouchGiven]) -> Verdict:
    if entry.body.target == entry.author:
        return deny("reputation.vouches_for_oneself", "An account cannot vouch for itself.")
    if read_standing(view, entry.body.target) is None:
        return deny("reputation.account_unknown", "The account does not exist.", target=entry.body.target.hex())
    if is_live(view, entry.author, entry.body.target):
        return deny("reputation.vouched_already", "The account vouches for this one already.")
    return allow("reputation.account_exists", "The account exists, and is not vouched for by the author.")


def vouch_stands(view: View, entry: Entry[VouchWithdrawn]) -> Verdict:
    if is_live(view, entry.author, entry.body.target):
        return allow("reputation.vouch_stands", "The author vouches for this account.")
    return deny("reputation.no_vouch", "The author does not vouch for this account.")


def apply_vouch_given(view: View, entry: Entry[VouchGiven]) -> Iterator[Write]:
    """Remember the vouch on both sides."""
    given = (*_list_used(view, entry.author, entry.epoch), Vouch(entry.epoch, entry.body.target))
    yield Put(keyspace.vouches(entry.author), encode_record(_Vouches(given)))
    yield Put(keyspace.vouch(entry.author, entry.body.target), PRESENT)
    yield from _count(view, entry, 1)


def apply_vouch_withdrawn(view: View, entry: Entry[VouchWithdrawn]) -> Iterator[Write]:
    """Forget the vouch; its place stays used for a while."""
    yield Delete(keyspace.vouch(entry.author, entry.body.target))
    yield from _count(view, entry, -1)


def _count(view: View, entry: Entry[VouchGiven] | Entry[VouchWithdrawn], change: int) -> Iterator[Write]:
    target = entry.body.target
    standing = read_standing(view, target)
    assert standing is not None, "who is vouched for has a standing"
    draft = Draft(view)
    write_standing(draft, target, standing._replace(vouches=standing.vouches + change))
    lower_weight(draft, target, entry.epoch)
    yield from draft.writes()


EVENTS = (
    EventType(
        name="reputation.VouchGiven",
        version=1,
        body=VouchGiven,
        guards=(voucher_has_standing, vouch_has_place, target_can_be_vouched_for),
        apply=apply_vouch_given,
        summary="An account vouched for another.",
        example=VouchGiven(bytes(32)),
        inputs=lambda body: {"target": body.target.hex()},
        weight=SCALE // 2,
        touches=lambda entry: (entry.body.target,),
    ),
    EventType(
        name="reputation.VouchWithdrawn",
        version=1,
        body=VouchWithdrawn,
        guards=(vouch_stands,),
        apply=apply_vouch_withdrawn,
        summary="An account took a vouch back.",
        example=VouchWithdrawn(bytes(32)),
        inputs=lambda body: {"target": body.target.hex()},
        weight=SCALE // 10,
        touches=lambda entry: (entry.body.target,),
    ),
)
