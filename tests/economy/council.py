"""A town whose validator set changes: votes decide at the close of an epoch, operators say the rest."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ledger import membership
from ledger.authoring import Reference, make_event, sign_event
from ledger.events import EventType, SignedEvent, View
from ledger.evidence import EquivocationProven, SignedVote
from ledger.nodes import NODE_REVOKED, NodeRevoked, registration_message
from ledger.primitives.checkpoint import Checkpoint
from ledger.primitives.records import encode_record
from ledger.primitives.signing import Purpose, SigningKey
from ledger.primitives.votes import OrderingVote, compute_era_domain
from ledger.receipts import APPLIED, Receipt
from ledger.registry import Registry
from ledger.service import Validators, read_validators
from ledger.telemetry import CheckpointCertified, CheckpointVote
from ledger.validators import (
    VALIDATOR_ADMITTED,
    VALIDATOR_DISMISSED,
    ValidatorAdmitted,
    ValidatorDismissed,
    ValidatorKeyRotated,
    ValidatorReady,
    ValidatorResigned,
    judge_admission,
    judge_dismissal,
    readiness_message,
)
from tests.economy.node_town import NODES, NodeTown
from tests.economy.town import by_type
from tests.ledger.world import KINDS, REGISTRY, Person

CHANGED, LAPSED = "infra.ValidatorSetChanged", "infra.ValidatorChangeLapsed"


class Votes:
    """A registry whose epochs' close carries out what votes have decided, before the set is changed."""

    def __init__(self) -> None:
        self.decided: dict[int, tuple[tuple[EventType[Any], Any], ...]] = {}  # by the epoch that closes
        self.verdicts: list[str] = []

        def step(view: View, closed: int, beat: int) -> Iterator[tuple[EventType[Any], Any]]:
            for kind, body in self.decided.get(closed, ()):
                judge = {VALIDATOR_ADMITTED.name: judge_admission, VALIDATOR_DISMISSED.name: judge_dismissal}
                verdict = judge[kind.name](view, body.node) if kind.name in judge else None
                self.verdicts.append("" if verdict is None else verdict.code)
                if verdict is None or verdict.allowed:
                    yield kind, body

        self.registry = Registry(REGISTRY.all(), REGISTRY.stack, (("votes", step), membership.AT_CLOSE))


class Council(NodeTown):
    """Operator number i runs node number i under `key(i)`; the first four are validators of genesis."""

    def __init__(self, folder: Path, votes: Votes | None = None) -> None:
        self.votes = votes or Votes()
        super().__init__(folder, self.votes.registry)
        self.keys = list(NODES)  # by number, as they are now
        self.blocks: list[tuple[Any, Any]] = []

    def execute(self, *events: SignedEvent, beat: bool = False) -> Any:
        batch, checked = self.batch(*events, beat=beat), self.check(*events)
        self.blocks.append((batch, checked))
        return self.chain.execute(batch, checked)

    # What votes decide, at the next close.

    def end(self, *decided: tuple[EventType[Any], Any]) -> list[Receipt]:
        """End the epoch, with what votes have decided; return the receipts of the block that does."""
        self.votes.decided[self.chain.head.header.epoch] = decided
        self.votes.verdicts.clear()
        return self.close_epoch()

    def admit(self, *numbers: int) -> list[Receipt]:
        return self.end(*[(VALIDATOR_ADMITTED, ValidatorAdmitted(self.keys[number].public)) for number in numbers])

    def dismiss(self, *numbers: int) -> list[Receipt]:
        return self.end(
            *[(VALIDATOR_DISMISSED, ValidatorDismissed(self.keys[number].public, "decided")) for number in numbers]
        )

    def revoke(self, *numbers: int) -> list[Receipt]:
        return self.end(*[(NODE_REVOKED, NodeRevoked(self.keys[number].public, "decided")) for number in numbers])

    # What operators say.

    def sign_ready(self, number: int, by: int | None = None, **changes: Any) -> SignedEvent:
        proof = self.sign_proof_of(number, self.chain.head.hash)
        fields: dict[str, Any] = {"node": self.keys[number].public, "proof": proof}
        return self.sign(self.operators[number if by is None else by], ValidatorReady, **(fields | changes))

    def sign_proof_of(self, number: int, block: bytes) -> bytes:
        return self.keys[number].sign(self.chain.chain_id, Purpose.NODE_READY, readiness_message(block))

    def ready(self, *numbers: int) -> None:
        for number in numbers:
            self.apply(self.sign_ready(number))

    def sign_resignation(self, number: int, by: int | None = None) -> SignedEvent:
        return self.sign(
            self.operators[number if by is None else by], ValidatorResigned, node=self.keys[number].public
        )  # fmt: skip

    def sign_rotation(self, number: int, new: SigningKey, by: int | None = None, **changes: Any) -> SignedEvent:
        person: Person = self.operators[number if by is None else by]
        proof = new.sign(
            self.chain.chain_id, Purpose.NODE_REGISTRATION, registration_message(person.account, new.public)
        )  # fmt: skip
        fields = {"new_node": new.public, "node": self.keys[number].public, "proof": proof}
        return self.sign(person, ValidatorKeyRotated, **(fields | changes))

    def rotate(self, number: int) -> SigningKey:
        """Give a validator a new key; return the old one."""
        old = self.keys[number]
        new = SigningKey(bytes([number]) * 31 + bytes([len(self.blocks) % 251 + 1]))
        self.apply(self.sign_rotation(number, new))
        self.end()
        self.keys[number] = new
        return old

    def join(self, *numbers: int) -> list[Receipt]:
        """Admit nodes, which say that they are ready; return the receipts of the block with which they join."""
        self.admit(*numbers)
        self.ready(*numbers)
        return self.end()

    def sign_evidence(self, key: SigningKey, replica: int, era: int = 0) -> SignedEvent:
        """Return evidence that a key voted two ways as a validator of an era; anybody may bring it in."""
        domain, first = compute_era_domain(self.chain.chain_id, era), OrderingVote(b"a" * 32, replica, 7, 3)
        votes: list[SignedVote] = []
        for vote in (first, replace(first, digest=b"b" * 32)):
            message = encode_record(vote)
            votes.append(SignedVote(message, key.sign(domain, Purpose.COMMIT, message)))
        return self.sign(
            self.people[0], EquivocationProven, era=era, first=votes[0], key=key.public, kind="commit", second=votes[1]
        )  # fmt: skip

    # What the ledger says.

    @property
    def validators(self) -> Validators:
        found = read_validators(self.store)
        assert found is not None
        return found

    @property
    def members(self) -> list[int]:
        """The numbers of the set's nodes, in replica order."""
        numbers = {key.public: number for number, key in enumerate(self.keys)}
        return [numbers[key] for key in self.validators.keys]

    def certify(self, *numbers: int, author: int = 0, at: int | None = None) -> SignedEvent:
        """Return signatures over a block, the head unless `at` is given, by these nodes, of the present set."""
        height = self.chain.head.height if at is None else at
        known = self.chain.references(height)
        assert known is not None
        votes: list[CheckpointVote] = []
        for number in numbers:
            key = self.keys[number]
            replica = self.validators.keys.index(key.public)
            message = encode_record(Checkpoint(known[0], replica, height))
            signature = key.sign(self.chain.chain_id, Purpose.CHECKPOINT, message)
            votes.append(CheckpointVote(key.public, replica, signature))
        person = self.operators[author]
        person.nonce += 1
        event = make_event(
            KINDS[CheckpointCertified],
            CheckpointCertified(self.keys[author].public, tuple(sorted(votes, key=lambda vote: vote.replica))),
            author=person.account,
            key=person.key.public,
            nonce=person.nonce,
            reference=Reference(height, *known),
        )
        return sign_event(person.key, self.chain.chain_id, event)


def changed(receipts: list[Receipt]) -> dict[str, Any] | None:
    """Return what the one event that changes the set says; None where there is none."""
    found = by_type(receipts, CHANGED)
    assert len(found) <= 1
    return dict(found[0].inputs) if found else None


def lapsed(receipts: list[Receipt]) -> list[tuple[str, str]]:
    """Return kind and reason of each change that lapsed."""
    return [(str(each.inputs["kind"]), str(each.inputs["reason"])) for each in by_type(receipts, LAPSED)]


def open_council(folder: Path, kind: type[Council] = Council) -> Council:
    """All eight nodes are registered, and serve."""
    council = kind(folder)
    council.register(*range(8))
    council.end()
    assert all(receipt.outcome == APPLIED for receipt in council.end())
    return council
