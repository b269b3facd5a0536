"""Iterative PPO: multi-turn RL as a sequence of single-turn RLHF problems (arXiv 2511.21638).

Every round

1. deploys the policy pi_k and logs conversations;
2. fits its multi-turn action value, Q(s, a) = V(s) + A(s, a), to the log (``q_function``);
3. solves the single-turn problem "prompt = a logged state, reward of a response = Q" by
   token-level PPO with a KL penalty to pi_k. No customer is met meanwhile.

The responses of step 3 come from two sources. The logged ones are samples of pi_k themselves, and
the log says more of them than any model: their score is the fitted Q corrected by what followed,
``Q + (G(lambda) - Q)``, that is the lambda-return through the fitted values of the states that the
customer's replies led to. Fresh ones, sampled from the policy as it changes, are scored by the
fitted A alone. Measured, the correction is what makes the method work (docs/log.md): so fresh
responses are off unless asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convgym.agents import ppo
from convgym.agents.batch import Batch, TokenisedEpisode, tokenise
from convgym.agents.conversation_format import ConversationFormat
from convgym.agents.generation import Generator, Prompt, token_logprobs
from convgym.agents.packing import Candidate, Packed, hidden_states, pack
from convgym.agents.protocol import Progress, Report, TrainingReport
from convgym.agents.q_function import QFunction, QFunctionConfig, first_tokens, fit
from convgym.agents.scoring import response_logprobs
from convgym.agents.training import LanguageModelAgent, batches, shuffled
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.seeds import train_seeds

Tell = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True, slots=True)
class ImprovementConfig:
    """The single-turn PPO step. KL divergences are in nats per response, from pi_k."""

    epochs: int = 2
    """Passes over the logged responses."""
    minibatch: int = 32
    """Conversations per optimiser step."""
    fresh_steps: int = 0
    """Batches of fresh responses after that."""
    fresh_conversations: int = 64
    """Logged conversations per batch of fresh responses; every one of their states is a prompt."""
    fresh_samples: int = 2
    """Fresh responses per state, at least 2."""
    learning_rate: float = 3e-4
    clip: float = 0.2
    kl_coefficient: float = 0.02
    """Weight per token of the KL divergence on logged responses, by the estimator k2."""
    fresh_kl_coefficient: float = 0.5
    """Weight per token of the exact KL divergence on fresh responses."""
    target_kl: float = 1.5
    """The step ends where a pass or a batch shows this divergence."""
    max_gradient_norm: float = 1.0


@dataclass(frozen=True, slots=True)
class IterativePPOConfig:
    """Hyperparameters; see ``QFunctionConfig`` and ``ImprovementConfig`` for the two steps."""

    model: str = "default"
    temperature: float = 1.0
    max_new_tokens: int = 24
    rounds: int = 6
    """Deployments; the budget is split evenly among them."""
    q_function: QFunctionConfig = field(default_factory=QFunctionConfig)
    improvement: ImprovementConfig = field(default_factory=ImprovementConfig)


class IterativePPO(LanguageModelAgent):
    """The agent: see the module's text."""

    config: IterativePPOConfig

    def __init__(self, config: IterativePPOConfig, name: str) -> None:
        if config.rounds < 1:
            raise ConvgymError(f"iterative PPO needs at least 1 round, got {config.rounds}")
        if config.improvement.fresh_samples < 2:
            raise ConvgymError(
                "fresh_samples must be at least 2, as scores are compared within a state, "
                f"got {config.improvement.fresh_samples}"
            )
        super().__init__(config, name)

    def train(
        self,
        *,
        conversations: int,
        seed: int,
        environment: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        report: Report | None = None,
    ) -> TrainingReport:
        """Learn from at most ``conversations`` conversations; see ``Agent.train``."""
        config, policy = self.config, self.policy
        model, format = policy.model, policy.format
        run = self.start_run(conversations, seed, environment, folder)
        q_function = QFunction(model)
        generator = torch.Generator().manual_seed(seed)
        if run.state:
            model.load_state_dict(run.state["model"])
            q_function.load_state_dict(run.state["q_function"])
            generator.set_state(run.state["generator"])
        seeds = train_seeds(seed, conversations)
        rounds = min(config.rounds, conversations)

        def tell(stage: str, done: int, *, total: int, metrics: Mapping[str, float]) -> None:
            if report:
                report(Progress(f"round {run.deployments}: {stage}", done, total, metrics))

        for k in range(run.deployments, rounds):
            # 1. Deploy pi_k.
            share = range(conversations * k // rounds, conversations * (k + 1) // rounds)
            episodes = rollout(
                policy,
                seeds[share.start : share.stop],
                environment=environment,
                policy_seed=seed * 1_000_003 + k,
                progress=partial(tell, "collect", total=len(share), metrics={}),
            )
            conversion = run.deployed(episodes)
            log = [tokenise(episode, format) for episode in episodes if episode.valid]

            # 2. Fit its Q, from where the last round's left off.
            fitted = fit(
                q_function,
                log,
                config.q_function,
                language_head=model.get_output_embeddings(),
                pad_id=format.pad_id,
                generator=generator,
                tell=lambda done, total: tell("fit Q", done, total=total, metrics={}),
            )

            # 3. Improve at the states that were met.
            improved = improve(
                model,
                format,
                log,
                q_function,
                config,
                generator=generator,
                tell=lambda done, total, metrics: tell(
                    "improve", done, total=total, metrics=metrics
                ),
            )
            metrics = {"conversion": conversion, **fitted, **improved}
            run.rows.append({"conversations": run.conversations, **metrics})
            run.save(
                {
                    "model": model.state_dict(),
                    "q_function": q_function.state_dict(),
                    "generator": generator.get_state(),
                }
            )
            tell("done", k + 1, total=rounds, metrics=metrics)
        return run.report()


def improve(
    model: Any,
    format: ConversationFormat,
    log: Sequence[TokenisedEpisode],
    q_function: QFunction,
    config: IterativePPOConfig,
    *,
    generator: torch.Generator,
    tell: Tell = lambda done, total, metrics: None,
) -> dict[str, float]:
    """Improve ``model`` in place by single-turn PPO at the states of ``log``; return metrics."""
    step = config.improvement
    # Only fresh responses need pi_k itself; the log has kept its log-probabilities.
    reference = copy.deepcopy(model) if step.fresh_steps else None
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=step.learning_rate, weight_decay=0.0, fused=True
    )
    minibatches = batches(log, step.minibatch, format.pad_id)
    scores = [_corrected_scores(q_function, batch, config.q_function) for batch in minibatches]
    metrics: dict[str, float] = {}
    total = step.epochs + step.fresh_steps
    for number in range(total):
        if number < step.epochs:
            metrics |= _logged_pass(
                model, format, minibatches, scores, config, optimizer, generator
            )
        else:
            metrics |= _fresh_batch(
                model, reference, format, log, q_function, config, optimizer, generator
            )
        tell(number + 1, total, metrics)
        if metrics["kl"] > step.target_kl:
            break
    return metrics


def _logged_pass(
    model: Any,
    format: ConversationFormat,
    minibatches: Sequence[Batch],
    scores: Sequence[Tensor],
    config: IterativePPOConfig,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> dict[str, float]:
    """Take one pass of PPO over the logged responses, whole conversations at a time."""
    step = config.improvement
    everything = torch.cat(list(scores))
    mean, deviation = everything.mean(), everything.std(correction=0) + 1e-8
    kl_sum = clip_sum = 0.0
    for i in shuffled(len(minibatches), generator):
        batch = minibatches[i]
        old = batch.logprobs[batch.response]
        logprobs = response_logprobs(model, format, batch, config.temperature)
        kl = ppo.k2(logprobs, old)  # the log was written by pi_k
        advantages = (scores[i] - mean) / deviation
        loss = ppo.clipped_surrogate(logprobs, old, advantages, step.clip).mean()
        _descend(loss + step.kl_coefficient * kl.mean(), model, optimizer, step)
        kl_sum += float(kl.detach().sum()) / int(first_tokens(batch).sum())
        clip_sum += float(ppo.clip_fraction(logprobs.detach(), old, step.clip))
    return {"kl": kl_sum / len(minibatches), "clip_fraction": clip_sum / len(minibatches)}


@torch.inference_mode()
def _corrected_scores(q_function: QFunction, batch: Batch, config: QFunctionConfig) -> Tensor:
    """Return the advantage (N,) of every token of the logged responses.

    The response's score is its lambda-return, an estimate of Q(s, a) that the fitted values and
    what followed in the log make together; from it goes the value of the state in which the token
    was chosen, V(s, tokens so far), as in token-level PPO with the score as the final reward.
    """
    values = torch.nn.functional.pad(
        q_function.values(q_function(batch.ids)[:, :-1]).sigmoid(), (1, 0)
    )
    rewards = ppo.final_rewards(batch.outcomes, batch.response)
    advantages = ppo.gae(
        rewards, values, batch.turns, gamma=config.gamma, gae_lambda=config.return_lambda
    )
    return advantages[batch.response]


def _fresh_batch(
    model: Any,
    reference: Any,
    format: ConversationFormat,
    log: Sequence[TokenisedEpisode],
    q_function: QFunction,
    config: IterativePPOConfig,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> dict[str, float]:
    """Sample fresh responses to logged states, score them by A, and take PPO steps on them."""
    step = config.improvement
    forbidden = torch.tensor(format.forbidden_ids, dtype=torch.long)

    def distributions(network: Any, packed: Packed) -> Tensor:
        chosen = hidden_states(network.base_model, packed)[packed.rows, packed.parents]
        logits = network.get_output_embeddings()(chosen)
        return token_logprobs(logits, forbidden, config.temperature)

    met = [log[i] for i in shuffled(len(log), generator)[: step.fresh_conversations]]
    sampler = Generator(
        model, format.end_id, format.forbidden_ids, config.temperature, config.max_new_tokens
    )
    pairs = list(zip(met, _sample(sampler, met, step.fresh_samples, generator), strict=True))
    packs = [
        pack(pairs[i : i + step.minibatch], format.pad_id)
        for i in range(0, len(pairs), step.minibatch)
    ]
    scores = torch.cat([q_function.score(packed) for packed in packs])
    groups = scores.view(-1, step.fresh_samples)
    # Centred within each state: differences between states are no merit of a response.
    centred = groups - groups.mean(dim=1, keepdim=True)
    scaled = (centred / (centred.std() + 1e-8)).flatten()
    sizes = [len(packed.end_rows) for packed in packs]
    kl_sum = 0.0
    for packed, advantages in zip(packs, scaled.split(sizes), strict=True):
        with torch.inference_mode():
            anchor = distributions(reference, packed)
        current = distributions(model, packed)
        tokens = packed.ids[packed.rows, packed.columns]
        logprobs = current.gather(1, tokens[:, None])[:, 0]
        # The divergence of each token's distribution; forbidden tokens are -inf - -inf.
        kl = (current.exp() * (current - anchor).nan_to_num(0.0)).sum(-1)
        loss = ppo.clipped_surrogate(
            logprobs, packed.logprobs, advantages[packed.response], step.clip
        ).mean()
        _descend(loss + step.fresh_kl_coefficient * kl.mean(), model, optimizer, step)
        kl_sum += float(kl.detach().sum())
    return {
        "kl": kl_sum / len(scores),
        "fresh_score": float(scores.mean()),
        "fresh_score_sd_within_states": float(groups.std(dim=1).mean()),
    }


def _descend(
    loss: Tensor, model: Any, optimizer: torch.optim.Optimizer, step: ImprovementConfig
) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), step.max_gradient_norm)
    optimizer.step()


def _sample(
    sampler: Generator,
    conversations: Sequence[TokenisedEpisode],
    samples: int,
    generator: torch.Generator,
) -> list[list[Candidate]]:
    """Sample responses to every state of every conversation."""
    prompts, places = [], []
    for number, episode in enumerate(conversations):
        for turn in range(max(episode.turns) + 1):
            ids = episode.ids[: episode.turns.index(turn)]
            prompts += [Prompt((), ids)] * samples
            places += [(number, turn)] * samples
    candidates: list[list[Candidate]] = [[] for _ in conversations]
    for (number, turn), sample in zip(places, sampler.sample(prompts, generator), strict=True):
        candidates[number].append(Candidate(turn, sample.token_ids, sample.token_logprobs))
    return candidates
