"""What hostile peers do to a real node over real sockets; after each attack the node still serves an honest peer."""

import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.peer.id import ID
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from multiaddr import Multiaddr

from p2p.errors import PeerFault, PeerUnreachable
from p2p.network import Network
from p2p.wire import FrameKind, encode_frames
from tests.p2p.attackers import (
    DATA,
    GO_AWAY,
    LIMITS,
    PATIENCE_S,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    Rogue,
    address_of,
    assert_serves,
    drain,
    hello,
    key_of,
    linked_rogue,
    make_network,
    multistream_line,
    rogue,
    running,
    tcp_to,
    wait_linked,
    wait_until,
)

ROGUE = 666


@asynccontextmanager
async def attacked(**changes: float) -> AsyncIterator[Network]:
    """A node to attack; it must serve an honest peer afterwards."""
    target = make_network(1, limits=replace(LIMITS, **changes))  # type: ignore[arg-type]
    async with running(target):
        yield target
        await assert_serves(target)


async def wait_score(target: Network, public_key: bytes) -> None:
    await wait_until(lambda: target._table.score(public_key))


async def read_to_end(stream: trio.SocketStream) -> bytes:
    received = b""
    with trio.fail_after(PATIENCE_S):
        try:
            async for part in stream:
                received += part
        except trio.BrokenResourceError:
            pass
    return received


# -- before the peer has proved a key ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 200,
        b"\x00" * 200,
        b"\x0a\xc3\x28\xc3\x28\xc3\x28\xc3\x28\xc3\n",
        multistream_line("/multistream/1.0.0") + b"\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        multistream_line("/multistream/1.0.0") + multistream_line("/noise") + b"\x00\x00",
        multistream_line("/multistream/1.0.0") + multistream_line("/noise") + b"\xff\xff" + bytes(65_535),
        multistream_line("/multistream/1.0.0")
        + multistream_line("/noise")
        + b"\x00\x20"
        + bytes(32)
        + b"\x00\x40" * 33,
    ],
)
async def test_garbage_before_the_handshake_ends_that_connection(garbage: bytes) -> None:
    async with attacked() as target, tcp_to(target) as stream:
        await stream.send_all(garbage)
        await read_to_end(stream)
        assert target.connected() == ()


@pytest.mark.parametrize("protocol", ["/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0"])
async def test_no_other_security_than_noise_is_spoken(protocol: str) -> None:
    async with attacked() as target, tcp_to(target) as stream:
        await stream.send_all(multistream_line("/multistream/1.0.0") + multistream_line(protocol))
        answers = await read_to_end(stream)
        assert answers == multistream_line("/multistream/1.0.0") + multistream_line("na")


async def test_a_library_host_that_offers_plaintext_cannot_pose_as_another_key() -> None:
    async with attacked() as target:
        key_pair = create_new_key_pair(bytes(31) + b"\x09")
        liar = new_host(
            key_pair=key_pair,
            sec_opt={TProtocol(PLAINTEXT_PROTOCOL_ID): InsecureTransport(key_pair)},
            enable_metrics=False,
        )
        async with liar.run(listen_addrs=[]):
            address = Multiaddr(f"/ip4/127.0.0.1/tcp/{target.listen_port}")
            with pytest.raises(Exception, match="security"), trio.fail_after(PATIENCE_S):
                await liar.get_network().dial_addr(address, ID.from_base58(address_of(target).peer_id))
            await liar.close()
        assert target.connected() == ()


async def test_three_hundred_short_connections_leave_room_for_honest_ones() -> None:
    async with attacked(inbound_connections_max=100) as target:
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(30):

                    async def come_and_go() -> None:
                        async with tcp_to(target) as stream:
                            await stream.send_all(multistream_line("/multistream/1.0.0"))

                    nursery.start_soon(come_and_go)
        for number in range(5):
            async with rogue(target, number + 100):
                pass


async def test_connections_that_ended_give_their_place_back() -> None:
    # The library would keep a slot for each of these until the host stops, and it has 2 * (5 + 5) of them here.
    async with attacked(inbound_connections_max=5, strangers_max=5) as target:
        for number in range(100, 130):
            async with rogue(target, number) as peer:
                await linked_rogue(peer, target, number)
                await peer.write_yamux(GO_AWAY, 0, 0, 0)
                await peer.wait_closed()
        await wait_until(lambda: not target._host.table.connections)


async def test_idle_connections_do_not_keep_honest_ones_out() -> None:
    async with attacked(handshakes_max=20, upgrade_timeout_s=60.0) as target:
        idle = [await trio.open_tcp_stream("127.0.0.1", target.listen_port) for _ in range(60)]
        await assert_serves(target, 2_000)
        await wait_until(lambda: len(target._host.table.connections) <= 20)
        for stream in idle:
            await stream.aclose()


async def test_an_idle_connection_is_closed_after_the_upgrade_timeout() -> None:
    async with attacked(upgrade_timeout_s=1.0) as target, tcp_to(target) as stream:
        with trio.fail_after(PATIENCE_S):
            await read_to_end(stream)


async def test_one_address_has_a_share_of_the_connections() -> None:
    async with attacked(inbound_connections_per_address_max=5) as target:
        streams = [await trio.open_tcp_stream("127.0.0.1", target.listen_port) for _ in range(8)]
        for stream in streams[5:]:
            assert await read_to_end(stream) == b""
        assert len(target._host.table.connections) == 5
        for stream in streams:
            await stream.aclose()
        await wait_until(lambda: not target._host.table.connections)


# -- with a key, against the muxer ---------------------------------------------------------------------------


async def overrun_window(peer: Rogue) -> None:
    # 300 KB where 256 KiB were granted, in one frame: smaller ones might be read, or their stream reset, on the way.
    await peer.write_yamux(DATA, SYN, 1, 300_000)
    for _ in range(6):
        await peer.secured.write(bytes(50_000))


async def announce_a_huge_frame(peer: Rogue) -> None:
    await peer.write_yamux(DATA, SYN, 1, 2**32 - 1)


async def grow_the_window_without_end(peer: Rogue) -> None:
    for _ in range(2):
        await peer.write_yamux(WINDOW_UPDATE, SYN if _ == 0 else 0, 1, 2**32 - 1)


async def open_the_same_stream_twice(peer: Rogue) -> None:
    for _ in range(2):
        await peer.write_yamux(WINDOW_UPDATE, SYN, 1, 0)


async def open_a_stream_of_ours(peer: Rogue) -> None:
    await peer.write_yamux(WINDOW_UPDATE, SYN, 2, 0)


async def speak_another_version(peer: Rogue) -> None:
    await peer.secured.write(struct.pack("!BBHII", 7, 9, 0, 1, 0))


@pytest.mark.parametrize(
    ("attack", "reported"),
    [
        (overrun_window, True),
        (announce_a_huge_frame, True),
        (grow_the_window_without_end, True),
        (open_the_same_stream_twice, True),
        (open_a_stream_of_ours, True),
        (speak_another_version, True),
    ],
)
async def test_breaking_the_muxer_s_rules_ends_the_connection(
    attack: Callable[[Rogue], Awaitable[None]], reported: bool
) -> None:
    async with attacked() as target, rogue(target, ROGUE) as peer:
        await attack(peer)
        await peer.wait_closed()
        assert bool(target._table.score(key_of(ROGUE))) is reported


async def test_a_broken_noise_record_ends_the_connection() -> None:
    async with attacked() as target, rogue(target, ROGUE) as peer:
        await peer.tcp.write(b"\x00\x40" + os.urandom(64))
        await peer.wait_closed()


async def test_streams_of_one_peer_are_limited() -> None:
    async with attacked(streams_max=10) as target, rogue(target, ROGUE) as peer:
        for number in range(50):
            await peer.write_yamux(WINDOW_UPDATE, SYN, 2 * number + 1, 0)
        await peer.write_yamux(PING, SYN, 0, 77)
        resets, pong = 0, False
        with trio.fail_after(PATIENCE_S):
            while not pong:
                _, kind, flags, _, length = struct.unpack("!BBHII", await peer.secured.read(12))
                if kind == DATA:
                    await peer.secured.read(length)
                resets += kind == WINDOW_UPDATE and flags & RST != 0
                pong = kind == PING
        assert resets == 40


async def test_a_flood_of_pings_that_nobody_reads_the_answers_of_ends_the_connection() -> None:
    async with attacked(control_bytes_max=10_000) as target, rogue(target, ROGUE) as peer:
        ping = struct.pack("!BBHII", 0, PING, SYN, 0, 1)

        async def flood() -> None:
            while True:
                await peer.secured.write(ping * 5_000)

        with trio.fail_after(PATIENCE_S), pytest.raises(Exception, match="connection"):
            await flood()


async def test_a_large_frame_in_tiny_records_costs_no_more_than_its_size() -> None:
    async with attacked() as target, rogue(target, ROGUE) as peer:
        await peer.write_yamux(WINDOW_UPDATE, SYN, 1, 0)
        await peer.write_yamux(DATA, 0, 1, 200_000)
        with trio.fail_after(PATIENCE_S):
            for _ in range(4_000):
                await peer.secured.write(bytes(40))


# -- on a stream, before HELLO -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 40,
        b"\x05\xc3\x28\xc3\x28\n",
        multistream_line("/multistream/1.0.0") + b"\xff\xff\xff\xff\x7f" + bytes(5_000),
    ],
)
async def test_garbage_to_multistream_resets_that_stream_and_scores(garbage: bytes) -> None:
    async with attacked() as target, rogue(target, ROGUE) as peer:
        await peer.write_yamux(WINDOW_UPDATE, SYN, 1, 0)
        await peer.write_stream(garbage)
        await wait_score(target, key_of(ROGUE))


async def test_an_unknown_protocol_is_refused_and_another_may_follow() -> None:
    async with attacked() as target, rogue(target, ROGUE) as peer:
        await peer.write_yamux(WINDOW_UPDATE, SYN, 1, 0)
        await peer.write_stream(multistream_line("/multistream/1.0.0") + multistream_line("/atlas/nothing/9"))
        await peer.write_stream(multistream_line("/atlas/link/1"))
        await peer.send_frames(hello(ROGUE))
        with trio.fail_after(PATIENCE_S):
            await target.wait_connected(key_of(ROGUE))


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (encode_frames([hello(ROGUE, chain_id=b"other chain")]), "wrong_chain"),
        (encode_frames([hello(ROGUE, public_key=bytes(32))]), "wrong_key"),
        (encode_frames([b"\x00garbage"]), "hello_malformed"),
        (encode_frames([b"\x01vote before hello"]), "hello_expected"),
        (bytes(4), "frame_empty"),
        (b"\x7f\xff\xff\xff", "frame_oversize"),
        (b"\x00\x00", "hello_late"),
    ],
)
async def test_no_link_without_a_fitting_hello(frames: bytes, code: str, caplog: pytest.LogCaptureFixture) -> None:
    async with attacked() as target, rogue(target, ROGUE) as peer:
        await peer.open_link()
        await peer.write_stream(frames)
        await peer.wait_closed()
        assert target.connected() == ()
        assert code in caplog.text
        assert target._table.score(key_of(ROGUE)) > 0


# -- on a link -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        bytes(4),
        b"\xff\xff\xff\xff",
        encode_frames([b"\xeeunknown kind"]),
        encode_frames([b"\x00hello again"]),
        encode_frames([b"\x06short ping"]),
        encode_frames([b"\x04"]),
        encode_frames([b"\x04" + bytes(8) + b"\xff" + bytes(3)]),
        encode_frames([b"\x05" + bytes(20)]),
        encode_frames([b"\x08"]),
    ],
)
async def test_a_malformed_frame_ends_the_link_and_scores(bad: bytes) -> None:
    async with attacked() as target, rogue(target, ROGUE) as peer:
        await linked_rogue(peer, target, ROGUE)
        await peer.write_stream(bad)
        await peer.wait_closed()
        with trio.fail_after(PATIENCE_S):
            await target.wait_disconnected(key_of(ROGUE))
        assert target._table.score(key_of(ROGUE)) > 0


async def test_a_frame_cut_off_by_the_end_of_the_stream_is_dropped() -> None:
    async with attacked() as target, rogue(target, ROGUE) as peer:
        await linked_rogue(peer, target, ROGUE)
        await peer.write_stream(encode_frames([b"\x01vote"])[:-1])
        await peer.write_yamux(WINDOW_UPDATE, 4, 1, 0)
        with trio.fail_after(PATIENCE_S):
            await target.wait_disconnected(key_of(ROGUE))


async def test_faults_add_up_to_a_ban_at_the_gate() -> None:
    target = make_network(1, limits=replace(LIMITS, ban_score=90))
    async with running(target):
        for _ in range(2):
            async with rogue(target, ROGUE) as peer:
                await linked_rogue(peer, target, ROGUE)
                await peer.write_stream(b"\xff\xff\xff\xff")
                await peer.wait_closed()
        assert target.is_banned(key_of(ROGUE))
        with pytest.raises(Exception, match="connection"):
            async with rogue(target, ROGUE):
                pytest.fail("a banned peer passed the gate")
        await assert_serves(target)


async def test_strangers_are_limited_and_configured_peers_are_not() -> None:
    known = make_network(3)
    async with running(known):
        target = make_network(1, address_of(known), limits=replace(LIMITS, strangers_max=2))
        async with running(target):
            await wait_linked(target, known)
            async with rogue(target, 10), rogue(target, 11):
                with pytest.raises(Exception, match="connection"):
                    async with rogue(target, 12):
                        pytest.fail("a third stranger passed the gate")
            await assert_serves(target)


async def test_one_key_has_few_connections() -> None:
    async with attacked(connections_per_peer_max=1) as target, rogue(target, ROGUE):
        with pytest.raises(Exception, match="connection"):
            async with rogue(target, ROGUE):
                pytest.fail("a second connection passed the gate")


async def test_a_connection_without_a_link_is_closed_after_a_while() -> None:
    async with attacked(linkless_s=0.3) as target, rogue(target, ROGUE) as peer:
        await peer.wait_closed()


async def test_a_handler_that_fails_harms_nobody() -> None:
    async with attacked() as target:

        async def broken(public_key: bytes, body: bytes) -> bytes:
            raise AssertionError("a bug of ours")

        target.handle_requests("broken", broken)
        peer = make_network(2, address_of(target))
        async with running(peer):
            await wait_linked(peer, target)
            for _ in range(3):
                with pytest.raises(PeerUnreachable, match="failed"):
                    await peer.request(target.public_key, "broken", b"")
            assert target.connected() == (peer.public_key,)


async def test_a_liar_s_oversize_response_is_a_fault_and_ends_the_link() -> None:
    liar = make_network(2)

    async def endless(public_key: bytes, body: bytes) -> bytes:
        return bytes(3_000_000)

    liar.handle_requests("blob", endless)
    async with running(liar):
        target = make_network(1, address_of(liar))
        async with running(target):
            await wait_linked(target, liar)
            with pytest.raises(PeerFault, match="response_oversize"):
                await target.request(liar.public_key, "blob", b"", response_bytes_max=1_000_000)
            assert target._table.score(liar.public_key) > 0
            await assert_serves(target)


async def test_a_flood_is_slowed_down_scored_and_starves_nobody() -> None:
    async with attacked(frames_per_second=1_000, frames_burst=2_000) as target:
        flooder = make_network(2, address_of(target))
        honest = make_network(3, address_of(target))
        async with running(flooder, honest):
            await wait_linked(flooder, target)
            await wait_linked(honest, target)
            for _ in range(6_000):
                flooder.send(target.public_key, FrameKind.SUBMISSION, b"flood")
            assert honest.send(target.public_key, FrameKind.CONSENSUS, b"vote")

            before = 0
            with trio.fail_after(PATIENCE_S):
                async for inbound in target.inbound:
                    if inbound.body == b"vote":
                        break
                    before += 1

            assert before < 3_500
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drain, target)
                await wait_score(target, flooder.public_key)
                nursery.cancel_scope.cancel()
            report = {report.public_key: report for report in target.peer_report()}
            assert report[flooder.public_key].throttled_s > 0
            assert report[honest.public_key].throttled_s == 0


async def test_a_flooding_peer_takes_turns_with_the_others_when_the_node_is_slow() -> None:
    async with attacked() as target:
        flooder = make_network(2, address_of(target))
        honest = make_network(3, address_of(target))
        async with running(flooder, honest):
            await wait_linked(flooder, target)
            await wait_linked(honest, target)
            for _ in range(2_000):
                flooder.send(target.public_key, FrameKind.SUBMISSION, b"flood")
            await wait_until(lambda: target.inbound.statistics().tasks_waiting_send >= 1)
            assert honest.send(target.public_key, FrameKind.CONSENSUS, b"vote")
            await wait_until(lambda: target.inbound.statistics().tasks_waiting_send >= 2)

            bodies = [(await target.inbound.receive()).body for _ in range(LIMITS.inbound_frames_waiting + 3)]

            assert b"vote" in bodies


async def test_a_peer_that_never_reads_is_dropped_at_the_write_deadline_and_others_are_not_held_up() -> None:
    async with attacked(heartbeat_deadline_s=60.0) as target, rogue(target, ROGUE) as peer:
        await linked_rogue(peer, target, ROGUE)
        honest = make_network(2, address_of(target))
        async with running(honest):
            await wait_linked(honest, target)
            for _ in range(8):  # far beyond the window of 256 KiB
                target.broadcast(FrameKind.SUBMISSION, bytes(500_000))

            with trio.fail_after(LIMITS.write_deadline_s):
                for _ in range(8):
                    await honest.inbound.receive()
            with trio.fail_after(PATIENCE_S):
                await target.wait_disconnected(key_of(ROGUE))
            assert target.connected() == (honest.public_key,)


async def test_a_peer_that_reads_but_grants_no_credit_is_dropped_at_the_write_deadline() -> None:
    async with attacked(heartbeat_deadline_s=60.0) as target, rogue(target, ROGUE) as peer:
        await linked_rogue(peer, target, ROGUE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.wait_closed)  # which reads all the time
            target.send(key_of(ROGUE), FrameKind.SUBMISSION, bytes(500_000))
            with trio.fail_after(PATIENCE_S):
                await target.wait_disconnected(key_of(ROGUE))


async def test_a_peer_that_grants_credit_but_leaves_the_socket_full_is_dropped_too() -> None:
    async with attacked(heartbeat_deadline_s=60.0) as target, rogue(target, ROGUE) as peer:
        await linked_rogue(peer, target, ROGUE)
        await peer.write_yamux(WINDOW_UPDATE, 0, 1, 2**31)
        for _ in range(30):
            target.send(key_of(ROGUE), FrameKind.SUBMISSION, bytes(500_000))
        with trio.fail_after(PATIENCE_S):
            await target.wait_disconnected(key_of(ROGUE))


async def test_a_full_queue_says_so() -> None:
    limits = replace(LIMITS, queue_frames_max=100)
    target = make_network(1, limits=limits)
    async with running(target), rogue(target, ROGUE) as peer:
        await linked_rogue(peer, target, ROGUE)
        answers = [target.send(key_of(ROGUE), FrameKind.CONSENSUS, bytes(1_000)) for _ in range(150)]
        assert answers[:90] == [True] * 90
        assert answers[-40:] == [False] * 40
        assert target.peer_report()[0].dropped_frames >= 40


async def test_a_frozen_peer_is_noticed_by_its_silence() -> None:
    async with attacked() as target, rogue(target, ROGUE) as peer:
        await linked_rogue(peer, target, ROGUE)  # and from here on it neither reads nor writes
        before = trio.current_time()
        with trio.fail_after(PATIENCE_S):
            await target.wait_disconnected(key_of(ROGUE))
        assert trio.current_time() - before >= LIMITS.heartbeat_deadline_s - LIMITS.heartbeat_interval_s


async def test_a_write_cancelled_half_way_ends_the_connection_instead_of_tearing_it() -> None:
    async with attacked(write_deadline_s=60.0, heartbeat_deadline_s=60.0) as target, rogue(target, ROGUE) as peer:
        await linked_rogue(peer, target, ROGUE)
        await peer.write_yamux(WINDOW_UPDATE, 0, 1, 2**31)
        stream = target._links[key_of(ROGUE)]._stream
        with trio.move_on_after(0.3) as scope:
            while True:
                await stream.write(bytes(60_000))
        assert scope.cancelled_caught
        with trio.fail_after(PATIENCE_S):
            await target.wait_disconnected(key_of(ROGUE))


# -- other implementations -----------------------------------------------------------------------------------


async def test_a_stock_host_can_ping_and_identify_us() -> None:
    async with attacked() as target:
        stock = new_host(key_pair=create_new_key_pair(bytes(31) + b"\x08"), enable_metrics=False)
        async with stock.run(listen_addrs=[]):
            us = ID.from_base58(address_of(target).peer_id)
            address = Multiaddr(f"/ip4/127.0.0.1/tcp/{target.listen_port}")
            with trio.fail_after(PATIENCE_S):
                await stock.get_network().dial_addr(address, us)
                await PingService(stock).ping(us)
                stream = await stock.new_stream(us, [IDENTIFY])
                assert b"/atlas/link/1" in await stream.read()
            await stock.close()
