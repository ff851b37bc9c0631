"""Nodes find each other over real sockets: from one address, from the book of an earlier run, and against liars."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from p2p.address_book import AddressBook
from p2p.discovery import ADDRESSES_REQUEST, Discovery, decode_addresses, encode_addresses
from p2p.errors import PeerFault, PeerUnreachable
from p2p.handshake import Role
from p2p.host import PeerAddress
from p2p.libp2p_tcp import OpenTcp
from p2p.network import Network
from p2p.parameters import NetworkLimits
from p2p.versions import Versions
from tests.p2p.attackers import CHAIN, LIMITS, PATIENCE_S, address_of, key_of, make_network, running, seed, wait_until

FAST = replace(
    LIMITS,
    book_retry_s=1,
    discovery_interval_s=0.02,
    verify_interval_s=0.02,
    ask_interval_s=0.2,
    ask_lacking_interval_s=0.2,
    addresses_told_again_s=0.1,
    steady_s=0.3,
)
NOW = 1_800_000_000


class Member:
    """A node with discovery, not running yet."""

    def __init__(
        self,
        number: int,
        *bootstrap: PeerAddress,
        outbound: int = 3,
        path: Path | None = None,
        limits: NetworkLimits = FAST,
        versions: Versions | None = None,
        now: Callable[[], int] = lambda: NOW,
        open_tcp: OpenTcp = trio.open_tcp_stream,
    ) -> None:
        self.network = Network(
            seed(number), CHAIN, Role.OBSERVER, 0, limits=limits, versions=versions, open_tcp=open_tcp
        )
        self.book = AddressBook(self.network.public_key, limits, now, bootstrap=bootstrap)
        self.discovery = Discovery(self.network, limits, self.book, path, outbound)

    @property
    def key(self) -> bytes:
        return self.network.public_key

    def verified(self) -> set[bytes]:
        return {entry.public_key for entry in self.book.entries() if entry.is_verified}


@asynccontextmanager
async def members(*all_of_them: Member) -> AsyncIterator[None]:
    async with running(*[member.network for member in all_of_them]), trio.open_nursery() as nursery:
        for member in all_of_them:
            await nursery.start(member.discovery.run)
        yield
        nursery.cancel_scope.cancel()


async def test_from_one_address_a_newcomer_finds_the_others_and_dials_as_many_as_it_should() -> None:
    hub = Member(1, outbound=0)
    async with members(hub):
        known = address_of(hub.network)
        others = [Member(number, known, outbound=1) for number in (2, 3, 4)]
        async with members(*others):
            await wait_until(lambda: len(hub.network.connected()) == 3)
            newcomer = Member(5, known, outbound=3)
            async with members(newcomer):
                await wait_until(lambda: newcomer.discovery.outbound == 3)

                await wait_until(lambda: len(newcomer.verified()) == 4)
                assert newcomer.verified() == {hub.key, *(other.key for other in others)}
                assert newcomer.discovery.outbound == 3


async def test_a_book_survives_the_restart_and_needs_no_bootstrap_then(tmp_path: Path) -> None:
    path = tmp_path / "peers.book"
    others = [Member(number, outbound=0) for number in (1, 2)]
    async with members(*others):
        first = Member(5, *[address_of(other.network) for other in others], outbound=2, path=path)
        async with members(first):
            await wait_until(lambda: len(first.verified()) == 2)

        again = Member(5, outbound=2, path=path)
        async with members(again):
            await wait_until(lambda: again.discovery.outbound == 2)


async def test_a_damaged_book_is_said_and_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "peers.book"
    path.write_bytes(b"not a book")
    other = Member(1, outbound=0)
    async with members(other):
        member = Member(5, address_of(other.network), outbound=1, path=path)
        async with members(member):
            await wait_until(lambda: member.discovery.outbound == 1)
            await wait_until(lambda: member.verified())
    assert "the address book is begun anew" in caplog.text
    again = Member(5, path=path)
    async with members(again):
        assert len(again.book) == 1


async def test_an_address_where_another_key_answers_is_never_believed_and_forgotten() -> None:
    honest, liar = Member(1, outbound=0), make_network(2)
    absent = key_of(77)

    async def lie(public_key: bytes, body: bytes) -> bytes:
        return encode_addresses([PeerAddress(absent, "127.0.0.1", honest.network.listen_port)])

    liar.handle_requests(ADDRESSES_REQUEST, lie)
    async with members(honest), running(liar):
        seen: list[bool] = []
        # One link is enough, so claims are dialed to verify them alone; and a clock in which seconds pass quickly.
        member = Member(5, address_of(liar), outbound=1, now=lambda: NOW + int(trio.current_time() * 100))
        async with members(member):
            await wait_until(lambda: absent in {entry.public_key for entry in member.book.entries()})

            def is_forgotten() -> bool:
                seen.append(absent in member.verified())
                return absent not in {entry.public_key for entry in member.book.entries()}

            await wait_until(is_forgotten)
        assert not any(seen)
        assert absent not in honest.network.connected()


async def test_an_answer_that_is_none_is_a_fault() -> None:
    liar = make_network(2)

    async def garbage(public_key: bytes, body: bytes) -> bytes:
        return b"\xff" * 100

    liar.handle_requests(ADDRESSES_REQUEST, garbage)
    async with running(liar):
        member = Member(5, address_of(liar))
        async with members(member):
            await wait_until(lambda: member.network._table.score(liar.public_key) > 0)


async def test_a_request_with_a_body_is_a_fault_and_without_one_is_answered() -> None:
    member = Member(1, outbound=0)
    async with members(member):
        peer = make_network(2, address_of(member.network))
        async with running(peer):
            with trio.fail_after(PATIENCE_S):
                await peer.wait_connected(member.key)
            with pytest.raises(PeerUnreachable, match="addresses_malformed"):
                await peer.request(member.key, ADDRESSES_REQUEST, b"all")
            assert member.network._table.score(peer.public_key) > 0
            decode_addresses(await peer.request(member.key, ADDRESSES_REQUEST, b""))


async def test_a_peer_of_the_first_version_is_not_asked() -> None:
    asked: list[bytes] = []
    old = Network(seed(2), CHAIN, Role.OBSERVER, 0, limits=LIMITS, versions=Versions((), 1, 1))
    new = make_network(3)

    async def note(public_key: bytes, body: bytes) -> bytes:
        asked.append(b"old")
        return encode_addresses([])

    async def tell(public_key: bytes, body: bytes) -> bytes:
        asked.append(b"new")
        return encode_addresses([])

    old.handle_requests(ADDRESSES_REQUEST, note)
    new.handle_requests(ADDRESSES_REQUEST, tell)
    async with running(old, new):
        member = Member(5, address_of(old), address_of(new))
        async with members(member):
            await wait_until(lambda: member.discovery.outbound == 2)
            await wait_until(lambda: len(asked) >= 3)
    assert set(asked) == {b"new"}


async def test_a_peer_of_another_chain_is_left_alone_for_a_while() -> None:
    stranger = make_network(2, chain_id=b"another chain")
    dials: list[int] = []

    async def count_dial(host: str, port: int) -> trio.SocketStream:
        dials.append(port)
        return await trio.open_tcp_stream(host, port)

    async with running(stranger):
        member = Member(5, address_of(stranger), outbound=1, open_tcp=count_dial)
        async with members(member):
            await wait_until(lambda: dials)
            with trio.move_on_after(0.5):  # 25 rounds of the dialer, and the book's clock stands still
                await member.network.wait_connected(stranger.public_key)
            assert dials == [stranger.listen_port]
            assert member.discovery.outbound == 0


async def test_an_address_where_nobody_listens_is_left_alone_for_a_while() -> None:
    dials: list[int] = []

    async def count_dial(host: str, port: int) -> trio.SocketStream:
        dials.append(port)
        return await trio.open_tcp_stream(host, port)

    with trio.socket.socket() as nobody:  # bound, so that nobody else takes the port, and not listening
        await nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        member = Member(5, PeerAddress(key_of(9), "127.0.0.1", port), outbound=1, open_tcp=count_dial)
        async with members(member):
            await wait_until(lambda: dials)
            with trio.move_on_after(0.5):
                await member.network.wait_connected(key_of(9))
    assert dials == [port]


async def test_a_link_that_was_dialed_proves_the_address() -> None:
    other = Member(1, outbound=0)
    async with members(other):
        member = Member(5, address_of(other.network), outbound=1, limits=replace(FAST, verify_interval_s=3_600.0))
        async with members(member):
            await wait_until(lambda: member.discovery.outbound == 1)

            assert member.verified() == {other.key}


async def test_who_asks_often_is_told_no_more_than_one_answer_holds() -> None:
    limits = replace(FAST, addresses_told_max=2, addresses_told_again_s=3_600.0, verify_interval_s=3_600.0)
    member = Member(1, outbound=0, limits=limits)
    for number in range(2, 10):
        address = PeerAddress(key_of(number), f"127.0.0.{number}", 4_001)
        assert member.book.claim(address, address.public_key, "127.0.0.1") is None
        member.book.succeeded(address)
    async with members(member):
        peers = [make_network(number, address_of(member.network)) for number in (20, 21)]
        async with running(*peers):
            answers: set[bytes] = set()
            for peer in peers:
                with trio.fail_after(PATIENCE_S):
                    await peer.wait_connected(member.key)
                for _ in range(10):
                    answers.add(await peer.request(member.key, ADDRESSES_REQUEST, b""))

    assert [len(decode_addresses(answer)) for answer in answers] == [2]


@pytest.mark.parametrize("answer", [b"", b"\x90", encode_addresses([])[:-1], bytes(20_000)])
def test_malformed_addresses_are_a_fault(answer: bytes) -> None:
    with pytest.raises(PeerFault, match="addresses_malformed"):
        decode_addresses(answer)


def test_addresses_survive_the_wire() -> None:
    addresses = (PeerAddress(key_of(1), "8.8.8.8", 4_001), PeerAddress(key_of(2), "2a00:1450:4001::1", 1))

    assert decode_addresses(encode_addresses(addresses)) == addresses
