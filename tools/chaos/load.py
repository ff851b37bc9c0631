"""Clients under faults: signed events to random nodes all the time, and a book of what each was told.

An account sends a few events at once and the next ones when all of those are settled, so its nonces have no gaps.  An
answer that never came is asked for again with the same bytes, at another node: sending an event twice executes it once.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
import orjson

from ledger.authoring import Reference, make_event, sign_event
from ledger.events import SignedEvent, compute_event_id
from ledger.payloads import Payload
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.ids import IdKind, encode_id
from ledger.transfers import TokensTransferred
from node.devnet import SAMPLE
from node.loader import Author, read_posts, to_submission
from node.modules import make_registry
from social.follows import AccountFollowed
from social.posts import make_post
from social.reactions import ContentLiked
from tools.chaos.network import ChaosNetwork, InvariantBroken

ANSWER_TIMEOUT_S = 6.0
ASK_AGAIN_S = 0.25
PAUSE_S = 0.15
SENT_AT_ONCE_MAX = 4
POSTS_KEPT = 500
REFUSED_FOR_GOOD = frozenset(("event.expired",))
NOT_YET = frozenset(
    ("event.reference_unknown", "event.nonce_too_far", "event.nonce_gap", "node.mempool_full", "event.nonce_used")
)
"""What a node that is behind, or full, may answer.  nonce_used is the event itself on its way through the executor."""


@dataclass(slots=True)
class Line:
    """One event in the book."""

    event_id: str
    author: int
    nonce: int
    signed: SignedEvent
    promised: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Which runs of which nodes said "accepted"."""
    log_index: int | None = None
    outcome: str | None = None
    refused: str | None = None
    sent: int = 0
    final_s: float = 0.0

    @property
    def is_settled(self) -> bool:
        return self.log_index is not None or self.refused is not None


class Load:
    """Runs in a thread with its own loop, from `start` to `finish`."""

    def __init__(self, network: ChaosNetwork, seed: int, pause_s: float = PAUSE_S) -> None:
        self.book: dict[str, Line] = {}
        self.counts: Counter[str] = Counter()
        self.broken: InvariantBroken | None = None
        self.final = 0
        self._network = network
        self._random = random.Random(seed)
        self._pause_s = pause_s
        self._posts_source = read_posts(SAMPLE, 200)
        self._posts: list[bytes] = []
        self._registry = make_registry()
        self._reference: Reference | None = None
        self._stopping = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, timeout_s: float) -> None:
        """Send nothing new, and wait until everything sent is settled.  Raises InvariantBroken."""
        self._stopping = True
        self._thread.join(timeout_s)
        self.check()
        if self._thread.is_alive():
            open_lines = [line for line in self.book.values() if not line.is_settled]
            raise InvariantBroken(
                "an accepted event is committed or reported as refused",
                f"every event settled {timeout_s:.0f} s after healing",
                f"{len(open_lines)} not settled, first {open_lines[0].event_id if open_lines else '(none)'}",
            )

    def check(self) -> None:
        """Raise what the clients have found broken so far."""
        if self.broken is not None:
            raise self.broken
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._clients())
        except InvariantBroken as broken:
            self.broken = broken
        except BaseException as error:  # handed to whoever waits for the thread
            self._error = error

    async def _clients(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session,
            asyncio.TaskGroup() as group,
        ):
            for number, author in enumerate(self._network.authors):
                group.create_task(self._client(session, number, author))

    async def _client(self, session: aiohttp.ClientSession, number: int, author: Author) -> None:
        while not self._stopping:
            if self._reference is None or self._random.random() < 0.2:
                await self._refresh(session)
                if self._reference is None:
                    await asyncio.sleep(ASK_AGAIN_S)
                    continue
            lines = [self._write(number, author) for _ in range(self._random.randint(1, SENT_AT_ONCE_MAX))]
            await self._settle(session, author, lines)
            await asyncio.sleep(self._random.random() * 2 * self._pause_s)

    def _write(self, number: int, author: Author) -> Line:
        """Sign the author's next event, and enter it in the book."""
        assert self._reference is not None
        draw = self._random.random()
        others = [each for each in self._network.authors if each is not author]
        payload: Payload | None = None
        if draw < 0.4 or not self._posts:
            source = self._random.choice(self._posts_source)
            payload = Payload(self._random.randbytes(16), source.text)
            name, body = "content.PostPublished", cast("Any", make_post(payload, (source.community,)))
        elif draw < 0.7:
            name, body = "graph.ContentLiked", ContentLiked(self._random.choice(self._posts))
        elif draw < 0.85:
            name, body = "graph.AccountFollowed", AccountFollowed(self._random.choice(others).account)
        else:
            to, atoms = self._random.choice(others).account, self._random.randint(1, SCALE)
            name, body = "economics.TokensTransferred", TokensTransferred(atoms=atoms, to=to, token="FLX")
        kind = self._registry.latest(name)
        assert kind is not None
        author.nonce += 1
        event = make_event(
            kind, body, author=author.account, key=author.key.public, nonce=author.nonce, reference=self._reference
        )
        event_id = compute_event_id(event)
        signed = sign_event(author.key, self._network.chain_id, event, payload)
        line = Line(encode_id(IdKind.EVENT, event_id), number, author.nonce, signed)
        self.book[line.event_id] = line
        if payload is not None:
            self._posts.append(event_id)
            del self._posts[:-POSTS_KEPT]
        return line

    async def _settle(self, session: aiohttp.ClientSession, author: Author, lines: list[Line]) -> None:
        """Submit until each is final, or one has expired: then its author begins again with that nonce."""
        while waiting := [line for line in lines if not line.is_settled]:
            to_send = [line for line in waiting if not self._is_promised(line)]
            if to_send:
                await self._submit(session, to_send)
            else:
                await self._ask(session, self._random.choice(waiting))
            if any(line.refused for line in lines):
                first = min(line.nonce for line in lines if line.refused)
                author.nonce = first - 1
                return
            if any(not line.is_settled for line in lines):
                await asyncio.sleep(ASK_AGAIN_S * (0.5 + self._random.random()))

    def _is_promised(self, line: Line) -> bool:
        """Tell whether a node that said "accepted" still runs as it did then: only then nobody need send it again."""
        nodes = self._network.nodes
        return any(nodes[node].life == life and nodes[node].process is not None for node, life in line.promised)

    async def _submit(self, session: aiohttp.ClientSession, lines: list[Line]) -> None:
        node = self._random.randrange(self._network.count)
        life = self._network.nodes[node].life
        wait = "?wait=final" if self._random.random() < 0.5 else ""
        for line in lines:
            line.sent += 1
            self.counts["sent"] += 1
            if line.sent > 1:
                self.counts["sent again"] += 1
            if line.promised:
                self.counts["accepted by a node that ended since"] += 1
                if await self._is_unknown_everywhere(session, line):
                    self.counts["accepted, and gone with the node"] += 1
                line.promised.clear()
        url = f"{self._network.nodes[node].url}/api/v1/events{wait}"
        try:
            headers = {"Content-Type": "application/json"}
            data = to_submission([line.signed for line in lines])
            async with session.post(url, data=data, headers=headers) as response:
                answer = cast("dict[str, Any]", orjson.loads(await response.read()))
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError):
            self.counts["answer lost"] += len(lines)
            return
        if status == 202:
            for line, result in zip(lines, answer["results"], strict=True):
                self._note(line, node, life, result)
        elif len(lines) == 1 and "verdict" in answer:
            self._refuse(lines[0], node, answer["code"])
        elif status in (503, 504):
            self.counts[f"answered {status}"] += len(lines)
        else:
            raise InvariantBroken("the API answers as it says", "202, or a reason", f"{status} {answer}")

    async def _is_unknown_everywhere(self, session: aiohttp.ClientSession, line: Line) -> bool:
        """Tell whether all nodes that answer say that they do not know the event."""
        statuses: list[int] = []
        for node in self._network.nodes:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with session.get(f"{node.url}/api/v1/events/{line.event_id}/receipt") as response:
                    statuses.append(response.status)
        return bool(statuses) and all(status == 404 for status in statuses)

    def _note(self, line: Line, node: int, life: int, result: dict[str, Any]) -> None:
        match result["status"]:
            case "accepted" | "pending":
                line.promised.append((node, life))
                self.counts["accepted"] += 1
            case "final":
                self._finish(line, node, result["receipt"])
            case _:
                self._refuse(line, node, result["verdict"]["code"])

    def _finish(self, line: Line, node: int, receipt: dict[str, Any]) -> None:
        if receipt["outcome"] == "skipped":
            self.counts["skipped"] += 1
            line.promised.clear()
            return
        if line.log_index is None:
            line.log_index, line.outcome, line.final_s = receipt["log_index"], receipt["outcome"], time.monotonic()
            self.final += 1
            self.counts[line.outcome or ""] += 1
        elif line.log_index != receipt["log_index"]:
            raise InvariantBroken(
                "an event is committed once",
                f"{line.event_id} at log index {line.log_index}, as told before",
                f"node {node} says {receipt['log_index']}",
            )

    def _refuse(self, line: Line, node: int, code: str) -> None:
        self.counts[f"refused: {code}"] += 1
        if code in REFUSED_FOR_GOOD:
            line.refused = code
        elif code not in NOT_YET:
            raise InvariantBroken(
                "a valid event is taken", f"{line.event_id} accepted", f"node {node} refused it: {code}"
            )

    async def _ask(self, session: aiohttp.ClientSession, line: Line) -> None:
        """Ask for the receipt where it was promised; that node may not have forgotten it."""
        node, life = self._random.choice(line.promised)
        url = f"{self._network.nodes[node].url}/api/v1/events/{line.event_id}/receipt"
        try:
            async with session.get(url) as response:
                answer, status = orjson.loads(await response.read()), response.status
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError):
            self.counts["answer lost"] += 1
            return
        if self._network.nodes[node].life != life:
            return
        if status == 404:
            raise InvariantBroken(
                "an accepted event is committed or reported as refused",
                f"node {node} to know {line.event_id}, which it accepted in this run (number {life})",
                "404: neither in the ledger nor waiting nor refused",
            )
        if status == 200 and answer["status"] != "pending":
            self._note(line, node, life, answer)

    async def _refresh(self, session: aiohttp.ClientSession) -> None:
        node = self._random.choice(self._network.nodes)
        try:
            async with session.get(f"{node.url}/api/v1/ledger/head") as response:
                anchor = orjson.loads(await response.read())["ledger"]
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError, KeyError):
            return
        self._reference = Reference(anchor["height"], bytes.fromhex(anchor["header_hash"]), anchor["beat"])
