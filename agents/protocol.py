"""What a learning agent is: a policy that can be trained, saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from convgym.policy import Policy
from convgym.progress import ProgressCallback


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of a learning curve.

    ``conversion`` is the share of purchases among ``episodes`` valid conversations that were held
    after ``conversations`` training conversations and ``deployments`` deployments.
    """

    conversations: int
    deployments: int
    conversion: float
    episodes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What training cost and how it went; ``rows`` holds the metrics of every update or round.

    ``excluded`` of the conversations broke on the customer's side and taught nothing.
    """

    conversations: int
    deployments: int
    seconds: float
    curve: tuple[CurvePoint, ...]
    rows: tuple[Mapping[str, float], ...]
    excluded: int = 0


@runtime_checkable
class Agent(Policy, Protocol):
    """A policy that learns.

    ``config`` is the frozen dataclass of its hyperparameters.
    """

    config: Any

    def train(
        self,
        *,
        conversations: int,
        seed: int,
        environment: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        report: ProgressCallback | None = None,
    ) -> TrainingReport:
        """Learn from at most ``conversations`` conversations with customers.

        A deployment is one batch of conversations held with a fixed policy.

        Args:
            conversations: the budget, positive.
            seed: everything random follows from it.
            environment: options of ``SalesEnv``, among them the customer.
            folder: where checkpoints go. A folder that holds an unfinished run of the same
                configuration, seed and budget is resumed, with the same result as an
                uninterrupted run.
            report: called with the progress of every stage.

        Raises:
            ConvgymError: for a budget below 1, or a folder that holds another run.
        """

    def save(self, folder: Path) -> None:
        """Write the policy to ``folder``."""

    def load(self, folder: Path) -> None:
        """Read a policy that ``save`` wrote.

        Raises:
            ConvgymError: when the folder holds no such policy.
        """
