"""The fault harness itself: its draws repeat, and each of its checks can fail."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from ledger.events import SignedEvent
from tools.chaos.checks import check_book, check_logs, check_nonces
from tools.chaos.faults import WEIGHTS, draw_faults
from tools.chaos.load import Line
from tools.chaos.network import ChaosNetwork, Incarnation, InvariantBroken, Node
from tools.chaos.node_process import OFFSET_BYTES, write_offset
from tools.chaos.proxy import Proxies

SIGNED = SignedEvent(b"event", None, bytes(64))


def make_book(*places: int | None) -> dict[str, Line]:
    """Return one account's events, nonces from 1 on, at these log indexes."""
    return {
        f"event{nonce}": Line(f"event{nonce}", 0, nonce, SIGNED, log_index=place)
        for nonce, place in enumerate(places, start=1)
    }


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(0, "validator-0", tmp_path, 1)


def test_a_seed_draws_the_same_faults_again_and_another_seed_others() -> None:
    assert draw_faults(5, 40, 4) == draw_faults(5, 40, 4)
    assert draw_faults(5, 40, 4) != draw_faults(6, 40, 4)


def test_two_hundred_faults_hold_every_kind() -> None:
    assert {fault.kind for fault in draw_faults(1, 200, 4)} == set(WEIGHTS)


def test_a_log_that_holds_what_clients_know_is_accepted(node: Node) -> None:
    book = make_book(4, 7, None)

    check_book(node, book, {"event1": 4, "event2": 7})
    check_nonces(node, book, {"event1": 4, "event2": 7})


def test_an_event_that_was_final_and_is_missing_is_found(node: Node) -> None:
    with pytest.raises(InvariantBroken, match="nothing is lost"):
        check_book(node, make_book(4, 7), {"event1": 4})


def test_an_event_at_another_place_than_told_is_found(node: Node) -> None:
    with pytest.raises(InvariantBroken, match="nothing is lost"):
        check_book(node, make_book(4), {"event1": 5})


def test_an_event_that_nobody_signed_is_found(node: Node) -> None:
    with pytest.raises(InvariantBroken, match="only what was signed"):
        check_book(node, make_book(4), {"event1": 4, "stranger": 5})


def test_a_refused_event_in_the_log_is_found(node: Node) -> None:
    book = make_book(None)
    book["event1"].refused = "event.expired"

    with pytest.raises(InvariantBroken, match="what was refused"):
        check_book(node, book, {"event1": 4})


@pytest.mark.parametrize("found", [{"event1": 4, "event3": 8}, {"event1": 7, "event2": 4}])
def test_a_gap_and_a_wrong_order_of_nonces_are_found(node: Node, found: dict[str, int]) -> None:
    with pytest.raises(InvariantBroken, match="nonces are contiguous"):
        check_nonces(node, make_book(4, 7, 8), found)


@pytest.mark.parametrize("ended_by", ["kill", "stop", "disk full", None])
def test_a_traceback_is_found_in_any_run(node: Node, ended_by: str | None) -> None:
    log = node.folder / "node-001.log"
    log.write_text("fine\nTraceback (most recent call last):\n  File …\n", encoding="utf-8")
    node.incarnations.append(Incarnation(1, log, ended_by))

    with pytest.raises(InvariantBroken, match="logs hold no traceback"):
        check_logs([node], lambda text: None)


def test_a_clock_offset_is_written_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "offset"
    path.write_bytes(bytes(OFFSET_BYTES))

    write_offset(path, -86_400_000)

    assert int.from_bytes(path.read_bytes(), "big", signed=True) == -86_400_000


def test_a_proxy_carries_holds_one_way_and_cuts() -> None:
    async def talk() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                writer.write(data)

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        proxies = Proxies(2, 19_480, [port, port], seed=1)
        proxies.start()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxies.port(0, 1))
            writer.write(b"carried")
            assert await asyncio.wait_for(reader.read(100), 5) == b"carried"

            proxies.directions[1, 0].held = True
            writer.write(b"held")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(100), 0.2)
            proxies.heal()
            assert await asyncio.wait_for(reader.read(100), 5) == b"held"

            pair = frozenset((0, 1))
            proxies.cut.add(pair)
            proxies.reset(pair)
            with contextlib.suppress(ConnectionError):  # an end or an error, as the system pleases, but no bytes
                assert await asyncio.wait_for(reader.read(100), 5) == b""
        finally:
            proxies.stop()
            server.close()

    asyncio.run(talk())


def test_a_network_of_one_folder_has_keys_genesis_and_a_configuration_for_each_node(tmp_path: Path) -> None:
    network = ChaosNetwork(tmp_path, 19_600, 4, 2, seed=1)

    assert network.f == 1
    assert all((node.folder / "node.toml").exists() for node in network.nodes)
    assert all(author.account for author in network.authors)
