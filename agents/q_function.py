"""The multi-turn action value Q(s, a), fitted to logged conversations.

Iterative PPO's reward model (arXiv 2511.21638, Observation 2). A plain regression of the outcome
on (state, response) is nearly blind to what the improvement step needs, the differences between
responses to one state, because the differences between states are so much larger. So Q is fitted
in the dueling form Q(s, a) = V(s) + A(s, a):

- V by Monte Carlo: binary cross-entropy on the outcome at every state and response token;
- A by regression on ``G(lambda) - V(s)``, whose variance is that within states plus noise, where
  G(lambda) is the lambda-return through the states that the customer's replies led to: the reply
  tells more about a response than the final outcome does.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from convgym.agents import ppo
from convgym.agents.batch import Batch, TokenisedEpisode, collate
from convgym.agents.packing import Packed, hidden_states


@dataclass(frozen=True, slots=True)
class QFunctionConfig:
    """How Q is fitted. Symbols as in the module's text."""

    return_lambda: float = 0.9
    """Lambda of the lambda-return: 1 is Monte Carlo, 0 trusts V after one reply."""
    gamma: float = 1.0
    """Discount per turn."""
    epochs: int = 2
    minibatch: int = 32
    """Conversations per optimiser step."""
    learning_rate: float = 1e-3
    advantage_weight: float = 1.0
    """Weight of the advantage's loss, in units of its targets' variance, beside V's."""
    reply_weight: float = 0.0
    """Weight of predicting the customer's replies, an auxiliary task that shapes the body."""
    held_out: float = 0.1
    """Share of conversations kept for the diagnostics and never fitted."""
    max_gradient_norm: float = 1.0


class QFunction(nn.Module):
    """V(s) as log-odds of a purchase and A(s, a) as a difference of probabilities.

    Args:
        model: the language model whose body is copied.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.body = copy.deepcopy(model.base_model)
        width = model.config.get_text_config().hidden_size
        self.value_head = nn.Linear(width, 1)
        self.advantage_head = nn.Linear(width, 1)
        for head in (self.value_head, self.advantage_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the hidden states (B, T, width) of conversations padded at the right."""
        hidden: Tensor = self.body(input_ids=ids, use_cache=False).last_hidden_state
        return hidden

    def values(self, hidden: Tensor) -> Tensor:
        """Return the log-odds (...) of a purchase after what ``hidden`` (..., width) has read."""
        logits: Tensor = self.value_head(hidden)[..., 0]
        return logits

    def advantages(self, hidden: Tensor) -> Tensor:
        """Return A(s, a) (...) from hidden states (..., width) at the ends of responses."""
        values: Tensor = self.advantage_head(hidden)[..., 0]
        return values

    @torch.inference_mode()
    def score(self, packed: Packed) -> Tensor:
        """Return A(s, a) (R,) for every candidate response."""
        hidden = hidden_states(self.body, packed)
        return self.advantages(hidden[packed.end_rows, packed.end_columns])

    @torch.inference_mode()
    def state_values(self, batch: Batch) -> Tensor:
        """Return V(s) (S,) as probabilities, for all states, row after row."""
        before = self(batch.ids)[:, :-1][first_tokens(batch)[:, 1:]]
        return self.values(before).sigmoid()


def first_tokens(batch: Batch) -> Tensor:
    """Return where (B, T) a response begins; the token before it ends the state."""
    before = functional.pad(batch.turns[:, :-1], (1, 0), value=-1)
    return batch.response & (batch.turns != before)


def last_tokens(batch: Batch) -> Tensor:
    """Return where (B, T) a response ends."""
    after = functional.pad(batch.turns[:, 1:], (0, 1), value=-1)
    return batch.response & (batch.turns != after)


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


def targets(
    q_function: QFunction,
    episodes: Sequence[TokenisedEpisode],
    config: QFunctionConfig,
    pad_id: int,
) -> tuple[list[list[float]], list[list[float]]]:
    """Return V(s) and the lambda-returns of every turn of every episode."""
    values: list[list[float]] = []
    returns: list[list[float]] = []
    for start in range(0, len(episodes), 64):
        part = episodes[start : start + 64]
        batch = collate(part, pad_id)
        counts = first_tokens(batch).sum(dim=1).tolist()
        for episode, found in zip(part, q_function.state_values(batch).split(counts), strict=True):
            values.append(found.tolist())
            returns.append(
                lambda_returns(
                    values[-1],
                    episode.outcome,
                    gamma=config.gamma,
                    return_lambda=config.return_lambda,
                )
            )
    return values, returns


def fit(
    q_function: QFunction,
    episodes: Sequence[TokenisedEpisode],
    config: QFunctionConfig,
    *,
    language_head: nn.Module,
    pad_id: int,
    generator: torch.Generator,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Fit Q to logged conversations in place and return held-out diagnostics.

    Args:
        q_function: fitted further from where it is: a warm start.
        episodes: the log.
        config: hyperparameters.
        language_head: from hidden states to token logits, for the auxiliary task.
        pad_id: the padding token.
        generator: order of minibatches and choice of held-out conversations.
        tell: called with steps done and in total.

    Returns:
        ``value_loss`` (nats) beside ``constant_loss``, that of the held-out base rate;
        ``advantage_r2``, the share of the held-out targets' variance that A explains.
    """
    order = torch.randperm(len(episodes), generator=generator).tolist()
    cut = max(1, round(config.held_out * len(order)))
    held_out = [episodes[i] for i in order[:cut]]
    training = sorted((episodes[i] for i in order[cut:]), key=lambda episode: len(episode.ids))
    optimizer = torch.optim.AdamW(
        q_function.parameters(), lr=config.learning_rate, weight_decay=0.01, fused=True
    )
    # Neighbours in length share a minibatch: little padding, and the order of minibatches random.
    parts = [
        list(range(start, min(start + config.minibatch, len(training))))
        for start in range(0, len(training), config.minibatch)
    ]
    done, total = 0, config.epochs * len(parts)
    # A log of one conversation is all held out.
    for _ in range(config.epochs if training else 0):
        values, returns = targets(q_function, training, config, pad_id)
        advantages = [
            [g - v for g, v in zip(*pair, strict=True)]
            for pair in zip(returns, values, strict=True)
        ]
        flat = torch.tensor([a for row in advantages for a in row])
        variance = float(flat.var(unbiased=False)) + 1e-8
        for part in torch.randperm(len(parts), generator=generator).tolist():
            batch = collate([training[i] for i in parts[part]], pad_id)
            target = torch.tensor([a for i in parts[part] for a in advantages[i]])
            hidden = q_function(batch.ids)
            loss = _value_loss(q_function, hidden, batch, config.gamma)
            error = (q_function.advantages(hidden[last_tokens(batch)]) - target).square().mean()
            loss = loss + config.advantage_weight * error / variance
            if config.reply_weight:
                loss = loss + config.reply_weight * _reply_loss(language_head, hidden, batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(q_function.parameters(), config.max_gradient_norm)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * (1 - done / total)
            optimizer.step()
            done += 1
            tell(done, total)
    return diagnose(q_function, held_out, config, pad_id)


def _value_loss(q_function: QFunction, hidden: Tensor, batch: Batch, gamma: float) -> Tensor:
    """Cross-entropy of the return at every state and after every response token but the last."""
    chosen = batch.response[:, 1:]
    logits = q_function.values(hidden[:, :-1][chosen])
    returns = ppo.discounted_outcomes(batch.outcomes, batch.turns, gamma)[:, 1:][chosen]
    return functional.binary_cross_entropy_with_logits(logits, returns)


def _reply_loss(language_head: nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the customer's tokens."""
    present = torch.arange(batch.ids.shape[1]) < batch.lengths()[:, None]
    customer = (present & ~batch.response)[:, 1:]
    return functional.cross_entropy(
        language_head(hidden[:, :-1][customer]), batch.ids[:, 1:][customer]
    )


@torch.inference_mode()
def diagnose(
    q_function: QFunction,
    episodes: Sequence[TokenisedEpisode],
    config: QFunctionConfig,
    pad_id: int,
) -> dict[str, float]:
    """Return what a fit is worth on conversations that it has not seen."""
    values, returns = targets(q_function, episodes, config, pad_id)
    losses, scores = [], []
    for start in range(0, len(episodes), 64):
        batch = collate(episodes[start : start + 64], pad_id)
        hidden = q_function(batch.ids)
        losses.append(_value_loss(q_function, hidden, batch, config.gamma) * len(batch))
        scores.append(q_function.advantages(hidden[last_tokens(batch)]))
    rate = sum(episode.outcome for episode in episodes) / len(episodes)
    constant = -sum(p * math.log(p) for p in (rate, 1 - rate) if p > 0)
    score = torch.cat(scores)
    target = torch.tensor([g for row in returns for g in row]) - torch.tensor(
        [v for row in values for v in row]
    )
    residual = float((score - target).square().mean())
    return {
        "value_loss": float(sum(losses)) / len(episodes),
        "constant_loss": constant,
        "advantage_r2": 1 - residual / (float(target.square().mean()) + 1e-8),
        "advantage_sd": float(score.std(correction=0)),
        "target_sd": float(target.std(correction=0)),
    }
