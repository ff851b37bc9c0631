"""Observations by hand: real blocks of a small chain, messages that real keys signed, and clusters that are watched."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from consensus.messages import AnySigned
from ledger.events import SignedEvent
from ledger.transition import Executed
from simulations.checkers import Checker
from simulations.observations import BlockMade, Certified, CheckFailed, Observation, Restarted, Sent
from social.posts import PostPublished
from tests.consensus.harness import Cluster
from tests.ledger.world import World

CORRECT = (0, 1, 2)
"""Of the four replicas of most tests here; the fourth may lie."""


def post(world: World, text: str = "Hello.", **how: Any) -> SignedEvent:
    return world.sign(world.ada, PostPublished, text=text, tags=(), **how)


def make_blocks(world: World, count: int = 3) -> list[Executed]:
    """Blocks with two posts each."""
    return [world.execute(post(world), post(world, "And again.")) for _ in range(count)]


def made(replica: int, executed: Executed, at_ms: int = 0) -> BlockMade:
    return BlockMade(at_ms, replica, executed, False)


def sent_by(source: int, signed: AnySigned, batch: bytes | None = None, to: int = 3) -> Sent:
    return Sent(0, source, to, signed, batch)


def feed(checker: Checker, observations: Iterable[Observation]) -> None:
    for observation in observations:
        checker.observe(observation)
    checker.finish()


def fails(checker: Checker, observations: Iterable[Observation], expected: str, found: str = "") -> None:
    """The last observation, or the end, breaks the rule; whatever comes before does not."""
    *before, last = observations
    for observation in before:
        checker.observe(observation)
    with pytest.raises(CheckFailed) as caught:
        feed(checker, [last])
    assert expected in caught.value.expected
    assert found in caught.value.found
    assert caught.value.checker == checker.name


class Watched:
    """A cluster of the consensus tests, shown as observations: messages, blocks, certificates and restarts."""

    def __init__(self, cluster: Cluster, checkers: Iterable[Checker], block: Executed) -> None:
        self.cluster = cluster
        self.count = 0
        self._checkers = list(checkers)
        self._block = block
        self._shown = [0] * len(cluster.nodes)
        self._certified = [0] * len(cluster.nodes)
        cluster.intercept = self._on_message

    def show(self, observation: Observation) -> None:
        self.count += 1
        for checker in self._checkers:
            checker.observe(observation)

    def restart(self, number: int) -> None:
        self._show_blocks(number)
        self.show(Restarted(self.cluster.now_ms, number, self.cluster.nodes[number].life, self._shown[number]))
        self.cluster.restart(number)

    def _on_message(
        self, source: int, to: int, signed: AnySigned, batch: bytes | None
    ) -> list[tuple[AnySigned, bytes | None]]:
        self._show_blocks(source)
        self.show(Sent(self.cluster.now_ms, source, to, signed, batch))
        return [(signed, batch)]

    def _show_blocks(self, number: int) -> None:
        """The cluster's headers are made up, so only their place and hash are right."""
        node = self.cluster.nodes[number]
        while self._shown[number] < node.executed:
            self._shown[number] += 1
            height = self._shown[number]
            header = replace(self._block.header, height=height, previous=node.headers[height - 1])
            self.show(made(number, replace(self._block, header=header, hash=node.headers[height])))
        for seq in sorted(node.certificates):
            if self._certified[number] < seq <= self._shown[number]:
                self._certified[number] = seq
                self.show(Certified(self.cluster.now_ms, number, node.certificates[seq]))
