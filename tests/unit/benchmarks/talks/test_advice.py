"""Advice leaves conversations as they were."""

from __future__ import annotations

import random
from collections.abc import Sequence

from convgym.benchmarks.talks.advice import Advice, Adviser
from convgym.conversation import Response
from convgym.policy import Conversation


class Says:
    """A policy that says the same, after a look at what it must not see and a draw."""

    name = "says"

    def __init__(self, words: str, failure: str | None = None) -> None:
        self._response = Response(words, failure=failure)

    def reset(self, seed: int) -> None:
        pass

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        assert all(conversation.latent is None for conversation in conversations)
        [conversation.rng.random() for conversation in conversations]
        return [self._response for _ in conversations]


class ByLength:
    """A judge by the length of what is said."""

    def values(self, conversation: Conversation, utterances: Sequence[str]) -> list[float]:
        return [len(utterance) / 100 for utterance in utterances]


def conversation() -> Conversation:
    return Conversation(
        4, [{"role": "user", "content": "Hi."}], random.Random(0), latent={"budget": 7}
    )


def test_yours_come_first_and_no_word_comes_twice() -> None:
    asked = conversation()
    policies = {
        "thinker": Says("<think>budget?</think>Buy!"),
        "broken": Says("", failure="no connection"),
        "silent": Says(""),
        "echo": Says("Hello."),
        "other": Says("Buy!"),
    }
    advice = Adviser(ByLength()).advise(asked, policies, "Hello.")
    assert advice == [Advice("you, echo", "Hello.", 0.06), Advice("thinker, other", "Buy!", 0.04)]
    assert asked.latent == {"budget": 7}
    assert asked.rng.random() == random.Random(0).random()


def test_without_a_q_there_are_words_alone() -> None:
    adviser = Adviser()
    assert not adviser.has_q
    assert adviser.advise(conversation(), {"a": Says("Buy!")}) == [Advice("a", "Buy!")]
    assert Adviser(ByLength()).advise(conversation(), {}) == []
