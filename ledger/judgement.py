"""Judgement: every guard on one event, its draft, and the meta-guard over all.  Preview and execution run this code.

    draft   the author and the accounts that the event touches are brought up to date, unless its type leaves them alone
    guards  of the event's type, then the network's, on the draft; all run, so the author learns everything at once
    apply   if all allow: the transition's writes, the charge of energy; then the guards audit what was written
    meta    AEGIS sees every verdict; it can only make the outcome stricter

A rule that raises an error denies the event with CIR-302.  Errors of the store are never caught: they are this
machine's, and would make it answer differently from others.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from ledger.actions import Action, measure_action, record_action
from ledger.draft import Change, Draft
from ledger.events import Entry, EventType, View
from ledger.policies import PROTOCOL, Policies, read_policies
from ledger.standing import Standing, bring_up_to_date, read_standing
from ledger.verdict import CRITICAL, Fact, Verdict, deny, graded, make_verdict

RULE_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError, struct.error)
"""What a faulty rule raises, on every machine alike; the last when a count of a standing leaves its field."""


class Case(NamedTuple):
    """An event before its judges."""

    entry: Entry[Any]
    kind: EventType[Any]
    view: View
    policies: Policies
    standing: Standing | None  # of the author, up to date; None while the account does not exist
    action: Action | None  # None for events that cost no energy


@dataclass(frozen=True)
class Guard:
    """A network-wide guard.  It lists itself: the catalogue and the API show these fields."""

    name: str
    version: int
    purpose: str
    inputs: tuple[str, ...]
    risk: str  # what goes wrong without it
    policy: str  # whose numbers it judges by; "protocol" for constants of the software
    codes: dict[str, str]  # code -> when it is given
    judge: Callable[[Case], Iterable[Verdict]]
    audit: Callable[[Case, list[Change]], Iterable[Verdict]] | None = None

    @cached_property
    def cite(self) -> str:
        """The guard as verdicts name it."""
        return f"{self.name}@{self.version}"


MetaGuard: TypeAlias = Callable[[Case, tuple[Verdict, ...]], Verdict]
Adapt: TypeAlias = Callable[[Case], Case]
"""Gives the case as it is judged where the event happens; it may only be stricter."""


@dataclass(frozen=True, slots=True)
class GuardStack:
    """The guards in their order, and the one over all."""

    guards: tuple[Guard, ...] = ()
    meta: Guard | None = None
    decide: MetaGuard | None = None
    adapt: Adapt | None = None

    def all(self) -> tuple[Guard, ...]:
        return self.guards if self.meta is None else (*self.guards, self.meta)


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of an event, before anything is kept."""

    verdicts: tuple[Verdict, ...]
    allowed: bool
    vetoed: Verdict | None  # AEGIS's, where the others had allowed
    fault: str | None  # the error's name, where a rule raised one
    changes: list[Change]  # dropped unless allowed
    evidence: dict[str, Fact] = field(default_factory=dict[str, Fact])


def judge_event(stack: GuardStack, below: View, entry: Entry[Any], kind: EventType[Any]) -> Judged:
    """Judge one event on top of a view; writes nothing there."""
    draft = Draft(below)
    verdicts: list[Verdict] = []
    changes: list[Change] = []
    case: Case | None = None
    fault: str | None = None
    try:
        case = _open_case(draft, entry, kind)
        if stack.adapt is not None:
            case = stack.adapt(case)
        name = f"{kind.name}@{kind.version}"
        _take(verdicts, [guard(draft, entry) for guard in kind.guards], name, PROTOCOL)
        for guard in stack.guards:
            _take(verdicts, guard.judge(case), guard.cite, case.policies.cite.get(guard.policy, PROTOCOL))
        if all(verdict.allowed for verdict in verdicts):
            draft.write(kind.apply(draft, entry))
            if case.action is not None and case.standing is not None:
                standing = read_standing(draft, entry.author)
                assert standing is not None, "a transition does not remove its author"
                record_action(draft, entry, standing, case.action, case.policies)
            changes = draft.changes()
            for guard in stack.guards:
                if guard.audit is not None:
                    found = guard.audit(case, changes)
                    _take(verdicts, found, guard.cite, case.policies.cite.get(guard.policy, PROTOCOL))
    except RULE_ERRORS as error:
        fault = type(error).__name__
        verdicts.append(_fault_verdict(kind, error))
    allowed = all(verdict.allowed for verdict in verdicts)
    vetoed = None
    if stack.meta is not None and stack.decide is not None and case is not None:
        decided = stack.decide(case, tuple(verdicts))
        _take(verdicts, (decided,), stack.meta.cite, case.policies.cite.get(stack.meta.policy, PROTOCOL))
        last = verdicts[-1]
        vetoed = last if allowed and not last.allowed else None
        allowed = allowed and last.allowed
    evidence = {} if case is None or case.action is None else case.action.evidence(case.policies)
    return Judged(tuple(verdicts), allowed, vetoed, fault, changes, evidence)


def _open_case(draft: Draft, entry: Entry[Any], kind: EventType[Any]) -> Case:
    policies = read_policies(draft)
    standing = read_standing(draft, entry.author)
    if standing is not None:
        standing = bring_up_to_date(Draft(draft) if kind.leaves_account else draft, entry.author, standing, entry.epoch)
    for account in kind.touches(entry):
        touched = read_standing(draft, account)
        if touched is not None:
            bring_up_to_date(draft, account, touched, entry.epoch)
    action = None
    if kind.weight and standing is not None:
        action = measure_action(draft, entry, kind, standing, policies)
    return Case(entry, kind, draft, policies, standing, action)


def _take(verdicts: list[Verdict], found: Iterable[Verdict], guard: str, policy: str) -> None:
    """Append what a guard found, with its name and the policy that it judged by."""
    for allowed, code, because, facts, severity, _, under in found:
        verdicts.append(make_verdict((allowed, code, because, facts, severity, guard, under or policy)))


def _fault_verdict(kind: EventType[Any], error: Exception) -> Verdict:
    # The error's text may hold addresses or differ between builds; its name does not.
    verdict = deny(
        "CIR-302",
        "A rule of this event raised an error, so the event is denied; the fault is counted.",
        error=type(error).__name__,
        type=kind.name,
    )
    return graded(verdict, CRITICAL)._replace(guard="judgement@1", policy=PROTOCOL)
