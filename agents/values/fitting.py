"""Fitting Q to logged conversations: policy evaluation as regression (arXiv 2511.21638, Obs. 2).

Targets of a turn with return G, from a log of the policy whose Q is wanted:

- V, at the state and after every token of the response but the last: G by Monte Carlo;
- Q, after the last token: the lambda-return G(lambda) through V after the customer's replies.
  Monte Carlo regression, the paper's, for lambda 1; a SARSA-style fit for lambda 0. In the dueling
  form the advantage head is fitted to ``G(lambda) - V(s)`` instead;
- V, after the customer's last words: the outcome;
- the customer's words: themselves.

Cross-fitting (Chernozhukov et al. 2018): the log is split into folds, each member is fitted to all
folds but one, and what is logged is judged by the member that has not seen it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from convgym.agents.model.batch import Batch, TokenisedEpisode, first_tokens, last_tokens
from convgym.agents.model.forward import shared_length
from convgym.agents.model.minibatches import neighbours, shuffled
from convgym.agents.training import losses
from convgym.agents.training.optim import Optimiser
from convgym.agents.values.diagnostics import auc, calibration
from convgym.agents.values.estimates import ValueEstimates
from convgym.agents.values.q_function import QEnsemble, QFunction, QFunctionConfig
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class WeightedEpisode:
    """A logged conversation and what each of its turns counts in a fit."""

    episode: TokenisedEpisode
    weights: tuple[float, ...]


def lambda_returns(
    values: Sequence[float], outcome: float, *, gamma: float, return_lambda: float
) -> list[float]:
    """Return the lambda-return of every turn of one conversation.

    With n turns and V(s_n) = outcome, the only reward, at the end::

        G_i = gamma_i ((1 - lambda) V(s_{i+1}) + lambda G_{i+1}),   G_{n-1} = outcome

    where gamma_i is gamma for all turns but the last (the outcome comes with the last turn).

    Args:
        values: V(s_0) .. V(s_{n-1}), seen before each response.
        outcome: 1.0 for a purchase, else 0.0.
        gamma: discount per turn.
        return_lambda: 1 for Monte Carlo, 0 for one-step bootstrapping.
    """
    returns = [outcome]
    for value in reversed(values[1:]):
        returns.append(gamma * ((1 - return_lambda) * value + return_lambda * returns[-1]))
    return returns[::-1]


def judge(member: QFunction, episodes: Sequence[TokenisedEpisode]) -> list[ValueEstimates]:
    """Return what a member says of every episode."""
    config = member.config
    judged: list[ValueEstimates] = []
    size = member.model.batch_sizes.reading
    for start in range(0, len(episodes), size):
        part = episodes[start : start + size]
        batch = member.model.collate(part)
        tokens, advantages = member.read(batch)
        begins = first_tokens(batch)
        per_token = tokens.split(batch.response.sum(dim=1).tolist())
        per_turn = advantages.split(begins.sum(dim=1).tolist())
        for row, episode in enumerate(part):
            values = per_token[row][begins[row][batch.response[row]]].tolist()
            returns = lambda_returns(
                values, episode.outcome, gamma=config.gamma, return_lambda=config.return_lambda
            )
            judged.append(
                ValueEstimates(
                    tuple(per_token[row].tolist()),
                    tuple(values),
                    tuple(per_turn[row].tolist()),
                    tuple(returns),
                )
            )
    return judged


def fit(
    ensemble: QEnsemble,
    episodes: Sequence[TokenisedEpisode],
    *,
    earlier: Sequence[WeightedEpisode] = (),
    held_out: int = 0,
    generator: torch.Generator,
    progress: ProgressCallback = no_progress,
) -> list[ValueEstimates]:
    """Fit every member to its part of the log, in place.

    Args:
        ensemble: fitted further from where it is: a warm start.
        episodes: the log of the present policy.
        earlier: conversations of earlier rounds, for all members.
        held_out: with a single fold, so many episodes at the beginning are left out of the fit.
        generator: order of minibatches and the folds.
        progress: told the members that are done.

    Returns:
        What the member that has not seen it says of each episode; with a single fold, what the
        only member says, which has seen all that were not held out.
    """
    n = len(episodes)
    if ensemble.config.folds == 1:
        folds = [0] * held_out + [-1] * (n - held_out)
    else:
        folds = [i % ensemble.config.folds for i in shuffled(n, generator)]
    present = [WeightedEpisode(episode, (1.0,) * episode.n_turns) for episode in episodes]
    judged: dict[int, ValueEstimates] = {}
    for fold, member in enumerate(ensemble):
        training = [
            weighted for weighted, other in zip(present, folds, strict=True) if other != fold
        ]
        _fit_member(member, [*training, *earlier], generator)
        progress(Progress("fit Q", fold + 1, ensemble.config.folds))
        unseen = [i for i, other in enumerate(folds) if other in (fold, -1)]
        opinions = judge(member, [episodes[i] for i in unseen])
        judged |= dict(zip(unseen, opinions, strict=True))
    return [judged[i] for i in range(n)]


def _fit_member(
    member: QFunction, training: Sequence[WeightedEpisode], generator: torch.Generator
) -> None:
    config, device = member.config, member.model.device
    episodes = [weighted.episode for weighted in training]
    trained = [parameter for parameter in member.parameters() if parameter.requires_grad]
    optimiser = Optimiser(trained, config.learning_rate, config.max_gradient_norm, 0.01)
    fitted = member.fitted
    if episodes and not fitted:
        member.expect(sum(episode.outcome for episode in episodes) / len(episodes))
    parts = neighbours(episodes, config.minibatch)
    epochs = epochs_of(config, len(parts), fitted=fitted)
    done, total = 0, epochs * len(parts)
    for _ in range(epochs):
        targets = _targets(member, episodes)
        flat = torch.tensor([d for row in targets for d in row.differences], device=device)
        variance = float(flat.var(correction=0)) + 1e-8 if len(flat) else 1.0
        for number in shuffled(len(parts), generator):
            part = parts[number]
            batch = member.model.collate([episodes[i] for i in part], endings=True)
            weights = torch.tensor([w for i in part for w in training[i].weights], device=device)
            returns = torch.tensor([g for i in part for g in targets[i].returns], device=device)
            hidden = member(batch.ids)
            loss = _value_loss(member, hidden, batch, weights, returns)
            if config.form == "dueling" and config.advantage_weight:
                differences = [d for i in part for d in targets[i].differences]
                after = hidden[last_tokens(batch)]
                target = torch.tensor(differences, device=device)
                error = (member.advantages(after, after) - target).square()
                weight = config.advantage_weight / variance
                loss = loss + weight * _weighted_mean(error, weights)
            if config.reply_weight:
                loss = loss + config.reply_weight * _reply_loss(member, hidden, batch)
            optimiser.schedule(1 - done / total)
            optimiser.step(loss)
            done += 1


def epochs_of(config: QFunctionConfig, minibatches: int, *, fitted: bool) -> int:
    """Return how often a fit goes over a log of so many minibatches: a first fit at least so long.

    From nothing, values need steps rather than passes, however small the log is.
    """
    if fitted or not minibatches or not config.epochs:
        return config.epochs
    return max(config.epochs, math.ceil(config.first_steps / minibatches))


@dataclass(frozen=True, slots=True)
class _Targets:
    """What the heads are fitted to on one conversation."""

    returns: Sequence[float]
    """The lambda-return of every turn."""
    differences: Sequence[float] = ()
    """``G(lambda) - V(s)`` of every turn, for an advantage head."""


def _targets(member: QFunction, episodes: Sequence[TokenisedEpisode]) -> list[_Targets]:
    """Return the targets of Q, by the member as it is now; Monte Carlo returns need no member."""
    config = member.config
    if config.form == "direct" and config.return_lambda == 1:
        return [
            _Targets(
                lambda_returns(
                    (0.0,) * episode.n_turns, episode.outcome, gamma=config.gamma, return_lambda=1.0
                )
            )
            for episode in episodes
        ]
    return [
        _Targets(
            estimates.returns,
            [g - v for g, v in zip(estimates.returns, estimates.values, strict=True)],
        )
        for estimates in judge(member, episodes)
    ]


def _value_loss(
    member: QFunction, hidden: Tensor, batch: Batch, weights: Tensor, returns: Tensor
) -> Tensor:
    """Return the loss of V at every state and token and at the end, and of Q in the direct form.

    ``weights`` and ``returns`` (R,) are the turns' weights and lambda-returns.
    """
    config = member.config
    begins = first_tokens(batch)
    turn = begins.flatten().cumsum(0).view(batch.turns.shape) - 1
    chosen = batch.response[:, 1:]
    discounted = losses.discounted_outcomes(batch.outcomes, batch.turns, config.gamma)
    final = last_tokens(batch)
    last_turns = begins.sum(1).cumsum(0) - 1
    ended = batch.response.any(1)
    rows = torch.arange(len(batch), device=hidden.device)
    raws = [
        member.raw_values(hidden[:, :-1][chosen]),
        member.raw_values(hidden[rows, batch.lengths - 1])[ended],
    ]
    targets = [discounted[:, 1:][chosen], batch.outcomes[ended]]
    emphasis = torch.where(begins[:, 1:][chosen], config.state_weight, 1.0)
    counts = [
        emphasis * weights[turn[:, 1:][chosen]],
        config.state_weight * weights[last_turns[ended]],
    ]
    if config.form == "direct":
        raws.append(member.raw_values(hidden[final]))
        targets.append(returns)
        counts.append(config.state_weight * weights)
    raw, target, weight = torch.cat(raws), torch.cat(targets), torch.cat(counts)
    bce = config.loss == "bce"
    errors = losses.outcome_loss(raw, target) if bce else (raw - target).square()
    return _weighted_mean(errors, weight)


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    # A minibatch in which nothing counts any more is no news.
    return (weights * values).sum() / weights.sum().clamp(min=1e-8)


def _reply_loss(member: QFunction, hidden: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the customer's tokens; a system message that all rows share is none."""
    customer = (batch.present & ~batch.response)[:, max(1, shared_length(batch.ids)) :]
    first = batch.ids.shape[1] - customer.shape[1]
    logits = member.model.word_logits(hidden[:, first - 1 : -1][customer])
    return functional.cross_entropy(logits, batch.ids[:, first:][customer])


def corrected_advantages(episode: TokenisedEpisode, estimates: ValueEstimates) -> tuple[float, ...]:
    """Return the advantage of every response token of a logged conversation.

    The response's score is its lambda-return, an estimate of Q(s, a) that the fitted values and
    what followed in the log make together; from it goes the value of the state in which the token
    was chosen, V(s, tokens so far), as in token-level PPO with the score as the final reward.
    """
    turns = [turn for turn in episode.turns if turn >= 0]
    return tuple(
        estimates.returns[turn] - value
        for turn, value in zip(turns, estimates.token_values, strict=True)
    )


def diagnose(
    episodes: Sequence[TokenisedEpisode], judged: Sequence[ValueEstimates], config: QFunctionConfig
) -> dict[str, float]:
    """Return what a fit is worth on conversations that it has not seen.

    Returns:
        ``value_loss`` (nats, or squared error) beside ``constant_loss``, that of the mean return;
        ``value_r2``, the share of the returns' variance that V explains; ``advantage_r2``, the
        share of the variance of G(lambda) - V that A explains; of Q = V + A as a predictor of
        single outcomes ``calibration_error``, the mean of ``|predicted - observed|`` over ten bins,
        and ``auc``, which is left out where all conversations ended alike.
    """
    cpu = torch.device("cpu")
    value = torch.tensor([v for estimates in judged for v in estimates.values], device=cpu)
    advantage = torch.tensor([a for estimates in judged for a in estimates.advantages], device=cpu)
    returns = torch.tensor([g for estimates in judged for g in estimates.returns], device=cpu)
    target = returns - value
    outcome = torch.tensor(
        [
            episode.outcome * config.gamma ** (episode.n_turns - 1 - turn)
            for episode in episodes
            for turn in range(episode.n_turns)
        ],
        device=cpu,
    )
    mean = outcome.mean().expand_as(outcome)

    def loss(predicted: Tensor) -> float:
        if config.loss == "mse":
            return float((predicted - outcome).square().mean())
        return float(functional.binary_cross_entropy(predicted.clamp(0, 1), outcome))

    def r2(predicted: Tensor, true: Tensor) -> float:
        residual = float((predicted - true).square().mean())
        return 1 - residual / (float(true.var(correction=0)) + 1e-8)

    q, success = (value + advantage).numpy(), outcome.numpy()
    ranking = auc(q, success)
    return {
        "value_loss": loss(value),
        "constant_loss": loss(mean),
        "value_r2": r2(value, outcome),
        "advantage_r2": r2(advantage, target),
        "advantage_sd": float(advantage.std(correction=0)),
        "target_sd": float(target.std(correction=0)),
        "calibration_error": calibration(q, success).expected_error,
        **({} if math.isnan(ranking) else {"auc": ranking}),
    }
