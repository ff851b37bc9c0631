"""What the API sees of the node: calls from its thread cross into trio here, bounded and many at a time."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import trio
from client_api.services import Alert, Lost, NodeBusy, NodeReadOnly, NodeStatus, Submitted

from ledger.archive.catalogue import SegmentEntry
from ledger.archive.collection import Archive
from ledger.chain import Chain
from ledger.events import SignedEvent
from ledger.transition import Executed
from ledger.verdict import Verdict
from node.mempool import Accepted, Answer, Mempool
from node.relay import Relay

CROSSINGS_MAX = 1_024
"""Submissions that wait to cross into the node's thread; beyond, the API answers 503."""


@dataclass(slots=True)
class _Crossing:
    events: Sequence[SignedEvent]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[list[Submitted]]"


class Services:
    """Implements `client_api.services.NodeServices`."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        relay: Relay,
        token: trio.lowlevel.TrioToken,
        status: Callable[[], NodeStatus],
        alert: Callable[[], Alert | None],
        *,
        sign_bundle: Callable[[bytes], bytes],
        takes_events: bool = True,
        open_archive: Callable[[], Archive | None] = lambda: None,
        list_catalogues: Callable[[], Mapping[bytes, Sequence[SegmentEntry]]] = dict,
    ) -> None:
        self.alert = alert
        self.open_archive = open_archive
        self.list_catalogues = list_catalogues
        self.sign_bundle = sign_bundle
        self.takes_events = takes_events
        self._chain = chain
        self._mempool = mempool
        self._relay = relay
        self._token = token
        self._status = status
        self._crossings: deque[_Crossing] = deque()
        self._scheduled = False
        self._on_block: list[Callable[[Executed], None]] = []
        self._on_lost: list[Lost] = []

    # From the API's thread.

    @property
    def chain(self) -> Chain:
        return self._chain

    async def submit(self, events: Sequence[SignedEvent]) -> list[Submitted]:
        alert = self.alert()
        if alert is not None:
            raise NodeReadOnly(alert.why)
        if len(self._crossings) >= CROSSINGS_MAX:
            raise NodeBusy(f"{CROSSINGS_MAX} submissions wait already")
        loop = asyncio.get_running_loop()
        crossing = _Crossing(events, loop, loop.create_future())
        self._crossings.append(crossing)
        if not self._scheduled:
            self._scheduled = True
            self._token.run_sync_soon(self._cross)
        return await crossing.answer

    def is_waiting(self, event_id: bytes) -> bool:
        return event_id in self._mempool

    def status(self) -> NodeStatus:
        return self._status()

    def subscribe(self, on_block: Callable[[Executed], None], on_lost: Lost) -> None:
        self._on_block.append(on_block)
        self._on_lost.append(on_lost)

    # From the trio thread.

    def tell_block(self, executed: Executed) -> None:
        for on_block in self._on_block:
            on_block(executed)

    def tell_lost(self, lost: Sequence[tuple[bytes, Verdict]]) -> None:
        if lost:
            for on_lost in self._on_lost:
                on_lost(lost)

    def _cross(self) -> None:
        self._scheduled = False
        while self._crossings:
            crossing = self._crossings.popleft()
            answers = [_submitted(answer) for answer in self._relay.submit(crossing.events)]
            try:
                crossing.loop.call_soon_threadsafe(_resolve, crossing.answer, answers)
            except RuntimeError:  # the API's loop has ended; its client is gone with it
                continue


def _submitted(answer: Answer) -> Submitted:
    if isinstance(answer, Accepted):
        return Submitted(True, answer.event_id, None)
    return Submitted(False, answer.event_id, answer.verdict)


def _resolve(future: "asyncio.Future[list[Submitted]]", answers: list[Submitted]) -> None:
    if not future.done():
        future.set_result(answers)
