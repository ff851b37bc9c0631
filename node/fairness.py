"""Forced inclusion: a backup leaves a primary that leaves out an event for too many blocks.

For each account the event that could come next is watched, the longest waiting accounts first.  When it is not in
FORWARD_AFTER_BLOCKS proposals of this view, it is passed on to all validators, again and again (`Relay.adopt`), since
the primary may never have got it.  From DELAY_MS later the primary has no excuse but these:

* a batch with FULL_EVENTS events and more is full, if it serves no account twice, and none that was served since:
  `Mempool.propose` takes one event of each account in turn, and who was served stands behind who waits;
* EXCUSED_MAX full batches: a mempool holds no more events that could have come earlier;
* MISSES_MAX other proposals, such as a beat that is due while a batch is in flight, or what was on its way already.

Whatever is beyond is refused, and so the view changes.  A correct primary is never refused while a frame to it, and the
proposals that it had sent before, take no more than DELAY_MS together, and its mempool has room for the event.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from ledger.events import CheckedEvent, View
from ledger.identity import read_nonce
from node.judgement import BatchRefused, Proposal
from node.mempool import EVENTS_MAX, Mempool

FORCED_INCLUSION_BLOCKS = 24
"""Proposals of one view that may leave out an event without a full batch as excuse, those in DELAY_MS not counted."""
FORWARD_AFTER_BLOCKS = FORCED_INCLUSION_BLOCKS // 2
MISSES_MAX = FORCED_INCLUSION_BLOCKS - FORWARD_AFTER_BLOCKS
DELAY_MS = 1_000
FULL_EVENTS = 64
"""A batch with so many is full, however many its primary's setting lets in; fewer never reach its bound in bytes."""
EXCUSED_MAX = EVENTS_MAX // FULL_EVENTS
WATCHED_MAX = 256
"""Accounts watched at a time."""
SERVED_MAX = 32_768
"""Accounts of which is known when they were last served; one that is forgotten counts as not served."""


@dataclass(slots=True)
class Wait:
    """The event that could come next of one account."""

    nonce: int
    first_seq: int
    """The first place in this view at which it could have been."""
    left_out: int = 0
    passed_on_ms: int | None = None
    since: int | None = None
    """The count of proposals when the primary lost its excuse of not having the event."""
    misses: int = 0
    excused: int = 0


class Fairness:
    """The rule, for one replica.  pass_on: sends an event to all validators, and again until it is executed."""

    def __init__(self, mempool: Mempool, *, events_max: int, pass_on: Callable[[CheckedEvent], object]) -> None:
        self._mempool = mempool
        self._full_events = min(events_max, FULL_EVENTS)
        self._pass_on = pass_on
        self._view: int | None = None
        self._count = 0
        self._waits: dict[bytes, Wait] = {}
        self._served: OrderedDict[bytes, int] = OrderedDict()  # account -> the count of proposals when it was last

    def judge(
        self,
        proposal: Proposal,
        *,
        view_number: int,
        seq: int,
        in_flight: Sequence[CheckedEvent],
        state: View,
        beat: int,
        now_ms: int,
    ) -> None:
        """Take note of a first proposal, which is valid otherwise.  Raises BatchRefused for one that is unfair.

        in_flight: the events of accepted batches below it that are not executed here.  beat: before this batch.
        """
        if view_number != self._view:
            self._view, self._count, self._waits, self._served = view_number, 0, {}, OrderedDict()
        self._count += 1
        events = [event.event for event in proposal.checked if isinstance(event, CheckedEvent)]
        included = {(event.author, event.nonce) for event in events}
        authors = {event.author for event in events}
        served_before = max((self._served.get(author, 0) for author in authors), default=0)
        waits: dict[bytes, Wait] = {}
        for checked in islice(self._mempool.due(state, in_flight, beat), WATCHED_MAX):
            author, nonce = checked.event.author, checked.event.nonce
            known = self._waits.get(author)
            wait = known if known is not None and known.nonce == nonce else Wait(nonce, seq)
            waits[author] = wait
            if (author, nonce) in included:
                continue
            is_last = nonce > read_nonce(state, author) + 1  # who has something in flight is served behind all others
            is_overtaken = not is_last and (
                len(authors) < len(events) or (wait.since is not None and served_before > wait.since)
            )
            self._leave_out(checked, wait, is_missed=len(events) < self._full_events or is_overtaken, now_ms=now_ms)
        self._waits = waits
        for author in authors:
            self._served[author] = self._count
            self._served.move_to_end(author)
        while len(self._served) > SERVED_MAX:
            self._served.popitem(last=False)

    def _leave_out(self, checked: CheckedEvent, wait: Wait, *, is_missed: bool, now_ms: int) -> None:
        if wait.passed_on_ms is None:
            wait.left_out += 1
            if wait.left_out >= FORWARD_AFTER_BLOCKS:
                wait.passed_on_ms = now_ms
                self._pass_on(checked)
            return
        if now_ms < wait.passed_on_ms + DELAY_MS:
            return
        if wait.since is None:
            wait.since = self._count - 1
        if is_missed:
            wait.misses += 1
        else:
            wait.excused += 1
        if wait.misses > MISSES_MAX or wait.excused > EXCUSED_MAX:
            raise BatchRefused(
                f"leaves out event {checked.event_id.hex()} of {checked.event.author.hex()[:16]}, nonce {wait.nonce}, "
                f"which could be included from place {wait.first_seq} on and was passed on to all: left out "
                f"{wait.misses} times with room for it or after others' turn, and of {wait.excused} full batches"
            )
