"""Who fetches blocks signs nothing new; and nobody takes what its sender has not signed."""

from dataclasses import replace

import pytest

from consensus.messages import Checkpoint, Commit, Message, NewView, Prepare, Signed, ViewChange
from simulations.byzantine.mutate import flip_signature
from simulations.checkers.admission import Admission
from simulations.checkers.quiet import Quiet
from simulations.observations import Crashed, Delivered, Restarted, Syncing
from tests.consensus.harness import CHAIN_ID, KEYS, digest_of, sign
from tests.ledger.world import World
from tests.simulations.observed import CORRECT, fails, feed, made, make_blocks, sent_by

A = digest_of(b"a")
VOTE = sent_by(1, sign(Prepare(A, 1, 5, 0)))
PUBLIC = [key.public for key in KEYS[:4]]


@pytest.mark.parametrize(
    "message", [Prepare(A, 1, 5, 0), Commit(A, 1, 5, 0), Checkpoint(A, 1, 5), NewView((), 1, 1, ())]
)
def test_a_new_vote_while_fetching(message: Message) -> None:
    signed = Signed(message, bytes(64), b"")

    fails(
        Quiet(CORRECT), [Syncing(0, 1, True), sent_by(1, signed)], "no new vote of replica 1 while it fetches", "place"
    )


def test_votes_before_and_after() -> None:
    later = sent_by(1, sign(Prepare(A, 1, 6, 0)))

    feed(Quiet(CORRECT), [VOTE, Syncing(0, 1, True), VOTE, Syncing(1, 1, False), later])


def test_others_may_vote_and_a_view_may_be_left() -> None:
    leaves = sent_by(1, sign(ViewChange((), 1, None, 1)))

    feed(Quiet(CORRECT), [Syncing(0, 1, True), sent_by(2, sign(Prepare(A, 2, 5, 0))), leaves])


def test_a_crash_ends_the_fetching() -> None:
    feed(Quiet(CORRECT), [Syncing(0, 1, True), Crashed(1, 1, "power"), Restarted(2, 1, 2, 0), VOTE])


def test_places_that_are_executed_are_not_judged(world: World) -> None:
    blocks = [made(1, block) for block in make_blocks(world, 3)]
    old, new = (sent_by(1, sign(Prepare(A, 1, seq, 0))) for seq in (3, 4))

    fails(Quiet(CORRECT), [*blocks, Syncing(0, 1, True), old, new], "at height 3", "Prepare for view 0, place 4")


def test_what_its_sender_did_not_sign() -> None:
    good = Delivered(0, 3, 1, sign(Commit(A, 3, 5, 0)), 0)
    prepare = sign(Prepare(A, 3, 5, 0))
    wrong = {
        "no commit signature of replica 3": Signed(Commit(A, 3, 5, 0), prepare.signature, prepare.encoded),
        "no prepare signature of replica 3": flip_signature(prepare),
    }

    for found, signed in wrong.items():
        fails(Admission(CHAIN_ID, PUBLIC, CORRECT), [good, replace(good, signed=signed)], "its sender signed", found)
        feed(Admission(CHAIN_ID, PUBLIC, CORRECT), [replace(good, signed=signed, to=3)])
