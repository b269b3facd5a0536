"""The multi-turn action value Q(s, a): Iterative PPO's reward model (arXiv 2511.21638).

A plain regression of the outcome on (state, response) is nearly blind to what the improvement step
needs, the differences between responses to one state: they are small beside those between states,
and one bit at the end of a conversation says little of them. What does say much is the customer's
reply, and replies are many tokens of supervision a turn. So a member of Q is a language model with
heads, and has two opinions of a response:

- the *direct* one, off the value head after the response's last token (``form="direct"``), or off
  an advantage head, Q = V + A (``form="dueling"``);
- the *imagined* one: the member, which has learned the customer's words too, samples replies to the
  response and reads V(s') after them. That is Q(s, a) = E[V(s')], with a learned model of one turn.

A score mixes both (``imagined``): against true values, either alone is worse (docs/log.md).

Q may be an ensemble, fitted crosswise (``fitting``): a model that has seen how a conversation
ended cannot judge what its responses gained. For responses that nobody gave, opinions
are combined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from convgym.agents.model.batch import Batch, first_tokens, last_tokens
from convgym.agents.model.format import Tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.packing import hidden_states, pack_pairs
from convgym.agents.model.sampling import Randomness
from convgym.agents.values.interpreter import Interpreter, load_trunk
from convgym.checks import check_fields
from convgym.errors import ConvgymError


@dataclass(frozen=True, slots=True)
class QFunctionConfig:
    """How the multi-turn action value Q(s, a) is fitted and asked.

    Asked for a score, a member mixes two opinions of a response a to a state s::

        Q(s, a) = (1 - imagined) * Q_direct(s, a) + imagined * mean over sampled replies of  V(s')

    with Q_direct off its value head, or V + A off two heads (``form``). It is fitted to the
    lambda-returns of a log (``return_lambda``), and to the customer's words (``reply_weight``).
    ``imagined``, ``epochs``, ``folds`` and ``learning_rate`` matter most.

    Raises:
        ConvgymError: for settings that cannot be.
    """

    trunk: str | None = None
    """The model that members begin as copies of, by name or folder; None is the policy. A small one
    makes the Q of a large policy cheap: it reads what is said in tokens of its own."""
    form: Literal["direct", "dueling"] = "direct"
    loss: Literal["bce", "mse"] = "bce"
    """Of values: binary cross-entropy for returns in [0, 1], squared error for any others."""
    return_lambda: float = 1.0
    """Lambda of the lambda-return, the target after a response: 1 is Monte Carlo, 0 trusts V after
    the customer's reply."""
    gamma: float = 1.0
    """Discount per turn."""
    imagined: float = 0.5
    """Weight of the imagined opinion in a score; 0 samples no replies."""
    replies: int = 2
    """Imagined replies to a response, by each member."""
    max_reply_tokens: int = 40
    folds: int = 1
    """Members of the ensemble, each fitted without one part of the log, which it judges; a single
    member is fitted to all but the gate's share."""
    combine: Literal["mean", "min", "lower-bound"] = "mean"
    """What the members' opinions of a response become; the bound is mean - pessimism * sd."""
    pessimism: float = 1.0
    reuse: Literal["none", "recency", "importance"] = "none"
    """Whether earlier rounds are fitted too, and how their turns are weighted: by
    ``recency ** age``, or by that times the probability ratio, from the policy that spoke to the
    present one, of what was said from this turn on, capped at 1."""
    recency: float = 1.0
    warm_start: bool = True
    """Go on from the last round's fit, or start from the policy again."""
    epochs: int = 4
    first_steps: int = 128
    """The least number of optimiser steps of the first fit, for which a small log is gone over more
    often than ``epochs``; later fits go on from there, if ``warm_start``."""
    minibatch: int = 32
    """Conversations per optimiser step."""
    learning_rate: float = 1e-3
    state_weight: float = 5.0
    """Weight of the value's loss at states, after responses and after the last words, beside 1 at
    each token within a response. Scores read the former alone; there are many more of the latter.
    """
    advantage_weight: float = 1.0
    """Weight of the advantage head's loss, in units of its targets' variance, beside V's."""
    reply_weight: float = 1.0
    """Weight of the cross-entropy of the customer's replies; shapes the body, too."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("minibatch", "max_reply_tokens"),
            counts_from_zero=("epochs", "first_steps", "folds", "replies"),
            bounds=("max_gradient_norm",),
            from_zero=(
                "learning_rate",
                "pessimism",
                "reply_weight",
                "state_weight",
                "advantage_weight",
            ),
            shares=("gamma", "return_lambda", "recency"),
        )
        if self.folds < 1:
            raise ConvgymError(f"Q needs at least 1 fold, got {self.folds}")
        if not isinstance(self.trunk, str | None):
            raise ConvgymError(f"trunk must be a name, a folder or None, got {self.trunk!r}")
        if self.trunk is not None and self.reuse != "none":
            raise ConvgymError(
                f"a Q with a trunk of its own knows no earlier logs: set reuse='none', got"
                f" {self.reuse!r}"
            )
        if not 0 <= self.imagined <= 1:
            raise ConvgymError(f"imagined is a share from 0 to 1, got {self.imagined}")
        if self.imagined and (self.replies < 1 or not self.reply_weight > 0):
            raise ConvgymError(
                "imagined opinions need replies >= 1 and reply_weight > 0, got "
                f"{self.replies} and {self.reply_weight}: or set imagined=0"
            )


class QFunction(nn.Module):
    """One member: V(s) from one head, the customer's words from another, and A(s, a) if dueling.

    Args:
        model: the language model that is copied.
        config: the form and the loss.
    """

    def __init__(self, model: LanguageModel, config: QFunctionConfig) -> None:
        super().__init__()
        self.config = config
        self.model = model.copy()
        self.network = self.model.network  # so that its parameters are this module's
        self.value_head = nn.Linear(model.width, 1, device=model.device)
        self.advantage_head = nn.Linear(model.width, 1, device=model.device)
        for head in (self.value_head, self.advantage_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the hidden states (B, T, width) of conversations padded at the right."""
        return self.model.hidden_states(ids)

    @property
    def fitted(self) -> bool:
        """Whether the value head has learned anything."""
        return bool(self.value_head.weight.any())

    @torch.no_grad()
    def expect(self, outcome: float) -> None:
        """Begin a fit at the mean outcome: a small log is too short to come there from 1/2."""
        if self.config.loss == "bce":
            # Never quite certain.
            outcome = float(torch.tensor(outcome, device="cpu").logit(eps=0.01))
        self.value_head.bias.fill_(outcome)

    def raw_values(self, hidden: Tensor) -> Tensor:
        """Return the value head's output (...): log-odds with the loss "bce", else the value."""
        raw: Tensor = self.value_head(hidden.to(self.value_head.weight.dtype))[..., 0]
        return raw

    def values(self, hidden: Tensor) -> Tensor:
        """Return the expected return (...) after what ``hidden`` (..., width) has read."""
        raw = self.raw_values(hidden)
        return raw.sigmoid() if self.config.loss == "bce" else raw

    def advantages(self, before: Tensor, after: Tensor) -> Tensor:
        """Return A(s, a) (...) from hidden states (..., width) before and after the response."""
        if self.config.form == "direct":
            return self.values(after) - self.values(before)
        advantages: Tensor = self.advantage_head(after.to(self.advantage_head.weight.dtype))[..., 0]
        return advantages

    @torch.inference_mode()
    def read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the value before each response token (N,) and direct A of each response (R,)."""
        hidden = self(batch.ids)
        tokens = self.values(hidden[:, :-1][batch.response[:, 1:]])
        before = hidden[:, :-1][first_tokens(batch)[:, 1:]]
        return tokens, self.advantages(before, hidden[last_tokens(batch)])

    @torch.inference_mode()
    def opinions(
        self,
        prompts: Sequence[Tokens],
        responses: Sequence[Tokens],
        generator: Randomness,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return V(s) (N,) and both opinions of N responses.

        These are the direct one of A(s, a) (N,), and the mean of V(s') (N,) over imagined replies,
        NaN where none are asked for, or where the state leaves no room for one in the model's
        context. Conversations are read once for all that is said in them.
        """
        model, config = self.model, self.config
        n, device = len(prompts), model.device
        values, direct = torch.zeros(n, device=device), torch.zeros(n, device=device)
        imagined = torch.full((n,), torch.nan, device=device)
        # One and the same for all responses to a state: opinions are compared within it.
        longest = max(model.sampling.max_new_tokens, *map(len, responses), 0)
        groups: dict[bool, list[int]] = {True: [], False: []}
        for i, prompt in enumerate(prompts):
            imagines = config.imagined > 0 and model.can_imagine(
                prompt, longest, config.max_reply_tokens
            )
            groups[imagines].append(i)
        for imagines, members in groups.items():
            frame = model.format.reply_frame[0] if imagines else ()
            packs = pack_pairs(
                [prompts[i] for i in members],
                [responses[i] + frame for i in members],
                model.format.pad_id,
                device,
                rows=model.batch_sizes.packing,
            )
            for places, packed in packs:
                indices = [members[place] for place in places]
                cache = DynamicCache() if imagines else None
                hidden = hidden_states(model.body, packed, cache)
                before = hidden[packed.end_rows, packed.state_columns]
                after = hidden[packed.end_rows, packed.end_columns - len(frame)]
                values[indices] = self.values(before).float()
                direct[indices] = self.advantages(before, after).float()
                if cache is not None:
                    heard = model.imagine(
                        packed, hidden, cache, config.replies, config.max_reply_tokens, generator
                    )
                    imagined[indices] = self.values(heard).view(-1, config.replies).mean(1)
        return values, direct, imagined


class QEnsemble(nn.Module):
    """Q(s, a) of Iterative PPO (arXiv 2511.21638, Obs. 2): one member for each fold of a log.

    Cross-fitted (Chernozhukov et al. 2018): a member is fitted to all folds but its own, so that
    what is logged is judged by one that has not seen how it ended. Opinions of responses that
    nobody gave are combined over members i (``QFunctionConfig.combine``)::

        Q(s, a) = mean_i V_i(s) + combine_i A_i(s, a)

    with each member's A the mixture of its direct and its imagined opinion that ``QFunctionConfig``
    describes, less its V(s). Fit it with ``values.fitted.fit_q``, ask it by ``score``; unfitted
    heads are zeros. ``imagined``, ``epochs``, ``folds`` and ``learning_rate`` matter most.

    Args:
        model: the policy; every member copies it, or else the ``trunk`` of ``config``.
        config: hyperparameters; settings that cannot be raise ConvgymError when it is made.

    Attributes:
        interpreter: reads the policy's tokens for the members.

    Raises:
        ConvgymError: when there is no such trunk.
    """

    def __init__(self, model: LanguageModel, config: QFunctionConfig) -> None:
        super().__init__()
        self.config = config
        self.interpreter = Interpreter(model, load_trunk(model, config.trunk))
        trunk = self.interpreter.trunk
        self.members = nn.ModuleList(QFunction(trunk, config) for _ in range(config.folds))

    def score(
        self,
        prompts: Sequence[Tokens],
        responses: Sequence[Tokens],
        *,
        generator: Randomness,
    ) -> Tensor:
        """Return Q(s, a) (N,) of N responses to N prompts, given as the policy's token ids.

        The state's value is the members' mean, so that only opinions on responses are combined.
        Equal pairs have equal scores.

        Raises:
            ConvgymError: with a ``trunk``, for prompts that are no states of the log.
        """
        values, advantages = self.judge(prompts, responses, generator=generator)
        return values + advantages

    def judge(
        self,
        prompts: Sequence[Tokens],
        responses: Sequence[Tokens],
        *,
        generator: Randomness,
    ) -> tuple[Tensor, Tensor]:
        """Return V(s) (N,) and A(s, a) (N,), of which ``score`` is the sum."""
        prompts, responses = self.interpreter.pairs(prompts, responses)
        places: dict[tuple[Tokens, Tokens], int] = {}
        index = [
            places.setdefault(pair, len(places)) for pair in zip(prompts, responses, strict=True)
        ]
        states, said = [prompt for prompt, _ in places], [response for _, response in places]
        values, opinions = [], []
        share = self.config.imagined
        for member in self:
            value, advantage, imagined = member.opinions(states, said, generator)
            if share:
                mixed = (1 - share) * advantage + share * (imagined - value)
                advantage = torch.where(imagined.isnan(), advantage, mixed)
            values.append(value)
            opinions.append(advantage)
        combined = combine(torch.stack(opinions), self.config)
        return torch.stack(values).mean(0)[index], combined[index]

    def __iter__(self) -> Iterator[QFunction]:
        for member in self.members:
            assert isinstance(member, QFunction)
            yield member


def combine(opinions: Tensor, config: QFunctionConfig) -> Tensor:
    """Return one number (...) for the members' opinions (members, ...)."""
    if config.combine == "min":
        return opinions.amin(0)
    mean = opinions.mean(0)
    if config.combine == "lower-bound":
        return mean - config.pessimism * opinions.std(0, correction=0)
    return mean
