"""Q over HTTP: ``POST /score``, ``POST /get_reward`` (OpenRLHF's form), ``GET /health``.

Whatever is wrong with a request is told in one sentence, as ``{"error": "..."}``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from convgym.agents.serving.batching import Batcher
from convgym.agents.serving.forms import ChatRequest, Form, OpenRLHFRequest, parse
from convgym.agents.serving.scores import Kind, Scorer, check_kind
from convgym.checks import check_fields
from convgym.errors import ConvgymError
from convgym.installing import install_command

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route
except ModuleNotFoundError as error:
    raise ConvgymError(f"serving Q needs {error.name!r}: {install_command('serve')}") from error

_PATIENCE = 8
"""Of a body that is too large so many times the limit is read, so that its sender gets to read
why it is refused."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How Q is served.

    Raises:
        ConvgymError: for settings that cannot be.
    """

    batch_size: int = 64
    """Most pairs that are scored together."""
    max_wait_ms: float = 5.0
    """Milliseconds that a pair waits for company."""
    max_body_mb: float = 16.0
    """Largest body of a request, in MiB."""
    body_seconds: float = 30.0
    """Within which the whole body of a request must have come."""
    score: Kind = "q"
    """What is the reward where a request does not say."""
    token: str | None = field(default=None, repr=False)
    """What clients must know; None lets everybody ask."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("batch_size",),
            from_zero=("max_wait_ms",),
            positive=("max_body_mb", "body_seconds"),
        )
        check_kind(self.score)
        if self.token is not None and (not self.token.isascii() or not self.token.strip()):
            raise ConvgymError("a token must be ASCII characters, and not blank")

    @property
    def max_body(self) -> int:
        """Largest body in bytes."""
        return int(self.max_body_mb * 2**20)


def make_app(
    scorer: Scorer,
    settings: ServerSettings | None = None,
    *,
    ready: Callable[[], None] = lambda: None,
    refused: Callable[[str], None] = lambda reason: None,
    about: Mapping[str, Any] | None = None,
) -> Starlette:
    """Return the application.

    Args:
        scorer: the reward model.
        settings: how it is served.
        ready: called once requests will be answered.
        refused: told why a request is refused: some clients do not show it.
        about: what ``/health`` says besides.
    """
    settings = settings or ServerSettings()
    batcher = Batcher(scorer, batch_size=settings.batch_size, max_wait=settings.max_wait_ms / 1000)

    @asynccontextmanager
    async def working(app: Starlette) -> AsyncIterator[None]:
        async with batcher:
            ready()
            yield

    async def health(request: Request) -> JSONResponse:
        known = {"waiting": batcher.waiting, "batches": batcher.batches, "scored": batcher.scored}
        return JSONResponse({"status": "ok", **known, "score": settings.score, **(about or {})})

    async def score(request: Request) -> JSONResponse:
        return await answer(request, ChatRequest)

    async def get_reward(request: Request) -> JSONResponse:
        return await answer(request, OpenRLHFRequest)

    async def answer(
        request: Request, form: type[ChatRequest] | type[OpenRLHFRequest]
    ) -> JSONResponse:
        _check_token(request, settings.token)
        body = await _json_body(request, settings.max_body, settings.body_seconds)
        try:
            kind = check_kind(request.query_params.get("score", settings.score))
            asked: Form = parse(form, body)
            pairs = [scorer.read(state, response) for state, response in asked.asked()]
        except ConvgymError as error:
            _refuse(422, str(error))
        return JSONResponse(asked.answer(await batcher.score(pairs), kind))

    async def told(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        detail = error.detail
        if allowed := (error.headers or {}).get("Allow"):
            wanted = " or ".join(sorted(set(allowed.split(", ")) - {"HEAD"}))
            detail = f"{request.method} is not what {request.url.path} takes: send {wanted}"
        refused(f"{request.url.path}: {error.status_code}, {detail}")
        return JSONResponse({"error": detail}, error.status_code, error.headers)

    return Starlette(
        routes=[
            Route("/health", health, methods=["GET"]),
            Route("/score", score, methods=["POST"]),
            Route("/get_reward", get_reward, methods=["POST"]),
        ],
        exception_handlers={HTTPException: told, Exception: _failed},
        lifespan=working,
    )


async def _failed(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": f"scoring failed: {type(error).__name__}"}, 500)


def _refuse(status: int, reason: str, headers: Mapping[str, str] | None = None) -> NoReturn:
    raise HTTPException(status, " ".join(reason.split()), headers)


def _check_token(request: Request, token: str | None) -> None:
    """Refuse who does not know the token: as a bearer token, or as the password of the URL.

    OpenRLHF sends no header of its own, but ``http://any:TOKEN@host`` as basic authentication.
    """
    if token is None:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(given, validate=True).decode("latin-1")
        except (binascii.Error, ValueError):
            decoded = ""
        given = decoded.partition(":")[2]
    elif scheme.lower() != "bearer":
        given = ""
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        _refuse(
            401,
            "this server wants its token: send 'Authorization: Bearer TOKEN', or"
            " http://any:TOKEN@host as the URL",
            {"WWW-Authenticate": "Bearer"},
        )


async def _json_body(request: Request, limit: int, seconds: float) -> object:
    """Return the JSON of a body; refuse what is too large, does not come in time, or is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A page in a browser cannot send this type to another origin without asking.
        _refuse(415, f"the content type must be application/json, got {kind or 'none'!r}")
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limit:
                    body += chunk
                elif size > _PATIENCE * limit:
                    break
    except TimeoutError:
        _refuse(
            400,
            f"the body broke off: after {seconds:g} seconds {size} bytes of it had come, which is"
            " less than its Content-Length says",
            {"Connection": "close"},
        )
    except ClientDisconnect:
        _refuse(400, "the body broke off")
    if size > limit:
        _refuse(
            413,
            f"the body has more than {limit} bytes: send fewer responses at a time, or serve with"
            " a larger --max-body-mb",
            {"Connection": "close"},
        )
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        _refuse(400, f"the body is no JSON: {reason}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
