"""Measure a link between two processes: round trip, small frames, large frames.  Run: python tests/p2p/measure_links.py

Not a test: the figures depend on the machine, and docs/networking.md quotes them.
"""

import os
import statistics
import subprocess
import sys
import time

import trio

from p2p.handshake import Role
from p2p.host import PeerAddress
from p2p.network import Network
from p2p.parameters import NetworkLimits
from p2p.wire import FrameKind

CHAIN = b"measure"
SECONDS = 2.0
ROUND_TRIPS = 2_000
LIMITS = NetworkLimits(frames_per_second=10_000_000, frames_burst=10_000_000)
"""Without the rate limit, which would otherwise be what is measured."""


async def serve() -> None:
    """Echo CONSENSUS frames; count the others, and answer when as many have come as a request says."""
    network = Network(bytes([1]) * 32, CHAIN, Role.VALIDATOR, 0, limits=LIMITS)
    received = 0
    counted = trio.Event()

    async def count(public_key: bytes, body: bytes) -> bytes:
        nonlocal received
        while received < int.from_bytes(body, "big"):
            await counted.wait()
        received = 0
        return b""

    async def blob(public_key: bytes, body: bytes) -> bytes:
        return bytes(int.from_bytes(body, "big"))

    network.handle_requests("count", count)
    network.handle_requests("blob", blob)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        print(network.listen_port, network.public_key.hex(), flush=True)
        async for inbound in network.inbound:
            if inbound.kind is FrameKind.CONSENSUS:
                network.send(inbound.public_key, FrameKind.CONSENSUS, inbound.body)
            else:
                received += 1
                counted.set()
                counted = trio.Event()


async def round_trips(network: Network, peer: bytes) -> list[float]:
    body = os.urandom(200)
    times: list[float] = []
    for _ in range(ROUND_TRIPS):
        before = time.perf_counter()
        assert network.send(peer, FrameKind.CONSENSUS, body)
        await network.inbound.receive()
        times.append(time.perf_counter() - before)
    return sorted(times)


async def throughput(network: Network, peer: bytes, size: int) -> float:
    """Return frames a second, from the first frame sent to the last one that the other side has taken."""
    body = os.urandom(size)
    sent, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        if network.send(peer, FrameKind.SUBMISSION, body):
            sent += 1
            if sent % 256 == 0:
                await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(0.001)
    await network.request(peer, "count", sent.to_bytes(8, "big"), 30)
    return sent / (time.perf_counter() - start)


async def measure(port: int, peer: bytes) -> None:
    address = PeerAddress(peer, "127.0.0.1", port)
    network = Network(bytes([2]) * 32, CHAIN, Role.OBSERVER, 0, peers=(address,), limits=LIMITS)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        await network.wait_connected(peer)
        times = await round_trips(network, peer)
        p50, p99 = times[len(times) // 2] * 1e3, times[-len(times) // 100] * 1e3
        print(f"round trip of 200 B: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
        for size in (200, 2_000, 100_000):
            rates = [await throughput(network, peer, size) for _ in range(3)]
            rate = statistics.median(rates)
            print(f"{size} B frames: {rate:,.0f} frames/s, {rate * size / 1e6:.1f} MB/s")
        before = time.perf_counter()
        answer = await network.request(peer, "blob", (16_000_000).to_bytes(8, "big"), 30)
        print(f"a response of 16 MB: {len(answer) / (time.perf_counter() - before) / 1e6:.0f} MB/s")
        nursery.cancel_scope.cancel()


def main() -> None:
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port, key = server.stdout.readline().split()
        trio.run(measure, int(port), bytes.fromhex(key))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        trio.run(serve)
    else:
        main()
