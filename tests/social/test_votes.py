"""Votes: who may vote, with what weight, and what the count decides."""

from pathlib import Path

import pytest

from ledger import keyspace
from ledger.bonds import BondLocked, BondReleased
from ledger.electorate import list_weights, read_mass, read_weight
from ledger.identity import IdentityCreated
from ledger.policies import (
    GovernancePolicy,
    encode_values,
    read_policies,
)
from ledger.primitives.fixed_point import SCALE
from ledger.scopes import AUDITOR, OPEN_AGI
from ledger.standing import read_standing
from ledger.tokens import FLX, NOD, read_balance, read_burned
from ledger.transfers import TokensTransferred
from ledger.vouches import VouchGiven, VouchWithdrawn
from social.follows import AccountFollowed
from social.governance.drafts import PolicyDrafted
from social.governance.proposals import RollbackProposed, compute_deposit_account
from social.governance.votes import read_vote
from social.reactions import ContentLiked
from tests.ledger.world import Person, id_of
from tests.social.assembly import DEPOSIT, QUICK, WINDOW, Assembly, Plants, denial, denials, only, refused

DEARER = 200 * SCALE


# Votes.


@pytest.mark.parametrize("again", ["yes", "no", "abstain"])
def test_a_vote_that_was_cast_stays(town: Assembly, again: str) -> None:
    proposal = town.open_vote()
    town.vote(proposal, "yes", town.people[2], reason="cheaper")
    (receipt,) = town.vote(proposal, again, town.people[2])

    vote = read_vote(town.store, proposal, town.people[2].account)
    assert denial(receipt) == "VOTE_ALREADY_CAST"
    assert vote is not None
    assert (vote.choice, vote.reason) == ("yes", "cheaper")
    assert (town.proposal(proposal).voters, town.proposal(proposal).no) == (1, 0)


def test_a_vote_is_taken_until_the_window_closes(town: Assembly) -> None:
    proposal = town.open_vote()
    closes = town.proposal(proposal).closes_beat
    town.pass_beats(closes - town.beat_now - 1)
    (last,) = town.vote(proposal, "yes", town.people[2])
    town.beat()
    (late,) = town.vote(proposal, "yes", town.people[3])

    assert closes - town.proposal(proposal).opened_beat == WINDOW
    assert (denial(last), denial(late)) == ("", "VOTE_CLOSED")


def test_a_vote_is_on_something_and_says_something(town: Assembly) -> None:
    proposal = town.open_vote()

    assert denial(town.vote(bytes(32), "yes", town.people[2])[0]) == "PROPOSAL_UNKNOWN"
    assert denial(town.vote(proposal, "maybe", town.people[2])[0]) == "VOTE_CHOICE_UNKNOWN"


def test_whoever_decides_may_not_hold_a_role_that_only_watches(planted: Assembly, plants: Plants) -> None:
    auditor, machine = planted.people[6], planted.people[7]
    plants.grant(AUDITOR, auditor)
    plants.grant(OPEN_AGI, machine)
    planted.close_epoch()
    proposal = planted.open_vote()
    values = encode_values("energy", {"base_cost": 300 * SCALE})
    receipts = planted.vote(proposal, "yes", auditor, machine)
    receipts.append(planted.do(auditor, PolicyDrafted, policy="energy", values=values))
    receipts.append(planted.do(machine, RollbackProposed, deposit=DEPOSIT, policy="energy"))

    assert ["ROLE_SCOPE_MISSING" in denials(receipt) for receipt in receipts] == [True] * 4


# The snapshot.


def weights_of(town: Assembly) -> int:
    """Return the sum over the whole state of what every account weighs now."""
    prefix = keyspace.weights(b"")
    accounts = [key[len(prefix) :] for key, _ in town.store.iterate(prefix, keyspace.after(prefix))]
    return sum(read_weight(town.store, account, town.epoch) for account in accounts)


def test_all_who_may_vote_are_counted_exactly(town: Assembly) -> None:
    eligible = town.proposal(town.open_vote()).eligible

    assert eligible == weights_of(town) == read_mass(town.store, town.epoch)
    assert eligible == sum(read_weight(town.store, person.account, town.epoch) for person in town.people)


def test_a_bond_that_is_locked_after_a_proposal_opened_adds_nothing(town: Assembly) -> None:
    late = town.people[7]
    town.execute(town.sign(late, BondReleased, atoms=100 * SCALE))
    proposal = town.open_vote()
    town.execute(town.sign(late, BondLocked, atoms=100 * SCALE))
    at_once = town.vote(proposal, "no", late)[0]
    town.close_epoch()
    settled = town.vote(proposal, "no", late)[0]

    assert (denial(at_once), denial(settled)) == ("VOTE_NOT_ELIGIBLE", "VOTE_NOT_ELIGIBLE")
    assert read_weight(town.store, late.account, town.epoch) > 0


def test_an_account_that_is_made_after_a_proposal_opened_weighs_nothing(town: Assembly) -> None:
    proposal = town.open_vote()
    newcomer = town.person("newcomer")
    town.execute(town.sign(newcomer, IdentityCreated))
    town.execute(town.sign(town.people[7], TokensTransferred, atoms=150 * SCALE, to=newcomer.account, token=FLX))
    town.execute(town.sign(newcomer, BondLocked, atoms=100 * SCALE))
    town.pass_epochs(3)

    assert denial(town.vote(proposal, "no", newcomer)[0]) == "VOTE_NOT_ELIGIBLE"


def test_one_bond_never_stands_behind_two_votes(town: Assembly) -> None:
    """It is moved to another account while a proposal is open; all votes together are what was counted."""
    giver, taker = town.people[6], town.people[7]
    town.execute(town.sign(taker, BondReleased, atoms=100 * SCALE))
    town.close_epoch()
    proposal = town.open_vote()
    before = town.vote(proposal, "no", giver)[0]
    town.execute(town.sign(giver, BondReleased, atoms=100 * SCALE))
    town.execute(town.sign(taker, BondLocked, atoms=100 * SCALE))
    town.close_epoch()
    after = town.vote(proposal, "no", taker)[0]
    town.vote(proposal, "yes", *town.people[:6])

    found = town.proposal(proposal)
    assert (denial(before), denial(after)) == ("", "VOTE_NOT_ELIGIBLE")
    assert found.yes + found.no + found.abstain == found.eligible


def test_taking_a_bond_back_costs_its_weight_at_once(town: Assembly) -> None:
    proposal = town.open_vote()
    leaver = town.people[7]
    weight = read_weight(town.store, leaver.account, town.epoch)
    town.execute(town.sign(leaver, BondReleased, atoms=50 * SCALE))
    town.vote(proposal, "no", leaver)

    assert town.proposal(proposal).no == weight // 2
    assert read_mass(town.store, town.epoch) == weights_of(town) == town.proposal(proposal).eligible - weight // 2


def test_taking_a_vouch_back_costs_the_weight_of_who_was_vouched_for(town: Assembly) -> None:
    """The vouched for has no bond; what others' vouches gave him goes with them, and stands behind nobody else."""
    target = town.people[7]
    town.execute(town.sign(target, BondReleased, atoms=100 * SCALE))
    town.close_epoch()
    raise_standing(town, *town.people[:2])
    vouches = town.execute(*(town.sign(person, VouchGiven, target=target.account) for person in town.people[:2]))
    assert [receipt.outcome for receipt in vouches.receipts] == ["applied"] * 2
    town.execute(town.sign(target, AccountFollowed, target=town.people[0].account))
    town.close_epoch()
    full = read_weight(town.store, target.account, town.epoch)
    town.execute(town.sign(town.people[0], VouchWithdrawn, target=target.account))

    assert full > 0
    assert read_weight(town.store, target.account, town.epoch) == full // 2
    assert read_mass(town.store, town.epoch) == weights_of(town)


def raise_standing(town: Assembly, *people: Person) -> None:
    """Let some write until they may vouch."""
    number = 0
    while any(read_s_chr(town, person) < 7 * SCALE // 10 for person in people):
        posts = [town.post(person, number + place) for place, person in enumerate(people)]
        number += len(people)
        town.execute(*posts)
        town.execute(
            *(town.sign(person, ContentLiked, target=id_of(post)) for post in posts for person in town.people[3:6])
        )
        town.close_epoch()


def read_s_chr(town: Assembly, person: Person) -> int:
    standing = read_standing(town.store, person.account)
    assert standing is not None
    return standing.s_chr


def test_a_weight_stays_that_of_the_opening_whatever_happens_to_the_standing(town: Assembly) -> None:
    writer = town.people[7]
    proposal = town.open_vote()
    opened = read_weight(town.store, writer.account, town.epoch)
    post = town.post(writer)
    town.execute(post)
    town.execute(*(town.sign(person, ContentLiked, target=id_of(post)) for person in town.people[1:6]))
    town.close_epoch()
    town.vote(proposal, "yes", writer)

    assert read_weight(town.store, writer.account, town.epoch) != opened
    assert town.proposal(proposal).yes == opened


def test_old_weights_are_kept_only_while_a_vote_needs_them(town: Assembly) -> None:
    busy = town.people[7]
    proposal = town.open_vote()
    lengths: list[int] = []
    for number in range(9):
        town.execute(town.sign(busy, AccountFollowed, target=town.people[number % 7].account))
        town.close_epoch()
        lengths.append(len(list_weights(town.store, busy.account)))

    assert town.state_of(proposal) == "EXPIRED"
    assert (max(lengths), lengths[-1]) == (2, 1)


def test_whoever_has_long_gone_blocks_no_quorum(town: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.electorate.ELECTORATE_EPOCHS", 3)
    town.pass_epochs(2)
    town.execute(*(town.sign(person, AccountFollowed, target=town.people[7].account) for person in town.people[:2]))
    town.close_epoch()
    proposal = town.open_vote()

    assert town.proposal(proposal).eligible == weights_of(town)
    assert denial(town.vote(proposal, "yes", town.people[1])[0]) == ""
    assert denial(town.vote(proposal, "yes", town.people[5])[0]) == "VOTE_NOT_ELIGIBLE"


# Counting.


def test_a_tie_rejects(town: Assembly) -> None:
    proposal = town.open_vote()
    town.vote(proposal, "yes", *town.people[:4])
    town.vote(proposal, "no", *town.people[4:])

    assert only(town.close_vote(), "ProposalTallied")["outcome"] == "rejected"
    assert town.state_of(proposal) == "REJECTED"


@pytest.mark.parametrize(("yes", "no", "state"), [(4, 2, "QUEUED"), (3, 2, "REJECTED"), (5, 3, "REJECTED")])
def test_two_thirds_are_needed(town: Assembly, yes: int, no: int, state: str) -> None:
    proposal = town.open_vote()
    town.vote(proposal, "yes", *town.people[:yes])
    town.vote(proposal, "no", *town.people[yes : yes + no])
    town.close_vote()

    assert town.state_of(proposal) == state


@pytest.mark.parametrize(("yes", "abstain", "state"), [(2, 0, "EXPIRED"), (2, 1, "QUEUED"), (0, 8, "REJECTED")])
def test_whoever_abstains_counts_for_the_quorum(town: Assembly, yes: int, abstain: int, state: str) -> None:
    proposal = town.open_vote()
    town.vote(proposal, "yes", *town.people[:yes])
    town.vote(proposal, "abstain", *town.people[yes : yes + abstain])
    town.close_vote()

    assert town.state_of(proposal) == state


def test_without_a_quorum_a_proposal_expires_and_its_deposit_is_lost(town: Assembly) -> None:
    proposal = town.open_vote()
    burned = read_burned(town.store, FLX)
    receipts = town.close_vote()

    assert only(receipts, "ProposalTallied")["outcome"] == "no quorum"
    assert only(receipts, "ProposalExpired") == {"proposal": proposal.hex(), "reason": "no quorum"}
    assert read_balance(town.store, FLX, compute_deposit_account(proposal)) == 0
    assert read_burned(town.store, FLX) >= burned + DEPOSIT


def test_with_a_quorum_the_deposit_comes_back_even_to_the_loser(town: Assembly) -> None:
    proposal = town.open_vote()
    town.vote(proposal, "no", *town.people)
    before = read_balance(town.store, FLX, town.people[0].account)
    town.close_vote()

    assert town.state_of(proposal) == "REJECTED"
    assert read_balance(town.store, FLX, compute_deposit_account(proposal)) == 0
    assert read_balance(town.store, FLX, town.people[0].account) > before  # what decays is less than the deposit


def test_what_a_vote_is_held_by_is_fixed_when_it_opens(tmp_path: Path) -> None:
    town = Assembly(tmp_path / "ledger", policies={"governance": QUICK["governance"] | {"window_beats": 48}})
    changed = town.draft("governance", QUICK["governance"] | {"social_majority": 80 * SCALE // 100})
    rules = town.propose(changed, town.simulate(changed))
    town.vote(rules, "yes", *town.people)
    town.pass_beats(40)
    draft = town.draft(base_cost=DEARER)
    proposal = town.propose(draft, town.simulate(draft))
    while town.state_of(rules) != "ACTIVE":
        town.beat()
    town.vote(proposal, "yes", *town.people[:5])
    town.vote(proposal, "no", *town.people[5:7])
    town.pass_beats(48)

    assert isinstance(read_policies(town.store).governance, GovernancePolicy)
    assert read_policies(town.store).governance.social_majority == 80 * SCALE // 100
    assert town.state_of(proposal) in ("QUEUED", "ACTIVE")  # 71 % are enough under the rules that it opened under
    town.close()


# The infra track.


def found_nodes(town: Assembly, plants: Plants, *nod: int) -> None:
    for place, atoms in enumerate(nod):
        plants.node(town.people[place], atoms, place)
    town.close_epoch()


def test_operators_decide_over_what_serving_pays(planted: Assembly, plants: Plants) -> None:
    found_nodes(planted, plants, 40 * SCALE, 30 * SCALE, 20 * SCALE, 10 * SCALE)
    cut = 10 * SCALE  # nobody more than a quarter
    draft = planted.draft("nod", fraction=SCALE // 20)
    proposal = planted.propose(draft, planted.simulate(draft))
    opened = planted.proposal(proposal)
    planted.vote(proposal, "yes", *planted.people[:3])
    by_user = planted.vote(proposal, "no", planted.people[6])[0]
    planted.close_vote()

    assert (opened.track, opened.quorum, opened.eligible) == ("infra", 66 * SCALE // 100, 4 * cut)
    assert opened.yes == 0
    assert planted.proposal(proposal).yes == 3 * cut
    assert denial(by_user) == "VOTE_WRONG_TRACK"
    assert planted.state_of(proposal) == "QUEUED"


def test_nod_weighs_nothing_in_a_social_vote(planted: Assembly, plants: Plants) -> None:
    operator = planted.people[3]
    found_nodes(planted, plants, *(10 * SCALE,) * 4)
    planted.execute(planted.sign(operator, BondReleased, atoms=100 * SCALE))
    proposal = planted.open_vote()

    assert denial(planted.vote(proposal, "yes", operator)[0]) == "VOTE_WRONG_TRACK"


def test_an_urgent_vote_has_half_the_time_and_needs_four_fifths(planted: Assembly, plants: Plants) -> None:
    found_nodes(planted, plants, *(10 * SCALE,) * 4)
    draft = planted.draft("nod", fraction=SCALE // 20)
    proposal = planted.propose(draft, planted.simulate(draft), urgent=True)
    opened = planted.proposal(proposal)
    planted.vote(proposal, "yes", *planted.people[:3])
    planted.close_vote()

    assert (opened.closes_beat - opened.opened_beat, opened.quorum) == (10, 80 * SCALE // 100)
    assert planted.state_of(proposal) == "EXPIRED"


def test_three_operators_are_no_electorate(planted: Assembly, plants: Plants) -> None:
    found_nodes(planted, plants, *(10 * SCALE,) * 3)
    draft = planted.draft("nod", fraction=SCALE // 20)

    assert refused(planted, planted.sign_proposal(draft, planted.simulate(draft))) == "PROPOSAL_NO_ELECTORATE"


def test_nod_that_is_earned_after_a_proposal_opened_adds_nothing(planted: Assembly, plants: Plants) -> None:
    found_nodes(planted, plants, *(10 * SCALE,) * 4)
    draft = planted.draft("nod", fraction=SCALE // 20)
    proposal = planted.propose(draft, planted.simulate(draft))
    plants.node(planted.people[4], 50 * SCALE, 4)
    planted.close_epoch()

    assert denial(planted.vote(proposal, "no", planted.people[4])[0]) == "VOTE_WRONG_TRACK"
    assert read_balance(planted.store, NOD, planted.people[4].account) > 0
