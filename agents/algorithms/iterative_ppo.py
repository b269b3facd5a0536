"""Iterative PPO: multi-turn RL as a sequence of single-turn RLHF problems (arXiv 2511.21638).

Every round

1. ``collect``: the policy pi_k holds conversations with customers, a deployment;
2. ``fit_q``: its multi-turn action value Q(s, a) is fitted to that log (``values``);
3. ``improve`` (``off_policy.step``): a copy of pi_k imitates the log's sold conversations
   (``imitation``), and from there the single-turn problem "prompt = a logged state, reward of a
   response = Q" is solved with a KL penalty to that copy (``improvement``), by default with
   token-level PPO. No customer is met meanwhile;
4. ``gate``: what the new policy gains is estimated from conversations that step 3 has not seen;
5. ``deploy``: it replaces the old one if the estimate speaks for it.

Imitation is not in the paper: outcomes carry no error of Q, and Q carries what one bit a
conversation cannot say, so the two make a larger step than either (docs/log.md).
``imitation={"epochs": 0}`` leaves it out.

The responses that PPO learns from are fresh ones, sampled to the logged states from the policy
as it changes, and nothing but the fitted Q judges them. A member of Q learns the customer's words
too, and imagines replies (``values.q_function``). With a plain regression of the outcome, the
letter of the paper, a first step gained less, and earlier versions collapsed (docs/log.md); what
else differs from the paper is a table in docs/agents.md. Solvers may also learn from the logged
responses themselves, whose scores the log corrects by what really followed
(``values.fitting.corrected_advantages``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from convgym.agents.improvement.problem import Improvement, watch_nothing
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.weights import load_trained_weights, trained_weights
from convgym.agents.off_policy.gate import GateConfig
from convgym.agents.off_policy.step import gate, improve
from convgym.agents.protocol import TrainingReport
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.collector import Collector
from convgym.agents.training.exploration import check_exploration, voices
from convgym.agents.training.imitation import Imitation
from convgym.agents.values.fitted import FittedQ, fit_q
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.checks import check_fields
from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class IterativePPOConfig:
    """Hyperparameters; see ``QFunctionConfig`` and the solvers of the improvement step."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    rounds: int = 4
    """Deployments; the budget is split evenly among them."""
    exploration: tuple[float, ...] = (1.0,)
    """What the temperature is multiplied by while a log is collected, in turn from conversation to
    conversation. The logged log-probabilities are those of what was sampled from."""
    personas: tuple[str | None, ...] = (None,)
    """System messages under which a chat model collects a log, in turn; None is its own. All that
    is learned from the log is learned under its own, and so is what it says once trained."""
    q_function: QFunctionConfig = field(default_factory=QFunctionConfig)
    imitation: Imitation = field(default_factory=Imitation)
    """Of the sold conversations, before the improvement step."""
    improvement: Improvement = field(default_factory=TokenPPO)
    """The solver of a round's single-turn problem; others by name, or as a mapping with their name:
    ``convgym list improvements``."""
    gate: GateConfig = field(default_factory=GateConfig)

    def __post_init__(self) -> None:
        check_fields(self, counts_from_zero=("rounds",))
        if self.rounds < 1:
            raise ConvgymError(f"iterative PPO needs at least 1 round, got {self.rounds}")
        check_exploration(self.exploration, self.policy.temperature)
        if not self.personas:
            raise ConvgymError("personas must be one or more system messages, or None for its own")


@dataclass(frozen=True, slots=True)
class Round:
    """One round as an observer meets it, after its improvement step and before deployment."""

    number: int
    reference: LanguageModel
    """pi_k."""
    improved: LanguageModel
    """The new model, deployed or not."""
    episodes: Sequence[Episode]
    """The deployment's conversations, those left out that failed."""
    fitted: FittedQ
    metrics: Mapping[str, float]


class RoundObserver(Protocol):
    """Looks on while an agent learns; models are to be read or copied only."""

    def after_pass(self, model: LanguageModel) -> None:
        """See the policy after every pass or batch of an improvement step."""

    def after_round(self, finished: Round) -> None:
        """See a round."""


class IterativePPO(LanguageModelAgent):
    """Iterative PPO (arXiv 2511.21638, Algorithm 1): a few deployments, single-turn RLHF between.

    With s a conversation that it is the seller's turn in, a a whole response, and Q_k the fitted
    multi-turn action value of the deployed policy pi_k::

        pi_{k+1} = argmax over pi of  E_{s in log, a ~ pi} Q_k(s, a) - beta KL(pi, pi_k)

    which is one step of policy improvement (Theorem 1). Needs ``config.rounds`` deployments;
    ``q_function.imagined``, ``improvement`` and ``rounds`` matter most.

    Attributes:
        observer: shown every pass and round; for measurements, set by whoever wants to look on.

    Raises:
        ConvgymError: when the model that ``config.policy`` names cannot be loaded, or is no chat
            model and personas are given.
    """

    Config = IterativePPOConfig
    config: IterativePPOConfig
    observer: RoundObserver | None = None

    def __init__(self, config: IterativePPOConfig, name: str) -> None:
        super().__init__(config, name)
        if any(config.personas) and self.model.format.system_message is None:
            raise ConvgymError(
                "personas are system messages of a chat model, or None for its own, got "
                f"{config.personas} for model {config.policy.model!r}"
            )

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
        ensemble = QEnsemble(model, config.q_function)
        generator = torch.Generator().manual_seed(collector.seed)
        if run.state:
            model.load_weights(run.state["model"])
            load_trained_weights(ensemble, run.state["q_function"])
            generator.set_state(run.state["generator"])
        earlier = self._earlier_logs(collector)
        rounds = min(config.rounds, collector.budget)

        for k in range(collector.usage.deployments, rounds):
            told = partial(_in_round, progress, k)
            episodes = collect(
                self.policy, collector, collector.share(config.rounds), config, progress=told
            )
            if not config.q_function.warm_start:
                ensemble = QEnsemble(model, config.q_function)
            fitted = fit_q(
                model,
                ensemble,
                episodes,
                held_out=config.gate.held_out,
                generator=generator,
                earlier=earlier,
                progress=told,
            )
            watch = self.observer.after_pass if self.observer else watch_nothing
            improved, metrics = improve(model, fitted, config, generator, told, watch)
            gain = gate(improved, model, fitted, config.gate)
            metrics = {
                "conversion": collector.curve[-1].conversion,
                **fitted.metrics,
                **metrics,
                **gain.metrics(),
                "passed_gate": float(gain.passes(config.gate)),
                "gate_judged": float(gain.verdict(config.gate) != "cannot judge"),
            }
            if self.observer:
                self.observer.after_round(Round(k, model, improved, episodes, fitted, metrics))
            if gain.passes(config.gate):
                deploy(improved, self.policy)

            if config.q_function.reuse != "none":
                earlier.append(list(fitted.log))
            run.rows.append({"conversations": collector.usage.conversations, **metrics})
            run.save(
                {
                    "model": model.weights(),
                    "q_function": trained_weights(ensemble),
                    "generator": generator.get_state(),
                }
            )
            progress(Progress(f"round {k + 1} of {rounds}", 1, 1, metrics))
        return run.report(notes=_taken_back(run.rows))

    def _earlier_logs(self, collector: Collector) -> list[list[TokenisedEpisode]]:
        """Return the logs of a resumed run's earlier rounds, if they are fitted again."""
        if self.config.q_function.reuse == "none":
            return []
        return [
            self.model.tokenise(collector.deployed(number))
            for number in range(collector.usage.deployments)
        ]


def collect(
    policy: LanguageModelPolicy,
    collector: Collector,
    conversations: int,
    config: IterativePPOConfig,
    *,
    progress: ProgressCallback = no_progress,
) -> list[Episode]:
    """Deploy pi_k, under every persona at every temperature in turn; failures are left out."""
    speakers = voices(policy, config.exploration, config.personas)
    episodes = collector.deploy(speakers, conversations, progress=progress)
    return [episode for episode in episodes if episode.valid]


def deploy(improved: LanguageModel, policy: LanguageModelPolicy) -> None:
    """Have the policy speak with the new weights from now on."""
    policy.model.load_weights(improved.weights())


def _taken_back(rows: Sequence[Mapping[str, float]]) -> tuple[str, ...]:
    back = [str(k + 1) for k, row in enumerate(rows) if row.get("taken_back")]
    if not back:
        return ()
    return (
        f"{len(back)} of {len(rows)} improvement steps (round {', '.join(back)}) went beyond their "
        "target_kl and ended early, back at the last weights within",
    )


def _in_round(progress: ProgressCallback, k: int, news: Progress) -> None:
    # Conversations are held before the round has begun to learn.
    number = k if news.stage == "collect" else k + 1
    progress(replace(news, stage=f"round {number}: {news.stage}"))
