"""When memory runs out: half as much at once, the same words and the same step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from convgym.agents.model import memory
from convgym.agents.model.generation import ResponseSampler
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.memory import AtOnce
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.imitation import Imitation
from convgym.agents.values.actor_critic import TOKENS, TURNS, ActorCritic, ActorCriticConfig, Steps
from convgym.conversation import Episode
from convgym.errors import ConvgymError, is_out_of_memory

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (FULL, True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (None, False),
    ],
)
def test_full_memory_is_known_by_what_it_says(error: Exception | None, full: bool) -> None:
    assert is_out_of_memory(error) is full


def test_half_as_much_is_tried_again_and_from_then_on() -> None:
    at_once, asked, recovered = AtOnce(), [], []

    def compute(part: slice) -> list[int]:
        size = part.stop - part.start
        asked.append(size)
        if size > 3:
            raise FULL
        return [*range(part.start, part.stop)]

    assert at_once.over(10, compute, lambda: recovered.append(len(asked))) == [
        *([0, 1], [2, 3], [4, 5], [6, 7], [8, 9])
    ]
    assert asked == [10, 5, 2, 2, 2, 2, 2] and recovered == [1, 2] and at_once.most == 2
    assert at_once.over(3, compute, list) == [[0, 1], [2]]
    assert at_once.over(0, compute, list) == []


def test_what_fits_nowhere_is_one_error_and_other_errors_pass() -> None:
    def fails(error: Exception) -> Callable[[slice], None]:
        def compute(part: slice) -> None:
            raise error

        return compute

    with pytest.raises(ConvgymError, match=r"single conversation \(CUDA out of memory"):
        AtOnce().over(8, fails(FULL), list)
    with pytest.raises(RuntimeError, match="shapes"):
        AtOnce().over(8, fails(RuntimeError("shapes")), list)


def small_memory(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, rows: int) -> list[int]:
    """Have a method run out of memory for more rows; return how many it was asked for."""
    asked: list[int] = []
    whole = getattr(owner, name)

    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        sizes = [len(each) for each in arguments if isinstance(each, Tensor)]
        asked.append(sizes[0])
        if sizes[0] > rows:
            raise FULL
        return whole(self, *arguments, **options)

    monkeypatch.setattr(owner, name, method)
    return asked


def test_words_do_not_depend_on_how_many_are_held_at_once(
    policy: LanguageModelPolicy,
    make_model: Callable[..., LanguageModel],
    hold: Callable[..., list[Episode]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeds = [*range(9)]
    expected = hold(policy, seeds)
    assert policy.batch_size == 256
    asked = small_memory(monkeypatch, ResponseSampler, "_forward", 4)
    scarce = LanguageModelPolicy(make_model())
    found = hold(scarce, seeds)
    assert max(asked) == 9 and scarce.batch_size == 4
    for episode, same in zip(expected, found, strict=True):
        assert episode.messages() == same.messages()
        for turn, other in zip(episode.turns, same.turns, strict=True):
            assert turn.response.token_ids == other.response.token_ids
            assert turn.response.token_logprobs == pytest.approx(
                other.response.token_logprobs, abs=1e-4
            )


@pytest.fixture
def log(policy: LanguageModelPolicy, hold: Callable[..., list[Episode]]) -> list[Episode]:
    return hold(policy, [*range(6)])


def test_imitation_takes_the_same_step_in_parts(
    make_model: Callable[..., LanguageModel], log: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    def learned() -> tuple[float | None, dict[str, Tensor]]:
        model = make_model()
        settings = Imitation(epochs=2, minibatch=6, learning_rate=1e-3)
        loss = settings.imitate(
            model, model.tokenise(log), generator=torch.Generator().manual_seed(0)
        )
        return loss, model.weights()

    loss, weights = learned()
    asked = small_memory(monkeypatch, LanguageModel, "hidden_states", 2)
    same_loss, same = learned()
    assert set(asked) == {6, 3, 1} and same_loss == pytest.approx(loss, rel=1e-5)
    start = make_model().weights()
    assert any(not torch.equal(weights[name], start[name]) for name in weights)
    for name, weight in weights.items():
        torch.testing.assert_close(same[name], weight, rtol=0, atol=2e-5)


@pytest.mark.parametrize("steps", [TOKENS, TURNS], ids=["tokens", "turns"])
def test_actor_and_critic_take_the_same_steps_in_parts(
    make_model: Callable[..., LanguageModel],
    log: list[Episode],
    monkeypatch: pytest.MonkeyPatch,
    steps: Steps,
) -> None:
    def learned(scarce: bool) -> tuple[dict[str, float], dict[str, Tensor]]:
        model = make_model()
        config = ActorCriticConfig(minibatch=6, epochs=2, learning_rate=1e-3)
        learner = ActorCritic(config, model, steps)
        if scarce:
            for optimiser in (learner.actor_optimiser, learner.critic_optimiser):
                optimiser._at_once.most = 4
        batches = model.batches(model.tokenise(log), 6)
        metrics = learner.update(batches, torch.Generator().manual_seed(0))
        return metrics, {**model.weights(), "critic": learner.critic.head.weight.detach()}

    metrics, weights = learned(scarce=False)
    same_metrics, same = learned(scarce=True)
    assert same_metrics == pytest.approx(metrics, rel=1e-3, abs=1e-6)
    assert metrics["value_loss"] > 0 and weights["critic"].abs().sum() > 0
    for name, weight in weights.items():
        torch.testing.assert_close(same[name], weight, rtol=0, atol=5e-5)


def test_freed_memory_is_given_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr(memory, "_malloc_trim", lambda: trimmed.append)
    now = 0.0
    give_back = memory.GiveBack(every=5.0, clock=lambda: now)
    assert not give_back()
    now = 6.0
    assert give_back() and not give_back()
    monkeypatch.setattr(memory, "_malloc_trim", lambda: None)  # another C library
    now = 20.0
    assert not give_back()
    assert trimmed == [0]
