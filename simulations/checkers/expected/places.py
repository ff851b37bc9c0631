"""What a NEW-VIEW makes of places that were prepared before: their digests kept, gaps filled with null requests."""

from dataclasses import dataclass

from consensus.messages import NULL_DIGEST, NewView, holds
from simulations.checkers.expected import Expect
from simulations.observations import CheckFailed, Observation, Scripted, Sent


@dataclass(frozen=True, slots=True)
class Place:
    """One that `committed` replicas had executed when the primary of its view died."""

    view: int
    seq: int
    digest: str
    committed: int


class ExpectedPlaces:
    """Waits, for each place, for the first NEW-VIEW above its view."""

    name = "expected_places"

    def __init__(self, expect: Expect) -> None:
        self._expect = expect
        self._waiting: list[Place] = []
        self._carried: list[int] = []
        self._nulls: set[tuple[int, int]] = set()

    def observe(self, observation: Observation) -> None:
        match observation:
            case Scripted(_, "primary dies", facts):
                self._on_death(dict(facts))
            case Sent(_, _, _, signed, _) if holds(signed, NewView):
                self._on_new_view(signed.message)
            case _:
                pass

    def _on_death(self, facts: dict[str, int | str]) -> None:
        if facts["executed"] != facts["asked"]:
            expected = f"place {facts['seq']} executed by exactly {facts['asked']} replicas"
            raise CheckFailed(self.name, expected, f"by {facts['executed']}")
        place = Place(int(facts["view"]), int(facts["seq"]), str(facts["digest"]), int(facts["asked"]))
        self._waiting.append(place)

    def _on_new_view(self, message: NewView) -> None:
        given = {each.seq: each.digest for each in message.proposals}
        self._nulls.update((message.view, seq) for seq in given if given[seq] == NULL_DIGEST)
        for place in [each for each in self._waiting if each.view < message.view]:
            digest = given.get(place.seq)
            if digest is None or digest.hex() != place.digest:
                found = "nothing" if digest is None else digest.hex()[:16]
                expected = f"NEW-VIEW {message.view} to give place {place.seq} to {place.digest[:16]}"
                raise CheckFailed(self.name, expected, found)
            self._waiting.remove(place)
            self._carried.append(place.committed)

    def finish(self) -> None:
        """Judge what the run came to."""
        if self._waiting or sorted(self._carried) != sorted(self._expect.carried):
            expected = f"places executed by {sorted(self._expect.carried)} replicas to be carried over"
            raise CheckFailed(self.name, expected, f"those by {sorted(self._carried)}, {len(self._waiting)} without")
        if len(self._nulls) < self._expect.nulls_min:
            raise CheckFailed(self.name, f"{self._expect.nulls_min} null requests or more", f"{len(self._nulls)}")
