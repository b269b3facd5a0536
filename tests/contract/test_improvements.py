"""What every solver of the improvement step must do, whatever its algorithm."""

from __future__ import annotations

import functools
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.improvement.registry import IMPROVEMENTS, make_improvement
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import ConversationFormat, Tokens, compact_format
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.sampling import SamplingConfig
from convgym.agents.pretrain import PretrainConfig, build_model, build_tokenizer
from convgym.progress import Progress

torch.set_num_threads(1)

SPOKEN = 16
"""Ids below it can be said: a dozen words and the end of a response."""
TARGET = 0.5
"""Nats per response at which a step is to end, where a solver has such a setting."""
SAMPLES = 4
BOUNDS = {"best-of-n": math.log(SAMPLES) - (SAMPLES - 1) / SAMPLES}
"""Nats per response that a solver without that setting stays within."""
SMALL: dict[str, dict[str, Any]] = {
    # Logged responses are judged by the log, not by the score: only fresh ones here.
    "token-ppo": {
        "epochs": 0,
        "fresh_steps": 30,
        "learning_rate": 3e-3,
        "fresh_kl_coefficient": 0.01,
    },
    "token-grpo": {"steps": 30, "learning_rate": 3e-3, "kl_coefficient": 0.01},
    "best-of-n": {"samples": SAMPLES, "epochs": 6, "minibatch": 8},
    "grpo": {"steps": 30, "kl_coefficient": 0.01},
    "rloo": {"steps": 30, "kl_coefficient": 0.01},
}
"""Settings under which a small problem is learnt quickly."""

names = pytest.mark.parametrize("name", list(IMPROVEMENTS.shipped))


@pytest.fixture(scope="module")
def format() -> ConversationFormat:
    made = compact_format(build_tokenizer(["May I order it? Yes, gladly."], vocabulary=280))
    made.forbidden_ids = (*made.forbidden_ids, *range(SPOKEN, 280))
    return made


@pytest.fixture(scope="module")
def reference(format: ConversationFormat) -> LanguageModel:
    shape = PretrainConfig(hidden=16, layers=1, heads=2, intermediate=24, context=64)
    network = build_model(shape, format.tokenizer, seed=0).eval()
    return LanguageModel.of(network, format, SamplingConfig(temperature=1.0, max_new_tokens=6))


@pytest.fixture(scope="module")
def problem(reference: LanguageModel) -> SingleTurnProblem:
    """Return the problem to say even numbers, at the states of what the reference said."""
    states = [(30 + i % 8, 40 + i // 8) for i in range(32)]
    responses = spoken(reference, states)
    log = [
        TokenisedEpisode(
            state + response,
            (*[-1] * len(state), *[0] * len(response)),
            (0.0,) * len(state + response),
            0.0,
        )
        for state, response in zip(states, responses, strict=True)
    ]
    return SingleTurnProblem(log, taste, [(0.0,) * len(response) for response in responses])


def taste(prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> Tensor:
    """Return the share of even numbers; a state's own worth of up to 100 is no response's merit."""
    worth = torch.tensor([float(prompt[0] % 5) * 25 for prompt in prompts])
    return worth + torch.tensor([share_of_even(response) for response in responses])


def share_of_even(response: Tokens) -> float:
    return sum(token % 2 == 0 for token in response) / len(response)


def spoken(model: LanguageModel, states: Sequence[Tokens]) -> list[Tokens]:
    sampler = ResponseSampler(model.network, model.format, model.sampling)
    streams = [random.Random(i) for i in range(len(states))]
    samples = sampler.sample([Prompt((), state) for state in states], streams)
    return [sample.token_ids for sample in samples]


Solved = tuple[LanguageModel, dict[str, float], list[tuple[int, int, Mapping[str, float]]]]


def solve(name: str, reference: LanguageModel, problem: SingleTurnProblem, seed: int = 0) -> Solved:
    solver = make_improvement(
        name,
        **{"learning_rate": 5e-3, **SMALL.get(name, {})},
        **({} if name in BOUNDS else {"target_kl": TARGET}),
    )
    told: list[tuple[int, int, Mapping[str, float]]] = []
    watched: list[LanguageModel] = []

    def tell(news: Progress) -> None:
        told.append((news.done, news.total, dict(news.metrics)))

    improved, metrics = solver.improve(
        reference,
        problem,
        generator=torch.Generator().manual_seed(seed),
        progress=tell,
        watch=watched.append,
    )
    assert watched[-1] is improved
    return improved, metrics, told


def weights(model: LanguageModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one | other)


@pytest.fixture(scope="module")
def solved(reference: LanguageModel, problem: SingleTurnProblem) -> Callable[[str], Solved]:
    """Return what a solver makes of seed 0, which both tests look at."""

    @functools.cache
    def once(name: str) -> Solved:
        before = weights(reference)
        found = solve(name, reference, problem)
        assert equal(weights(reference), before)
        return found

    return once


@names
def test_a_solver_keeps_the_contract(
    name: str,
    reference: LanguageModel,
    problem: SingleTurnProblem,
    solved: Callable[[str], Solved],
) -> None:
    improved, metrics, told = solved(name)

    # The score rises.
    states = problem.prompts() * 16
    gain = taste(states, spoken(improved, states)) - taste(states, spoken(reference, states))
    assert gain.mean() > 0.1
    assert not equal(weights(improved), weights(reference))
    assert not improved.network.training

    # The trust region holds: steps end soon after their target, imitation ends near its bound.
    kl = improved.divergence(reference, problem.log)
    assert 0 < kl < 1.5 * BOUNDS.get(name, TARGET)

    # Progress is told and ends where the metrics are.
    assert [done for done, _, _ in told] == list(range(1, len(told) + 1))
    assert {total for _, total, _ in told} == {told[-1][1]}
    assert told[-1][0] <= told[-1][1]
    assert told[-1][2].keys() <= metrics.keys()
    json.dumps(metrics, allow_nan=False)


@names
def test_the_same_seed_gives_the_same_model(
    name: str,
    reference: LanguageModel,
    problem: SingleTurnProblem,
    solved: Callable[[str], Solved],
) -> None:
    again, other = (weights(solve(name, reference, problem, seed)[0]) for seed in (0, 1))
    assert equal(weights(solved(name)[0]), again)
    assert not equal(again, other)
