"""A town with nodes: operators register them, validators' signatures and attestations reach the ledger each epoch."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ledger.authoring import Reference, make_event, sign_event
from ledger.emission import NOD_SHARE_MAX
from ledger.events import EventType, SignedEvent, View
from ledger.genesis import Allocation, Genesis, make_policy_values
from ledger.nod import FIT
from ledger.nodes import (
    AUDITOR,
    NO_GROUP,
    NODE_REVOKED,
    RELAY,
    VALIDATOR,
    Node,
    NodeRegistered,
    NodeRevoked,
    read_node,
    registration_message,
)
from ledger.primitives.checkpoint import Checkpoint
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.hashing import tagged_hash
from ledger.primitives.records import encode_record
from ledger.primitives.signing import Purpose, SigningKey
from ledger.receipts import APPLIED, Receipt
from ledger.registry import Registry
from ledger.telemetry import Attestation, CheckpointCertified, CheckpointVote, ServiceAttested
from tests.economy.town import EPOCH_BEATS, Town, by_type
from tests.ledger.world import KINDS, REGISTRY, TIME_MS, VALIDATORS, Person, World

OPERATORS, CITIZENS = 8, 6
HELD = 10_000 * SCALE
ASKED = 20
PQC_KEY = tagged_hash("test/pqc", b"a key of 1,952 bytes")
POLICIES = {"energy": {"base_cost": 100 * SCALE}, "sybil": {"bond": 0}}
OTHERS = tuple(SigningKey(bytes([150 + number]) * 32) for number in range(OPERATORS - len(VALIDATORS)))
"""Keys of nodes that are no validators."""
NODES = (*VALIDATORS, *OTHERS)
KIND_OF = (VALIDATOR,) * 4 + (AUDITOR, RELAY, RELAY, RELAY)


def _seed(name: str) -> SigningKey:
    return SigningKey(name.encode().ljust(32, b"."))


def make_node_genesis() -> Genesis:
    """Eight operators and six citizens with plenty of FLX."""
    names = [f"o{number}" for number in range(OPERATORS)] + [f"p{number}" for number in range(CITIZENS)]
    return Genesis(
        allocations=tuple(Allocation(HELD, _seed(name).public) for name in names),
        beat_ms=1_000,
        epoch_beats=EPOCH_BEATS,
        name="node town",
        time_ms=TIME_MS,
        policies=make_policy_values(POLICIES),
        validators=tuple(key.public for key in VALIDATORS),
    )


def make_registry_that_revokes(chosen: Callable[[int], bytes | None]) -> Registry:
    """A registry whose epochs' close revokes a node, as a vote will: `chosen(closed epoch)` is its key."""

    def step(view: View, closed: int, beat: int) -> Iterator[tuple[EventType[Any], Any]]:
        node = chosen(closed)
        if node is not None:
            yield NODE_REVOKED, NodeRevoked(node, "decided by a vote")

    return Registry(REGISTRY.all(), REGISTRY.stack, (("infra", step),))


class NodeTown(Town):
    """Operator number i runs node number i; the first four are validators."""

    def __init__(self, folder: Path, registry: Registry = REGISTRY) -> None:
        World.__init__(self, folder, make_node_genesis(), registry)
        self.people = [self.person(f"p{number}") for number in range(CITIZENS)]
        self.operators = [self.person(f"o{number}") for number in range(OPERATORS)]
        self.posted = 0

    def registration(self, number: int, operator: Person | None = None, **changes: Any) -> SignedEvent:
        operator = operator or self.operators[number]
        key = NODES[number]
        message = registration_message(operator.account, key.public)
        fields = {
            "group": NO_GROUP,
            "kind": KIND_OF[number],
            "node": key.public,
            "pqc_key": PQC_KEY,
            "pqc_scheme": "ML-DSA-65",
            "proof": key.sign(self.chain.chain_id, Purpose.NODE_REGISTRATION, message),
        }
        return self.sign(operator, NodeRegistered, **(fields | changes))

    def register(self, *numbers: int, **changes: Any) -> None:
        for number in numbers:
            receipt = self.execute(self.registration(number, **changes)).receipts[-1]
            assert receipt.outcome == APPLIED, receipt.explanation

    def certificate(
        self,
        signers: Collection[int],
        *,
        author: int = 0,
        at: int | None = None,
        keys: Mapping[int, SigningKey] | None = None,
        hash_of: int | None = None,
    ) -> SignedEvent:
        """Return signatures over a block, the head unless `at` is given; `keys` and `hash_of` forge them."""
        height = self.chain.head.height if at is None else at
        known = self.chain.references(height)
        signed_over = self.chain.references(height if hash_of is None else hash_of)
        assert known is not None
        assert signed_over is not None
        votes: list[CheckpointVote] = []
        for replica in sorted(signers):
            key = (keys or {}).get(replica, VALIDATORS[replica % len(VALIDATORS)])
            message = encode_record(Checkpoint(signed_over[0], replica, height))
            votes.append(
                CheckpointVote(key.public, replica, key.sign(self.chain.chain_id, Purpose.CHECKPOINT, message))
            )
        person = self.operators[author]
        person.nonce += 1
        event = make_event(
            KINDS[CheckpointCertified],
            CheckpointCertified(NODES[author].public, tuple(votes)),
            author=person.account,
            key=person.key.public,
            nonce=person.nonce,
            reference=Reference(height, *known),
        )
        return sign_event(person.key, self.chain.chain_id, event)

    def attestation(self, author: int, answered: Mapping[int, int], epoch: int | None = None) -> SignedEvent:
        """Return validator `author`'s word on other nodes: how many of ASKED challenges each answered."""
        entries = [Attestation(count, ASKED, NODES[number].public) for number, count in sorted(answered.items())]
        if epoch is None:
            epoch = self.chain.head.header.epoch - 1
        return self.sign(
            self.operators[author],
            ServiceAttested,
            entries=tuple(sorted(entries, key=lambda entry: entry.node)),
            epoch=epoch,
            node=NODES[author].public,
        )

    def live_epoch(
        self,
        *,
        answered: Mapping[int, int] | None = None,
        absent: Mapping[int, int] | None = None,
        attesters: Collection[int] = range(4),
        certified: bool = True,
        busy: bool = True,
    ) -> None:
        """Live the current epoch to its last beat; the next beat closes it.

        answered: node -> answers that every attester got in the epoch before.  absent: validator -> beats without it.
        """
        epoch = self.chain.head.header.epoch
        for author in attesters if answered else ():
            own = {number: count for number, count in (answered or {}).items() if number != author}
            self.apply(self.attestation(author, own))
        if busy:
            for person in self.people:
                self.execute(self.post(person, self.posted))
                self.posted += 1
        for number in range(EPOCH_BEATS):
            if number:
                self.beat()
            if certified and self.serves(0):
                self.apply(self.certificate([each for each in range(4) if number >= (absent or {}).get(each, 0)]))
        assert self.chain.head.header.epoch == epoch

    def apply(self, signed: SignedEvent) -> None:
        receipt = self.execute(signed).receipts[-1]
        assert receipt.outcome == APPLIED, receipt.explanation

    def serves(self, number: int) -> bool:
        node = read_node(self.store, NODES[number].public)
        return node is not None and node.serves_in(self.chain.head.header.epoch)

    def settle(self) -> list[Receipt]:
        """Close the epoch; return the receipts of the block that closed it."""
        epoch = self.chain.head.header.epoch
        executed = self.beat()
        assert executed.header.epoch == epoch + 1
        return list(executed.receipts)


def outcomes(receipts: list[Receipt]) -> dict[int, tuple[str, int]]:
    """Return node number -> (code, atoms), from the events of a closing block."""
    numbers = {key.public.hex(): number for number, key in enumerate(NODES)}
    rows = by_type(receipts, "infra.NodAllocated") + by_type(receipts, "infra.NodeRejected")
    return {
        numbers[str(row.inputs["node"])]: (str(row.inputs["code"]), int(row.inputs.get("atoms", 0))) for row in rows
    }


ALL = dict.fromkeys(range(7), ASKED)


def open_town(town: NodeTown, *numbers: int) -> NodeTown:
    """Register nodes in epoch 0, and live an epoch so that what follows can be attested."""
    town.register(*(numbers or range(7)))
    for _ in range(3):
        town.beat()
    town.settle()
    town.live_epoch()
    town.settle()
    return town


def codes(receipt: Receipt) -> set[str]:
    return {verdict.code for verdict in receipt.verdicts if not verdict.allowed}


def assert_exact(town: NodeTown, receipts: list[Receipt]) -> int:
    """Check what must hold of every settlement; return the pool."""
    closed = by_type(receipts, "economics.EmissionEpochClosed")[0].inputs
    pool, issued = int(closed["nod_pool"]), int(closed["nod_issued"])
    rows = outcomes(receipts)
    given = [atoms for _, atoms in rows.values()]
    assert sum(given) == issued <= pool
    assert all(atoms * SCALE <= pool * NOD_SHARE_MAX for atoms in given)
    assert all(atoms == 0 for code, atoms in rows.values() if code != FIT)
    town.assert_conserved()
    return pool


def make_node(owner: int, key: bytes, number: int = 0) -> Node:
    return Node(
        bytes([owner]) * 32, 0, NO_GROUP, key, RELAY, number, b"q" * 32, "ML-DSA-65", 0, released=False,
        retired_epoch=None, revoked=False,
    )  # fmt: skip
