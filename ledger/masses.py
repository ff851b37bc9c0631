"""Endorsement mass: how the support of an epoch becomes the weight of its items.

An account gives at most mass 1 (standing times sybil multiplier) in an epoch, divided over the distinct items that it
endorsed.  Nothing is gained by more accounts that cost nothing, nor by dividing support over more items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ledger.coherence import compute_eligibility
from ledger.endorsements import WEIGHTS, Given
from ledger.items import Item
from ledger.policies import CoherencePolicy
from ledger.primitives.fixed_point import SCALE

MASS_SCALE = SCALE * 10**27
"""Mass is counted this fine, so that what division loses never reaches an atom of a reward."""


@dataclass(frozen=True, slots=True)
class Endorser:
    """An account that endorsed in the epoch."""

    account: bytes
    mass: int  # raw, 0..1
    given: Sequence[Given]  # that stand, of items that are paid and not its own


@dataclass(slots=True)
class Support:
    """What an item received, in units of 1 / MASS_SCALE."""

    by_endorser: dict[bytes, int] = field(default_factory=dict[bytes, int])

    @property
    def mass(self) -> int:
        return sum(self.by_endorser[account] for account in sorted(self.by_endorser))


def compute_support(endorsers: Sequence[Endorser], are_related: Mapping[bytes, bytes]) -> dict[bytes, Support]:
    """Return the support of each endorsed item.

    are_related: account -> declared operator group; members of one group give each other nothing.
    """
    towards = {(endorser.account, given.author) for endorser in endorsers for given in endorser.given}
    support: dict[bytes, Support] = {}
    for endorser in sorted(endorsers, key=lambda each: each.account):
        weights, authors = _weigh_targets(endorser)
        total = sum(weights[item] for item in sorted(weights))
        group = are_related.get(endorser.account)
        for item in sorted(weights):
            author = authors[item]
            if author == endorser.account or (group is not None and are_related.get(author) == group):
                continue
            mass = endorser.mass * (MASS_SCALE // SCALE) * weights[item] // total
            if (author, endorser.account) in towards:
                mass //= 2  # two who endorse each other count half, both ways
            if mass:
                support.setdefault(item, Support()).by_endorser[endorser.account] = mass
    return support


def _weigh_targets(endorser: Endorser) -> tuple[dict[bytes, int], dict[bytes, bytes]]:
    weights: dict[bytes, int] = {}
    authors: dict[bytes, bytes] = {}
    for given in endorser.given:
        weights[given.item] = weights.get(given.item, 0) + WEIGHTS[given.kind]
        authors[given.item] = given.author
    return weights, authors


@dataclass(frozen=True, slots=True)
class Weighed:
    """An item with its weight, in units of 1 / (SCALE**3 * MASS_SCALE); at most its mass times SCALE**3."""

    item_id: bytes
    item: Item
    support: Support
    eligibility: int
    weight: int


def weigh_items(
    support: Mapping[bytes, Support], items: Mapping[bytes, Item], policy: CoherencePolicy
) -> list[Weighed]:
    """Return the weighed items in order of id."""
    weighed: list[Weighed] = []
    for item_id in sorted(support):
        item, received = items[item_id], support[item_id]
        eligibility = compute_eligibility(item.coherence, policy.tau_min, policy.tau_max)
        weight = eligibility * item.coherence * item.c_holo * received.mass
        weighed.append(Weighed(item_id, item, received, eligibility, weight))
    return weighed


def compute_full_weight(mass: int) -> int:
    """Return the weight of perfect items, all of whose properties are 1, that got this mass, raw."""
    return mass * (MASS_SCALE // SCALE) * SCALE**3
