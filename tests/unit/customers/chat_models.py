"""Chat models without a model: they answer as a test tells them, and keep what they were asked."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence

from convgym.errors import InfrastructureError
from convgym.llm import ChatAnswer, ChatRequest, ChatResult

Answer = Callable[[ChatRequest], str]


class FakeModel:
    """Answers each request with ``answer(request)``; an InfrastructureError raised there fails it.

    Attributes:
        calls: the requests of each call of ``complete``.
    """

    def __init__(self, answer: Answer, fingerprint: str = "fake") -> None:
        self.answer, self.fingerprint = answer, fingerprint
        self.calls: list[list[ChatRequest]] = []
        self.closed = 0

    @property
    def requests(self) -> list[ChatRequest]:
        return [request for call in self.calls for request in call]

    def requests_as_text(self) -> list[str]:
        return [repr(request) for request in self.requests]

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        self.calls.append(list(requests))
        return [self._one(request) for request in requests]

    def _one(self, request: ChatRequest) -> ChatResult:
        try:
            return ChatAnswer(self.answer(request))
        except InfrastructureError as error:
            return error

    def close(self) -> None:
        self.closed += 1


def line_of(request: ChatRequest) -> str:
    """Return the line that a hybrid customer wants in other words."""
    found = re.search(r"Line: (.*)", request.messages[-1]["content"])
    assert found
    return found[1]


_OTHER_WORDS = (
    (r"I can spend about (\S+)\.", r"Roughly \1 is what I have."),
    (r"Around (\S+)\.", r"I have around \1 to spend."),
    (r"My budget is (\S+)\.", r"I would stay near \1."),
    (r"Not more than (\S+) or so\.", r"No more than \1."),
    (r"Mostly for (.*?)\.", r"Oh, it's mainly for \1."),
    (r"It is for (.*?)\.", r"I want it for \1."),
    (r"I need it for (.*?)\.", r"It'll be for \1."),
    (r"For me it is (.*?)\.", r"The thing I care about is \1."),
    (r"Above all, (.*?)\.", r"Well, above all \1."),
    (r"That sounds like what I need\.", "Perfect, I like that."),
    (r"Oh, I like that one\.", "That one sounds good to me."),
    (r"What if it breaks after a month\?", "And what if it breaks in a few weeks?"),
    (r"How long until it gets here\?", "How long until I have it?"),
    (r"Good, that helps\.", "Okay, that's good to hear."),
    (r"Yes, I will take it\.", "Yes please, I'll take it!"),
    (r"I am not sure yet\.", "I'm not quite sure yet."),
    (r"This takes too long, goodbye\.", "I have to go now, goodbye."),
)


def paraphrase(request: ChatRequest) -> str:
    """Do what a good model does: say the line in other words, as far as this one knows any."""
    line = line_of(request)
    for pattern, words in _OTHER_WORDS:
        line = re.sub(pattern, words, line)
    return line


def shopper(request: ChatRequest) -> str:
    """Play a customer by the request's seed: talk on, buy or leave, sometimes unreadably."""
    rng = random.Random(request.seed)
    opening = len([m for m in request.messages if m["role"] == "user"]) == 1
    decision = "continue" if opening else rng.choices(("continue", "buy", "leave"), (6, 1, 1))[0]
    say = rng.choice(("Hm, I see.", "Tell me more.", "What does it cost?"))
    answer = json.dumps({"thought": "Well.", "decision": decision, "say": say})
    return rng.choice((answer, f"```json\n{answer}\n```", "Mumble.")) if not opening else answer


def decided_first(request: ChatRequest) -> str:
    """Play a customer that was fitted, by the request's seed, sometimes unreadably."""
    rng = random.Random(request.seed)
    words = ("go",) if len(request.messages) == 1 else ("go", "go", "go", "go", "buy", "leave")
    decision = rng.choice(words)
    say = rng.choice(("Hm, I see.", "Tell me more.", "What does it cost?"))
    return rng.choice((f"{decision} {say}", f"{decision} {say}", "Mumble."))
