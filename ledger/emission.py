"""Emission: the limits of what an epoch may issue, and the codes of what goes over them.

Settlement keeps to these by construction; they are checked again on what it would pay, and a failure (CIR-511) pays
nothing.  Constants here are constitutional.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.policies import PROTOCOL, Policies
from ledger.primitives.fixed_point import SCALE
from ledger.tokens import ATR_STORE, FLX_BALANCE_ATOMS_MAX
from ledger.verdict import Verdict, deny

CHR_EPOCH_MAX = 1_007_477 * SCALE
CHR_SUPPLY_MAX = 10**9 * SCALE
ADDRESS_REWARD_MAX = 10**6 * SCALE
PSI_MAX = 10**6 * SCALE
NOD_EPOCH_MAX = 10**6 * SCALE
NOD_SHARE_MAX = 3 * SCALE // 10
NOD_VOTE_MAX = SCALE // 4
NOD_NODES_MIN = 4
RESERVE_DRAW_MAX = SCALE // 20
RESERVE_FLOOR = 10**6 * SCALE
SUPPLY_CHANGE_MAX = SCALE // 50
SUPPLY_CHANGE_FROM = 10**7 * SCALE
"""Below this supply only the pools cap what an epoch issues."""
GUARD_CITE = "economics@1"
"""The guard in whose name the limits are checked; it lists their codes."""
IMPACT_MAX = SCALE // 20
"""The most of an epoch's CHR and FLX pools that one payment may be.  It limits what one event changes of a supply;
a transfer changes none, and a limit on its amount would only split it, so transfers have no such limit."""


@dataclass(frozen=True, slots=True)
class Emission:
    """What an epoch would issue, and what it was allowed to; amounts in atoms."""

    chr_pool: int
    flx_pool: int
    chr_issued: int
    flx_issued: int
    chr_supply: int  # before
    flx_supply: int
    chr_per_account_max: int  # of all accounts, the most
    flx_per_account_max: int
    flx_balance_max: int  # the highest balance after
    psi_delta_max: int
    psi_delta_min: int
    psi_balance_max: int
    atr_balance_max: int
    reserve_issued: int
    reserve_withheld: int  # FLX that was not issued or was burned for it
    nod_pool: int
    nod_pool_max: int  # what the policy allows of the ATR that was spent
    nod_issued: int
    nod_share_max: int  # the greatest single allocation
    nod_nodes: int  # that are paid


def cut_to_supply(pool: int, supply: int) -> int:
    """Return the pool cut so that it changes the supply by no more than is allowed."""
    if supply < SUPPLY_CHANGE_FROM:
        return pool
    return min(pool, supply * SUPPLY_CHANGE_MAX // SCALE)


def cap_payment(pool: int) -> int:
    """Return the most that one account may be paid of a pool."""
    return min(ADDRESS_REWARD_MAX, pool * IMPACT_MAX // SCALE)


def judge_emission(emission: Emission, policies: Policies) -> list[Verdict]:
    """Return a denial for every limit that the epoch would break; nothing when it keeps to all."""
    rewards, nod = policies.rewards, policies.nod
    checks = (
        (emission.chr_issued > emission.chr_pool, "ECON_CHR_REWARD_ABOVE_MAX", "More CHR than the pool holds.",
         emission.chr_issued, emission.chr_pool),
        (min(emission.chr_issued, emission.chr_pool) < 0, "ECON_CHR_REWARD_BELOW_MIN", "A reward is negative.",
         emission.chr_issued, 0),
        (emission.chr_issued > CHR_EPOCH_MAX, "ECON_CHR_EMISSION_CAP_EXCEEDED", "More CHR than an epoch may issue.",
         emission.chr_issued, CHR_EPOCH_MAX),
        (emission.chr_supply + emission.chr_issued > CHR_SUPPLY_MAX, "ECON_CHR_SATURATION_EXCEEDED",
         "More CHR than there may ever be.", emission.chr_supply + emission.chr_issued, CHR_SUPPLY_MAX),
        (emission.flx_issued * SCALE > CHR_EPOCH_MAX * (SCALE // 5), "ECON_FLX_FRACTION_ABOVE_MAX",
         "More FLX than a fifth of the CHR cap.", emission.flx_issued, CHR_EPOCH_MAX // 5),
        (rewards.flx_fraction < SCALE // 100, "ECON_FLX_FRACTION_BELOW_MIN", "The FLX share is below one percent.",
         rewards.flx_fraction, SCALE // 100),
        (emission.flx_balance_max > FLX_BALANCE_ATOMS_MAX, "ECON_FLX_PER_USER_EXCEEDED",
         "An account would hold more FLX than one may.", emission.flx_balance_max, FLX_BALANCE_ATOMS_MAX),
        (emission.nod_pool > emission.nod_pool_max, "ECON_NOD_ALLOCATION_ABOVE_MAX",
         "More NOD than the policy's share of the energy spent.", emission.nod_pool, emission.nod_pool_max),
        (nod.fraction < SCALE // 100, "ECON_NOD_ALLOCATION_BELOW_MIN", "The NOD share is below one percent.",
         nod.fraction, SCALE // 100),
        (emission.nod_issued > NOD_EPOCH_MAX, "ECON_NOD_EPOCH_ISSUANCE_EXCEEDED", "More NOD than an epoch may issue.",
         emission.nod_issued, NOD_EPOCH_MAX),
        (emission.nod_share_max * SCALE > emission.nod_pool * NOD_SHARE_MAX, "ECON_NOD_REWARD_SHARE_EXCEEDED",
         "One node would get more than 30 % of the pool.", emission.nod_share_max,
         emission.nod_pool * NOD_SHARE_MAX // SCALE),
        (emission.nod_issued > 0 and emission.nod_nodes < NOD_NODES_MIN, "ECON_NOD_INSUFFICIENT_ACTIVE_NODES",
         "NOD is paid to at least four nodes.", emission.nod_nodes, NOD_NODES_MIN),
        (emission.psi_delta_max > rewards.psi_delta, "ECON_PSI_DELTA_ABOVE_MAX", "An account would gain too much PSI.",
         emission.psi_delta_max, rewards.psi_delta),
        (emission.psi_delta_min < 0, "ECON_PSI_DELTA_BELOW_MIN", "A PSI gain is negative.", emission.psi_delta_min, 0),
        (emission.psi_balance_max > PSI_MAX, "ECON_PSI_SATURATION_EXCEEDED", "An account would hold too much PSI.",
         emission.psi_balance_max, PSI_MAX),
        (emission.atr_balance_max > ATR_STORE, "ECON_ATR_ACCUMULATION_EXCEEDED", "More energy than an account stores.",
         emission.atr_balance_max, ATR_STORE),
        (_changes_too_much(emission.chr_supply, emission.chr_issued)
         or _changes_too_much(emission.flx_supply, emission.flx_issued), "ECON_SUPPLY_RATIO_CHANGE_EXCEEDED",
         "The epoch would change a supply by more than two percent.",
         max(emission.chr_issued, emission.flx_issued), SUPPLY_CHANGE_MAX),
        (max(emission.chr_per_account_max, emission.flx_per_account_max) > ADDRESS_REWARD_MAX,
         "ECON_ADDRESS_REWARD_EXCEEDED", "One account would be paid more than it may.",
         max(emission.chr_per_account_max, emission.flx_per_account_max), ADDRESS_REWARD_MAX),
        (emission.chr_per_account_max > cap_payment(emission.chr_pool), "ECON_SINGLE_EVENT_IMPACT_EXCEEDED",
         "One payment would be more than a twentieth of the CHR pool.", emission.chr_per_account_max,
         cap_payment(emission.chr_pool)),
        (emission.flx_per_account_max > cap_payment(emission.flx_pool), "ECON_SINGLE_EVENT_IMPACT_EXCEEDED",
         "One payment would be more than a twentieth of the FLX pool.", emission.flx_per_account_max,
         cap_payment(emission.flx_pool)),
        (emission.reserve_issued > emission.reserve_withheld, "ECON_RES_REWARD_EXCEEDED",
         "The reserve would be credited with more than was withheld.", emission.reserve_issued,
         emission.reserve_withheld),
    )  # fmt: skip
    return [
        _refuse(policies, code, because, found, limit)
        for fails, code, because, found, limit in checks
        if fails
    ]  # fmt: skip


def judge_nod_votes(weights: Sequence[int], policies: Policies) -> list[Verdict]:
    """Return a denial when a tally of NOD gives one voter more than NOD_VOTE_MAX; fewer than four can't keep to it."""
    heaviest, total = max(weights, default=0), sum(weights)
    if sum(1 for weight in weights if weight) < NOD_NODES_MIN or heaviest * SCALE <= total * NOD_VOTE_MAX:
        return []
    code, because = "ECON_NOD_VOTING_POWER_EXCEEDED", "One voter would have more than a quarter of the NOD that votes."
    return [_refuse(policies, code, because, heaviest, total * NOD_VOTE_MAX // SCALE)]


_POLICY = {
    "ECON_FLX_FRACTION_BELOW_MIN": "rewards",
    "ECON_NOD_ALLOCATION_ABOVE_MAX": "nod",
    "ECON_NOD_ALLOCATION_BELOW_MIN": "nod",
    "ECON_PSI_DELTA_ABOVE_MAX": "rewards",
}
"""Codes whose limit is a policy's number; those of all others are constants."""


def _changes_too_much(supply: int, issued: int) -> bool:
    return supply >= SUPPLY_CHANGE_FROM and issued * SCALE > supply * SUPPLY_CHANGE_MAX


def _refuse(policies: Policies, code: str, because: str, found: int, limit: int) -> Verdict:
    verdict = deny(code, because, found=_bounded(found), limit=_bounded(limit))
    return verdict._replace(guard=GUARD_CITE, policy=policies.cite.get(_POLICY.get(code, ""), PROTOCOL))


def _bounded(number: int) -> int:
    """Facts are encoded, so they stay in the range of amounts."""
    return min(max(number, -(2**63)), 2**128 - 1)
