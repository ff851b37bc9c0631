"""The electorate: what each account weighs in social votes, now and in the epochs that open proposals still need.

A weight is standing times sybil multiplier, at most 1, as the account's last settlement found them; it holds from the
epoch that begins there.  Only a settlement raises it; taking a bond or a vouch back lowers it at once.  So the same FLX
never stands behind two weights of one epoch, and what somebody gains after a proposal opened does not count in it.

The electorate of an epoch are the accounts that were settled in the last ELECTORATE_EPOCHS; whoever has long gone
blocks no quorum.  `read_mass` is the exact sum of their weights.  Of the past only what an open proposal needs is kept.
"""

import struct
from typing import NamedTuple

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import View
from ledger.policies import read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.standing import compute_sybil_multiplier, read_standing
from ledger.state import encode_number, read_number
from ledger.tokens import FLX, compute_bond_account, read_balance

ELECTORATE_EPOCHS = 70
"""Whoever was settled in none of this many epochs, about a week, is not counted."""
HELD_MAX = 32
"""As many proposals may be open, each with an epoch of its own."""


_WEIGHT = struct.Struct(">QQ")  # an account's are stored one after the other: this is written for all who act


class Weight(NamedTuple):
    """What an account weighs from an epoch on."""

    from_epoch: int
    weight: int  # raw, 0..1


def compute_weight(s_chr: int, y: int) -> int:
    """Return what an account weighs, raw in 0..1."""
    return min(SCALE, s_chr * y // SCALE)


def list_weights(view: View, account_id: bytes) -> tuple[Weight, ...]:
    """Return the weights of an account that are kept, oldest first."""
    data = view.get(keyspace.weights(account_id)) or b""
    return tuple([Weight(*each) for each in _WEIGHT.iter_unpack(data)])


def read_weight(view: View, account_id: bytes, epoch: int) -> int:
    """Return what an account weighed in an epoch that is held, or the current one; 0 outside its electorate."""
    for each in reversed(list_weights(view, account_id)):
        if each.from_epoch <= epoch:
            return each.weight if each.from_epoch > epoch - ELECTORATE_EPOCHS else 0
    return 0


def read_mass(view: View, epoch: int) -> int:
    """Return the sum of the weights of all accounts in the current epoch."""
    first = max(0, epoch - ELECTORATE_EPOCHS + 1)
    return sum(read_number(view, keyspace.mass(each)) for each in range(first, epoch + 1))


def read_held(view: View) -> tuple[int, ...]:
    """Return the epochs whose weights are kept."""
    data = view.get(keyspace.held_epochs()) or b""
    return tuple([epoch for (epoch,) in struct.iter_unpack(">Q", data)])


def encode_held(epochs: tuple[int, ...]) -> bytes:
    """Return the stored form of the epochs whose weights are kept; any order, any repeats."""
    held = sorted(set(epochs))
    assert len(held) <= HELD_MAX, "as many proposals may be open"
    return b"".join([keyspace.u64(epoch) for epoch in held])


def enroll(draft: Draft, account_id: bytes, from_epoch: int, weight: int) -> None:
    """Take what a settlement found of an account; it holds from `from_epoch`."""
    _set(draft, account_id, from_epoch, weight)


def lower_weight(draft: Draft, account_id: bytes, epoch: int) -> None:
    """Take into account that something which stood behind an account was taken back in `epoch`."""
    kept, standing = list_weights(draft, account_id), read_standing(draft, account_id)
    if not kept or standing is None or kept[-1].from_epoch <= epoch - ELECTORATE_EPOCHS:
        return  # who has left the electorate does not come back by this
    bond = read_balance(draft, FLX, compute_bond_account(account_id))
    y = compute_sybil_multiplier(standing, bond, epoch, read_policies(draft))
    weight = compute_weight(standing.s_chr, y)
    if weight < kept[-1].weight:
        _set(draft, account_id, epoch, weight)


def _set(draft: Draft, account_id: bytes, from_epoch: int, weight: int) -> None:
    assert 0 <= weight <= SCALE, f"expected a weight of 0..1 raw, got {weight}"
    kept = list_weights(draft, account_id)
    if kept:
        newest = kept[-1]
        assert newest.from_epoch <= from_epoch, "weights are set in order of epochs"
        _add(draft, newest.from_epoch, -newest.weight)
        if newest.from_epoch == from_epoch:
            kept = kept[:-1]
    _add(draft, from_epoch, weight)
    needed = _list_needed(kept, from_epoch, read_held(draft)) if kept else []
    data = b"".join([_WEIGHT.pack(*each) for each in (*needed, (from_epoch, weight))])
    draft.put(keyspace.weights(account_id), data)


def _list_needed(kept: tuple[Weight, ...], before: int, held: tuple[int, ...]) -> list[Weight]:
    """Return those of an account's older weights that were in force in a held epoch before `before`."""
    stops = [*(each.from_epoch for each in kept[1:]), before]
    return [
        each
        for each, stop in zip(kept, stops, strict=True)
        if any(each.from_epoch <= epoch < stop for epoch in held)
    ]  # fmt: skip


def _add(draft: Draft, epoch: int, change: int) -> None:
    if change == 0:
        return
    total = read_number(draft, keyspace.mass(epoch)) + change
    assert total >= 0, "no weight is taken out twice"
    if total:
        draft.put(keyspace.mass(epoch), encode_number(total))
    else:
        draft.delete(keyspace.mass(epoch))
