"""Train a chat model of your own on our customers, with TRL's ``GRPOTrainer`` (1.16).

Two ways in, with the same data (``customers``):

- ``SellerRollout`` as ``rollout_func``: the model speaks, the customer answers, turn by turn. The
  customers' tokens are masked. This is how sellers talk, and needs no tools.
- ``seller_environment`` as ``environment_factory``: the model speaks through a tool, ``say``, which
  its chat template must know.

A conversation whose customer failed has no reward: TRL gives it no advantage, and leaves it out of
what others are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from convgym.envs.dialogue import Dialogue, draw_episode_seed, reset_together, step_together
from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError, InfrastructureError
from convgym.integrations.messages import customer_seeds, purchase, system_message
from convgym.packages import load

_SEED = "episode_seed"
_OVER = "[The conversation is over.]"
_SAID = "\u2063said\u2063"
"""Stands for an utterance where the marks around it are looked up."""


def customers(
    n: int, *, seed: int = 0, evaluation: bool = False, prompt: str | None = None, **options: Any
) -> Any:
    """Return a ``datasets.Dataset`` of ``n`` customers, a prompt each.

    Args:
        n: how many; TRL meets each ``num_generations`` times, and compares these.
        seed: which ones.
        evaluation: those reserved for evaluation instead of those for training.
        prompt: the seller's system message, see ``convgym.sellers.prompt.seller_prompt``.
        **options: of ``SalesEnv``, the same as the rollout's or environment's.

    Raises:
        ConvgymError: for a mistake in these, or if a package is missing.
    """
    (dialogue,) = Scenario.of(options).dialogues(1)
    system = system_message(dialogue, prompt)
    prompts = [
        # TRL shows a rollout function the prompts alone, and no other column.
        [{**system, _SEED: each}, {"role": "user", "content": "", _SEED: each}]
        for each in customer_seeds(n, seed, evaluation=evaluation)
    ]
    return load("datasets", "training by TRL", "trl").Dataset.from_dict({"prompt": prompts})


def purchase_reward(purchase: Sequence[float | None], **_: Any) -> list[float | None]:
    """Return 1.0 for each conversation of a ``SellerRollout`` that sold, None for a failed one."""
    return list(purchase)


class SellerRollout:
    """A ``rollout_func``: holds a conversation for each prompt, all of a batch together.

    It generates as the trainer does, by vLLM or not, and returns ``env_mask``, which is 0 on what
    the customer said, and what ``purchase_reward`` reads. ``max_completion_length`` bounds the
    whole conversation: the utterance that passes it is the last one, and sells nothing unless the
    customer buys there and then. ``generation_kwargs={"max_new_tokens": 60}`` bounds an utterance.

    Args:
        **options: of ``SalesEnv``.

    Raises:
        ConvgymError: for a mistake in these.
    """

    def __init__(self, **options: Any) -> None:
        self._scenario = Scenario.of(options)
        self._dialogues: list[Dialogue] = []

    def __call__(
        self, prompts: Sequence[Sequence[Any]], trainer: Any
    ) -> dict[str, list[Any] | None]:
        """Return TRL's fields of one conversation per prompt.

        Raises:
            ConvgymError: for prompts that ``customers`` did not make, or a chat template that
                cannot hold a conversation.
            InfrastructureError: if the customer failed in all of them.
        """
        if len(self._dialogues) < len(prompts):
            self._dialogues = self._scenario.dialogues(len(prompts))
        dialogues = self._dialogues[: len(prompts)]
        reset_together(dialogues, [_seed(prompt) for prompt in prompts])
        rows = [
            _Row(trainer, prompt, dialogue)
            for prompt, dialogue in zip(prompts, dialogues, strict=True)
        ]
        while live := [row for row in rows if row.open]:
            said, logprobs = trainer._generate_single_turn(
                [row.prompt_ids + row.completion_ids for row in live], None, {}, num_generations=1
            )
            texts = trainer.processing_class.batch_decode(said, skip_special_tokens=True)
            step_together([row.dialogue for row in live], texts)
            for row, ids, each in zip(live, said, logprobs or [None] * len(live), strict=True):
                row.take(ids, each)
        if all(dialogue.failure is not None for dialogue in dialogues):
            raise InfrastructureError(
                f"the customer failed in all of {len(dialogues)} conversations:"
                f" {dialogues[0].failure}"
            )
        return {
            "prompt_ids": [row.prompt_ids for row in rows],
            "completion_ids": [row.completion_ids for row in rows],
            "logprobs": [row.logprobs for row in rows] if trainer.use_vllm else None,
            "env_mask": [
                row.mask if row.dialogue.failure is None else [0] * len(row.mask) for row in rows
            ],
            "purchase": [purchase(row.dialogue) for row in rows],
            "outcome": [_outcome(row.dialogue) for row in rows],
        }


class _Row:
    """A conversation and its tokens."""

    def __init__(self, trainer: Any, prompt: Sequence[Any], dialogue: Dialogue) -> None:
        self.trainer, self.dialogue = trainer, dialogue
        messages = [{"role": each["role"], "content": each["content"]} for each in prompt]
        messages[-1]["content"] += dialogue.messages[0]["content"]
        self.prompt_ids = self._ids(self._written(messages))
        self.completion_ids: list[int] = []
        self.mask: list[int] = []
        self.logprobs: list[float] = []
        self.open = dialogue.failure is None
        if not self.open:  # TRL takes no completion without tokens
            self._add([trainer.processing_class.eos_token_id], mask=0)

    def take(self, said: list[int], logprobs: list[float] | None) -> None:
        """Note what the model said, and what the customer answered if it is still there."""
        self._add(said, mask=1, logprobs=logprobs)
        full = len(self.completion_ids) >= self.trainer.max_completion_length
        self.open = self.dialogue.outcome is None and not full
        if not self.open:
            return
        reply = self.dialogue.messages[-1]["content"]
        around: list[dict[str, str]] = [
            {"role": "user", "content": "."},
            {"role": "assistant", "content": _SAID},
            {"role": "user", "content": reply},
        ]
        _, mark, after = self._written(around).partition(_SAID)
        if not mark:
            raise ConvgymError(
                "the model's chat template leaves out what the assistant said before: give it one"
                " that keeps it"
            )
        following = self._ids(after)
        if said and following and said[-1] == following[0]:  # the model has ended its turn itself
            following = following[1:]
        self._add(following, mask=0)

    def _add(self, ids: list[int], *, mask: int, logprobs: list[float] | None = None) -> None:
        self.completion_ids += ids
        self.mask += [mask] * len(ids)
        self.logprobs += logprobs or [0.0] * len(ids)

    def _written(self, messages: list[dict[str, str]]) -> str:
        text: str = self.trainer.processing_class.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            chat_template=self.trainer.chat_template,
            **self.trainer.chat_template_kwargs,
        )
        return text

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.trainer.processing_class(text, add_special_tokens=False)["input_ids"]
        return ids


def _outcome(dialogue: Dialogue) -> str:
    """Return how a conversation ended, also where it failed at once or became too long."""
    failed = "infrastructure_failure" if dialogue.failure is not None else None
    return dialogue.outcome or failed or "turn_limit"


def seller_environment(**options: Any) -> Callable[[], SellerEnvironment]:
    """Return an ``environment_factory`` of conversations with these options of ``SalesEnv``.

    Raises ConvgymError for a mistake in them.
    """
    scenario = Scenario.of(options)
    return lambda: SellerEnvironment(*scenario.dialogues(1))


class SellerEnvironment:
    """A conversation in which the model speaks through a tool; see ``seller_environment``.

    Its public methods are what TRL asks for, and ``say`` is shown to the model.
    """

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._generator = np.random.default_rng()

    def reset(self, prompt: Sequence[Any] = (), **_: Any) -> str:
        """Meet the customer of a prompt, one for training if it names none; return its opening."""
        named = prompt and _SEED in prompt[-1]
        self._dialogue.reset(_seed(prompt) if named else draw_episode_seed(self._generator))
        return self._dialogue.messages[0]["content"]

    def say(self, utterance: str) -> str:
        """Say something to the customer. The customer hears this, and nothing else.

        Args:
            utterance: What you say, one or two short sentences.

        Returns:
            What the customer answers.
        """
        dialogue = self._dialogue
        if dialogue.outcome is None:
            dialogue.step(utterance)
            if dialogue.failure is None:
                heard = dialogue.messages[-1]["content"]
                return heard if dialogue.outcome is None else f"{heard} {_OVER}"
        return _OVER

    def get_reward(self) -> float | None:
        """Return 1.0 if the customer has bought, None if it failed."""
        return purchase(self._dialogue)


def _seed(prompt: Sequence[Mapping[str, Any]]) -> int:
    """Return whom the seller meets, ConvgymError if the prompt does not say."""
    seed = prompt[-1].get(_SEED) if prompt and isinstance(prompt[-1], Mapping) else None
    if seed is None:
        raise ConvgymError(
            "a prompt must name its customer: let convgym.integrations.trl.customers make the data"
        )
    return int(seed)
