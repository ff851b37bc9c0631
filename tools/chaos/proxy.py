"""TCP between the nodes, by way of us: each ordered pair has a port where what passes is delayed, held or cut.

A stream can't lose bytes, so a lost packet is what TCP makes of it: that chunk and all behind it come later.  Runs on
an asyncio loop of a thread of its own; the harness sets plain attributes from another thread.
"""

import asyncio
import contextlib
import random
import socket
import threading
from dataclasses import dataclass

CHUNK_BYTES = 64 * 1024
CHUNKS_WAITING_MAX = 64
HELD_POLL_S = 0.02
RETRANSMIT_S = 0.25


@dataclass(slots=True)
class Direction:
    """What happens to bytes from one node to another."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    held: bool = False

    def heal(self) -> None:
        self.delay_s = self.jitter_s = self.loss = 0.0
        self.held = False


class Proxies:
    """All ordered pairs of `count` nodes.  `port(i, j)` is where node i reaches node j."""

    def __init__(self, count: int, first_port: int, node_ports: list[int], seed: int) -> None:
        self.directions = {(i, j): Direction() for i in range(count) for j in range(count) if i != j}
        self.cut: set[frozenset[int]] = set()
        self._count = count
        self._first_port = first_port
        self._node_ports = node_ports
        self._random = random.Random(seed)
        self._open: dict[frozenset[int], set[asyncio.StreamWriter]] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="proxies", daemon=True)

    def port(self, i: int, j: int) -> int:
        return self._first_port + i * self._count + j

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the proxies did not start; are the ports taken?")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def reset(self, pair: frozenset[int]) -> None:
        """End the connections of a pair at once, as a router that forgets them would."""
        self._loop.call_soon_threadsafe(self._reset, pair)

    def heal(self) -> None:
        for direction in self.directions.values():
            direction.heal()
        self.cut.clear()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        for i, j in self.directions:
            self._loop.run_until_complete(self._listen(i, j))
        self._ready.set()
        self._loop.run_forever()

    async def _listen(self, i: int, j: int) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(i, j, reader, writer)

        await asyncio.start_server(serve, "127.0.0.1", self.port(i, j))

    def _reset(self, pair: frozenset[int]) -> None:
        for writer in list(self._open.get(pair, ())):
            writer.transport.abort()

    async def _serve(self, i: int, j: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = frozenset((i, j))
        if pair in self.cut:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._node_ports[j])
        except OSError:
            writer.transport.abort()
            return
        writers = self._open.setdefault(pair, set())
        writers.update((writer, back))
        for each in (writer, back):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pumps = [
            asyncio.create_task(self._pump(reader, back, self.directions[i, j])),
            asyncio.create_task(self._pump(there, writer, self.directions[j, i])),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for each in (writer, back):
                each.transport.abort()
            writers.difference_update((writer, back))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_WAITING_MAX)

        async def deliver() -> None:
            while True:
                due, chunk = await waiting.get()
                if (early := due - self._loop.time()) > 0:
                    await asyncio.sleep(early)
                while direction.held:  # noqa: ASYNC110  set from another thread, where no asyncio.Event may be
                    await asyncio.sleep(HELD_POLL_S)
                if not chunk:
                    return
                writer.write(chunk)
                await writer.drain()

        delivery = asyncio.create_task(deliver())
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                delay = direction.delay_s + self._random.random() * direction.jitter_s
                if direction.loss and self._random.random() < direction.loss:
                    delay += RETRANSMIT_S
                await waiting.put((self._loop.time() + delay, chunk))
            await waiting.put((0.0, b""))
            await delivery
        except OSError:
            pass
        finally:
            delivery.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await delivery
