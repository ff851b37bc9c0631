"""The real API over a real chain, and a node without network: what is submitted waits until the test executes it."""

import http.client
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import orjson
from client_api.endpoint import Endpoint
from client_api.openapi import make_openapi
from client_api.routes import ENDPOINTS
from client_api.server import ApiServer
from client_api.services import Alert, Lost, NodeBusy, NodeStatus, PeerStatus, Submitted

from ledger.archive.catalogue import SegmentEntry
from ledger.archive.collection import Archive
from ledger.block import Batch
from ledger.chain import Chain
from ledger.events import CheckedEvent, EventRefused, SignedEvent, check_event
from ledger.primitives.signing import Purpose, SigningKey
from ledger.receipts import Receipt
from ledger.transition import Executed
from ledger.verdict import Verdict
from node.mempool import Accepted, Mempool
from tests.ledger.world import REGISTRY, World

BY_OPERATION = {endpoint.operation: endpoint for endpoint in ENDPOINTS}
CONTRACT = make_openapi(ENDPOINTS)
PROBLEM_MEMBERS = {"type", "title", "status", "detail", "remedy"}


NODE_KEY = SigningKey(bytes([90]) * 32)


class FakeNode:
    """`NodeServices` over one chain, with a real mempool and no consensus."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.mempool = Mempool()
        self.busy = False
        self.height_age_ms = 10
        self.halted: str | None = None
        self.alerted: Alert | None = None
        self.archive: Archive | None = None
        self.catalogues: dict[bytes, tuple[SegmentEntry, ...]] = {}
        self.certified_height = 0
        self.on_submit: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._on_block: list[Callable[[Executed], None]] = []
        self._on_lost: list[Lost] = []

    @property
    def chain(self) -> Chain:
        return self._chain

    async def submit(self, events: Sequence[SignedEvent]) -> list[Submitted]:
        if self.busy:
            raise NodeBusy("as busy as it gets")
        answers = [self._take(signed) for signed in events]
        self.on_submit()
        return answers

    takes_events = True

    def list_catalogues(self) -> dict[bytes, tuple[SegmentEntry, ...]]:
        return self.catalogues

    def open_archive(self) -> Archive | None:
        return self.archive

    def alert(self) -> Alert | None:
        return self.alerted

    def _take(self, signed: SignedEvent) -> Submitted:
        chain = self._chain
        try:
            checked = check_event(REGISTRY, chain.chain_id, signed, payload_required=True)
        except EventRefused as refused:
            return Submitted(False, None, Verdict(False, refused.code, refused.because, refused.facts))
        with self._lock:
            answer = self.mempool.add(checked, chain.store, chain.head.header.beat, chain.references)
        if isinstance(answer, Accepted):
            return Submitted(True, answer.event_id, None)
        return Submitted(False, answer.event_id, answer.verdict)

    def sign_bundle(self, message: bytes) -> bytes:
        return NODE_KEY.sign(self._chain.chain_id, Purpose.BUNDLE, message)

    def is_waiting(self, event_id: bytes) -> bool:
        return event_id in self.mempool

    def status(self) -> NodeStatus:
        peer = PeerStatus(bytes(32), "127.0.0.1:4001", "validator", 3, 1.23456, 0, 1.5)
        silent = PeerStatus(bytes(32), "127.0.0.1:4002", "observer", 0, None, 0, 0.0)
        return NodeStatus(
            name="fake",
            role="validator",
            version="0.1.0",
            public_key=NODE_KEY.public,
            replica=0,
            view=0,
            primary=0,
            in_view_change=False,
            syncing=False,
            halted=self.halted,
            height=self._chain.head.height,
            certified_height=self.certified_height,
            height_age_ms=self.height_age_ms,
            healthy_age_ms_max=5_000,
            mempool_events=len(self.mempool),
            mempool_bytes=self.mempool.size_bytes,
            uptime_ms=1_000,
            peers=(peer, silent),
            alert=self.alerted,
        )

    def subscribe(self, on_block: Callable[[Executed], None], on_lost: Lost) -> None:
        self._on_block.append(on_block)
        self._on_lost.append(on_lost)

    # What a node does of itself, done here when a test says so.

    def execute_waiting(self, *, beat: bool = False) -> tuple[Receipt, ...]:
        """Order everything that can be, execute it, and tell."""
        with self._lock:
            chosen = self.mempool.propose(self._chain.store, (), self._chain.head.header.beat, 1_000, 2**21)
        return self.execute([checked.signed for checked in chosen], chosen, beat=beat)

    def execute(
        self, signed: Sequence[SignedEvent], checked: Sequence[CheckedEvent | EventRefused], *, beat: bool = False
    ) -> tuple[Receipt, ...]:
        head = self._chain.head.header
        batch = Batch(beat, head.height + 1, tuple(signed), 0, head.time_ms + 1, 0)
        executed = self._chain.execute(batch, tuple(checked))
        self.tell(executed)
        return executed.receipts

    def tell(self, executed: Executed) -> None:
        done = [
            (receipt.event_id, receipt.author, executed.nonces[number])
            for number, receipt in enumerate(executed.receipts)
            if receipt.outcome != "skipped" and executed.stored[number] is not None
        ]
        with self._lock:
            lost = self.mempool.remove_executed(done) + self.mempool.remove_expired(executed.header.beat)
        for on_block in self._on_block:
            on_block(executed)
        for on_lost in self._on_lost:
            on_lost(lost)


class Answer:
    """An HTTP answer, its JSON checked against what the endpoint declares."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Api:
    """A world, its node, and its API listening on a free port."""

    def __init__(self, folder: Path, world: World | None = None) -> None:
        self.world = World(folder / "ledger") if world is None else world
        self.node = FakeNode(self.world.chain)
        self.server = ApiServer(self.node, "127.0.0.1", 0)
        self.url = self.server.start()
        self.host, self.port = "127.0.0.1", int(self.url.rpartition(":")[2])
        self._connection = http.client.HTTPConnection(self.host, self.port, timeout=20)

    def close(self) -> None:
        self._connection.close()
        self.server.stop()
        self.world.close()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Make any request; `path` begins after the host."""
        given = {"Content-Type": "application/json"} if body is not None else {}
        try:
            self._connection.request(method, path, body, given | (headers or {}))
            answer = self._connection.getresponse()
            found = Answer(answer.status, dict(answer.getheaders()), answer.read())
        except (http.client.HTTPException, OSError):
            self._connection.close()
            raise
        return found

    def call(self, operation: str, body: object = None, **parameters: object) -> Any:
        """Call an operation that must succeed; return its JSON, which has the declared shape and status."""
        answer = self.try_call(operation, body, **parameters)
        endpoint = BY_OPERATION[operation]
        assert answer.status == endpoint.status, answer.body
        endpoint.answer.model_validate_json(answer.body)
        return answer.json

    def problem(self, operation: str, body: object = None, **parameters: object) -> Any:
        """Call an operation that must fail; return the problem, whose status the contract declares."""
        answer = self.try_call(operation, body, **parameters)
        assert answer.status >= 400, answer.body
        return check_problem(answer)

    def try_call(self, operation: str, body: object = None, **parameters: object) -> Answer:
        endpoint = BY_OPERATION[operation]
        path, query = fill_path(endpoint, parameters)
        data = None if body is None else orjson.dumps(body)
        answer = self.request(endpoint.method, path + query, data)
        declared = CONTRACT["paths"][f"/api/v1{endpoint.path}"][endpoint.method.lower()]["responses"]
        assert str(answer.status) in declared, f"{operation} answered {answer.status}, which the contract lacks"
        return answer

    def submit(self, *events: SignedEvent, wait: bool = False) -> Any:
        return self.call("submitEvents", {"events": [event_json(event) for event in events]}, wait=WAIT[wait])

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


WAIT = {True: "final", False: None}


def fill_path(endpoint: Endpoint, parameters: dict[str, object]) -> tuple[str, str]:
    """Return the path with its parameters, and the query string of the others."""
    given = {name.rstrip("_"): str(value) for name, value in parameters.items() if value is not None}
    path = f"/api/v1{endpoint.path}"
    for name in list(given):
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", given.pop(name))
    return path, f"?{urlencode(given)}" if given else ""


def event_json(event: SignedEvent) -> dict[str, Any]:
    members: dict[str, Any] = {"event": event.event.hex(), "signature": event.signature.hex()}
    return members if event.payload is None else members | {"payload": event.payload.hex()}


def check_problem(answer: Answer) -> Any:
    """Return the problem document, every member of it in place."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.body
    problem = answer.json
    assert problem.keys() >= PROBLEM_MEMBERS
    assert problem["status"] == answer.status
    assert problem["type"].startswith("https://")
    assert all(type(problem[name]) is str and problem[name] for name in PROBLEM_MEMBERS - {"status"})
    assert len(answer.body) < 10_000, "a problem does not repeat what was sent"
    return problem


class Stream:
    """A client of the event stream, on a socket of its own."""

    def __init__(self, api: Api, query: str = "", **headers: str) -> None:
        self._connection = http.client.HTTPConnection(api.host, api.port, timeout=20)
        self._connection.connect()
        self.socket: socket.socket = self._connection.sock
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request("GET", f"/api/v1/stream{query}", headers=given)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.content_type = self._answer.headers["Content-Type"]

    def read_message(self) -> dict[str, str]:
        """Return the next message's fields; empty at the end of the stream."""
        fields: dict[str, str] = {}
        while line := self._answer.readline().decode().rstrip("\n"):
            if not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
        return fields

    def read_ids(self, count: int) -> list[int]:
        return [int(self.read_message()["id"]) for _ in range(count)]

    def close(self) -> None:
        self._connection.close()
