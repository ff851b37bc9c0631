"""Liars: whatever one says is signed by its own replica, and the correct ones agree all the same."""

import random
from collections.abc import Callable

import pytest

from consensus.authentication import verify_signed
from consensus.errors import InvalidMessage
from consensus.messages import (
    AnySigned,
    Checkpoint,
    Commit,
    Message,
    Prepare,
    PrePrepare,
    Sign,
    Status,
    ViewChange,
    compute_batch_digest,
    decode_signed,
    encode_signed,
)
from ledger.block import Batch, decode_batch, encode_batch
from simulations.byzantine import Behaviour
from simulations.byzantine.equivocate import Equivocate, make_fewer, make_later, make_reordered
from simulations.byzantine.flood import Flood
from simulations.byzantine.mutate import (
    BadSignature,
    DropCertificate,
    DropPrepared,
    OtherDigest,
    ReplayOld,
    ShiftSeq,
    ShiftView,
)
from simulations.byzantine.random_mix import RandomMix
from simulations.byzantine.resign import Signer
from simulations.byzantine.silent import Mute, Sluggish
from simulations.observations import Sent
from tests.consensus.harness import (
    Cluster,
    Faults,
    digest_of,
    make_certificate,
    make_parameters,
    make_proof,
    make_sign,
    sign,
)
from tests.ledger.world import World
from tests.simulations.observed import post

ME, N, WINDOW = 1, 4, 8
PARAMETERS = make_parameters()
SIGN = make_sign(ME)
A = digest_of(b"a")
CERTIFICATE = make_certificate(1, A)


def make_other(batch: bytes) -> bytes | None:
    """A second batch of the cluster's kind."""
    return batch + b"|other" if batch else None


MAKERS: dict[str, Callable[[int, Sign], Behaviour]] = {
    "view up": lambda me, sign: ShiftView(me, sign, N, 1),
    "view down": lambda me, sign: ShiftView(me, sign, N, -1),
    "seq up": lambda me, sign: ShiftSeq(me, sign, 1),
    "seq down": lambda me, sign: ShiftSeq(me, sign, -1),
    "other digest": OtherDigest,
    "replay": lambda me, sign: ReplayOld(4),
    "no certificate": lambda me, sign: DropCertificate(me, sign, WINDOW),
    "no prepared": DropPrepared,
    "equivocate": lambda me, sign: Equivocate(me, sign, [2, 3], make_other),
    "flood": lambda me, sign: Flood(me, sign, N),
    "mute": lambda me, sign: Mute([0, 2]),
    "mute of one kind": lambda me, sign: Mute(range(N), [Commit]),
    "sluggish": lambda me, sign: Sluggish(3),
    "mix": lambda me, sign: RandomMix(
        me, sign, random.Random(7), n=N, window=WINDOW, second_half=[2], make_other=make_other,
        rates={"view_up": 15, "seq_up": 15, "other_digest": 15, "replay_old": 15, "drop_prepared": 20, "flood": 10},
    ),
}  # fmt: skip


def frame(message: Message, batch: bytes | None = None, to: int = 2) -> Sent:
    return Sent(0, ME, to, sign(message), batch)


FRAMES = [
    frame(PrePrepare(A, 1, 3, 1), b"a"),
    frame(Prepare(A, 1, 3, 0)),
    frame(Prepare(A, 1, 1, 3)),
    frame(Commit(A, 1, 3, 1)),
    frame(Checkpoint(A, 1, 1)),
    frame(Checkpoint(A, 1, 2)),
    frame(ViewChange((make_proof(0, 2, b"a"), make_proof(1, 3, b"a")), 1, CERTIFICATE, 2)),
    frame(ViewChange((), 1, None, 1)),
    frame(Status(1, True, 2, (3,), 1, CERTIFICATE, (2,), 1, ())),
    frame(PrePrepare(A, 0, 3, 0), b"a"),  # the primary's: it can only be relayed
]


def verify(sent: Sent) -> None:
    """The frame is one that its receiver takes."""
    decoded, batch = decode_signed(encode_signed(sent.signed, sent.batch), PARAMETERS)
    verify_signed(PARAMETERS, decoded)
    assert (decoded, batch) == (sent.signed, sent.batch)


@pytest.mark.parametrize("name", MAKERS)
def test_whatever_a_liar_says_is_validly_signed_by_it(name: str) -> None:
    behaviour = MAKERS[name](ME, SIGN)

    told = [(given, each) for _ in range(4) for given in FRAMES for each in behaviour(given)]

    for given, each in told:
        verify(each)
        assert (each.source, each.to) == (given.source, given.to)
        assert each.signed.message.replica in (ME, given.signed.message.replica, 0)
    assert [each for _, each in told] != FRAMES * 4


def test_a_bad_signature_is_refused() -> None:
    for given in FRAMES:
        (told,) = BadSignature()(given)

        with pytest.raises(InvalidMessage, match="signed by replica"):
            verify_signed(PARAMETERS, told.signed)


def test_a_liar_signs_for_itself_alone() -> None:
    with pytest.raises(AssertionError, match="expected a message of replica 1"):
        Signer(ME, SIGN).sign(Prepare(A, 2, 1, 0))


def test_neighbouring_views_and_places() -> None:
    (up,), (down,) = ShiftView(ME, SIGN, N, 1)(FRAMES[3]), ShiftSeq(ME, SIGN, -1)(FRAMES[3])

    assert up.signed.message == Commit(A, 1, 3, 2)
    assert down.signed.message == Commit(A, 1, 2, 1)


def test_a_view_change_without_its_proofs() -> None:
    (bare,), (first,) = DropPrepared(ME, SIGN)(FRAMES[6]), DropPrepared(ME, SIGN, keep=1)(FRAMES[6])
    (uncertified,) = DropCertificate(ME, SIGN, WINDOW)(FRAMES[6])

    assert bare.signed.message == ViewChange((), 1, CERTIFICATE, 2)
    assert first.signed.message == ViewChange((make_proof(0, 2, b"a"),), 1, CERTIFICATE, 2)
    assert isinstance(uncertified.signed.message, ViewChange)
    assert uncertified.signed.message.stable is None


def test_an_old_message_comes_again() -> None:
    replay = ReplayOld(2)

    told = [replay(given) for given in FRAMES[1:5]]

    assert [[each.signed for each in one] for one in told[2:]] == [
        [FRAMES[3].signed, FRAMES[1].signed],
        [FRAMES[4].signed, FRAMES[2].signed],
    ]


def test_each_half_hears_its_own_batch_and_votes() -> None:
    equivocate, other = Equivocate(ME, SIGN, [2], make_other), compute_batch_digest(b"a|other")

    first = [equivocate(frame(message, batch, to=3)) for message, batch in ((PrePrepare(A, 1, 3, 1), b"a"),)]
    second = equivocate(frame(PrePrepare(A, 1, 3, 1), b"a", to=2))
    votes = [equivocate(frame(Commit(A, 1, 3, 1), to=to))[0].signed.message for to in (3, 2)]

    assert first == [[frame(PrePrepare(A, 1, 3, 1), b"a", to=3)]]
    assert [each.signed.message for each in second] == [PrePrepare(other, 1, 3, 1), Commit(other, 1, 3, 1)]
    assert [each.batch for each in second] == [b"a|other", None]
    assert votes == [Commit(A, 1, 3, 1), Commit(other, 1, 3, 1)]


def test_second_batches_of_the_ledger(world: World) -> None:
    batch = world.batch(post(world), post(world))
    data = encode_batch(batch)
    fewer, later, reordered = make_fewer(data), make_later(data), make_reordered(data)

    assert fewer is not None
    assert decode_batch(fewer).items == batch.items[:1]
    assert later is not None
    assert decode_batch(later).time_ms == batch.time_ms + 1
    assert reordered is not None
    assert decode_batch(reordered).items == batch.items[::-1]
    assert make_fewer(fewer) is None
    assert [make(b"") for make in (make_fewer, make_later, make_reordered)] == [None] * 3
    assert decode_batch(make_fewer(encode_batch(Batch(True, 1, batch.items[:1], 0, 0, 0))) or b"").items == ()


def test_a_flood_ends() -> None:
    flood = Flood(ME, SIGN, N, times=3, total_max=7)

    assert [len(flood(FRAMES[1])) for _ in range(4)] == [4, 4, 2, 1]


def test_the_same_seed_lies_alike() -> None:
    def tell(seed: int) -> list[Sent]:
        mix = RandomMix(ME, SIGN, random.Random(seed), n=N, window=WINDOW)
        return [each for _ in range(20) for given in FRAMES for each in mix(given)]

    assert tell(1) == tell(1) != tell(2)


@pytest.mark.parametrize("name", [*MAKERS, "bad signature"])
@pytest.mark.parametrize("liar", [0, 1])
def test_the_correct_replicas_agree_whatever_one_says(name: str, liar: int) -> None:
    cluster = Cluster(4, 11, Faults(loss_percent=3), byzantine=[liar])
    behaviour = BadSignature(2) if name == "bad signature" else MAKERS[name](liar, make_sign(liar))
    refused = list[InvalidMessage]()

    def intercept(source: int, to: int, signed: AnySigned, batch: bytes | None) -> list[tuple[AnySigned, bytes | None]]:
        if source != liar:
            return [(signed, batch)]
        told: list[tuple[AnySigned, bytes | None]] = []
        for each in behaviour(Sent(cluster.now_ms, source, to, signed, batch)):
            try:
                verify_signed(cluster.parameters, each.signed)
                told.append((each.signed, each.batch))
            except InvalidMessage as invalid:
                refused.append(invalid)
        return told

    cluster.intercept = intercept
    for number in range(6):
        cluster.submit(b"request %d" % number)
        cluster.run(150)

    cluster.run_until(cluster.is_done, within_ms=120_000)

    assert bool(refused) == (name == "bad signature")
