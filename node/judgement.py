"""What a backup asks of a first proposal before it prepares it.

Never asked again when the proposal comes back in a new view.
"""

from dataclasses import dataclass

from ledger.block import BATCH_BYTES_MAX, Batch, decode_batch
from ledger.events import CheckedEvent, EventRefused, View
from ledger.identity import read_nonce
from ledger.primitives.encoding import EncodingError
from node.clock import CLOCK_TOLERANCE_MS, BeatClock
from node.event_cache import EventCache


class BatchRefused(ValueError):
    """A proposal that no correct primary makes; the message says why."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal decoded and checked, kept until it is executed."""

    batch: Batch | None  # None for a null request
    checked: tuple[CheckedEvent | EventRefused, ...]


NULL_PROPOSAL = Proposal(None, ())


def open_proposal(data: bytes, cache: EventCache) -> Proposal:
    """Return an ordered batch ready for execution, whoever proposed it."""
    if not data:
        return NULL_PROPOSAL
    batch = decode_batch(data)
    return Proposal(batch, cache.check_all(batch.items))


def judge_proposal(
    data: bytes,
    *,
    view_number: int,
    seq: int,
    primary: int,
    state: View,
    beat: int,
    now_ms: int,
    clock: BeatClock,
    cache: EventCache,
) -> Proposal:
    """Return the proposal if we vote for it; now_ms is our wall clock.  Raises BatchRefused."""
    if len(data) > BATCH_BYTES_MAX:
        raise BatchRefused(f"expected at most {BATCH_BYTES_MAX} bytes, got {len(data)}")
    try:
        batch = decode_batch(data)
    except EncodingError as error:
        raise BatchRefused(f"not a canonical batch: {error}") from error
    if (batch.height, batch.view, batch.proposer) != (seq, view_number, primary):
        raise BatchRefused(
            f"expected height {seq}, view {view_number}, proposer {primary}; "
            f"got {batch.height}, {batch.view}, {batch.proposer}"
        )
    if not batch.items and not batch.beat:
        raise BatchRefused("an empty batch without a beat")
    if abs(batch.time_ms - now_ms) > CLOCK_TOLERANCE_MS:
        raise BatchRefused(f"the display time {batch.time_ms} differs from ours by more than {CLOCK_TOLERANCE_MS} ms")
    if batch.beat and clock.is_too_early(beat + 1):
        raise BatchRefused(f"beat {beat + 1} comes too early by our clock")
    return Proposal(batch, _judge_events(batch, state, cache))


def _judge_events(batch: Batch, state: View, cache: EventCache) -> tuple[CheckedEvent, ...]:
    checked: list[CheckedEvent] = []
    last: dict[bytes, int] = {}
    for signed in batch.items:
        try:
            event = cache.check(signed)
        except EventRefused as refused:
            raise BatchRefused(f"holds an event that can't be executed: {refused.because}") from refused
        author, nonce = event.event.author, event.event.nonce
        before = last.get(author)
        if before is None and nonce <= read_nonce(state, author):
            raise BatchRefused(f"holds an event of {author.hex()[:16]} whose nonce {nonce} was used already")
        if before is not None and nonce != before + 1:
            raise BatchRefused(f"holds events of {author.hex()[:16]} out of order: {nonce} after {before}")
        last[author] = nonce
        checked.append(event)
    return tuple(checked)
