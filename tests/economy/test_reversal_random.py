"""However a town lives, decisions that are all reversed or lifted leave no trace in its economy."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.primitives.fixed_point import SCALE
from ledger.receipts import APPLIED
from social.moderation.lifting import PostRestoredInCommunity
from social.moderation.records import LIFTED, REVERSED
from tests.economy.harbour import Harbour
from tests.economy.town import by_type

ROOT = Path(__file__).parent.parent.parent
EPOCHS = 9


def live(harbour: Harbour, seed: int, *, decides: bool) -> list[bytes]:
    """Play random days; the same for one seed but for what moderators do.  Return the decisions."""
    days, justice = random.Random(seed), random.Random(-seed)
    decisions: list[bytes] = []
    liked: set[tuple[bytes, int]] = set()
    number = 0
    for epoch in range(EPOCHS):
        for _ in range(days.randint(1, 3)):
            harbour.publish(days.choice(harbour.people), number)
            number += 1
        for _ in range(days.randint(3, 12)):
            who, post = days.randrange(len(harbour.people)), days.randrange(max(0, len(harbour.posts) - 6), number)
            if (harbour.posts[post], who) not in liked:
                liked.add((harbour.posts[post], who))
                harbour.like(harbour.posts[post], harbour.people[who])
        if decides and epoch < 4:
            decisions += _hide_some(harbour, justice)
        if decides:
            _judge(harbour, decisions, justice)
        harbour.pass_epoch()
    harbour.like(harbour.publish(harbour.author, number), *harbour.people[:1], *harbour.people[2:])
    return decisions


def _hide_some(harbour: Harbour, justice: random.Random) -> list[bytes]:
    """Hide some of the newest posts of others, and have their authors appeal."""
    made: list[bytes] = []
    for post in harbour.posts[-3:]:
        author = harbour.find_author(post)
        if justice.random() < 0.7 and author is not harbour.founder and not harbour.is_hidden(post):
            made.append(harbour.hide(post))
            harbour.appeal(made[-1], author)
    return made


def _judge(harbour: Harbour, decisions: list[bytes], justice: random.Random) -> None:
    """Have reviewers reverse what they were given; now and then the founder lifts it first, or they stay silent."""
    for decision_id in decisions:
        decision = harbour.find_decision(decision_id)
        if decision.state != "CONTESTED":
            continue
        appeal = harbour.find_appeal(decision.appeal)
        fate = justice.random()
        if fate < 0.2:
            lifted = harbour.do(
                harbour.founder, PostRestoredInCommunity, text="No.", decision=decision_id, space=harbour.space
            )  # fmt: skip
            assert lifted.outcome == APPLIED
        elif fate < 0.8 and appeal.state == "REVIEW" and not appeal.reverse:
            harbour.review(decision.appeal, "reverse", "reverse", "uphold")


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 31])
def test_a_run_whose_decisions_all_fell_equals_one_without_any(seed: int, tmp_path: Path) -> None:
    control, tried = Harbour(tmp_path / "control"), Harbour(tmp_path / "tried")

    live(control, seed, decides=False)
    decisions = live(tried, seed, decides=True)

    states = {tried.find_decision(each).state for each in decisions}
    assert decisions
    assert states <= {REVERSED, LIFTED}
    held = by_type(tried.receipts, "economics.RewardHeld")
    assert sum(int(receipt.inputs["chr"]) for receipt in held) > SCALE
    assert tried.read_economy() == control.read_economy()
    assert tried.rank() == control.rank()
    for town in (control, tried):
        town.assert_conserved()
        town.close()


SCRIPT = """
import sys
from pathlib import Path
from tests.economy.harbour import Harbour
from tests.economy.test_reversal_random import live
harbour = Harbour(Path(sys.argv[1]))
live(harbour, 3, decides=True)
print(harbour.chain.head.hash.hex())
"""


def test_another_hash_seed_and_locale_give_the_same_chain(tmp_path: Path) -> None:
    heads: list[str] = []
    for number, environment in enumerate(
        ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "4242", "LC_ALL": "tr_TR.UTF-8"})
    ):
        paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'client-api'}", "PATH": os.environ["PATH"]}
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / str(number))]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=paths | environment, cwd=ROOT)
        heads.append(done.stdout.strip())

    assert len(heads[0]) == 64
    assert heads[0] == heads[1]
