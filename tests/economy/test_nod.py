"""NOD: of the nodes that serve, who is paid, who is not and why."""

from dataclasses import replace
from pathlib import Path

from ledger import keyspace
from ledger.draft import Draft
from ledger.emission import NOD_SHARE_MAX
from ledger.nod import (
    FIT,
    TOO_FEW,
    explain_node,
    judge_node,
    list_nod_events,
)
from ledger.nodes import (
    NO_KEY,
    list_nodes,
)
from ledger.policies import NodPolicy, read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import encode_record
from ledger.receipts import Receipt
from ledger.service import Service, Validators, read_service
from ledger.settlement import plan_epoch
from ledger.standing import ENERGY_UNIT, read_standing
from ledger.telemetry import Attestations, Attested
from ledger.tokens import NOD, read_balance
from tests.economy.node_town import (
    ALL,
    ASKED,
    NODES,
    NodeTown,
    assert_exact,
    make_node,
    make_registry_that_revokes,
    open_town,
    outcomes,
)
from tests.economy.town import by_type

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
        words = tuple(Attested(count, 10, validators[replica]) for replica, count in enumerate(answers))
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
