"""Shared by the verifiers' tests: one chain of four validator sets, and proofs from each era."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.ledger.changing_sets import ChangingWorld
from tests.verify.bundle_files import Bundles, make_bundles
from tests.verify.chains import SETS, BothVerifiers, make_world, post, prove


@dataclass(frozen=True)
class Proofs:
    """Proofs of posts, one for each era, and of what nobody signed."""

    of_posts: tuple[bytes, ...]
    of_a_beat: bytes
    both: BothVerifiers
    world: ChangingWorld


@pytest.fixture(scope="session")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proofs]:
    world = make_world(tmp_path_factory.mktemp("verify") / "ledger")
    beat = world.execute(beat=True)
    world.chain.write_certificate(beat.header.height, world.certify(beat.header.height))
    events = [post(world)]
    for closed in sorted(SETS):
        while world.chain.validators.era == closed:
            world.beat()
        events.append(post(world, f"era {closed + 1}"))
    yield Proofs(
        tuple(prove(world, event_id) for event_id in events),
        prove(world, beat.receipts[0].event_id),
        BothVerifiers(world.chain.genesis),
        world,
    )
    world.close()


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundles]:
    made = make_bundles(tmp_path_factory.mktemp("bundles") / "ledger")
    yield made
    made.world.close()
