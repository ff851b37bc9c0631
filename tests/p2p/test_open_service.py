"""Questions of programs that are no nodes: answered one a stream, and bounded whatever they do."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from p2p.errors import PeerFault
from p2p.network import Network
from tests.p2p.attackers import (
    FIN,
    LIMITS,
    PATIENCE_S,
    WINDOW_UPDATE,
    Rogue,
    assert_serves,
    key_of,
    make_network,
    multistream_line,
    rogue,
    running,
)

ROGUE = 666
PROTOCOL = "/test/echo/1"
ACCEPTED = multistream_line("/multistream/1.0.0") + multistream_line(PROTOCOL)


async def echo(public_key: bytes, question: bytes) -> bytes:
    if question == b"fault":
        raise PeerFault("bad_question", 7, "expected anything else")
    if question == b"bug":
        raise RuntimeError("secret detail")
    if question.startswith(b"many "):
        return bytes(int(question[5:]))
    return question


@asynccontextmanager
async def asked(**changes: float) -> AsyncIterator[tuple[Network, Rogue]]:
    """A node with the service, and a stranger; afterwards the node serves an honest peer."""
    target = make_network(1, limits=replace(LIMITS, **changes))  # type: ignore[arg-type]
    target.answer_questions(PROTOCOL, echo)
    async with running(target):
        async with rogue(target, ROGUE) as peer:
            yield target, peer
        await assert_serves(target)


def question(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def answer(body: bytes, *, refused: bool = False) -> bytes:
    return ACCEPTED + struct.pack(">IB", 1 + len(body), refused) + body


async def ask(peer: Rogue, data: bytes, stream_id: int = 1) -> None:
    await peer.open_protocol(PROTOCOL, stream_id)
    await peer.write_stream(data, stream_id)


@pytest.mark.parametrize("body", [b"", b"hello", bytes(range(256)) * 4])
async def test_a_question_is_answered_and_the_stream_ends(body: bytes) -> None:
    async with asked() as (target, peer):
        await ask(peer, question(body))

        assert await peer.read_streams(1) == {1: answer(body)}
        assert target._table.score(key_of(ROGUE)) == 0


async def test_a_question_may_come_in_pieces() -> None:
    async with asked() as (_, peer):
        await ask(peer, b"")
        for byte in question(b"slowly"):
            await peer.write_stream(bytes((byte,)))

        assert await peer.read_streams(1) == {1: answer(b"slowly")}


async def test_questions_have_a_stream_each_and_many_may_follow() -> None:
    async with asked() as (_, peer):
        for number in range(100):
            await ask(peer, question(b"%d" % number), 2 * number + 1)
            assert await peer.read_streams(1) == {2 * number + 1: answer(b"%d" % number)}
            await peer.write_yamux(WINDOW_UPDATE, FIN, 2 * number + 1, 0)


async def test_a_refusal_has_a_code_and_counts() -> None:
    async with asked() as (target, peer):
        await ask(peer, question(b"fault"))

        assert await peer.read_streams(1) == {1: answer(b"bad_question", refused=True)}
        assert target._table.score(key_of(ROGUE)) > 0


async def test_of_a_bug_of_ours_nothing_is_told() -> None:
    async with asked() as (target, peer):
        await ask(peer, question(b"bug"))

        assert await peer.read_streams(1) == {1: answer(b"failed", refused=True)}
        assert target._table.score(key_of(ROGUE)) == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (struct.pack(">I", 1_025), "question_oversize"),
        (struct.pack(">I", 2**32 - 1), "question_oversize"),
        (question(b"one") + question(b"two"), "question_malformed"),
        (b"\0\0", "question_late"),
        (question(b"cut")[:-1], "question_late"),
    ],
)
async def test_a_malformed_question_resets_the_stream_and_counts(
    data: bytes, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with asked(question_timeout_s=0.2) as (target, peer):
        await ask(peer, data)

        assert await peer.read_streams(1) == {1: ACCEPTED + b"reset"}
        assert code in caplog.text
        assert target._table.score(key_of(ROGUE)) > 0


async def test_one_peer_has_few_questions_open() -> None:
    async with asked(questions_open_max=2, question_timeout_s=PATIENCE_S) as (_, peer):
        for stream_id in (1, 3, 5):
            await ask(peer, b"", stream_id)

        received = await peer.read_streams(1)

        assert [stream for stream in received if received[stream] == answer(b"busy", refused=True)] == [5]


async def test_questions_of_one_peer_are_slowed_to_the_rate() -> None:
    async with asked(questions_per_second=10, questions_burst=1) as (_, peer):
        before = trio.current_time()
        for number in range(5):
            await ask(peer, question(b"?"), 2 * number + 1)
            await peer.read_streams(1)

        assert trio.current_time() - before >= 0.35


async def test_an_answer_for_which_no_credit_comes_is_given_up_and_leaves_its_place() -> None:
    async with asked(answer_timeout_s=0.3, answers_held_max=1, write_deadline_s=60.0) as (target, peer):
        await ask(peer, question(b"many 1000000"))  # far beyond the credit of 256 KiB, and none is granted
        async with rogue(target, ROGUE + 1) as other:
            await ask(other, question(b"hello"))

            assert (await peer.read_streams(1))[1].endswith(b"reset")
            assert await other.read_streams(1) == {1: answer(b"hello")}


async def test_a_peer_that_leaves_the_socket_full_of_its_answer_loses_the_connection() -> None:
    async with asked(answer_timeout_s=0.3, answers_held_max=1, write_deadline_s=60.0) as (target, peer):
        await peer.open_protocol(PROTOCOL)
        await peer.write_yamux(WINDOW_UPDATE, 0, 1, 2**31)
        await peer.write_stream(question(b"many 20000000"))
        async with rogue(target, ROGUE + 1) as other:
            await ask(other, question(b"hello"))

            assert await other.read_streams(1) == {1: answer(b"hello")}
        await peer.wait_closed()
