"""Settlement: what a closed epoch pays, decays and hands on.  Events: the economics of an epoch, all derived.

The order is DOMAIN section 11: support, weights, pools, shares, NOD, decay, recovery, standing, growth.  The plan is
computed as a whole and checked against the limits of `ledger.emission`; only then each payment becomes an event of its
own.  A plan that fails its checks pays nothing (CIR-511); decay and recovery still apply.  Cost is linear in the
accounts that acted and the items that were endorsed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from ledger import hsmf, keyspace
from ledger.allocation import allocate
from ledger.conduct import is_frozen
from ledger.draft import Draft
from ledger.emission import CHR_EPOCH_MAX, Emission, cap_payment, cut_to_supply, judge_emission
from ledger.endorsements import Given, read_endorsements
from ledger.events import EventType, View
from ledger.holds import REWARD_HELD, RewardHeld
from ledger.items import Item, is_payable, read_item
from ledger.masses import MASS_SCALE, Endorser, Weighed, compute_full_weight, compute_support, weigh_items
from ledger.nod import NodPlan, list_nod_events, plan_nod, read_operator_groups
from ledger.policies import Policies, read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.rewards import (
    EPOCH_CLOSED,
    RESERVE_CREDITED,
    REWARD_ACCRUED,
    REWARD_PAID,
    Economy,
    EmissionEpochClosed,
    ReserveCredited,
    RewardAccrued,
    RewardPaid,
    read_economy,
)
from ledger.sanctions import hiding_key, read_sanction
from ledger.standing import (
    ENERGY_UNIT,
    METRIC_UNIT,
    Standing,
    bring_up_to_date,
    compute_sybil_multiplier,
    read_standing,
)
from ledger.state import read_number
from ledger.tokens import (
    ATR,
    CHR,
    FLX,
    FLX_BALANCE_ATOMS_MAX,
    PSI,
    RES,
    compute_bond_account,
    read_balance,
    read_supply,
)
from ledger.verdict import Verdict

Derived: TypeAlias = tuple[EventType[Any], Any]
PENALTY = SCALE // 10
"""What an upheld moderation decision takes from an epoch's performance."""


@dataclass(frozen=True, slots=True)
class Member:
    """An account that is settled."""

    account: bytes
    standing: Standing
    y: int

    @property
    def mass(self) -> int:
        return min(SCALE, self.standing.s_chr * self.y // SCALE)

    def mean(self, total: int) -> int:
        """Return the mean of a metric over the epoch's actions, raw."""
        return total * METRIC_UNIT // self.standing.actions if self.standing.actions else 0


@dataclass(frozen=True, slots=True)
class Pools:
    """What an epoch may pay for content, in atoms."""

    chr: int
    flx: int  # after the reserve's share
    reserve: int  # of FLX, that goes to RES first
    c_holo: int  # of the network
    growth: int  # the factor that was applied


@dataclass(frozen=True, slots=True)
class Plan:
    """A settlement before it is paid."""

    members: tuple[Member, ...]
    items: tuple[Weighed, ...]
    accrued: tuple[RewardAccrued, ...]
    paid: tuple[RewardPaid, ...]
    held: tuple[RewardHeld, ...]
    nod: NodPlan
    closed: EmissionEpochClosed
    emission: Emission


class SettlementRefused(Exception):
    """What an epoch would pay is over a limit; `code` names the first that it breaks, `verdicts` say how."""

    def __init__(self, verdicts: list[Verdict]) -> None:
        super().__init__(verdicts[0].code)
        self.code = verdicts[0].code
        self.verdicts = tuple(verdicts)


def settle_epoch(view: View, closed: int, *, pay: bool) -> Iterator[Derived]:
    """Yield the derived events of an epoch's close, in the order in which they are executed.

    pay: False when a settlement failed before: balances still decay, energy recovers, nothing is issued.
    Raises SettlementRefused.
    """
    policies = read_policies(view)
    plan = plan_epoch(view, closed, policies, pay=pay)
    faults = judge_emission(plan.emission, policies)
    if faults:
        raise SettlementRefused(faults)
    if plan.closed.credited:
        yield RESERVE_CREDITED, ReserveCredited(plan.closed.credited, closed, plan.closed.withheld)
    for accrued in plan.accrued:
        yield REWARD_ACCRUED, accrued
    for paid in plan.paid:
        yield REWARD_PAID, paid
    for held in plan.held:
        yield REWARD_HELD, held
    yield from list_nod_events(plan.nod)
    yield EPOCH_CLOSED, plan.closed


def close_unpaid(closed: int) -> Iterator[Derived]:
    """Yield the least that closes an epoch whose settlement can't be computed: the next one starts clean.

    Its accounts decay and recover when they are next touched.
    """
    nothing = EmissionEpochClosed(
        accounts=0, chr_issued=0, chr_pool=0, credited=0, epoch=closed, flx_issued=0, flx_pool=0, growth=SCALE, items=0,
        mean_coherence=0, network_c_holo=0, next_growth=SCALE, nod_issued=0, nod_pool=0, policies="", withheld=0,
    )  # fmt: skip
    yield EPOCH_CLOSED, nothing


def plan_epoch(view: View, closed: int, policies: Policies, *, pay: bool) -> Plan:
    """Return what closing an epoch pays.  Pure: an auditor calls it on the state before the block."""
    draft = Draft(view)  # bringing an account up to date is part of the plan's reading, not of its result
    active = _read_active(draft, closed, policies)
    items, endorsers = _read_endorsers(draft, active, closed, policies)
    support = compute_support(endorsers, read_operator_groups(view))
    weighed = weigh_items(support, {item: items[item] for item in sorted(support)}, policies.coherence)
    members = _add_authors(draft, active, weighed, closed, policies)
    economy = read_economy(view)
    now = closed + 1  # an alarm freezes until the epoch after the one that it was raised in: one close is not paid
    pools = compute_pools(view, economy, active, policies, pay=pay and not is_frozen(view, "rewards", now))
    contested = _list_contested(view, weighed)
    shares = _Shares(members, policies)
    shares.decisions = contested
    accrued, unearned_flx = _share_out(weighed, pools, members, policies, shares)
    paid, excess_flx = _pay_members(draft, members, weighed, shares, pools, closed, policies)
    nod = plan_nod(view, closed, policies, members_spent(active), pay=pay and not is_frozen(view, "nod", now))
    withheld = pools.reserve + unearned_flx + excess_flx
    room = max(0, read_supply(view, FLX) * policies.rewards.reserve_target // SCALE - read_supply(view, RES))
    credited = min(withheld, room)
    coherence = sum(each.item.coherence for each in weighed) // len(weighed) if weighed else economy.mean_coherence
    totals = EmissionEpochClosed(
        accounts=len(members),
        chr_issued=sum(each.chr_author + each.chr_endorser for each in paid),
        chr_pool=pools.chr,
        credited=credited,
        epoch=closed,
        flx_issued=sum(each.flx_author + each.flx_endorser for each in paid),
        flx_pool=pools.flx,
        growth=pools.growth,
        items=len(weighed),
        mean_coherence=coherence,
        network_c_holo=pools.c_holo,
        next_growth=compute_growth(coherence, policies),
        nod_issued=sum(each.atoms for each in nod.allocations),
        nod_pool=nod.pool,
        policies=" ".join(policies.cite[name] for name in ("coherence", "decay", "nod", "rewards", "sybil")),
        withheld=withheld,
    )
    held = _list_held(shares, paid, contested, closed)
    return Plan(members, tuple(weighed), accrued, paid, held, nod, totals, _measure(draft, totals, paid, nod, members))


def _read_active(draft: Draft, closed: int, policies: Policies) -> tuple[Member, ...]:
    accounts: list[bytes] = []
    for number in range(read_number(draft, keyspace.active_count())):
        account = draft.get(keyspace.active_account(number))
        assert account is not None, "an active account that was counted is kept"
        accounts.append(account)
    return tuple(_read_member(draft, account, closed, policies) for account in sorted(accounts))


def _read_member(draft: Draft, account: bytes, closed: int, policies: Policies) -> Member:
    standing = read_standing(draft, account)
    assert standing is not None, "whoever acts or is endorsed has a standing"
    standing = bring_up_to_date(draft, account, standing, closed)
    bond = read_balance(draft, FLX, compute_bond_account(account))
    return Member(account, standing, compute_sybil_multiplier(standing, bond, closed, policies))


def _read_endorsers(
    draft: Draft, active: tuple[Member, ...], closed: int, policies: Policies
) -> tuple[dict[bytes, Item], list[Endorser]]:
    items: dict[bytes, Item] = {}
    endorsers: list[Endorser] = []
    for member in active:
        if member.standing.s_chr < policies.coherence.c_crit:
            continue
        given: list[Given] = []
        for each in read_endorsements(draft, member.account, member.standing.endorsements):
            item = items.get(each.item) or read_item(draft, each.item)
            if item is None or not is_payable(item, closed) or item.author == member.account:
                continue
            if each.item not in items and _is_barred(draft, each.item):
                continue
            items[each.item] = item
            given.append(each)
        if given and member.mass:
            endorsers.append(Endorser(member.account, member.mass, tuple(given)))
    return items, endorsers


def _is_barred(view: View, item_id: bytes) -> bool:
    """Whether a post is hidden for good: it earns nothing, and support for it goes to what else was endorsed."""
    hiding = read_sanction(view, hiding_key(item_id))
    return hiding is not None and hiding.final


def _list_contested(view: View, weighed: list[Weighed]) -> dict[bytes, bytes]:
    """Return item -> decision of those that are hidden by a decision which can still be reversed."""
    found = {each.item_id: read_sanction(view, hiding_key(each.item_id)) for each in weighed}
    return {each.item_id: hiding.decision for each in weighed if (hiding := found[each.item_id]) is not None}


def _list_held(
    shares: "_Shares", paid: tuple[RewardPaid, ...], contested: dict[bytes, bytes], closed: int
) -> tuple[RewardHeld, ...]:
    """Return what is held of the payments: the shares of contested items, as far as the caps let them be paid."""
    chr_left = {each.account: each.chr_author + each.chr_endorser for each in paid}
    flx_left = {each.account: each.flx_author + each.flx_endorser for each in paid}
    held: list[RewardHeld] = []
    for (item_id, account), (chr_share, flx_share) in sorted(shares.contested.items()):
        chr_atoms, flx_atoms = min(chr_share, chr_left[account]), min(flx_share, flx_left[account])
        chr_left[account] -= chr_atoms
        flx_left[account] -= flx_atoms
        if chr_atoms or flx_atoms:
            held.append(RewardHeld(account, chr_atoms, contested[item_id], closed, flx_atoms, item_id))
    return tuple(held)


def _add_authors(
    draft: Draft, active: tuple[Member, ...], weighed: list[Weighed], closed: int, policies: Policies
) -> tuple[Member, ...]:
    """Return the active accounts and the authors of endorsed items, in order of id."""
    known = {member.account: member for member in active}
    for each in weighed:
        if each.item.author not in known:
            known[each.item.author] = _read_member(draft, each.item.author, closed, policies)
    return tuple(known[account] for account in sorted(known))


def members_spent(active: tuple[Member, ...]) -> int:
    """Return the energy that the epoch's accounts spent, each counted by its sybil multiplier."""
    return sum(member.standing.atr_spent * ENERGY_UNIT * member.y // SCALE for member in active)


def compute_network_c_holo(active: tuple[Member, ...]) -> int:
    """Return the mean coherence of actions, weighed by the energy that each account spent; 1 when nobody acted."""
    spent = sum(member.standing.atr_spent for member in active)
    if spent == 0:
        return SCALE
    return sum(member.standing.atr_spent * member.mean(member.standing.sum_c_holo) for member in active) // spent


def compute_growth(mean_coherence: int, policies: Policies) -> int:
    """Return the factor for the next epoch's pools, in 0.5..1.5; it does not compound."""
    slope = policies.rewards.growth_slope * (mean_coherence - policies.rewards.growth_target) // SCALE
    return min(3 * SCALE // 2, max(SCALE // 2, SCALE + slope))


def compute_pools(view: View, economy: Economy, active: tuple[Member, ...], policies: Policies, *, pay: bool) -> Pools:
    """Return the pools of a closing epoch."""
    c_holo = compute_network_c_holo(active)
    if not pay:
        return Pools(0, 0, 0, c_holo, economy.growth)
    base = policies.rewards.chr_pool
    grown = base * economy.growth // SCALE
    flx = grown * policies.rewards.flx_fraction // SCALE
    if c_holo < policies.coherence.c_crit:
        grown, flx = grown // 2, flx // 2
    chr_pool = cut_to_supply(min(grown, CHR_EPOCH_MAX), read_supply(view, CHR))
    flx = cut_to_supply(flx, read_supply(view, FLX))
    target = read_supply(view, FLX) * policies.rewards.reserve_target // SCALE
    reserve = flx * policies.rewards.reserve_share // SCALE if read_supply(view, RES) < target else 0
    return Pools(chr_pool, flx - reserve, reserve, c_holo, economy.growth)


class _Shares:
    """What each account is to get of each pool, before caps."""

    def __init__(self, members: tuple[Member, ...], policies: Policies) -> None:
        self.chr_author = {member.account: 0 for member in members}
        self.flx_author = dict(self.chr_author)
        self.chr_endorser = dict(self.chr_author)
        self.flx_endorser = dict(self.chr_author)
        self.contested: dict[tuple[bytes, bytes], tuple[int, int]] = {}  # (item, account) -> CHR, FLX in these
        self.decisions: dict[bytes, bytes] = {}  # contested item -> decision

    def note(self, item_id: bytes, account: bytes, chr_atoms: int, flx_atoms: int) -> None:
        """Remember what a contested item gives an account."""
        if item_id in self.decisions:
            self.contested[item_id, account] = (chr_atoms, flx_atoms)


def _share_out(
    weighed: list[Weighed],
    pools: Pools,
    members: tuple[Member, ...],
    policies: Policies,
    shares: _Shares,
) -> tuple[tuple[RewardAccrued, ...], int]:
    """Divide both pools over the items; return a record for each, and the FLX that nobody earned.

    A pool is whole for perfect items that got all the mass which the epoch's members hold, given or not: so no group
    gets a larger share of it than its share of that mass.
    """
    earns = {member.account: is_earning(member, policies) for member in members}
    median = sorted(each.item.coherence for each in weighed)[(len(weighed) - 1) // 2] if weighed else 0
    endorser_share = policies.rewards.endorser_share
    chr_weights: list[int] = []
    flx_weights: list[int] = []
    for each in weighed:
        author = each.weight * (SCALE - endorser_share) if earns[each.item.author] else 0
        endorsers = each.weight * endorser_share if each.item.coherence > median else 0
        chr_weights += [author, endorsers]
        flx_weights += [share * (SCALE - each.item.s_flx) // SCALE for share in (author, endorsers)]
    held = max(sum(member.mass for member in members), policies.rewards.mass_full)
    full = SCALE * compute_full_weight(held)
    chr_shares = allocate(pools.chr, [*chr_weights, full - sum(chr_weights)])
    flx_shares = allocate(pools.flx, [*flx_weights, full - sum(flx_weights)])
    accrued: list[RewardAccrued] = []
    for at, each in enumerate(weighed):
        owner = each.item.author
        shares.chr_author[owner] += chr_shares[2 * at]
        shares.flx_author[owner] += flx_shares[2 * at]
        shares.note(each.item_id, owner, chr_shares[2 * at], flx_shares[2 * at])
        supporters = sorted(each.support.by_endorser)
        masses = [each.support.by_endorser[endorser] for endorser in supporters]
        for endorser, chr_atoms, flx_atoms in zip(
            supporters, allocate(chr_shares[2 * at + 1], masses), allocate(flx_shares[2 * at + 1], masses), strict=True
        ):
            shares.chr_endorser[endorser] += chr_atoms
            shares.flx_endorser[endorser] += flx_atoms
            shares.note(each.item_id, endorser, chr_atoms, flx_atoms)
        accrued.append(
            RewardAccrued(
                author=owner,
                c_holo=each.item.c_holo,
                chr_author=chr_shares[2 * at],
                chr_endorsers=chr_shares[2 * at + 1],
                coherence=each.item.coherence,
                eligibility=each.eligibility,
                endorsers=len(supporters),
                flx_author=flx_shares[2 * at],
                flx_endorsers=flx_shares[2 * at + 1],
                item=each.item_id,
                mass=each.support.mass * SCALE // MASS_SCALE,
            )
        )
    unearned = flx_shares[-1] if weighed else pools.flx
    return tuple(accrued), unearned


def is_earning(member: Member, policies: Policies) -> bool:
    """Whether an account is paid for what it writes: no newcomer, and its standing is not below the survival line."""
    young = member.standing.epoch - member.standing.created_epoch < policies.sybil.newcomer_epochs
    return not (young and not member.standing.founder) and member.standing.s_chr >= policies.coherence.c_crit


def _pay_members(
    draft: Draft,
    members: tuple[Member, ...],
    weighed: list[Weighed],
    shares: _Shares,
    pools: Pools,
    closed: int,
    policies: Policies,
) -> tuple[tuple[RewardPaid, ...], int]:
    """Cap what each account gets; return a payment for each, and the FLX that the caps withheld."""
    coherences: dict[bytes, list[int]] = {}
    for each in weighed:
        coherences.setdefault(each.item.author, []).append(each.item.coherence)
    paid: list[RewardPaid] = []
    excess = 0
    for member in members:
        account, standing = member.account, member.standing
        chr_author = min(shares.chr_author[account], cap_payment(pools.chr))
        chr_endorser = min(shares.chr_endorser[account], cap_payment(pools.chr) - chr_author)
        room = max(0, FLX_BALANCE_ATOMS_MAX - read_balance(draft, FLX, account))
        room = min(room, cap_payment(pools.flx))
        flx_author = min(shares.flx_author[account], room)
        flx_endorser = min(shares.flx_endorser[account], room - flx_author)
        excess += shares.flx_author[account] - flx_author + shares.flx_endorser[account] - flx_endorser
        settled = coherences.get(account, [])
        performance = None
        if settled or standing.penalties:
            mean = sum(settled) // len(settled) if settled else standing.s_chr
            performance = min(max(mean - PENALTY * standing.penalties, 0), SCALE)
        psi = 0
        if standing.actions:
            on_time = SCALE - member.mean(standing.sum_psi)
            psi = policies.rewards.psi_delta * member.y * on_time // (SCALE * SCALE)
        paid.append(
            RewardPaid(
                account=account,
                chr_author=chr_author,
                chr_endorser=chr_endorser,
                epoch=closed,
                flx_author=flx_author,
                flx_endorser=flx_endorser,
                items=len(settled),
                mass=member.mass,
                performance=performance,
                psi=psi,
                s_chr=hsmf.next_s_chr(standing.s_chr, performance, policies.coherence.alpha),
                y=member.y,
            )
        )
    return tuple(paid), excess


def _measure(
    draft: Draft, totals: EmissionEpochClosed, paid: tuple[RewardPaid, ...], nod: NodPlan, members: tuple[Member, ...]
) -> Emission:
    """Return the numbers that the limits are checked on."""

    def highest(token: str, gains: list[int]) -> int:
        balances = [read_balance(draft, token, member.account) for member in members]
        # A balance above the cap from before is not the settlement's doing.
        return max((balance + gain for balance, gain in zip(balances, gains, strict=True) if gain), default=0)

    flx_gains = [each.flx_author + each.flx_endorser for each in paid]
    chr_gains = [each.chr_author + each.chr_endorser for each in paid]
    psi_gains = [each.psi for each in paid]
    return Emission(
        chr_pool=totals.chr_pool,
        flx_pool=totals.flx_pool,
        chr_issued=totals.chr_issued,
        flx_issued=totals.flx_issued,
        chr_supply=read_supply(draft, CHR),
        flx_supply=read_supply(draft, FLX),
        chr_per_account_max=max(chr_gains, default=0),
        flx_per_account_max=max(flx_gains, default=0),
        flx_balance_max=highest(FLX, flx_gains),
        psi_delta_max=max(psi_gains, default=0),
        psi_delta_min=min(psi_gains, default=0),
        psi_balance_max=highest(PSI, psi_gains),
        atr_balance_max=max((read_balance(draft, ATR, each.account) for each in members), default=0),
        reserve_issued=totals.credited,
        reserve_withheld=totals.withheld,
        nod_pool=nod.pool,
        nod_pool_max=nod.pool_max,
        nod_issued=totals.nod_issued,
        nod_share_max=nod.operator_atoms_max,
        nod_nodes=sum(1 for each in nod.allocations if each.atoms),
    )
