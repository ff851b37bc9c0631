"""Measures: roles are granted and revoked, and nodes taken out of service, by votes like those on policies."""

from typing import Any

import pytest

from ledger.events import SignedEvent
from ledger.nod import read_nod_balances
from ledger.nodes import read_node
from ledger.primitives.fixed_point import SCALE
from ledger.roles import GOVERNANCE, PLATFORM, RoleRevoked, judge_role_scope, read_grant
from ledger.scopes import AUDITOR, MODERATOR, OPEN_AGI, OPERATOR, USER
from ledger.tokens import FLX, read_balance
from social.governance.measures import NodeRevocationProposed, RoleGrantProposed, RoleRevocationProposed
from social.governance.proposals import ProposalCancelled, compute_deposit_account
from tests.ledger.world import Person, id_of
from tests.social.assembly import DELAY, DEPOSIT, WINDOW, Assembly, Plants, denial, denials, only, refused

SCOPES = {
    AUDITOR: ("audit", "audit.OpinionFiled"),
    MODERATOR: ("moderation", "moderation.ContentHidden"),
    OPEN_AGI: ("agi", "agi.ObservationMade"),
    OPERATOR: ("infra", "infra.HeartbeatSummarized"),
}
"""Something that only the role may write."""


def sign_grant(town: Assembly, person: Person, role: str = AUDITOR, *, by: int = 0, **changes: Any) -> SignedEvent:
    fields: dict[str, Any] = {"account": person.account, "deposit": DEPOSIT, "expires_beat": None, "role": role}
    return town.sign(town.people[by], RoleGrantProposed, **(fields | changes))


def sign_revocation(town: Assembly, person: Person, role: str = AUDITOR, *, by: int = 1) -> SignedEvent:
    return town.sign(town.people[by], RoleRevocationProposed, account=person.account, deposit=DEPOSIT, role=role)


def sign_node(town: Assembly, node: bytes, *, by: int = 0, urgent: bool = False) -> SignedEvent:
    return town.sign(
        town.people[by], NodeRevocationProposed, deposit=DEPOSIT, node=node, reason="other blocks", urgent=urgent
    )  # fmt: skip


def carry(town: Assembly, signed: SignedEvent, voters: list[Person]) -> bytes:
    """Have a proposal made, voted for, and wait until it is decided and carried out; return its id."""
    receipt = town.execute(signed).receipts[-1]
    assert receipt.outcome == "applied", receipt.explanation
    proposal = id_of(signed)
    town.vote(proposal, "yes", *voters)
    town.close_vote()
    while town.state_of(proposal) == "QUEUED":
        town.beat()
    return proposal


def may(town: Assembly, person: Person, role: str) -> str:
    return judge_role_scope(town.store, person.account, *SCOPES[role]).code


def with_operators(plants: Plants, town: Assembly) -> list[Person]:
    """Make the first four people operators with NOD, whose nodes were fit in the epoch that closes."""
    for number in range(4):
        plants.node(town.people[number], 100 * SCALE, number)
    town.close_epoch()
    return list(town.people[:4])


# The whole way.


@pytest.mark.parametrize("role", [AUDITOR, MODERATOR, OPEN_AGI])
def test_a_role_is_granted_by_vote_works_and_is_revoked_by_vote(town: Assembly, role: str) -> None:
    person, voters = town.people[7], list(town.people[:6])
    before = may(town, person, role)

    granted = carry(town, sign_grant(town, person, role), voters)
    grant, works = read_grant(town.store, person.account, role, PLATFORM), may(town, person, role)
    revoked = carry(town, sign_revocation(town, person, role), voters)

    assert (town.state_of(granted), town.state_of(revoked)) == ("ACTIVE", "ACTIVE")
    assert (before, works, may(town, person, role)) == ("ROLE_NOT_GRANTED", "ROLE_HELD", "ROLE_NOT_GRANTED")
    assert grant is not None
    assert (grant.granter, grant.space, grant.expires_beat) == (GOVERNANCE, PLATFORM, None)


def test_a_role_that_was_revoked_can_be_granted_again(town: Assembly) -> None:
    person, voters = town.people[7], list(town.people[:6])
    carry(town, sign_grant(town, person), voters)
    carry(town, sign_revocation(town, person), voters)

    carry(town, sign_grant(town, person, by=2), voters)

    assert may(town, person, AUDITOR) == "ROLE_HELD"


def test_a_role_comes_into_force_only_where_an_epoch_begins_and_not_before_its_delay(town: Assembly) -> None:
    signed = sign_grant(town, town.people[7])
    town.execute(signed)
    proposal = id_of(signed)
    town.vote(proposal, "yes", *town.people[:6])
    tallied = town.close_vote()
    waiting = may(town, town.people[7], AUDITOR)
    opened = town.pass_beats(DELAY) + town.close_epoch()

    assert (only(tallied, "ProposalTallied")["outcome"], waiting) == ("passed", "ROLE_NOT_GRANTED")
    enacted = only(opened, "MeasureEnacted")
    assert (enacted["kind"], enacted["role"], enacted["account"]) == (
        "grant role", AUDITOR, town.people[7].account.hex(),
    )  # fmt: skip
    assert enacted["proposal"] == proposal.hex()
    assert town.beat_now % town.chain.genesis.epoch_beats == 0


def test_who_runs_nodes_is_decided_by_those_who_do(planted: Assembly, plants: Plants) -> None:
    operators = with_operators(plants, planted)
    person = planted.people[7]

    proposal = carry(planted, sign_grant(planted, person, OPERATOR), operators)

    assert (planted.proposal(proposal).track, planted.state_of(proposal)) == ("infra", "ACTIVE")
    assert may(planted, person, OPERATOR) == "ROLE_HELD"


def test_standing_counts_for_nothing_among_operators(planted: Assembly, plants: Plants) -> None:
    with_operators(plants, planted)
    signed = sign_grant(planted, planted.people[7], OPERATOR)
    planted.execute(signed)

    assert [denial(receipt) for receipt in planted.vote(id_of(signed), "yes", *planted.people[5:7])] == [
        "VOTE_WRONG_TRACK"
    ] * 2


def test_operators_take_a_node_out_of_service_and_its_weight_with_it(planted: Assembly, plants: Plants) -> None:
    operators = with_operators(plants, planted)
    node = bytes([4]) * 32

    proposal = carry(planted, sign_node(planted, node), operators)

    found = read_node(planted.store, node)
    assert planted.state_of(proposal) == "ACTIVE"
    assert found is not None
    assert found.revoked
    assert not found.serves_in(planted.epoch)
    assert planted.people[3].account not in read_nod_balances(planted.store, planted.epoch - 1)
    assert refused(planted, sign_node(planted, node, by=1)) == "NODE_REVOKED"


def test_an_urgent_one_has_half_the_time_and_a_higher_quorum(planted: Assembly, plants: Plants) -> None:
    with_operators(plants, planted)
    signed = sign_node(planted, bytes([4]) * 32, urgent=True)
    planted.execute(signed)

    opened = planted.proposal(id_of(signed))
    assert (opened.closes_beat - opened.opened_beat, opened.delay_beats) == (WINDOW // 2, DELAY // 2)
    assert opened.quorum == 80 * SCALE // 100


# Each missing step.


def test_a_role_is_one_that_there_is_of_an_account_that_there_is(town: Assembly) -> None:
    nobody = Person(town.people[0].key, b"n" * 32)

    assert refused(town, sign_grant(town, town.people[7], "EMPEROR")) == "ROLE_UNKNOWN"
    assert refused(town, sign_grant(town, town.people[7], USER)) == "ROLE_UNKNOWN"
    assert refused(town, sign_grant(town, nobody)) == "ROLE_ACCOUNT_UNKNOWN"
    assert refused(town, sign_grant(town, town.people[7], expires_beat=0)) == "ROLE_EXPIRED"
    assert refused(town, sign_revocation(town, town.people[7], "EMPEROR")) == "ROLE_UNKNOWN"
    assert refused(town, sign_revocation(town, town.people[7])) == "ROLE_NOT_GRANTED"


def test_a_role_that_is_held_is_not_granted_again(planted: Assembly, plants: Plants) -> None:
    plants.grant(AUDITOR, planted.people[7])
    planted.close_epoch()

    assert refused(planted, sign_grant(planted, planted.people[7])) == "ROLE_EXISTS"


def test_a_node_is_one_that_was_registered(planted: Assembly, plants: Plants) -> None:
    with_operators(plants, planted)

    assert refused(planted, sign_node(planted, b"n" * 32)) == "NODE_NOT_IN_REGISTRY"


def test_a_vote_needs_somebody_who_can_vote_a_deposit_and_rest(planted: Assembly, plants: Plants) -> None:
    nobody = refused(planted, sign_grant(planted, planted.people[7], OPERATOR))
    low = refused(planted, sign_grant(planted, planted.people[7], deposit=DEPOSIT - 1))
    beyond = refused(planted, sign_grant(planted, planted.people[7], deposit=10**6 * SCALE))
    first = refused(planted, sign_grant(planted, planted.people[7]))
    again = refused(planted, sign_grant(planted, planted.people[6]))

    assert (nobody, low, beyond, first, again) == (
        "PROPOSAL_NO_ELECTORATE", "PROPOSAL_DEPOSIT_TOO_LOW", "PROPOSAL_DEPOSIT_OVERDRAFT", "", "PROPOSAL_COOLDOWN",
    )  # fmt: skip


def test_one_proposal_about_a_role_of_an_account_at_a_time(town: Assembly) -> None:
    town.execute(sign_grant(town, town.people[7]))

    assert refused(town, sign_grant(town, town.people[7], by=1)) == "PROPOSAL_ALREADY_OPEN"
    assert refused(town, sign_grant(town, town.people[7], MODERATOR, by=2)) == ""
    assert refused(town, sign_grant(town, town.people[6], by=3)) == ""


def test_every_missing_step_is_told_at_once(town: Assembly) -> None:
    town.execute(sign_grant(town, town.people[7]))
    receipt = town.execute(sign_grant(town, town.people[7], "EMPEROR", deposit=0)).receipts[-1]

    assert denials(receipt) == {"ROLE_UNKNOWN", "PROPOSAL_COOLDOWN", "PROPOSAL_DEPOSIT_TOO_LOW"}


# What becomes of it.


def test_a_lost_vote_changes_nothing_and_gives_the_deposit_back(town: Assembly) -> None:
    signed = sign_grant(town, town.people[7])
    town.execute(signed)
    proposal = id_of(signed)
    held = read_balance(town.store, FLX, compute_deposit_account(proposal))
    town.vote(proposal, "no", *town.people[:6])
    town.close_vote()

    assert held == DEPOSIT
    assert town.state_of(proposal) == "REJECTED"
    assert read_balance(town.store, FLX, compute_deposit_account(proposal)) == 0
    assert may(town, town.people[7], AUDITOR) == "ROLE_NOT_GRANTED"


def test_without_a_quorum_it_expires_and_the_deposit_is_lost(town: Assembly) -> None:
    signed = sign_grant(town, town.people[7])
    town.execute(signed)
    town.vote(id_of(signed), "yes", town.people[1])
    town.close_vote()

    assert town.state_of(id_of(signed)) == "EXPIRED"
    assert read_balance(town.store, FLX, compute_deposit_account(id_of(signed))) == 0


def test_the_proposer_takes_it_back_while_it_is_voted_on(town: Assembly) -> None:
    signed = sign_grant(town, town.people[7])
    town.execute(signed)
    town.do(town.people[0], ProposalCancelled, proposal=id_of(signed))

    assert town.state_of(id_of(signed)) == "CANCELLED"


def test_what_became_impossible_meanwhile_expires(town: Assembly) -> None:
    """The holder resigns while the vote that would take the role from him waits for its delay."""
    person, voters = town.people[7], list(town.people[:6])
    carry(town, sign_grant(town, person), voters)
    signed = sign_revocation(town, person)
    town.execute(signed)
    town.vote(id_of(signed), "yes", *voters)
    town.close_vote()
    resigned = town.do(person, RoleRevoked, account=person.account, role=AUDITOR, space=PLATFORM)
    receipts = town.pass_beats(DELAY) + town.close_epoch()

    assert resigned.outcome == "applied"
    assert town.state_of(id_of(signed)) == "EXPIRED"
    assert only(receipts, "ProposalExpired")["reason"] == "ROLE_NOT_GRANTED"
