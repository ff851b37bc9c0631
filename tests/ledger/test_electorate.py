"""The electorate: weights of the past are kept exactly where a vote needs them, and their sum is exact."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from ledger import keyspace
from ledger.draft import Draft
from ledger.electorate import (
    ELECTORATE_EPOCHS,
    HELD_MAX,
    compute_weight,
    encode_held,
    enroll,
    list_weights,
    lower_weight,
    read_held,
    read_mass,
    read_weight,
)
from ledger.policies import compute_genesis_policies
from ledger.primitives.fixed_point import SCALE
from ledger.standing import open_standing
from ledger.tokens import FLX, compute_bond_account, issue

ACCOUNTS = tuple(bytes([number]) * 32 for number in range(4))


class Nothing:
    def get(self, key: bytes) -> bytes | None:
        return None


@dataclass
class Model:
    """All weights that ever were, and the sums at the moments when they were held."""

    weights: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict[bytes, list[tuple[int, int]]])

    def set(self, account: bytes, epoch: int, weight: int) -> None:
        found = self.weights.setdefault(account, [])
        if found and found[-1][0] == epoch:
            found.pop()
        found.append((epoch, weight))

    def last_epoch(self, account: bytes) -> int:
        found = self.weights.get(account)
        return found[-1][0] if found else -1

    def read(self, account: bytes, epoch: int) -> int:
        found = [each for each in self.weights.get(account, []) if each[0] <= epoch]
        return found[-1][1] if found and found[-1][0] > epoch - ELECTORATE_EPOCHS else 0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("settle"), st.sampled_from(ACCOUNTS), st.integers(0, SCALE)),
        st.tuples(st.just("lower"), st.sampled_from(ACCOUNTS), st.integers(0, 100)),
        st.tuples(st.just("pass"), st.just(b""), st.integers(1, 40)),
        st.tuples(st.just("open"), st.just(b""), st.just(0)),
        st.tuples(st.just("end"), st.just(b""), st.integers(0, HELD_MAX)),
    ),
    max_size=60,
)


@given(steps)
def test_weights_of_held_epochs_and_their_sum_are_those_of_a_full_history(
    steps: list[tuple[str, bytes, int]],
) -> None:
    draft, model, epoch = Draft(Nothing()), Model(), 0
    opened: dict[int, int] = {}  # epoch -> sum of weights when a vote opened in it
    for step, account, number in steps:
        match step:
            case "settle" if epoch not in opened and model.last_epoch(account) < epoch:  # an epoch begins with it
                enroll(draft, account, epoch, number)
                model.set(account, epoch, number)
            case "lower" if model.read(account, epoch):
                lowered = model.weights[account][-1][1] * number // 100
                enroll(draft, account, epoch, lowered)
                model.set(account, epoch, lowered)
            case "pass":
                epoch += number
            case "open" if len(opened) < HELD_MAX:
                opened[epoch] = read_mass(draft, epoch)
                draft.put(keyspace.held_epochs(), encode_held(tuple(opened)))
            case "end" if opened:
                del opened[sorted(opened)[number % len(opened)]]
                draft.put(keyspace.held_epochs(), encode_held(tuple(opened)))
            case _:
                continue

        assert read_mass(draft, epoch) == sum(model.read(each, epoch) for each in ACCOUNTS)
        for held, eligible in opened.items():
            weights = [read_weight(draft, each, held) for each in ACCOUNTS]
            assert weights == [model.read(each, held) for each in ACCOUNTS]
            assert sum(weights) <= eligible  # votes never exceed what the quorum is of
        for each in ACCOUNTS:
            assert len(list_weights(draft, each)) <= HELD_MAX + 1


def test_nothing_of_the_past_is_kept_when_no_vote_is_open() -> None:
    draft = Draft(Nothing())
    for epoch in range(50):
        enroll(draft, ACCOUNTS[0], epoch, epoch)

    assert [each.from_epoch for each in list_weights(draft, ACCOUNTS[0])] == [49]
    assert read_mass(draft, 49) == 49


def test_an_account_that_is_settled_in_every_epoch_of_every_open_vote_keeps_its_bound() -> None:
    draft = Draft(Nothing())
    for epoch in range(HELD_MAX):
        enroll(draft, ACCOUNTS[0], epoch, epoch)
        draft.put(keyspace.held_epochs(), encode_held(tuple(range(epoch + 1))))
    enroll(draft, ACCOUNTS[0], 200, 7)

    assert read_held(draft) == tuple(range(HELD_MAX))
    assert len(list_weights(draft, ACCOUNTS[0])) == HELD_MAX + 1
    assert [read_weight(draft, ACCOUNTS[0], epoch) for epoch in range(HELD_MAX)] == list(range(HELD_MAX))


def test_whoever_was_not_settled_for_long_is_not_counted() -> None:
    draft = Draft(Nothing())
    enroll(draft, ACCOUNTS[0], 5, SCALE)
    last = 5 + ELECTORATE_EPOCHS - 1

    assert (read_weight(draft, ACCOUNTS[0], last), read_mass(draft, last)) == (SCALE, SCALE)
    assert (read_weight(draft, ACCOUNTS[0], last + 1), read_mass(draft, last + 1)) == (0, 0)


def test_who_has_left_the_electorate_does_not_come_back_by_taking_a_bond_back() -> None:
    draft, account = Draft(Nothing()), ACCOUNTS[0]
    for key, value in compute_genesis_policies({}):
        draft.put(key, value)
    open_standing(draft, account, 0, founder=True)
    issue(draft, FLX, compute_bond_account(account), 50 * SCALE)  # half of what a full bond is
    enroll(draft, account, 0, SCALE)

    lower_weight(draft, account, ELECTORATE_EPOCHS)
    assert (read_weight(draft, account, ELECTORATE_EPOCHS), read_mass(draft, ELECTORATE_EPOCHS)) == (0, 0)
    lower_weight(draft, account, ELECTORATE_EPOCHS - 1)
    assert 0 < read_weight(draft, account, ELECTORATE_EPOCHS - 1) < SCALE


def test_a_weight_is_never_above_one() -> None:
    assert compute_weight(SCALE, SCALE) == SCALE
    assert compute_weight(SCALE // 2, SCALE // 2) == SCALE // 4
    assert compute_weight(SCALE, 3 * SCALE) == SCALE
