"""Deeper imagination: a fitted Q plays the customer of a new policy for several turns.

The improvement step asks Q for the deployed policy's value of what follows a response. Here the new
policy goes on speaking, a member of Q answers it, values are fitted to what was imagined, and a
further step follows from them: several steps of improvement from one log, without a customer.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any, cast

import torch

from convgym.agents.improvement.problem import (
    Improvement,
    PolicyWatch,
    SingleTurnProblem,
    watch_nothing,
)
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import shuffled
from convgym.agents.model.sampling import Sample, SamplingConfig
from convgym.agents.model.weights import load_trained_weights, trained_weights
from convgym.agents.values.fitting import fit
from convgym.agents.values.q_function import QEnsemble, QFunction
from convgym.progress import ProgressCallback, no_progress

CERTAIN = 0.02
"""A conversation is over when the value is so near to 0 or 1."""


@dataclass(frozen=True)
class Deeper:
    """An improvement step, and further ones from conversations that were imagined after it."""

    base: Improvement
    steps: int = 1
    """Further ones."""
    conversations: int = 512
    """Imagined for each, from states of the log."""
    turns: int = 3
    """Of each, at most."""
    epochs: int = 2
    """Of the fit of values to them."""
    learning_rate: float = 3e-4
    """Of this fit."""

    def improve(
        self,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        *,
        generator: torch.Generator,
        progress: ProgressCallback = no_progress,
        watch: PolicyWatch = watch_nothing,
    ) -> tuple[LanguageModel, dict[str, float]]:
        """Return the improved copy of ``reference``; see ``Improvement``."""
        told: dict[str, Any] = {"generator": generator, "progress": progress, "watch": watch}
        model, metrics = self.base.improve(reference, problem, **told)
        ensemble = ensemble_of(problem)
        for _ in range(self.steps):
            (member,) = ensemble
            states = choose_states(problem.log, self.conversations, generator)
            log = imagined(model, member, states, self.turns, generator)
            config = replace(ensemble.config, epochs=self.epochs, learning_rate=self.learning_rate)
            judge = QEnsemble(model, config)
            load_trained_weights(judge, trained_weights(ensemble))
            fit(judge, log, generator=generator)
            further = SingleTurnProblem(
                log,
                partial(judge.score, generator=generator),
                [tuple(0.0 for turn in episode.turns if turn >= 0) for episode in log],
            )
            model, metrics = self.base.improve(model, further, **told)
            metrics["imagined_value"] = sum(episode.outcome for episode in log) / len(log)
            ensemble = judge
        return model, metrics


def ensemble_of(problem: SingleTurnProblem) -> QEnsemble:
    """Return the Q whose score a problem of Iterative PPO asks."""
    score = cast(Any, problem.score)  # a partial of a method
    return cast(QEnsemble, score.func.__self__)


def choose_states(
    log: Sequence[TokenisedEpisode], n: int, generator: torch.Generator
) -> list[Tokens]:
    """Return one random state each of ``n`` random conversations, fewer where there are fewer."""
    states = []
    for i in shuffled(len(log), generator)[:n]:
        starts = log[i].response_starts()
        turn = int(torch.randint(len(starts), (), generator=generator))
        states.append(log[i].ids[: starts[turn]])
    return states


@torch.inference_mode()
def imagined(
    model: LanguageModel,
    member: QFunction,
    states: Sequence[Tokens],
    turns: int,
    generator: torch.Generator,
) -> list[TokenisedEpisode]:
    """Return how conversations go on from states in a member's imagination.

    Their outcome is the member's value after the last turn. What was said before the state counts
    as the customer's: nobody learns to say it.

    Args:
        model: the seller.
        member: the customer.
        states: where the conversations begin, as token ids.
        turns: at most; a conversation ends sooner where its value is certain, or its room.
        generator: all randomness.
    """
    before, after = member.model.format.reply_frame
    seller = ResponseSampler(model.network, model.format, model.sampling)
    listening = SamplingConfig(1.0, member.config.max_reply_tokens)
    customer = ResponseSampler(member.model.network, _as_customer(member.model.format), listening)
    longest = model.sampling.max_new_tokens
    begun = [_Begun(list(state), [-1] * len(state)) for state in states]
    seeds = torch.randint(2**31, (len(begun),), generator=generator).tolist()
    for conversation, seed in zip(begun, seeds, strict=True):
        conversation.numbers = Random(seed)
    for turn in range(turns):
        live = [
            each
            for each in begun
            if CERTAIN < each.value < 1 - CERTAIN
            and member.model.can_imagine(each.state, longest, listening.max_new_tokens)
        ]
        if not live:
            break
        for each, said in zip(live, _say(seller, live), strict=True):
            each.respond(turn, said)
            each.ending = before
        for each, heard in zip(live, _say(customer, live), strict=True):
            words = heard.token_ids
            each.ending += words if words[-1] == after[0] else (*words, after[0])
            each.ending += after[1:]
        for each, value in zip(live, _values(member, [each.state for each in live]), strict=True):
            each.value = value
    return [each.episode() for each in begun if max(each.turns) >= 0]


class _Begun:
    """A conversation on its way."""

    def __init__(self, ids: list[int], turns: list[int]) -> None:
        self.ids, self.turns = ids, turns
        self.logprobs = [torch.nan] * len(ids)
        self.ending: Tokens = ()
        self.value = 0.5
        self.numbers = Random()

    @property
    def state(self) -> Tokens:
        return (*self.ids, *self.ending)

    def respond(self, turn: int, said: Sample) -> None:
        self.ids += (*self.ending, *said.token_ids)
        silent = len(self.ending)
        self.turns += [-1] * silent + [turn] * len(said.token_ids)
        self.logprobs += (*[torch.nan] * silent, *said.token_logprobs)
        self.ending = ()

    def episode(self) -> TokenisedEpisode:
        return TokenisedEpisode(
            tuple(self.ids), tuple(self.turns), tuple(self.logprobs), self.value, self.ending
        )


def _say(sampler: ResponseSampler, conversations: Sequence[_Begun]) -> list[Sample]:
    prompts = [Prompt((), each.state) for each in conversations]
    sampled: list[Sample] = []
    for start in range(0, len(prompts), 256):
        part = slice(start, start + 256)
        sampler.forget()
        sampled += sampler.sample(prompts[part], [each.numbers for each in conversations[part]])
    return sampled


def _as_customer(format: ConversationFormat) -> ConversationFormat:
    """Return a format whose responses are the customer's replies: they end where a frame does."""
    end = format.reply_frame[1][0]
    listening = copy.copy(format)
    listening.forbidden_ids = tuple(sorted({*format.forbidden_ids, format.end_id} - {end}))
    listening.end_id = end
    return listening


def _values(member: QFunction, states: Sequence[Tokens]) -> list[float]:
    values: list[float] = []
    pad = member.model.format.pad_id
    for start in range(0, len(states), 256):
        part = states[start : start + 256]
        width = max(map(len, part))
        rows = [[*state, *[pad] * (width - len(state))] for state in part]
        hidden = member(torch.tensor(rows, device=member.model.device))
        last = torch.tensor([len(state) - 1 for state in part], device=hidden.device)
        ends = hidden[torch.arange(len(part), device=hidden.device), last]
        values += member.values(ends).tolist()
    return values
