"""The assessment of a text: all integers that its author signs, from the text and its tags alone."""

from collections.abc import Sequence
from dataclasses import fields

from guards.text_model import MODEL_VERSION, score
from ledger.coherence import Assessment, compute_echo, compute_features
from ledger.primitives.text import cut, normalise
from ledger.verdict import Fact


def assess(text: str, tags: Sequence[str]) -> Assessment:
    """Return what the author of `text` under `tags` has to sign.  The same on every node and at any time."""
    found, lengths = cut(normalise(text))
    features = compute_features(found, lengths, tags)
    scores = score(found)
    return Assessment(
        clarity=features.clarity,
        echo=compute_echo(found),
        hate=scores.hate,
        logic=features.logic,
        model=MODEL_VERSION,
        offensive=scores.offensive,
        signal=features.signal,
        topic=features.topic,
    )


def explain_difference(claimed: Assessment, computed: Assessment) -> dict[str, Fact]:
    """Return the fields in which two assessments differ, as facts for an error message; empty when they agree."""
    facts: dict[str, Fact] = {}
    for field in fields(Assessment):
        said, found = getattr(claimed, field.name), getattr(computed, field.name)
        if said != found:
            facts[f"{field.name}_claimed"] = said.hex() if isinstance(said, bytes) else said
            facts[f"{field.name}_computed"] = found.hex() if isinstance(found, bytes) else found
    return facts
