"""A decision that an appeal reverses leaves no trace in the economy: whole runs, compared with one without it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger.holds import list_held, read_held_flx
from ledger.primitives.fixed_point import SCALE
from ledger.receipts import APPLIED
from ledger.sanctions import hiding_key, read_sanction
from ledger.tokens import CHR, FLX, read_balance
from social.moderation.records import FINAL, REVERSED
from tests.economy.harbour import Harbour
from tests.economy.town import by_type
from tests.social.assembly import denials

EPOCHS = 8
Act = Callable[[Harbour, int], None]


@contextmanager
def town(folder: Path) -> Iterator[Harbour]:
    harbour = Harbour(folder)
    yield harbour
    harbour.assert_conserved()
    harbour.store.close()


def live(harbour: Harbour, act: Act) -> None:
    """Play the same days: the author and a fan publish, all endorse, the author pays; `act` does what else there is."""
    author, fans = harbour.author, harbour.fans
    for epoch in range(EPOCHS):
        if epoch < 4:
            post, other = harbour.publish(author, 2 * epoch), harbour.publish(fans[0], 2 * epoch + 1)
            harbour.like(post, *fans[: 2 + epoch % 2])
            harbour.like(other, fans[3], *harbour.reviewers[: 1 + epoch])
        if epoch == 1:
            harbour.report(harbour.posts[0], fans[3])
        act(harbour, epoch)
        if epoch in (1, 2):
            harbour.like(harbour.posts[0], *harbour.reviewers[2 * epoch - 1 : 2 * epoch + 1])
        if epoch == EPOCHS - 1:
            assert harbour.pay(author, fans[1], 1_000 * SCALE).outcome == APPLIED
        harbour.pass_epoch()
    harbour.like(harbour.publish(author, 8), harbour.founder, *fans, *harbour.reviewers)
    harbour.assert_conserved()


def nothing(harbour: Harbour, epoch: int) -> None:
    """The control run."""


def contest(votes: tuple[str, ...]) -> Act:
    """The post of the first day is hidden on the second; its author appeals, and reviewers vote on the third."""

    def act(harbour: Harbour, epoch: int) -> None:
        if epoch == 1:
            harbour.decision = harbour.hide(harbour.posts[0])
            harbour.case = harbour.appeal(harbour.decision)
        elif epoch == 2:
            assert read_sanction(harbour.store, hiding_key(harbour.posts[0])) is not None
            assert harbour.rank()[0][1] != 0
            assert 0 not in [number for _, number in harbour.rank()]
            harbour.review(harbour.case, *votes)

    return act


def accept(harbour: Harbour, epoch: int) -> None:
    """The post is hidden, and nobody appeals."""
    if epoch == 1:
        harbour.decision = harbour.hide(harbour.posts[0])


def test_a_reversed_hide_and_its_penalty_leave_balances_standing_and_rank_as_if_they_had_never_been(
    tmp_path: Path,
) -> None:
    with town(tmp_path / "control") as control, town(tmp_path / "reversed") as contested:
        live(control, nothing)
        live(contested, contest(("reverse", "reverse", "uphold")))

        assert contested.find_decision(contested.decision).state == REVERSED
        held = by_type(contested.receipts, "economics.RewardHeld")
        assert sum(int(receipt.inputs["chr"]) for receipt in held) > 0
        assert sum(int(receipt.inputs["flx"]) for receipt in held) > 0
        assert len(by_type(contested.receipts, "economics.RewardReleased")) == 1
        assert by_type(contested.receipts, "economics.PenaltyApplied") == []
        assert contested.read_economy() == control.read_economy()
        assert contested.rank() == control.rank()
        assert 0 in [number for _, number in contested.rank()]
        assert read_sanction(contested.store, hiding_key(contested.posts[0])) is None
        assert list_held(contested.store, contested.decision) == []
        assert [read_held_flx(contested.store, each.account) for each in contested.people] == [0] * len(control.people)


def test_a_decision_that_stands_costs_its_earnings_and_its_penalty(tmp_path: Path) -> None:
    """So the comparison above is one of things that differ where the decision is not reversed."""
    with town(tmp_path / "control") as control, town(tmp_path / "accepted") as accepted:
        live(control, nothing)
        live(accepted, accept)

        assert accepted.find_decision(accepted.decision).state == FINAL
        clawed = by_type(accepted.receipts, "economics.RewardClawedBack")
        assert {receipt.inputs["account"] for receipt in clawed} >= {accepted.author.account.hex()}
        assert len(by_type(accepted.receipts, "economics.PenaltyApplied")) == 1
        before, after = (run.read_account(run.author) for run in (control, accepted))
        assert after[0].s_chr < before[0].s_chr
        assert after[1][CHR] < before[1][CHR]
        assert after[1][FLX] < before[1][FLX]
        assert 0 not in [number for _, number in accepted.rank()]
        before, after = (run.read_account(run.reviewers[3]) for run in (control, accepted))
        assert after[1][CHR] < before[1][CHR], "whoever endorsed it while it was hidden loses his part too"


def test_an_appeal_that_is_upheld_and_not_taken_further_ends_like_no_appeal(tmp_path: Path) -> None:
    with town(tmp_path / "upheld") as harbour:
        live(harbour, contest(("uphold", "uphold", "uphold")))

        assert harbour.find_decision(harbour.decision).state == FINAL
        assert len(by_type(harbour.receipts, "economics.PenaltyApplied")) == 1
        assert harbour.find_appeal(harbour.case).outcome == "upheld"


def test_held_flx_is_not_spent_and_what_else_there_is_can_be(tmp_path: Path) -> None:
    with town(tmp_path / "held") as harbour:
        post, other = harbour.publish(harbour.author, 0), harbour.publish(harbour.fans[0], 1)
        harbour.like(post, *harbour.fans)
        harbour.like(other, *harbour.reviewers)
        decision = harbour.hide(post)
        harbour.pass_epoch()
        held = read_held_flx(harbour.store, harbour.author.account)
        balance = read_balance(harbour.store, FLX, harbour.author.account)
        assert 0 < held < balance
        assert sum(each.flx for each in list_held(harbour.store, decision)) > held

        all_of_it = harbour.pay(harbour.author, harbour.founder, balance)
        too_much = harbour.pay(harbour.author, harbour.founder, balance - held + 1)
        the_rest = harbour.pay(harbour.author, harbour.founder, balance - held)

        assert denials(all_of_it) == denials(too_much) == {"SANCTION_FLX_HELD"}
        assert the_rest.outcome == APPLIED
        harbour.pass_epoch()  # what is held decays, and nobody is stopped for that
        harbour.like(other, harbour.author)


def test_what_is_held_is_named_for_each_account_and_sums_to_what_the_post_earned(tmp_path: Path) -> None:
    with town(tmp_path / "named") as harbour:
        post = harbour.publish(harbour.author, 0)
        harbour.like(post, *harbour.fans)
        harbour.hide(post)

        receipts = harbour.pass_epoch()

        accrued: dict[str, Any] = dict(by_type(receipts, "economics.RewardAccrued")[0].inputs)
        held = by_type(receipts, "economics.RewardHeld")
        paid = by_type(receipts, "economics.RewardPaid")
        assert {receipt.inputs["item"] for receipt in held} == {post.hex()}
        assert len({receipt.inputs["account"] for receipt in held}) == len(held)
        total = sum(int(receipt.inputs["chr"]) for receipt in held)
        assert total == sum(int(each.inputs["chr_author"]) + int(each.inputs["chr_endorser"]) for each in paid)
        assert 0 < total <= int(accrued["chr_author"]) + int(accrued["chr_endorsers"])
