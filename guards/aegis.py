"""AEGIS: the guard over all guards.  It sees every verdict, and can only make the outcome stricter.

It vetoes what the others allow when the author is in quarantine, the module is frozen, a verdict is critical, or
several grave verdicts come together.  Where there is a grave one, a fault (CIR-302) of the author's in the same epoch
counts as one more, and so does each anomaly that was noted of him (`ledger.conduct`).  A veto drops the event's draft,
and leaves two events: the veto, and a rollback with the state digest before and after, which are equal.
"""

from ledger.conduct import is_frozen, read_conduct
from ledger.judgement import Case, Guard
from ledger.verdict import CRITICAL, ERROR, WARNING, Fact, Verdict, allow, deny, graded

ALWAYS_OPEN = frozenset({"identity", "appeals"})
"""Modules that stay open to everyone: leaving, one's keys, and appeals."""


def decide(case: Case, verdicts: tuple[Verdict, ...]) -> Verdict:
    """Return AEGIS's verdict over those of all guards."""
    entry, module, policy = case.entry, case.kind.module, case.policies.aegis
    conduct = read_conduct(case.view, entry.author)
    if module not in ALWAYS_OPEN:
        if conduct is not None and entry.beat < conduct.quarantined_until:
            return _veto("AEGIS_ACTOR_QUARANTINED", "The account is in quarantine.", author=entry.author.hex())
        if is_frozen(case.view, module, entry.epoch):
            return _veto("AEGIS_MODULE_FROZEN", "The module is frozen until a later epoch.", module=module)
    passed = [verdict.severity for verdict in verdicts if verdict.allowed]  # what denies needs no veto
    warnings = passed.count(WARNING)
    counted = None if conduct is None else conduct.in_epoch(entry.epoch)
    faults, noted = (0, ()) if counted is None else (counted.faults, counted.denials.noted)
    errors = passed.count(ERROR) + warnings // policy.warnings_error
    if errors:  # a grave finding weighs more where the author has just sent what made a rule fail, or is often denied
        errors += min(faults, 1) + len(noted)
    if CRITICAL in passed:
        return _veto("AEGIS_CRITICAL", "A finding that was let pass is critical.", errors=errors)
    if errors >= policy.errors_veto:
        return graded(
            deny(
                "AEGIS_ERRORS_TOGETHER",
                "Several grave findings come together.",
                anomalies=" ".join(noted),
                errors=errors,
                faults=faults,
                warnings=warnings,
            ),
            ERROR,
        )
    facts: dict[str, Fact] = {"anomalies": " ".join(noted)} if noted else {}
    return allow("AEGIS_CLEAR", "Nothing to add to what the guards say.", **facts)


def _veto(code: str, because: str, **facts: int | str | bool) -> Verdict:
    return graded(deny(code, because, **facts), CRITICAL)


def judge_alone(case: Case) -> tuple[Verdict, ...]:
    """AEGIS judges the other guards' verdicts, never an event alone."""
    return ()


GUARD = Guard(
    name="aegis",
    version=1,
    purpose="Stops what the other guards let pass together, and what comes from quarantined accounts.",
    inputs=(
        "the verdicts of all guards",
        "quarantine of the author",
        "circuits of the module",
        "faults and anomalies of the author in the epoch",
    ),
    risk="Without it several doubtful findings pass because none of them denies alone.",
    policy="aegis",
    codes={
        "AEGIS_ACTOR_QUARANTINED": "the author is in quarantine",
        "AEGIS_CLEAR": "nothing to add",
        "AEGIS_CRITICAL": "a verdict that allows is critical",
        "AEGIS_ERRORS_TOGETHER": "several grave verdicts together",
        "AEGIS_MODULE_FROZEN": "the event's module is frozen",
    },
    judge=judge_alone,
)
