"""A decision that nobody contests in time becomes final.  Events: moderation.DecisionBecameFinal, derived.

This happens where an epoch begins, after the last one was settled.  What the decision held is taken back, it counts
against the account, and no appeal can change it any more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.draft import Draft
from ledger.events import Entry, EventType, View, Write
from ledger.holds import PENALTY_APPLIED, Derived, PenaltyApplied, list_clawed_back
from ledger.primitives.records import U64, Bytes32
from ledger.state import encode_number, read_number
from social.moderation.effects import make_final, read_known
from social.moderation.records import CONTESTED, OPEN, PENALISED, QUEUE_HEAD, QUEUE_TAIL, list_queue, queue_key

MODULE = "moderation"


@dataclass(frozen=True, slots=True)
class DecisionBecameFinal:
    """A decision can't be reversed by an appeal any more."""

    decision: Bytes32
    queue_head: U64  # from which place on decisions still wait for their time


def list_final(view: View, decision_id: bytes, epoch: int, queue_head: int) -> Iterator[Derived]:
    """Yield the events that make a decision final.  epoch: the one that begins."""
    decision = read_known(view, decision_id)
    yield from list_clawed_back(view, decision_id, epoch)
    if decision.kind in PENALISED:
        yield PENALTY_APPLIED, PenaltyApplied(decision.account, decision_id)
    yield DECISION_BECAME_FINAL, DecisionBecameFinal(decision_id, queue_head)


def close_decisions(view: View, closed: int, beat: int) -> Iterator[Derived]:
    """Yield what becomes final where an epoch begins.  Cost: linear in the decisions whose time has come."""
    for place, decision_id in list_queue(view):
        decision = read_known(view, decision_id)
        if decision.state == OPEN:
            if beat < decision.contest_until:
                return  # whoever decided later, waits longer
            yield from list_final(view, decision_id, closed + 1, place + 1)


def apply_became_final(view: View, entry: Entry[DecisionBecameFinal]) -> Iterator[Write]:
    """Make the decision final, and let the queue go on."""
    draft = Draft(view)
    assert read_known(view, entry.body.decision).state in (OPEN, CONTESTED), "only what stands becomes final"
    make_final(draft, entry.body.decision)
    head = min(max(read_number(view, QUEUE_HEAD), entry.body.queue_head), read_number(view, QUEUE_TAIL))
    for place in range(read_number(view, QUEUE_HEAD), head):
        draft.delete(queue_key(place))
    draft.put(QUEUE_HEAD, encode_number(head))
    yield from draft.writes()


DECISION_BECAME_FINAL = EventType(
    name="moderation.DecisionBecameFinal",
    version=1,
    body=DecisionBecameFinal,
    guards=(),
    apply=apply_became_final,
    summary="A decision was not contested in time, or upheld: it is final.",
    example=DecisionBecameFinal(bytes(32), 1),
    inputs=lambda body: {"decision": body.decision.hex(), "queue_head": body.queue_head},
    derived=True,
)

EVENTS = (DECISION_BECAME_FINAL,)
AT_CLOSE = (MODULE, close_decisions)
