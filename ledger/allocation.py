"""Exact division of a pool: every atom has a place, and the same inputs give the same places."""

from collections.abc import Sequence


def allocate(pool: int, weights: Sequence[int]) -> list[int]:
    """Divide `pool` by weight: floors first, then one atom each to the largest remainders, ties to the lower index.

    The result sums to `pool` exactly; with no weight at all nobody gets anything.
    """
    assert pool >= 0, "a pool is not negative"
    assert all(weight >= 0 for weight in weights), "weights are not negative"
    total = sum(weights)
    if total == 0:
        return [0] * len(weights)
    products = [pool * weight for weight in weights]
    shares = [product // total for product in products]
    left = pool - sum(shares)
    by_remainder = sorted(range(len(weights)), key=lambda at: (-(products[at] % total), at))
    for at in by_remainder[:left]:
        shares[at] += 1
    return shares


def fill_under_caps(pool: int, weights: Sequence[int], cap: int) -> tuple[list[int], int]:
    """Divide `pool` by weight with nobody above `cap`; return the shares and what nobody may take.

    Water-filling: what a capped member loses goes to the others, by weight, until all are capped or the pool is gone.
    """
    shares = [0] * len(weights)
    open_members = [at for at, weight in enumerate(weights) if weight > 0]
    left = pool
    while left and open_members:
        given = allocate(left, [weights[at] for at in open_members])
        over = [at for at, share in zip(open_members, given, strict=True) if share > cap]
        if not over:
            for at, share in zip(open_members, given, strict=True):
                shares[at] = share
            return shares, 0
        for at in over:
            shares[at] = cap
            left -= cap
        open_members = [at for at in open_members if at not in over]
    return shares, left
