"""Checking what authors signed in another process, beside the one that executes: texts and signatures of whole ranges.

The process gets blocks as a peer sent them, and answers which of their events are not valid by themselves, whatever the
state.  It knows no secret, opens no file and no socket, and ends with its parent, whose pipe it reads.
"""

import gc
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, BinaryIO

import trio

from ledger.block import decode_header
from ledger.events import EventRefused, check_event
from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import U64, Length, decode_record, encode_record
from ledger.registry import Registry
from node.block_fetch import Blocks
from node.modules import make_registry

FRAME_BYTES_MAX = 64 * 1024 * 1024
REFUSED_MAX = 1_000_000
LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """An event of a block that can never be executed."""

    height: U64
    place: U64


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer for one range."""

    refused: Annotated[tuple[RefusedEvent, ...], Length(0, REFUSED_MAX)]


class CheckerGone(RuntimeError):
    """The process ended, or answered what it never would: check here instead."""


def list_refused(registry: Registry, chain_id: bytes, answer: bytes) -> Checked:
    """Check every event of an encoded range of blocks, signatures and texts.  Raises EncodingError."""
    refused: list[RefusedEvent] = []
    for block in decode_record(Blocks, answer).blocks:
        height = decode_header(block.header).height
        for place, signed in enumerate(block.items):
            try:
                check_event(registry, chain_id, signed, payload_required=False)
            except EventRefused:
                refused.append(RefusedEvent(height, place))
    return Checked(tuple(refused))


class EventChecker:
    """The parent's side.  Starts its process when it is first asked, and ends it with `aclose`."""

    def __init__(self, chain_id: bytes) -> None:
        self._chain_id = chain_id
        self.process: trio.Process | None = None
        """None while nothing is to be checked."""
        self._turn = trio.Lock()

    async def check(self, answer: bytes) -> frozenset[tuple[int, int]]:
        """Return (height, place) of the events in an encoded range that are not valid.  Raises CheckerGone."""
        async with self._turn:
            process = self.process or await self._start()
            try:
                found = decode_record(Checked, await _exchange(process, answer))
            except (trio.BrokenResourceError, trio.ClosedResourceError, EncodingError) as error:
                await self.aclose()
                raise CheckerGone(f"the process that checks events ended: {error}") from error
            except BaseException:  # cancelled in the middle of a frame: what comes next would be another range's answer
                await self.aclose()
                raise
        return frozenset((each.height, each.place) for each in found.refused)

    async def aclose(self) -> None:
        """End the process, if it runs."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    async def _start(self) -> trio.Process:
        command = [sys.executable, "-m", "node.event_checks"]
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process = process
        assert process.stdin is not None
        await process.stdin.send_all(self._chain_id)
        return process


async def _exchange(process: trio.Process, frame: bytes) -> bytes:
    """Send one frame, and return the one that comes back.  Raises trio.BrokenResourceError at the end of the pipe."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.send_all(len(frame).to_bytes(LENGTH_BYTES, "big") + frame)
    size = int.from_bytes(await _receive(process.stdout, LENGTH_BYTES), "big")
    if size > FRAME_BYTES_MAX:
        raise trio.BrokenResourceError(f"expected at most {FRAME_BYTES_MAX} bytes, got {size}")
    return await _receive(process.stdout, size)


async def _receive(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        if not piece:
            raise trio.BrokenResourceError("the pipe ended")
        data += piece
    return bytes(data)


def serve(source: BinaryIO, sink: BinaryIO, registry: Registry) -> None:
    """Answer frames until the parent closes the pipe."""
    chain_id = source.read(32)
    while len(length := source.read(LENGTH_BYTES)) == LENGTH_BYTES:
        answer = source.read(int.from_bytes(length, "big"))
        try:
            found = encode_record(list_refused(registry, chain_id, answer))
        except EncodingError:  # the parent finds that out by itself, and knows whom to blame
            found = encode_record(Checked(()))
        sink.write(len(found).to_bytes(LENGTH_BYTES, "big") + found)
        sink.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    gc.set_threshold(50_000, 20, 50)
    serve(sys.stdin.buffer, sys.stdout.buffer, make_registry())
