"""Expert iteration: deploy, imitate the conversations that sold, and deploy again.

The plain rival of every method that values single responses: credit goes to whole conversations,
all or nothing, and there is no critic, no penalty and no ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.config import PolicyConfig
from convgym.agents.protocol import TrainingReport
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.collector import Collector
from convgym.agents.training.exploration import check_exploration, voices
from convgym.agents.training.imitation import Imitation
from convgym.checks import check_fields
from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class ExpertIterationConfig:
    """Hyperparameters of expert iteration."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    rounds: int = 8
    """Deployments; the budget is split evenly among them."""
    exploration: tuple[float, ...] = (1.0,)
    """What the temperature is multiplied by in a deployment, in turn from conversation to
    conversation. Below 1 it is the policy's likelier responses that are imitated."""
    earlier: Literal["none", "all"] = "none"
    """Whether the sales of earlier deployments are imitated again, beside the last one's."""
    imitation: Imitation = field(default_factory=Imitation)
    """How the sales are imitated, after each deployment."""

    def __post_init__(self) -> None:
        check_fields(self, counts=("rounds",))
        check_exploration(self.exploration, self.policy.temperature)
        if self.earlier not in ("none", "all"):
            raise ConvgymError(f"earlier must be 'none' or 'all', got {self.earlier!r}")


class ExpertIteration(LanguageModelAgent):
    """Expert iteration by filtered cloning (Anthony et al. 2017, arXiv 1705.08439, Algorithm 1).

    The expert of round k is the deployed policy pi_k with hindsight: those of its conversations
    that ended in a purchase. The apprentice imitates them, over their response tokens t::

        pi_{k+1} = argmax over pi of  E_{conversation ~ pi_k} [ outcome * sum over t of log pi_t ]

    which for language models is ReST with a threshold on the reward (arXiv 2308.08998, equation 2)
    and STaR without hints (arXiv 2203.14465), each going on from pi_k. As the outcome is 0 or 1, it
    is REINFORCE without a baseline, in large steps.

    Needs ``config.rounds`` deployments, and a policy that sells now and then: a deployment without
    a sale leaves it as it is, and the report's notes say so. ``rounds`` matters most.

    Raises:
        ConvgymError: when the model that ``config.policy`` names cannot be loaded.
    """

    Config = ExpertIterationConfig
    config: ExpertIterationConfig

    def train(
        self,
        collector: Collector,
        *,
        folder: Path | None = None,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn in rounds from the collector's customers; see ``Agent.train``."""
        config, model = self.config, self.model
        run = self.start_run(collector, folder)
        generator = torch.Generator().manual_seed(collector.seed)
        if run.state:
            model.load_weights(run.state["model"])
            generator.set_state(run.state["generator"])
        sales = self._earlier_sales(collector)
        rounds = min(config.rounds, collector.budget)

        for k in range(collector.usage.deployments, rounds):
            told = partial(_in_round, progress, k)
            share = collector.share(config.rounds)
            speakers = voices(self.policy, config.exploration)
            sold = self._sold(collector.deploy(speakers, share, progress=told))
            sales = [*sales, *sold] if config.earlier == "all" else sold
            loss = config.imitation.imitate(model, sales, generator=generator, progress=told)
            metrics = {
                "conversion": collector.curve[-1].conversion,
                "sales": len(sold),
                "imitated": len(sales),
                **({} if loss is None else {"loss": loss}),
            }
            run.rows.append({"conversations": collector.usage.conversations, **metrics})
            run.save({"model": model.weights(), "generator": generator.get_state()})
            progress(Progress(f"round {k + 1} of {rounds}", 1, 1, metrics))
        idle = [str(k + 1) for k, row in enumerate(run.rows) if not row["imitated"]]
        return run.report(notes=(_idle(idle, rounds),) if idle else ())

    def _sold(self, episodes: Sequence[Episode]) -> list[TokenisedEpisode]:
        return self.model.tokenise([episode for episode in episodes if episode.converted])

    def _earlier_sales(self, collector: Collector) -> list[TokenisedEpisode]:
        """Return the sales of a resumed run's earlier rounds, if they are imitated again."""
        if self.config.earlier == "none":
            return []
        numbers = range(collector.usage.deployments)
        return [sale for number in numbers for sale in self._sold(collector.deployed(number))]


def _idle(rounds: Sequence[str], of: int) -> str:
    return (
        f"there was no purchase to imitate in {len(rounds)} of {of} rounds "
        f"({', '.join(rounds)}), which left the policy as it was: use fewer rounds or a larger "
        "budget"
    )


def _in_round(progress: ProgressCallback, k: int, news: Progress) -> None:
    progress(replace(news, stage=f"round {k + 1}: {news.stage}"))
