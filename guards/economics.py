"""Economics: what acting costs, and the limits of amounts.  Its emission codes are checked at each epoch's close."""

from collections.abc import Iterator

from ledger.actions import MULTIPLIER_MAX
from ledger.judgement import Case, Guard
from ledger.standing import ENERGY_UNIT
from ledger.tokens import ATR, ATR_STORE, read_balance
from ledger.verdict import WARNING, Fact, Verdict, allow, deny, graded

EMISSION_CODES = {
    "ECON_ADDRESS_REWARD_EXCEEDED": "an epoch would pay one account more than it may",
    "ECON_ATR_ACCUMULATION_EXCEEDED": "an account would store more energy than it may",
    "ECON_CHR_EMISSION_CAP_EXCEEDED": "an epoch would issue more CHR than it may",
    "ECON_CHR_REWARD_ABOVE_MAX": "an epoch would issue more CHR than its pool",
    "ECON_CHR_REWARD_BELOW_MIN": "a CHR reward would be negative",
    "ECON_CHR_SATURATION_EXCEEDED": "there would be more CHR than there may ever be",
    "ECON_FLX_FRACTION_ABOVE_MAX": "an epoch would issue more FLX than a fifth of the CHR cap",
    "ECON_FLX_FRACTION_BELOW_MIN": "the FLX share would be below one percent",
    "ECON_FLX_PER_USER_EXCEEDED": "an account would hold more FLX than it may",
    "ECON_NOD_ALLOCATION_ABOVE_MAX": "the NOD pool would be above its share of the energy spent",
    "ECON_NOD_ALLOCATION_BELOW_MIN": "the NOD share would be below one percent",
    "ECON_NOD_EPOCH_ISSUANCE_EXCEEDED": "an epoch would issue more NOD than it may",
    "ECON_NOD_INSUFFICIENT_ACTIVE_NODES": "NOD would be paid to fewer than four nodes",
    "ECON_NOD_REWARD_SHARE_EXCEEDED": "one node would get more than 30 % of the NOD pool",
    "ECON_NOD_VOTING_POWER_EXCEEDED": "one voter would have more than a quarter of the NOD that votes",
    "ECON_PSI_DELTA_ABOVE_MAX": "an account would gain too much PSI",
    "ECON_PSI_DELTA_BELOW_MIN": "a PSI gain would be negative",
    "ECON_PSI_SATURATION_EXCEEDED": "an account would hold too much PSI",
    "ECON_RES_REWARD_EXCEEDED": "the reserve would be credited with more than was withheld",
    "ECON_SINGLE_EVENT_IMPACT_EXCEEDED": "one payment would be more than a twentieth of an epoch's pool",
    "ECON_SUPPLY_RATIO_CHANGE_EXCEEDED": "an epoch would change a supply by more than two percent",
}


def judge_economics(case: Case) -> Iterator[Verdict]:
    """Judge whether the author can pay for the action."""
    action = case.action
    if action is None:
        yield allow("ECON_WITHIN_LIMITS", "The event costs no energy.")
        return
    held = read_balance(case.view, ATR, case.entry.author)
    facts: dict[str, Fact] = {
        "charge_micro_atr": action.charge // ENERGY_UNIT, "held_micro_atr": held // ENERGY_UNIT,
    }  # fmt: skip
    denied = False
    if action.charge > held:
        denied = True
        yield deny(
            "ECON_ATR_EXHAUSTED", "The account's energy does not cover the action; it recovers by epoch.", **facts
        )
    if action.multiplier > MULTIPLIER_MAX:
        denied = True
        yield deny(
            "ECON_ATR_COST_MULTIPLIER_EXCEEDED", "The price is multiplied by more than it may be.",
            multiplier=action.multiplier, multiplier_max=MULTIPLIER_MAX,
        )  # fmt: skip
    if held > ATR_STORE:
        denied = True
        yield deny("ECON_ATR_ACCUMULATION_EXCEEDED", "The account stores more energy than it may.", **facts)
    if denied:
        return
    fine = allow("ECON_WITHIN_LIMITS", "The energy covers the action.", **facts)
    if action.multiplier == MULTIPLIER_MAX:
        fine = graded(
            allow("ECON_ATR_BURST", "The account acts so often that it pays the highest price.", **facts), WARNING
        )
    yield fine


GUARD = Guard(
    name="economics",
    version=1,
    purpose="Makes acting cost energy, and holds every issue and balance within its limits.",
    inputs=("the author's energy", "the price of the action", "at an epoch's close: all that it would pay"),
    risk="Without it spam is free, and an epoch could issue without bound.",
    policy="energy",
    codes={
        "ECON_ATR_BURST": "allowed, with a warning: the highest price is paid",
        "ECON_ATR_COST_MULTIPLIER_EXCEEDED": "the price is multiplied by more than ten",
        "ECON_ATR_EXHAUSTED": "the energy does not cover the action",
        "ECON_WITHIN_LIMITS": "the energy covers the action",
        **EMISSION_CODES,
    },
    judge=judge_economics,
)
