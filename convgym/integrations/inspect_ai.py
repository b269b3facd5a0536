"""A task for Inspect (0.3): how many customers does the model under evaluation sell to?

    inspect eval convgym/sales --model openai/gpt-5-nano -T customers=100 -T evaluation=true

The score is the conversion rate. A conversation whose customer failed is *unscored*: it counts for
nothing, and its reason is in the log.
"""

from __future__ import annotations

from typing import Any

from convgym.envs.scenario import Scenario
from convgym.errors import InfrastructureError
from convgym.integrations.messages import MessageEnv, customer_seeds
from convgym.packages import missing

try:
    from inspect_ai import Task, task
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser
    from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
    from inspect_ai.solver import Generate, Solver, TaskState, solver
except ImportError as error:
    raise missing(error, "a task for Inspect", "inspect") from None

_OUTCOME, _FAILURE, _TURNS = "convgym_outcome", "convgym_failure", "convgym_turns"


@task
def sales(
    customers: int = 100,
    seed: int = 0,
    evaluation: bool = False,
    prompt: str | None = None,
    **options: Any,
) -> Task:
    """Sell to customers, a sample each.

    Args:
        customers: how many.
        seed: which ones.
        evaluation: those reserved for evaluation instead of those for training.
        prompt: the seller's system message, see ``convgym.sellers.prompt.seller_prompt``.
        **options: of ``SalesEnv``.

    Raises:
        ConvgymError: for a mistake in these.
    """
    Scenario.of(options)
    samples = [
        Sample(id=str(each), input=f"Sell to customer {each}.", metadata={"episode_seed": each})
        for each in customer_seeds(customers, seed, evaluation=evaluation)
    ]
    return Task(dataset=samples, solver=sell(prompt, **options), scorer=conversion())


@solver
def sell(prompt: str | None = None, **options: Any) -> Solver:
    """Let the model talk to the customer of a sample until one of them is done."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        env = MessageEnv(state.metadata["episode_seed"], prompt=prompt, **options)
        try:
            system, opening = await env.initial_observation()
            state.messages = [
                ChatMessageSystem(content=system["content"]),
                ChatMessageUser(content=opening["content"]),
            ]
            done = False
            while not done:
                state = await generate(state)
                step = await env.step(state.output.completion)
                state.messages.append(ChatMessageUser(content=step.next_messages[-1]["content"]))
                done = step.episode_done
        except InfrastructureError as error:
            state.store.set(_FAILURE, str(error))
        finally:  # limits of Inspect end it by an exception
            state.store.set(_OUTCOME, env.dialogue.outcome)
            state.store.set(_TURNS, env.dialogue.turn)
        return state

    return solve


@scorer(metrics=[mean(), stderr()])
def conversion() -> Scorer:
    """Score 1.0 for a sale, 0.0 for none, and nothing where the customer failed."""

    async def score(state: TaskState, target: Target) -> Score:
        outcome, turns = state.store.get(_OUTCOME), state.store.get(_TURNS)
        if failure := state.store.get(_FAILURE):
            return Score.unscored(reason="infrastructure_failure", explanation=failure)
        sold = float(outcome == "purchase")
        explanation = outcome or "ended by a limit of Inspect"
        return Score(value=sold, explanation=explanation, metadata={"turns": turns})

    return score
