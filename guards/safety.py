"""Safety: which label a published text gets, by the scores that its author signed and every node can compute again."""

from collections.abc import Iterator

from ledger.items import HIDDEN, WARNED
from ledger.judgement import Case, Guard
from ledger.verdict import CRITICAL, ERROR, WARNING, Fact, Verdict, allow, deny, graded


def judge_safety(case: Case) -> Iterator[Verdict]:
    """Judge the assessment of a text under the safety policy."""
    action, policy = case.action, case.policies.safety
    if action is None or action.assessment is None:
        yield allow("SAFETY_NOTHING_TO_JUDGE", "The event publishes no text.")
        return
    found = action.assessment
    facts: dict[str, Fact] = {"hate": found.hate, "model": found.model, "offensive": found.offensive}
    if found.model != policy.model:
        yield deny(
            "SAFETY_MODEL_OUTDATED", "The text was assessed by another model than the policy names; prepare it again.",
            model_expected=policy.model, **facts,
        )  # fmt: skip
    elif found.hate >= policy.blocked_hate:
        denied = deny("SAFETY_BLOCKED", "The text is of the gravest class.", hate_max=policy.blocked_hate - 1, **facts)
        yield graded(denied, CRITICAL)
    elif action.label == HIDDEN:
        yield graded(allow("SAFETY_HIDDEN", "The text will be hidden behind a click, and is not paid.", **facts), ERROR)
    elif action.label == WARNED:
        yield graded(allow("SAFETY_WARNED", "The text will be shown behind a warning.", **facts), WARNING)
    else:
        yield allow("SAFETY_VISIBLE", "The text will be shown.", **facts)


GUARD = Guard(
    name="safety",
    version=1,
    purpose="Labels published text as visible, warned or hidden by a model whose weights are public.",
    inputs=("the assessment that the author signed", "thresholds and model of the safety policy"),
    risk="Without it abuse is shown like everything else.",
    policy="safety",
    codes={
        "SAFETY_BLOCKED": "the text is of the gravest class",
        "SAFETY_HIDDEN": "allowed, as an error: hidden behind a click, not paid",
        "SAFETY_MODEL_OUTDATED": "another model than the policy's gave the scores",
        "SAFETY_NOTHING_TO_JUDGE": "the event publishes no text",
        "SAFETY_VISIBLE": "the text is shown",
        "SAFETY_WARNED": "allowed, with a warning",
    },
    judge=judge_safety,
)
