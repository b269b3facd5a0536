"""A tiny untrained language model and conversations with it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from convgym.agents.model.format import ConversationFormat, compact_format
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.sampling import SamplingConfig
from convgym.agents.pretrain import PretrainConfig, build_model, build_tokenizer
from convgym.conversation import Episode, Message, Response, Turn
from convgym.policy import Conversation

TEXTS = ["Hi, I need a laptop.", "What is your budget?", "Around $700.", "Shall I order it?"]
REPLIES = ["Yes.", "Around $700, not more than that.", "Hi, what do you mean by that?", ""]


@pytest.fixture
def format() -> ConversationFormat:
    return compact_format(build_tokenizer(TEXTS, vocabulary=280))


@pytest.fixture
def make_network(format: ConversationFormat) -> Callable[..., Any]:
    """Return untrained networks in the shape that is asked for."""

    def make(seed: int = 0, **shape: int) -> Any:
        shape = {"hidden": 16, "layers": 2, "heads": 2, "intermediate": 24, "context": 1024} | shape
        network = build_model(PretrainConfig(**shape), format.tokenizer, seed)
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.data *= 6  # far from uniform, so that every mistake shows
        return network

    return make


@pytest.fixture
def make_model(
    format: ConversationFormat, make_network: Callable[..., Any]
) -> Callable[..., LanguageModel]:
    """Return the same networks as language models."""

    def make(
        seed: int = 0, *, temperature: float = 1.0, max_new_tokens: int = 12, **shape: int
    ) -> LanguageModel:
        sampling = SamplingConfig(temperature, max_new_tokens)
        return LanguageModel.of(make_network(seed, **shape), format, sampling)

    return make


@pytest.fixture
def policy(make_model: Callable[..., LanguageModel]) -> LanguageModelPolicy:
    return LanguageModelPolicy(make_model())


@pytest.fixture
def hold() -> Callable[..., list[Episode]]:
    """Hold conversations with a customer that talks at random and leaves at random."""

    def hold(
        policy: LanguageModelPolicy, seeds: Sequence[int], policy_seed: int = 0
    ) -> list[Episode]:
        policy.reset(policy_seed)
        customers = {seed: random.Random(seed) for seed in seeds}
        live = [_start(seed, customers[seed], policy_seed) for seed in seeds]
        turns: dict[int, list[Turn]] = {seed: [] for seed in seeds}
        while live:
            for conversation, response in zip(live, policy.act(live), strict=True):
                reply = customers[conversation.seed].choice(REPLIES)
                turns[conversation.seed].append(Turn(response, reply))
                conversation.messages += _exchange(response, reply)
            live = [
                conversation for conversation in live if customers[conversation.seed].random() < 0.7
            ]
        return [
            Episode(
                seed=seed,
                opening=_start(seed, random.Random(seed), policy_seed).messages[0]["content"],
                turns=tuple(turns[seed]),
                outcome="purchase" if seed % 2 else "walk_away",
                customer="random",
                policy=policy.name,
            )
            for seed in seeds
        ]

    return hold


def _start(seed: int, customer: random.Random, policy_seed: int) -> Conversation:
    opening: Message = {"role": "user", "content": customer.choice(TEXTS)}
    return Conversation(seed, [opening], random.Random(f"{policy_seed}/{seed}"))


def _exchange(response: Response, reply: str) -> list[Message]:
    return [
        {"role": "assistant", "content": response.text},
        {"role": "user", "content": reply},
    ]
