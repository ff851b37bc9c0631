"""Why an account was paid what it was paid: the settlement computed again, from the state before it.

Whoever has the ledger can do this, and gets the same numbers: `ledger.settlement.plan_epoch` reads nothing else.
"""

from dataclasses import dataclass

from ledger.allocation import allocate
from ledger.emission import cap_payment
from ledger.events import View
from ledger.masses import MASS_SCALE
from ledger.policies import read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.receipts import Receipt
from ledger.rewards import REWARD_PAID, EmissionEpochClosed, RewardPaid
from ledger.settlement import Plan, plan_epoch

AUTHOR, ENDORSER = "author", "endorser"


@dataclass(frozen=True, slots=True)
class ItemShare:
    """What one item gave an account, before caps; amounts in atoms, the rest raw."""

    item: bytes
    role: str  # AUTHOR or ENDORSER
    coherence: int
    eligibility: int
    c_holo: int
    mass: int  # that the item received
    own_mass: int  # of it, from this account; 0 for its author
    chr: int
    flx: int


@dataclass(frozen=True, slots=True)
class RewardExplanation:
    """A payment with all that it is the sum of."""

    paid: RewardPaid  # as it is computed now
    agrees: bool  # with what the receipt says
    shares: tuple[ItemShare, ...]
    closed: EmissionEpochClosed  # totals of the epoch, with its pools
    chr_cap: int  # of one payment
    flx_cap: int

    @property
    def chr_before_caps(self) -> int:
        return sum(share.chr for share in self.shares)

    @property
    def flx_before_caps(self) -> int:
        return sum(share.flx for share in self.shares)


class NotExplained(ValueError):
    """What was asked for can't be explained; the message says why, and what to do."""


def explain_reward(before: View, receipt: Receipt) -> RewardExplanation:
    """Compute a payment again.  Raises NotExplained.

    before: the state below the block that holds the receipt.
    """
    if receipt.event_type != REWARD_PAID.name:
        raise NotExplained(f"expected an event of type {REWARD_PAID.name}, got {receipt.event_type or 'one without'}")
    epoch, account = receipt.inputs.get("epoch"), receipt.inputs.get("account")
    if type(epoch) is not int or type(account) is not str:
        raise NotExplained("the receipt names no epoch and account: it is not one that a settlement made")
    plan = plan_epoch(before, epoch, read_policies(before), pay=True)
    paid = next((each for each in plan.paid if each.account.hex() == account), None)
    if paid is None:
        raise NotExplained(f"epoch {epoch} paid nothing to the account {account}: the receipt is not of this ledger")
    return RewardExplanation(
        paid=paid,
        agrees=REWARD_PAID.inputs(paid) == receipt.inputs,
        shares=tuple(_list_shares(plan, paid.account)),
        closed=plan.closed,
        chr_cap=cap_payment(plan.closed.chr_pool),
        flx_cap=cap_payment(plan.closed.flx_pool),
    )


def _list_shares(plan: Plan, account: bytes) -> list[ItemShare]:
    shares: list[ItemShare] = []
    for weighed, accrued in zip(plan.items, plan.accrued, strict=True):
        supporters = sorted(weighed.support.by_endorser)
        masses = [weighed.support.by_endorser[each] for each in supporters]
        parts = zip(
            supporters, masses, allocate(accrued.chr_endorsers, masses), allocate(accrued.flx_endorsers, masses),
            strict=True,
        )  # fmt: skip
        own = [(mass, chr_atoms, flx_atoms) for each, mass, chr_atoms, flx_atoms in parts if each == account]
        gains = [(AUTHOR, 0, accrued.chr_author, accrued.flx_author)] if accrued.author == account else []
        gains += [(ENDORSER, mass * SCALE // MASS_SCALE, chr_atoms, flx_atoms) for mass, chr_atoms, flx_atoms in own]
        for role, own_mass, chr_atoms, flx_atoms in gains:
            shares.append(
                ItemShare(
                    item=weighed.item_id,
                    role=role,
                    coherence=accrued.coherence,
                    eligibility=accrued.eligibility,
                    c_holo=accrued.c_holo,
                    mass=accrued.mass,
                    own_mass=own_mass,
                    chr=chr_atoms,
                    flx=flx_atoms,
                )
            )
    return shares
