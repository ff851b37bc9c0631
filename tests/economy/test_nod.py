"""NOD: of the nodes that serve, who is paid, who is not and why, and that nobody can move the numbers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import keyspace
from ledger.allocation import fill_under_caps
from ledger.draft import Draft
from ledger.emission import NOD_NODES_MIN, NOD_SHARE_MAX, NOD_VOTE_MAX, judge_nod_votes
from ledger.events import Entry, Event, EventType, View, Write
from ledger.nod import (
    FIT,
    TOO_FEW,
    Measures,
    compute_nod_votes,
    explain_node,
    judge_node,
    list_nod_events,
    read_nod_balances,
    read_operator_groups,
    share_pool,
)
from ledger.nodes import (
    NO_GROUP,
    NO_KEY,
    NODE_BOND,
    RELAY,
    RELEASE_EPOCHS,
    VALIDATOR,
    Node,
    NodeBondReleased,
    NodeRegistered,
    NodeRetired,
    compute_node_bond_account,
    list_nodes,
    read_node,
)
from ledger.policies import NodPolicy, read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import decode_record, encode_record
from ledger.receipts import APPLIED, DENIED, SKIPPED, Receipt
from ledger.registry import Registry
from ledger.service import Service, Validators, read_service
from ledger.settlement import plan_epoch
from ledger.standing import ENERGY_UNIT, read_standing
from ledger.telemetry import Attestations, Attested
from ledger.tokens import FLX, NOD, issue, read_balance, read_issued
from ledger.transfers import TokensTransferred
from tests.economy.node_town import ASKED, NODES, NodeTown, make_registry_that_revokes, outcomes
from tests.economy.town import by_type
from tests.ledger.world import REGISTRY

ALL = dict.fromkeys(range(7), ASKED)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[NodeTown]:
    made = NodeTown(tmp_path / "town")
    yield made
    made.close()


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


# Acceptance.


def test_of_seven_nodes_the_unfit_earn_nothing_and_are_told_why(town: NodeTown) -> None:
    """A newcomer, a validator that missed a beat of four, and one that answered too few challenges."""
    open_town(town, *range(6))
    town.register(6)
    answered = {0: ASKED, 1: ASKED, 2: ASKED * 7 // 10, 3: ASKED, 4: ASKED, 5: ASKED * 9 // 10}
    town.live_epoch(answered=answered, absent={3: 1})

    receipts = town.settle()

    rows = outcomes(receipts)
    assert {number: code for number, (code, _) in rows.items()} == {
        0: FIT, 1: FIT, 2: "HEALTH_BELOW_THRESHOLD", 3: "UPTIME_BELOW_THRESHOLD", 4: FIT, 5: FIT,
        6: "NODE_NOT_IN_REGISTRY",
    }  # fmt: skip
    pool = assert_exact(town, receipts)
    assert pool > 0
    # Two validators, and two nodes that can only answer challenges: 1, 1, 0.2 and 0.18; the first two hit the cap.
    capped = pool * NOD_SHARE_MAX // SCALE
    assert [rows[number][1] for number in (0, 1)] == [capped, capped]
    assert sum(rows[number][1] for number in (4, 5)) == pool - 2 * capped - unissued(town, receipts)
    assert rows[4][1] >= rows[5][1] > 0


def unissued(town: NodeTown, receipts: list[Receipt]) -> int:
    closed = by_type(receipts, "economics.EmissionEpochClosed")[0].inputs
    return int(closed["nod_pool"]) - int(closed["nod_issued"])


def test_of_seven_nodes_the_revoked_and_those_without_a_proper_key_earn_nothing(tmp_path: Path) -> None:
    town = NodeTown(tmp_path, make_registry_that_revokes(lambda closed: NODES[4].public if closed == 1 else None))
    town.register(0, 1, 2, 3, 4)
    town.register(5, pqc_key=NO_KEY, pqc_scheme="")
    town.register(6, pqc_scheme="SPHINCS+")
    for _ in range(3):
        town.beat()
    town.settle()
    town.live_epoch()
    town.settle()
    town.live_epoch(answered=dict.fromkeys((0, 1, 2, 3, 5, 6), ASKED))

    receipts = town.settle()

    rows = outcomes(receipts)
    assert {number: code for number, (code, _) in rows.items()} == {
        0: FIT, 1: FIT, 2: FIT, 3: FIT, 4: "NODE_REVOKED", 5: "PQC_KEY_MISSING", 6: "PQC_SCHEME_UNSUPPORTED",
    }  # fmt: skip
    pool = assert_exact(town, receipts)
    assert unissued(town, receipts) == 0
    assert {atoms for _, atoms in rows.values() if atoms} <= {pool // 4, pool // 4 + 1}
    town.close()


def test_seven_fit_nodes_share_the_pool_by_contribution(town: NodeTown) -> None:
    open_town(town)
    town.live_epoch(answered=ALL)

    receipts = town.settle()

    rows = outcomes(receipts)
    assert {code for code, _ in rows.values()} == {FIT}
    pool = assert_exact(town, receipts)
    assert unissued(town, receipts) == 0
    for number, (_, atoms) in rows.items():
        contribution = 10 if number < 4 else 2  # of 46
        assert abs(atoms - pool * contribution // 46) <= 1, number
        assert read_balance(town.store, NOD, town.operators[number].account) == atoms


def test_the_pool_is_a_tenth_of_the_energy_that_was_spent(town: NodeTown) -> None:
    open_town(town)
    town.live_epoch(answered=ALL)
    spent = [energy_spent(town, person.account) for person in town.people]

    busy = town.settle()
    town.live_epoch(answered=ALL, busy=False)
    idle = town.settle()

    assert assert_exact(town, busy) == sum(spent) // 10 > 0
    assert outcomes(idle) == dict.fromkeys(range(7), (FIT, 0))
    assert assert_exact(town, idle) == 0


def energy_spent(town: NodeTown, account: bytes) -> int:
    """The energy that an account of full standing spent in the epoch, in atoms."""
    standing = read_standing(town.store, account)
    assert standing is not None
    return standing.atr_spent * ENERGY_UNIT


def test_an_auditor_recomputes_the_allocation_from_the_ledger_alone(town: NodeTown) -> None:
    """From the state at the height before, read back later, and from a replay of all blocks elsewhere."""
    open_town(town)
    town.live_epoch(answered=ALL | {4: ASKED * 8 // 10}, absent={2: 1})
    height = town.chain.head.height
    receipts = town.settle()
    town.live_epoch(answered=ALL)
    view = town.state(at=height)

    plan = plan_epoch(view, 2, read_policies(view), pay=True).nod

    made = [(kind.name, kind.inputs(body)) for kind, body in list_nod_events(plan)]
    written = [(row.event_type, row.inputs) for row in receipts if row.event_type.startswith("infra.Nod")]
    assert made == written
    assert len(made) == 7
    assert plan.unissued + sum(each.atoms for each in plan.allocations) == plan.pool


def test_an_operator_sees_why_a_node_earned_what_it_earned(town: NodeTown) -> None:
    open_town(town)
    town.live_epoch(answered=ALL | {4: ASKED * 8 // 10})
    town.settle()

    relay, auditor = (explain_node(town.store, NODES[number].public) for number in (5, 4))

    assert relay is not None
    assert relay.outcome is not None
    assert (relay.outcome.code, relay.outcome.epoch, relay.outcome.measures.health) == (FIT, 2, SCALE)
    assert auditor is not None
    assert auditor.outcome is not None
    assert (auditor.outcome.code, auditor.outcome.atoms) == ("UPTIME_BELOW_THRESHOLD", 0)
    assert auditor.outcome.measures.uptime == 8 * SCALE // 10
    assert auditor.because == "the node was there for too little of the epoch"
    assert explain_node(town.store, b"x" * 32) is None
    assert [node.key for node in list_nodes(town.store)] == sorted(key.public for key in NODES[:7])


# Verification.


def test_fewer_than_four_fit_nodes_earn_nothing(town: NodeTown) -> None:
    open_town(town, 0, 1, 2, 3)
    town.live_epoch(answered={0: ASKED, 1: ASKED, 2: ASKED, 3: 0})

    receipts = town.settle()

    assert outcomes(receipts) == {0: (TOO_FEW, 0), 1: (TOO_FEW, 0), 2: (TOO_FEW, 0), 3: ("HEALTH_BELOW_THRESHOLD", 0)}
    assert assert_exact(town, receipts) == unissued(town, receipts) > 0


def test_without_certificates_or_attestations_nothing_is_estimated(town: NodeTown) -> None:
    open_town(town)
    town.live_epoch(answered=ALL, certified=False)
    uncertified = outcomes(town.settle())
    town.live_epoch()

    unattested = outcomes(town.settle())

    assert {code for number, (code, _) in uncertified.items() if number < 4} == {"TELEMETRY_MISSING"}
    assert {code for number, (code, _) in uncertified.items() if number >= 4} == {TOO_FEW}
    assert {code for code, _ in unattested.values()} == {"TELEMETRY_MISSING"}


def test_one_attester_is_not_enough_and_one_liar_changes_nothing(town: NodeTown) -> None:
    open_town(town)
    town.live_epoch(answered=ALL, attesters=(0,))
    alone = outcomes(town.settle())
    town.execute(town.attestation(3, dict.fromkeys((0, 1, 2, 4, 5, 6), 0)))
    town.live_epoch(answered=ALL, attesters=(0, 1, 2))

    lied = outcomes(town.settle())

    assert {code for code, _ in alone.values()} == {"TELEMETRY_MISSING"}
    assert {code for code, _ in lied.values()} == {FIT}


def test_a_node_that_serves_some_and_not_others_is_in_conflict() -> None:
    """Of seven validators at most two are faulty; four got every answer, and three none: one of each side is honest."""
    validators = tuple(bytes([number]) * 32 for number in range(1, 8))
    state: dict[bytes, bytes] = {keyspace.validators(): encode_record(Validators(validators))}
    node = make_node(100, b"r" * 32)
    for number, key in enumerate(validators):
        state[keyspace.node(key)] = encode_record(make_node(number, key))

    def judge(answers: tuple[int, ...]) -> str:
        words = tuple(Attested(count, 10, replica) for replica, count in enumerate(answers))
        state[keyspace.attestations(node.key)] = encode_record(Attestations(1, words))
        state[keyspace.service(2)] = encode_record(Service(4, 4, 2, 8, (0,) * 7, (0,) * 7, 0, (4,) * 7))
        return judge_node(Draft(State(state)), node, 2, NodPolicy())[0]

    assert judge((10, 10, 10, 10, 0, 0, 0)) == "TELEMETRY_CONFLICTING"
    assert judge((10, 10, 10, 10, 10, 0, 0)) == FIT
    assert judge((10, 10, 10, 0, 0, 0, 0)) == "UPTIME_BELOW_THRESHOLD"


class State:
    """A view of a dict."""

    def __init__(self, found: dict[bytes, bytes]) -> None:
        self._found = found

    def get(self, key: bytes) -> bytes | None:
        return self._found.get(key)


def make_node(owner: int, key: bytes, number: int = 0) -> Node:
    return Node(
        bytes([owner]) * 32, 0, NO_GROUP, key, RELAY, number, b"q" * 32, "ML-DSA-65", 0, released=False,
        retired_epoch=None, revoked=False,
    )  # fmt: skip


def test_a_primary_that_loses_its_view_owes_a_proposal(town: NodeTown) -> None:
    open_town(town)
    epoch = town.chain.head.header.epoch
    for view, proposer in ((0, 0), (2, 2)):
        batch = replace(town.batch(beat=True), view=view, proposer=proposer)
        town.chain.execute(batch, ())

    service = read_service(town.store, epoch)

    assert service is not None
    # Replica 1 proposes in the town; here 0 leads view 0 and 1 leads view 1, which both end before view 2.
    assert (service.led, service.proposals, service.view) == ((2, 2, 1, 0), (1, 1, 1, 0), 2)


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


# Invariants.


def test_i1_nobody_can_transfer_nod(town: NodeTown) -> None:
    open_town(town)
    town.live_epoch(answered=ALL)
    town.settle()

    receipt = town.do(town.operators[0], TokensTransferred, atoms=1, to=town.people[0].account, token=NOD)

    assert receipt.outcome == DENIED


def test_i1_no_signed_event_can_mint_nod_whatever_its_rules_are(tmp_path: Path) -> None:
    def mint(view: View, entry: Entry[NodeRetired]) -> Iterator[Write]:
        draft = Draft(view)
        issue(draft, NOD, entry.author, SCALE)
        yield from draft.writes()

    def spoil(kind: EventType[Any]) -> EventType[Any]:
        return replace(kind, guards=(), apply=mint) if kind.body is NodeRetired else kind

    town = NodeTown(tmp_path, Registry([spoil(kind) for kind in REGISTRY.all()], REGISTRY.stack))

    receipt = town.do(town.operators[0], NodeRetired, node=NODES[0].public)

    assert "INVARIANT_VIOLATION_NOD_TRANSFER" in codes(receipt)
    assert read_balance(town.store, NOD, town.operators[0].account) == 0
    town.close()


def test_i2_the_supply_grows_by_what_fit_nodes_were_given(town: NodeTown) -> None:
    open_town(town)
    total = 0
    for absent in ({}, {3: 1}, {0: 4, 1: 4}):
        town.live_epoch(answered=ALL, absent=absent)
        before = read_issued(town.store, NOD)
        receipts = town.settle()
        given = sum(atoms for code, atoms in outcomes(receipts).values() if code == FIT)
        assert read_issued(town.store, NOD) - before == given
        total += given
        assert_exact(town, receipts)
    assert total > 0


def test_i3_only_operators_with_a_fit_node_vote_and_none_above_a_quarter(town: NodeTown) -> None:
    open_town(town)
    town.live_epoch(answered=ALL | {4: 0})
    town.settle()

    weights = compute_nod_votes(read_nod_balances(town.store, 2))

    assert sorted(weights) == sorted(town.operators[number].account for number in (0, 1, 2, 3, 5, 6))
    assert all(weight * SCALE <= sum(weights.values()) * NOD_VOTE_MAX for weight in weights.values())
    assert judge_nod_votes(list(weights.values()), read_policies(town.store)) == []
    assert read_nod_balances(town.store, 1) == {}


# Properties.


def make_fit(contributions: list[tuple[int, int]]) -> list[tuple[Node, Measures]]:
    """(operator, contribution in percent) to fit nodes in order of key."""
    return [
        (
            make_node(owner, number.to_bytes(32, "big"), number),
            Measures(4, 4, 4, percent * SCALE // 100, SCALE, 0, 0, SCALE, 0),
        )
        for number, (owner, percent) in enumerate(contributions)
    ]


def test_a_pool_too_small_for_four_is_not_issued() -> None:
    """Else the limit that at least four nodes are paid would refuse the whole settlement."""
    fit = make_fit([(1, 100), (2, 100), (3, 100), (4, 0)])

    assert share_pool(100, fit) == ([0, 0, 0, 0], frozenset())
    assert share_pool(3, make_fit([(1, 100), (2, 100), (3, 100), (4, 100)])) == ([0, 0, 0, 0], frozenset())
    assert sum(share_pool(20, make_fit([(1, 100), (2, 100), (3, 100), (4, 100)]))[0]) == 20


def test_an_operator_with_many_nodes_gets_no_more_than_its_cap() -> None:
    shares, capped = share_pool(1_000, make_fit([(1, 100), (1, 100), (1, 50), (2, 100), (3, 100), (4, 100)]))

    assert shares == [120, 120, 60, 234, 233, 233]
    assert capped == {bytes([1]) * 32}


members = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 100)), min_size=4, max_size=12)


@given(st.integers(0, 10**24), members)
def test_shares_are_exact_capped_for_each_operator_and_repeatable(pool: int, drawn: list[tuple[int, int]]) -> None:
    fit = make_fit(drawn)

    shares, capped = share_pool(pool, fit)

    assert (shares, capped) == share_pool(pool, fit)
    assert sum(shares) <= pool
    assert all(share >= 0 for share in shares)
    cap = pool * NOD_SHARE_MAX // SCALE
    by_owner: dict[bytes, int] = {}
    for (node, measures), share in zip(fit, shares, strict=True):
        by_owner[node.account] = by_owner.get(node.account, 0) + share
        assert measures.contribution or not share
    assert all(atoms <= cap for atoms in by_owner.values())
    paid = sum(1 for share in shares if share)
    assert paid == 0 or paid >= NOD_NODES_MIN
    if paid and sum(shares) < pool:  # what is left, nobody may take
        earning = {node.account for node, measures in fit if measures.contribution}
        assert all(by_owner[owner] == cap for owner in earning)


@given(st.integers(0, 10**24), st.lists(st.integers(0, 10**20), max_size=12), st.integers(0, 10**24))
def test_water_filling_loses_no_atom_and_keeps_the_order(pool: int, weights: list[int], cap: int) -> None:
    shares, left = fill_under_caps(pool, weights, cap)

    assert sum(shares) + left == pool
    assert all(0 <= share <= cap for share in shares)
    assert all(share == 0 for share, weight in zip(shares, weights, strict=True) if weight == 0)
    assert left == 0 or all(share == cap for share, weight in zip(shares, weights, strict=True) if weight)
    for first, one in enumerate(weights):
        for second, other in enumerate(weights):
            if one > other:
                assert shares[first] >= shares[second] - 1


balances = st.dictionaries(st.binary(min_size=32, max_size=32), st.integers(0, 10**24), max_size=9)


@settings(max_examples=300)
@given(balances)
def test_the_clip_is_the_highest_that_keeps_everybody_at_a_quarter(held: dict[bytes, int]) -> None:
    weights = compute_nod_votes(held)

    total, voters = sum(weights.values()), [balance for balance in held.values() if balance]
    assert sorted(weights) == sorted(held)
    assert all(weight * 4 <= total for weight in weights.values())
    assert all(weights[account] <= held[account] for account in held)
    if len(voters) < NOD_NODES_MIN:
        assert total == 0
        return
    clip = max(weights.values())
    assert all(weight == min(held[account], clip) for account, weight in weights.items())
    if clip < max(voters):
        higher = [min(balance, clip + 1) for balance in voters]
        assert max(higher) * 4 > sum(higher)
