"""Standing: what the economy remembers of an account, and how idle accounts catch up.

A closing epoch settles the accounts that acted in it.  All others decay, recover and drift when they are next touched:
the same floor, epoch by epoch, so late and at once agree bit for bit.  `bring_up_to_date` and the epoch's settlement
are the only callers of `tokens.issue`.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated

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
from ledger.primitives.records import U32, U64, U128, Between, Bytes32, Length, decode_record, encode_record
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
STANDINGS_CACHED = 16_384

Raw1 = Annotated[int, Between(0, SCALE)]


@dataclass(frozen=True, slots=True)
class Standing:
    """An account in the economy.  Sums and counts are of `epoch`, to which all else is brought up too."""

    action_beat: U64  # of the last action
    actions: U32
    atr_spent: U128
    created_epoch: U64
    echoes: Annotated[bytes, Length(0, ECHOES_KEPT * ECHO_BYTES)]  # of the last items, newest first
    endorsements: U32
    epoch: U64
    founder: bool  # made by genesis: counts as fully aged
    last_item: Bytes32 | None  # which a new follower supports
    multiplier: Annotated[int, Between(SCALE, 10 * SCALE)]
    past_actions: Annotated[tuple[U32, ...], Length(0, EPOCHS_AVERAGED)]  # of the epochs before, newest first
    penalties: U32
    posts: U32  # in the window
    posts_window: U64
    s_chr: Raw1
    sum_c_holo: U128
    sum_flx: U128
    sum_psi: U128
    sum_res: U128
    vouches: U32  # live, from others
    window: U64  # index of the day-window
    windows: Annotated[tuple[U128, ...], Length(0, hsmf.WINDOWS_KEPT)]  # ATR spent, oldest first; the last is `window`


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
    return None if data is None else _decode_standing(data)


@lru_cache(STANDINGS_CACHED)
def _decode_standing(data: bytes) -> Standing:
    return decode_record(Standing, data)


def write_standing(draft: Draft, account_id: bytes, standing: Standing) -> None:
    """Store an account's standing."""
    draft.put(keyspace.standing(account_id), encode_record(standing))


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
    current = start_epoch(replace(standing, s_chr=drifted), epoch)
    write_standing(draft, account_id, current)
    return current


def start_epoch(standing: Standing, epoch: int) -> Standing:
    """Return the standing with nothing done yet in `epoch`."""
    idle = min(epoch - standing.epoch - 1, EPOCHS_AVERAGED)
    past = ((0,) * idle + (standing.actions, *standing.past_actions))[:EPOCHS_AVERAGED]
    return replace(
        standing, actions=0, atr_spent=0, endorsements=0, epoch=epoch, past_actions=past, penalties=0, sum_c_holo=0,
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
