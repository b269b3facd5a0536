"""Exchanges with a chat model: requests one after the other, and many exchanges side by side.

An exchange is a generator: it yields a ``ChatRequest``, is sent the answer, may ask again, and
returns what came out. It is written as if it were alone, and still a hundred of them cost one call
of ``ChatBackend.complete`` a round, or wait for nobody but the model (``ask_soon``). It may also
yield a ``Scoring``, whose scores are filled in when it goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from convgym.contracts import described, require
from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm import ChatAnswer, ChatBackend, ChatRequest, ChatResult, make_backend
from convgym.llm.base import AsyncBackend, Continuation, ScoringBackend


@dataclass(slots=True, eq=False)
class Scoring:
    """Texts that an exchange wants scored; ``scores``, in their order, are there afterwards."""

    scorer: ScoringBackend
    texts: tuple[Continuation, ...]
    scores: Sequence[float] = ()


Result = TypeVar("Result")
Exchange: TypeAlias = Generator[ChatRequest | Scoring, ChatResult, Result]

_NEED_A_MODEL = ("openai",)


def open_backend(backend: str | ChatBackend, options: Mapping[str, Any]) -> ChatBackend:
    """Return a chat model by name, opened with ``options``, or the one that is given.

    Raises ConvgymError for a mistake in these, among them a model that is not named, or for options
    beside a backend that is open.
    """
    if isinstance(backend, str):
        if backend in _NEED_A_MODEL and not {"model", "replay"} & set(options):
            raise ConvgymError(
                f"a customer that speaks through {backend!r} needs a model: give its name, in the"
                " environment as customer_options={'model': ...}, on the command line as"
                " --customer-option model=..."
            )
        return make_backend(backend, **options)
    if options:
        raise ConvgymError(
            f"a chat backend object takes no options, got {', '.join(options)}: give its name"
        )
    require(backend, ChatBackend, f"{described(backend)} is no chat backend")
    return backend


def ask(backend: ChatBackend, exchange: Exchange[Result]) -> Result:
    """Hold one exchange. Raises InfrastructureError if it fails."""
    (result,) = ask_together([backend], [exchange])
    if isinstance(result, InfrastructureError):
        raise result
    return result


async def ask_soon(backend: AsyncBackend, exchange: Exchange[Result]) -> Result:
    """Hold one exchange beside others. Raises InfrastructureError if it fails.

    What is scored in this process is so in a thread: nobody waits for it but this exchange.
    """
    try:
        request = next(exchange)
        while True:
            if isinstance(request, Scoring):
                await asyncio.to_thread(score_together, [request])
                request = next(exchange)
            else:
                request = exchange.send(await backend.complete_async(request))
    except StopIteration as stop:
        result: Result = stop.value
        return result


def ask_together(
    backends: Sequence[ChatBackend], exchanges: Sequence[Exchange[Result]]
) -> list[Result | InfrastructureError]:
    """Hold N exchanges side by side, each with its backend (N of them, mostly the same one).

    Of all exchanges that wait for the same backend, each round is one call; what is to be scored
    waits until nobody waits for an answer. An exchange that raises InfrastructureError has it in
    the list; the others go on.
    """
    results: dict[int, Result | InfrastructureError] = {}
    waiting: dict[int, ChatRequest] = {}
    scorings: dict[int, Scoring] = {}

    def go_on(i: int, answer: ChatResult | None) -> None:
        try:
            # A generator that has not begun takes nothing but None.
            request = next(exchanges[i]) if answer is None else exchanges[i].send(answer)
        except StopIteration as stop:
            results[i] = stop.value
        except InfrastructureError as error:
            results[i] = error
        else:
            if isinstance(request, Scoring):
                scorings[i] = request
            else:
                waiting[i] = request

    for i in range(len(exchanges)):
        go_on(i, None)
    while waiting or scorings:
        if not waiting:
            score_together(list(scorings.values()))
            for i in list(scorings):
                del scorings[i]
                go_on(i, None)
            continue
        backend = backends[next(iter(waiting))]
        due = {i: waiting.pop(i) for i in list(waiting) if backends[i] is backend}
        for i, answer in zip(due, backend.complete(list(due.values())), strict=True):
            go_on(i, answer)
    return [results[i] for i in range(len(exchanges))]


def score_together(scorings: Sequence[Scoring]) -> None:
    """Fill in the scores of all, with one call of each scorer."""
    for scorer in {id(scoring.scorer): scoring.scorer for scoring in scorings}.values():
        due = [scoring for scoring in scorings if scoring.scorer is scorer]
        scores = scorer.log_probabilities([text for scoring in due for text in scoring.texts])
        for scoring in due:
            count = len(scoring.texts)
            scoring.scores, scores = tuple(scores[:count]), scores[count:]


def answer_of(result: ChatResult) -> ChatAnswer:
    """Return an answer. Raises the InfrastructureError that there is in its place."""
    if isinstance(result, ChatAnswer):
        return result
    raise result


def call_seed(stream: str, turn: int, attempt: int) -> int:
    """Return the seed of one call, in [0, 2**31), from the conversation's stream and its place."""
    digest = hashlib.sha256(f"{stream}/{turn}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
