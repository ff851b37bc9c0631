"""Votes, certificates, and what votes rest on: real clusters pass, and each planted contradiction or forgery fails."""

from dataclasses import replace

import pytest

from consensus.messages import (
    NULL_DIGEST,
    Certificate,
    Checkpoint,
    Cited,
    Commit,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Reproposal,
    Signed,
    Status,
    ViewChange,
    Vote,
)
from simulations.checkers import Checker
from simulations.checkers.certificates import Certificates, ProofInvalid, Verifier
from simulations.checkers.durability import Durability
from simulations.checkers.votes import Votes
from simulations.observations import Accused, Certified, Observation, Restarted
from tests.consensus.harness import (
    CHAIN_ID,
    KEYS,
    Cluster,
    Faults,
    digest_of,
    make_certificate,
    make_parameters,
    make_proof,
    sign,
)
from tests.ledger.world import World
from tests.simulations.observed import CORRECT, Watched, fails, feed, made, make_blocks, sent_by

A, B = digest_of(b"a"), digest_of(b"b")
PUBLIC = [key.public for key in KEYS[:4]]


def make_new_view(*view_changes: ViewChange, proposals: list[tuple[int, bytes]], view: int = 1) -> NewView:
    signed = [sign(view_change) for view_change in view_changes]
    reproposals = [
        Reproposal(digest, seq, sign(PrePrepare(digest, view % 4, seq, view)).signature) for seq, digest in proposals
    ]
    cited = tuple(Cited(each.encoded, each.signature) for each in signed)
    return NewView(tuple(reproposals), view % 4, view, cited)


@pytest.mark.parametrize(("n", "seed"), [(4, 1), (4, 2), (7, 3)])
def test_real_clusters_break_no_rule(world: World, n: int, seed: int) -> None:
    everyone = range(n)
    cluster = Cluster(n, seed, Faults(loss_percent=10, duplicate_percent=5, delay_ms_max=60))
    rules: list[Checker] = [
        Votes(everyone),
        Certificates(CHAIN_ID, [key.public for key in KEYS[:n]], everyone),
        Durability(everyone),
    ]
    watched = Watched(cluster, rules, make_blocks(world, 1)[0])

    for number in range(12):
        cluster.submit(b"request %d" % number)
        cluster.run(200)
        if number % 3 == 1:
            cluster.crash((number - 1) % n)  # the primary of the first view, to begin with
            cluster.submit(b"meanwhile %d" % number)
            cluster.run(1_200)
            watched.restart((number - 1) % n)
        if number == 5:
            cluster.partition([0, 1], range(2, n))
            cluster.submit(b"apart")
            cluster.run(2_000)
            cluster.cut = set()
    cluster.heal()
    cluster.run_until(cluster.is_done)

    assert watched.count > 500
    assert max(view for node in cluster.nodes for view in node.views) > 0


class TestVotes:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (PrePrepare(A, 0, 1, 0), PrePrepare(B, 0, 1, 0)),
            (Prepare(A, 1, 1, 0), Prepare(B, 1, 1, 0)),
            (Commit(A, 1, 1, 0), Commit(B, 1, 1, 0)),
            (Checkpoint(A, 1, 1), Checkpoint(B, 1, 1)),
            (ViewChange((), 1, None, 2), ViewChange((make_proof(0, 1, b"a"),), 1, None, 2)),
            (
                make_new_view(ViewChange((), 0, None, 1), proposals=[]),
                make_new_view(ViewChange((), 2, None, 1), proposals=[]),
            ),
        ],
        ids=lambda message: type(message).__name__,
    )
    def test_two_votes_for_one_place(self, first: Message, second: Message) -> None:
        said = [sent_by(each.replica, sign(each)) for each in (first, second)]
        restarted = Restarted(0, first.replica, 2, 0)

        feed(Votes(CORRECT), [said[0], said[0], restarted, said[0]])
        fails(Votes(CORRECT), [said[0], restarted, said[1]], f"one {type(first).__name__} of replica {first.replica}")

    def test_other_places_are_free(self) -> None:
        messages: list[Message] = [
            Prepare(A, 1, 1, 0),
            Prepare(B, 1, 2, 0),
            Prepare(B, 1, 1, 4),
            Commit(B, 1, 1, 0),
            Prepare(B, 2, 1, 0),
        ]

        feed(Votes(CORRECT), [sent_by(each.replica, sign(each)) for each in messages])

    def test_a_proposal_inside_a_new_view_counts(self) -> None:
        new_view = make_new_view(ViewChange((), 0, None, 1), proposals=[(1, A)])
        said = [sent_by(1, sign(new_view)), sent_by(2, sign(PrePrepare(B, 1, 1, 1)), b"b")]

        fails(Votes(CORRECT), said, "one PrePrepare of replica 1 for view 1, place 1")

    def test_a_vote_in_a_view_that_it_left(self) -> None:
        said = [sent_by(1, sign(Prepare(A, 1, 1, 0))), sent_by(1, sign(ViewChange((), 1, None, 2)))]

        feed(Votes(CORRECT), [*said, said[0], sent_by(1, sign(Prepare(A, 1, 1, 2)))])
        fails(Votes(CORRECT), [*said, sent_by(1, sign(Commit(A, 1, 1, 0)))], "below view 2", "first Commit for view 0")

    def test_a_liar_is_not_judged(self) -> None:
        feed(
            Votes(CORRECT), [sent_by(source, sign(Prepare(digest, 3, 1, 0))) for digest in (A, B) for source in (3, 0)]
        )

    def test_a_correct_replica_that_is_accused(self) -> None:
        first, second = sign(Commit(A, 1, 1, 0)), sign(Commit(B, 1, 1, 0))
        liars = sign(Commit(A, 3, 1, 0)), sign(Commit(B, 3, 1, 0))

        feed(Votes(CORRECT), [Accused(0, 0, *liars), Accused(0, 3, first, second)])
        fails(Votes(CORRECT), [Accused(0, 0, first, second)], "correct replica 1")


class TestVerifier:
    @pytest.mark.parametrize("n", [*range(4, 32), 100])
    def test_its_quorum_is_the_nodes(self, n: int) -> None:
        keys = [bytes([number]) * 32 for number in range(n)]
        parameters = replace(make_parameters(), replicas=tuple(keys), window=1)

        verifier = Verifier(CHAIN_ID, keys)

        assert (verifier.quorum, verifier.faulty_max) == (parameters.quorum, parameters.f)

    @pytest.mark.parametrize(
        ("certificate", "found"),
        [
            (make_certificate(1, A, (0, 1)), "3 of 4 needed"),
            (make_certificate(1, A, (0, 1, 1)), "signers [0, 1, 1]"),
            (make_certificate(1, A, (0, 1, 7)), "signers [0, 1, 7]"),
            (replace(make_certificate(1, A), digest=B), "no signature of replica 0"),
            (replace(make_certificate(1, A), seq=2), "no signature of replica 0"),
        ],
    )
    def test_certificates_that_prove_nothing(self, certificate: Certificate, found: str) -> None:
        with pytest.raises(ProofInvalid) as caught:
            Verifier(CHAIN_ID, PUBLIC).verify_certificate(certificate)

        assert found in str(caught.value)

    def test_a_certificate_is_one_of_its_chain(self) -> None:
        with pytest.raises(ProofInvalid):
            Verifier(b"another chain", PUBLIC).verify_certificate(make_certificate(1, A))


class TestCertificates:
    def refuses(self, *messages: Message, found: str, batch: bytes | None = None) -> None:
        for message in messages:
            checker = Certificates(CHAIN_ID, PUBLIC, CORRECT)
            fails(checker, [sent_by(message.replica, sign(message), batch)], "can prove", found)

    def test_a_certificate_that_a_replica_takes_or_sends(self) -> None:
        weak = make_certificate(1, A, (0, 1))
        status = Status(0, True, 1, (), 1, weak, (), 0, ())

        feed(Certificates(CHAIN_ID, PUBLIC, CORRECT), [Certified(0, 1, make_certificate(1, A)), Certified(0, 3, weak)])
        fails(Certificates(CHAIN_ID, PUBLIC, CORRECT), [Certified(0, 1, weak)], "a valid certificate", "3 of 4 needed")
        self.refuses(status, ViewChange((), 1, weak, 1), found="3 of 4 needed")

    def test_a_message_that_its_sender_did_not_sign(self) -> None:
        signed = sign(Prepare(A, 1, 1, 0))
        forged = Signed(signed.message, bytes(64), signed.encoded)
        other = Signed(Prepare(B, 1, 1, 0), signed.signature, signed.encoded)

        fails(Certificates(CHAIN_ID, PUBLIC, CORRECT), [sent_by(1, forged)], "can prove", "no prepare signature")
        fails(Certificates(CHAIN_ID, PUBLIC, CORRECT), [sent_by(1, other)], "can prove", "another one")

    def test_who_may_say_what(self) -> None:
        self.refuses(Prepare(A, 0, 1, 0), found="a PREPARE of the primary")
        self.refuses(PrePrepare(A, 1, 1, 0), found="the proposal of a backup", batch=b"a")
        self.refuses(PrePrepare(A, 0, 1, 0), found="another batch", batch=b"b")

    def test_proofs_inside_a_view_change(self) -> None:
        good = make_proof(0, 1, b"a")
        doubled = replace(good, prepares=(good.prepares[0],) * 2)
        by_primary = replace(good, prepares=(Vote(0, sign(Prepare(A, 0, 1, 0)).signature), good.prepares[0]))

        feed(Certificates(CHAIN_ID, PUBLIC, CORRECT), [sent_by(1, sign(ViewChange((good,), 1, None, 1)))])
        self.refuses(ViewChange((make_proof(0, 1, b"a", count=1),), 1, None, 1), found="3 of 4 needed")
        self.refuses(ViewChange((doubled,), 1, None, 1), ViewChange((by_primary,), 1, None, 1), found="signers")
        self.refuses(ViewChange((replace(good, digest=B),), 1, None, 1), found="no pre-prepare signature")
        self.refuses(ViewChange((good, good), 1, None, 1), found="above the stable checkpoint 0")
        self.refuses(ViewChange((good,), 1, make_certificate(1, A), 1), found="above the stable checkpoint 1")
        self.refuses(ViewChange((make_proof(1, 1, b"a"),), 1, None, 1), found="prepared in view 1")

    def test_a_new_view_proposes_what_follows_from_its_view_changes(self) -> None:
        left = [
            ViewChange((), 0, make_certificate(1, A), 2),
            ViewChange((make_proof(0, 2, b"b"), make_proof(0, 4, b"a")), 1, make_certificate(1, A), 2),
            ViewChange((make_proof(0, 1, b"a"), make_proof(1, 4, b"b")), 3, None, 2),
        ]
        follows = [(2, B), (3, NULL_DIGEST), (4, B)]

        feed(
            Certificates(CHAIN_ID, PUBLIC, CORRECT),
            [sent_by(2, sign(make_new_view(*left, proposals=follows, view=2)))],
        )
        for wrong in (follows[:2], [(2, B), (4, B)], [*follows[:2], (4, A)], [(1, A), *follows], [*follows, (5, A)]):
            self.refuses(make_new_view(*left, proposals=wrong, view=2), found="follow")
        self.refuses(make_new_view(*left[:2], proposals=[], view=2), found="3 of 4 needed")
        self.refuses(make_new_view(*left[:2], left[0], proposals=[], view=2), found="signers")
        self.refuses(replace(make_new_view(*left, proposals=follows, view=2), replica=1), found="of a backup")
        self.refuses(make_new_view(*left, proposals=follows, view=6), found="a VIEW-CHANGE to view 2 in 6")


class TestDurability:
    def test_checkpoints_are_for_blocks_that_are_durable(self, world: World) -> None:
        block = make_blocks(world, 1)[0]
        voted = sent_by(0, sign(Checkpoint(block.hash, 0, 1)))
        other = sent_by(0, sign(Checkpoint(A, 0, 1)))

        feed(Durability(CORRECT), [made(0, block), voted, Restarted(0, 0, 2, 1), voted])
        fails(Durability(CORRECT), [voted], "durable height 0", "one for 1")
        fails(Durability(CORRECT), [made(1, block), voted], "durable height 0", "one for 1")
        fails(Durability(CORRECT), [made(0, block), other], "to sign header", A.hex()[:16])

    def test_a_view_change_proves_what_was_committed_to(self) -> None:
        committed: list[Observation] = [sent_by(1, sign(Commit(A, 1, 2, 0))), Restarted(0, 1, 2, 0)]
        proof, later, other = make_proof(0, 2, b"a"), make_proof(1, 2, b"b"), make_proof(0, 2, b"b")

        def leave(view_change: ViewChange) -> list[Observation]:
            return [*committed, sent_by(1, sign(view_change))]

        feed(Durability(CORRECT), leave(ViewChange((proof,), 1, None, 1)))
        feed(Durability(CORRECT), leave(ViewChange((later,), 1, None, 2)))
        feed(Durability(CORRECT), leave(ViewChange((), 1, make_certificate(2, A), 1)))
        fails(Durability(CORRECT), leave(ViewChange((), 1, None, 1)), "to prove place 2", "no proof")
        fails(Durability(CORRECT), leave(ViewChange((), 1, make_certificate(1, A), 1)), "to prove place 2", "no proof")
        fails(Durability(CORRECT), leave(ViewChange((other,), 1, None, 1)), "to prove place 2", "one of view 0")

    def test_a_proof_of_an_older_view_is_not_enough(self) -> None:
        committed = sent_by(1, sign(Commit(A, 1, 2, 2)))
        left = sent_by(1, sign(ViewChange((make_proof(1, 2, b"a"),), 1, None, 3)))

        fails(Durability(CORRECT), [committed, left], "committed to in view 2", "one of view 1")
