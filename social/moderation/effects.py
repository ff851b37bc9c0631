"""What a decision does to posts, accounts and the record of its moderator, and what takes it back."""

from dataclasses import replace
from typing import Any

from ledger import keyspace
from ledger.draft import Draft
from ledger.events import Entry, View
from ledger.holds import drop_holds
from ledger.policies import read_policies
from ledger.primitives.records import encode_record
from ledger.sanctions import Sanction, end_sanction, finish_sanction, sanction_writes
from ledger.state import encode_number, read_number
from ledger.verdict import Verdict, allow, deny, under
from social.moderation.records import (
    FINAL,
    NO_RECORD,
    PENDING,
    QUEUE_TAIL,
    Case,
    Decision,
    deciders_of,
    open_cases,
    queue_key,
    read_case,
    read_decision,
    read_moderator_record,
    sanction_key,
)

NEVER_REPORTED = Case(0, 0, 0, 0, 0, bytes(32), 0)


def read_known(view: View, decision_id: bytes) -> Decision:
    """Return a decision that is known to exist."""
    decision = read_decision(view, decision_id)
    assert decision is not None, "a decision is kept for ever"
    return decision


def put_decision(draft: Draft, decision_id: bytes, decision: Decision) -> None:
    """Store a decision."""
    draft.put(keyspace.moderation("d", decision_id), encode_record(decision))


def make_decision(draft: Draft, decision_id: bytes, decision: Decision) -> None:
    """Put a new decision into force, and into the queue of those that can be appealed."""
    put_decision(draft, decision_id, decision)
    key = sanction_key(decision)
    if key is not None:
        draft.write(sanction_writes(key, Sanction(decision_id, False, decision.until_beat)))
    tail = read_number(draft, QUEUE_TAIL)
    draft.put(queue_key(tail), decision_id)
    draft.put(QUEUE_TAIL, encode_number(tail + 1))


def take_back(draft: Draft, decision_id: bytes, state: str) -> None:
    """End a decision's effects, as far as they have not become final, under a new state."""
    decision = read_known(draft, decision_id)
    key = sanction_key(decision)
    if key is not None:
        draft.write(end_sanction(draft, key, decision_id))
    if decision.state in PENDING:
        draft.write(drop_holds(draft, decision_id))
    put_decision(draft, decision_id, replace(decision, state=state))


def make_final(draft: Draft, decision_id: bytes) -> None:
    """Make a decision final; what it held was taken back before."""
    decision = read_known(draft, decision_id)
    key = sanction_key(decision)
    if key is not None:
        draft.write(finish_sanction(draft, key, decision_id))
    draft.write(drop_holds(draft, decision_id))
    put_decision(draft, decision_id, replace(decision, state=FINAL))


def answer_case(draft: Draft, post_id: bytes, space: bytes, *, decided: bool) -> None:
    """Take a post from the queue of reports; what reported it is answered."""
    case = read_case(draft, post_id)
    if case is None:
        case = replace(NEVER_REPORTED, space=space)
    if open_cases(case.space).has(draft, post_id):
        open_cases(case.space).remove(draft, post_id)
    answered = replace(case, decided=case.decided + (1 if decided else 0), mass=0, reports=0)
    draft.put(keyspace.moderation("c", post_id), encode_record(answered))


def count(draft: Draft, space: bytes, account: bytes, field: str) -> None:
    """Count one more in a field of a moderator's record."""
    record = read_moderator_record(draft, space, account) or NO_RECORD
    changes: dict[str, Any] = {field: int(getattr(record, field)) + 1}
    draft.put(keyspace.moderation("m", space, account), encode_record(replace(record, **changes)))


def count_act(draft: Draft, space: bytes, account: bytes, epoch: int) -> None:
    """Count an act of a moderator in this epoch."""
    record = read_moderator_record(draft, space, account)
    if record is None:
        record = NO_RECORD
        deciders_of(space).add(draft, account)
    acts = record.acts + 1 if record.epoch == epoch else 1
    draft.put(keyspace.moderation("m", space, account), encode_record(replace(record, acts=acts, epoch=epoch)))


def moderator_has_acts_left(view: View, entry: Entry[Any]) -> Verdict:
    """Say whether a moderator may act once more in this epoch."""
    policies = read_policies(view)
    record = read_moderator_record(view, entry.body.space, entry.author)
    acts = record.acts if record is not None and record.epoch == entry.epoch else 0
    most = policies.moderation.actions_max
    if acts < most:
        verdict = allow("MODERATION_ACTS_LEFT", "The moderator may act.", acts=acts, acts_max=most)
    else:
        verdict = deny(
            "MODERATION_RATE", "The moderator has acted as often in this epoch as the policy allows.",
            acts=acts, acts_max=most,
        )  # fmt: skip
    return under(verdict, policies.cite["moderation"])
