"""What checkers say of chains: a good one passes, and each planted fault fails where it was planted."""

from dataclasses import replace

import pytest

from ledger.primitives import lthash
from ledger.receipts import SKIPPED
from ledger.transition import Executed
from simulations.checkers import get_progress, make_checkers
from simulations.checkers.agreement import Agreement
from simulations.checkers.bounds import Bounds
from simulations.checkers.digests import Digests
from simulations.checkers.durability import Durability
from simulations.checkers.exactly_once import ExactlyOnce
from simulations.checkers.progress import Progress
from simulations.observations import (
    Certified,
    Crashed,
    EnteredView,
    FaultChanged,
    Halted,
    Observation,
    Restarted,
    Sized,
)
from tests.consensus.harness import CHAIN_ID, KEYS, make_certificate
from tests.ledger.world import World
from tests.simulations.observed import CORRECT, fails, feed, made, make_blocks, post


def renamed(executed: Executed, **header: object) -> Executed:
    """The block with another header, hashed as it should be or not."""
    return replace(executed, header=replace(executed.header, **header))  # type: ignore[arg-type]


def test_a_good_run_passes_all_checkers(world: World) -> None:
    blocks = make_blocks(world)
    keys = [key.public for key in KEYS[:4]]
    checkers = make_checkers(world.chain.chain_id, keys, CORRECT)
    observations: list[Observation] = [made(replica, block) for block in blocks for replica in CORRECT]
    observations += [
        Crashed(5, 1, "test"),
        Restarted(6, 1, 2, 3),
        EnteredView(7, 1, 1),
        Sized(8, 1, (("slots", 1, 2),)),
    ]
    get_progress(checkers).expect([blocks[0].receipts[0].event_id], CORRECT, 0)

    for checker in checkers:
        feed(checker, observations)

    assert len({checker.name for checker in checkers}) == len(checkers) == 10


class TestAgreement:
    def test_two_headers_at_one_height(self, world: World) -> None:
        first, second = world.compute(post(world)), world.compute(post(world, "Other.", nonce=1))

        fails(Agreement(CORRECT), [made(0, first), made(1, second)], "as replica 0 has it", "at replica 1")

    def test_a_liar_is_not_judged(self, world: World) -> None:
        first, second = world.compute(post(world)), world.compute(post(world, "Other.", nonce=1))

        feed(Agreement(CORRECT), [made(0, first), made(3, second), Halted(0, 3, "a liar"), Restarted(0, 3, 2, 90)])

    def test_a_height_left_out(self, world: World) -> None:
        first, _, third = make_blocks(world)

        fails(Agreement(CORRECT), [made(0, first), made(0, third)], "height 2 next", "height 3")

    def test_a_hash_that_is_not_the_headers(self, world: World) -> None:
        block = replace(make_blocks(world, 1)[0], hash=bytes(32))

        fails(Agreement(CORRECT), [made(0, block)], "hash its header")

    def test_a_block_on_another_one(self, world: World) -> None:
        first, second = make_blocks(world, 2)

        fails(Agreement(CORRECT), [made(0, first), made(0, renamed(second, previous=bytes(32)))], "on header")

    def test_a_restart_goes_on_from_a_height_it_had(self, world: World) -> None:
        first, second, third = make_blocks(world)
        blocks = [made(0, first), made(0, second)]

        feed(Agreement(CORRECT), [*blocks, Restarted(1, 0, 2, 2), made(0, third)])
        feed(Agreement(CORRECT), [*blocks, Restarted(1, 0, 2, 1), made(0, second)])
        fails(Agreement(CORRECT), [*blocks, Restarted(1, 0, 2, 4)], "at a height it had, 2", "4")
        fails(Agreement(CORRECT), [*blocks, Restarted(1, 0, 2, 1), made(0, third)], "height 2 next", "height 3")

    @pytest.mark.parametrize("certified_first", [True, False])
    def test_a_certificate_for_another_header(self, world: World, certified_first: bool) -> None:
        observations: list[Observation] = [
            made(0, make_blocks(world, 1)[0]),
            Certified(0, 1, make_certificate(1, bytes(32))),
        ]
        ordered = observations[::-1] if certified_first else observations

        fails(Agreement(CORRECT), ordered, "at height 1", "a certificate for")

    def test_two_certificates_for_one_height(self) -> None:
        both = [Certified(0, number, make_certificate(1, bytes([number]) * 32)) for number in (0, 1)]

        fails(Agreement(CORRECT), both, "one certified header", "at replica 1")

    def test_a_correct_replica_that_halts(self) -> None:
        halted = Halted(0, 1, "own header differs")

        fails(Agreement(CORRECT), [halted], "no correct replica to halt", "own header differs")
        feed(Agreement(CORRECT, may_halt=[1]), [halted])


class TestDigests:
    def test_lanes_that_the_header_does_not_commit_to(self, world: World) -> None:
        block = replace(make_blocks(world, 1)[0], lanes=lthash.EMPTY)

        fails(Digests(CORRECT), [made(0, block)], "commit to the state's lanes")

    def test_other_receipts_at_one_height(self, world: World) -> None:
        block = make_blocks(world, 1)[0]
        other = replace(block, receipt_bytes=(*block.receipt_bytes[:-1], b"other"))

        fails(Digests(CORRECT), [made(0, block), made(1, other)], "receipts", "at replica 1")

    def test_other_changes_at_one_height(self, world: World) -> None:
        block = make_blocks(world, 1)[0]
        (key, before, _), *rest = block.changes
        other = replace(block, changes=((key, before, b"flipped"), *rest))

        fails(Digests(CORRECT), [made(0, block), made(1, other)], "changes", "at replica 1")

    def test_another_state_at_one_height(self, world: World) -> None:
        first, second = world.compute(post(world)), world.compute(post(world, "Much longer.", nonce=1))
        assert first.header.state_digest != second.header.state_digest

        fails(Digests(CORRECT), [made(0, first), made(1, second)], "state_digest", "at replica 1")


class TestExactlyOnce:
    def test_an_event_twice(self, world: World) -> None:
        first = make_blocks(world, 1)[0]
        again = renamed(first, height=2)

        fails(ExactlyOnce(world.chain.chain_id, CORRECT), [made(0, first), made(0, again)], "executed once", "height 1")

    def test_an_event_twice_in_one_block(self, world: World) -> None:
        block = world.compute(post(world))
        twice = replace(
            block, receipts=block.receipts * 2, stored=block.stored * 2, nonces=block.nonces * 2
        )  # fmt: skip

        fails(ExactlyOnce(world.chain.chain_id, CORRECT), [made(0, twice)], "executed once", "used before")

    def test_a_nonce_left_out(self, world: World) -> None:
        _, second = make_blocks(world, 2)

        fails(ExactlyOnce(world.chain.chain_id, CORRECT), [made(0, renamed(second, height=1))], "nonce 1 of", "3")

    def test_a_block_that_its_maker_could_not_show(self, world: World) -> None:
        first, second, third = make_blocks(world)
        checker = ExactlyOnce(world.chain.chain_id, CORRECT)

        feed(checker, [made(0, first), Restarted(1, 0, 2, 2), made(0, third), made(1, first), made(1, second)])
        fails(checker, [made(0, renamed(third, height=4))], "executed once", "height 3")

    def test_a_block_that_nobody_shows(self, world: World) -> None:
        block = make_blocks(world, 1)[0]
        above = [made(0, renamed(block, height=height)) for height in range(2, 67)]

        fails(ExactlyOnce(world.chain.chain_id, CORRECT), above, "to show height 1", "65 blocks above")

    def test_a_nonce_used_again(self, world: World) -> None:
        first, second = world.compute(post(world)), world.compute(post(world, "Other.", nonce=1))
        observations = [made(0, first), made(0, renamed(second, height=2))]

        fails(ExactlyOnce(world.chain.chain_id, CORRECT), observations, "executed once", "nonce 1 used before")

    def test_a_signature_of_another_chain_or_none(self, world: World) -> None:
        block = make_blocks(world, 1)[0]
        assert block.stored[0] is not None
        unsigned = replace(block, stored=(replace(block.stored[0], signature=bytes(64)), *block.stored[1:]))

        fails(ExactlyOnce(CHAIN_ID, CORRECT), [made(0, block)], "signed by its key for this chain")
        fails(ExactlyOnce(world.chain.chain_id, CORRECT), [made(0, unsigned)], "signed by its key for this chain")

    def test_a_receipt_of_another_event(self, world: World) -> None:
        block = make_blocks(world, 1)[0]
        other = replace(block, receipts=block.receipts[::-1])

        fails(ExactlyOnce(world.chain.chain_id, CORRECT), [made(0, other)], "the receipt of event")

    def test_another_list_at_another_replica(self, world: World) -> None:
        both, one = world.compute(post(world), post(world)), world.compute(post(world, nonce=1))

        fails(ExactlyOnce(world.chain.chain_id, CORRECT), [made(0, both), made(1, one)], "replica 0", "replica 1")

    def test_what_was_skipped_is_not_counted(self, world: World) -> None:
        first = world.execute(post(world))
        second = world.execute(post(world, "Too early.", nonce=9))
        assert second.receipts[0].outcome == SKIPPED

        feed(ExactlyOnce(world.chain.chain_id, CORRECT), [made(0, first), made(0, second)])


class TestDurability:
    def test_a_block_that_is_gone(self, world: World) -> None:
        blocks = [made(0, block) for block in make_blocks(world, 2)]
        certified = Certified(0, 0, make_certificate(1, blocks[0].executed.hash))

        feed(Durability(CORRECT), [*blocks, certified, Restarted(1, 0, 2, 2)])
        fails(
            Durability(CORRECT), [*blocks, certified, Restarted(1, 0, 2, 1)], "up to 2, certified up to 1", "height 1"
        )


class TestBounds:
    def test_a_queue_above_its_bound(self) -> None:
        bounds = Bounds(CORRECT)

        feed(bounds, [Sized(0, 0, (("slots", 16, 16), ("inputs", 0, 9))), Sized(0, 3, (("slots", 99, 16),))])
        fails(bounds, [Sized(0, 1, (("slots", 3, 16), ("inputs", 10, 9)))], "at most 9 inputs at replica 1", "10")
        assert bounds.highest == {"slots": (16, 16), "inputs": (0, 9)}


class TestProgress:
    def test_it_waits_for_every_core_replica(self, world: World) -> None:
        block = make_blocks(world, 1)[0]
        wanted = [receipt.event_id for receipt in block.receipts]
        progress = Progress(CORRECT, within_ms=100, views_max=1)
        progress.expect(wanted, [0, 1], healed_ms=1_000)

        progress.observe(made(0, block, 1_010))
        assert not progress.is_done
        progress.observe(made(1, block, 1_020))
        assert progress.is_done
        feed(progress, [FaultChanged(9_000, "much later"), EnteredView(9_000, 0, 50)])

    def test_what_was_executed_before_counts(self, world: World) -> None:
        block = make_blocks(world, 1)[0]
        progress = Progress(CORRECT, within_ms=100, views_max=1)
        feed(progress, [made(0, block), made(1, block)])

        progress.expect([block.receipts[0].event_id], [0, 1], healed_ms=1_000)

        assert progress.is_done

    def test_an_event_that_is_late(self, world: World) -> None:
        block = make_blocks(world, 1)[0]
        progress = Progress(CORRECT, within_ms=100, views_max=1)
        progress.expect([block.receipts[0].event_id], [0, 1], healed_ms=1_000)
        late: list[Observation] = [made(0, block, 1_050), FaultChanged(1_101, "time passes")]

        fails(progress, late, "executed at 1100 ms", "replica 1 at height 0, view 0 lacks 1")

    def test_too_many_views(self) -> None:
        progress = Progress(CORRECT, within_ms=100, views_max=2)
        feed(progress, [EnteredView(0, 0, 5)])
        progress.expect([bytes(32)], [0, 1], healed_ms=0)

        fails(progress, [EnteredView(0, 2, 90), EnteredView(1, 1, 7), EnteredView(2, 1, 8)], "before view 8")

    def test_an_event_that_never_comes(self) -> None:
        progress = Progress(CORRECT, within_ms=100, views_max=2)
        progress.expect([bytes(32)], [0], healed_ms=0)

        fails(progress, [FaultChanged(50, "the run ends")], "when the run ended", "1 not at every core replica")

    def test_a_skipped_event_is_not_executed(self, world: World) -> None:
        skipped = world.execute(post(world, nonce=9))
        progress = Progress(CORRECT, within_ms=100, views_max=2)
        progress.expect([skipped.receipts[0].event_id], [0], healed_ms=0)

        fails(progress, [made(0, skipped, 1)], "when the run ended")
