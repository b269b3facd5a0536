"""What all rows begin with is read once, and nobody can tell from the outcome."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import ConversationFormat
from convgym.agents.model.forward import WORTHWHILE, read, shared_length
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.packing import Candidate, pack
from convgym.agents.model.sampling import SamplingConfig

BEGINNING = tuple(5 + i % 50 for i in range(WORTHWHILE + 6))


@pytest.fixture
def model(make_network: Callable[..., Any]) -> Any:
    return make_network(key_value_heads=1)


@pytest.fixture
def tokens_read(model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count the tokens of every forward pass."""
    counts: list[int] = []
    forward = model.base_model.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        counts.append(kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    monkeypatch.setattr(model.base_model, "forward", counted)
    yield counts


def rows(n: int, length: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    ends = torch.randint(5, 200, (n, length), generator=generator)
    ends[:, 0] = torch.arange(n) + 5  # no two go on alike
    return torch.cat([torch.tensor(BEGINNING).expand(n, -1), ends], 1)


def alone(body: Any, ids: Tensor, **options: Any) -> Tensor:
    hidden: Tensor = body(input_ids=ids, use_cache=False, **options).last_hidden_state
    return hidden


def test_a_common_beginning_must_be_long_and_common() -> None:
    ids = rows(3)
    assert shared_length(ids) == len(BEGINNING)
    assert shared_length(ids[:1]) == 0
    assert shared_length(ids[:, 7:]) == 0
    ids[2, 0] += 1
    assert shared_length(ids) == 0


def test_hidden_states_and_gradients_are_those_of_a_plain_pass(
    model: Any, tokens_read: list[int]
) -> None:
    ids = rows(4)
    gradients = []
    for function in (alone, read):
        model.zero_grad()
        hidden = function(model.base_model, ids)
        (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(
        read(model.base_model, ids), alone(model.base_model, ids), atol=1e-4, rtol=1e-4
    )
    for plain, shared in zip(*gradients, strict=True):
        torch.testing.assert_close(shared, plain, atol=1e-3, rtol=1e-3)
    assert tokens_read[:3] == [ids.numel(), len(BEGINNING), 4 * 20]


def test_rows_that_are_equal_throughout(model: Any) -> None:
    ids = rows(1).expand(3, -1)
    torch.testing.assert_close(
        read(model.base_model, ids), alone(model.base_model, ids), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("first", [(7, 8), (9, 8)], ids=["the same response", "another response"])
def test_packed_rows(model: Any, tokens_read: list[int], first: tuple[int, ...]) -> None:
    # Two branches leave where the common beginning ends; the first of them may be common, too.
    turns = (-1,) * len(BEGINNING) + (0, 0)
    episode = TokenisedEpisode((*BEGINNING, 7, 8), turns, (0.0,) * len(turns), 0.0)

    def both(said: tuple[int, ...]) -> list[Candidate]:
        return [Candidate(0, ids, (0.0,) * len(ids)) for ids in (said, (11, 12, 13))]

    packed = pack([(episode, both((7, 8))), (episode, both(first))], 0, torch.device("cpu"))
    plain = alone(
        model.base_model,
        packed.ids,
        attention_mask=packed.mask,
        position_ids=packed.positions,
    )
    found = read(model.base_model, packed.ids, packed.mask, packed.positions)
    torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-4)
    assert len(tokens_read) == 3  # the beginning on its own


def test_generation_reads_a_common_beginning_once(
    model: Any, format: ConversationFormat, tokens_read: list[int]
) -> None:
    def sample(prompts: list[Prompt]) -> list[Any]:
        sampler = ResponseSampler(model, format, SamplingConfig(0.01, 3))
        return sampler.sample(prompts, [random.Random(i) for i in range(len(prompts))])

    prompts = [Prompt((), tuple(row)) for row in rows(4).tolist()]
    together = sample(prompts)
    # The last token of a prompt is read apart from the others.
    assert tokens_read[:3] == [len(BEGINNING), 4 * 19, 4]
    for prompt, sampled in zip(prompts, together, strict=True):
        (by_itself,) = sample([prompt])
        assert sampled.token_ids == by_itself.token_ids
        assert sampled.token_logprobs == pytest.approx(by_itself.token_logprobs, abs=1e-3)
