"""Iterative PPO: multi-turn RL as a sequence of single-turn RLHF problems (arXiv 2511.21638).

Every round

1. deploys the policy pi_k and logs conversations;
2. fits its multi-turn action value Q(s, a) to the log (``q_function``);
3. solves the single-turn problem "prompt = a logged state, reward of a response = Q" with a KL
   penalty to pi_k (``improvement``), by default with token-level PPO. No customer is met meanwhile.

The responses that step 3 learns from are fresh ones, sampled to the logged states from the policy
as it changes, and nothing but the fitted Q judges them. That works since a member of Q learns the
customer's words too, and imagines replies (``q_function``); with a plain regression of the outcome
it did not (docs/log.md). Solvers may also learn from the logged responses themselves, whose scores
the log corrects by what really followed: see ``corrected_advantages``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from convgym.agents.improvement.problem import Improvement, SingleTurnProblem
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.batch import TokenisedEpisode, collate, tokenise
from convgym.agents.model.format import ConversationFormat, chat_format
from convgym.agents.model.logprobs import divergence, response_logprobs
from convgym.agents.model.lora import LoRA
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.sampling import SamplingConfig
from convgym.agents.model.weights import load_trained_weights, trained_weights
from convgym.agents.off_policy.gate import GateConfig, predicted_gain
from convgym.agents.protocol import TrainingReport
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.values.fitting import ValueEstimates, WeightedEpisode, diagnose, fit, importance
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.progress import Progress, ProgressCallback
from convgym.rollout import rollout
from convgym.seeds import train_seeds

_KL_SAMPLE = 128
"""Conversations on which a step's divergence is measured."""


@dataclass(frozen=True, slots=True)
class IterativePPOConfig:
    """Hyperparameters; see ``QFunctionConfig`` and the solvers of the improvement step."""

    model: str = "default"
    temperature: float = 1.0
    max_new_tokens: int = 24
    briefing: str | None = None
    """System message of a chat model; None leaves it to the model's folder."""
    lora: LoRA | None = None
    """Adapters to train in place of the model's weights."""
    rounds: int = 2
    """Deployments; the budget is split evenly among them."""
    exploration: tuple[float, ...] = (1.0,)
    """What ``temperature`` is multiplied by while a log is collected, in turn from conversation to
    conversation. The logged log-probabilities are those of what was sampled from."""
    personas: tuple[str | None, ...] = (None,)
    """System messages under which a chat model collects a log, in turn; None is its own. All that
    is learned from the log is learned under its own, and so is what it says once trained."""
    q_function: QFunctionConfig = field(default_factory=QFunctionConfig)
    improvement: Improvement = field(default_factory=TokenPPO)
    gate: GateConfig = field(default_factory=GateConfig)


@dataclass(frozen=True, slots=True)
class Round:
    """One round as an observer meets it, after its improvement step and before deployment."""

    number: int
    reference: Any
    """pi_k's model."""
    improved: Any
    """The new model, deployed or not."""
    format: ConversationFormat
    episodes: Sequence[Episode]
    """The deployment's conversations, those left out that failed."""
    log: Sequence[TokenisedEpisode]
    """The same as tokens."""
    judged: Sequence[ValueEstimates]
    """What the member of ``ensemble`` that has not seen it says of each conversation."""
    ensemble: QEnsemble
    metrics: Mapping[str, float]


class IterativePPO(LanguageModelAgent):
    """The agent: see the module's text.

    Attributes:
        observe: told every round; for measurements, to be set by whoever wants to look on.
    """

    Config = IterativePPOConfig
    config: IterativePPOConfig
    observe: Callable[[Round], None] | None = None

    def __init__(self, config: IterativePPOConfig, name: str) -> None:
        if config.rounds < 1:
            raise ConvgymError(f"iterative PPO needs at least 1 round, got {config.rounds}")
        if not config.exploration or min(config.exploration) <= 0:
            raise ConvgymError(
                f"exploration must be one or more factors above 0, got {config.exploration}"
            )
        super().__init__(config, name)
        if not config.personas or (any(config.personas) and self.policy.format.briefing is None):
            raise ConvgymError(
                "personas are one or more system messages of a chat model, or None for its own, "
                f"got {config.personas} for model {config.model!r}"
            )

    def train(
        self,
        *,
        conversations: int,
        seed: int,
        environment: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        report: ProgressCallback | None = None,
    ) -> TrainingReport:
        """Learn from at most ``conversations`` conversations; see ``Agent.train``."""
        config, policy = self.config, self.policy
        model, format = policy.model, policy.format
        run = self.start_run(conversations, seed, environment, folder)
        ensemble = QEnsemble(model, config.q_function)
        generator = torch.Generator().manual_seed(seed)
        logs: list[list[TokenisedEpisode]] = []
        if run.state:
            load_trained_weights(model, run.state["model"])
            load_trained_weights(ensemble, run.state["q_function"])
            generator.set_state(run.state["generator"])
            logs = run.state["logs"]
        speech = SamplingConfig(format, config.temperature, config.max_new_tokens)
        seeds = train_seeds(seed, conversations)
        rounds = min(config.rounds, conversations)

        def tell(stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
            if report:
                report(Progress(f"round {run.deployments}: {stage}", done, total, metrics))

        for k in range(run.deployments, rounds):
            # 1. Deploy pi_k.
            share = range(conversations * k // rounds, conversations * (k + 1) // rounds)
            episodes = deploy(
                policy,
                seeds[share.start : share.stop],
                config,
                environment=environment,
                policy_seed=seed * 1_000_003 + k,
                progress=partial(tell, "collect", total=len(share), metrics={}),
            )
            conversion = run.deployed(episodes)
            episodes = [episode for episode in episodes if episode.valid]
            log = [tokenise(episode, format) for episode in episodes]

            # 2. Fit its Q, from where the last round's left off.
            if not config.q_function.warm_start:
                ensemble = QEnsemble(model, config.q_function)
            kept = min(round(config.gate.held_out * len(log)), len(log) - 1)
            judged = fit(
                ensemble,
                log,
                earlier=reused(logs, model, speech, config.q_function),
                held_out=kept,
                pad_id=format.pad_id,
                generator=generator,
                tell=lambda done, total: tell("fit Q", done, total, {}),
            )
            # A single member has seen all but what was held out.
            unseen = slice(kept if kept and config.q_function.folds == 1 else None)

            # 3. Improve at the states that were met, but for those of the gate's conversations.
            problem = SingleTurnProblem(
                log[kept:],
                partial(ensemble.score, format=format, generator=generator),
                [corrected_advantages(*both) for both in zip(log, judged, strict=True)][kept:],
            )
            improved, metrics = config.improvement.improve(
                model, problem, speech, generator=generator, tell=partial(tell, "improve")
            )
            metrics["kl"] = divergence(
                improved, model, format, problem.log[:_KL_SAMPLE], config.temperature
            )
            gain = predicted_gain(
                improved, model, log[:kept], judged[:kept], speech, config.gate.max_ratio
            )
            deployed = gain.passes(config.gate)
            metrics = {
                "conversion": conversion,
                **diagnose(log[unseen], judged[unseen], config.q_function),
                **metrics,
                **gain.metrics(),
                "passed_gate": float(deployed),
            }
            if self.observe:
                self.observe(
                    Round(k, model, improved, format, episodes, log, judged, ensemble, metrics)
                )
            if deployed:
                load_trained_weights(model, trained_weights(improved))

            if config.q_function.reuse != "none":
                logs.append(log)
            run.rows.append({"conversations": run.conversations, **metrics})
            run.save(
                {
                    "model": trained_weights(model),
                    "q_function": trained_weights(ensemble),
                    "generator": generator.get_state(),
                    "logs": logs,
                }
            )
            tell("done", k + 1, rounds, metrics)
        return run.report()


def deploy(
    policy: LanguageModelPolicy,
    seeds: Sequence[int],
    config: IterativePPOConfig,
    *,
    environment: Mapping[str, Any] | None,
    policy_seed: int,
    progress: Callable[[int], None],
) -> list[Episode]:
    """Hold a conversation for every seed, under every persona at every temperature in turn."""
    voices = list(product(config.personas, config.exploration))
    n, done = len(voices), 0
    episodes: dict[int, Episode] = {}
    for turn, (persona, factor) in enumerate(voices):
        speaker = policy
        if persona is not None or factor != 1.0:
            format = policy.format
            speaker = LanguageModelPolicy(
                policy.model,
                format if persona is None else chat_format(format.tokenizer, persona),
                name=policy.name,
                temperature=config.temperature * factor,
                max_new_tokens=config.max_new_tokens,
            )
        places = range(turn, len(seeds), n)

        def tell(news: Progress, before: int = done) -> None:
            progress(before + news.done)

        held = rollout(
            speaker,
            [seeds[i] for i in places],
            environment=environment,
            policy_seed=policy_seed,
            progress=tell,
        )
        episodes |= dict(zip(places, held, strict=True))
        done += len(held)
    return [episodes[i] for i in range(len(seeds))]


def corrected_advantages(episode: TokenisedEpisode, judged: ValueEstimates) -> tuple[float, ...]:
    """Return the advantage of every response token of a logged conversation.

    The response's score is its lambda-return, an estimate of Q(s, a) that the fitted values and
    what followed in the log make together; from it goes the value of the state in which the token
    was chosen, V(s, tokens so far), as in token-level PPO with the score as the final reward.
    """
    turns = [turn for turn in episode.turns if turn >= 0]
    return tuple(
        judged.returns[turn] - value for turn, value in zip(turns, judged.token_values, strict=True)
    )


@torch.inference_mode()
def reused(
    logs: Sequence[Sequence[TokenisedEpisode]],
    model: Any,
    speech: SamplingConfig,
    config: QFunctionConfig,
) -> list[WeightedEpisode]:
    """Return the conversations of earlier rounds, oldest first, weighted for fitting Q."""
    weighted: list[WeightedEpisode] = []
    for age, log in zip(range(len(logs), 0, -1), logs, strict=True):
        recency = config.recency**age
        for start in range(0, len(log), 64):
            part = log[start : start + 64]
            if config.reuse == "recency":
                weighted += [WeightedEpisode(one, (recency,) * one.n_turns) for one in part]
                continue
            batch = collate(part, speech.format.pad_id)
            ratios = (
                response_logprobs(model, speech.format, batch, speech.temperature)
                - batch.logprobs[batch.response]
            )
            sizes = batch.response.sum(dim=1).tolist()
            for episode, row in zip(part, ratios.split(sizes), strict=True):
                log_ratios = [0.0] * episode.n_turns
                turns = [turn for turn in episode.turns if turn >= 0]
                for turn, ratio in zip(turns, row.tolist(), strict=True):
                    log_ratios[turn] += ratio
                weights = importance(log_ratios)
                weighted.append(WeightedEpisode(episode, tuple(recency * one for one in weights)))
    return weighted
