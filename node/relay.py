"""Submissions: from clients and peers into the mempool, and on to every validator.

An event that was accepted here is written down before the client is told so, sent to all validators, and sent again
until it is executed, so that neither a kill, nor a lost frame, nor a faulty primary can lose it.  An event that came
from a peer is not sent on at once: its sender does that.  But the oldest one, which the request timer watches, is sent
on when it has waited for a while: a liar may have told everyone of it but the primary, who would be suspected for it.
See `adopt` too.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

import trio

from ledger.chain import Chain
from ledger.events import CheckedEvent, EventRefused, SignedEvent, decode_signed_event, encode_signed_event
from ledger.primitives.encoding import EncodingError, decode, encode
from ledger.verdict import Verdict
from node.clock import monotonic_ms
from node.event_cache import EventCache
from node.mempool import Accepted, Answer, Mempool, Refused
from node.submission_log import SubmissionLog

logger = logging.getLogger(__name__)

FRAME_EVENTS_MAX = 128
FRAME_BYTES_MAX = 1024 * 1024
GATHER_MS = 2
"""Frames of events leave at most this often."""
RESEND_AFTER_MS = 1_000
RESEND_EVENTS_MAX = 256
FORWARD_AFTER_MS = 500
"""How long the oldest event waits here before it is sent on; well below a view's timeout."""
LOOK_MS = 250
OWN_EVENTS_MAX = 20_000
EVENTS_PER_BREATH = 16


class SubmissionMalformed(ValueError):
    """A peer's submission frame that is not a list of signed events."""


class Relay:
    """Owns the way of an event into the mempool."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        cache: EventCache,
        *,
        broadcast: Callable[[bytes], None],
        events_arrived: Callable[[], None],
        log: SubmissionLog,
        clock: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._chain = chain
        self._mempool = mempool
        self._cache = cache
        self._broadcast = broadcast
        self._events_arrived = events_arrived
        self._log = log
        self._clock = clock
        self._outbox: list[bytes] = []
        self._wake = trio.Event()
        self._own: OrderedDict[bytes, int] = OrderedDict()  # event id -> when it was last sent
        self._oldest: bytes | None = None
        self._oldest_since = 0
        self._looked_at = 0

    def submit(self, events: Sequence[SignedEvent]) -> list[Answer]:
        """Take a client's events; each gets a definite answer, in the order given."""
        answers, fresh = self._take_own(events)
        self._write_down(fresh)
        return answers

    def restore(self) -> int:
        """Take again what clients were told is accepted, as far as the ledger lacks it; return how much that is.

        Call it once, before anything is submitted.
        """
        events: list[SignedEvent] = []
        for data in self._log.events:
            try:
                events.append(decode_signed_event(data))
            except EventRefused:
                logger.warning("the submission log holds an event that this software can't read; it is dropped")
        _, fresh = self._take_own(events)
        self._log.events.clear()
        self._log.rewrite(fresh)
        return len(fresh)

    def _take_own(self, events: Sequence[SignedEvent]) -> tuple[list[Answer], list[bytes]]:
        answers: list[Answer] = []
        fresh: list[bytes] = []
        for signed in events:
            known_before = len(self._mempool)
            answer = self._take(signed)
            answers.append(answer)
            if isinstance(answer, Accepted) and len(self._mempool) > known_before:
                fresh.append(encode_signed_event(signed))
                self._own[answer.event_id] = self._clock()
                if len(self._own) > OWN_EVENTS_MAX:
                    self._own.popitem(last=False)
        if fresh:
            self._outbox.extend(fresh)
            self._wake.set()
            self._events_arrived()
        return answers, fresh

    def shorten_log(self) -> None:
        """Rewrite the submission log with what still waits.  Raises OSError."""
        waiting = [self._mempool.get(event_id) for event_id in self._own]
        self._log.rewrite(encode_signed_event(each.signed) for each in waiting if each is not None)

    def _write_down(self, fresh: list[bytes]) -> None:
        try:
            if self._log.needs_rewrite:
                self.shorten_log()
            elif fresh:
                self._log.append(fresh)
        except OSError as error:
            logger.error("accepted events can't be written down, a kill of this process may lose them: %s", error)

    async def receive(self, frame: bytes) -> None:
        """Take a peer's events.  Raises SubmissionMalformed; events that are merely too late are ignored."""
        try:
            items = decode(frame)
        except EncodingError as error:
            raise SubmissionMalformed(f"not canonical msgpack: {error}") from error
        if type(items) is not list or not 1 <= len(items) <= FRAME_EVENTS_MAX:
            raise SubmissionMalformed(f"expected a list of 1 to {FRAME_EVENTS_MAX} events")
        for number, item in enumerate(items):
            if type(item) is not bytes:
                raise SubmissionMalformed("expected events as bytes")
            try:
                answer = self._take(decode_signed_event(item))
            except EventRefused as refused:
                raise SubmissionMalformed(f"{refused.code}: {refused.because}") from refused
            if isinstance(answer, Refused) and answer.verdict.code in FORGED:
                raise SubmissionMalformed(f"{answer.verdict.code}: {answer.verdict.because}")
            if number % EVENTS_PER_BREATH == EVENTS_PER_BREATH - 1:
                await trio.lowlevel.checkpoint()
        self._events_arrived()

    def adopt(self, checked: CheckedEvent) -> None:
        """Send a waiting event of a peer to all validators, as if it had been submitted here: who sent it may not have.

        Nobody was told here that it is accepted, so it need not be written down.
        """
        if checked.event_id not in self._own and checked.event_id in self._mempool:
            self._own[checked.event_id] = self._clock()
            if len(self._own) > OWN_EVENTS_MAX:
                self._own.popitem(last=False)
            self._outbox.append(encode_signed_event(checked.signed))
            self._wake.set()

    def forget(self, event_ids: Sequence[bytes]) -> None:
        """Stop sending what was executed or can never be."""
        for event_id in event_ids:
            self._own.pop(event_id, None)

    async def run(self) -> None:
        """Send accepted events on, many in a frame; send again what waits too long.  Runs until cancelled."""
        while True:
            self._wake = trio.Event()
            if not self._outbox:
                with trio.move_on_after(LOOK_MS / 1000):
                    await self._wake.wait()
            self._resend()
            self._forward_oldest()
            self._flush()
            # One event alone leaves at once; under load many share a frame, which costs each peer far less.
            await trio.sleep(GATHER_MS / 1000)

    def _take(self, signed: SignedEvent) -> Answer:
        try:
            checked = self._cache.check(signed)
        except EventRefused as refused:
            return Refused(None, Verdict(False, refused.code, refused.because, refused.facts))
        chain = self._chain
        return self._mempool.add(checked, chain.store, chain.head.header.beat, chain.references)

    def _resend(self) -> None:
        now = self._clock()
        for event_id in list(self._own):
            if now - self._own[event_id] < RESEND_AFTER_MS or len(self._outbox) >= RESEND_EVENTS_MAX:
                break  # oldest first
            checked = self._mempool.get(event_id)
            if checked is None:
                del self._own[event_id]
                continue
            self._own[event_id] = now
            self._own.move_to_end(event_id)
            self._outbox.append(encode_signed_event(checked.signed))

    def _forward_oldest(self) -> None:
        """One event at a time, so that a full mempool makes no storm; events of our own are sent again anyway."""
        now = self._clock()
        if now - self._looked_at < LOOK_MS:
            return
        self._looked_at = now
        oldest = self._mempool.oldest(self._chain.store, self._chain.head.header.beat)
        if oldest != self._oldest:
            self._oldest, self._oldest_since = oldest, now
        elif oldest is not None and oldest not in self._own and now - self._oldest_since >= FORWARD_AFTER_MS:
            checked = self._mempool.get(oldest)
            assert checked is not None, "the oldest waits"
            self._oldest_since = now
            self._outbox.append(encode_signed_event(checked.signed))

    def _flush(self) -> None:
        while self._outbox:
            size = count = 0
            for item in self._outbox[:FRAME_EVENTS_MAX]:
                if count and size + len(item) > FRAME_BYTES_MAX:
                    break
                size += len(item)
                count += 1
            frame, self._outbox = self._outbox[:count], self._outbox[count:]
            self._broadcast(encode(frame))


FORGED = frozenset(
    (
        "event.malformed",
        "event.too_large",
        "event.type_unknown",
        "event.author_not_of_key",
        "event.body_invalid",
        "event.signature_invalid",
        "event.payload_mismatch",
        "event.payload_malformed",
        "event.payload_missing",
        "event.payload_unexpected",
        "event.wrong_chain",
    )
)
"""Refusals that no correct node passes on: it would have refused the event itself."""
