"""The settings of a chat endpoint, its key and its client."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from convgym.errors import ConvgymError
from convgym.installing import install_command
from convgym.llm.forms import OWN
from convgym.llm.ledger import Budget
from convgym.secrets import check_option, check_url, check_variable

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_QUOTES = "'\"`"
_PORTS = {"http": 80, "https": 443}


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
    extra_body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Further fields of every request's JSON body, such as ``{"top_k": 20}``; part of the
    fingerprint. They go over ``temperature``, ``seed`` and ``response_format``."""
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
        if self.base_url is not None:
            check_url("base_url", self.base_url)
        check_variable(self.api_key_variable)
        object.__setattr__(self, "extra_body", _extra(self.extra_body))

    @property
    def address(self) -> str:
        """Where the API is; ConvgymError for an ``OPENAI_BASE_URL`` that cannot be."""
        if self.base_url is not None:
            return self.base_url
        url = os.environ.get("OPENAI_BASE_URL", "").strip()
        if url:
            check_url("OPENAI_BASE_URL", url)
        return url or "https://api.openai.com/v1"


def _extra(extra: object) -> dict[str, Any]:
    """Return a copy of an ``extra_body``; ConvgymError for one that cannot be sent."""
    if not isinstance(extra, Mapping):
        raise ConvgymError(
            "extra_body must hold fields by name, such as {'top_k': 20}, got"
            f" {type(extra).__name__}"
        )
    for name in OWN:
        if name in extra:
            raise ConvgymError(f"extra_body must not hold {name!r}: that is set by other options")
    check_option("extra_body", dict(extra))
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(extra), allow_nan=False))
        json.dumps(copy, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise ConvgymError("extra_body must be plain data that JSON can hold") from None
    return copy


def read_key(config: OpenAIConfig) -> SecretStr | None:
    """Return the key from the environment, None where the endpoint is asked without one.

    Raises ConvgymError for one that is needed and missing, or that cannot be one.
    """
    variable = config.api_key_variable
    key = os.environ.get(variable, "").strip()
    if key:
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConvgymError(
                f"the key in {variable} holds characters that no key has (a blank, a typographic"
                " quote, a letter beyond ASCII): copy it again"
            )
        if key[0] in _QUOTES or key[-1] in _QUOTES:
            raise ConvgymError(f"the key in {variable} stands in quotes: set it without them")
        return SecretStr(key)
    if config.base_url is None and not os.environ.get("OPENAI_BASE_URL"):
        raise ConvgymError(
            f"no key in the environment variable {variable}: set it, or give base_url for a server"
            " that needs none"
        )
    return None


def make_client(config: OpenAIConfig, key: SecretStr | None) -> AsyncOpenAI:
    """Return a client that sends nothing to other hosts. Raises ConvgymError without ``openai``."""
    try:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient
    except ModuleNotFoundError:
        raise ConvgymError(
            f"models behind an endpoint need the package openai: {install_command('llm')}"
        ) from None

    async def stay(request: Any) -> None:
        # Called for every request of a chain of redirects, before it is sent.
        if not same_host(str(client.base_url), str(request.url)):
            raise ConvgymError(
                f"the endpoint redirects to another host, {urlsplit(str(request.url)).netloc}:"
                " nothing is sent there; give that as base_url if it is meant"
            )

    connections = DefaultAsyncHttpxClient(timeout=config.timeout, event_hooks={"request": [stay]})
    try:
        client = AsyncOpenAI(
            # The client wants one even for servers that do not.
            api_key=key.get_secret_value() if key else "none",
            base_url=config.address,
            timeout=config.timeout,
            max_retries=0,
            http_client=connections,
        )
    except Exception as error:
        if type(error).__name__ != "InvalidURL":  # of one of two libraries
            raise
        raise ConvgymError(f"base_url is no address: {error}") from None
    _ = client.chat.completions  # imports more, which is not to count as waiting for an answer
    return client


def same_host(address: str, other: str) -> bool:
    """Return whether ``other`` is on the host and port of ``address``, and as safe a way there."""
    here, there = urlsplit(address), urlsplit(other)
    origins = [(parts.hostname, parts.port or _PORTS.get(parts.scheme)) for parts in (here, there)]
    if here.scheme == there.scheme:
        return origins[0] == origins[1]
    secured = (here.hostname, 80), (here.hostname, 443)
    return (here.scheme, there.scheme) == ("http", "https") and tuple(origins) == secured
