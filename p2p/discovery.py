"""Whom a node dials beyond its configuration: the address book at work.

Every peer says in HELLO where it listens, and when asked (version 2, request "addresses") tells a few addresses that it
has verified itself.  The book bounds and judges all that; this service dials from it until the node has enough links
that it chose itself, spread over ranges of addresses, verifies claims by dialing them, and saves the book.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import trio

from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import Between, Bytes32, Length, decode_record, encode_record
from p2p.address_book import ADDRESS_BYTES_MAX, AddressBook
from p2p.address_ranges import range_of
from p2p.book_file import BookDamaged, read_book, write_book
from p2p.errors import PeerFault, PeerUnreachable
from p2p.host import PeerAddress
from p2p.network import Network, PeerEvent
from p2p.parameters import NetworkLimits
from p2p.versions import ADDRESSES_SINCE

logger = logging.getLogger(__name__)

ADDRESSES_REQUEST = "addresses"
ADDRESSES_MAX = 64
"""What a peer may answer; we tell fewer."""
ANSWER_BYTES_MAX = 16 * 1024
SAVE_S = 2.0
"""How long saving may hold up a node that stops."""


@dataclass(frozen=True, slots=True)
class TellingAddress:
    """One address in an answer."""

    host: Annotated[str, Length(1, ADDRESS_BYTES_MAX)]
    port: Annotated[int, Between(1, 65_535)]
    public_key: Bytes32


@dataclass(frozen=True, slots=True)
class Addresses:
    """The answer to a request for addresses, whose body is empty."""

    addresses: Annotated[tuple[TellingAddress, ...], Length(0, ADDRESSES_MAX)]


def encode_addresses(addresses: Iterable[PeerAddress]) -> bytes:
    """Return the answer that tells these addresses."""
    return encode_record(Addresses(tuple(TellingAddress(each.host, each.port, each.public_key) for each in addresses)))


def decode_addresses(answer: bytes) -> tuple[PeerAddress, ...]:
    """Return the addresses that a peer told.  Raises PeerFault."""
    try:
        told = decode_record(Addresses, answer).addresses
    except EncodingError as error:
        raise PeerFault("addresses_malformed", 20, str(error)) from error
    return tuple(PeerAddress(each.public_key, each.host, each.port) for each in told)


class Discovery:
    """Keeps a node in touch.  `run` is its service; it must run beside the network's own."""

    def __init__(
        self,
        network: Network,
        limits: NetworkLimits,
        book: AddressBook,
        path: Path | None,
        outbound: int,
        draw: Callable[[int], int] = random.randrange,
    ) -> None:
        """path: where the book is kept; None keeps it in memory alone.  outbound: how many links to dial at least."""
        self.book = book
        self._network = network
        self._limits = limits
        self._path = path
        self._outbound = outbound
        self._draw = draw
        self._dialing: dict[bytes, PeerAddress] = {}
        self._linked: dict[bytes, PeerEvent] = {}
        self._told: dict[str, tuple[float, bytes]] = {}
        network.watch(self._on_peer)
        network.handle_requests(ADDRESSES_REQUEST, self._answer)

    @property
    def outbound(self) -> int:
        """How many links there are that we dialed."""
        return sum(1 for event in self._linked.values() if event.dialed)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load the book, then dial, verify, ask and save until cancelled; ready when the book is loaded."""
        await self._load()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._verify_forever)
                nursery.start_soon(self._ask_forever)
                nursery.start_soon(self._save_forever)
                task_status.started()
                while True:
                    self._fill(nursery)
                    await trio.sleep(self._limits.discovery_interval_s)
        finally:
            with trio.move_on_after(SAVE_S, shield=True):
                await self._save()

    # -- links ---------------------------------------------------------------------------------------------------------

    def _on_peer(self, event: PeerEvent) -> None:
        if not event.up:
            self._linked.pop(event.public_key, None)
            return
        self._linked[event.public_key] = event
        dialed = self._dialing.pop(event.public_key, None)
        if event.listening is not None:
            refusal = self.book.claim(event.listening, event.public_key, event.host)
            if refusal is not None:
                logger.debug("address of %s not taken: %s", event.listening.peer_id, refusal)
        if dialed is not None and event.dialed:
            self.book.succeeded(dialed)

    def _fill(self, nursery: trio.Nursery) -> None:
        """Begin to dial as many peers as are lacking, a few at a time."""
        while self.outbound + len(self._dialing) < self._outbound:
            if len(self._dialing) >= self._limits.outbound_dials_max:
                return
            dialed = Counter([range_of(event.host) for event in self._linked.values() if event.dialed])
            dialed.update(range_of(address.host) for address in self._dialing.values())
            address = self.book.choose([*self._linked, *self._dialing], dialed)
            if address is None:
                return
            self._dialing[address.public_key] = address
            nursery.start_soon(self._connect, address)

    async def _connect(self, address: PeerAddress) -> None:
        """Dial and serve.  Whoever is not there, agrees on no link or ends it at once is left alone for a while."""
        began = trio.current_time()
        try:
            await self._network.connect(address)
        except PeerUnreachable as error:
            logger.info("%s at %s: %s", address.peer_id, address.host, error)
            self.book.failed(address)
        else:
            if trio.current_time() - began < self._limits.steady_s:
                self.book.failed(address)
        finally:
            self._dialing.pop(address.public_key, None)

    # -- verifying -----------------------------------------------------------------------------------------------------

    async def _verify_forever(self) -> None:
        while True:
            await trio.sleep(self._limits.verify_interval_s)
            address = self.book.choose_to_verify()
            if address is None or address.public_key in self._dialing:
                continue
            try:
                await self._network.probe(address)
            except PeerUnreachable as error:
                logger.debug("%s is not at %s port %d: %s", address.peer_id, address.host, address.port, error)
                self.book.failed(address)
            else:
                self.book.succeeded(address)

    # -- asking and telling --------------------------------------------------------------------------------------------

    async def _ask_forever(self) -> None:
        """Ask one peer after the other: each when it is new, and one at a time later on."""
        asked: set[bytes] = set()
        waited_s = 0.0
        while True:
            await trio.sleep(self._limits.discovery_interval_s)
            waited_s += self._limits.discovery_interval_s
            able = [key for key in sorted(self._linked) if self._linked[key].version >= ADDRESSES_SINCE]
            asked &= set(able)
            fresh = [key for key in able if key not in asked]
            lacking = self.outbound + len(self._dialing) < self._outbound
            pause_s = self._limits.ask_lacking_interval_s if lacking else self._limits.ask_interval_s
            if not fresh and (waited_s < pause_s or not able):
                continue
            chosen = fresh[0] if fresh else able[self._draw(len(able))]
            waited_s = 0.0
            asked.add(chosen)
            await self._ask(self._linked[chosen])

    async def _ask(self, peer: PeerEvent) -> None:
        try:
            answer = await self._network.request(
                peer.public_key, ADDRESSES_REQUEST, b"", response_bytes_max=ANSWER_BYTES_MAX
            )
            for address in decode_addresses(answer):
                self.book.claim(address, peer.public_key, peer.host)
        except PeerUnreachable as error:
            logger.debug("no addresses: %s", error)
        except PeerFault as fault:
            self._network.penalize(peer.public_key, fault)

    async def _answer(self, public_key: bytes, body: bytes) -> bytes:
        """Tell some verified addresses: for a while the same ones to all peers of a range."""
        if body:
            raise PeerFault("addresses_malformed", 5, f"expected an empty request, got {len(body)} bytes")
        asker = self._linked.get(public_key)
        host = "" if asker is None else asker.host
        now = trio.current_time()
        kept = self._told.get(range_of(host))
        if kept is None or now - kept[0] >= self._limits.addresses_told_again_s:
            if len(self._told) >= self._limits.addresses_counted_max:
                self._told.clear()
            sample = self.book.sample(host)
            if len(sample) < self._limits.addresses_told_max:
                return encode_addresses(
                    sample
                )  # all that there are, so there is nothing more to be had by asking again
            kept = self._told[range_of(host)] = (now, encode_addresses(sample))
        return kept[1]

    # -- the file ------------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        if self._path is None:
            return
        try:
            entries = await trio.to_thread.run_sync(read_book, self._path)
        except BookDamaged as error:
            logger.warning("the address book is begun anew: %s", error)
            return
        self.book.restore(entries)

    async def _save_forever(self) -> None:
        while True:
            await trio.sleep(self._limits.book_save_s)
            await self._save()

    async def _save(self) -> None:
        if self._path is None or not self.book.is_changed:
            return
        self.book.is_changed = False
        try:
            await trio.to_thread.run_sync(write_book, self._path, self.book.entries())
        except OSError as error:
            self.book.is_changed = True
            logger.warning("%s: the address book is not saved: %s; free or mend the disk", self._path, error)
