"""A SkyRL-Gym environment (0.4): train sellers with SkyRL.

Make it known where the training starts, and name it in the data, a customer a row::

    skyrl_gym.register(id="convgym", entry_point="convgym.integrations.skyrl:SalesTextEnv")
    rows = customer_rows(1000)

SkyRL cannot leave a conversation out: a customer whose backend fails raises InfrastructureError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError
from convgym.integrations.messages import (
    chat_messages,
    customer_seeds,
    require_customer,
    system_message,
)
from convgym.llm.base import ChatMessage
from convgym.packages import missing

try:
    from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput
except ImportError as error:
    raise missing(error, "a SkyRL environment", "skyrl") from None

_OURS = "options"


def customer_rows(
    n: int, *, seed: int = 0, evaluation: bool = False, **options: Any
) -> list[dict[str, Any]]:
    """Return rows of SkyRL's data, a customer each; the environment writes the prompts itself.

    Args:
        n: how many.
        seed: which ones.
        evaluation: those reserved for evaluation instead of those for training.
        **options: of ``SalesEnv``, as plain data.

    Raises:
        ConvgymError: for a mistake in these.
    """
    Scenario.of(options)
    prompt = [{"role": "user", "content": "Sell."}]
    told = {_OURS: options} if options else {}  # Parquet has no place for an empty mapping
    return [
        {"prompt": prompt, "env_class": "convgym", "episode_seed": each, **told}
        for each in customer_seeds(n, seed, evaluation=evaluation)
    ]


class SalesTextEnv(BaseTextEnv):
    """A conversation with the customer of a row.

    Args:
        env_config: the seller's system message as ``prompt``, if it is not to be the shop's, and
            options of ``SalesEnv`` for all rows; a row's own come first.
        extras: the row: ``episode_seed`` and ``options``.

    Raises:
        ConvgymError: for a mistake in these.
    """

    def __init__(
        self, env_config: Mapping[str, Any] | None = None, extras: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        row = extras or {}
        if "episode_seed" not in row:
            raise ConvgymError(
                "a row must name its customer by its episode_seed: let"
                " convgym.integrations.skyrl.customer_rows make the data"
            )
        options = {**(env_config or {}), **(row.get(_OURS) or {})}
        prompt = options.pop("prompt", None)
        scenario = Scenario.of(options)
        self.episode_seed = int(row["episode_seed"])
        self.max_turns = scenario.max_turns
        (self.dialogue,) = scenario.dialogues(1)
        self._system = system_message(self.dialogue, prompt)

    def init(self, prompt: Any) -> tuple[list[ChatMessage], dict[str, Any]]:
        """Meet the customer; return what the seller is told and the customer says."""
        self.dialogue.reset(self.episode_seed)
        require_customer(self.dialogue)
        return chat_messages(self.dialogue, self._system), {"episode_seed": self.episode_seed}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Say something; return the customer's answer and 1.0 if it buys, else 0.0."""
        dialogue = self.dialogue
        dialogue.step(action)
        require_customer(dialogue)
        self.turns = dialogue.turn
        return BaseTextEnvStepOutput(
            observations=chat_messages(dialogue, self._system)[-1:],
            reward=dialogue.reward,
            done=dialogue.outcome is not None,
            metadata={"outcome": dialogue.outcome},
        )

    def get_metrics(self) -> dict[str, Any]:
        """Return what SkyRL averages over conversations."""
        return {"purchase": self.dialogue.reward, "turns": self.dialogue.turn}

    def close(self) -> None:
        """Let the customer go."""
        self.dialogue.close()
