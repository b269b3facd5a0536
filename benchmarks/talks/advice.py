"""What somebody who sells could say instead, and what a fitted Q makes of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Protocol

from convgym.conversation import Response
from convgym.policy import Conversation, Policy
from convgym.reasoning import heard


class Judge(Protocol):
    """Q as ``convgym.agents.pipeline.opinion.Opinion`` asks it."""

    def values(self, conversation: Conversation, utterances: Sequence[str]) -> list[float]:
        """Return Q(s, a) of each utterance (N,), in [0, 1]."""


@dataclass(frozen=True)
class Advice:
    """Words that could be said, whose they are, and Q of them: None without a Q."""

    who: str
    words: str
    q: float | None = None


def suggestion(policy: Policy, conversation: Conversation) -> Response:
    """Return what a policy would say now: nothing is drawn from the conversation, or revealed."""
    asked = replace(conversation, rng=random.Random(conversation.seed), latent=None)
    (response,) = policy.act([asked])
    return replace(response, text=heard(response.text))


class Adviser:
    """Somebody to ask, for any number of conversations at once.

    Equal conversations get equal advice, and go on as if nobody had asked.

    Args:
        judge: Q; None has none.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        self._judge, self._lock = judge, Lock()

    @property
    def has_q(self) -> bool:
        return self._judge is not None

    def advise(
        self, conversation: Conversation, policies: Mapping[str, Policy], words: str = ""
    ) -> list[Advice]:
        """Return your words, if there are some, and what each policy would say; no word twice.

        A policy whose backend fails has nothing to say.

        Args:
            conversation: at the seller's turn.
            policies: whom to ask, by the name that is shown.
            words: what somebody is about to say.
        """
        said = {words: "you"} if words else {}
        for name, policy in policies.items():
            response = suggestion(policy, conversation)
            if response.failure is None and response.text:
                said[response.text] = (
                    f"{said[response.text]}, {name}" if response.text in said else name
                )
        values = self.values(conversation, list(said))
        return [Advice(who, text, q) for (text, who), q in zip(said.items(), values, strict=True)]

    def values(
        self, conversation: Conversation, utterances: Sequence[str]
    ) -> list[float] | list[None]:
        """Return Q of each utterance, None of all without a Q."""
        if self._judge is None or not utterances:
            return [None] * len(utterances)
        with self._lock:  # its networks keep what they have read
            return self._judge.values(conversation, utterances)
