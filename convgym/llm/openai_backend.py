"""Chat models behind an OpenAI-compatible endpoint: OpenAI, vLLM, llama.cpp, Ollama and others.

All requests of one call are under way at once, up to ``concurrency``. What may pass is tried again
after a growing, jittered wait: too many requests (429, waiting as long as ``Retry-After`` asks, up
to ``longest_wait``), 408, 409, 5xx, time-outs, lost connections, and answers that are empty,
malformed, badly sampled or in another role. After that the request has failed
(``InfrastructureError``). So has one that the endpoint refuses for what stands in it, such as a
conversation that is too long or that a content filter stops: the others go on.

What will not pass, such as a wrong key or an unknown model, is one ``ConvgymError``: nothing more
is sent, what is under way is waited for. A refusal for a reason that nobody knows is such a mistake
if the endpoint has never answered anybody, and else a failure of its request alone.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import json
import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from convgym.background import BackgroundLoop
from convgym.errors import ConvgymError, InfrastructureError, unknown
from convgym.llm.base import ChatAnswer, ChatRequest, ChatResult
from convgym.llm.completions import error_in, read_body, read_completion, read_usage
from convgym.llm.endpoint import OpenAIConfig, make_client, read_key
from convgym.llm.errors import NoAnswer
from convgym.llm.forms import Forms
from convgym.llm.ledger import Budget, Ledger, Usage, worst_case
from convgym.llm.refusals import Refusal, read_refusal, refusal_in
from convgym.options import takes_fields_of

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OpenAIBackend", "OpenAIConfig", "fingerprint", "ledgers", "openai_backend"]

Settings = TypeVar("Settings")

_LOG = logging.getLogger(__name__)
_POLL = 0.02
"""Seconds between two looks at what others are about to change, such as a ledger without room."""
_NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError")
"""What the client calls attempts that never reached the server."""


class _Failed(Exception):
    """A request that fails alone, whatever becomes of the others."""


@dataclass(frozen=True, slots=True)
class _Doubtful:
    """A request that failed by the user's mistake, if the endpoint never answers anybody."""

    reason: str
    failure: InfrastructureError


class _Call:
    """Requests that are asked together.

    Attributes:
        stop: set when no more of them are to be sent.
        mistake: why, if that is because the endpoint refused so many and answered none.
        error: why, if that is because one of them, asked singly, met a mistake.
        under_way: how many were asked singly and have no result yet.
        in_doubt: how many of these have come to nothing, and wait for whether others are answered.
    """

    def __init__(self, most_doubts: int) -> None:
        self.stop = threading.Event()
        self.mistake: str | None = None
        self.error: ConvgymError | None = None
        self.under_way = self.in_doubt = 0
        self._left = most_doubts

    def doubt(self, doubtful: _Doubtful) -> None:
        """Count a request that came to nothing while none was ever answered."""
        self._left -= 1
        if self._left <= 0:
            self.mistake = self.mistake or doubtful.reason
            self.stop.set()


class OpenAIBackend:
    """A chat model behind an OpenAI-compatible endpoint.

    All requests of one call are under way at once, up to ``concurrency``; what may pass is tried
    again, what is refused for its content fails alone, what nobody could get is a ConvgymError.

    What the server does not take is asked in another way or left out, now and later
    (``convgym.llm.forms``). Connections are opened with the first request, and again after
    ``close``. Redirects to another host are not followed.

    Attributes:
        config: the settings.
        ledger: what was spent, and the budget.
    """

    def __init__(self, config: OpenAIConfig, ledger: Ledger | None = None) -> None:
        self.config = config
        self.ledger = ledger or Ledger(config.budget)
        self.fingerprint = fingerprint(config.model, config.extra_body)
        self._key: SecretStr | None = None
        self._line: _Line | None = None
        self._lock = threading.Lock()
        self._busy = 0
        self._forms = Forms()
        self._has_answered = False

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        """Answer all requests together, in their order.

        Raises:
            ConvgymError: for a missing package or key, whatever else the endpoint refuses for
                good, and a budget that is used up (``BudgetExhausted``).
        """
        results = dict(self.as_answered(requests))
        return [results[i] for i in range(len(requests))]

    def as_answered(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResult]]:
        """Yield place and result of each request as it comes; raises as ``complete``, at last."""
        line = self._connect()
        call = _Call(self.config.concurrency)
        futures = {
            line.loop.submit(self._answer(line, request, call)): i
            for i, request in enumerate(requests)
        }
        mistake: BaseException | None = None
        doubts: list[tuple[int, _Doubtful]] = []
        try:
            for future in concurrent.futures.as_completed(futures):
                try:
                    result = future.result()
                except Exception as error:
                    mistake = mistake or error
                    call.stop.set()
                    continue
                if isinstance(result, _Doubtful):
                    doubts.append((futures[future], result))
                elif result is not None:
                    yield futures[future], result
                if self._has_answered:
                    yield from ((i, doubtful.failure) for i, doubtful in doubts)
                    doubts.clear()
        finally:
            for future in futures:
                future.cancel()
            with self._lock:
                self._busy -= 1
        refused = call.mistake or (doubts[0][1].reason if doubts else None)
        if mistake is None and refused is not None:
            mistake = ConvgymError(refused)
        if mistake is not None:
            raise mistake

    async def complete_async(self, request: ChatRequest) -> ChatResult:
        """Answer one request, beside all others that are under way; raises as ``complete``."""
        line = self._connect()
        try:
            return await asyncio.wrap_future(line.loop.submit(self._answer_singly(line, request)))
        finally:
            with self._lock:
                self._busy -= 1

    async def _answer_singly(self, line: _Line, request: ChatRequest) -> ChatResult:
        """Answer one request of the call that all belong to whom this line answers singly."""
        call = line.call = line.call or _Call(self.config.concurrency)
        call.under_way += 1
        try:
            result = await self._answer(line, request, call)
            if isinstance(result, _Doubtful):
                return await self._settle(result, call)
            if result is None:
                refused = call.error or ConvgymError(call.mistake or "the backend was stopped")
                raise type(refused)(*refused.args)
            return result
        except ConvgymError as error:
            call.error = call.error or error
            raise
        finally:
            call.under_way -= 1
            if not call.under_way:
                line.call = None

    async def _settle(self, doubtful: _Doubtful, call: _Call) -> InfrastructureError:
        """Return the failure if others are answered; raise the user's mistake if nobody is."""
        call.in_doubt += 1
        try:
            while not (self._has_answered or call.stop.is_set() or call.in_doubt == call.under_way):
                await asyncio.sleep(_POLL)
        finally:
            call.in_doubt -= 1
        if self._has_answered:
            return doubtful.failure
        call.stop.set()
        raise ConvgymError(call.mistake or doubtful.reason)

    def close(self) -> None:
        """Close the connections, unless another thread is using them just now."""
        with self._lock:
            if self._line is not None and not self._busy:
                self._line.hang_up()
                self._line = None

    def _connect(self) -> _Line:
        """Return the open line, and count one more user of it."""
        with self._lock:
            if self._line is None or self._line.process != os.getpid():  # threads do not fork
                self._key = read_key(self.config)
                client = make_client(self.config, self._key)
                self._line = _Line(client, self.config.concurrency)
                # For those who do not close; of the parts, as it must not hold the backend itself.
                weakref.finalize(self, self._line.hang_up)
            self._busy += 1
            return self._line

    async def _answer(
        self, line: _Line, request: ChatRequest, call: _Call
    ) -> ChatResult | _Doubtful | None:
        """Return the result of a request, None if others were stopped before it was sent."""
        config, rng, seed = self.config, random.Random(request.seed), request.seed
        for attempt in range(config.retries + 1):
            async with line.places:
                if call.stop.is_set():
                    return None
                try:
                    return self._note(await self._attempt(line.client, request, seed), call)
                except NoAnswer as error:
                    problem = error
                except _Failed as error:
                    return InfrastructureError(f"{self.fingerprint}: {error}")
                except ConvgymError:
                    call.stop.set()  # before the place is free for another
                    raise
            if attempt < config.retries:
                seed += problem.reseed
                wait = config.first_wait * 2**attempt * rng.uniform(0.5, 1)
                await asyncio.sleep(min(max(wait, problem.wait or 0), config.longest_wait))
        times = f" ({config.retries + 1} attempts)" if config.retries else ""
        failure = InfrastructureError(f"{self.fingerprint}: {problem}{times}")
        return self._note(_Doubtful(str(failure), failure), call) if problem.doubtful else failure

    def _note(self, result: ChatAnswer | _Doubtful, call: _Call) -> ChatAnswer | _Doubtful:
        """Note whether this endpoint answers anybody, before anything more is sent."""
        if isinstance(result, ChatAnswer):
            self._has_answered = True
        elif not self._has_answered:
            call.doubt(result)
        return result

    async def _attempt(
        self, client: AsyncOpenAI, request: ChatRequest, seed: int
    ) -> ChatAnswer | _Doubtful:
        """Ask once; on the way, learn what the server does not take."""
        while True:
            forms = self._forms
            body = forms.body(request, self.config.model, seed, self.config.extra_body)
            result = await self._send(client, request, body)
            if isinstance(result, ChatAnswer):
                return result
            change = self._judge(result, forms, body)
            if change is None:
                reason = self._scrub(result.reason)
                failure = InfrastructureError(f"{self.fingerprint}: request refused: {reason}")
                mistake = (
                    f"the endpoint of model {self.config.model!r} refuses the request: {reason}"
                )
                return _Doubtful(mistake, failure)
            if self._forms is forms:  # no other request has found out before
                self._forms, told = change
                if told:
                    _LOG.warning("%s %s", self.fingerprint, told)

    def _judge(
        self, refusal: Refusal, forms: Forms, body: Mapping[str, Any]
    ) -> tuple[Forms, str] | None:
        """Return in which other way to ask, None if that is not known; raises for the rest."""
        kind, reason = refusal.kind, self._scrub(refusal.reason)
        variable, model = self.config.api_key_variable, self.config.model
        if kind == "account":
            raise ConvgymError(f"the account of the key in {variable} is used up: {reason}")
        if kind == "sample":
            raise NoAnswer(reason, reseed=True)
        if kind == "conversation":
            raise _Failed(f"request refused: {reason}")
        if kind == "key":
            which = f"the key in {variable}" if self._key else f"a request without {variable}"
            raise ConvgymError(f"the endpoint of model {model!r} refuses {which}: {reason}")
        change = forms.after(refusal, body) if refusal.status != 429 else None
        if change is not None:
            return change
        if kind == "passing":
            raise NoAnswer(reason, refusal.retry_after)
        if kind == "address":
            raise ConvgymError(
                f"the endpoint has no model {model!r}, or base_url is not where its API is"
                f" (mostly it ends with /v1): {reason}"
            )
        return None

    async def _send(
        self, client: AsyncOpenAI, request: ChatRequest, body: dict[str, Any]
    ) -> ChatAnswer | Refusal:
        """Send one HTTP request, booked; return the answer, or the refusal."""
        import openai

        worst = worst_case(request, self.config.extra_body)
        while not self.ledger.reserve(worst, first_alone=True):
            await asyncio.sleep(_POLL)
        spent = worst
        try:
            async with asyncio.timeout(self.config.timeout):
                # The body alone: the client's own reading of it takes half of an answer's CPU time.
                content = await client.post("/chat/completions", body=body, cast_to=bytes)
            data = read_body(content)
            spent = read_usage(data) or worst
            error = error_in(data)
            return read_completion(data, request.max_tokens) if error is None else refusal_in(error)
        except openai.APIStatusError as error:
            spent = Usage(requests=1)
            wait = _retry_after(error.response.headers.get("retry-after"))
            return read_refusal(error.status_code, error.response.content, wait)
        except (TimeoutError, openai.APITimeoutError) as error:
            if _never_sent(error):
                spent = Usage()
            raise NoAnswer(f"no answer within {self.config.timeout:g} s") from None
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, ConvgymError):
                spent = Usage(requests=1)
                raise error.__cause__ from None
            spent = Usage() if _never_sent(error) else worst
            raise NoAnswer(self._scrub(f"no connection: {error.__cause__ or error}")) from None
        except ConvgymError:  # a redirect that is not followed
            spent = Usage(requests=1)
            raise
        except (openai.OpenAIError, ValueError, TypeError, LookupError) as error:
            # What the client raises when it cannot make sense of a response.
            reason = self._scrub(f"malformed answer: {type(error).__name__}: {error}")
            raise NoAnswer(reason, reseed=True) from None
        finally:
            self.ledger.settle(worst, spent)

    def _scrub(self, message: str) -> str:
        """Return a message fit for logs: without the key, on one line, not too long."""
        if self._key:
            message = message.replace(self._key.get_secret_value(), "***")
        return " ".join(message.split())[:300]


class _Line:
    """An open client, the loop that it runs in, and the places for requests under way."""

    def __init__(self, client: AsyncOpenAI, concurrency: int) -> None:
        self.client = client
        self.loop = BackgroundLoop("convgym-chat")
        self.places = asyncio.Semaphore(concurrency)
        self.call: _Call | None = None  # of requests that are asked singly
        self.process = os.getpid()
        self._open = True

    def hang_up(self) -> None:
        if self._open and self.process == os.getpid():
            self._open = False
            self.loop.stop(self.client.close())


_LEDGERS: dict[OpenAIConfig, Ledger] = {}


@takes_fields_of(OpenAIConfig)
def openai_backend(**options: Any) -> OpenAIBackend:
    """Return a backend with these fields of ``OpenAIConfig``; ``budget`` may be a mapping.

    Equal configs have one ledger, so that a budget covers all that this process ever asks. Raises
    ConvgymError for an unknown option or a value that cannot be.
    """
    budget = options.get("budget", {})
    if not isinstance(budget, Budget):
        if not isinstance(budget, Mapping):
            raise ConvgymError(f"budget must be limits by name, got {budget!r}")
        options["budget"] = _from_options(Budget, "budget", budget)
    config = _from_options(OpenAIConfig, "option of backend 'openai'", options)
    return OpenAIBackend(config, _LEDGERS.setdefault(config, Ledger(config.budget)))


def ledgers() -> dict[OpenAIConfig, Ledger]:
    """Return the books of all that ``openai_backend`` made in this process."""
    return dict(_LEDGERS)


def _from_options(kind: type[Settings], what: str, options: Mapping[str, Any]) -> Settings:
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            raise unknown(what, name, known)
    try:
        return kind(**options)
    except TypeError as error:
        raise ConvgymError(f"cannot make chat backend 'openai': {error}") from None


def fingerprint(model: str, extra_body: Mapping[str, Any] | None = None) -> str:
    """Return the fingerprint of a model behind an endpoint, wherever that is."""
    if not extra_body:
        return f"openai/{model}"
    digest = hashlib.sha256(json.dumps(extra_body, sort_keys=True).encode()).hexdigest()[:8]
    return f"openai/{model}+{digest}"


def _never_sent(error: BaseException) -> bool:
    return type(error.__cause__).__name__ in _NEVER_SENT


def _retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header: a number of them or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, OSError):
        return None
