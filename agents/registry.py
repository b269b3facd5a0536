"""Agents by name: those that are shipped, and anybody's own beside them."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, cast

from convgym.agents.protocol import Agent
from convgym.agents.settings import configured, defaults
from convgym.contracts import call, described, require
from convgym.errors import ConvgymError
from convgym.registry import Entry, Registry


class AgentClass(Protocol):
    """What makes an agent: a class, or any callable with the attribute ``Config``."""

    Config: type
    """The frozen dataclass of the agent's settings, each with a default."""

    def __call__(self, config: Any, name: str) -> Agent:
        """Return a new agent, untrained, that goes by ``name`` and keeps ``config``."""


def _agent_class(thing: object, spec: str) -> AgentClass:
    if not callable(thing):
        raise ConvgymError(f"agent {spec!r} must be a class, got {described(thing)}")
    config_class = getattr(thing, "Config", None)
    if not (isinstance(config_class, type) and dataclasses.is_dataclass(config_class)):
        raise ConvgymError(
            f"agent {spec!r} needs a class attribute Config, the dataclass of its settings,"
            f" got {config_class!r}"
        )
    return cast(AgentClass, thing)


_ALGORITHMS = "convgym.agents.algorithms"

AGENTS: Registry[AgentClass] = Registry(
    "agent",
    "convgym.agents",
    {
        "bc": Entry(
            f"{_ALGORITHMS}.behaviour_cloning:BehaviourCloning",
            "behaviour cloning: imitates the mediocre seller's log",
        ),
        "filtered-bc": Entry(
            f"{_ALGORITHMS}.behaviour_cloning:BehaviourCloning",
            "behaviour cloning of the conversations that ended in a purchase",
            {"filter_converted": True, "epochs": 2},
        ),
        "awr": Entry(
            f"{_ALGORITHMS}.awr:AWR",
            "advantage-weighted regression on a log: imitates what gained over the expected",
        ),
        "ilql": Entry(
            f"{_ALGORITHMS}.ilql:ILQL",
            "implicit language Q-learning on a log: perturbs the policy by a Q of every token",
        ),
        "outcome-dpo": Entry(
            f"{_ALGORITHMS}.outcome_dpo:OutcomeDPO",
            "DPO on a log, by TRL: conversations that sold against lost ones that began alike",
        ),
        "expert-iteration": Entry(
            f"{_ALGORITHMS}.expert_iteration:ExpertIteration",
            "expert iteration: imitates its own conversations that sold, again and again",
        ),
        "online-ppo": Entry(
            f"{_ALGORITHMS}.online_ppo:OnlinePPO",
            "fully online PPO: a deployment for every update",
        ),
        "turn-level-ppo": Entry(
            f"{_ALGORITHMS}.turn_level_ppo:TurnLevelPPO",
            "online PPO whose steps are turns: a whole response has one advantage",
        ),
        "trajectory-grpo": Entry(
            f"{_ALGORITHMS}.trajectory_groups:TrajectoryGroups",
            "GRPO on whole conversations, several with every customer",
        ),
        "trajectory-rloo": Entry(
            f"{_ALGORITHMS}.trajectory_groups:TrajectoryGroups",
            "REINFORCE leave-one-out on whole conversations, several with every customer",
            {"advantage": "rloo"},
        ),
        "iterative-ppo": Entry(
            f"{_ALGORITHMS}.iterative_ppo:IterativePPO",
            "Iterative PPO: few deployments, a fitted Q as the reward in between",
        ),
        "offline-iterative-ppo": Entry(
            f"{_ALGORITHMS}.offline_iterative_ppo:OfflineIterativePPO",
            "one round of Iterative PPO from a log: clones it, fits Q, improves",
        ),
        "iterative-grpo": Entry(
            f"{_ALGORITHMS}.iterative_ppo:IterativePPO",
            "Iterative PPO whose improvement step is GRPO on the fitted Q",
            {"improvement": {"name": "token-grpo"}},
        ),
    },
    _agent_class,
)
"""Agents by name. Nothing is imported before it is made."""


def start_config(name: str) -> Any:
    """Return the settings of an agent where nobody says otherwise; raises as ``make_agent``."""
    what = f"agent {name!r}"
    return configured(defaults(AGENTS.resolve(name).Config, what), AGENTS.settings(name), what)


def make_agent(name: str, **overrides: Any) -> Agent:
    """Return a new agent by name, with ``overrides`` of its config's fields.

    Args:
        name: a name or ``"package.module:Class"``, see ``convgym.registry`` and ``AgentClass``.
        **overrides: fields of its config. Settings within settings may be given as a mapping,
            an ``improvement`` also by name, see ``as_improvement``.

    Raises:
        ConvgymError: for an unknown agent, what is no agent, an unknown field or a value that its
            type does not allow, or a model that cannot be loaded.
    """
    agent_class = AGENTS.resolve(name)
    what = f"agent {name!r}"
    config = configured(start_config(name), overrides, what)
    agent = call(agent_class, {"config": config, "name": name}, what)
    require(agent, Agent, f"{what} is no agent")
    if not isinstance(agent.config, agent_class.Config):
        raise ConvgymError(
            f"{what} is no agent: its config must be the one it was made with, got"
            f" {described(agent.config)}"
        )
    return agent
