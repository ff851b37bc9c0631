"""Beats: the ledger's clock for rules that need duration.  Events: infra.BeatStarted, derived.

The primary proposes a beat with a block at most once each `beat_s`; backups accept it only when their own clocks agree,
checked on the first proposal and never again.  Replay needs no clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import keyspace
from ledger.events import Entry, EventType, Put, View, Write
from ledger.primitives.records import U32, U64, Bytes32
from ledger.service import count_beat
from ledger.state import encode_number, read_number


@dataclass(frozen=True, slots=True)
class BeatStarted:
    """The beat that begins with this block, who proposed it in which view, and the hash of the header below."""

    beat: U64
    proposer: U32 = 0
    view: U64 = 0
    seed: Bytes32 = bytes(32)


def read_beat(view: View) -> int:
    """Return the current beat; 0 at genesis."""
    return read_number(view, keyspace.beat())


def read_seed(view: View) -> bytes:
    """Return what draws are made from: nobody knew it before the block below was complete.  Zero at genesis.

    The primary of that block chose its events, so he can try several; no draw alone decides anything.
    """
    return view.get(keyspace.seed()) or bytes(32)


def apply_beat_started(view: View, entry: Entry[BeatStarted]) -> Iterator[Write]:
    """Advance the beat, keep its seed, and count it for its proposer."""
    body = entry.body
    yield Put(keyspace.beat(), encode_number(body.beat))
    yield Put(keyspace.seed(), body.seed)
    yield from count_beat(view, entry.epoch, body.beat, body.proposer, body.view)


BEAT_STARTED = EventType(
    name="infra.BeatStarted",
    version=2,
    body=BeatStarted,
    guards=(),
    apply=apply_beat_started,
    summary="A beat began.",
    example=BeatStarted(1),
    inputs=lambda body: {
        "beat": body.beat, "proposer": body.proposer, "seed": body.seed.hex(), "view": body.view,
    },
    derived=True,
)  # fmt: skip

EVENTS = (BEAT_STARTED,)
