"""What a learning agent is: a policy that can be trained, saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from convgym.policy import Policy
from convgym.progress import ProgressCallback, no_progress

if TYPE_CHECKING:
    from convgym.agents.training.collector import Collector

CHECKPOINT = "checkpoint.safetensors"
"""The file in a training's folder from which it goes on; once it is over, of no use."""

Q_FILE = "q.safetensors"
"""The file by which a folder is that of a fitted Q, and no policy's."""


@runtime_checkable
class Placed(Protocol):
    """A policy that computes with a language model."""

    @property
    def placement(self) -> Mapping[str, str]:
        """Where and how exactly: ``device`` and ``dtype``."""


def placement(policy: object) -> dict[str, Any]:
    """Return where and how exactly a policy, or an agent's, computes; nothing of a script."""
    speaker = getattr(policy, "policy", policy)
    return dict(speaker.placement) if isinstance(speaker, Placed) else {}


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
class Usage:
    """What training used of customers."""

    conversations: int = 0
    """Customer conversations, logged ones included, failed ones too."""
    turns: int = 0
    """The customers' answers in them."""
    deployments: int = 0
    """Batches of conversations held with a fixed policy; a log from a file is none."""
    branches: int = 0
    """Conversations that went on from a copied customer: true values cost customers, too."""
    excluded: int = 0
    """Conversations in which the customer's or the seller's backend failed: they taught nothing."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What training cost and how it went; ``rows`` holds the metrics of every update or round."""

    usage: Usage
    seconds: float
    curve: tuple[CurvePoint, ...]
    rows: tuple[Mapping[str, float], ...]
    notes: tuple[str, ...] = ()
    """What a reader of the result must know: that there was nothing to learn from, say."""
    cpu_seconds: float | None = None
    """Seconds of processors, all threads together: unlike ``seconds`` they do not depend on what
    else the machine does. The benchmark fills them in."""


@runtime_checkable
class Agent(Policy, Protocol):
    """A policy that learns.

    ``config`` is the frozen dataclass of its hyperparameters.
    """

    config: Any

    def train(
        self,
        collector: Collector,
        *,
        folder: Path | None = None,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from conversations with customers.

        Args:
            collector: the only door to customers: ``collector.deploy`` holds conversations with a
                fixed policy (a deployment), ``collector.logged`` returns a log. It owns the
                budget, and everything random follows from its ``seed``.
            folder: where checkpoints go. A folder that holds an unfinished run of the same
                configuration, seed and budget is resumed, with the same result as an
                uninterrupted run.
            progress: told of the progress of every stage.

        Raises:
            ConvgymError: for a folder that holds another run.
        """

    def save(self, folder: Path) -> None:
        """Write the policy to ``folder``."""

    def load(self, folder: Path) -> None:
        """Read a policy that ``save`` wrote.

        Raises:
            ConvgymError: when the folder holds no such policy.
        """
