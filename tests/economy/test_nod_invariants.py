"""NOD: nobody can move the numbers, and shares and votes are exact whatever is drawn."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.allocation import fill_under_caps
from ledger.draft import Draft
from ledger.emission import NOD_NODES_MIN, NOD_SHARE_MAX, NOD_VOTE_MAX, judge_nod_votes
from ledger.events import Entry, EventType, View, Write
from ledger.nod import (
    FIT,
    Measures,
    compute_nod_votes,
    read_nod_balances,
    share_pool,
)
from ledger.nodes import (
    Node,
    NodeRetired,
)
from ledger.policies import read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.receipts import DENIED
from ledger.registry import Registry
from ledger.tokens import NOD, issue, read_balance, read_issued
from ledger.transfers import TokensTransferred
from tests.economy.node_town import (
    ALL,
    NODES,
    NodeTown,
    assert_exact,
    codes,
    make_node,
    open_town,
    outcomes,
)
from tests.ledger.world import REGISTRY

# Invariants.


def test_i1_nobody_can_transfer_nod(town: NodeTown) -> None:
    open_town(town)
    town.live_epoch(answered=ALL)
    town.settle()

    receipt = town.do(town.operators[0], TokensTransferred, atoms=1, to=town.people[0].account, token=NOD)

    assert receipt.outcome == DENIED


def test_i1_no_signed_event_can_mint_nod_whatever_its_rules_are(tmp_path: Path) -> None:
    def mint(view: View, entry: Entry[NodeRetired]) -> Iterator[Write]:
        draft = Draft(view)
        issue(draft, NOD, entry.author, SCALE)
        yield from draft.writes()

    def spoil(kind: EventType[Any]) -> EventType[Any]:
        return replace(kind, guards=(), apply=mint) if kind.body is NodeRetired else kind

    town = NodeTown(tmp_path, Registry([spoil(kind) for kind in REGISTRY.all()], REGISTRY.stack))

    receipt = town.do(town.operators[0], NodeRetired, node=NODES[0].public)

    assert "INVARIANT_VIOLATION_NOD_TRANSFER" in codes(receipt)
    assert read_balance(town.store, NOD, town.operators[0].account) == 0
    town.close()


def test_i2_the_supply_grows_by_what_fit_nodes_were_given(town: NodeTown) -> None:
    open_town(town)
    total = 0
    for absent in ({}, {3: 1}, {0: 4, 1: 4}):
        town.live_epoch(answered=ALL, absent=absent)
        before = read_issued(town.store, NOD)
        receipts = town.settle()
        given = sum(atoms for code, atoms in outcomes(receipts).values() if code == FIT)
        assert read_issued(town.store, NOD) - before == given
        total += given
        assert_exact(town, receipts)
    assert total > 0


def test_i3_only_operators_with_a_fit_node_vote_and_none_above_a_quarter(town: NodeTown) -> None:
    open_town(town)
    town.live_epoch(answered=ALL | {4: 0})
    town.settle()

    weights = compute_nod_votes(read_nod_balances(town.store, 2))

    assert sorted(weights) == sorted(town.operators[number].account for number in (0, 1, 2, 3, 5, 6))
    assert all(weight * SCALE <= sum(weights.values()) * NOD_VOTE_MAX for weight in weights.values())
    assert judge_nod_votes(list(weights.values()), read_policies(town.store)) == []
    assert read_nod_balances(town.store, 1) == {}


# Properties.


def make_fit(contributions: list[tuple[int, int]]) -> list[tuple[Node, Measures]]:
    """(operator, contribution in percent) to fit nodes in order of key."""
    return [
        (
            make_node(owner, number.to_bytes(32, "big"), number),
            Measures(4, 4, 4, percent * SCALE // 100, SCALE, 0, 0, SCALE, 0),
        )
        for number, (owner, percent) in enumerate(contributions)
    ]


def test_a_pool_too_small_for_four_is_not_issued() -> None:
    """Else the limit that at least four nodes are paid would refuse the whole settlement."""
    fit = make_fit([(1, 100), (2, 100), (3, 100), (4, 0)])

    assert share_pool(100, fit) == ([0, 0, 0, 0], frozenset())
    assert share_pool(3, make_fit([(1, 100), (2, 100), (3, 100), (4, 100)])) == ([0, 0, 0, 0], frozenset())
    assert sum(share_pool(20, make_fit([(1, 100), (2, 100), (3, 100), (4, 100)]))[0]) == 20


def test_an_operator_with_many_nodes_gets_no_more_than_its_cap() -> None:
    shares, capped = share_pool(1_000, make_fit([(1, 100), (1, 100), (1, 50), (2, 100), (3, 100), (4, 100)]))

    assert shares == [120, 120, 60, 234, 233, 233]
    assert capped == {bytes([1]) * 32}


members = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 100)), min_size=4, max_size=12)


@given(st.integers(0, 10**24), members)
def test_shares_are_exact_capped_for_each_operator_and_repeatable(pool: int, drawn: list[tuple[int, int]]) -> None:
    fit = make_fit(drawn)

    shares, capped = share_pool(pool, fit)

    assert (shares, capped) == share_pool(pool, fit)
    assert sum(shares) <= pool
    assert all(share >= 0 for share in shares)
    cap = pool * NOD_SHARE_MAX // SCALE
    by_owner: dict[bytes, int] = {}
    for (node, measures), share in zip(fit, shares, strict=True):
        by_owner[node.account] = by_owner.get(node.account, 0) + share
        assert measures.contribution or not share
    assert all(atoms <= cap for atoms in by_owner.values())
    paid = sum(1 for share in shares if share)
    assert paid == 0 or paid >= NOD_NODES_MIN
    if paid and sum(shares) < pool:  # what is left, nobody may take
        earning = {node.account for node, measures in fit if measures.contribution}
        assert all(by_owner[owner] == cap for owner in earning)


@given(st.integers(0, 10**24), st.lists(st.integers(0, 10**20), max_size=12), st.integers(0, 10**24))
def test_water_filling_loses_no_atom_and_keeps_the_order(pool: int, weights: list[int], cap: int) -> None:
    shares, left = fill_under_caps(pool, weights, cap)

    assert sum(shares) + left == pool
    assert all(0 <= share <= cap for share in shares)
    assert all(share == 0 for share, weight in zip(shares, weights, strict=True) if weight == 0)
    assert left == 0 or all(share == cap for share, weight in zip(shares, weights, strict=True) if weight)
    for first, one in enumerate(weights):
        for second, other in enumerate(weights):
            if one > other:
                assert shares[first] >= shares[second] - 1


balances = st.dictionaries(st.binary(min_size=32, max_size=32), st.integers(0, 10**24), max_size=9)


@settings(max_examples=300)
@given(balances)
def test_the_clip_is_the_highest_that_keeps_everybody_at_a_quarter(held: dict[bytes, int]) -> None:
    weights = compute_nod_votes(held)

    total, voters = sum(weights.values()), [balance for balance in held.values() if balance]
    assert sorted(weights) == sorted(held)
    assert all(weight * 4 <= total for weight in weights.values())
    assert all(weights[account] <= held[account] for account in held)
    if len(voters) < NOD_NODES_MIN:
        assert total == 0
        return
    clip = max(weights.values())
    assert all(weight == min(held[account], clip) for account, weight in weights.items())
    if clip < max(voters):
        higher = [min(balance, clip + 1) for balance in voters]
        assert max(higher) * 4 > sum(higher)
