"""``convgym serve-customer``: a chat model of this machine for customers."""

from __future__ import annotations

from typing import Annotated

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.steps import interrupted_by_signals
from convgym.benchmarks.terminal import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym serve-customer",
            "convgym serve-customer --model model.gguf --port 8000",
        )
    )(serve_customer)


def serve_customer(
    model: Annotated[str, typer.Option(help="smollm2, or a GGUF file.")] = "smollm2",
    port: Annotated[int, typer.Option(min=0, help="0 for any that is free.")] = 0,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that loading may take.")] = 120.0,
) -> None:
    """Serve a local chat model for customers, without key or network, until Ctrl-C."""
    from convgym.llm.local.serve import llama_server, model_name

    server = llama_server(model, port=port, ready_within=timeout)
    options = {"backend": "openai", "model": model_name(model), "base_url": server.url}
    given = [f"--customer-option {name}={value}" for name, value in options.items()]
    try:
        with interrupted_by_signals(), server:
            say(f"ready: convgym chat --customer hybrid {' '.join(given)}", error=True)
            say(server.url)
            server.wait()
    except KeyboardInterrupt:
        say("stopped", error=True)
