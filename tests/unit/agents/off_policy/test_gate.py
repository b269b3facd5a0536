"""The gate: its estimate against a naive loop, and its rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from convgym.agents.model.format import ConversationFormat
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.off_policy.gate import Gain, GateConfig, predicted_gain
from convgym.agents.values.estimates import ValueEstimates
from convgym.errors import ConvgymError
from tests.unit.agents.logs import BAD, EASY, GOOD, HARD, conversation, written_by

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]
LENIENT = GateConfig(max_kl=math.inf, min_conversations=0, min_sales=0)
"""Judges the smallest logs."""
ENOUGH = {"conversations": 100, "sales": 30}


def judged(values: tuple[float, ...], returns: tuple[float, ...]) -> ValueEstimates:
    return ValueEstimates((), values, (0.0,) * len(values), returns)


def test_the_estimate_is_that_of_a_loop(make_model: MakeModel, format: ConversationFormat) -> None:
    old, new = make_model(seed=0), make_model(seed=1)
    log = written_by(
        old, [conversation(format, EASY, (GOOD, BAD), 1.0), conversation(format, HARD, (BAD,))]
    )
    opinions = [judged((0.2, 0.6), (0.5, 1.0)), judged((0.3,), (0.0,))]
    mean = (0.3 + 0.4 - 0.3) / 3  # what V is too low by
    expected, ratios, totals = [], [], []
    for episode, opinion in zip(log, opinions, strict=True):
        with torch.no_grad():
            logprobs = new.logprobs(new.collate([episode])).tolist()
        before = [p for p in episode.logprobs if not math.isnan(p)]
        turns = [turn for turn in episode.turns if turn >= 0]
        gain = 0.0
        for turn, (value, after) in enumerate(zip(opinion.values, opinion.returns, strict=True)):
            total = sum(a - b for a, b, t in zip(logprobs, before, turns, strict=True) if t == turn)
            totals.append(total)
            ratio = math.exp(total)
            gain += (min(ratio, 2.0) - 1) * (after - value - mean)
            ratios.append(min(ratio, 2.0))
        expected.append(gain)
    found = predicted_gain(new, old, log, opinions, max_ratio=2.0)
    assert found.mean == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert found.standard_error == pytest.approx(abs(expected[0] - expected[1]) / 2, rel=1e-4)
    assert abs(found.mean) > 1e-3
    assert found.coverage == pytest.approx(sum(ratios) / 3, rel=1e-4)
    whole = [math.exp(total) for total in totals]
    share = sum(whole) ** 2 / sum(ratio**2 for ratio in whole) / 3
    assert found.effective_share == pytest.approx(share, rel=1e-4)
    assert (found.conversations, found.sales) == (2, 1)
    assert found.kl == pytest.approx(new.divergence(old, log))
    assert set(found.metrics()) == {
        "predicted_gain",
        "predicted_gain_error",
        "gate_coverage",
        "gate_effective_share",
    }


def test_the_policy_itself_gains_nothing(make_model: MakeModel, format: ConversationFormat) -> None:
    model = make_model()
    log = written_by(model, [conversation(format, EASY, (GOOD, BAD))] * 3)
    opinions = [judged((0.2, 0.6), (0.5, 1.0))] * 3
    found = predicted_gain(model, model, log, opinions, max_ratio=5.0)
    assert found.mean == pytest.approx(0, abs=1e-5)
    assert found.effective_share == pytest.approx(1, abs=1e-4)
    assert found.passes(replace(LENIENT, standard_errors=1.0))


def test_exploration_is_no_gain(make_model: MakeModel, format: ConversationFormat) -> None:
    """The log was sampled hotter than the policy that was deployed speaks."""
    model = make_model()
    log = written_by(make_model(seed=1), [conversation(format, EASY, (GOOD, BAD))] * 3)
    opinions = [judged((0.2, 0.6), (0.5, 1.0))] * 3
    found = predicted_gain(model, model, log, opinions, max_ratio=5.0)
    assert found.mean == 0


def test_a_policy_that_says_what_sold_more_often_gains(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    model = make_model(layers=1)
    log = written_by(
        model,
        [conversation(format, EASY, (word,), float(word == GOOD)) for word in (GOOD, BAD)] * 8,
    )
    opinions = [judged((0.5,), (episode.outcome,)) for episode in log]
    for sign in (1, -1):
        other = make_model(layers=1)
        optimizer = torch.optim.SGD(other.trained_parameters(), lr=1e-3)
        batch = other.collate(log)
        sold = (
            torch.tensor([episode.outcome for episode in log])[batch.response.nonzero()[:, 0]] - 0.5
        )
        (-sign * (sold * other.logprobs(batch)).sum()).backward()
        optimizer.step()
        found = predicted_gain(other, model, log, opinions, max_ratio=5.0)
        assert sign * found.mean > 0


def test_when_all_failed_other_words_promise_nothing(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    """A value that hoped for a sale a turn before each failure is no case for a new policy."""
    model, other = make_model(), make_model(seed=1)
    log = written_by(model, [conversation(format, EASY, (GOOD, BAD))] * 6)
    opinions = [judged((0.5, 0.5), (0.0, 0.0))] * 6
    found = predicted_gain(other, model, log, opinions, max_ratio=5.0)
    assert found.mean == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("mean", "error", "standard_errors", "passes"),
    [
        (0.1, 0.01, 1.0, True),
        (-0.01, 0.02, 1.0, True),
        (-0.03, 0.02, 1.0, False),
        (-0.03, 0.02, 2.0, True),
        (-1e-6, 0.02, 0.0, False),
        (0.01, 0.02, -1.0, False),
        (0.03, 0.02, -1.0, True),
        (-0.5, math.inf, 1.0, True),  # nothing is known against it
        (0.0, math.inf, 0.0, True),
        (0.5, math.inf, -1.0, False),  # nor for it
    ],
)
def test_the_rule(mean: float, error: float, standard_errors: float, passes: bool) -> None:
    gate = replace(GateConfig(), standard_errors=standard_errors)
    found = Gain(mean, error, **ENOUGH)
    assert found.passes(gate) is passes
    assert found.verdict(gate) == ("passed" if passes else "turned down")


@pytest.mark.parametrize(
    "lacking",
    [
        {"coverage": 0.45},
        {"kl": 1.6},
        {"conversations": 19},
        {"sales": 0},
    ],
    ids=lambda lacking: next(iter(lacking)),
)
def test_what_cannot_be_judged_is_refused(lacking: dict[str, Any]) -> None:
    """However good it looks; unless the gate is told to judge by that little, or not to judge."""
    found = replace(Gain(0.5, 0.01, **ENOUGH), **lacking)
    assert found.verdict(GateConfig()) == "cannot judge"
    assert not found.passes(GateConfig())
    asked = {"max_kl": 2.0} if "kl" in lacking else {f"min_{name}": 0 for name in lacking}
    assert found.verdict(replace(GateConfig(), **asked)) == "passed"
    assert replace(found, mean=-0.5).verdict(replace(GateConfig(), **asked)) == "turned down"
    assert found.verdict(GateConfig(held_out=0)) == "passed"


def test_a_policy_that_the_log_does_not_hold_cannot_be_judged(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    """It says what nobody said: the estimate is the same 0 for the best and for the worst."""
    model, far = make_model(layers=1), make_model(layers=1, seed=5)
    for parameter in far.trained_parameters():
        parameter.data *= 2  # sure of other words
    log = written_by(model, [conversation(format, EASY, (GOOD, BAD))] * 8)
    opinions = [judged((0.5, 0.5), (0.5, float(i % 2))) for i in range(8)]
    same, other = (predicted_gain(new, model, log, opinions, 5.0) for new in (model, far))
    assert same.coverage == pytest.approx(1, abs=1e-4)
    assert same.metrics()["gate_coverage"] == same.coverage
    assert same.verdict(replace(LENIENT, standard_errors=1.0)) == "passed"
    assert other.coverage < 0.1
    better = replace(other, mean=0.5, standard_error=0.01)
    assert better.verdict(LENIENT) == "cannot judge"
    assert better.passes(replace(LENIENT, min_coverage=0.0))


def test_few_heavy_responses_are_no_evidence(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    """The mean ratio may be near 1, and the gain large, and yet stand on the few that sold."""
    model, other = make_model(layers=1), make_model(layers=1)
    words = [GOOD] + [BAD] * 19
    log = written_by(
        model, [conversation(format, EASY, (word,), float(word == GOOD)) for word in words * 3]
    )
    optimizer = torch.optim.SGD(other.trained_parameters(), lr=0.02)
    sold = [episode for episode in log if episode.outcome]
    for _ in range(20):
        optimizer.zero_grad()
        (-other.logprobs(other.collate(sold)).sum()).backward()
        optimizer.step()
    opinions = [judged((0.5,), (episode.outcome,)) for episode in log]
    found = predicted_gain(other, model, log, opinions, max_ratio=1e6)
    assert found.mean > 0
    assert found.coverage > 0.5
    assert found.effective_share < 0.1
    assert found.kl > GateConfig().max_kl
    assert found.verdict(GateConfig()) == "cannot judge"


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_conversations_know_no_error(
    make_model: MakeModel, format: ConversationFormat, n: int
) -> None:
    model = make_model(layers=1)
    log = written_by(model, [conversation(format, EASY, (GOOD,))] * n)
    found = predicted_gain(model, model, log, [judged((0.5,), (1.0,))] * n, 5.0)
    assert found.standard_error == math.inf
    assert found.metrics() == {}
    assert found.conversations == n
    assert found.verdict(GateConfig()) == "cannot judge"


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_the_share_is_checked(share: float) -> None:
    with pytest.raises(ConvgymError, match="held_out must be in"):
        GateConfig(held_out=share)


@pytest.mark.parametrize("cap", [0.0, -1.0, math.nan])
def test_the_cap_is_checked(cap: float) -> None:
    with pytest.raises(ConvgymError, match="max_ratio must be positive"):
        GateConfig(max_ratio=cap)


@pytest.mark.parametrize("coverage", [-0.1, 1.1])
def test_the_coverage_is_checked(coverage: float) -> None:
    with pytest.raises(ConvgymError, match="min_coverage must be in"):
        GateConfig(min_coverage=coverage)
