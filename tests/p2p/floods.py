"""What a crowd of hostile peers does to one node, at every protocol that it speaks: malformed, half-open, and too much.

Each attack is one connection.  `flood` opens all of them, many at a time, from many addresses of this machine, so that
the limits of a single address alone would not help the node.
"""

import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from libp2p.exceptions import BaseLibp2pError

from ledger.primitives.records import encode_record
from node.block_fetch import BlockRange
from p2p.wire import FrameKind, encode_frames
from tests.p2p.attackers import DATA, PING, SYN, WINDOW_UPDATE, Rogue, hello, multistream_line, rogue, tcp_to

HELD_S = 2.0
"""How long an attacker stays when nobody closes its connection."""
BURST_S = 1.0
"""How long an attacker pours out what it has."""
MULTISTREAM = multistream_line("/multistream/1.0.0")
NOISE = MULTISTREAM + multistream_line("/noise")

HUNG_UP = (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.TooSlowError)
"""What an attacker sees when the node ends its connection: that is what it should do."""

RawAttack = bytes
KeyedAttack = Callable[[Rogue, int, bytes], Awaitable[None]]
"""(connection with a proved key, its number, chain id)"""


@dataclass(frozen=True, slots=True)
class Victim:
    """The node that is attacked."""

    public_key: bytes
    listen_port: int
    chain_id: bytes


RAW: tuple[tuple[str, RawAttack], ...] = (
    ("tcp half-open", b""),
    ("tcp garbage", b"\xff" * 4_096),
    ("tcp http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("multistream half a line", MULTISTREAM[:7]),
    ("multistream endless line", MULTISTREAM + b"\xff\xff\xff\xff\x7f" + bytes(4_096)),
    ("multistream plaintext", MULTISTREAM + multistream_line("/plaintext/2.0.0")),
    ("noise half-open", NOISE),
    ("noise half a message", NOISE + b"\x00\x20" + bytes(16)),
    ("noise garbage", NOISE + b"\x00\x20" + b"\xff" * 32),
    ("noise largest message", NOISE + b"\xff\xff" + bytes(65_535)),
)


async def yamux_malformed(peer: Rogue, number: int, chain_id: bytes) -> None:
    await peer.secured.write(struct.pack("!BBHII", 7, 9, 0, 1, 0))


async def yamux_overrun(peer: Rogue, number: int, chain_id: bytes) -> None:
    await peer.write_yamux(WINDOW_UPDATE, SYN, 1, 0)
    for _ in range(6):
        await peer.write_yamux(DATA, 0, 1, 50_000, bytes(50_000))


async def yamux_streams(peer: Rogue, number: int, chain_id: bytes) -> None:
    """Streams without end, none of which says a word."""
    for stream in range(2_000):
        await peer.write_yamux(WINDOW_UPDATE, SYN, 2 * stream + 1, 0)


async def yamux_pings(peer: Rogue, number: int, chain_id: bytes) -> None:
    while True:
        await peer.secured.write(struct.pack("!BBHII", 0, PING, SYN, 0, 1) * 5_000)


async def identify_flood(peer: Rogue, number: int, chain_id: bytes) -> None:
    for stream in range(500):
        await peer.open_protocol("/ipfs/id/1.0.0", 2 * stream + 1)


async def ping_flood(peer: Rogue, number: int, chain_id: bytes) -> None:
    for stream in range(64):
        await peer.open_protocol("/ipfs/ping/1.0.0", 2 * stream + 1)
        await peer.write_stream(bytes(60_000), 2 * stream + 1)


async def streams_of_garbage(peer: Rogue, number: int, chain_id: bytes) -> None:
    for stream in range(500):
        await peer.write_yamux(WINDOW_UPDATE, SYN, 2 * stream + 1, 0)
        await peer.write_stream(b"\xff" * 200, 2 * stream + 1)


async def link_without_hello(peer: Rogue, number: int, chain_id: bytes) -> None:
    await peer.open_link()
    await peer.write_stream(b"\x00\x00")


async def hello_malformed(peer: Rogue, number: int, chain_id: bytes) -> None:
    await peer.open_link()
    await peer.send_frames(b"\x00garbage")


async def hello_of_another_chain(peer: Rogue, number: int, chain_id: bytes) -> None:
    await peer.open_link()
    await peer.send_frames(hello(number, chain_id=bytes(32)))


async def frame_oversize(peer: Rogue, number: int, chain_id: bytes) -> None:
    await peer.open_link()
    await peer.send_frames(hello(number, chain_id=chain_id))
    await peer.write_stream(b"\xff\xff\xff\xff")


async def frame_never_finished(peer: Rogue, number: int, chain_id: bytes) -> None:
    await peer.open_link()
    await peer.send_frames(hello(number, chain_id=chain_id))
    await peer.write_stream(struct.pack(">I", 4_000_000) + bytes(200_000))


async def pour_frames(peer: Rogue, number: int, chain_id: bytes, frames: list[bytes]) -> None:
    """Be a peer with a link that sends these frames for ever, as fast as it is given credit."""
    await peer.open_link()
    await peer.send_frames(hello(number, chain_id=chain_id))
    data = encode_frames(frames)
    while True:
        await peer.pour(data, 1)


async def frame_flood(peer: Rogue, number: int, chain_id: bytes) -> None:
    """Heights that nobody has, as small as frames get."""
    await pour_frames(peer, number, chain_id, [bytes((FrameKind.ANNOUNCEMENT,)) + bytes(8)] * 2_000)


async def submission_flood(peer: Rogue, number: int, chain_id: bytes) -> None:
    await pour_frames(peer, number, chain_id, [bytes((FrameKind.SUBMISSION,)) + b"\x90"] * 2_000)


async def vote_flood(peer: Rogue, number: int, chain_id: bytes) -> None:
    await pour_frames(peer, number, chain_id, [bytes((FrameKind.CONSENSUS,)) + bytes(300)] * 100)


async def ping_frame_flood(peer: Rogue, number: int, chain_id: bytes) -> None:
    await pour_frames(peer, number, chain_id, [bytes((FrameKind.PING,)) + bytes(16)] * 2_000)


async def request_flood(peer: Rogue, number: int, chain_id: bytes) -> None:
    """All blocks, again and again; the answers are taken off the socket, but no credit is granted for them."""
    await peer.open_link()
    await peer.send_frames(hello(number, chain_id=chain_id))
    for request in range(100_000):
        body = b"\x06blocks" + encode_record(BlockRange(request % 2, 2**64 - 1))
        await peer.pour(encode_frames([bytes((FrameKind.REQUEST,)) + struct.pack(">Q", request) + body]), 1)


async def question_flood(peer: Rogue, number: int, chain_id: bytes) -> None:
    """The same of `/atlas/blocks/1`, on as many streams as there may be."""
    for stream in range(500):
        body = encode_record(BlockRange(stream % 2, 2**64 - 1))
        await peer.open_protocol("/atlas/blocks/1", 2 * stream + 1)
        await peer.write_stream(struct.pack(">I", len(body)) + body, 2 * stream + 1)


async def question_half_open(peer: Rogue, number: int, chain_id: bytes) -> None:
    for stream in range(64):
        await peer.open_protocol("/atlas/blocks/1", 2 * stream + 1)


KEYED: tuple[KeyedAttack, ...] = (
    yamux_malformed,
    yamux_overrun,
    yamux_streams,
    yamux_pings,
    identify_flood,
    ping_flood,
    streams_of_garbage,
    link_without_hello,
    hello_malformed,
    hello_of_another_chain,
    frame_oversize,
    frame_never_finished,
    frame_flood,
    submission_flood,
    vote_flood,
    ping_frame_flood,
    request_flood,
    question_flood,
    question_half_open,
)


TAKING = (frame_flood, submission_flood, vote_flood, ping_frame_flood, request_flood)
"""Attackers that take what comes off the socket; the others leave it there."""


def address_of_attacker(number: int) -> str:
    """Return one of this machine's own addresses, another for each attacker."""
    return f"127.{20 + number // 65_536}.{number // 256 % 256}.{number % 256}"


async def attack_raw(victim: Victim, number: int, data: bytes) -> None:
    async with tcp_to(victim, address_of_attacker(number)) as stream:
        await stream.send_all(data)
        with trio.move_on_after(HELD_S):
            while await stream.receive_some(65_536):
                pass


async def attack_keyed(victim: Victim, number: int, carry_out: KeyedAttack, reached: list[int]) -> None:
    async with rogue(victim, number, address_of_attacker(number)) as peer:
        reached.append(number)
        async with trio.open_nursery() as nursery:
            if carry_out in TAKING:
                nursery.start_soon(peer.take_forever)
            with trio.move_on_after(BURST_S):
                await carry_out(peer, number, victim.chain_id)
            nursery.cancel_scope.cancel()
        with trio.move_on_after(HELD_S):  # half-open: nothing is read, or only taken
            await peer.wait_closed() if carry_out in TAKING else await trio.sleep(HELD_S)


async def flood(victim: Victim, raw: int, keyed: int, at_once: int) -> Counter[str]:
    """Make so many hostile connections; return how many of each kind were made, and how many proved a key."""
    made: Counter[str] = Counter()
    reached: list[int] = []
    slots = trio.CapacityLimiter(at_once)

    async def one(name: str, attack: Callable[[], Awaitable[None]]) -> None:
        async with slots:
            try:
                await attack()
            except* HUNG_UP:
                made["hung up on"] += 1
            made[name] += 1

    async with trio.open_nursery() as nursery:
        for number in range(raw):
            name, data = RAW[number % len(RAW)]
            nursery.start_soon(one, name, lambda number=number, data=data: attack_raw(victim, number, data))
        for number in range(raw, raw + keyed):
            carry_out = KEYED[number % len(KEYED)]
            nursery.start_soon(
                one,
                carry_out.__name__,
                lambda number=number, carry_out=carry_out: attack_keyed(victim, number, carry_out, reached),
            )
    made["proved a key"] = len(reached)
    return made
