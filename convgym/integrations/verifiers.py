"""A verifiers environment (0.4, ``verifiers.v1``): train or evaluate sellers with its tools.

verifiers finds environments by the name of a top-level module that exports them, so a package of
your own names ours: see ``examples/verifiers_environment``. From Python, ``load_environment`` does.

A customer whose backend fails ends the episode with an error: it is not ``ok``, carries no reward,
and ``env.retries`` may hold it again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from convgym.envs.scenario import Scenario
from convgym.integrations.messages import MessageEnv, customer_seeds, system_message
from convgym.packages import missing

try:
    import verifiers.v1 as vf
    from openai import AsyncOpenAI
except ImportError as error:
    raise missing(error, "a verifiers environment", "verifiers") from None

__all__ = ["SalesHarness", "SalesTaskset", "SalesVerifiersEnv"]


class SalesTasksetConfig(vf.TasksetConfig):
    """Which customers come in; ``--env.taskset.*`` on the command line."""

    customers: int = 1000
    seed: int = 0
    evaluation: bool = False
    """Whether they are those reserved for evaluation."""
    prompt: str | None = None
    """The seller's system message, see ``convgym.sellers.prompt.seller_prompt``."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of ``SalesEnv``, as plain data: a customer of yours by its name."""


class SalesData(vf.TaskData):
    """A customer and what it is met under."""

    episode_seed: int
    options: dict[str, Any]


class SalesTask(vf.Task[SalesData, vf.State, vf.TaskConfig]):
    """A conversation to be held."""


class SalesTaskset(vf.Taskset[SalesTask, SalesTasksetConfig]):
    """Customers, a task each."""

    def load(self) -> Iterator[SalesTask]:
        """Yield the tasks; ConvgymError for a mistake in the options."""
        config = self.config
        (dialogue,) = Scenario.of(config.options).dialogues(1)
        system = system_message(dialogue, config.prompt)["content"]
        for seed in customer_seeds(config.customers, config.seed, evaluation=config.evaluation):
            data = SalesData(
                id=str(seed), system_prompt=system, episode_seed=seed, options=config.options
            )
            yield SalesTask(data, config.task)


class SalesHarness(vf.Harness[vf.HarnessConfig]):
    """Speaks with the model from this process: a seller needs no sandbox and no tools."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Let the model say one thing."""
        system, said = self.resolve_prompt(data)
        told = [] if system is None else [vf.SystemMessage(content=system)]
        messages = [message.model_dump(exclude_none=True) for message in (*told, *said)]
        async with AsyncOpenAI(base_url=endpoint, api_key=secret, max_retries=0) as client:
            await client.chat.completions.create(model=ctx.model, messages=messages)
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")


class SalesVerifiersEnvConfig(vf.EnvConfig):
    """Who sells: ``--env.seller.*`` on the command line."""

    seller: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class SalesVerifiersEnv(vf.Env[SalesVerifiersEnvConfig]):
    """A conversation between the seller, a model, and a customer, who is the user."""

    async def run(self, task: SalesTask, agents: vf.Agents) -> None:
        """Hold it; the seller's trace gets the reward ``purchase``.

        A seller that is ended by limits of its own has sold nothing. Raises InfrastructureError if
        the customer's backend fails.
        """
        env = MessageEnv(task.data.episode_seed, **task.data.options)
        messages = await env.initial_observation()
        reward, done = 0.0, False
        async with agents.seller.interaction(task) as interaction:
            while not done:
                segment = await interaction.turn(messages[-1]["content"])
                if segment.terminated:
                    break
                step = await env.step(segment.last_reply)
                messages, reward, done = step.next_messages, step.reward, step.episode_done
        interaction.trace.record_reward("purchase", reward)
        interaction.trace.record_metric("turns", float(env.dialogue.turn))


def load_environment(**taskset: Any) -> SalesVerifiersEnv:
    """Return the environment, for use from Python.

    Args:
        **taskset: fields of ``SalesTasksetConfig``.

    Raises:
        pydantic.ValidationError: for fields that are none.
    """
    name = _importable()
    config = SalesTasksetConfig(id=name, **taskset)
    return SalesVerifiersEnv(SalesVerifiersEnvConfig(taskset=config))


def _importable() -> str:
    """Return a name by which verifiers imports this module: it takes none with a dot."""
    name = "convgym_sales"
    sys.modules.setdefault(name, sys.modules[__name__])
    return name
