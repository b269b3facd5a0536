"""Chat models behind an OpenAI-compatible endpoint: OpenAI, vLLM, llama.cpp, Ollama and others.

All requests of one call are under way at once, up to ``concurrency``. What may pass is tried again
after a growing, jittered wait: too many requests (429, waiting as long as ``Retry-After`` asks, up
to ``longest_wait``), 408, 409, 5xx, time-outs, lost connections, and answers that are empty,
malformed or in another role. After that the request has failed (``InfrastructureError``). What
will not pass, such as a wrong key or an unknown model, is one ``ConvgymError``: nothing more is
sent, what is under way is waited for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from convgym.errors import ConvgymError, InfrastructureError, unknown
from convgym.llm.background import BackgroundLoop
from convgym.llm.base import ChatAnswer, ChatRequest, ChatResult
from convgym.llm.ledger import Budget, Ledger, Usage, worst_case

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

Settings = TypeVar("Settings")

_LOG = logging.getLogger(__name__)
_MAY_PASS = (408, 409, 429)
_LEDGER_POLL = 0.02
"""Seconds between two looks at a ledger that has no room at present."""
_SCHEMA_WORDS = ("response_format", "json_schema", "schema", "grammar", "structured")
"""What servers name when they refuse a schema."""
_SCHEMA_FORMS: tuple[Callable[[Any], dict[str, Any]], ...] = (
    lambda schema: {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    },
    lambda schema: {"type": "json_object", "schema": schema},
)
"""How a schema is sent as ``response_format``: as OpenAI has it, and as llama.cpp has it."""


@dataclass(frozen=True, kw_only=True)
class OpenAIConfig:
    """An endpoint, how it is asked, and what that may cost.

    Raises ConvgymError for a value that cannot be.
    """

    model: str
    """As the endpoint calls it; part of the fingerprint, so call different models differently."""
    base_url: str | None = None
    """Where the API is, ``/v1`` included; None for ``OPENAI_BASE_URL``, or else OpenAI itself."""
    api_key_variable: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; servers of one's own mostly need none."""
    concurrency: int = 32
    """Requests under way at once."""
    timeout: float = 60.0
    """Seconds from sending an attempt to the last byte of its answer."""
    retries: int = 5
    """Attempts after the first."""
    first_wait: float = 0.5
    """Seconds before the second attempt, doubled for each further one, and jittered."""
    longest_wait: float = 30.0
    """Seconds that no wait exceeds."""
    budget: Budget = Budget()  # noqa: RUF009 - frozen
    """Limits of all requests of this process with this config."""

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ConvgymError(f"model must be a name that the endpoint knows, got {self.model!r}")
        for name, least in (("concurrency", 1), ("retries", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConvgymError(f"{name} must be an integer from {least} upwards, got {value!r}")
        for name in ("timeout", "first_wait", "longest_wait"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ConvgymError(f"{name} must be seconds above 0, got {value!r}")
        _check_url(self.base_url)


def _check_url(url: str | None) -> None:
    if url is None:
        return
    parts = urlsplit(url)
    if parts.username or parts.password:
        # Not shown: what stands there is a secret.
        raise ConvgymError("base_url must hold no user or password: keys come from the environment")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConvgymError(f"base_url must begin with http:// or https://, got {url!r}")


class _NoAnswer(Exception):
    """An attempt that may go better next time.

    Attributes:
        wait: seconds that the server asked to wait, if it did.
        reseed: whether a server that samples by seed would do the same again.
    """

    def __init__(self, reason: str, wait: float | None = None, reseed: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.reseed = wait, reseed


class OpenAIBackend:
    """A chat model behind an OpenAI-compatible endpoint, see the module's text.

    A schema is sent as ``response_format``, in OpenAI's form or else in llama.cpp's; a server that
    refuses both is asked without, now and later. Connections are opened with the first request,
    and again after ``close``.

    Attributes:
        config: the settings.
        ledger: what was spent, and the budget.
    """

    def __init__(self, config: OpenAIConfig, ledger: Ledger | None = None) -> None:
        self.config = config
        self.ledger = ledger or Ledger(config.budget)
        self.fingerprint = fingerprint(config.model)
        self._key: SecretStr | None = None
        self._line: _Line | None = None
        self._lock = threading.Lock()
        self._busy = 0
        self._schema_forms = _SCHEMA_FORMS
        self._limit_name = "max_tokens"

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
        stop = threading.Event()
        futures = {
            line.loop.submit(self._answer(line, request, stop)): i
            for i, request in enumerate(requests)
        }
        mistake: BaseException | None = None
        try:
            for future in concurrent.futures.as_completed(futures):
                try:
                    result = future.result()
                except Exception as error:
                    mistake = mistake or error
                    stop.set()
                    continue
                if result is not None:
                    yield futures[future], result
        finally:
            for future in futures:
                future.cancel()
            with self._lock:
                self._busy -= 1
        if mistake is not None:
            raise mistake

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
                self._key = _read_key(self.config)
                client = _make_client(self.config, self._key)
                self._line = _Line(client, self.config.concurrency)
                # For those who do not close; of the parts, as it must not hold the backend itself.
                weakref.finalize(self, self._line.hang_up)
            self._busy += 1
            return self._line

    async def _answer(
        self, line: _Line, request: ChatRequest, stop: threading.Event
    ) -> ChatResult | None:
        """Return the result of a request, None if others were stopped before it was sent."""
        config, rng, seed = self.config, random.Random(request.seed), request.seed
        for attempt in range(config.retries + 1):
            async with line.places:
                if stop.is_set():
                    return None
                try:
                    return await self._attempt(line.client, request, seed)
                except _NoAnswer as error:
                    reason, asked, reseed = str(error), error.wait, error.reseed
            if attempt < config.retries:
                seed += reseed
                wait = config.first_wait * 2**attempt * rng.uniform(0.5, 1)
                await asyncio.sleep(min(max(wait, asked or 0), config.longest_wait))
        times = f" ({config.retries + 1} attempts)" if config.retries else ""
        return InfrastructureError(f"{self.fingerprint}: {reason}{times}")

    async def _attempt(self, client: AsyncOpenAI, request: ChatRequest, seed: int) -> ChatAnswer:
        """Ask once; on the way, learn what the server does not take."""
        while True:
            forms = self._schema_forms if request.schema is not None else ()
            limit_name = self._limit_name
            arguments: dict[str, Any] = {
                "model": self.config.model,
                "messages": [
                    {"role": m["role"], "content": _unicode(m["content"])} for m in request.messages
                ],
                "seed": seed,
                "temperature": request.temperature,
                limit_name: request.max_tokens,
            }
            if forms:
                arguments["response_format"] = forms[0](request.schema)
            refused = await self._send(client, request, arguments)
            if isinstance(refused, ChatAnswer):
                return refused
            text = refused.lower()
            if limit_name == "max_tokens" and "max_completion_tokens" in text:
                self._limit_name = "max_completion_tokens"
            elif forms and any(word in text for word in _SCHEMA_WORDS):
                if self._schema_forms == forms:  # no other request has found out before
                    self._schema_forms = forms[1:]
                    if not forms[1:]:
                        _LOG.warning("%s takes no JSON schema: asked without", self.fingerprint)
            else:
                raise ConvgymError(
                    f"the endpoint of model {self.config.model!r} refuses the request: {refused}"
                )

    async def _send(
        self, client: AsyncOpenAI, request: ChatRequest, arguments: dict[str, Any]
    ) -> ChatAnswer | str:
        """Send one HTTP request, booked; return the answer, or the reason of a refusal (400)."""
        import openai
        from openai.types.chat import ChatCompletion

        worst = worst_case(request)
        while not self.ledger.reserve(worst):
            await asyncio.sleep(_LEDGER_POLL)
        spent = worst
        try:
            async with asyncio.timeout(self.config.timeout):
                # As client.chat.completions.create, which first compares every message with the
                # types of all that a message may be: more than half of an answer's CPU time.
                completion = await client.post(
                    "/chat/completions", body=arguments, cast_to=ChatCompletion
                )
            spent = _usage(completion) or worst
            return _read(completion)
        except openai.APIStatusError as error:
            spent = Usage(requests=1)
            # llama-cpp-python's server says 500 to a form that it does not know.
            if "response_format" in arguments and "response_format" in error.message:
                return self._scrub(error.message)
            return self._refusal(error)
        except (TimeoutError, openai.APITimeoutError):
            raise _NoAnswer(f"no answer within {self.config.timeout:g} s") from None
        except openai.APIConnectionError as error:
            raise _NoAnswer(self._scrub(f"no connection: {error.__cause__ or error}")) from None
        except (openai.OpenAIError, ValueError, TypeError, AttributeError, LookupError) as error:
            # What the client raises when it cannot make sense of a body.
            reason = self._scrub(f"malformed answer: {type(error).__name__}: {error}")
            raise _NoAnswer(reason, reseed=True) from None
        finally:
            self.ledger.settle(worst, spent)

    def _refusal(self, error: APIStatusError) -> str:
        """Return why a request was refused; raises _NoAnswer or ConvgymError for the rest."""
        status, reason = error.status_code, self._scrub(error.message)
        variable, model = self.config.api_key_variable, self.config.model
        if error.code == "insufficient_quota":
            raise ConvgymError(
                f"the account of the key in {variable} is used up: {reason}"
            ) from None
        if status in _MAY_PASS or status >= 500:
            wait = _retry_after(error.response.headers.get("retry-after"))
            raise _NoAnswer(reason, wait) from None
        if status in (401, 403):
            which = f"the key in {variable}" if self._key else f"a request without {variable}"
            raise ConvgymError(
                f"the endpoint of model {model!r} refuses {which}: {reason}"
            ) from None
        if status == 404:
            raise ConvgymError(
                f"the endpoint has no model {model!r}, or base_url is not where its API is"
                f" (mostly it ends with /v1): {reason}"
            ) from None
        return reason

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
        self.process = os.getpid()
        self._open = True

    def hang_up(self) -> None:
        if self._open and self.process == os.getpid():
            self._open = False
            self.loop.stop(self.client.close())


_LEDGERS: dict[OpenAIConfig, Ledger] = {}


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


def fingerprint(model: str) -> str:
    """Return the fingerprint of a model behind an endpoint, wherever that is."""
    return f"openai/{model}"


def _make_client(config: OpenAIConfig, key: SecretStr | None) -> AsyncOpenAI:
    try:
        from openai import AsyncOpenAI
    except ModuleNotFoundError:
        raise ConvgymError(
            "models behind an endpoint need the package openai: pip install 'convgym[llm]'"
        ) from None
    client = AsyncOpenAI(
        # The client wants one even for servers that do not.
        api_key=key.get_secret_value() if key else "none",
        base_url=config.base_url,
        timeout=config.timeout,
        max_retries=0,
    )
    _ = client.chat.completions  # imports more, which is not to count as waiting for an answer
    return client


def _read_key(config: OpenAIConfig) -> SecretStr | None:
    variable = config.api_key_variable
    key = os.environ.get(variable, "").strip()
    if key:
        return SecretStr(key)
    if config.base_url is None and not os.environ.get("OPENAI_BASE_URL"):
        raise ConvgymError(
            f"no key in the environment variable {variable}: set it, or give base_url for a server"
            " that needs none"
        )
    return None


def _read(completion: Any) -> ChatAnswer:
    choices = getattr(completion, "choices", None)
    message = getattr(choices[0], "message", None) if choices else None
    if message is None:
        raise _NoAnswer("malformed answer: no message in it", reseed=True)
    if message.role != "assistant":
        raise _NoAnswer(f"malformed answer: in the role {message.role!r}", reseed=True)
    if not isinstance(message.content, str) or not message.content.strip():
        raise _NoAnswer("empty answer", reseed=True)
    usage = _usage(completion) or Usage()
    return ChatAnswer(_unicode(message.content), usage.prompt_tokens, usage.completion_tokens)


def _usage(completion: Any) -> Usage | None:
    usage = getattr(completion, "usage", None)
    counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
    if not all(isinstance(count, int) for count in counts):
        return None
    return Usage(1, *counts)  # type: ignore[arg-type]


def _unicode(text: str) -> str:
    """Return a text that can be sent: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


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
    except ValueError:
        return None
