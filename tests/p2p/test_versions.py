"""Versions of the link's protocol: the highest in common, and none that the network has left behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import PeerFault
from p2p.handshake import Role
from p2p.network import Network
from p2p.versions import Upgrade, Versions
from tests.p2p.attackers import (
    CHAIN,
    LIMITS,
    PATIENCE_S,
    address_of,
    hello,
    key_of,
    linked_rogue,
    rogue,
    running,
    seed,
    wait_linked,
)

ROGUE = 666
UPGRADES = (Upgrade(10, 2), Upgrade(20, 3))
numbers = st.integers(1, 6)


@given(numbers, numbers, numbers, numbers, st.integers(0, 30))
def test_both_ends_choose_the_same_version_or_both_have_none(
    a_low: int, a_more: int, b_low: int, b_more: int, height: int
) -> None:
    a = Versions(UPGRADES, a_low, a_low + a_more)
    b = Versions(UPGRADES, b_low, b_low + b_more)

    def choose(own: Versions, peer: Versions) -> int | None:
        try:
            return own.choose(peer.low, peer.high, height)
        except PeerFault:
            return None

    chosen = choose(a, b)

    assert chosen == choose(b, a)
    allowed = [
        number
        for number in range(1, 20)
        if max(a.lowest_at(height), b.lowest_at(height)) <= number <= min(a.high, b.high)
    ]
    assert chosen == max(allowed, default=None)


@pytest.mark.parametrize(("height", "lowest"), [(0, 1), (9, 1), (10, 2), (19, 2), (20, 3), (1_000, 3)])
def test_a_version_becomes_obligatory_at_its_height(height: int, lowest: int) -> None:
    versions = Versions(UPGRADES, 1, 2)

    assert versions.lowest_at(height) == lowest
    assert versions.is_obsolete_at(height) is (lowest == 3)


@pytest.mark.parametrize(
    ("own", "low", "high", "says"),
    [
        (Versions(UPGRADES, 1, 3), 1, 1, "upgrade it"),
        (Versions((), 2, 3), 1, 1, "upgrade it"),
        (Versions((), 1, 2), 3, 4, "upgrade this node"),
        (Versions(UPGRADES, 1, 1), 1, 5, "upgrade this node"),
        (Versions(UPGRADES, 1, 1), 1, 1, "upgrade this node"),
    ],
)
def test_who_has_to_be_upgraded_is_said_and_costs_no_points(own: Versions, low: int, high: int, says: str) -> None:
    with pytest.raises(PeerFault, match=says) as caught:
        own.choose(low, high, 15)

    assert caught.value.penalty == 0


def test_a_range_that_is_none_is_a_fault() -> None:
    with pytest.raises(PeerFault, match="hello_malformed"):
        Versions().choose(3, 1, 0)


class Head:
    """The height of a node under test."""

    def __init__(self) -> None:
        self.height = 5


@asynccontextmanager
async def node_with_upgrades(head: Head) -> AsyncIterator[Network]:
    network = Network(
        seed(1), CHAIN, Role.OBSERVER, 0, limits=LIMITS, height=lambda: head.height, versions=Versions(UPGRADES, 1, 3)
    )
    async with running(network):
        yield network


async def test_links_speak_the_highest_version_in_common() -> None:
    async with node_with_upgrades(Head()) as target:
        peer = Network(
            seed(2), CHAIN, Role.OBSERVER, 0, peers=(address_of(target),), limits=LIMITS, versions=Versions((), 1, 2)
        )
        async with running(peer):
            await wait_linked(peer, target)

            assert [report.version for report in (*peer.peer_report(), *target.peer_report())] == [2, 2]


async def test_an_old_peer_is_linked_until_the_height_and_refused_from_then_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    head = Head()
    async with node_with_upgrades(head) as target, rogue(target, ROGUE) as peer:
        await peer.open_link()
        await peer.send_frames(hello(ROGUE, version_max=1))
        with trio.fail_after(PATIENCE_S):
            await target.wait_connected(key_of(ROGUE))

        head.height = 9
        target.end_obsolete()
        assert target._links[key_of(ROGUE)].why_ended is None
        head.height = 10
        link = target._links[key_of(ROGUE)]
        target.end_obsolete()

        assert link.why_ended == "from this height on peers speak version 2 or newer, this one 1"
        with trio.fail_after(PATIENCE_S):
            await target.wait_disconnected(key_of(ROGUE))
        async with rogue(target, ROGUE) as again:
            await again.open_link()
            await again.send_frames(hello(ROGUE, version_max=1))
            await again.wait_closed()
        assert "at height 10 peers speak version 2 or newer, this one 1 to 1: upgrade it" in caplog.text
        assert target._table.score(key_of(ROGUE)) == 0
        async with rogue(target, ROGUE) as upgraded:
            await linked_rogue(upgraded, target, ROGUE)
