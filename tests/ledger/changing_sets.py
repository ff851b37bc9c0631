"""A chain whose validator set changes where the test says, at the ends of its epochs, as membership would have it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from consensus.messages import Certificate, Checkpoint, Vote
from ledger.events import Entry, EventType, View, Write
from ledger.primitives.records import U64, encode_record
from ledger.primitives.signing import Purpose, SigningKey
from ledger.registry import Registry
from ledger.service import Validators, list_era_writes, read_validators
from tests.ledger.world import REGISTRY, VALIDATORS, World, make_genesis

EPOCH_BEATS = 4
JOINER = SigningKey(bytes([210]) * 32)
Sets = Mapping[int, tuple[SigningKey, ...]]
"""The epoch that ends, to who is in the set from then on."""


@dataclass(frozen=True, slots=True)
class SetChanged:
    closed: U64


def make_changing_registry(sets: Sets) -> Registry:
    """Return the registry of all rules, and one more that changes the set."""

    def apply(view: View, entry: Entry[SetChanged]) -> Iterator[Write]:
        before = read_validators(view)
        assert before is not None
        keys = tuple(key.public for key in sets[entry.body.closed])
        yield from list_era_writes(Validators(keys, before.era + 1, entry.height + 1))

    kind = EventType(
        name="test.SetChanged",
        version=1,
        body=SetChanged,
        guards=(),
        apply=apply,
        summary="The test changed the set.",
        example=SetChanged(0),
        inputs=lambda body: {"closed": body.closed},
        derived=True,
    )

    def at_close(view: View, closed: int, beat: int) -> Iterator[tuple[EventType[Any], Any]]:
        if closed in sets:
            yield kind, SetChanged(closed)

    return Registry((*REGISTRY.all(), kind), REGISTRY.stack, (*REGISTRY.at_close, ("test", at_close)))


class ChangingWorld(World):
    """A world whose epochs have EPOCH_BEATS beats; `sets` says who is in the set after each."""

    def __init__(self, folder: Path, sets: Sets) -> None:
        self.sets = sets
        super().__init__(folder, replace(make_genesis(), epoch_beats=EPOCH_BEATS), make_changing_registry(sets))

    def keys_at(self, height: int) -> tuple[SigningKey, ...]:
        """Return the keys of those who certify a height, in replica order."""
        known = {key.public: key for keys in (VALIDATORS, *self.sets.values()) for key in keys}
        return tuple(known[public] for public in self.chain.validators_at(height).keys)

    def beat(self, *, certified: bool = True) -> int:
        """Begin a beat; return the height of its block."""
        height = self.execute(beat=True).header.height
        if certified:
            self.chain.write_certificate(height, self.certify(height))
        return height

    def certify(self, height: int, keys: tuple[SigningKey, ...] | None = None) -> bytes:
        """Return the certificate of a block by all of its set, or by these keys as replicas 0, 1, …"""
        reference = self.chain.references(height)
        assert reference is not None
        votes = tuple(
            Vote(number, key.sign(self.chain.chain_id, Purpose.CHECKPOINT, encode_record(vote)))
            for number, key in enumerate(self.keys_at(height) if keys is None else keys)
            if (vote := Checkpoint(reference[0], number, height))
        )
        return encode_record(Certificate(digest=reference[0], seq=height, signatures=votes))
