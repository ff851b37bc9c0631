"""Sanctions: who is suspended stays silent where he is suspended, and what a decision holds is not spent.

A suspension takes away publishing, endorsing, joining and moderating, in one community or on the whole platform.  It
leaves leaving, taking back, one's keys, votes, transfers and appeals.
"""

from collections.abc import Iterator

from ledger import keyspace
from ledger.conservation import read_amount
from ledger.draft import Change, Draft
from ledger.events import View
from ledger.holds import read_held_flx
from ledger.judgement import Case, Guard
from ledger.roles import PLATFORM
from ledger.sanctions import read_sanction, suspension_key
from ledger.spaces import space_of_event
from ledger.standing import bring_up_to_date, read_standing
from ledger.tokens import FLX, read_balance
from ledger.verdict import Verdict, deny

SILENCED = frozenset({"community", "content", "graph", "moderation"})
"""Modules that a suspension closes."""
LEAVING = frozenset(
    {
        "community.CommunityMemberLeft",
        "community.ModeratorRemoved",
        "graph.AccountUnfollowed",
        "graph.LikeWithdrawn",
        "graph.RepostWithdrawn",
    }
)
"""What stays open: nobody is kept in a place, or to what he said."""
FLX_BALANCES = keyspace.balance(FLX, b"")


def judge_sanctions(case: Case) -> Iterator[Verdict]:
    """Judge whether the author is suspended where the event happens; silent when he is not."""
    if case.kind.module not in SILENCED or case.kind.name in LEAVING:
        return
    here = space_of_event(case.view, case.entry.body)
    for space in (PLATFORM,) if here == PLATFORM else (PLATFORM, here):
        found = read_sanction(case.view, suspension_key(space, case.entry.author))
        if found is not None:
            where = "on the platform" if space == PLATFORM else "in this community"
            yield deny(
                "SANCTION_SUSPENDED", f"The account is suspended {where}; the decision can be appealed.",
                decision=found.decision.hex(), space=space.hex(),
                until_beat=-1 if found.until_beat is None else found.until_beat,
            )  # fmt: skip


class _Before:
    """The state as it was before some changes."""

    def __init__(self, view: View, changes: list[Change]) -> None:
        self._view = view
        self._before = {key: before for key, before, _ in changes if key[:1] == keyspace.STATE}

    def get(self, key: bytes) -> bytes | None:
        return self._before[key] if key in self._before else self._view.get(key)


def audit_sanctions(case: Case, changes: list[Change]) -> Iterator[Verdict]:
    """Audit that no held FLX is spent; silent when none is.  What decays in passing is not spent."""
    for key, before, after in changes:
        if not key.startswith(FLX_BALANCES):
            continue
        account, left, had = key[len(FLX_BALANCES) :], read_amount(after) or 0, read_amount(before) or 0
        if left >= had:
            continue
        held = read_held_flx(case.view, account)
        if left >= held:
            continue
        draft = Draft(_Before(case.view, changes))
        standing = read_standing(draft, account)
        if standing is not None:
            bring_up_to_date(draft, account, standing, case.entry.epoch)
        balance = read_balance(draft, FLX, account)
        if left < min(held, balance):
            yield deny(
                "SANCTION_FLX_HELD", "This FLX was earned by a contested post; it is held until the decision is final.",
                held_atoms=held, left_atoms=left,
            )  # fmt: skip


GUARD = Guard(
    name="sanctions",
    version=1,
    purpose="Carries out suspensions, and keeps contested earnings from being spent before the decision is final.",
    inputs=("suspensions of the author", "FLX that decisions hold", "every balance that the event would lower"),
    risk="Without it a decision of a moderator could be ignored, and what it takes back would be gone.",
    policy="moderation",
    codes={
        "SANCTION_FLX_HELD": "the event would spend FLX that a decision holds",
        "SANCTION_SUSPENDED": "the account is suspended where the event happens",
    },
    judge=judge_sanctions,
    audit=audit_sanctions,
)
