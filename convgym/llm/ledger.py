"""What chat models cost, and a hard limit to it.

Every attempt is booked before it is sent, at the worst that it can cost, and settled at what it did
cost once that is known. An attempt that no longer fits is not sent; if attempts under way might
leave enough, it waits for them.

Worst is a token for every byte of the prompt, which no tokenizer of bytes exceeds, and
``max_tokens`` for the answer. An attempt whose cost stays unknown, because it timed out or the
server reports no usage, is booked at its worst. One that never reached the server costs nothing.

So the budget is never exceeded with a server that keeps to ``max_tokens``. Some do not count a
model's thoughts against it. What they report is believed: from then on the worst case is worse by
as much as any attempt exceeded it, and until there was a first report, attempts go one by one. What
is spent beyond the budget is then at most the excess of the attempts under way.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convgym.errors import ConvgymError
from convgym.llm.base import ChatRequest

_PER_REQUEST, _PER_MESSAGE = 64, 16
"""Tokens that chat templates add."""


class BudgetExhausted(ConvgymError):
    """The next request could exceed the budget; answers that came before are not lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of all requests together, None for no limit, and what tokens cost.

    Raises ConvgymError for a limit or price below 0, or a limit of cost without a price.
    """

    requests: int | None = None
    """Attempts, retries among them."""
    tokens: int | None = None
    """Of prompts and answers."""
    cost: float | None = None
    """In the currency of the prices."""
    prompt_price: float = 0.0
    """Per million tokens."""
    completion_price: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (number and value >= 0):
                raise ConvgymError(f"a budget's {name} must be a number from 0 up, got {value!r}")
        if self.cost is not None and not (self.prompt_price or self.completion_price):
            raise ConvgymError(
                "a budget's cost needs prompt_price and completion_price, per million tokens"
            )


@dataclass(frozen=True, slots=True)
class Usage:
    """Requests sent and tokens they took."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def cost(self, budget: Budget) -> float:
        """Return the cost at the budget's prices."""
        prompt, completion = budget.prompt_price, budget.completion_price
        return (self.prompt_tokens * prompt + self.completion_tokens * completion) / 1e6

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def __sub__(self, other: Usage) -> Usage:
        return self + Usage(-other.requests, -other.prompt_tokens, -other.completion_tokens)


def worst_case(request: ChatRequest, extra: Mapping[str, Any] | None = None) -> Usage:
    """Return the most that one attempt at ``request`` can take, with ``extra`` in its body."""
    prompt = _PER_REQUEST + len(json.dumps(request.schema or {})) + len(json.dumps(extra or {}))
    for message in request.messages:
        prompt += _PER_MESSAGE + len(message["content"].encode("utf-8", "replace"))
    return Usage(1, prompt, request.max_tokens)


class Ledger:
    """The books of one budget; several threads may use it.

    Attributes:
        budget: the limits and prices.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._lock = threading.Lock()
        self._spent, self._reserved = Usage(), Usage()
        self._excess = Usage()  # of one attempt over its worst case, at most
        self._reported = False

    @property
    def spent(self) -> Usage:
        """What was settled so far."""
        with self._lock:
            return self._spent

    def reserve(self, worst: Usage, *, first_alone: bool = False) -> bool:
        """Book an attempt's worst case; return False if attempts under way must settle first.

        Args:
            worst: the most that the attempt should take.
            first_alone: whether, where tokens are limited, it waits for an attempt under way as
                long as nobody knows what attempts do take.

        Raises:
            BudgetExhausted: when there is nothing under way and it still does not fit.
        """
        with self._lock:
            under_way = self._reserved.requests
            limited = self.budget.tokens is not None or self.budget.cost is not None
            if first_alone and limited and under_way and not self._reported:
                return False
            excess = Usage(
                0,
                self._excess.prompt_tokens * (under_way + 1),
                self._excess.completion_tokens * (under_way + 1),
            )
            limit = self._exceeded(self._spent + self._reserved + worst + excess)
            if limit is None:
                self._reserved += worst
                return True
            if under_way:
                return False
            cost = self._spent.cost(self.budget)
            raise BudgetExhausted(
                f"the budget of {limit} does not cover another request, after"
                f" {self._spent.requests} requests with {self._spent.tokens} tokens"
                + (f" that cost {cost:.4g}" if cost else "")
                + ": raise it, or go on in a new run"
            )

    def settle(self, worst: Usage, spent: Usage) -> None:
        """Book what an attempt took in place of its worst case, and learn from it."""
        over = spent - worst
        with self._lock:
            self._reserved -= worst
            self._spent += spent
            self._reported = self._reported or spent.tokens > 0
            self._excess = Usage(
                0,
                max(self._excess.prompt_tokens, over.prompt_tokens),
                max(self._excess.completion_tokens, over.completion_tokens),
            )

    def _exceeded(self, usage: Usage) -> str | None:
        budget = self.budget
        if budget.requests is not None and usage.requests > budget.requests:
            return f"{budget.requests} requests"
        if budget.tokens is not None and usage.tokens > budget.tokens:
            return f"{budget.tokens} tokens"
        if budget.cost is not None and usage.cost(budget) > budget.cost:
            return f"cost {budget.cost:g}"
        return None
