"""Where a run's sellers, agents and conversations come from; tests bring others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from convgym.benchmarks.runs.suites import agent_of
from convgym.conversation import Episode
from convgym.policy import Policy
from convgym.progress import ProgressCallback

if TYPE_CHECKING:
    from convgym.agents.protocol import Agent


class Parts(Protocol):
    """What a job is made of. It goes with the job to another process: it must be picklable."""

    def make_seller(self, name: str, environment: Mapping[str, Any], /, **options: Any) -> Policy:
        """Return a seller that knows the shop of ``environment``, with options of its own."""

    def make_agent(self, name: str, overrides: Mapping[str, Any]) -> Agent:
        """Return an untrained agent whose config has ``overrides``."""

    def rollout(
        self,
        policy: Policy,
        seeds: Sequence[int],
        *,
        policy_seed: int,
        environment: Mapping[str, Any],
        progress: ProgressCallback,
    ) -> list[Episode]:
        """Hold a conversation for each episode seed, as ``convgym.rollout.rollout``."""


@dataclass(frozen=True, slots=True)
class PackageParts:
    """The package's own; torch is loaded for an agent alone."""

    def make_seller(self, name: str, environment: Mapping[str, Any], /, **options: Any) -> Policy:
        """Return a seller by name."""
        from convgym.customers import customer_law
        from convgym.envs.scenario import Scenario
        from convgym.sellers import make_seller
        from convgym.sellers.registry import check_own_options

        check_own_options(options)
        shop = Scenario.of(environment).shop()
        return make_seller(name, shop, customer_law(environment), **options)

    def make_agent(self, name: str, overrides: Mapping[str, Any]) -> Agent:
        """Return an agent, or a variant of one, by name."""
        from convgym.agents import make_agent

        return make_agent(agent_of(name), **overrides)

    def rollout(
        self,
        policy: Policy,
        seeds: Sequence[int],
        *,
        policy_seed: int,
        environment: Mapping[str, Any],
        progress: ProgressCallback,
    ) -> list[Episode]:
        """Hold the conversations."""
        from convgym.rollout import rollout

        return rollout(
            policy, seeds, policy_seed=policy_seed, environment=environment, progress=progress
        )


def default_parts() -> Parts:
    """Return the package's own parts."""
    return PackageParts()
