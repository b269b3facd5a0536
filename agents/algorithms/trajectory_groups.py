"""GRPO and RLOO on whole conversations: several with every customer, compared with each other.

What serves for a critic is the group: conversations with the same customer, in which only what the
seller says differs. A whole conversation has one advantage, whichever of its turns was the merit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from convgym.agents.model.batch import Batch
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import neighbours, shuffled
from convgym.agents.protocol import TrainingReport
from convgym.agents.training import losses
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.collector import Collector
from convgym.agents.training.optim import Optimiser
from convgym.checks import check_fields
from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class TrajectoryGroupsConfig:
    """Hyperparameters of trajectory-level GRPO (as they stand) and RLOO (``advantage="rloo"``)."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    advantage: Literal["grpo", "rloo"] = "grpo"
    group_size: int = 8
    """Conversations with every customer, at least 2."""
    deployment: int = 256
    """Conversations per update, where ``rounds`` does not say how many updates there are."""
    rounds: int | None = None
    """Deployments, among which the budget is split evenly; each is followed by an update."""
    minibatch: int = 32
    """Conversations per optimiser step."""
    epochs: int = 2
    """Passes over a deployment."""
    learning_rate: float = 3e-4
    clip: float | None = 0.2
    """Of the probability ratio; None for REINFORCE without a ratio, which suits a step or two."""
    kl_coefficient: float = 0.002
    """Weight per token of the KL divergence to the starting policy."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        rounds = () if self.rounds is None else ("rounds",)
        check_fields(
            self,
            counts=("group_size", "deployment", "minibatch", *rounds),
            counts_from_zero=("epochs",),
            positive=() if self.clip is None else ("clip",),
            bounds=("max_gradient_norm",),
            from_zero=("learning_rate", "kl_coefficient"),
        )
        if self.advantage not in ("grpo", "rloo"):
            raise ConvgymError(f"advantage must be 'grpo' or 'rloo', got {self.advantage!r}")
        if self.group_size < 2:
            raise ConvgymError(
                "group_size must be at least 2, as conversations are compared within a group, "
                f"got {self.group_size}"
            )


class TrajectoryGroups(LanguageModelAgent):
    """Policy gradients on whole conversations, with the group as the baseline.

    With ``config.group_size`` conversations i with the same customer, their outcomes r_i, and the
    ratio rho_t of the new and the old probability of response token t. GRPO (Shao et al. 2024,
    arXiv 2402.03300, equations 3 and 4; outcome supervision)::

        A_i = (r_i - mean r) / std r
        maximise  E_i E_{t in i} [ min(rho_t A_i, clip(rho_t, 1 - clip, 1 + clip) A_i)
                                   - kl_coefficient * k3(pi_t, pi_start_t) ]

    RLOO (Ahmadian et al. 2024, arXiv 2402.14740, section 2.2 and its leave-one-out estimator)::

        r_i = outcome_i - kl_coefficient * sum over t of log(pi_t / pi_start_t)
        A_i = r_i - mean of the others' r
        maximise  E_i A_i sum over t of log pi_t

    The latter's paper does without ratios and clipping, one step a batch. A deployment is many
    steps here, and REINFORCE without a ratio came to ruin in them; so its gradient is that of the
    clipped ratio, which is the same at the first step (``clip=None`` is the paper's). A group of
    which everybody or nobody bought teaches nothing (but to stay near the start).

    Needs customers for every update; the budget counts conversations, not customers.
    ``learning_rate``, ``rounds`` or ``deployment``, and ``group_size`` matter most.

    Raises:
        ConvgymError: when the model that ``config.policy`` names cannot be loaded.
    """

    Config = TrajectoryGroupsConfig
    config: TrajectoryGroupsConfig

    def train(
        self,
        collector: Collector,
        *,
        folder: Path | None = None,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from the collector's customers; see ``Agent.train``."""
        config = self.config
        run = self.start_run(collector, folder)
        learner = _Learner(config, self.model)
        generator = torch.Generator().manual_seed(collector.seed)
        if run.state:
            learner.load_state(run.state["learner"])
            generator.set_state(run.state["generator"])

        while collector.remaining:
            size = collector.share(config.rounds) if config.rounds else config.deployment
            episodes = collector.deploy(self.policy, size, group_size=config.group_size)
            conversion = collector.curve[-1].conversion
            metrics = learner.update(episodes, generator)

            conversations = collector.usage.conversations
            run.rows.append({"conversations": conversations, "conversion": conversion, **metrics})
            run.save({"learner": learner.state(), "generator": generator.get_state()})
            metrics = {"conversion": conversion, **metrics}
            progress(Progress("train", conversations, collector.budget, metrics))
        return run.report()


@dataclass(frozen=True, slots=True)
class _Minibatch:
    batch: Batch
    customers: Tensor
    """(B,) episode seeds."""
    anchor: Tensor
    """(N,) log-probabilities of the response tokens under the starting policy."""
    rows: Tensor
    """(N,) the row of each response token."""

    def per_row(self, values: Tensor) -> Tensor:
        """Return the sums (B,) of what response tokens (N,) have."""
        return values.new_zeros(len(self.batch)).index_add(0, self.rows, values)


class _Learner:
    """The policy, and one update of it from the conversations of a deployment."""

    def __init__(self, config: TrajectoryGroupsConfig, model: LanguageModel) -> None:
        self.config, self.model = config, model
        self.reference = model.copy()
        self.optimiser = Optimiser(
            model.trained_parameters(), config.learning_rate, config.max_gradient_norm
        )

    def update(self, episodes: Sequence[Episode], generator: torch.Generator) -> dict[str, float]:
        """Take ``epochs`` passes over a deployment, the minibatches in random order."""
        minibatches = self._minibatches(episodes)
        advantages, metrics = self.advantages(minibatches)
        totals = dict.fromkeys(("kl_to_start", "clip_fraction"), 0.0)
        steps = self.config.epochs * len(minibatches)
        for _ in range(self.config.epochs):
            for i in shuffled(len(minibatches), generator):
                for name, value in self._step(minibatches[i], advantages[i]).items():
                    totals[name] += float(value) / steps
        return metrics | totals

    def advantages(
        self, minibatches: Sequence[_Minibatch]
    ) -> tuple[list[Tensor], dict[str, float]]:
        """Return the advantage (B,) of every minibatch's conversations, and what groups teach."""
        outcomes = torch.cat([each.batch.outcomes for each in minibatches])
        customers = torch.cat([each.customers for each in minibatches])
        # Whatever else is in a reward, a group teaches by what was bought in it.
        spread = losses.leave_one_out_advantages(outcomes, customers)
        metrics = {"mixed_groups": float((spread != 0).float().mean())}
        if self.config.advantage == "grpo":
            advantages = losses.group_advantages(outcomes, customers)
        else:
            rewards = outcomes - self.config.kl_coefficient * torch.cat(
                [
                    each.per_row(each.batch.logprobs[each.batch.response] - each.anchor)
                    for each in minibatches
                ]
            )
            advantages = losses.leave_one_out_advantages(rewards, customers)
        return list(advantages.split([len(each.batch) for each in minibatches])), metrics

    def _minibatches(self, episodes: Sequence[Episode]) -> list[_Minibatch]:
        model = self.model
        pairs = [
            (episode.seed, tokenised)
            for episode in episodes
            for tokenised in model.tokenise([episode])
        ]
        minibatches = []
        for part in neighbours([tokenised for _, tokenised in pairs], self.config.minibatch):
            batch = model.collate([pairs[i][1] for i in part])
            customers = torch.tensor([pairs[i][0] for i in part], device=model.device)
            with torch.inference_mode():
                anchor = self.reference.logprobs(batch)
            rows = batch.response.nonzero()[:, 0]
            minibatches.append(_Minibatch(batch, customers, anchor, rows))
        return minibatches

    def _step(self, minibatch: _Minibatch, advantages: Tensor) -> dict[str, Tensor]:
        config, batch = self.config, minibatch.batch
        old = batch.logprobs[batch.response]
        logprobs = self.model.logprobs(batch)
        of_token = advantages[minibatch.rows]
        if config.clip is None:
            token_losses = -of_token * logprobs
        else:
            token_losses = losses.clipped_surrogate(logprobs, old, of_token, config.clip)
        if config.advantage == "grpo":
            kl = losses.k3(logprobs, minibatch.anchor)
            token_losses = token_losses + config.kl_coefficient * kl
            lengths = minibatch.per_row(torch.ones_like(logprobs))
            loss = (minibatch.per_row(token_losses) / lengths).mean()
        else:
            # A sum over each conversation, but for the scale: AdamW's steps do not depend on it.
            loss = token_losses.mean()
        self.optimiser.step(loss)
        metrics = {"kl_to_start": losses.k2(logprobs, minibatch.anchor).detach().mean()}
        if config.clip is not None:
            clipped = losses.clip_fraction(logprobs, old, config.clip)
            metrics["clip_fraction"] = clipped.detach()
        return metrics

    def state(self) -> dict[str, Any]:
        return {"model": self.model.weights(), "optimiser": self.optimiser.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.model.load_weights(state["model"])
        self.optimiser.load_state(state["optimiser"])
