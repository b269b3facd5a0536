"""Customers for Tinker's cookbook (0.6): train sellers by its ``rl.train``.

``convgym.integrations.messages.MessageEnv`` has the shape of the cookbook's own ``MessageEnv``, so
``EnvFromMessageEnv(renderer, MessageEnv(seed))`` is all that a conversation needs. Here is what
training needs besides: groups of the same customer, and data made of them.

A customer whose backend fails raises InfrastructureError in its rollout: choose a rollout strategy
that holds failed ones again (``RetryOnFailure``); the default ends the training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convgym.envs.scenario import Scenario
from convgym.integrations.messages import MessageEnv, customer_seeds
from convgym.packages import missing

try:
    import chz
    from tinker_cookbook.renderers import Renderer, get_renderer
    from tinker_cookbook.rl.message_env import EnvFromMessageEnv
    from tinker_cookbook.rl.types import Env, EnvGroupBuilder, RLDataset, RLDatasetBuilder
    from tinker_cookbook.tokenizer_utils import get_tokenizer
except ImportError as error:
    raise missing(error, "customers for Tinker", "tinker") from None


@dataclass(frozen=True)
class SalesGroup(EnvGroupBuilder):
    """Conversations with one customer, which are compared with each other.

    Attributes:
        episode_seed: the customer, see ``convgym.seeds``.
        renderer: of the model that sells.
        size: how many conversations.
        prompt: the seller's system message, see ``convgym.sellers.prompt.seller_prompt``.
        options: of ``SalesEnv``.
        limits: arguments of ``EnvFromMessageEnv``, such as ``max_trajectory_tokens``.
    """

    episode_seed: int
    renderer: Renderer
    size: int = 1
    prompt: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)

    async def make_envs(self) -> Sequence[Env]:
        """Return ``size`` conversations that have not begun."""
        return [
            EnvFromMessageEnv(
                self.renderer,
                MessageEnv(self.episode_seed, prompt=self.prompt, **self.options),
                **self.limits,
            )
            for _ in range(self.size)
        ]

    def logging_tags(self) -> list[str]:
        """Return the name under which metrics are summed up."""
        return ["convgym"]


@dataclass(frozen=True)
class SalesDataset(RLDataset):
    """Groups in batches of ``batch_size``; what does not fill a batch is left out."""

    groups: Sequence[SalesGroup]
    batch_size: int

    def get_batch(self, index: int) -> Sequence[SalesGroup]:
        """Return the groups of one batch."""
        return self.groups[index * self.batch_size : (index + 1) * self.batch_size]

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.groups) // self.batch_size


@chz.chz
class SalesDatasetBuilder(RLDatasetBuilder):
    """Makes the data of a training, and of its tests on customers reserved for evaluation.

    ``options`` are those of ``SalesEnv``, ``limits`` arguments of ``EnvFromMessageEnv``.
    """

    model_name_for_tokenizer: str
    renderer_name: str
    batches: int
    batch_size: int
    group_size: int
    seed: int = 0
    test_customers: int = 0
    prompt: str | None = None
    options: dict[str, Any] = chz.field(default_factory=dict)
    limits: dict[str, Any] = chz.field(default_factory=dict)

    async def __call__(self) -> tuple[SalesDataset, SalesDataset | None]:
        """Return both; no test data for no test customers. ConvgymError for wrong options."""
        Scenario.of(self.options)
        renderer = get_renderer(self.renderer_name, get_tokenizer(self.model_name_for_tokenizer))

        def data(seeds: Sequence[int], size: int, batch_size: int) -> SalesDataset:
            groups = [
                SalesGroup(seed, renderer, size, self.prompt, self.options, self.limits)
                for seed in seeds
            ]
            return SalesDataset(groups, batch_size)

        seeds = customer_seeds(self.batches * self.batch_size, self.seed)
        train = data(seeds, self.group_size, self.batch_size)
        if not self.test_customers:
            return train, None
        reserved = customer_seeds(self.test_customers, self.seed, evaluation=True)
        return train, data(reserved, 1, self.test_customers)
