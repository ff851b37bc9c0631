"""Eras: a set's consensus begins above a height that the set before it certified, and its votes are its own."""

from dataclasses import replace

import pytest

from consensus.authentication import verify_signed
from consensus.errors import InvalidMessage
from consensus.messages import (
    Body,
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
    make_signed,
)
from consensus.new_view import compute_plan
from consensus.quorum import verify_certificate
from tests.consensus.harness import Cluster, make_certificate, make_parameters, make_proof, make_sign
from tests.consensus.test_soup import HEAL_WITHIN_MS, stir

BASE = 40
FIRST = make_parameters()
SECOND = replace(FIRST, era=1, base=BASE)
BATCH = b"a batch"

VOTES: list[Message] = [
    PrePrepare(bytes(32), 0, BASE + 1, 0),
    Prepare(bytes(32), 1, BASE + 1, 0),
    Commit(bytes(32), 1, BASE + 1, 0),
    ViewChange((), 1, None, 1),
    Status(0, True, BASE, (), 1, None, (), 0, ()),
    Body(bytes(32), 1),
]


@pytest.mark.parametrize("message", VOTES, ids=lambda message: type(message).__name__)
def test_a_message_of_one_era_is_none_of_another(message: Message) -> None:
    signed = make_signed(message, make_sign(message.replica, SECOND))

    verify_signed(SECOND, signed)
    for other in (FIRST, replace(SECOND, era=2)):
        with pytest.raises(InvalidMessage) as caught:
            verify_signed(other, signed)
        assert caught.value.code == "signature"


def test_a_new_view_of_one_era_is_none_of_another() -> None:
    cluster = Cluster(era=1, base=BASE)
    cluster.crash(0)
    cluster.submit(b"request")
    cluster.run_until(lambda: all(node.views for node in cluster.nodes[1:]))

    new_view = cluster.nodes[1].replica._state.new_view  # pyright: ignore[reportPrivateUsage]

    assert new_view is not None
    assert isinstance(new_view.message, NewView)
    verify_signed(cluster.parameters, new_view)
    with pytest.raises(InvalidMessage):
        verify_signed(make_parameters(), new_view)


def test_a_checkpoint_is_bound_to_its_height_alone() -> None:
    signed = make_signed(Checkpoint(bytes(32), 1, BASE + 1), make_sign(1, FIRST))

    verify_signed(FIRST, signed)
    verify_signed(SECOND, signed)


@pytest.mark.parametrize("seq", [1, BASE - 1, BASE])
def test_an_era_has_no_certificate_at_or_below_its_base(seq: int) -> None:
    verify_certificate(SECOND, make_certificate(BASE + 1, bytes(32)))
    with pytest.raises(InvalidMessage) as caught:
        verify_certificate(SECOND, make_certificate(seq, bytes(32)))
    assert caught.value.code == "certificate_seq"


def test_a_view_change_proves_nothing_below_the_base() -> None:
    for seq in (1, BASE, BASE + SECOND.window + 1):
        signed = make_signed(ViewChange((make_proof(0, seq, BATCH),), 1, None, 1), make_sign(1, SECOND))
        with pytest.raises(InvalidMessage) as caught:
            verify_signed(SECOND, signed)
        assert caught.value.code == "prepared_seq"


def test_the_first_place_of_a_view_change_is_above_the_base() -> None:
    proof = make_proof(0, BASE + 2, BATCH)
    plan = compute_plan([ViewChange((proof,), 1, None, 1), ViewChange((), 2, None, 1)], BASE)

    assert [seq for seq, _ in plan.proposals] == [BASE + 1, BASE + 2]


def test_an_era_begins_above_its_base_and_certifies_what_it_orders() -> None:
    cluster = Cluster(era=1, base=BASE)
    assert cluster.nodes[0].replica.next_proposal_seq() == BASE + 1

    cluster.submit(*[b"request %d" % number for number in range(20)])
    cluster.run_until(cluster.is_done)

    for node in cluster.nodes:
        assert min(node.certificates) == BASE + 1
        assert node.replica.low_water_mark == node.executed > BASE


@pytest.mark.parametrize("seed", range(8))
def test_a_later_era_survives_everything_and_heals(seed: int) -> None:
    cluster = Cluster(4, seed, era=1, base=BASE)

    stir(cluster, seed)
    cluster.heal()
    cluster.submit(b"the last request")

    cluster.run_until(cluster.is_done, HEAL_WITHIN_MS)


@pytest.mark.parametrize(("era", "base"), [(0, 5), (1, 0), (-1, 0), (1, -5)])
def test_only_the_first_era_begins_at_genesis(era: int, base: int) -> None:
    with pytest.raises(ValueError, match="era: expected"):
        replace(FIRST, era=era, base=base)
