"""An OpenEnv environment (0.10): customers behind a server, for whoever speaks OpenEnv.

    uvicorn --factory convgym.integrations.openenv:make_app

An action is what the seller says, an observation what the customer answers. The reward is None, and
``failure`` says why, where the customer's backend failed: neither a sale nor a loss.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from convgym.checks import check_seed
from convgym.envs.dialogue import draw_episode_seed
from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError
from convgym.integrations.messages import chat_messages, purchase, system_message
from convgym.packages import missing

try:
    from openenv.core.client_types import StepResult
    from openenv.core.env_client import EnvClient
    from openenv.core.env_server import Action, Environment, Observation, State, create_app
    from pydantic import Field
except ImportError as error:
    raise missing(error, "an OpenEnv environment", "openenv") from None

_VARIABLE = "CONVGYM_OPTIONS"


class Utterance(Action):
    """What the seller says."""

    text: str = Field(description="What you, the seller, say to the customer.")


class Heard(Observation):
    """What the customer answers."""

    text: str = Field(description="What the customer says.")
    messages: list[dict[str, str]] = Field(description="The conversation so far as chat messages.")
    outcome: str | None = Field(default=None, description="How the conversation ended.")
    failure: str | None = Field(default=None, description="Why the customer's backend failed.")


class SalesOpenEnv(Environment[Utterance, Heard, State]):
    """A conversation with a customer.

    Args:
        prompt: the seller's system message, see ``convgym.sellers.prompt.seller_prompt``.
        **options: of ``SalesEnv``.

    Raises:
        ConvgymError: for a mistake in these.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, prompt: str | None = None, **options: Any) -> None:
        super().__init__()
        (self.dialogue,) = Scenario.of(options).dialogues(1)
        self._system = system_message(self.dialogue, prompt)
        self._generator = np.random.default_rng()
        self._episode_id: str | None = None

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        *,
        episode_seed: int | None = None,
        **_: Any,
    ) -> Heard:
        """Meet a customer, as ``SalesEnv.reset`` does.

        Args:
            seed: of the generator that this and later customers for training are drawn from.
            episode_id: any name for this conversation.
            episode_seed: the customer itself; the only way to those reserved for evaluation.
        """
        if seed is not None:
            self._generator = np.random.default_rng(check_seed(seed, "a reset's seed"))
        drawn = draw_episode_seed(self._generator) if episode_seed is None else episode_seed
        self.dialogue.reset(drawn)
        self._episode_id = episode_id or str(drawn)
        return self._heard()

    def step(self, action: Utterance, timeout_s: float | None = None, **_: Any) -> Heard:
        """Say something to the customer."""
        self.dialogue.step(action.text)
        return self._heard()

    @property
    def state(self) -> State:
        """Which conversation this is, and how many turns it has had."""
        return State(episode_id=self._episode_id, step_count=self.dialogue.turn)

    def close(self) -> None:
        """Let the customer go."""
        self.dialogue.close()

    def _heard(self) -> Heard:
        dialogue = self.dialogue
        messages = chat_messages(dialogue, self._system)
        return Heard(
            text=messages[-1]["content"],
            messages=[dict(message) for message in messages],
            reward=purchase(dialogue),
            done=dialogue.outcome is not None or dialogue.failure is not None,
            outcome=dialogue.outcome,
            failure=dialogue.failure,
        )


class SalesClient(EnvClient[Utterance, Heard, State]):
    """Speaks to a server of ``make_app``: ``SalesClient(base_url=...)``."""

    def _step_payload(self, action: Utterance) -> dict[str, Any]:
        return {"text": action.text}

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[Heard]:
        told = {"reward": payload.get("reward"), "done": payload.get("done", False)}
        heard = Heard(**payload["observation"], **told)
        return StepResult(observation=heard, **told)

    def _parse_state(self, payload: dict[str, Any]) -> State:
        return State(**payload)


def make_app(options: Mapping[str, Any] | None = None, *, max_concurrent_envs: int = 64) -> Any:
    """Return the server, an ASGI application, which holds a conversation for each client.

    Args:
        options: ``prompt`` and options of ``SalesEnv``; None reads them, as JSON, from the
            environment variable ``CONVGYM_OPTIONS``.
        max_concurrent_envs: how many conversations at once; more clients are refused.

    Raises:
        ConvgymError: for a mistake in the options.
    """
    chosen = dict(_from_environment() if options is None else options)
    SalesOpenEnv(**chosen).close()
    return create_app(
        lambda: SalesOpenEnv(**chosen),
        Utterance,
        Heard,
        env_name="convgym",
        max_concurrent_envs=max_concurrent_envs,
    )


def _from_environment() -> Mapping[str, Any]:
    given = os.environ.get(_VARIABLE, "{}")
    try:
        options = json.loads(given)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise ConvgymError(f"{_VARIABLE} must be options by name, as JSON, got {given[:60]!r}")
    return options
