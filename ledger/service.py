"""Service: what the validators did in an epoch, counted from the ledger alone.  Beats are the unit: load adds nothing.

votes      beats in which a validator is known to have signed a block, of the beats that a quorum is known for
proposals  beats that it proposed, of those that it was the primary for; a primary that lost its view owes one
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from ledger import keyspace
from ledger.events import Put, View, Write
from ledger.primitives.records import U32, U64, Bytes32, Length, encode_record
from ledger.state import read_record

VALIDATORS_MAX = 100
Counts = Annotated[tuple[U32, ...], Length(0, VALIDATORS_MAX)]


def compute_quorum(count: int) -> int:
    """Return how many of so many validators decide: ceil((n + f + 1) / 2)."""
    return (count + (count - 1) // 3 + 2) // 2


@dataclass(frozen=True, slots=True)
class Validators:
    """A validator set, in replica order.  Eras count the sets of a chain; each begins at a fixed height."""

    keys: Annotated[tuple[Bytes32, ...], Length(1, VALIDATORS_MAX)]
    era: U32 = 0
    since: U64 = 1  # the first height that this set orders and certifies

    @property
    def faulty_max(self) -> int:
        """How many may be faulty: f."""
        return (len(self.keys) - 1) // 3

    @property
    def quorum(self) -> int:
        return compute_quorum(len(self.keys))


@dataclass(frozen=True, slots=True)
class Service:
    """The counts of one epoch, each tuple by replica."""

    beats: U32  # that began
    certified: U32  # of them, for which a quorum's signatures are on the ledger
    epoch: U64
    first_beat: U64
    led: Counts  # beats that each was to propose
    proposals: Counts
    view: U64  # of the last beat
    votes: Counts  # certified beats with a signature of each


@dataclass(frozen=True, slots=True)
class BeatVotes:
    """Who has signed a block of a beat: replica r is bit r."""

    beat: U64
    signers: Annotated[bytes, Length(1, (VALIDATORS_MAX + 7) // 8)]  # big-endian


def read_validators(view: View) -> Validators | None:
    """Return the set that orders the next height; None in a state without one, as tests of single modules have."""
    return read_record(view, keyspace.validators(), Validators)


def read_era(view: View, era: int) -> Validators | None:
    """Return the set of an era, also of one that ended; None for one that has not begun."""
    return read_record(view, keyspace.era(era), Validators)


def read_validators_at(view: View, height: int) -> Validators | None:
    """Return the set that orders and certifies a height, of those that are known: the head's next at most."""
    found = read_validators(view)
    while found is not None and height < found.since and found.era > 0:
        found = read_era(view, found.era - 1)
    return found


def list_era_writes(validators: Validators) -> Iterator[Write]:
    """Yield what makes this set the one of the next height, and keeps it in the history of sets."""
    record = encode_record(validators)
    yield Put(keyspace.validators(), record)
    yield Put(keyspace.era(validators.era), record)


def read_service(view: View, epoch: int) -> Service | None:
    """Return the counts of an epoch; None when no beat of it began, or when its place was used again."""
    found = read_record(view, keyspace.service(epoch), Service)
    return found if found is not None and found.epoch == epoch else None


def count_beat(view: View, epoch: int, beat: int, proposer: int, view_number: int) -> Iterator[Write]:
    """Yield what counts a beat that began: who proposed it, and which primaries lost their view before it."""
    validators = read_validators(view)
    if validators is None:
        return
    count = len(validators.keys)
    service = read_service(view, epoch)
    last_view = view_number
    if service is None:
        before = read_service(view, epoch - 1) if epoch else None
        last_view = view_number if before is None else before.view
        none = (0,) * count
        service = Service(0, 0, epoch, beat, none, none, view_number, none)
    else:
        last_view = service.view
    led, proposals = list(service.led), list(service.proposals)
    for lost in range(max(last_view, view_number - count), view_number):
        led[lost % count] += 1
    led[proposer % count] += 1
    proposals[proposer % count] += 1
    counted = replace(
        service, beats=service.beats + 1, led=tuple(led), proposals=tuple(proposals), view=view_number
    )  # fmt: skip
    yield Put(keyspace.service(epoch), encode_record(counted))


def read_signers(view: View, service: Service, beat: int) -> int:
    """Return who is known to have signed a block of a beat, as bits by replica; nobody for beats of other epochs."""
    if beat < service.first_beat:
        return 0
    found = read_record(view, keyspace.beat_votes(beat - service.first_beat), BeatVotes)
    return int.from_bytes(found.signers, "big") if found is not None and found.beat == beat else 0


def count_votes(
    view: View, service: Service, validators: Validators, beat: int, signers: int
) -> Iterator[Write]:  # fmt: skip
    """Yield what adds signers to a beat.  A beat counts, with all who signed, once a quorum is known."""
    count = len(validators.keys)
    before = read_signers(view, service, beat)
    after = before | signers
    was_certified = before.bit_count() >= validators.quorum
    is_certified = after.bit_count() >= validators.quorum
    if is_certified:
        fresh = after & ~before if was_certified else after
        votes = tuple(number + (fresh >> replica & 1) for replica, number in enumerate(service.votes))
        certified = service.certified + (0 if was_certified else 1)
        counted = replace(service, certified=certified, votes=votes)
        yield Put(keyspace.service(service.epoch), encode_record(counted))
    record = BeatVotes(beat, after.to_bytes((count + 7) // 8, "big"))
    yield Put(keyspace.beat_votes(beat - service.first_beat), encode_record(record))
