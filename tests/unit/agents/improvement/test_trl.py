"""TRL's trainers on the single-turn problem: that they learn, what they see and leave behind."""

from __future__ import annotations

import math
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.improvement.trl import GRPO, RLOO, Reporter, Words, bar, draw_prompts
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.sampling import SamplingConfig, token_logprobs
from convgym.errors import ConvgymError
from convgym.progress import Progress

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]
STATES = [(30,), (31, 32), (33, 34, 35), (30, 31, 32, 33)]
SPOKEN = range(4, 16)
"""The words that are left to the policy, half of them even numbers."""

both = pytest.mark.parametrize("solver", [GRPO, RLOO])


def share_of_even(response: Tokens) -> float:
    return sum(token % 2 == 0 for token in response) / len(response)


class Taste:
    """Scores a response by the share of its words that are even numbers; remembers what it met."""

    def __init__(self) -> None:
        self.prompts: list[Tokens] = []
        self.responses: list[Tokens] = []

    def __call__(self, prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> Tensor:
        self.prompts += prompts
        self.responses += responses
        return torch.tensor([share_of_even(response) for response in responses])

    def conversations(self) -> list[TokenisedEpisode]:
        """Return what was met as conversations of one turn."""
        return [
            TokenisedEpisode(
                prompt + response,
                (*[-1] * len(prompt), *[0] * len(response)),
                (0.0,) * len(prompt + response),
                0.0,
            )
            for prompt, response in zip(self.prompts, self.responses, strict=True)
        ]


@pytest.fixture
def model(make_model: MakeModel) -> LanguageModel:
    model = make_model(layers=1, temperature=1.3, max_new_tokens=6)
    model.network.eval()
    format = model.format
    barred = (token for token in range(4, len(format.tokenizer)) if token not in SPOKEN)
    format.forbidden_ids = (*format.forbidden_ids, *barred)
    return model


@pytest.fixture
def taste() -> Taste:
    return Taste()


@pytest.fixture
def problem(taste: Taste, format: ConversationFormat) -> SingleTurnProblem:
    return SingleTurnProblem([conversation(state, format.end_id) for state in STATES], taste, [])


def conversation(state: Tokens, end_id: int) -> TokenisedEpisode:
    """Return a conversation of two turns that begins in ``state``."""
    ids = (*state, 8, end_id, 22, 9, end_id)
    turns = (*[-1] * len(state), 0, 0, -1, 1, 1)
    return TokenisedEpisode(ids, turns, (0.0,) * len(ids), 0.0)


def improve(
    solver: GRPO | RLOO, model: LanguageModel, problem: SingleTurnProblem, seed: int = 0
) -> tuple[LanguageModel, list[Mapping[str, float]]]:
    """Return the new model and all metrics that were told."""
    told: list[Mapping[str, float]] = []
    generator = torch.Generator().manual_seed(seed)

    def tell(news: Progress) -> None:
        told.append({**news.metrics, "done": news.done, "total": news.total})

    improved, metrics = solver.improve(model, problem, generator=generator, progress=tell)
    assert {**told[-1], "taken_back": metrics["taken_back"]}.items() >= metrics.items()
    return improved, told


def cool(model: LanguageModel) -> LanguageModel:
    return replace(model, sampling=SamplingConfig(temperature=1.0, max_new_tokens=6))


def weights(model: LanguageModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one | other)


@both
def test_responses_come_to_score_more(
    solver: type[GRPO | RLOO], model: LanguageModel, problem: SingleTurnProblem
) -> None:
    settings: Any = {"kl_coefficient": 0.01, "target_kl": 100.0, "learning_rate": 1e-2}
    _, told = improve(solver(steps=12, prompts=8, **settings), model, problem)
    scores = [metrics["fresh_score"] for metrics in told]
    assert len(scores) == 12
    assert sum(scores[-3:]) / 3 > sum(scores[:3]) / 3 + 0.2
    assert [metrics["done"] for metrics in told] == list(range(1, 13))
    assert {metrics["total"] for metrics in told} == {12}


@both
def test_states_and_responses_reach_the_score_as_they_are(
    solver: type[GRPO | RLOO],
    model: LanguageModel,
    problem: SingleTurnProblem,
    taste: Taste,
) -> None:
    improve(solver(steps=2, prompts=8, samples=3), model, problem)
    end = model.format.end_id
    # Every state, two turns of each conversation, had its turn in each batch of 8.
    for start in (0, 24):
        met = taste.prompts[start : start + 24]
        assert sorted(met) == sorted(problem.prompts() * 3)
        assert all(met[i] == met[i + 1] == met[i + 2] for i in range(0, 24, 3))
    for response in taste.responses:
        assert 1 <= len(response) <= 6
        assert end not in response[:-1]
        assert response[-1] == end or len(response) == 6
    assert {token for response in taste.responses for token in response} <= {*SPOKEN, end}


@both
def test_what_trl_measures_is_what_is_deployed(
    solver: type[GRPO | RLOO],
    model: LanguageModel,
    problem: SingleTurnProblem,
    taste: Taste,
) -> None:
    settings: Any = {"kl_coefficient": 0.01, "target_kl": 100.0, "learning_rate": 1e-2}
    improved, told = improve(solver(steps=6, prompts=32, **settings), model, problem)
    assert told[0]["kl_of_pass"] == pytest.approx(0, abs=1e-5)
    # Were the barred tokens counted, the entropy would be far beyond that of the 13 others.
    assert 0 < told[0]["entropy"] < math.log(len(SPOKEN) + 1)
    # TRL estimates it from the last batch alone, before that batch's small update.
    exact = improved.divergence(model, taste.conversations()[-128:])
    assert exact > 0.1
    assert told[-1]["kl_of_pass"] == pytest.approx(exact, rel=0.4)


@both
def test_the_step_ends_at_its_target_divergence(
    solver: type[GRPO | RLOO], model: LanguageModel, problem: SingleTurnProblem
) -> None:
    one = solver(steps=40, prompts=16, target_kl=0.1, kl_coefficient=0.01, learning_rate=5e-3)
    _, told = improve(one, model, problem)
    assert 1 < len(told) < 40
    assert all(metrics["kl_of_pass"] <= 0.1 for metrics in told[:-1])
    assert told[-1]["kl_of_pass"] > 0.1


@both
def test_a_step_beyond_its_target_goes_back_to_where_it_was_within(
    solver: type[GRPO | RLOO],
    model: LanguageModel,
    problem: SingleTurnProblem,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    befores: list[list[Tensor]] = []
    begin = Reporter.on_step_begin

    def recorded(self: Reporter, *arguments: Any, model: Any, **named: Any) -> None:
        befores.append([parameter.clone() for parameter in model.parameters()])
        begin(self, *arguments, model=model, **named)

    monkeypatch.setattr(Reporter, "on_step_begin", recorded)
    one = solver(steps=40, prompts=16, target_kl=0.1, kl_coefficient=0.01, learning_rate=5e-3)
    improved, told = improve(one, model, problem)
    assert told[-1]["kl_of_pass"] > 0.1
    # The divergence beyond was seen before the last update, and came with the one before.
    assert len(befores) == len(told)
    assert all(map(torch.equal, improved.network.parameters(), befores[-2]))


@both
def test_a_last_update_beyond_the_target_is_taken_back_too(
    solver: type[GRPO | RLOO], model: LanguageModel, problem: SingleTurnProblem
) -> None:
    settings: Any = {"steps": 1, "prompts": 8, "learning_rate": 1.0}
    for target, back in ((0.01, 1), (1e9, 0)):
        one = solver(target_kl=target, **settings)
        improved, metrics = one.improve(model, problem, generator=torch.Generator().manual_seed(0))
        assert metrics["taken_back"] == back
        assert equal(weights(improved), weights(model)) is bool(back)


@both
def test_the_penalty_holds_the_policy_back(
    solver: type[GRPO | RLOO], model: LanguageModel, problem: SingleTurnProblem
) -> None:
    divergences = []
    for coefficient in (0.001, 10.0):
        settings: Any = {"kl_coefficient": coefficient, "target_kl": 100.0, "learning_rate": 5e-3}
        improved, _ = improve(solver(steps=8, prompts=16, **settings), model, problem)
        divergences.append(cool(improved).divergence(cool(model), problem.log))
    assert divergences[1] < 0.5 * divergences[0]


@both
def test_the_reference_stays_and_the_new_model_is_of_its_kind(
    solver: type[GRPO | RLOO], model: LanguageModel, problem: SingleTurnProblem
) -> None:
    before, reference = weights(model), model.network
    config, own = reference.config.to_dict(), set(vars(reference))
    improved, _ = improve(solver(steps=1, prompts=8), model, problem)
    network = improved.network
    assert equal(weights(model), before)
    assert reference.config.to_dict() == network.config.to_dict() == config
    assert set(vars(reference)) == set(vars(network)) == own
    assert not equal(weights(improved), before)
    assert not network.training
    assert type(network.get_output_embeddings()) is torch.nn.Linear
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    assert (improved.format, improved.sampling) == (model.format, model.sampling)


@both
def test_nothing_else_is_touched(
    solver: type[GRPO | RLOO],
    model: LanguageModel,
    problem: SingleTurnProblem,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = drawn()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    improve(solver(steps=2, prompts=4), model, problem)
    assert drawn() == expected
    assert not list(tmp_path.iterdir())
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


@both
def test_batches_are_split_into_optimiser_steps(
    solver: type[GRPO | RLOO],
    model: LanguageModel,
    problem: SingleTurnProblem,
    taste: Taste,
) -> None:
    one = solver(steps=3, prompts=8, samples=4, minibatches=4, learning_rate=2e-2)
    _, told = improve(one, model, problem)
    assert len(told) == 12
    assert len(taste.responses) == 3 * 8 * 4
    # The first minibatch meets the policy that sampled it.
    assert told[0]["clip_fraction"] == 0
    assert max(metrics["clip_fraction"] for metrics in told) > 0


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_a_barred_model_has_the_distribution_that_is_sampled(
    make_network: Callable[..., Any], format: ConversationFormat, temperature: float
) -> None:
    model, barred = make_network(), make_network()
    bar(barred, format)
    ids = torch.arange(20)[None]
    expected = token_logprobs(
        model(input_ids=ids).logits, torch.tensor(format.forbidden_ids), temperature
    )
    found = torch.log_softmax(barred(input_ids=ids).logits / temperature, dim=-1)
    allowed = expected.isfinite()
    assert not allowed.all()
    assert torch.allclose(found[allowed], expected[allowed], atol=1e-5)
    assert (found[~allowed].exp() == 0).all()


def test_ids_survive_as_words(format: ConversationFormat) -> None:
    words = Words(format, vocabulary=280)
    ids = (12, format.end_id, 1, 0, 279, *range(280), format.pad_id, 2, 2)
    assert tuple(words.tokenizer(text=[words.spell(ids)])["input_ids"][0]) == ids
    assert words.tokenizer.eos_token_id == format.end_id
    assert words.tokenizer.pad_token_id == format.pad_id


def test_prompts_take_turns() -> None:
    prompts = [(i,) for i in range(5)]
    drawn = draw_prompts(prompts, 12, torch.Generator().manual_seed(0))
    assert len(drawn) == 12
    assert sorted(drawn[:5]) == sorted(drawn[5:10]) == prompts
    assert drawn[:5] != drawn[5:10]


@both
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 1}, "samples must be at least 2, .* got 1"),
        ({"kl_coefficient": 0.0}, "kl_coefficient must be positive, .* got 0.0"),
        ({"prompts": 3, "samples": 3, "minibatches": 2}, "9 responses cannot be split into 2"),
    ],
)
def test_mistakes_in_the_settings(
    solver: type[GRPO | RLOO], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConvgymError, match=message):
        solver(**settings)


def test_without_trl_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    monkeypatch.delitem(sys.modules, "convgym.agents.improvement.trl")
    with pytest.raises(ConvgymError, match=r"needs 'trl': .*pip install .*\[trl\]'"):
        import_module("convgym.agents.improvement.trl")
