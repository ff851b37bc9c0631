"""Two votes of one validator that contradict each other: proven once, by anybody, and what it costs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consensus import messages
from ledger import keyspace
from ledger.events import EventRefused, check_event
from ledger.evidence import KINDS, EquivocationProven, SignedVote, are_contradicting, decode_vote
from ledger.nodes import NODE_BOND, compute_node_bond_account, read_node
from ledger.primitives.checkpoint import Checkpoint
from ledger.primitives.records import encode_record
from ledger.primitives.signing import Purpose, SigningKey
from ledger.primitives.votes import OrderingVote, compute_era_domain
from ledger.receipts import APPLIED, DENIED
from ledger.tokens import FLX, read_balance, read_burned
from tests.economy.node_town import NODES, NodeTown, outcomes
from tests.ledger.world import VALIDATORS

A, B = b"a" * 32, b"b" * 32
LIAR = 2


@pytest.fixture
def town(tmp_path: Path) -> Iterator[NodeTown]:
    made = NodeTown(tmp_path / "town")
    made.register(*range(7))
    yield made
    made.close()


def sign(
    town: NodeTown, vote: OrderingVote | Checkpoint, purpose: Purpose, key: SigningKey, era: int = 0
) -> SignedVote:
    message = encode_record(vote)
    domain = town.chain.chain_id if purpose is Purpose.CHECKPOINT else compute_era_domain(town.chain.chain_id, era)
    return SignedVote(message, key.sign(domain, purpose, message))


def prove(town: NodeTown, purpose: Purpose = Purpose.COMMIT, second: Any = None, **changes: Any) -> EquivocationProven:
    """Return evidence against validator LIAR; `second` and `changes` spoil it."""
    first: Any = OrderingVote(A, LIAR, 7, 3)
    if purpose is Purpose.CHECKPOINT:
        first = Checkpoint(A, LIAR, 7)
    key = VALIDATORS[LIAR]
    other = replace(first, digest=B) if second is None else second
    body = EquivocationProven(
        0, sign(town, first, purpose, key), key.public, purpose.value, sign(town, other, purpose, key)
    )
    return replace(body, **changes)


def submit(town: NodeTown, body: EquivocationProven, author: int = 0) -> Any:
    fields = {name: getattr(body, name) for name in ("era", "first", "key", "kind", "second")}
    return town.execute(town.sign(town.people[author], EquivocationProven, **fields)).receipts[-1]


@pytest.mark.parametrize(
    ("kind", "record"),
    [("pre-prepare", messages.PrePrepare), ("prepare", messages.Prepare), ("commit", messages.Commit)],
)
def test_the_votes_of_consensus_have_the_bytes_that_evidence_reads(kind: str, record: Callable[..., Any]) -> None:
    assert encode_record(record(A, 3, 7, 2)) == encode_record(OrderingVote(A, 3, 7, 2))
    assert messages.get_purpose(type(record(A, 3, 7, 2))) is KINDS[kind]
    assert decode_vote(kind, encode_record(record(A, 3, 7, 2))) == OrderingVote(A, 3, 7, 2)


@pytest.mark.parametrize("purpose", list(KINDS.values()))
def test_a_proven_validator_loses_its_bond_and_what_it_would_earn(town: NodeTown, purpose: Purpose) -> None:
    key, burned = NODES[LIAR].public, read_burned(town.store, FLX)
    receipt = submit(town, prove(town, purpose))

    assert receipt.outcome == APPLIED, receipt.explanation
    assert read_balance(town.store, FLX, compute_node_bond_account(key)) == 0
    assert read_burned(town.store, FLX) == burned + NODE_BOND
    node = read_node(town.store, key)
    assert node is not None
    assert node.revoked
    assert town.store.get(keyspace.evidence(key)) == receipt.event_id
    town.assert_conserved()

    town.beat()
    while town.chain.head.header.epoch < 2:
        town.beat()
    town.live_epoch(answered={number: 20 for number in range(7) if number != LIAR}, attesters=(0, 1, 3))
    settled = outcomes(town.settle())
    assert settled[LIAR] == ("NODE_REVOKED", 0)
    assert settled[0][1] > 0


def test_it_is_proven_once_whoever_says_it_again(town: NodeTown) -> None:
    assert submit(town, prove(town)).outcome == APPLIED
    again = submit(town, prove(town, Purpose.PREPARE), author=1)

    assert again.outcome == DENIED
    assert "EVIDENCE_KNOWN" in [verdict.code for verdict in again.verdicts if not verdict.allowed]


def test_a_validator_without_a_node_is_noted(tmp_path: Path) -> None:
    town = NodeTown(tmp_path / "bare")

    assert submit(town, prove(town)).outcome == APPLIED
    assert town.store.get(keyspace.evidence(VALIDATORS[LIAR].public)) is not None
    town.assert_conserved()
    town.close()


def test_a_retired_validator_loses_the_bond_that_is_still_locked(town: NodeTown) -> None:
    from ledger.nodes import NodeRetired

    town.do(town.operators[LIAR], NodeRetired, node=NODES[LIAR].public)

    assert submit(town, prove(town)).outcome == APPLIED
    assert read_balance(town.store, FLX, compute_node_bond_account(NODES[LIAR].public)) == 0
    town.assert_conserved()


@pytest.mark.parametrize(
    ("code", "spoil"),
    [
        ("EVIDENCE_KIND_UNKNOWN", lambda town: prove(town, kind="new-view")),
        ("EVIDENCE_SIGNATURE_INVALID", lambda town: prove(town, kind="prepare")),
        ("EVIDENCE_SIGNATURE_INVALID", lambda town: prove(town, key=VALIDATORS[1].public)),
        ("EVIDENCE_SIGNATURE_INVALID", lambda town: prove(town, era=1)),
        ("EVIDENCE_NOT_CONTRADICTING", lambda town: prove(town, second=OrderingVote(A, LIAR, 7, 3))),
        ("EVIDENCE_NOT_CONTRADICTING", lambda town: prove(town, second=OrderingVote(B, LIAR, 8, 3))),
        ("EVIDENCE_NOT_CONTRADICTING", lambda town: prove(town, second=OrderingVote(B, LIAR, 7, 4))),
        ("EVIDENCE_NOT_CONTRADICTING", lambda town: prove(town, second=OrderingVote(B, 1, 7, 3))),
    ],
)
def test_what_proves_nothing_never_enters(
    town: NodeTown, code: str, spoil: Callable[[NodeTown], EquivocationProven]
) -> None:
    body = spoil(town)
    fields = {name: getattr(body, name) for name in ("era", "first", "key", "kind", "second")}
    signed = town.sign(town.people[0], EquivocationProven, **fields)

    with pytest.raises(EventRefused) as refused:
        check_event(town.chain.registry, town.chain.chain_id, signed, payload_required=True)
    assert refused.value.code == code


def test_bytes_that_are_no_vote_never_enter(town: NodeTown) -> None:
    key, junk = VALIDATORS[LIAR], b"\x80"
    bad = SignedVote(junk, key.sign(town.chain.chain_id, Purpose.COMMIT, junk))
    body = prove(town, second=OrderingVote(B, LIAR, 7, 3), first=bad)
    fields = {name: getattr(body, name) for name in ("era", "first", "key", "kind", "second")}
    signed = town.sign(town.people[0], EquivocationProven, **fields)

    with pytest.raises(EventRefused) as refused:
        check_event(town.chain.registry, town.chain.chain_id, signed, payload_required=True)
    assert refused.value.code == "EVIDENCE_MALFORMED"


def test_a_stranger_can_accuse_nobody_but_himself(town: NodeTown) -> None:
    """Votes that a key signed which is not the validator's whose number they name."""
    stranger = SigningKey(b"s" * 32)
    votes = [sign(town, OrderingVote(digest, LIAR, 7, 3), Purpose.COMMIT, stranger) for digest in (A, B)]
    body = EquivocationProven(0, votes[0], stranger.public, "commit", votes[1])
    receipt = submit(town, body)

    assert receipt.outcome == DENIED
    assert [verdict.code for verdict in receipt.verdicts if not verdict.allowed] == ["EVIDENCE_NOT_OF_VALIDATOR"]


def test_an_era_that_never_was_has_no_validators(town: NodeTown) -> None:
    key = VALIDATORS[LIAR]
    votes = [sign(town, OrderingVote(digest, LIAR, 7, 3), Purpose.COMMIT, key, era=1) for digest in (A, B)]
    receipt = submit(town, EquivocationProven(1, votes[0], key.public, "commit", votes[1]))

    assert [verdict.code for verdict in receipt.verdicts if not verdict.allowed] == ["EVIDENCE_NOT_OF_VALIDATOR"]


def test_votes_of_different_kinds_contradict_nothing() -> None:
    assert not are_contradicting(OrderingVote(A, 0, 1, 0), Checkpoint(B, 0, 1))
    assert are_contradicting(Checkpoint(A, 0, 1), Checkpoint(B, 0, 1))
