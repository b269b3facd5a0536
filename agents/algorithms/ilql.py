"""Implicit language Q-learning: Q and V of every token, learned from a log (arXiv 2206.11871).

Beside the words that the language model expects next stand what they are worth: Q(s, w) of every
word w of the vocabulary, and V(s), with s the conversation up to and within a response. All three
are linear in the same hidden states, which learn from all of them.

V is no mean of Q but an expectile: what the better ones of the logged words are worth. Q of a word
is V of what followed it, so that the best ends of several conversations may be joined, and no word
is ever asked about that the log does not hold. A penalty (conservative Q-learning, arXiv
2006.04779) keeps Q of all other words low.

The policy is the language model, perturbed: its logits plus ``beta (Q - V)``. V is the same for all
words, and leaves their probabilities as they are; and what is linear in the hidden states adds up
to one output layer. So the trained policy is a plain language model of the same shape, whose output
layer is no longer tied to its input: it is sampled, saved, loaded and judged as any other, and
nothing need be kept beside it. This is why Q's heads are linear here, and why the two of them are
averaged at generation, where the paper has small networks and takes the smaller one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from convgym.agents.model.batch import Batch
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import shuffled
from convgym.agents.protocol import TrainingReport
from convgym.agents.training import losses
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.collector import Collector
from convgym.agents.training.logged import read_or_write_log, refuse_one_sided
from convgym.agents.training.optim import Optimiser
from convgym.checks import check_fields
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class ILQLConfig:
    """Hyperparameters; ``beta``, ``expectile``, ``trace`` and ``epochs`` matter most."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    epsilon: float = 0.1
    """Share of random acts of the mediocre seller that writes the log, where none is given."""
    beta: float = 16.0
    """How much the policy is perturbed: weight of Q - V beside its logits."""
    expectile: float = 0.8
    """Of Q that V is, tau: 0.5 is the mean of what was logged, towards 1 the best of it."""
    cql_weight: float = 0.1
    """Weight of the penalty on words that the log does not hold, alpha."""
    gamma: float = 1.0
    """Discount per turn."""
    trace: float = 0.97
    """Trace decay per token of Q's targets: 0 is the paper's backup of one token, which needs many
    passes to come from the end of a conversation to its beginning; 1 is the conversation's end."""
    target_rate: float = 0.05
    """What of the heads goes into their slow copies at every step (Polyak averaging)."""
    epochs: int = 6
    minibatch: int = 32
    """Conversations per optimiser step."""
    learning_rate: float = 1e-3
    """At first; it falls to 0 in a line."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("minibatch",),
            counts_from_zero=("epochs",),
            from_zero=("beta", "cql_weight", "learning_rate"),
            shares=("epsilon", "expectile", "gamma", "trace", "target_rate"),
            bounds=("max_gradient_norm",),
        )


class ILQL(LanguageModelAgent):
    """Implicit language Q-learning (arXiv 2206.11871), token by token.

    Over the response tokens w_t of the log, with s_t all that stands before one, r_t the outcome at
    the last and 0 elsewhere, Q_1 and Q_2 two heads and Q' the smaller of their slow copies::

        minimise    E (r_t + gamma V(s_t+1) - Q_i(s_t, w_t))^2          for both i, V held fixed
                  + E L_tau(Q'(s_t, w_t) - V(s_t)),   L_tau(u) = |tau - 1(u < 0)| u^2
                  + alpha E [log sum over w of exp Q_i(s_t, w)  -  Q_i(s_t, w_t)]
                  - E log pi_0(w_t | s_t)

        pi(w | s) = softmax over w of  logits of pi_0(w | s) + beta (Q'(s, w) - V(s))

    with V(s_t+1) that of the next response token, 0 after the last. With a ``trace`` above 0, Q's
    target is the lambda-return that starts with this backup. It needs words and outcomes alone
    (``Collector(log=...)``), of any seller; without a log the mediocre scripted seller writes one
    with the whole budget.

    Raises:
        ConvgymError: when the model that ``config.policy`` names cannot be loaded.
    """

    Config = ILQLConfig
    config: ILQLConfig

    def train(
        self,
        collector: Collector,
        *,
        folder: Path | None = None,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from the collector's log; see ``Agent.train``.

        Raises:
            ConvgymError: for a log in which all conversations sold, or none did.
        """
        config, model = self.config, self.model
        run = self.start_run(collector, folder)
        generator = torch.Generator().manual_seed(collector.seed)
        episodes = read_or_write_log(collector, config.epsilon, progress)
        refuse_one_sided(episodes, self.name)
        heads = ValueHeads(model)
        slow = copy.deepcopy(heads)
        optimiser = Optimiser(
            [*model.trained_parameters(), *heads.parameters()],
            config.learning_rate,
            config.max_gradient_norm,
        )
        if run.state:
            model.load_weights(run.state["model"])
            heads.load_state_dict(run.state["heads"])
            slow.load_state_dict(run.state["slow"])
            optimiser.load_state(run.state["optimiser"])
            generator.set_state(run.state["generator"])

        batches = model.batches(model.tokenise(episodes), config.minibatch)
        total = config.epochs * len(batches)
        for epoch in range(len(run.rows), config.epochs):
            sums: dict[str, float] = {}
            for number, i in enumerate(shuffled(len(batches), generator)):
                done = epoch * len(batches) + number
                optimiser.schedule(1 - done / total)
                terms = ilql_losses(model, heads, slow, batches[i], config)
                optimiser.step(torch.stack([*terms.values()]).sum())
                slow.follow(heads, config.target_rate)
                metrics = {name: float(term.detach()) for name, term in terms.items()}
                for name, value in metrics.items():
                    sums[name] = sums.get(name, 0.0) + value / len(batches)
                progress(Progress("train", done + 1, total, metrics))
            run.rows.append({"epoch": epoch + 1, **sums})
            run.save(
                {
                    "model": model.weights(),
                    "heads": heads.state_dict(),
                    "slow": slow.state_dict(),
                    "optimiser": optimiser.state(),
                    "generator": generator.get_state(),
                }
            )
        perturb(model, slow, config.beta)
        return run.report()


class ValueHeads(nn.Module):
    """Two Qs of every word, and V, off a language model's hidden states; all 0 at first."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.words = len(model.network.get_output_embeddings().weight)
        self.q_heads = nn.Linear(model.width, 2 * self.words, bias=False, device=model.device)
        self.q_state = nn.Linear(model.width, 2, device=model.device)
        self.v_head = nn.Linear(model.width, 1, device=model.device)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def q(self, hidden: Tensor) -> Tensor:
        """Return Q_1 and Q_2 (..., 2, words) of all words after what ``hidden`` (..., width) read.

        What all words have in common stands on its own, or a word that nobody said would be worth
        the mean, and hence more than any that was said in a bad state.
        """
        words: Tensor = self.q_heads(hidden.float()).unflatten(-1, (2, self.words))
        common: Tensor = self.q_state(hidden.float())[..., None]
        return words + common

    def v(self, hidden: Tensor) -> Tensor:
        """Return V (...) after what ``hidden`` (..., width) read."""
        values: Tensor = self.v_head(hidden.float())[..., 0]
        return values

    @torch.no_grad()
    def follow(self, other: ValueHeads, rate: float) -> None:
        """Move towards other heads by a share of the way (Polyak averaging)."""
        for own, theirs in zip(self.parameters(), other.parameters(), strict=True):
            own.lerp_(theirs, rate)


def ilql_losses(
    model: LanguageModel, heads: ValueHeads, slow: ValueHeads, batch: Batch, config: ILQLConfig
) -> dict[str, Tensor]:
    """Return the terms of ILQL's loss on a batch, weighted: their sum is what is minimised."""
    hidden = model.hidden_states(batch.ids)[:, :-1][batch.response[:, 1:]]
    said = batch.ids[batch.response]
    q, v = heads.q(hidden), heads.v(hidden)
    with torch.no_grad():
        cautious = _of_said(slow.q(hidden), said).amin(-1)
        targets = q_targets(v, batch, config)
    forbidden = torch.tensor(model.format.forbidden_ids, dtype=torch.long, device=model.device)
    allowed = q.index_fill(-1, forbidden, -torch.inf)
    return {
        "q_loss": (_of_said(q, said) - targets[:, None]).square().sum(-1).mean(),
        "v_loss": losses.expectile_loss(cautious - v, config.expectile).mean(),
        "cql_loss": config.cql_weight * conservative_penalty(allowed, said).mean(),
        "imitation_loss": -model.choices(hidden).gather(-1, said[:, None]).mean(),
    }


def q_targets(v: Tensor, batch: Batch, config: ILQLConfig) -> Tensor:
    """Return Q's target (N,) at every response token: the lambda-return through V (N,)."""
    values = torch.zeros_like(batch.logprobs).masked_scatter(batch.response, v)
    advantages = losses.gae(
        losses.final_rewards(batch.outcomes, batch.response),
        values,
        batch.turns,
        gamma=config.gamma,
        token_lambda=config.trace,
    )
    return advantages[batch.response] + v


def conservative_penalty(q: Tensor, said: Tensor) -> Tensor:
    """Return ``log sum over w of exp Q(w)  -  Q(said)``, summed over heads.

    Args:
        q: (N, heads, words), -inf for words that are never said.
        said: (N,) the logged words.
    """
    heads = q.shape[1]
    flat = functional.cross_entropy(
        q.flatten(0, 1), said.repeat_interleave(heads), reduction="none"
    )
    return flat.view(-1, heads).sum(-1)


def perturb(model: LanguageModel, heads: ValueHeads, beta: float) -> None:
    """Make a model's logits ``logits + beta (Q - V)`` but for a constant, in place.

    Q is the mean of both heads. The output layer becomes one of its own, where it was tied to the
    input's.
    """
    network = model.network
    layer = copy.deepcopy(network.get_output_embeddings())
    q_weight = heads.q_heads.weight.detach().unflatten(0, (2, heads.words)).mean(0)
    weight = layer.weight.detach().float() + beta * q_weight
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype))
    network.set_output_embeddings(layer)
    network.config.get_text_config().tie_word_embeddings = False
    network.config.tie_word_embeddings = False


def _of_said(q: Tensor, said: Tensor) -> Tensor:
    """Return Q (N, heads) of the words that were said (N,), of those (N, heads, words) of all."""
    return q.gather(-1, said[:, None, None].expand(-1, q.shape[1], 1))[..., 0]
