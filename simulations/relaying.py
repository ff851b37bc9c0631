"""A replica's way of an event into its mempool and on to the others, as `node.relay` does, in virtual time."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from ledger.chain import Chain
from ledger.events import CheckedEvent, EventRefused, SignedEvent, decode_signed_event, encode_signed_event
from ledger.primitives.encoding import EncodingError, decode, encode
from ledger.verdict import Verdict
from node.event_cache import EventCache
from node.mempool import Accepted, Answer, Mempool, Refused

FRAME_EVENTS_MAX = 128
GATHER_MS = 2
RESEND_AFTER_MS = 1_000
FORWARD_AFTER_MS = 500
LOOK_MS = 250


class Relaying:
    """Sends what it accepted to all others, and again until it is executed."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        cache: EventCache,
        *,
        clock: Callable[[], int],
        after: Callable[[int, Callable[[], None]], None],
        broadcast: Callable[[bytes], None],
        ignores: Callable[[bytes], bool],
    ) -> None:
        """ignores: whether events of an account vanish here, although they are said to be accepted: a censor."""
        self._chain = chain
        self._mempool = mempool
        self._cache = cache
        self._clock = clock
        self._after = after
        self._broadcast = broadcast
        self._ignores = ignores
        self._outbox: list[bytes] = []
        self._own: OrderedDict[bytes, int] = OrderedDict()
        self._oldest: bytes | None = None
        self._oldest_since = 0
        after(RESEND_AFTER_MS, self._resend)
        after(LOOK_MS, self._forward_oldest)

    def submit(self, signed: SignedEvent) -> Answer:
        """Take a client's event."""
        known_before = len(self._mempool)
        answer = self._take(signed)
        if isinstance(answer, Accepted) and len(self._mempool) > known_before:
            self._own[answer.event_id] = self._clock()
            self._put_out(signed)
        return answer

    def receive(self, frame: bytes) -> bool:
        """Take another replica's events; tell whether the frame was well formed."""
        try:
            items = decode(frame)
            if type(items) is not list or not 1 <= len(items) <= FRAME_EVENTS_MAX:
                return False
            for item in items:
                if type(item) is not bytes:
                    return False
                self._take(decode_signed_event(item))
        except (EncodingError, EventRefused):
            return False
        return True

    def adopt(self, checked: CheckedEvent) -> None:
        """Send another's event to all validators, again and again."""
        if checked.event_id not in self._own and checked.event_id in self._mempool:
            self._own[checked.event_id] = self._clock()
            self._put_out(checked.signed)

    def forget(self, event_ids: Sequence[bytes]) -> None:
        """Stop sending what was executed or can never be."""
        for event_id in event_ids:
            self._own.pop(event_id, None)

    def _take(self, signed: SignedEvent) -> Answer:
        try:
            checked = self._cache.check(signed)
        except EventRefused as refused:
            return Refused(None, Verdict(False, refused.code, refused.because, refused.facts))
        if self._ignores(checked.event.author):
            return Accepted(checked.event_id)
        chain = self._chain
        return self._mempool.add(checked, chain.store, chain.head.header.beat, chain.references)

    def _put_out(self, signed: SignedEvent) -> None:
        if not self._outbox:
            self._after(GATHER_MS, self._flush)
        self._outbox.append(encode_signed_event(signed))

    def _flush(self) -> None:
        while self._outbox:
            frame, self._outbox = self._outbox[:FRAME_EVENTS_MAX], self._outbox[FRAME_EVENTS_MAX:]
            self._broadcast(encode(frame))

    def _resend(self) -> None:
        now = self._clock()
        for event_id in [each for each, sent in self._own.items() if now - sent >= RESEND_AFTER_MS]:
            checked = self._mempool.get(event_id)
            if checked is None:
                del self._own[event_id]
                continue
            self._own[event_id] = now
            self._own.move_to_end(event_id)
            self._put_out(checked.signed)
        self._after(RESEND_AFTER_MS, self._resend)

    def _forward_oldest(self) -> None:
        now = self._clock()
        oldest = self._mempool.oldest(self._chain.store, self._chain.head.header.beat)
        if oldest != self._oldest:
            self._oldest, self._oldest_since = oldest, now
        elif oldest is not None and oldest not in self._own and now - self._oldest_since >= FORWARD_AFTER_MS:
            checked = self._mempool.get(oldest)
            assert checked is not None, "the oldest waits"
            self._oldest_since = now
            self._put_out(checked.signed)
        self._after(LOOK_MS, self._forward_oldest)
