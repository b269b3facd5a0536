"""Q as a reward function of TRL's trainers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convgym.agents.serving.scores import Kind, Scorer, check_kind
from convgym.errors import ConvgymError
from convgym.exchange.transcripts import read_content, read_state

BATCH = 64
"""Pairs that are scored together."""


class QReward:
    """A Q folder as one of ``GRPOTrainer``'s or ``RLOOTrainer``'s ``reward_funcs``.

        trainer = GRPOTrainer(model, reward_funcs=QReward("q"), train_dataset=prompts, ...)

    The reward of a completion is Q(s, a): the probability of a purchase in the conversation that
    the prompt is, if the seller gives that completion. Prompts are chat messages, or transcripts
    (``convgym.exchange.transcripts``); columns beside them are not looked at.

    Args:
        q: the Q folder, or anything that scores.
        policy: the one that Q was fitted to; None is the one that the folder's report names.
        score: ``"q"``, or ``"advantage"`` for Q(s, a) - V(s).
        options: of ``QScorer.open``: ``device``, ``pessimism``, ``seed``.

    Raises:
        ConvgymError: for a Q that cannot be used; and when called, for prompts that are no
            conversation in which it is the seller's turn.
    """

    __name__ = "q"  # by which TRL logs it

    def __init__(
        self,
        q: str | Path | Scorer,
        policy: str | Path | None = None,
        *,
        score: Kind = "q",
        **options: Any,
    ) -> None:
        self._kind = check_kind(score)
        if isinstance(q, (str, Path)):
            from convgym.agents.serving.scoring import QScorer

            self._scorer: Scorer = QScorer.open(q, policy, **options)
        else:
            self._scorer = q

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """Return a reward for each completion; it is never None, which TRL's own type allows."""
        pairs = [
            self._scorer.read(read_state(prompt), _words(completion))
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        return [
            score.of(self._kind)
            for start in range(0, len(pairs), BATCH)
            for score in self._scorer.score(pairs[start : start + BATCH])
        ]


def _words(completion: object) -> str:
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Sequence) and len(completion) == 1:
        message = completion[0]
        if isinstance(message, Mapping) and message.get("content") is not None:
            return read_content(message["content"])
    raise ConvgymError(
        "a completion must be a text or one message of the assistant, got"
        f" {repr(completion)[:80]}: tools and several messages are not scored"
    )
