"""Probabilities and outcomes: against naive loops, and expectations worked out in full."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convgym.benchmarks.validation.decisions import Asked
from convgym.benchmarks.validation.realism.outcomes import (
    intraclass,
    rate_error,
    repeated,
    stated,
)

RNG = np.random.default_rng(5)
NOBODY: Any = SimpleNamespace()


def test_the_intraclass_correlation_is_that_of_the_analysis_of_variance() -> None:
    bought = RNG.integers(0, 2, size=(7, 4)).astype(float)
    weights = np.array([[1.0] * 7, [0, 2, 1, 1, 3, 0, 0]])
    for row, found in zip(weights, intraclass(bought, weights), strict=True):
        rows = [bought[k] for k in range(7) for _ in range(int(row[k]))]
        mean = sum(map(sum, rows)) / 28
        between = 4 * sum((values.mean() - mean) ** 2 for values in rows) / 6
        within = sum(((values - values.mean()) ** 2).sum() for values in rows) / (7 * 3)
        assert found == pytest.approx((between - within) / (between + 3 * within))


def test_a_profile_that_decides_everything_has_a_correlation_of_1() -> None:
    decided = np.repeat([[0.0], [1.0], [1.0]], 5, axis=1)
    assert intraclass(decided, np.ones((1, 3)))[0] == pytest.approx(1)
    assert np.isnan(intraclass(np.ones((3, 5)), np.ones((1, 3)))[0])


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (0.2, 0.7)])
def test_chance_is_taken_out_of_a_rates_error(p: float, q: float) -> None:
    expected = 0.0
    for a, b in product(product((0, 1), repeat=3), product((0, 1), repeat=2)):
        chance = np.prod([p if x else 1 - p for x in a]) * np.prod([q if x else 1 - q for x in b])
        expected += chance * rate_error(np.array([a], float), np.array([b], float))[0]
    assert expected == pytest.approx((p - q) ** 2)


def values(figures: Any) -> dict[str, Any]:
    return {each.name: each for each in figures}


def test_stated_probabilities_are_compared_in_four_ranges() -> None:
    asked = [Asked(0.05, False, NOBODY)] * 300 + [Asked(0.95, False, NOBODY)] * 100
    found = values(stated(asked))
    assert found["purchases less stated probability"].verdict == "breaks"
    assert found["purchases less stated probability, 0% to 10%"].verdict == "holds"
    assert found["purchases less stated probability, 10% to 50%"].verdict == "not measured"
    worst = found["purchases less stated probability, 90% to 100%"]
    assert worst.verdict == "breaks" and worst.estimate.value == pytest.approx(-0.95)
    assert worst.n == 100


def test_few_requests_decide_nothing() -> None:
    (found, *_) = stated([Asked(0.3, False, NOBODY)] * 5)
    assert found.verdict == "undecided"


def test_who_states_no_probability_is_not_measured() -> None:
    (found,) = stated([])
    assert found.verdict == "not measured" and "no utility" in found.why


def test_repeated_profiles_beside_the_original() -> None:
    rates = RNG.uniform(0.1, 0.9, size=(60, 1))
    original, good, eager = (
        (RNG.random((60, 8)) < np.clip(rates + shift, 0, 1)).astype(float)
        for shift in (0.0, 0.0, 0.3)
    )
    alike, pushed = values(repeated(good, original)), values(repeated(eager, original))
    name = "purchases less the original's, profile by profile"
    assert alike[name].verdict == "holds" and pushed[name].verdict == "breaks"
    name = "squared error of a profile's rate, chance taken out"
    assert alike[name].estimate.low < 0 < alike[name].estimate.high
    assert pushed[name].estimate.low > 0.01


def test_too_few_meetings_are_not_measured() -> None:
    for outcomes in (np.zeros((0, 0)), np.ones((1, 5)), np.ones((5, 1))):
        assert {each.verdict for each in repeated(outcomes, None)} == {"not measured"}
    assert repeated(np.zeros((0, 0)), None, "it takes no profile")[0].why == "it takes no profile"
