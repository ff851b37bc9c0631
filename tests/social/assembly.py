"""A town that votes: its people have weight, its validators vouch for reports, its windows are short."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger import keyspace
from ledger.bonds import BondLocked
from ledger.draft import Draft
from ledger.events import Entry, EventType, SignedEvent, View, Write
from ledger.nod import FIT, Measures, NodeOutcome
from ledger.nodes import RELAY, Node
from ledger.policies import compute_policy_id, encode_values
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import encode_record
from ledger.primitives.signing import Purpose
from ledger.receipts import Receipt
from ledger.registry import Registry
from ledger.roles import GOVERNANCE, PLATFORM, grant_role_writes
from ledger.state import encode_number
from ledger.tokens import NOD, issue
from social.governance.drafts import PolicyDrafted
from social.governance.proposals import PolicyProposed, Proposal, read_proposal
from social.governance.reports import PolicySimulated, ReportHead, compute_report_hash
from social.governance.votes import VoteCast
from tests.economy.town import Town, by_type
from tests.ledger.world import REGISTRY, VALIDATORS, Person, id_of

QUICK: dict[str, dict[str, int]] = {
    "energy": {"base_cost": 100 * SCALE},
    "governance": {
        "cooldown_beats": 10,
        "delay_beats": 10,
        "infra_delay_beats": 10,
        "infra_window_beats": 20,
        "window_beats": 20,
    },
}
WINDOW, DELAY = 20, 10
DEPOSIT = 10 * SCALE


class Assembly(Town):
    """A town whose people have locked their bonds, and were settled: each weighs what a founder does."""

    def __init__(
        self,
        folder: Path,
        people: int = 8,
        policies: dict[str, dict[str, int]] | None = None,
        registry: Registry = REGISTRY,
    ) -> None:
        given = QUICK | (policies or {})
        super().__init__(folder, people, given, registry)
        self.execute(*(self.sign(person, BondLocked, atoms=100 * SCALE) for person in self.people))
        self.close_epoch()

    @property
    def epoch(self) -> int:
        return self.chain.head.header.epoch

    @property
    def beat_now(self) -> int:
        return self.chain.head.header.beat

    def draft(self, policy: str = "energy", changes: dict[str, int] | None = None, **changed: int) -> bytes:
        """Have a draft made of a policy's defaults with some fields changed; return its id."""
        values = encode_values(policy, (changes or {}) | changed)
        self.do(self.people[0], PolicyDrafted, policy=policy, values=values)
        return compute_policy_id(policy, values)

    def head_of(self, draft: bytes, **changes: Any) -> ReportHead:
        """Return the head of a report over all blocks until now; what it found is not looked at."""
        header = self.chain.head.header
        fields: dict[str, Any] = {
            "base_digest": bytes(32), "blocks": header.height, "draft": draft, "epoch": header.epoch,
            "findings": bytes(32), "height": header.height,
        }  # fmt: skip
        return ReportHead(**(fields | changes))

    def attest(self, head: ReportHead, validator: int, carrier: Person | None = None) -> SignedEvent:
        """Return the event that carries a validator's signature over a report."""
        key = VALIDATORS[validator]
        signature = key.sign(self.chain.chain_id, Purpose.POLICY_REPORT, compute_report_hash(head))
        fields = {name: getattr(head, name) for name in ReportHead.__slots__}
        return self.sign(
            carrier or self.people[1], PolicySimulated, signature=signature, validator=key.public, **fields
        )  # fmt: skip

    def simulate(self, draft: bytes, attesters: int = 2, **changes: Any) -> bytes:
        """Have validators vouch for a report; return its hash."""
        head = self.head_of(draft, **changes)
        self.execute(*(self.attest(head, number) for number in range(attesters)))
        return compute_report_hash(head)

    def sign_proposal(self, draft: bytes, report: bytes, person: Person | None = None, **changes: Any) -> SignedEvent:
        fields: dict[str, Any] = {"deposit": DEPOSIT, "rollback": 1, "urgent": False}
        return self.sign(person or self.people[0], PolicyProposed, draft=draft, report=report, **(fields | changes))

    def propose(self, draft: bytes, report: bytes, person: Person | None = None, **changes: Any) -> bytes:
        """Have a proposal made, which must be allowed; return its id."""
        signed = self.sign_proposal(draft, report, person, **changes)
        receipt = self.execute(signed).receipts[-1]
        assert receipt.outcome == "applied", receipt.explanation
        return id_of(signed)

    def open_vote(self, policy: str = "energy", **changed: int) -> bytes:
        """Draft, simulate and propose; return the proposal's id."""
        draft = self.draft(policy, changed or {"base_cost": 200 * SCALE})
        return self.propose(draft, self.simulate(draft))

    def vote(self, proposal: bytes, choice: str, *people: Person, reason: str = "") -> list[Receipt]:
        """Have people vote alike; return their receipts."""
        events = [self.sign(person, VoteCast, choice=choice, proposal=proposal, reason=reason) for person in people]
        return list(self.execute(*events).receipts)

    def pass_beats(self, count: int) -> list[Receipt]:
        """Let beats pass; return all receipts of their blocks."""
        return [receipt for _ in range(count) for receipt in self.beat().receipts]

    def close_vote(self) -> list[Receipt]:
        """Let a window and the rest of its epoch pass."""
        return self.pass_beats(WINDOW) + self.close_epoch()

    def proposal(self, proposal: bytes) -> Proposal:
        found = read_proposal(self.store, proposal)
        assert found is not None
        return found

    def state_of(self, proposal: bytes) -> str:
        return self.proposal(proposal).state

    def enact(self, policy: str = "energy", **changed: int) -> bytes:
        """Bring a change into force by the whole procedure; return the proposal's id."""
        proposal = self.open_vote(policy, **changed)
        self.vote(proposal, "yes", *self.people[:6])
        self.close_vote()
        while self.state_of(proposal) == "QUEUED":
            self.beat()
        assert self.state_of(proposal) == "ACTIVE"
        return proposal


def denial(receipt: Receipt) -> str:
    """Return the code of the first verdict that denies; "" where none does."""
    return next((verdict.code for verdict in receipt.verdicts if not verdict.allowed), "")


def denials(receipt: Receipt) -> set[str]:
    return {verdict.code for verdict in receipt.verdicts if not verdict.allowed}


@dataclass(frozen=True, slots=True)
class Planted:
    """What a test puts into the state at the close of an epoch, as no rule does."""

    number: int


class Plants:
    """A registry that has a step of its own: it writes what a test asks for, once."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[View], Iterator[Write]]] = []
        self.closed = 0
        kind = EventType(
            name="test.Planted", version=1, body=Planted, guards=(), apply=self._apply, summary="", example=Planted(0),
            derived=True,
        )  # fmt: skip

        def step(view: View, closed: int, beat: int) -> Iterator[tuple[EventType[Any], Any]]:
            self.closed = closed
            if self.waiting:
                yield kind, Planted(closed)

        self.registry = Registry((*REGISTRY.all(), kind), REGISTRY.stack, (("test", step), *REGISTRY.at_close))

    def _apply(self, view: View, entry: Entry[Planted]) -> Iterator[Write]:
        draft = Draft(view)
        for each in self.waiting:
            draft.write(each(draft))
        self.waiting.clear()
        yield from draft.writes()

    def grant(self, role: str, person: Person) -> None:
        """Have governance grant a role at the next close."""
        self.waiting.append(lambda view: grant_role_writes(view, role, person.account, PLATFORM, GOVERNANCE, 1))

    def node(self, person: Person, nod: int, place: int) -> None:
        """Make somebody the operator of a relay with NOD, that was fit in the epoch which closes then."""

        def write(view: View) -> Iterator[Write]:
            draft = Draft(view)
            issue(draft, NOD, person.account, nod)
            key = bytes([place + 1]) * 32
            node = Node(
                account=person.account, active_from=0, group=bytes(32), key=key, kind=RELAY, place=place,
                pqc_key=bytes(32), pqc_scheme="", registered_height=0, released=False, retired_epoch=None,
                revoked=False,
            )  # fmt: skip
            draft.put(keyspace.node(key), encode_record(node))
            draft.put(keyspace.listed_node(place), key)
            draft.put(keyspace.node_count(), encode_number(place + 1))
            outcome = NodeOutcome(0, FIT, self.closed, False, Measures(0, 0, 0, 0, 0, 0, 0, 0, 0), "nod@1")
            draft.put(keyspace.node_outcome(key), encode_record(outcome))
            yield from draft.writes()

        self.waiting.append(write)


def only(receipts: list[Receipt], name: str) -> dict[str, Any]:
    """Return the inputs of the one event of a type."""
    found = by_type(receipts, f"governance.{name}")
    assert len(found) == 1, [receipt.event_type for receipt in receipts]
    return dict(found[0].inputs)


def refused(town: Assembly, *events: SignedEvent) -> str:
    """Return the code by which the last of some events is refused."""
    return denial(town.execute(*events).receipts[-1])
