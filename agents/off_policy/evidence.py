"""What a log holds for and against a new policy: ratios, rewards, and a fitted Q's opinions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from convgym.agents.improvement.candidates import distinct
from convgym.agents.improvement.problem import Score
from convgym.agents.model.batch import TokenisedEpisode, first_tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.values.estimates import ValueEstimates

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """N conversations of at most H turns, as arrays (N, H) that are 0 after a conversation's end.

    ``pi'`` is the new policy, ``pi`` the one that was deployed, and ``b`` what the log was sampled
    from: ``pi``, but for exploration. Actions are whole responses. Nothing in it may have learned
    from these conversations.
    """

    present: Array
    """1 where there is a turn."""
    rewards: Array
    """Of every turn: the outcome at the last."""
    log_ratios: Array
    """log pi'(a | s) - log b(a | s) of what was said."""
    deployed_log_ratios: Array
    """log pi(a | s) - log b(a | s) of what was said: 0 without exploration."""
    values: Array
    """V(s) off the fitted Q's value head."""
    returns: Array
    """The lambda-return."""
    q: Array
    """The fitted Q(s, a) of what was said."""
    new_values: Array
    """Mean fitted Q(s, a) of fresh responses of pi'."""
    deployed_values: Array
    """Mean fitted Q(s, a) of fresh responses of pi."""
    evaluated_q: Array
    """Q(s, a) of what was said, by a Q that was fitted for pi' (``fitted_evaluation``)."""
    evaluated_values: Array
    """The same Q's mean of fresh responses of pi'."""

    def __len__(self) -> int:
        return len(self.present)

    def take(self, conversations: Sequence[int] | NDArray[np.int64] | slice) -> Evidence:
        """Return the evidence of some conversations, in that order, with repetitions."""
        return Evidence(*(getattr(self, each.name)[conversations] for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Opinions:
    """What a fitted Q says at every state of N conversations, one array (H_i,) each."""

    said: Sequence[Array]
    """Q(s, a) of what was said."""
    fresh: Sequence[Array]
    """Mean Q(s, a) of a policy's fresh responses."""


def log_ratios(policy: LanguageModel, episodes: Sequence[TokenisedEpisode]) -> list[Array]:
    """Return log policy(a | s) - log b(a | s) of every response, an array (H_i,) each."""
    ratios: list[Array] = []
    size = policy.batch_sizes.reading
    for start in range(0, len(episodes), size):
        batch = policy.collate(episodes[start : start + size])
        with torch.inference_mode():
            tokens = policy.logprobs(batch) - batch.logprobs[batch.response]
        begins = first_tokens(batch)
        number = begins[batch.response].cumsum(0) - 1
        counts = begins.sum(dim=1).tolist()
        sums = tokens.new_zeros(sum(counts)).index_add(0, number, tokens)
        ratios += [part.cpu().double().numpy() for part in sums.split(counts)]
    return ratios


def said_values(score: Score, episodes: Sequence[TokenisedEpisode]) -> list[Array]:
    """Return the fitted Q(s, a) of what was said, an array (H_i,) each."""
    prompts, responses = [], []
    for episode in episodes:
        for turn, start in enumerate(episode.response_starts()):
            prompts.append(episode.ids[:start])
            responses.append(episode.ids[start : start + episode.turns.count(turn)])
    return _split(score(prompts, responses).cpu().double().numpy(), episodes)


def fresh_values(
    policy: LanguageModel,
    score: Score,
    episodes: Sequence[TokenisedEpisode],
    *,
    samples: int,
    generator: torch.Generator,
) -> list[Array]:
    """Return the mean fitted Q(s, a) over ``samples`` fresh responses at every state, (H_i,) each.

    Equal responses to a state are judged once.
    """
    different, _, counts = distinct(policy.sample(episodes, samples, generator))
    weights = iter(counts)
    prompts, responses, places, shares = [], [], [], []
    begun = 0
    for episode, candidates in zip(episodes, different, strict=True):
        starts = episode.response_starts()
        for candidate in candidates:
            prompts.append(episode.ids[: starts[candidate.turn]])
            responses.append(candidate.token_ids)
            places.append(begun + candidate.turn)
            shares.append(next(weights) / samples)
        begun += episode.n_turns
    scores = score(prompts, responses).cpu().double().numpy()
    weighted = np.asarray(np.array(shares) * scores, np.float64)
    means: Array = np.bincount(places, weights=weighted, minlength=begun).astype(np.float64)
    return _split(means, episodes)


def evidence(
    episodes: Sequence[TokenisedEpisode],
    judged: Sequence[ValueEstimates],
    *,
    ratios: Sequence[Array],
    deployed_ratios: Sequence[Array],
    said: Sequence[Array],
    new: Sequence[Array],
    deployed: Sequence[Array],
    evaluated: Opinions,
) -> Evidence:
    """Put together what the other functions of this module found of some conversations."""
    ends = [[0.0] * (episode.n_turns - 1) + [episode.outcome] for episode in episodes]
    return Evidence(
        present=padded([[1.0] * episode.n_turns for episode in episodes]),
        rewards=padded(ends),
        log_ratios=padded(ratios),
        deployed_log_ratios=padded(deployed_ratios),
        values=padded([estimates.values for estimates in judged]),
        returns=padded([estimates.returns for estimates in judged]),
        q=padded(said),
        new_values=padded(new),
        deployed_values=padded(deployed),
        evaluated_q=padded(evaluated.said),
        evaluated_values=padded(evaluated.fresh),
    )


def padded(rows: Sequence[Sequence[float] | Array]) -> Array:
    """Return rows of numbers as an array (N, H), zeros at the right."""
    result = np.zeros((len(rows), max(map(len, rows), default=0)))
    for place, row in enumerate(rows):
        result[place, : len(row)] = row
    return result


def _split(values: Array, episodes: Sequence[TokenisedEpisode]) -> list[Array]:
    return list(np.split(values, np.cumsum([episode.n_turns for episode in episodes])[:-1]))
