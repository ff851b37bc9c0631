"""Standing: what the economy remembers of an account, and how idle accounts catch up.

A closing epoch settles the accounts that acted in it.  All others decay, recover and drift when they are next touched:
the same floor, epoch by epoch, so late and at once agree bit for bit.  `bring_up_to_date` and the epoch's settlement
are the only callers of `tokens.issue`.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from ledger import hsmf, keyspace
from ledger.draft import Draft
from ledger.events import View
from ledger.policies import (
    DecayPolicy,
    EnergyPolicy,
    Policies,
    decode_values,
    read_policies,
    read_version_at,
)
from ledger.primitives.fixed_point import SCALE
from ledger.tokens import (
    ATR,
    ATR_STORE,
    CHR,
    FLX,
    NOD,
    PSI,
    RES,
    burn,
    issue,
    read_balance,
    read_supply,
    reserve_account,
)

ECHOES_KEPT = 20
ECHO_BYTES = 3
EPOCHS_AVERAGED = 8
SMALL_VALUES_CACHED = 256

ENERGY_UNIT = 10**12
"""Energy is charged and counted in millionths of an ATR, so that the counts of an account fit into 64 bits."""
METRIC_UNIT = 10**6
"""Sums of metrics are kept in 10**-12, for the same reason."""

_HEAD = struct.Struct(">12Q5I4B32s")
_FOUNDER, _HAS_ITEM = 1, 2


class Standing(NamedTuple):
    """An account in the economy.  Sums and counts are of `epoch`, to which all else is brought up too."""

    action_beat: int  # of the last action
    actions: int
    atr_spent: int  # in units of ENERGY_UNIT, as is all energy here
    created_epoch: int
    echoes: bytes  # of the last ECHOES_KEPT items, newest first
    endorsements: int
    epoch: int
    founder: bool  # made by genesis: counts as fully aged
    last_item: bytes | None  # which a new follower supports
    multiplier: int  # raw, 1..10
    past_actions: tuple[int, ...]  # of the EPOCHS_AVERAGED epochs before, newest first
    penalties: int
    posts: int  # in the window
    posts_window: int
    s_chr: int  # raw, 0..1
    sum_c_holo: int  # in units of METRIC_UNIT raw, as the other sums
    sum_flx: int
    sum_psi: int
    sum_res: int
    vouches: int  # live, from others
    window: int  # index of the day-window
    windows: tuple[int, ...]  # energy spent, oldest first; the last is `window`


def encode_standing(standing: Standing) -> bytes:
    """Return the stored bytes: fixed numbers, then past actions, day-windows and echoes.  Read with every action."""
    flags = (_FOUNDER if standing.founder else 0) | (0 if standing.last_item is None else _HAS_ITEM)
    past, windows = standing.past_actions, standing.windows
    head = _HEAD.pack(
        standing.action_beat, standing.atr_spent, standing.created_epoch, standing.epoch, standing.multiplier,
        standing.posts_window, standing.s_chr, standing.sum_c_holo, standing.sum_flx, standing.sum_psi,
        standing.sum_res, standing.window, standing.actions, standing.endorsements, standing.penalties,
        standing.posts, standing.vouches, flags, len(past), len(windows), len(standing.echoes),
        standing.last_item or bytes(32),
    )  # fmt: skip
    return head + struct.pack(f">{len(past)}I{len(windows)}Q", *past, *windows) + standing.echoes


@lru_cache(SMALL_VALUES_CACHED)
def decode_standing(data: bytes) -> Standing:
    """Return what `encode_standing` made."""
    (
        action_beat, atr_spent, created_epoch, epoch, multiplier, posts_window, s_chr, sum_c_holo, sum_flx, sum_psi,
        sum_res, window, actions, endorsements, penalties, posts, vouches, flags, past, windows, echoes, item,
    ) = _HEAD.unpack_from(data)  # fmt: skip
    numbers = struct.unpack_from(f">{past}I{windows}Q", data, _HEAD.size)
    assert len(data) == _HEAD.size + 4 * past + 8 * windows + echoes, "a standing is as long as it says"
    return Standing(
        action_beat, actions, atr_spent, created_epoch, data[len(data) - echoes :], endorsements, epoch,
        bool(flags & _FOUNDER), item if flags & _HAS_ITEM else None, multiplier, numbers[:past], penalties, posts,
        posts_window, s_chr, sum_c_holo, sum_flx, sum_psi, sum_res, vouches, window, numbers[past:],
    )  # fmt: skip


def new_standing(epoch: int, *, founder: bool = False) -> Standing:
    """Return the standing of an account that has done nothing yet."""
    return Standing(
        action_beat=0, actions=0, atr_spent=0, created_epoch=epoch, echoes=b"", endorsements=0, epoch=epoch,
        founder=founder, last_item=None, multiplier=SCALE, past_actions=(), penalties=0, posts=0, posts_window=0,
        s_chr=hsmf.S_CHR_START, sum_c_holo=0, sum_flx=0, sum_psi=0, sum_res=0, vouches=0, window=0, windows=(),
    )  # fmt: skip


def read_standing(view: View, account_id: bytes) -> Standing | None:
    """Return an account's standing as it was last written, or None when the account does not exist."""
    data = view.get(keyspace.standing(account_id))
    return None if data is None else decode_standing(data)


def write_standing(draft: Draft, account_id: bytes, standing: Standing) -> None:
    """Store an account's standing."""
    draft.put(keyspace.standing(account_id), encode_standing(standing))


def open_standing(draft: Draft, account_id: bytes, epoch: int, *, founder: bool = False) -> None:
    """Give a new account its standing and its full store of energy."""
    write_standing(draft, account_id, new_standing(epoch, founder=founder))
    issue(draft, ATR, account_id, ATR_STORE)


def bring_up_to_date(draft: Draft, account_id: bytes, standing: Standing, epoch: int) -> Standing:
    """Let idle epochs pass over an account: decay, recovery, drift.  Writes balances and standing; returns it.

    epoch: the current one; what the account did in an epoch before was settled when that epoch closed.
    """
    if standing.epoch >= epoch:
        return standing
    for token in (FLX, CHR, PSI, NOD):
        _decay(draft, token, account_id, standing.epoch, epoch)
    _recover(draft, account_id, standing.epoch, epoch)
    drifted = standing.s_chr
    for _ in range(standing.epoch, epoch):
        after = hsmf.next_s_chr(drifted, None, 0)
        if after == drifted:
            break
        drifted = after
    current = start_epoch(standing._replace(s_chr=drifted), epoch)
    write_standing(draft, account_id, current)
    return current


def start_epoch(standing: Standing, epoch: int) -> Standing:
    """Return the standing with nothing done yet in `epoch`."""
    idle = min(epoch - standing.epoch - 1, EPOCHS_AVERAGED)
    past = ((0,) * idle + (standing.actions, *standing.past_actions))[:EPOCHS_AVERAGED]
    return standing._replace(
        actions=0, atr_spent=0, endorsements=0, epoch=epoch, past_actions=past, penalties=0, sum_c_holo=0,
        sum_flx=0, sum_psi=0, sum_res=0,
    )  # fmt: skip


def pass_epoch(draft: Draft, account_id: bytes, closed: int) -> None:
    """Decay and recover one account's balances over one closed epoch."""
    for token in (FLX, CHR, PSI, NOD):
        _decay(draft, token, account_id, closed, closed + 1)
    _recover(draft, account_id, closed, closed + 1)


def _decay(draft: Draft, token: str, account_id: bytes, first: int, epoch: int) -> None:
    balance = before = read_balance(draft, token, account_id)
    if balance == 0:
        return
    for policy, epochs in _list_runs(draft, "decay", first, epoch):
        assert isinstance(policy, DecayPolicy)
        for _ in range(epochs):
            after = decay_once(token, balance, policy)
            if after == balance:
                break  # a fixed point of this policy
            balance = after
    lost = before - balance
    if lost:
        burn(draft, token, account_id, lost)
        if token == FLX:
            credit_reserve(draft, lost)


def decay_once(token: str, balance: int, policy: DecayPolicy) -> int:
    """Return what an epoch leaves of a balance."""
    if token == FLX:
        above = max(0, balance - policy.flx_floor)
        return balance - above + above * policy.flx_kept // SCALE
    kept = {CHR: policy.chr_kept, PSI: policy.psi_kept, NOD: policy.nod_kept}[token]
    return balance * kept // SCALE


def decay_earned(view: View, token: str, atoms: int, first: int, epoch: int) -> int:
    """Return what is left of CHR or FLX that was earned in epoch `first`, at the full rate of decay: no floor."""
    for policy, epochs in _list_runs(view, "decay", first, epoch):
        assert isinstance(policy, DecayPolicy)
        kept = policy.chr_kept if token == CHR else policy.flx_kept
        for _ in range(epochs):
            after = atoms * kept // SCALE
            if after == atoms:
                break
            atoms = after
    return atoms


def _recover(draft: Draft, account_id: bytes, first: int, epoch: int) -> None:
    energy = before = read_balance(draft, ATR, account_id)
    for policy, epochs in _list_runs(draft, "energy", first, epoch):
        assert isinstance(policy, EnergyPolicy)
        for _ in range(epochs):
            after = recover_once(energy, policy)
            if after == energy:
                break
            energy = after
    if energy > before:
        issue(draft, ATR, account_id, energy - before)


def recover_once(energy: int, policy: EnergyPolicy) -> int:
    """Return a store of energy after an epoch; what is missing shrinks, and never below zero."""
    return ATR_STORE - (ATR_STORE - energy) * policy.recovery // SCALE


def credit_reserve(draft: Draft, flx_atoms: int) -> int:
    """Credit the reserve for FLX that was burned or not issued, up to its target; return what it took.

    One RES stands for one FLX withheld; at the target the rest is simply gone.
    """
    target = read_supply(draft, FLX) * read_policies(draft).rewards.reserve_target // SCALE
    taken = min(flx_atoms, max(0, target - read_supply(draft, RES)))
    if taken:
        issue(draft, RES, reserve_account(), taken)
    return taken


def _list_runs(view: View, name: str, first: int, epoch: int) -> list[tuple[object, int]]:
    """Return (policy, number of epochs) for the epochs from `first` up to `epoch`, oldest first."""
    runs: list[tuple[object, int]] = []
    stop = epoch
    while stop > first:
        version = read_version_at(view, name, stop - 1)
        start = max(first, version.from_epoch)
        runs.append((_decode_old(name, version.values), stop - start))
        stop = start
    runs.reverse()
    return runs


@lru_cache(SMALL_VALUES_CACHED)
def _decode_old(name: str, values: bytes) -> object:
    return decode_values(name, values)


def compute_sybil_multiplier(standing: Standing, bond: int, epoch: int, policies: Policies) -> int:
    """Return y in 0..1: how much an identity counts, by its age and by what it cost."""
    policy = policies.sybil
    if epoch - standing.created_epoch < policy.newcomer_epochs and not standing.founder:
        return 0
    age = SCALE if standing.founder else min(SCALE, (epoch - standing.created_epoch) * SCALE // policy.age_epochs)
    paid = SCALE if policy.bond == 0 else min(SCALE, bond * SCALE // policy.bond)
    cost = min(SCALE, paid + policy.vouch_share * standing.vouches)
    return age * cost // SCALE
