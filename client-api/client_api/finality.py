"""Waiting for events to become final, and the news of blocks inside the API's loop.

An event is final here when its block is durable on this node, ordered by a quorum.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from client_api.services import NodeServices
from ledger.receipts import SKIPPED, Receipt
from ledger.transition import Executed
from ledger.verdict import Verdict

LOST_KEPT = 10_000
WAITERS_MAX = 20_000

Outcome = Receipt | Verdict
"""A receipt, or why an accepted event can never be executed."""


class TooManyWaiters(RuntimeError):
    """More requests wait for finality than the API allows."""


class Finality:
    """Lives in the API's loop; the node's thread hands blocks over."""

    def __init__(self, services: NodeServices, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: dict[bytes, list[asyncio.Future[Outcome]]] = {}
        self._count = 0
        self._lost: OrderedDict[bytes, Verdict] = OrderedDict()
        self._listeners: list[Callable[[Executed], None]] = []
        services.subscribe(self._hand_over_block, self._hand_over_lost)

    def listen(self, listener: Callable[[Executed], None]) -> None:
        """Call `listener` in the API's loop for each block."""
        self._listeners.append(listener)

    def expect(self, event_id: bytes) -> "asyncio.Future[Outcome]":
        """Return a future of the event's outcome; make it before the event is submitted.  Raises TooManyWaiters."""
        if self._count >= WAITERS_MAX:
            raise TooManyWaiters(f"{WAITERS_MAX} requests wait already")
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiters.setdefault(event_id, []).append(future)
        self._count += 1
        return future

    def forget(self, event_id: bytes, future: "asyncio.Future[Outcome]") -> None:
        """Stop waiting."""
        waiting = self._waiters.get(event_id)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            self._count -= 1
            if not waiting:
                del self._waiters[event_id]

    def why_lost(self, event_id: bytes) -> Verdict | None:
        """Return why an accepted event dropped out, if it did so lately."""
        return self._lost.get(event_id)

    def _hand_over_block(self, executed: Executed) -> None:
        self._call(self._take_block, executed)

    def _hand_over_lost(self, lost: Sequence[tuple[bytes, Verdict]]) -> None:
        self._call(self._take_lost, lost)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop has ended: the API is being stopped
            return

    def _take_block(self, executed: Executed) -> None:
        for receipt in executed.receipts:
            if receipt.outcome != SKIPPED:  # a skipped event may still come in its turn, or drops out as lost
                self._resolve(receipt.event_id, receipt)
        for listener in self._listeners:
            listener(executed)

    def _take_lost(self, lost: Sequence[tuple[bytes, Verdict]]) -> None:
        for event_id, verdict in lost:
            self._lost[event_id] = verdict
            self._resolve(event_id, verdict)
        while len(self._lost) > LOST_KEPT:
            self._lost.popitem(last=False)

    def _resolve(self, event_id: bytes, outcome: Outcome) -> None:
        for future in self._waiters.pop(event_id, ()):
            self._count -= 1
            if not future.done():
                future.set_result(outcome)
