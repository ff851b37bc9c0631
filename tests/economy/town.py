"""A chain with accounts of genesis and newcomers on it, beats that close epochs, and sums over the whole state."""

from pathlib import Path
from typing import Any

from ledger import keyspace
from ledger.conservation import BALANCE
from ledger.events import Event, SignedEvent
from ledger.genesis import Allocation, Genesis, make_policy_values
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import decode_record
from ledger.primitives.signing import SigningKey
from ledger.receipts import Receipt
from ledger.registry import Registry
from ledger.state import decode_number
from ledger.tokens import TOKENS, read_supply
from ledger.transition import Executed
from tests.ledger.world import REGISTRY, TIME_MS, VALIDATORS, Person, World

EPOCH_BEATS = 4
EACH = 1_000 * SCALE
TEXTS = (
    "The harbour was quiet this morning, and the boats came back early. Nobody had expected so much fish so late.",
    "A compiler is a program that reads a program. It writes another one, which a machine can run without asking.",
    "We measured the bridge twice and got two lengths. The warmer day gave the longer one, as steel would have it.",
    "Bread needs flour, water, salt and time. The last of these is the one that most people try to save.",
    "The library opens at nine, closes at six, and lends to everyone who brings a card and a little patience.",
)


def make_town_genesis(people: int, policies: dict[str, dict[str, int]] | None = None, name: str = "town") -> Genesis:
    """People called "p0", "p1", … hold 1,000 FLX each from genesis, and count as fully aged."""
    keys = [SigningKey(f"p{number}".encode().ljust(32, b".")) for number in range(people)]
    return Genesis(
        allocations=tuple(Allocation(EACH, key.public) for key in keys),
        beat_ms=1_000,
        epoch_beats=EPOCH_BEATS,
        name=name,
        time_ms=TIME_MS,
        policies=make_policy_values(policies or {}),
        validators=tuple(key.public for key in VALIDATORS),
    )  # fmt: skip


class Town(World):
    """A world whose people come from genesis."""

    def __init__(
        self,
        folder: Path,
        people: int,
        policies: dict[str, dict[str, int]] | None = None,
        registry: Registry = REGISTRY,
    ) -> None:
        super().__init__(folder, make_town_genesis(people, policies), registry)
        self.people = [self.person(f"p{number}") for number in range(people)]

    def beat(self, *events: SignedEvent) -> Executed:
        """Execute a block that begins a beat."""
        return self.execute(*events, beat=True)

    def close_epoch(self) -> list[Receipt]:
        """Let beats pass until the epoch closes; return the receipts of the block that closed it."""
        epoch = self.chain.head.header.epoch
        while True:
            executed = self.beat()
            if executed.header.epoch != epoch:
                return list(executed.receipts)

    def pass_epochs(self, count: int) -> None:
        for _ in range(count):
            self.close_epoch()

    def post(self, person: Person, number: int = 0, tags: tuple[str, ...] = ()) -> SignedEvent:
        """Return a post of a text of its own."""
        from social.posts import PostPublished

        text = f"{TEXTS[number % len(TEXTS)]} {_spell(number)}"
        return self.sign(person, PostPublished, text=text, tags=tags)

    def sums(self) -> dict[str, tuple[int, int]]:
        """Return, for each token, the sum of all balances and what was issued less what was burned."""
        found = dict.fromkeys(TOKENS, 0)
        for key, value in self.store.iterate(BALANCE, keyspace.after(BALANCE)):
            found[key[2:5].decode()] += decode_number(value)
        return {token: (found[token], read_supply(self.store, token)) for token in TOKENS}

    def assert_conserved(self) -> None:
        for token, (balances, supply) in self.sums().items():
            assert balances == supply, token


def _spell(number: int) -> str:
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return " ".join(words[int(digit)] for digit in str(number))


def by_type(receipts: list[Receipt], name: str) -> list[Receipt]:
    """Return the receipts of one event type."""
    return [receipt for receipt in receipts if receipt.event_type == name]


def author_of(signed: SignedEvent) -> bytes:
    return decode_record(Event, signed.event).author


def payments(receipts: list[Receipt]) -> dict[str, dict[str, Any]]:
    """Return what each account was paid, by account id in hex."""
    return {str(r.inputs["account"]): dict(r.inputs) for r in by_type(receipts, "economics.RewardPaid")}
