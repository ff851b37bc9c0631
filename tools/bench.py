"""`make bench`: four validators on this machine under load from real posts, beside the limit that Ed25519 alone sets.

Clients are closed loops over HTTP: each submits one event, waits until it is final on the node it talks to, and submits
the next.  Everything shares this machine's cores: validators, clients, and what else runs.  Prints a table and writes
build/bench.json.
"""

import argparse
import asyncio
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from ledger.authoring import Reference, make_event, sign_event
from ledger.events import SignedEvent, check_event
from ledger.genesis import compute_chain_id, decode_genesis_file
from ledger.identity import IdentityCreated
from ledger.payloads import Payload
from ledger.primitives.signing import Purpose, is_valid_signature
from node.api_client import ApiClient
from node.devnet import SAMPLE, Devnet, Member
from node.loader import Author, SourcePost, make_authors, read_posts, to_submission
from node.modules import make_registry
from social.posts import make_post

BUILD = Path("build")
CLIENTS = 64
MANY_EVENTS = 6_000
ONE_EVENTS = 200
WARM_UP_EVENTS = 640
VERIFIES = 2_000
NODES = 4
BAR_EVENTS_PER_S, BAR_P50_MS_64 = 500, 150


@dataclass(frozen=True, slots=True)
class Measured:
    """One closed-loop run."""

    events: int
    seconds: float
    latencies_ms: list[float]

    @property
    def events_per_s(self) -> float:
        return self.events / self.seconds

    def percentile(self, percent: float) -> float:
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class Connection:
    """One keep-alive HTTP connection, as lean as can be: the client shares the cores with what it measures."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def submit(self, body: bytes) -> bytes:
        head = (
            f"POST /api/v1/events?wait=final HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        data = await self._reader.readexactly(length)
        if not answer.startswith(b"HTTP/1.1 202") or b'"status":"final"' not in data:
            raise RuntimeError(f"an event was not committed: {answer[:40]!r} {data[:300]!r}")
        return data

    def close(self) -> None:
        self._writer.close()


class Workload:
    """Signed events made ahead, so that signing is not measured."""

    def __init__(self, devnet: Devnet) -> None:
        genesis = decode_genesis_file((devnet.folder / "genesis.json").read_bytes())
        self._chain_id = compute_chain_id(genesis)
        self._registry = make_registry()
        self._posts: list[SourcePost] = read_posts(SAMPLE)
        self._next = 0
        self.authors = make_authors(self._chain_id, CLIENTS, seed=1)
        anchor = ApiClient(devnet.validators[0].url).get("/ledger/head")["ledger"]
        self._reference = Reference(anchor["height"], bytes.fromhex(anchor["header_hash"]), anchor["beat"])

    def identity(self, author: Author) -> bytes:
        return to_submission([self._sign(author, "identity.IdentityCreated", IdentityCreated(), None)])

    def post(self, author: Author) -> bytes:
        return to_submission([self.signed_post(author)])

    def signed_post(self, author: Author) -> SignedEvent:
        source = self._posts[self._next % len(self._posts)]
        self._next += 1
        payload = Payload(self._next.to_bytes(16, "big"), source.text)
        body = make_post(payload, (source.community,))
        return self._sign(author, "content.PostPublished", body, payload)

    def _sign(self, author: Author, name: str, body: object, payload: Payload | None) -> SignedEvent:
        kind = self._registry.latest(name)
        assert kind is not None
        author.nonce += 1
        event = make_event(
            kind, body, author=author.account, key=author.key.public, nonce=author.nonce, reference=self._reference
        )
        return sign_event(author.key, self._chain_id, event, payload)

    def measure_bound(self) -> float:
        """Return events/s if checking each event once on each of four nodes were all there is to do."""
        signed = [self.signed_post(make_authors(self._chain_id, 1, seed=2)[0]) for _ in range(50)]
        checked = [check_event(self._registry, self._chain_id, each, payload_required=True) for each in signed]
        started = time.process_time()
        for number in range(VERIFIES):
            each = checked[number % len(checked)]
            assert is_valid_signature(
                each.event.key, self._chain_id, Purpose.EVENT, each.signed.event, each.signed.signature
            )
        return (os.cpu_count() or 1) * VERIFIES / (time.process_time() - started) / NODES


async def run_clients(ports: Sequence[int], work: list[list[bytes]]) -> Measured:
    """Run one client for each list of bodies, all at once."""
    connections = [Connection(ports[number % len(ports)]) for number in range(len(work))]
    for connection in connections:
        await connection.open()
    latencies: list[float] = []

    async def client(connection: Connection, bodies: list[bytes]) -> None:
        for body in bodies:
            started = time.perf_counter()
            await connection.submit(body)
            latencies.append((time.perf_counter() - started) * 1000)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for connection, bodies in zip(connections, work, strict=True):
            group.create_task(client(connection, bodies))
    seconds = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return Measured(len(latencies), seconds, latencies)


def read_cpu_s(members: Sequence[Member]) -> float:
    """Return the processor time that the processes have used, user and system."""
    total = 0.0
    for member in members:
        assert member.process is not None
        fields = Path(f"/proc/{member.process.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def read_disk_bytes(members: Sequence[Member]) -> int:
    """Return what the members' ledgers take on disk."""
    return sum(path.stat().st_size for each in members for path in (each.folder / "data" / "ledger").iterdir())


def measure(devnet: Devnet, events: int) -> dict[str, object]:
    """Run the bench on a started network."""
    workload = Workload(devnet)
    ports = [member.api_port for member in devnet.validators]
    authors = workload.authors
    asyncio.run(run_clients(ports, [[workload.identity(author)] for author in authors]))
    warm_up = [[workload.post(author) for _ in range(WARM_UP_EVENTS // CLIENTS)] for author in authors]
    asyncio.run(run_clients(ports, warm_up))
    one = asyncio.run(run_clients(ports[:1], [[workload.post(authors[0]) for _ in range(ONE_EVENTS)]]))
    bodies = [[workload.post(author) for _ in range(events // CLIENTS)] for author in authors]
    disk, cpu = read_disk_bytes(devnet.validators), read_cpu_s(devnet.validators)
    many = asyncio.run(run_clients(ports, bodies))
    cpu = read_cpu_s(devnet.validators) - cpu
    disk = read_disk_bytes(devnet.validators) - disk
    bound = workload.measure_bound()
    return {
        "events_per_s": round(many.events_per_s, 1),
        "p50_ms_1": round(one.percentile(50), 2),
        "p99_ms_1": round(one.percentile(99), 2),
        "p50_ms_64": round(many.percentile(50), 2),
        "p99_ms_64": round(many.percentile(99), 2),
        "bytes_per_event": round(disk / NODES / many.events),
        "cpu_ms_per_event": round(cpu * 1000 / many.events, 3),
        "bound_events_per_s": round(bound, 1),
        "ratio_to_bound": round(many.events_per_s / bound, 3),
        "events": many.events,
        "post_bytes_median": statistics.median(len(each.text.encode()) for each in read_posts(SAMPLE)),
        "machine": {
            "cpus": os.cpu_count(),
            "processor": read_processor(),
            "python": platform.python_version(),
            "kernel": platform.release(),
        },
        "settings": {
            "validators": NODES,
            "clients": CLIENTS,
            "durable": "fsync of votes and of each block, on every node",
            "load": "closed loop, one event a request, wait=final",
        },
    }


def read_processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def show(found: dict[str, object]) -> None:
    table = Table(title="Four validators on this machine", title_justify="left", box=None, header_style="bold")
    for column in ("what", "measured", "limit"):
        table.add_column(column)
    table.add_row("events/s, durable, 64 clients", str(found["events_per_s"]), f"at least {BAR_EVENTS_PER_S}")
    table.add_row("p50 ms, 64 clients", str(found["p50_ms_64"]), f"at most {BAR_P50_MS_64}")
    table.add_row("p99 ms, 64 clients", str(found["p99_ms_64"]), "")
    table.add_row("p50 ms, 1 client", str(found["p50_ms_1"]), "")
    table.add_row("p99 ms, 1 client", str(found["p99_ms_1"]), "")
    table.add_row("bytes on disk an event, each node", str(found["bytes_per_event"]), "")
    table.add_row("CPU ms an event, four nodes", str(found["cpu_ms_per_event"]), "")
    table.add_row(
        "Ed25519 bound, events/s", str(found["bound_events_per_s"]), f"we reach {found['ratio_to_bound']} of it"
    )
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9080)
    parser.add_argument("--events", type=int, default=MANY_EVENTS, help="events of the run with 64 clients")
    given = parser.parse_args()
    folder = BUILD / "bench"
    shutil.rmtree(folder, ignore_errors=True)
    devnet = Devnet(folder, given.port)
    devnet.prepare()
    try:
        for member in devnet.validators:
            devnet.start(member)
        for member in devnet.validators:
            devnet.wait_ready(member)
        found = measure(devnet, given.events)
    finally:
        devnet.stop()
    (BUILD / "bench.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
