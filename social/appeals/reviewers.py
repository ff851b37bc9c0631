"""Who reviews appeals.  Events: appeals.ReviewerEnlisted, ReviewerResigned.

Reviewers are drawn from accounts that are willing, of full identity and good standing.  Each gets a ticket of one byte
from the seed of the beat, the appeal, its stage and its own id; the lowest are drawn, of equal tickets those with more
PSI.  Left out is whoever has a part in it: the two sides, who shares an operator group with one of them, who reported
the post, who moderates there, who reviewed before; and whoever is suspended.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, EventType, View, Write
from ledger.nod import read_operator_groups
from ledger.policies import read_policies
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.hashing import tagged_hash
from ledger.roles import PLATFORM, has_role, read_founder, read_roles
from ledger.sanctions import read_sanction, suspension_key
from ledger.scopes import EXCLUSIVE, MODERATOR
from ledger.standing import bring_up_to_date, compute_sybil_multiplier, read_standing
from ledger.tokens import FLX, PSI, compute_bond_account, read_balance
from ledger.verdict import Verdict, allow, deny, under
from social.appeals.records import WILLING, Appeal
from social.moderation.records import Decision

WILLING_MAX = 10_000
"""A draw looks at everybody who is willing."""


@dataclass(frozen=True, slots=True)
class ReviewerEnlisted:
    """The author is willing to review appeals."""


@dataclass(frozen=True, slots=True)
class ReviewerResigned:
    """The author will not be drawn any more."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody willing, as of now."""

    account: bytes
    psi: int  # atoms
    s_chr: int  # raw
    y: int  # raw


def read_candidate(view: View, account: bytes, epoch: int) -> Candidate | None:
    """Return how an account stands now; None where it does not exist."""
    draft = Draft(view)
    standing = read_standing(draft, account)
    if standing is None:
        return None
    standing = bring_up_to_date(draft, account, standing, epoch)
    bond = read_balance(draft, FLX, compute_bond_account(account))
    y = compute_sybil_multiplier(standing, bond, epoch, read_policies(draft))
    return Candidate(account, read_balance(draft, PSI, account), standing.s_chr, y)


def judge_candidate(view: View, found: Candidate | None) -> Verdict:
    """Say whether an account stands well enough to review."""
    policies = read_policies(view)
    s_chr, y = (0, 0) if found is None else (found.s_chr, found.y)
    least = policies.moderation.reviewer_s_chr_min
    if s_chr >= least and y >= SCALE:
        verdict = allow("REVIEWER_FIT", "The account may review.", s_chr=s_chr, s_chr_min=least, multiplier=y)
    else:
        verdict = deny(
            "REVIEWER_STANDING", "Reviewers have good standing, and an identity of full age and bond.",
            s_chr=s_chr, s_chr_min=least, multiplier=y, multiplier_min=SCALE,
        )  # fmt: skip
    return under(verdict, policies.cite["moderation"])


def draw_reviewers(
    view: View, appeal_id: bytes, appeal: Appeal, decision: Decision, seed: bytes, epoch: int
) -> list[bytes]:
    """Return who reviews a stage, in order of id; fewer than the policy asks for where there are no more.

    Cost: linear in those who are willing.
    """
    groups = read_operator_groups(view)
    sides = {decision.account, decision.decider, appeal.account}
    barred_groups = {groups[side] for side in sides if side in groups}
    tickets: list[tuple[int, int, bytes]] = []
    for account in WILLING.read(view):
        if account in sides or account in appeal.earlier or groups.get(account) in barred_groups:
            continue
        found = read_candidate(view, account, epoch)
        if found is None or not judge_candidate(view, found).allowed or _has_part(view, account, decision):
            continue
        ticket = tagged_hash("atlas/reviewer", seed, appeal_id, appeal.stage.encode(), account)[0]
        tickets.append((ticket, -found.psi, account))
    return sorted(account for _, _, account in sorted(tickets)[: read_policies(view).moderation.reviewers])


def _has_part(view: View, account: bytes, decision: Decision) -> bool:
    """Whether an account has to do with a decision, beside its two sides, or may not act here at all."""
    if read_founder(view, decision.space) == account or has_role(view, account, MODERATOR, decision.space):
        return True
    if any(each.role in EXCLUSIVE for each in read_roles(view, account)):
        return True
    if view.get(keyspace.moderation("r", decision.subject, account)) is not None:
        return True
    return any(read_sanction(view, suspension_key(space, account)) is not None for space in (PLATFORM, decision.space))


def author_is_fit(view: View, entry: Entry[ReviewerEnlisted]) -> Verdict:
    return judge_candidate(view, read_candidate(view, entry.author, entry.epoch))


def author_is_not_enlisted(view: View, entry: Entry[ReviewerEnlisted]) -> Verdict:
    if WILLING.has(view, entry.author):
        return deny("REVIEWER_ENLISTED_ALREADY", "The account is willing already.")
    count = WILLING.count(view)
    if count >= WILLING_MAX:
        return deny("REVIEWER_ROLL_FULL", "There are as many as a draw can look at.", willing=count)
    return allow("REVIEWER_ROLL_ROOM", "There is room for another.", willing=count)


def author_is_enlisted(view: View, entry: Entry[ReviewerResigned]) -> Verdict:
    if WILLING.has(view, entry.author):
        return allow("REVIEWER_ENLISTED", "The account is willing so far.")
    return deny("REVIEWER_NOT_ENLISTED", "The account is not among the willing.")


def apply_reviewer_enlisted(view: View, entry: Entry[ReviewerEnlisted]) -> Iterator[Write]:
    """Put the account on the roll."""
    draft = Draft(view)
    WILLING.add(draft, entry.author)
    yield from draft.writes()


def apply_reviewer_resigned(view: View, entry: Entry[ReviewerResigned]) -> Iterator[Write]:
    """Take the account off the roll; what it was drawn for stays."""
    draft = Draft(view)
    WILLING.remove(draft, entry.author)
    yield from draft.writes()


EVENTS = (
    EventType(
        name="appeals.ReviewerEnlisted",
        version=1,
        body=ReviewerEnlisted,
        guards=(author_is_fit, author_is_not_enlisted),
        apply=apply_reviewer_enlisted,
        summary="An account is willing to review appeals.",
        example=ReviewerEnlisted(),
        weight=SCALE // 10,
    ),
    EventType(
        name="appeals.ReviewerResigned",
        version=1,
        body=ReviewerResigned,
        guards=(author_is_enlisted,),
        apply=apply_reviewer_resigned,
        summary="An account is not willing to review appeals any more.",
        example=ReviewerResigned(),
    ),
)
