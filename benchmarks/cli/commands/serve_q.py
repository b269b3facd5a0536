"""``convgym serve-q``: a fitted Q as a reward model for trainers of others."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.steps import interrupted_by_signals
from convgym.benchmarks.terminal import say

_REASONS = 100
"""Of refusals, which are remembered as told."""

Host = Annotated[
    str, typer.Option(help="Address to listen at; others than loopback are open to others.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")]
Pessimism = Annotated[
    float | None,
    typer.Option(min=0, help="Standard deviations between Q's members to take off their mean."),
]
TokenVariable = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Environment variable with the token that clients must send."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples("convgym serve-q q", "convgym serve-q q --port 8100 --score advantage")
    )(serve_q)


def serve_q(
    q: Annotated[Path, typer.Argument(metavar="Q", help="A Q folder, from convgym fit-q.")],
    policy: Annotated[
        str | None,
        typer.Option(
            help="The policy that Q is of: a folder, or default, or smollm2.",
            show_default="the one that Q's report names",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    score: Annotated[
        str, typer.Option(help="What the reward is: q, or advantage for Q - V.")
    ] = "q",
    pessimism: Pessimism = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Most responses scored together.")] = 64,
    max_wait_ms: Annotated[
        float, typer.Option(min=0, help="Milliseconds that a request waits for others.")
    ] = 5.0,
    max_body_mb: Annotated[float, typer.Option(help="Largest request, in MiB.")] = 16.0,
    token_variable: TokenVariable = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1, mps or auto.", show_default="as in the fit"),
    ] = None,
) -> None:
    """Serve a fitted Q as a reward model over HTTP, for OpenRLHF, verl or anything else.

    A score is the probability of a purchase in a conversation if the seller gives a response. Stops
    on Ctrl-C or SIGTERM, once what is under way has been answered.
    """
    from convgym.agents.serving.app import ServerSettings, make_app
    from convgym.agents.serving.scores import check_kind
    from convgym.agents.serving.scoring import QScorer
    from convgym.agents.serving.server import is_loopback, listening, serve, url_of

    settings = ServerSettings(
        batch_size=batch_size,
        max_wait_ms=max_wait_ms,
        max_body_mb=max_body_mb,
        score=check_kind(score),
        token=_token(token_variable),
    )
    with listening(host, port) as listener:
        scorer = QScorer.open(q, policy, device=device, pessimism=pessimism)
        if settings.token is None and not is_loopback(listener):
            say(
                "anybody who reaches this address can ask for scores: give --token-variable, or"
                " leave --host at loopback",
                error=True,
            )
        app = make_app(
            scorer,
            settings,
            ready=lambda: say(url_of(listener)),
            # Once for each reason: a trainer asks thousands of times.
            refused=lru_cache(_REASONS)(lambda reason: say(f"refused {reason}", error=True)),
            about={"members": scorer.members},
        )
        with suppress(KeyboardInterrupt), interrupted_by_signals():
            serve(app, listener)
        say("stopped", error=True)


def _token(variable: str | None) -> str | None:
    if variable is None:
        return None
    from convgym.errors import ConvgymError

    token = os.environ.get(variable)
    if not token:
        raise ConvgymError(f"the environment variable {variable} is not set: it holds the token")
    return token
