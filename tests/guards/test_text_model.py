"""The safety model: one score for one text, on every platform and in every order of work."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.assessment import assess, explain_difference
from guards.text_model import MODEL_VERSION, WINDOW_WORDS, compute_model_digest, list_windows, score
from ledger.items import HIDDEN, LABELS, VISIBLE, WARNED, compute_label
from ledger.policies import SafetyPolicy
from ledger.primitives.text import normalise, tokens

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "text_model.json").read_text(encoding="utf-8")
)
INSULT = "you are a stupid fucking bitch"


def test_the_weights_are_the_ones_that_the_policy_names() -> None:
    assert compute_model_digest().hex() == VECTORS["digest"] == SafetyPolicy().model_digest.hex()
    assert SafetyPolicy().model == MODEL_VERSION == VECTORS["model"]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["text"][:20])
def test_a_text_has_the_scores_of_the_vector(case: dict[str, Any]) -> None:
    found = assess(case["text"], tuple(case["tags"]))

    assert {name: getattr(found, name) for name in case if name not in ("text", "tags", "echo")} == {
        name: case[name] for name in case if name not in ("text", "tags", "echo")
    }
    assert found.echo.hex() == case["echo"]


@given(st.text(max_size=400), st.lists(st.text(max_size=12), max_size=4))
def test_any_text_has_scores_within_their_range(text: str, tags: list[str]) -> None:
    found = assess(text, tags)

    for value in (found.clarity, found.hate, found.logic, found.offensive, found.signal, found.topic):
        assert 0 <= value <= 100
    assert found == assess(text, tags)


def test_an_insult_is_found_in_a_long_harmless_text() -> None:
    filler = "the boats came back early and nobody had expected so much fish so late in the morning "
    alone, buried = score(tokens(normalise(INSULT))), score(tokens(normalise(filler * 20 + INSULT + filler * 20)))

    assert alone.offensive >= 80
    assert buried.offensive >= 60
    assert score(tokens(normalise(filler * 40))).offensive < 40


@pytest.mark.parametrize(
    "disguised",
    [
        INSULT.upper(),
        INSULT.replace("i", "і").replace("o", "о").replace("e", "е"),
        INSULT.replace("u", "u\u200b"),
        INSULT.replace("i", "1"),
    ],
)
def test_a_disguise_does_not_change_the_score(disguised: str) -> None:
    assert score(tokens(normalise(disguised))) == score(tokens(normalise(INSULT)))


@pytest.mark.parametrize("length", [0, 1, WINDOW_WORDS, WINDOW_WORDS + 1, 47, 48, 49, 1_000])
def test_the_windows_reach_every_word(length: int) -> None:
    windows = list_windows(length)

    assert {place for start, end in windows for place in range(start, end)} == set(range(length))
    assert all(end - start <= WINDOW_WORDS for start, end in windows)


def test_labels_grow_graver_with_the_scores() -> None:
    policy = SafetyPolicy()
    ranks = [[LABELS.index(compute_label(hate, bad, policy)) for bad in range(101)] for hate in range(101)]

    assert all(row == sorted(row) for row in ranks)
    assert all(list(column) == sorted(column) for column in zip(*ranks, strict=True))
    assert compute_label(0, 100, policy) == WARNED
    assert compute_label(policy.hidden_hate, 0, policy) == HIDDEN
    assert compute_label(policy.warned_hate - 1, policy.warned_offensive - 1, policy) == VISIBLE


def test_a_difference_is_told_field_by_field() -> None:
    one, two = assess("A quiet morning in the harbour.", ()), assess(INSULT, ())
    told = explain_difference(one, two)

    assert told["offensive_claimed"] == one.offensive
    assert told["offensive_computed"] == two.offensive
    assert "model_claimed" not in told
    assert explain_difference(one, one) == {}
