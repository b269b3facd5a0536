"""A Q folder as a reward model of words: conversations and responses in, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.sampling import CommonNumbers
from convgym.agents.pipeline.inputs import open_ensemble
from convgym.agents.serving.scores import Pair, Score
from convgym.agents.values.q_function import QEnsemble
from convgym.checks import check_number
from convgym.conversation import Message
from convgym.errors import ConvgymError
from convgym.reasoning import heard

_RESPONSE_SHARE = 4
"""A response may take this part of the context."""


class QScorer:
    """Says how probable a purchase is if the seller gives a response (``QEnsemble.judge``).

    A score is a function of state and response alone: imagined replies to all responses are drawn
    with the same random numbers, and what else is asked changes it in the last digits only. What
    is read of a response is what a customer would hear of it: without thoughts, in one line
    (``convgym.reasoning.heard``).

    Long conversations lose their oldest turns (``ConversationFormat.prompt_within``), so that there
    is always room for a response and an imagined reply; of a response no more than a quarter of
    the model's context is read.

    Args:
        model: whose Q it is.
        ensemble: the Q.
        seed: of the imagined replies.

    Raises:
        ConvgymError: for a model whose context has no room for a conversation.
    """

    def __init__(self, model: LanguageModel, ensemble: QEnsemble, *, seed: int = 0) -> None:
        self._model, self._ensemble = model, ensemble.eval()
        config = ensemble.config
        self._longest = model.context // _RESPONSE_SHARE
        frame = sum(map(len, model.format.reply_frame))
        self._room = model.context - self._longest - frame - config.max_reply_tokens
        if self._room <= model.format.overhead:
            raise ConvgymError(
                f"the model's context of {model.context} tokens has no room for a conversation, a"
                f" response and a reply of {config.max_reply_tokens}: use another model, or a"
                " smaller max_reply_tokens in the fit"
            )
        self._numbers = CommonNumbers.of(seed, max(config.replies, 1), config.max_reply_tokens)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        policy: str | Path | None = None,
        *,
        device: str | None = None,
        pessimism: float | None = None,
        seed: int = 0,
    ) -> QScorer:
        """Return the scorer of a Q folder.

        Args:
            folder: of ``convgym fit-q``.
            policy: the one that Q was fitted to; None is the one that the folder's report names.
            device: where it is computed; None is as in the fit.
            pessimism: score by the members' mean less so many of their standard deviations
                (``QFunctionConfig.combine``); None is as in the fit.
            seed: of the imagined replies.

        Raises:
            ConvgymError: for a folder, policy or device that cannot be used, or pessimism about a
                single member, which is never at odds with itself.
        """
        speaker, ensemble = open_ensemble(Path(folder), policy, device=device)
        if pessimism is not None:
            check_number("pessimism", pessimism)
            if ensemble.config.folds < 2:
                raise ConvgymError(
                    f"the Q in {folder} has one member, and pessimism is about how far members"
                    " differ: fit it with folds=2 or more, or leave pessimism out"
                )
            ensemble.config = replace(
                ensemble.config, combine="lower-bound", pessimism=float(pessimism)
            )
        return cls(speaker.model, ensemble, seed=seed)

    @property
    def members(self) -> int:
        """Members of the ensemble."""
        return self._ensemble.config.folds

    def read(self, state: Sequence[Message], response: str) -> Pair:
        """Return a conversation in which it is the seller's turn, and a response, as tokens."""
        format = self._model.format
        said = format.response(heard(response))
        cut = len(said) > self._longest
        if cut:
            said = (*said[: self._longest - 1], format.end_id)
        return Pair(format.prompt_within(self._recent(state), self._room), said, cut)

    def _recent(self, state: Sequence[Message]) -> Sequence[Message]:
        """Return the end of a conversation that has more tokens than there is room for.

        What stands before it is left out in any case, and would only take long to be looked at.
        """
        format, size = self._model.format, 0
        for kept, message in enumerate(reversed(state), start=1):
            is_seller = message["role"] == "assistant"
            block = format.response if is_seller else format.reply
            size += len(block(message["content"]))
            if size > self._model.context and not is_seller:
                return state[-kept:]
        return state

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        """Return the score of every pair, in order."""
        if not pairs:
            return []
        values, advantages = self._ensemble.judge(
            [pair.prompt for pair in pairs],
            [pair.response for pair in pairs],
            generator=self._numbers,
        )
        return [
            Score(value + advantage, value, pair.cut)
            for pair, value, advantage in zip(
                pairs, values.tolist(), advantages.tolist(), strict=True
            )
        ]
