"""Everything at once, from a seed: loss, duplicates, reordering, partitions, crashes with torn effects; then healing.

While faults last, the harness checks safety after each step; then everything must be executed and proved.
"""

import random

import pytest

from consensus.effects import Effect
from tests.consensus.harness import Cluster, Faults

HEAL_WITHIN_MS = 120_000


def stir(cluster: Cluster, seed: int, rounds: int = 12) -> None:
    """Some rounds of faults, at most f replicas down at once, or all of them."""
    rng = random.Random(seed)
    n, f = cluster.parameters.n, cluster.parameters.f
    for number in range(rounds):
        cluster.submit(*[b"request %d.%d" % (number, each) for each in range(rng.randrange(4))])
        cluster.faults = Faults(rng.choice([0, 0, 5, 30]), rng.choice([0, 20]), rng.choice([5, 50, 400]), 20)
        action = rng.randrange(6)
        if action == 0:
            groups = list(range(n))
            rng.shuffle(groups)
            size = rng.randrange(1, n)
            cluster.partition(groups[:size], groups[size:])
        elif action == 1:
            cluster.cut = {(a, b) for a in range(n) for b in range(n) if a != b and rng.randrange(4) == 0}
        elif action == 2:
            victims = rng.sample(range(n), rng.choice([f, n]))
            for victim in victims:
                if cluster.nodes[victim].up:
                    cluster.crash(victim)
            cluster.run(rng.randrange(300))
        elif action == 3:
            cluster.crash_point = lambda node, effect: rng.randrange(200) == 0
        else:
            cluster.cut = set()
        cluster.run(rng.randrange(100, 1_500))
        cluster.crash_point = None
        for node in cluster.nodes:
            if not node.up:
                cluster.restart(node.number)


@pytest.mark.parametrize("seed", range(40))
def test_four_replicas_survive_everything_and_heal(seed: int) -> None:
    cluster = Cluster(4, seed, window=random.Random(seed).choice([1, 2, 8]))

    stir(cluster, seed)
    cluster.heal()
    cluster.submit(b"the last request")

    cluster.run_until(cluster.is_done, HEAL_WITHIN_MS)


@pytest.mark.parametrize("seed", range(12))
def test_seven_replicas_survive_everything_and_heal(seed: int) -> None:
    cluster = Cluster(7, seed)

    stir(cluster, seed, rounds=8)
    cluster.heal()
    cluster.submit(b"the last request")

    cluster.run_until(cluster.is_done, HEAL_WITHIN_MS)


@pytest.mark.parametrize("n", [5, 6])
def test_numbers_that_are_not_3f_plus_1_are_as_safe(n: int) -> None:
    cluster = Cluster(n, seed=n)

    stir(cluster, n)
    cluster.heal()
    cluster.submit(b"the last request")

    cluster.run_until(cluster.is_done, HEAL_WITHIN_MS)


@pytest.mark.parametrize("seed", range(6))
def test_a_crash_at_any_effect_of_any_replica_is_survived(seed: int) -> None:
    """Each replica in turn dies just before one of its effects, and starts again at once."""
    cluster = Cluster(4, seed)
    count = 0

    def crash_at_every_seventh(node: int, effect: Effect) -> bool:
        nonlocal count
        count += 1
        return count % (7 + seed) == 0

    cluster.crash_point = crash_at_every_seventh
    for number in range(30):
        cluster.submit(b"request %d" % number)
        cluster.run(200)
        for node in cluster.nodes:
            if not node.up:
                cluster.restart(node.number)
    cluster.crash_point = None
    for node in cluster.nodes:
        if not node.up:
            cluster.restart(node.number)

    cluster.run_until(cluster.is_done, HEAL_WITHIN_MS)
