"""Decay: an account that is touched seldom holds bit for bit what one that is touched every epoch does."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import hsmf, keyspace
from ledger.conservation import BALANCE
from ledger.draft import Draft
from ledger.identity import IdentityCreated
from ledger.policies import DecayPolicy, EnergyPolicy, activate, encode_values
from ledger.primitives.fixed_point import SCALE
from ledger.standing import (
    Standing,
    bring_up_to_date,
    decay_once,
    new_standing,
    read_standing,
    recover_once,
    write_standing,
)
from ledger.state import encode_number
from ledger.tokens import (
    ATR,
    ATR_STORE,
    CHR,
    FLX,
    NOD,
    PSI,
    RES,
    TOKENS,
    burn,
    issue,
    read_balance,
    read_burned,
    read_supply,
)
from ledger.transfers import TokensTransferred
from social.follows import AccountFollowed
from tests.economy.town import EACH, Town
from tests.guards.court import Court, State, changed, make_court

EPOCHS_MAX = 40
SOMEBODY = b"y" * 32
RICH_ELSEWHERE = 10**7 * SCALE
"""Held by others, so that the reserve is far below its target: a fifth of all FLX."""

AMOUNTS = st.one_of(
    st.sampled_from([0, 1, 99, 100, SCALE, 100 * SCALE - 1, 100 * SCALE, 100 * SCALE + 1, 10**6 * SCALE]),
    st.integers(0, 10**6 * SCALE),
)
PATTERNS = st.sets(st.integers(1, EPOCHS_MAX - 1), max_size=EPOCHS_MAX)


@pytest.fixture(scope="module")
def genesis(tmp_path_factory: pytest.TempPathFactory) -> Court:
    return make_court(tmp_path_factory.mktemp("decay") / "ledger")


def make_state(
    court: Court, amounts: dict[str, int], s_chr: int, *, founder: bool, energy: int, change: int | None
) -> dict[bytes, bytes]:
    """Return a state with this account; `change`: the epoch from which other policies of decay and energy hold."""
    draft = Draft(State(court.state))
    for token in sorted(amounts):
        issue(draft, token, SOMEBODY, amounts[token])
    issue(draft, ATR, SOMEBODY, energy)
    issue(draft, FLX, court.people[1], RICH_ELSEWHERE)
    write_standing(draft, SOMEBODY, changed(new_standing(0, founder=founder), s_chr=s_chr, actions=7, atr_spent=5))
    if change is not None:
        kept = {"flx_kept": 97 * SCALE // 100, "chr_kept": 91 * SCALE // 100, "flx_floor": 7 * SCALE}
        draft.write(activate(draft, "decay", encode_values("decay", kept), change))
        draft.write(activate(draft, "energy", encode_values("energy", {"recovery": 60 * SCALE // 100}), change))
    found = dict(court.state)
    for key, _, value in draft.changes():
        assert value is not None
        found[key] = value
    return found


def let_pass(state: dict[bytes, bytes], epochs: list[int]) -> Draft:
    """Bring the account up to date at each of these epochs; every token is conserved each time."""
    draft = Draft(State(state))
    for epoch in epochs:
        standing = read_standing(draft, SOMEBODY)
        assert standing is not None
        bring_up_to_date(draft, SOMEBODY, standing, epoch)
        assert_conserved(state, draft)
    return draft


def assert_conserved(state: dict[bytes, bytes], draft: Draft) -> None:
    keys = {key for key in state if key[:2] == BALANCE} | {key for key, _, _ in draft.changes() if key[:2] == BALANCE}
    for token in TOKENS:
        held = sum(read_balance(draft, token, key[6:]) for key in sorted(keys) if key[2:5] == token.encode())
        assert held == read_supply(draft, token), token


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=120)
@given(
    st.fixed_dictionaries(dict.fromkeys((CHR, FLX, NOD, PSI), AMOUNTS)), st.integers(0, SCALE),
    st.booleans(), st.one_of(st.sampled_from([0, 1, ATR_STORE]), st.integers(0, ATR_STORE)), PATTERNS,
    st.none() | st.integers(0, EPOCHS_MAX),
)  # fmt: skip
def test_late_and_every_epoch_agree_bit_for_bit(
    genesis: Court,
    amounts: dict[str, int],
    s_chr: int,
    founder: bool,
    energy: int,
    pattern: set[int],
    change: int | None,
) -> None:
    state = make_state(genesis, amounts, s_chr, founder=founder, energy=energy, change=change)

    every = let_pass(state, list(range(1, EPOCHS_MAX + 1)))
    once = let_pass(state, [EPOCHS_MAX])
    sometimes = let_pass(state, [*sorted(pattern), EPOCHS_MAX])

    written = {key: value for key, _, value in every.changes() if value is not None}
    for draft in (once, sometimes):
        assert {key: draft.get(key) for key in written} == written
        assert {key for key, _, _ in draft.changes()} <= set(written)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.fixed_dictionaries(dict.fromkeys((CHR, FLX, NOD, PSI), AMOUNTS)), st.integers(1, EPOCHS_MAX))
def test_what_is_left_is_the_floor_of_each_epoch_in_turn(genesis: Court, amounts: dict[str, int], epochs: int) -> None:
    state = make_state(genesis, amounts, SCALE, founder=False, energy=0, change=None)
    draft = let_pass(state, [epochs])

    kept = {CHR: 995, PSI: 997, NOD: 990}
    energy, drifted = 0, SCALE
    for _ in range(epochs):
        for token in kept:
            amounts[token] = amounts[token] * kept[token] // 1_000
        amounts[FLX] = min(amounts[FLX], 100 * SCALE) + max(0, amounts[FLX] - 100 * SCALE) * 99 // 100
        energy = ATR_STORE - (ATR_STORE - energy) * 95 // 100
        drifted -= (drifted - hsmf.S_CHR_START) // 100
    assert {token: read_balance(draft, token, SOMEBODY) for token in amounts} == amounts
    assert read_balance(draft, ATR, SOMEBODY) == energy
    standing = read_standing(draft, SOMEBODY)
    assert standing is not None
    assert (standing.s_chr, standing.epoch, standing.actions, standing.atr_spent) == (drifted, epochs, 0, 0)
    assert standing.past_actions == ((0,) * (epochs - 1) + (7,))[:8]


@pytest.mark.parametrize("held", [0, 1, 99 * SCALE, 100 * SCALE])
def test_up_to_100_flx_nothing_decays(genesis: Court, held: int) -> None:
    state = make_state(genesis, {FLX: held}, SCALE, founder=False, energy=0, change=None)

    draft = let_pass(state, [EPOCHS_MAX])

    assert read_balance(draft, FLX, SOMEBODY) == held
    assert decay_once(FLX, held, DecayPolicy()) == held
    assert decay_once(FLX, 100 * SCALE + 100, DecayPolicy()) == 100 * SCALE + 99


def test_what_decays_of_flx_goes_to_the_reserve(genesis: Court) -> None:
    state = make_state(genesis, {FLX: 1_100 * SCALE}, SCALE, founder=False, energy=0, change=None)
    before = Draft(State(state))

    draft = let_pass(state, [1])

    assert read_balance(draft, FLX, SOMEBODY) == 1_090 * SCALE
    assert read_burned(draft, FLX) - read_burned(before, FLX) == 10 * SCALE
    assert read_supply(draft, RES) - read_supply(before, RES) == 10 * SCALE


@pytest.mark.parametrize("room", [0, 3 * SCALE])
def test_at_the_reserves_target_what_decays_is_burned_for_good(genesis: Court, room: int) -> None:
    state = make_state(genesis, {FLX: 1_100 * SCALE}, SCALE, founder=False, energy=0, change=None)
    full = Draft(State(state))
    # The target is a fifth of what is left after the decay of 10 FLX.
    target = (read_supply(full, FLX) - 10 * SCALE) // 5
    issue(full, RES, b"r" * 32, target - room)
    state |= {key: value for key, _, value in full.changes() if value is not None}

    draft = let_pass(state, [1])

    assert read_burned(draft, FLX) == 10 * SCALE
    assert read_supply(draft, RES) == target
    assert read_supply(draft, RES) - read_supply(full, RES) == room


def test_energy_and_standing_never_pass_their_rest() -> None:
    energy, drifted = 0, 0
    for _ in range(5_000):
        energy, drifted = recover_once(energy, EnergyPolicy()), hsmf.next_s_chr(drifted, None, 0)
        assert energy <= ATR_STORE
        assert drifted <= hsmf.S_CHR_START
    assert energy == ATR_STORE
    assert hsmf.S_CHR_START - drifted < 100


# On a chain.


def test_on_a_chain_idle_founders_and_newcomers_hold_what_epoch_by_epoch_gives(tmp_path: Path) -> None:
    """Conservation is checked at every height; an account is brought up to date by its own act, or another's."""
    town = Town(tmp_path / "idle", 3)
    active, idle, _ = town.people
    newcomer = town.person("newcomer")
    for number in range(9):
        if number == 3:
            town.execute(town.sign(newcomer, IdentityCreated))
        town.beat(town.post(active, number))
        town.assert_conserved()
        town.close_epoch()
        town.assert_conserved()
    epochs = town.chain.head.header.epoch
    assert read_balance(town.store, FLX, idle.account) == EACH  # nobody has touched it yet
    energy_before = read_balance(town.store, ATR, newcomer.account)

    touched = town.execute(town.sign(active, TokensTransferred, atoms=1, to=idle.account, token=FLX))
    acted = town.execute(town.sign(newcomer, AccountFollowed, target=idle.account))

    town.assert_conserved()
    assert [receipt.outcome for receipt in (*touched.receipts, *acted.receipts)] == ["denied", "applied"]
    town.execute(town.sign(idle, AccountFollowed, target=active.account))
    flx = EACH
    for _ in range(epochs):
        flx = decay_once(FLX, flx, DecayPolicy())
    assert read_balance(town.store, FLX, idle.account) == flx
    assert standing_of(town, idle.account).epoch == standing_of(town, newcomer.account).epoch == epochs
    assert standing_of(town, newcomer.account).created_epoch == 3
    assert energy_before == ATR_STORE > read_balance(town.store, ATR, newcomer.account)
    town.assert_conserved()
    town.store.close()


def standing_of(town: Town, account: bytes) -> Standing:
    found = read_standing(town.store, account)
    assert found is not None
    return found


def test_burning_and_issuing_are_the_only_ways_a_supply_changes(genesis: Court) -> None:
    draft = Draft(State(genesis.state))
    issue(draft, CHR, SOMEBODY, 10)
    burn(draft, CHR, SOMEBODY, 4)

    assert read_supply(draft, CHR) == 6
    draft.put(keyspace.balance(CHR, SOMEBODY), encode_number(7))
    with pytest.raises(AssertionError):
        assert_conserved(genesis.state, draft)
