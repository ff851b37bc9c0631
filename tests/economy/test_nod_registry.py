"""The registry of nodes, and what validators put on the ledger about their service."""

from typing import Any

import pytest

from ledger.events import Event
from ledger.nod import (
    read_operator_groups,
)
from ledger.nodes import (
    NODE_BOND,
    RELEASE_EPOCHS,
    VALIDATOR,
    NodeBondReleased,
    NodeRegistered,
    NodeRetired,
    compute_node_bond_account,
    list_nodes,
    read_node,
)
from ledger.primitives.records import decode_record
from ledger.receipts import APPLIED, DENIED, SKIPPED
from ledger.service import read_service
from ledger.tokens import FLX, read_balance
from ledger.transfers import TokensTransferred
from tests.economy.node_town import ASKED, NODES, NodeTown, codes, open_town

# The registry.


def test_a_node_locks_its_bond_and_counts_from_the_next_epoch(town: NodeTown) -> None:
    account = town.operators[5].account
    held = read_balance(town.store, FLX, account)

    town.register(5)

    node = read_node(town.store, NODES[5].public)
    assert node is not None
    assert not node.serves_in(0)
    assert node.serves_in(1)
    assert read_balance(town.store, FLX, account) == held - NODE_BOND
    assert read_balance(town.store, FLX, compute_node_bond_account(NODES[5].public)) == NODE_BOND
    town.assert_conserved()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"proof": bytes(64)}, "NODE_PROOF_INVALID"),
        ({"kind": VALIDATOR}, "NODE_KIND_UNFIT"),
        ({"kind": "miner"}, "NODE_KIND_UNKNOWN"),
        ({"pqc_scheme": ""}, "NODE_PQC_INCOMPLETE"),
        ({"node": NODES[0].public}, "NODE_KIND_UNFIT"),
    ],
)
def test_a_registration_that_does_not_fit_is_denied(town: NodeTown, changes: dict[str, Any], code: str) -> None:
    receipt = town.execute(town.registration(5, **changes)).receipts[-1]

    assert receipt.outcome == DENIED
    assert code in codes(receipt)
    assert list_nodes(town.store) == ()


def test_a_proof_for_one_account_serves_no_other(town: NodeTown) -> None:
    honest, thief = town.operators[5], town.operators[6]
    proof = town.registration(5, honest)
    honest.nonce -= 1
    stolen = decode_record(NodeRegistered, decode_record(Event, proof.event).body).proof

    receipt = town.execute(town.registration(5, thief, proof=stolen)).receipts[-1]

    assert codes(receipt) == {"NODE_PROOF_INVALID"}


def test_a_key_is_registered_once_for_ever(town: NodeTown) -> None:
    town.register(5, 6)
    again = town.execute(town.registration(5, town.operators[7])).receipts[-1]
    town.do(town.operators[5], NodeRetired, node=NODES[5].public)
    retired = town.execute(town.registration(5)).receipts[-1]
    early = town.do(town.operators[5], NodeBondReleased, node=NODES[5].public)
    town.pass_epochs(RELEASE_EPOCHS)

    foreign = town.do(town.operators[6], NodeBondReleased, node=NODES[5].public)
    released = town.do(town.operators[5], NodeBondReleased, node=NODES[5].public)
    twice = town.do(town.operators[5], NodeBondReleased, node=NODES[5].public)

    assert [codes(each) for each in (again, retired, early, foreign, released, twice)] == [
        {"NODE_EXISTS"}, {"NODE_RETIRED"}, {"NODE_BOND_LOCKED"}, {"NODE_NOT_IN_REGISTRY"}, set(),
        {"NODE_BOND_RELEASED"},
    ]  # fmt: skip
    assert [node.key for node in list_nodes(town.store)] == [NODES[6].public]
    assert read_balance(town.store, FLX, compute_node_bond_account(NODES[5].public)) == 0
    town.assert_conserved()


def test_the_list_of_nodes_stays_whole_in_whatever_order_they_retire(town: NodeTown) -> None:
    town.register(4, 5, 6, 7)
    left = [4, 5, 6, 7]
    for number in (4, 7, 6, 5):
        town.do(town.operators[number], NodeRetired, node=NODES[number].public)
        left.remove(number)
        assert [node.key for node in list_nodes(town.store)] == sorted(NODES[each].public for each in left)
        assert sorted(node.place for node in list_nodes(town.store)) == list(range(len(left)))


def test_who_can_not_pay_the_bond_registers_no_node(town: NodeTown) -> None:
    operator = town.operators[5]
    gift = read_balance(town.store, FLX, operator.account) - NODE_BOND + 1
    town.do(operator, TokensTransferred, atoms=gift, to=town.people[0].account, token=FLX)

    receipt = town.execute(town.registration(5)).receipts[-1]

    assert codes(receipt) == {"NODE_BOND_UNCOVERED"}


def test_an_operator_group_does_not_support_itself(town: NodeTown) -> None:
    town.register(4, group=b"g" * 32)
    town.register(5)

    assert read_operator_groups(town.store) == {town.operators[4].account: b"g" * 32}


# Certificates and attestations.


def test_a_forged_certificate_is_refused(town: NodeTown) -> None:
    open_town(town)
    town.beat()
    foreign, other_block = {1: NODES[5]}, town.chain.head.height - 1

    by_foreign_key = town.execute(town.certificate([0, 1, 2], keys=foreign)).receipts[-1]
    over_another_block = town.execute(town.certificate([0, 1, 2], hash_of=other_block)).receipts[-1]
    town.operators[0].nonce -= 1  # what is refused before its place uses up no nonce
    of_the_wrong_replica = town.execute(town.certificate([0, 1, 2], keys={1: NODES[2]})).receipts[-1]

    assert (by_foreign_key.outcome, codes(by_foreign_key)) == (DENIED, {"TELEMETRY_SIGNER_UNKNOWN"})
    assert (over_another_block.outcome, codes(over_another_block)) == (SKIPPED, {"TELEMETRY_SIGNATURE_INVALID"})
    assert codes(of_the_wrong_replica) == {"TELEMETRY_SIGNER_UNKNOWN"}


def test_a_validator_that_was_left_out_adds_its_own_signature(town: NodeTown) -> None:
    open_town(town)
    town.beat()
    epoch = town.chain.head.header.epoch

    def votes() -> tuple[int, ...]:
        service = read_service(town.store, epoch)
        assert service is not None
        return (service.certified, *service.votes)

    town.execute(town.certificate([0, 1], author=0))
    assert votes() == (0, 0, 0, 0, 0)  # no quorum yet
    town.execute(town.certificate([2], author=2))
    assert votes() == (1, 1, 1, 1, 0)
    town.execute(town.certificate([3], author=3))
    assert votes() == (1, 1, 1, 1, 1)
    again = town.execute(town.certificate([0, 1, 2, 3], author=1)).receipts[-1]
    assert codes(again) == {"TELEMETRY_VOTES_KNOWN"}
    assert votes() == (1, 1, 1, 1, 1)


def test_a_certificate_of_an_epoch_that_is_over_counts_no_more(town: NodeTown) -> None:
    open_town(town)
    late = town.chain.head.height - 2

    receipt = town.execute(town.certificate([0, 1, 2], at=late)).receipts[-1]

    assert codes(receipt) == {"TELEMETRY_EPOCH_OVER"}


def test_who_runs_no_node_puts_nothing_on_the_ledger(town: NodeTown) -> None:
    open_town(town, 0, 1, 2, 3, 5)

    certified = town.execute(town.certificate([0, 1, 2], author=6)).receipts[-1]
    attested = town.execute(town.attestation(6, {1: ASKED})).receipts[-1]
    by_relay = town.execute(town.attestation(5, {1: ASKED})).receipts[-1]

    assert codes(certified) == {"NODE_NOT_IN_REGISTRY"}
    assert codes(attested) == codes(by_relay) == {"NODE_NOT_VALIDATOR"}


def test_a_validator_attests_each_node_once_and_never_its_own(town: NodeTown) -> None:
    open_town(town)
    epoch = town.chain.head.header.epoch

    first = town.execute(town.attestation(0, {5: 1})).receipts[-1]
    again = town.execute(town.attestation(0, {5: ASKED, 6: ASKED})).receipts[-1]
    own = town.execute(town.attestation(0, {0: ASKED})).receipts[-1]
    too_many = town.execute(town.attestation(0, {6: ASKED + 1})).receipts[-1]
    unknown = town.execute(town.attestation(0, {7: ASKED})).receipts[-1]
    present = town.execute(town.attestation(0, {6: ASKED}, epoch)).receipts[-1]
    past = town.execute(town.attestation(0, {6: ASKED}, epoch - 2)).receipts[-1]

    assert first.outcome == APPLIED
    assert [codes(each) for each in (again, own, too_many, unknown, present)] == [
        {"TELEMETRY_ATTESTED"}, {"TELEMETRY_OWN_NODE"}, {"TELEMETRY_CONFLICTING"}, {"NODE_NOT_IN_REGISTRY"},
        {"TELEMETRY_EPOCH_UNFIT"},
    ]  # fmt: skip
    assert "TELEMETRY_EPOCH_UNFIT" in codes(past)
