"""Honest nodes over real sockets: links, frames, requests, reconnecting, duplicates."""

from dataclasses import replace

import pytest
import trio

from p2p.errors import PeerFault, PeerUnreachable, PortInUse
from p2p.handshake import Role
from p2p.host import PeerAddress
from p2p.links import Inbound
from p2p.network import Network, PeerEvent
from p2p.requests import RequestRefused
from p2p.wire import FrameKind
from tests.p2p.attackers import (
    CHAIN,
    LIMITS,
    PATIENCE_S,
    address_of,
    assert_serves,
    drain,
    key_of,
    make_network,
    running,
    seed,
    wait_linked,
    wait_until,
)


async def test_frames_arrive_in_order_with_the_proved_key_of_their_sender() -> None:
    target = make_network(1)
    async with running(target):
        peer = make_network(2, address_of(target))
        async with running(peer):
            await wait_linked(peer, target)
            for number in range(500):
                assert peer.send(target.public_key, FrameKind.CONSENSUS, b"%d" % number)

            received = [await target.inbound.receive() for _ in range(500)]

            expected = [Inbound(peer.public_key, FrameKind.CONSENSUS, b"%d" % number) for number in range(500)]
            assert received == expected


async def test_the_largest_frame_arrives_whole() -> None:
    target = make_network(1)
    async with running(target):
        peer = make_network(2, address_of(target))
        async with running(peer):
            await wait_linked(peer, target)
            body = bytes(range(256)) * (LIMITS.frame_bytes_max // 256 - 1)
            assert peer.send(target.public_key, FrameKind.SUBMISSION, body)
            with trio.fail_after(PATIENCE_S):
                assert (await target.inbound.receive()).body == body
            with pytest.raises(ValueError, match="body below"):
                peer.send(target.public_key, FrameKind.SUBMISSION, bytes(LIMITS.frame_bytes_max))


async def test_a_broadcast_reaches_the_connected_and_counts_them() -> None:
    target = make_network(1)
    async with running(target):
        peers = [make_network(number, address_of(target)) for number in (2, 3)]
        async with running(*peers):
            for peer in peers:
                await wait_linked(peer, target)

            assert target.broadcast(FrameKind.ANNOUNCEMENT, b"head") == 2
            assert target.broadcast(FrameKind.ANNOUNCEMENT, b"head", to=[peers[0].public_key, bytes(32)]) == 1

            assert (await peers[1].inbound.receive()).body == b"head"
            assert target.connected() == tuple(sorted(peer.public_key for peer in peers))
    assert not target.send(peers[0].public_key, FrameKind.ANNOUNCEMENT, b"nobody is there")


async def test_a_request_of_many_chunks_is_answered_and_a_vote_does_not_wait_for_it() -> None:
    target = make_network(1)
    answer = bytes(12_000_000)

    async def blob(public_key: bytes, body: bytes) -> bytes:
        target.send(public_key, FrameKind.CONSENSUS, b"vote after the request")
        return answer

    target.handle_requests("blob", blob)
    async with running(target):
        peer = make_network(2, address_of(target))
        async with running(peer), trio.open_nursery() as nursery:
            await wait_linked(peer, target)
            order: list[str] = []

            async def ask() -> None:
                assert await peer.request(target.public_key, "blob", b"") == answer
                order.append("answer")

            nursery.start_soon(ask)
            await peer.inbound.receive()
            order.append("vote")
    assert order == ["vote", "answer"]


async def test_requests_are_refused_with_a_reason() -> None:
    target = make_network(1, limits=replace(LIMITS, requests_served_max=1))
    release = trio.Event()

    async def slow(public_key: bytes, body: bytes) -> bytes:
        await release.wait()
        return b"done"

    async def broken(public_key: bytes, body: bytes) -> bytes:
        raise RuntimeError("secret detail")

    async def strict(public_key: bytes, body: bytes) -> bytes:
        raise PeerFault("bad_range", 7, "expected from < to")

    for name, handler in {"slow": slow, "broken": broken, "strict": strict}.items():
        target.handle_requests(name, handler)
    async with running(target):
        peer = make_network(2, address_of(target))
        async with running(peer), trio.open_nursery() as nursery:
            await wait_linked(peer, target)
            for kind, code in {"nonsense": "unknown_kind", "broken": "failed", "strict": "bad_range"}.items():
                with pytest.raises(RequestRefused) as refused:
                    await peer.request(target.public_key, kind, b"")
                assert refused.value.code == code
            assert target.peer_report()[0].score > 6

            started = trio.Event()

            async def ask() -> None:
                started.set()
                assert await peer.request(target.public_key, "slow", b"") == b"done"

            nursery.start_soon(ask)
            await started.wait()
            with pytest.raises(RequestRefused, match="busy"):
                await peer.request(target.public_key, "slow", b"")
            release.set()


async def test_a_request_without_answer_times_out_and_is_cancelled_over_there() -> None:
    target = make_network(1)
    cancelled = trio.Event()

    async def never(public_key: bytes, body: bytes) -> bytes:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        return b""

    target.handle_requests("never", never)
    async with running(target):
        peer = make_network(2, address_of(target))
        async with running(peer):
            await wait_linked(peer, target)
            with pytest.raises(PeerUnreachable, match=r"within 0\.05 s"):
                await peer.request(target.public_key, "never", b"", timeout_s=0.05)
            with trio.fail_after(PATIENCE_S):
                await cancelled.wait()
            with pytest.raises(PeerUnreachable, match="not connected"):
                await peer.request(key_of(77), "never", b"")


async def test_a_peer_that_restarts_is_connected_again() -> None:
    events: list[bool] = []
    target = Network(seed(1), CHAIN, Role.VALIDATOR, 0, limits=LIMITS)
    async with running(target):
        port = target.listen_port
        peer = Network(
            seed(2),
            CHAIN,
            Role.OBSERVER,
            0,
            peers=(address_of(target),),
            limits=LIMITS,
            on_peer=lambda event: events.append(event.up),
        )
        async with running(peer):
            await wait_linked(peer, target)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.wait_disconnected, target.public_key)
                target.disconnect(peer.public_key, "test")
            await wait_linked(peer, target)

            await assert_serves(target)
            assert events == [True, False, True]
            assert target.listen_port == port


async def test_a_peer_that_restarts_on_its_port_is_found_again() -> None:
    first = make_network(1)
    async with running(first):
        address = address_of(first)
        peer = make_network(2, address)
        async with trio.open_nursery() as nursery:
            await nursery.start(peer.run)
            await wait_linked(peer, first)
            second = make_network(1, port=address.port)
            with pytest.raises(ExceptionGroup) as taken:
                async with running(second):
                    pass
            assert taken.group_contains(PortInUse, match=f"port {address.port}")
            nursery.cancel_scope.cancel()
    restarted = make_network(1, port=address.port)
    again = make_network(2, address)
    async with running(again, restarted):
        await wait_linked(again, restarted)


async def test_two_nodes_that_dial_each_other_keep_one_link() -> None:
    # Observers both dial.  Each must know the other's port, so the second port is taken from a first run.
    probe = make_network(9)
    async with running(probe):
        port = probe.listen_port
    a = make_network(1, PeerAddress(key_of(2), "127.0.0.1", port))
    async with running(a):
        b = make_network(2, address_of(a), port=port)
        async with running(b), trio.open_nursery() as nursery:
            await wait_linked(a, b)
            nursery.start_soon(drain, a)
            await wait_until(lambda: len(a._host.table.connections) == len(b._host.table.connections) == 1)
            assert (len(a.peer_report()), len(b.peer_report())) == (1, 1)
            assert a.peer_report()[0].dialed != b.peer_report()[0].dialed
            nursery.cancel_scope.cancel()


async def test_the_side_that_should_be_dialed_dials_itself_when_nobody_comes() -> None:
    low, high = sorted((1, 2), key=key_of)
    target = make_network(low, role=Role.VALIDATOR)
    async with running(target):
        limits = replace(LIMITS, dial_anyway_s=0.1)
        peer = make_network(high, address_of(target), role=Role.VALIDATOR, limits=limits)
        async with running(peer):
            await wait_linked(peer, target)


async def test_peers_are_admitted_by_key_and_role() -> None:
    events: list[PeerEvent] = []
    target = Network(
        seed(1),
        CHAIN,
        Role.VALIDATOR,
        0,
        admit=lambda key, role: key == key_of(2) and role is Role.OBSERVER,
        limits=LIMITS,
        height=lambda: 5,
        on_peer=events.append,
    )
    async with running(target):
        stranger = make_network(3, address_of(target))
        pretender = make_network(2, address_of(target), role=Role.GATEWAY)
        async with running(stranger, pretender):
            await wait_until(lambda: target._table.score(key_of(2)))
            assert target.connected() == ()
        welcome = make_network(2, address_of(target))
        async with running(welcome):
            await wait_linked(welcome, target)
            assert welcome.peer_report()[0].height == 5
            assert welcome.peer_report()[0].role is Role.VALIDATOR
    assert [(event.public_key, event.up, event.role) for event in events] == [
        (key_of(2), True, Role.OBSERVER),
        (key_of(2), False, Role.OBSERVER),
    ]


async def test_the_heartbeat_measures_round_trips_and_carries_heights() -> None:
    heights = [3]
    target = Network(seed(1), CHAIN, Role.VALIDATOR, 0, limits=LIMITS, height=lambda: heights[0])
    async with running(target):
        peer = make_network(2, address_of(target))
        async with running(peer):
            await wait_linked(peer, target)
            heights[0] = 4
            await wait_until(lambda: peer.peer_report()[0].height == 4 and peer.peer_report()[0].rtt_s is not None)


async def test_a_node_that_is_behind_is_not_taken_for_dead() -> None:
    target = make_network(1)
    async with running(target):
        peer = make_network(2, address_of(target))
        async with running(peer):
            await wait_linked(peer, target)
            for _ in range(3 * LIMITS.inbound_frames_waiting):
                assert peer.send(target.public_key, FrameKind.SUBMISSION, bytes(100))

            await trio.sleep(2 * LIMITS.heartbeat_deadline_s)  # the time in which it would be dropped

            assert target.connected() == (peer.public_key,)
            assert peer.connected() == (target.public_key,)


async def test_four_validators_that_know_each_other_have_one_connection_for_each_pair() -> None:
    # Ports must be known before anyone starts, as in a real configuration.
    probes = [make_network(number) for number in range(11, 15)]
    async with running(*probes):
        addresses = tuple(
            PeerAddress(key_of(number), "127.0.0.1", probe.listen_port)
            for number, probe in zip(range(1, 5), probes, strict=True)
        )
    validators = [
        make_network(number, *addresses, role=Role.VALIDATOR, port=address.port)
        for number, address in zip(range(1, 5), addresses, strict=True)
    ]
    async with running(*validators):
        for validator in validators:
            for other in validators:
                if other is not validator:
                    await wait_linked(validator, other)

        assert [len(validator._host.table.connections) for validator in validators] == [3, 3, 3, 3]
        for validator in validators:
            assert validator.broadcast(FrameKind.CONSENSUS, validator.public_key) == 3
        for validator in validators:
            with trio.fail_after(PATIENCE_S):
                votes = [await validator.inbound.receive() for _ in range(3)]
            assert {vote.body for vote in votes} == {key_of(number) for number in range(1, 5)} - {validator.public_key}
            assert all(vote.body == vote.public_key for vote in votes)
