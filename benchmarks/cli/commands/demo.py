"""``convgym demo``: a web page to sell to a customer, or to watch others sell."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convgym.benchmarks.cli.commands.serve_q import Host, Port
from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import (
    Catalog,
    Customer,
    CustomerOptions,
    Device,
    Dtype,
    Personas,
    Seed,
    SellerOptions,
    SellerPrompt,
    environment,
    findable,
    is_local_seller,
    placed,
    seller_options,
)
from convgym.benchmarks.cli.steps import interrupted_by_signals
from convgym.benchmarks.terminal import say
from convgym.errors import ConvgymError

if TYPE_CHECKING:
    from convgym.benchmarks.demo.house import House

_PATIENCE = 5
"""Seconds that visitors' events may take once the server is to end."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym demo",
            "convgym demo --seller default --q q --policy default",
            "convgym demo --seller trained/policy --run results/quick-seed0",
            "convgym demo --customer shopper --port 8080",
        )
    )(demo)


def demo(
    seller: Annotated[
        list[str] | None,
        typer.Option(
            help="A seller to watch and to ask for advice, beside the reference sellers, as often"
            " as wanted: a name, openai:MODEL, hf:FOLDER or the folder alone (of a trained policy,"
            " say), or package.module:factory.",
        ),
    ] = None,
    seller_option: SellerOptions = None,
    seller_prompt: SellerPrompt = None,
    seed: Seed = 0,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
    q: Annotated[
        Path | None,
        typer.Option("--q", help="A folder from convgym fit-q: rates what is said."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="The policy that Q is of.", show_default="the one in its report"),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(help="A results folder whose learning curve is shown, as often as wanted."),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Serve a web page: sell to a customer, or watch two sellers meet the same one.

    While you sell you can ask for advice, rated by a learned Q where one is given; afterwards the
    page tells why it ended so and what the customer kept to itself. Visitors choose among what is
    named here, and nothing that they type is run. Needs the extra demo. Stops on Ctrl-C.
    """
    from convgym.agents.serving.server import listening
    from convgym.benchmarks.cli.seat import adviser_of, seller_name
    from convgym.benchmarks.demo.cast import Cast
    from convgym.benchmarks.demo.curve import curve_page
    from convgym.benchmarks.demo.house import House
    from convgym.benchmarks.demo.serving import load_gradio
    from convgym.benchmarks.talks.scene import Scene

    names = [seller_name(name) for name in seller or () if findable(name)]
    if "human" in (customer, *names):
        raise ConvgymError("nobody sits at this terminal: human is for convgym chat")
    scene = Scene(environment(customer, catalog, personas, customer_option))
    scene.check()
    named = _options(names, seller_options(seller_option, seller_prompt), device, dtype)
    load_gradio()
    with listening(host, port) as listener:
        house = House(scene, Cast(scene, named), adviser_of(q, policy))
        _serve(listener, house, seed, curve_page(run) if run else "")


def _serve(listener: socket.socket, house: House, seed: int, curve: str) -> None:
    from convgym.agents.serving.server import is_loopback, serve, url_of
    from convgym.benchmarks.demo.guard import LOOPBACK_HOSTS
    from convgym.benchmarks.demo.serving import make_app

    hosts = LOOPBACK_HOSTS if is_loopback(listener) else None
    if hosts is None:
        say(
            "anybody who reaches this address can talk to customers and sellers here: leave --host"
            " at loopback to keep it to yourself",
            error=True,
        )
    app, end = make_app(house, seed=seed, curve=curve, hosts=hosts)
    say(url_of(listener))
    with suppress(KeyboardInterrupt), interrupted_by_signals():
        serve(app, listener, ending=end, patience=_PATIENCE)
    say("stopped", error=True)


def _options(
    names: Sequence[str], options: Mapping[str, Any], device: str | None, dtype: str | None
) -> dict[str, Mapping[str, Any]]:
    """Return the sellers' options by their names: where it computes is of local models alone."""
    if options and not names:
        raise ConvgymError("--seller-option and --seller-prompt are of --seller: name one")
    local = {name: placed(name, options, device, dtype) for name in filter(is_local_seller, names)}
    if (device or dtype) and not local:
        raise ConvgymError("--device and --dtype are of a --seller that computes here: name one")
    return {name: local.get(name, options) for name in names}
