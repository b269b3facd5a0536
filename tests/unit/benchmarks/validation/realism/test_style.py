"""Measures of style: against enumeration, and what they must not depend on."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.benchmarks.validation.realism.figures import Figure
from convgym.benchmarks.validation.realism.style import (
    DIVERSITY,
    REPETITION,
    count_table,
    diversity,
    expected_kinds,
    repetition,
    repetition_among,
    replies,
    style,
    top_share,
    words,
)
from convgym.conversation import Episode, Response, Turn
from convgym.shop.catalog import load_catalog

LAPTOPS = load_catalog("laptops")


def episode(*said: str, seed: int = 1) -> Episode:
    turns = tuple(Turn(Response("What for?"), text) for text in said[1:])
    return Episode(seed, said[0], turns, "walk_away", "people", "people")


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9), st.integers(1, 9))
def test_rarefaction_is_the_mean_over_all_draws(said: list[str], k: int) -> None:
    (found,) = expected_kinds(np.array([[*Counter(said).values()]]), k)
    if k > len(said):
        assert np.isnan(found)
    else:
        drawn = [len(set(draw)) for draw in combinations(said, k)]
        assert found == pytest.approx(sum(drawn) / len(drawn))


def test_diversity_does_not_grow_with_what_was_said() -> None:
    rng = np.random.default_rng(1)
    vocabulary = [f"w{i}" for i in range(200)]
    short, long = (
        diversity(count_table([rng.choice(vocabulary, 40).tolist() for _ in range(n)]), 42)
        for n in (20, 400)
    )
    assert short.value == pytest.approx(long.value, abs=0.01)
    assert short.low < long.value < short.high


@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.integers(1, 30))
def test_the_share_of_the_commonest(counts: list[int], most: int) -> None:
    (found,) = top_share(np.array([counts], float), most)
    if sum(counts):
        assert found == pytest.approx(sum(sorted(counts)[-most:]) / sum(counts))
    else:
        assert np.isnan(found)


def test_repetition_is_compared_on_equally_many_replies() -> None:
    # Both say 60 things with equal chances; who says more of them seems to repeat less.
    rng = np.random.default_rng(2)
    said = [[f"line {i}" for i in rng.integers(60, size=5)] for _ in range(200)]
    few, many = count_table(said[:20]), count_table(said)
    assert repetition(few).value - repetition(many).value > 0.1
    assert repetition_among(many, 100).value == pytest.approx(repetition(few).value, abs=0.05)
    assert repetition_among(few, 100).value == pytest.approx(repetition(few).value)


def test_words_of_any_script_and_silence() -> None:
    assert words("Don't, it's 3,5 TOO much! 好的") == [
        "don't",
        "it's",
        "3",
        "5",
        "too",
        "much",
        "好的",
    ]
    assert replies([episode("Hi", "", " ", "ok")]) == ["Hi", "ok"]


def test_figures_by_hand() -> None:
    clusters = [
        [episode("Hi there", "For gaming.", "How much?"), episode("Hi", "No.")],
        [episode("Hi there", "I like the Aero.", "I like the Amber.")],
    ]
    found = {each.name: each for each in style(clusters, LAPTOPS, None)}
    assert value(found["words a reply"]) == pytest.approx(18 / 8)
    assert value(found["turns a conversation"]) == pytest.approx(5 / 3)
    assert value(found["replies with a question"]) == pytest.approx(1 / 8)
    assert value(found[REPETITION]) == 1.0 and found[REPETITION].n == 8
    assert found["different words among 42"].why == "only 18 words were said"


def value(each: Figure) -> float:
    assert each.estimate is not None
    return each.estimate.value


def test_a_reference_stands_beside_every_figure() -> None:
    rng = np.random.default_rng(3)

    def speakers(n: int, lines: int) -> list[list[Episode]]:
        said = [[f"line {i} it is" for i in rng.integers(lines, size=4)] for _ in range(n)]
        return [[episode(*texts, seed=seed)] for seed, texts in enumerate(said)]

    parrots, people = speakers(60, 5), speakers(80, 100_000)
    found = style(parrots, LAPTOPS, people)
    beside = {each.name: each for each in found}
    assert beside["words a reply"].differs is False
    assert all(beside[f"different words among {k}"].differs for k in DIVERSITY if k == 42)
    # All lines are one template: numbers fill slots.
    assert value(beside[f"{REPETITION}, of 240"]) == 1.0
    assert beside[REPETITION].distance is None and beside[REPETITION].reference is not None
