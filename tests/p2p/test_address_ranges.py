"""Ranges of addresses, and what a node allows to one of them."""

import ipaddress
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2p.address_ranges import host_of, is_loopback, is_public, range_of
from p2p.parameters import NetworkLimits
from tests.p2p.attackers import LIMITS, PATIENCE_S, make_network, rogue, running, tcp_to, wait_until

CROWD = ("127.7.0.1", "127.7.0.2", "127.7.200.1", "127.7.255.255")
ELSEWHERE = "127.8.0.1"
"""Addresses of this machine, all of them; the tests count them by range as if they were anybody's."""


@pytest.mark.parametrize(
    ("host", "range_text", "host_text"),
    [
        ("203.0.113.9", "203.0.0.0/16", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.0.0/16", "203.0.113.9"),
        ("2a00:1450:4001:7::1", "2a00:1450::/32", "2a00:1450:4001:7::/64"),
        ("Node.Example", "node.example", "node.example"),
    ],
)
def test_an_address_has_a_range_and_what_counts_as_one_address(host: str, range_text: str, host_text: str) -> None:
    assert (range_of(host), host_of(host)) == (range_text, host_text)


@given(st.ip_addresses())
def test_every_address_lies_in_its_range_and_so_does_what_counts_as_it(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    text = str(address)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None

    assert (mapped or address) in ipaddress.ip_network(range_of(text))
    assert range_of(host_of(text).partition("/")[0]) == range_of(text)


@pytest.mark.parametrize(
    "host", ["10.1.2.3", "127.0.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1", "::1", "fc00::1", "x"]
)
def test_what_not_everybody_may_dial_is_not_public(host: str) -> None:
    assert not is_public(host)
    assert is_loopback(host) is (host in ("127.0.0.1", "::1"))


def test_an_address_of_the_world_is_public() -> None:
    assert is_public("8.8.8.8")
    assert is_public("2a00:1450:4001::1")


async def is_refused(stream: trio.SocketStream) -> bool:
    """Tell whether the node closes the connection soon; what it says before does not matter."""
    with trio.move_on_after(0.3):
        try:
            while await stream.receive_some(1_024):
                pass
        except trio.BrokenResourceError:
            return True
        return True
    return False


@pytest.mark.parametrize(
    "limits",
    [
        replace(LIMITS, inbound_connections_per_range_max=3),
        replace(LIMITS, accepts_burst_per_range=3, accepts_per_second_per_range=1),
    ],
)
async def test_one_range_has_a_share_of_the_connections_and_another_its_own(limits: NetworkLimits) -> None:
    target = make_network(1, limits=replace(limits, range_limits_on_loopback=True, upgrade_timeout_s=30.0))
    async with running(target), AsyncExitStack() as open_ones:
        streams = [await open_ones.enter_async_context(tcp_to(target, host)) for host in (*CROWD, ELSEWHERE)]

        assert [await is_refused(stream) for stream in streams] == [False, False, False, True, False]


async def test_by_default_this_machine_s_own_addresses_are_no_range() -> None:
    limits = replace(LIMITS, inbound_connections_per_range_max=3, strangers_per_range_max=1, upgrade_timeout_s=30.0)
    target = make_network(1, limits=limits)
    async with running(target), AsyncExitStack() as open_ones:
        streams = [await open_ones.enter_async_context(tcp_to(target, host)) for host in CROWD]
        for number in (10, 11):
            await open_ones.enter_async_context(rogue(target, number))

        assert [await is_refused(stream) for stream in streams] == [False] * 4


async def test_the_crowded_range_makes_room_for_handshakes_of_others() -> None:
    limits = replace(LIMITS, range_limits_on_loopback=True, handshakes_max=4, upgrade_timeout_s=30.0)
    target = make_network(1, limits=limits)
    async with running(target), AsyncExitStack() as open_ones:
        # Two of one address elsewhere are fewer than three or four single ones of one range.
        others = [await open_ones.enter_async_context(tcp_to(target, ELSEWHERE)) for _ in range(2)]
        crowd = [await open_ones.enter_async_context(tcp_to(target, host)) for host in CROWD]
        await wait_until(lambda: len(target._host.table.connections) == 4)

        assert [await is_refused(stream) for stream in others] == [False, False]
        assert [await is_refused(stream) for stream in crowd].count(True) == 2


async def test_many_keys_of_one_range_do_not_take_all_places_for_strangers() -> None:
    limits = replace(LIMITS, range_limits_on_loopback=True, strangers_max=4, strangers_per_range_max=2)
    target = make_network(1, limits=limits)
    async with running(target), AsyncExitStack() as open_ones:
        for number in (10, 11):
            await open_ones.enter_async_context(rogue(target, number, local_address=CROWD[number - 10]))
        with pytest.raises(Exception, match="connection"):
            await open_ones.enter_async_context(rogue(target, 12, local_address=CROWD[2]))

        with trio.fail_after(PATIENCE_S):
            await open_ones.enter_async_context(rogue(target, 13, local_address=ELSEWHERE))
