"""Wallet histories: whatever people do, the rows of an account lead from genesis to the balances of the state."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import keyspace
from ledger.bonds import BondLocked, BondReleased
from ledger.identity import IdentityCreated
from ledger.moves import Move, decode_moves
from ledger.primitives.fixed_point import SCALE
from ledger.receipts import Receipt, decode_receipt
from ledger.tokens import ATR_STORE, FLX, NOD, TOKENS, read_balance
from ledger.transfers import TokensTransferred
from ledger.wallet import (
    CHARGE,
    DECAY,
    HOLD,
    MISSING,
    OPENING,
    PENALTY,
    RECOVERY,
    RELEASE,
    REWARD,
    TRANSFER,
    Row,
    chain_rows,
)
from node.replay import ReplayFailed, replay_chain
from social.follows import AccountFollowed
from social.posts import PostPublished
from social.reactions import ContentLiked
from tests.economy import test_reversal as reversal
from tests.economy.node_town import ASKED, HELD, OPERATORS, NodeTown
from tests.economy.test_random_actions import Actor
from tests.economy.town import EACH, Town, by_type
from tests.ledger.world import REGISTRY, Person, World, id_of


def read_history(world: World, account: bytes, known: dict[str, int]) -> list[Row]:
    """Return an account's rows; `known` holds what it began with, and then what the rows lead to."""

    def read_events() -> Iterator[tuple[Receipt, tuple[Move, ...]]]:
        prefix = keyspace.MOVES + account
        for key, value in world.store.iterate(prefix, keyspace.after(prefix)):
            data = world.store.get(keyspace.receipt(int.from_bytes(key[-8:], "big")))
            assert data is not None
            yield decode_receipt(data), decode_moves(value)

    return list(chain_rows(read_events(), account, known))


def assert_adds_up(world: World, person: Person, begun: dict[str, int]) -> list[Row]:
    known = dict.fromkeys(TOKENS, 0) | begun
    sums = dict(known)
    rows = read_history(world, person.account, known)
    for row in rows:
        sums[row.token] += row.atoms
        assert row.balance == sums[row.token] >= 0
    assert sums == known == {token: read_balance(world.store, token, person.account) for token in TOKENS}
    assert MISSING not in {row.kind for row in rows}
    return rows


LOOSE = {"sybil": {"bond": 0}}
FOUNDER = {"ATR": ATR_STORE, FLX: EACH}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), batch=st.integers(1, 40))
def test_the_rows_of_every_account_lead_from_genesis_to_the_state(
    tmp_path_factory: pytest.TempPathFactory, seed: int, batch: int
) -> None:
    town = Town(tmp_path_factory.mktemp("town") / "ledger", 8, {"energy": {"base_cost": 100 * SCALE}})
    actor = Actor(town, seed)
    for _ in range(14):
        town.beat(*[actor.draw() for _ in range(batch)])
        for person in actor.people:
            data = town.store.get(keyspace.nonce(person.account))
            person.nonce = 0 if data is None else int.from_bytes(data, "big")
    town.pass_epochs(2)

    for person in town.people:
        assert_adds_up(town, person, FOUNDER)
    for person in actor.people[len(town.people) :]:
        assert_adds_up(town, person, {})
    town.close()


def kinds_of(rows: list[Row], token: str) -> list[str]:
    return [row.kind for row in rows if row.token == token]


def test_each_change_has_its_kind(tmp_path: Path) -> None:
    town = Town(tmp_path / "ledger", 3, LOOSE)
    ada, ben, _ = town.people
    cyd = town.person("cyd")
    post = town.post(ada)
    town.beat(post, town.sign(ben, ContentLiked, target=id_of(post)), town.sign(cyd, IdentityCreated))
    town.beat(
        town.sign(ada, TokensTransferred, atoms=2 * SCALE, to=ben.account, token=FLX),
        town.sign(ada, BondLocked, atoms=5 * SCALE),
        town.sign(ada, BondReleased, atoms=SCALE),
    )
    town.close_epoch()

    ada_rows, ben_rows = (assert_adds_up(town, person, FOUNDER) for person in (ada, ben))
    cyd_rows = assert_adds_up(town, cyd, {})

    assert kinds_of(ada_rows, FLX) == [TRANSFER, HOLD, RELEASE, REWARD, DECAY]
    assert set(kinds_of(ada_rows, "ATR")) == {CHARGE, RECOVERY}
    assert kinds_of(ben_rows, FLX)[0] == TRANSFER
    assert REWARD in kinds_of(ada_rows, "CHR")
    assert kinds_of(cyd_rows, "ATR") == [OPENING]
    assert next(row.atoms for row in ada_rows if row.kind == TRANSFER) == -2 * SCALE
    assert next(row.atoms for row in ben_rows if row.kind == TRANSFER) == 2 * SCALE
    town.close()


def test_decay_of_many_idle_epochs_is_a_row_of_the_event_that_wrote_it(tmp_path: Path) -> None:
    town = Town(tmp_path / "ledger", 2, LOOSE)
    ada, ben = town.people
    town.pass_epochs(5)

    town.beat(town.sign(ada, TokensTransferred, atoms=SCALE, to=ben.account, token=FLX))

    rows = assert_adds_up(town, ben, FOUNDER)
    assert kinds_of(rows, FLX) == [TRANSFER, DECAY]
    assert rows[1].atoms < -4 * 8 * SCALE
    town.close()


def test_nodes_and_their_operators_add_up_too(tmp_path: Path) -> None:
    town = NodeTown(tmp_path / "ledger")
    town.register(*range(OPERATORS))
    for number in range(4):
        town.live_epoch(answered=dict.fromkeys(range(OPERATORS), ASKED) if number > 1 else None)
        town.settle()

    kinds = {row.kind for each in town.operators for row in assert_adds_up(town, each, {"ATR": ATR_STORE, FLX: HELD})}
    earned = [
        row.atoms for row in assert_adds_up(town, town.operators[0], {"ATR": ATR_STORE, FLX: HELD}) if row.token == NOD
    ]

    assert kinds >= {HOLD, REWARD, DECAY, CHARGE, RECOVERY}
    assert earned[0] > 0
    town.close()


def test_a_step_that_no_event_explains_is_a_row_of_its_own(tmp_path: Path) -> None:
    town = Town(tmp_path / "ledger", 2, LOOSE)
    ada, ben = town.people
    for _ in range(3):
        town.beat(town.sign(ada, TokensTransferred, atoms=SCALE, to=ben.account, token=FLX))
    prefix = keyspace.MOVES + ben.account
    middle = [key for key, _ in town.store.iterate(prefix, keyspace.after(prefix))][1]
    town.store.write([], [middle])

    known = dict.fromkeys(TOKENS, 0) | FOUNDER
    rows = read_history(town, ben.account, known)

    assert [(row.kind, row.atoms) for row in rows] == [(TRANSFER, SCALE), (MISSING, SCALE), (TRANSFER, SCALE)]
    assert known[FLX] == read_balance(town.store, FLX, ben.account)
    town.close()


def test_a_denied_event_moves_nothing(tmp_path: Path) -> None:
    town = Town(tmp_path / "ledger", 2, LOOSE)
    ada, ben = town.people

    receipt = town.do(ada, TokensTransferred, atoms=SCALE, to=ben.account, token="CHR")
    followed = town.do(ben, AccountFollowed, target=ada.account)
    published = town.do(ben, PostPublished, text="A post that is allowed.", tags=())

    assert [each.outcome for each in (receipt, followed, published)] == ["denied", "applied", "applied"]
    assert read_history(town, ada.account, {}) == []
    assert len(read_history(town, ben.account, {})) == 2
    town.close()


@pytest.mark.parametrize("lacks", [True, False])
def test_a_replay_finds_a_move_that_was_edited_and_none_that_is_missing(tmp_path: Path, lacks: bool) -> None:
    town = Town(tmp_path / "ledger", 2, LOOSE)
    town.do(town.people[0], TokensTransferred, atoms=SCALE, to=town.people[1].account, token=FLX)
    prefix = keyspace.MOVES + town.people[1].account
    ((key, value),) = town.store.iterate(prefix, keyspace.after(prefix))
    genesis = town.chain.genesis
    town.store.write([] if lacks else [(key, value[:-1] + bytes([value[-1] ^ 1]))], [key] if lacks else [])

    if lacks:
        assert replay_chain(town.store, genesis, REGISTRY).height == 1
    else:
        with pytest.raises(ReplayFailed, match="another change of balances"):
            replay_chain(town.store, genesis, REGISTRY)
    town.close()


def test_what_a_decision_that_stands_takes_back_is_a_penalty(tmp_path: Path) -> None:
    with reversal.town(tmp_path / "ledger") as harbour:
        reversal.live(harbour, reversal.accept)
        clawed = by_type(harbour.receipts, "economics.RewardClawedBack")

        for person in harbour.people:
            rows = [row for row in assert_adds_up(harbour, person, FOUNDER) if row.kind == PENALTY]
            for token in ("CHR", FLX):
                taken = [
                    int(receipt.inputs[token.lower()])
                    for receipt in clawed
                    if receipt.inputs["account"] == person.account.hex()
                ]
                assert [-row.atoms for row in rows if row.token == token] == [atoms for atoms in taken if atoms]

        assert len(clawed) > 1
