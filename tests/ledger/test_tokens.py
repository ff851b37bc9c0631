"""Transfers: who may send what to whom, and that nothing is ever made or lost."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import keyspace
from ledger.identity import IdentityCreated
from ledger.primitives.fixed_point import SCALE
from ledger.receipts import APPLIED, DENIED
from ledger.tokens import FLX, FLX_BALANCE_ATOMS_MAX, read_balance, read_issued
from ledger.transfers import TokensTransferred
from ledger.verdict import Fact, Verdict
from tests.ledger.world import MODEST, RICH, World, make_genesis

U128_MAX = 2**128 - 1


def transfer(world: World, atoms: int, token: str = FLX, **changes: Any) -> dict[str, Any]:
    return {"atoms": atoms, "to": world.ben.account, "token": token} | changes


def denials(verdicts: tuple[Verdict, ...]) -> dict[str, dict[str, Fact]]:
    return {verdict.code: verdict.facts for verdict in verdicts if not verdict.allowed}


def test_a_transfer_moves_the_amount_and_is_in_both_histories(world: World) -> None:
    receipt = world.do(world.ada, TokensTransferred, **transfer(world, 3 * SCALE))

    state = world.state()
    assert receipt.outcome == APPLIED
    assert read_balance(state, FLX, world.ada.account) == RICH - 3 * SCALE
    assert read_balance(state, FLX, world.ben.account) == MODEST + 3 * SCALE
    for account in (world.ada.account, world.ben.account):
        assert state.get(keyspace.transfer_of(account, receipt.log_index)) == receipt.event_id


def test_the_whole_balance_can_be_sent(world: World) -> None:
    receipt = world.do(world.ada, TokensTransferred, **transfer(world, RICH))

    assert receipt.outcome == APPLIED
    assert read_balance(world.state(), FLX, world.ada.account) == 0


def test_an_overdraft_is_denied_with_both_numbers(world: World) -> None:
    receipt = world.do(world.ada, TokensTransferred, **transfer(world, RICH + 1))

    assert receipt.outcome == DENIED
    assert denials(receipt.verdicts) == {"tokens.overdraft": {"balance_atoms": RICH, "amount_atoms": RICH + 1}}


def test_the_receiver_may_be_filled_to_the_cap_and_not_above(tmp_path: Path) -> None:
    genesis = make_genesis()
    rich = type(genesis.allocations[0])(2 * FLX_BALANCE_ATOMS_MAX, genesis.allocations[0].key)
    world = World(tmp_path, replace(genesis, allocations=(rich, *genesis.allocations[1:]), name="rich"))
    room = FLX_BALANCE_ATOMS_MAX - MODEST

    above = world.do(world.ada, TokensTransferred, **transfer(world, room + 1))
    to_the_cap = world.do(world.ada, TokensTransferred, **transfer(world, room))

    facts = {"after_atoms": FLX_BALANCE_ATOMS_MAX + 1, "balance_atoms_max": FLX_BALANCE_ATOMS_MAX}
    assert denials(above.verdicts) == {"ECON_FLX_PER_USER_EXCEEDED": facts}
    assert to_the_cap.outcome == APPLIED
    assert read_balance(world.state(), FLX, world.ben.account) == FLX_BALANCE_ATOMS_MAX
    world.close()


def test_nothing_is_sent_to_oneself(world: World) -> None:
    receipt = world.do(world.ada, TokensTransferred, **transfer(world, 1, to=world.ada.account))

    assert denials(receipt.verdicts) == {"tokens.to_oneself": {}}


def test_nothing_is_sent_to_an_account_that_does_not_exist(world: World) -> None:
    receipt = world.do(world.ada, TokensTransferred, **transfer(world, 1, to=world.cyd.account))

    assert denials(receipt.verdicts) == {"tokens.receiver_unknown": {}}


def test_an_amount_of_zero_is_denied(world: World) -> None:
    receipt = world.do(world.ada, TokensTransferred, **transfer(world, 0))

    assert denials(receipt.verdicts) == {"tokens.amount_zero": {}}


@pytest.mark.parametrize("token", ["ATR", "CHR", "NOD", "PSI", "RES", "XYZ"])
def test_only_flx_can_be_transferred(world: World, token: str) -> None:
    receipt = world.do(world.ada, TokensTransferred, **transfer(world, 1, token))

    assert denials(receipt.verdicts)["tokens.not_transferable"] == {"token": token}


def test_all_guards_speak_at_once(world: World) -> None:
    receipt = world.do(world.ada, TokensTransferred, **transfer(world, U128_MAX, "PSI", to=world.cyd.account))

    assert list(denials(receipt.verdicts)) == [
        "tokens.not_transferable",
        "tokens.receiver_unknown",
        "tokens.overdraft",
        "ECON_FLX_PER_USER_EXCEEDED",
    ]


def test_a_denied_transfer_changes_nothing_but_the_nonce(world: World) -> None:
    executed = world.execute(world.sign(world.ada, TokensTransferred, **transfer(world, RICH + 1)))

    changed = [key for key, _, _ in executed.changes if key[:1] == keyspace.STATE]
    assert changed == [keyspace.nonce(world.ada.account)]


amounts = st.one_of(st.integers(0, 20), st.integers(0, 2 * RICH), st.integers(0, U128_MAX))
transfers = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), amounts, st.sampled_from((FLX, FLX, "PSI"))))


@given(st.lists(transfers, max_size=4))
@settings(max_examples=40, deadline=None)
def test_the_sum_of_all_balances_is_what_was_issued(batches: list[list[tuple[int, int, int, str]]]) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        people = (world.ada, world.ben, world.cyd, world.person("nobody"))
        world.do(world.cyd, IdentityCreated)

        for batch in batches:
            world.execute(
                *(
                    world.sign(people[giver], TokensTransferred, atoms=atoms, to=people[taker].account, token=token)
                    for giver, taker, atoms, token in batch
                )
            )

        state = world.state()
        balances = [read_balance(state, FLX, person.account) for person in people]
        assert sum(balances) == read_issued(state, FLX) == RICH + MODEST
        assert min(balances) >= 0
        world.close()
