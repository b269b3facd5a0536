"""``convgym collect``: hold the conversations that a round learns from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import (
    AsJson,
    Catalog,
    Customer,
    CustomerOptions,
    Device,
    Dtype,
    OwnSettings,
    Personas,
    Seed,
    SellerOptions,
    SellerPrompt,
    computing,
    environment,
    findable,
    own_settings,
    placed,
    seller_options,
    with_computing,
)
from convgym.benchmarks.cli.steps import show, working
from convgym.conversation import tell_failures
from convgym.errors import ConvgymError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym collect log.jsonl --policy default --conversations 2048",
            "convgym collect log.jsonl --seller mediocre --set epsilon=0.2",
        )
    )(collect)


def collect(
    log: Annotated[Path, typer.Argument(help="JSONL file to write; never overwritten.")],
    policy: Annotated[
        str | None, typer.Option(help="The folder of a policy, default, reading-seller or smollm2.")
    ] = None,
    seller: Annotated[
        str | None,
        typer.Option(help="A seller by name, or package.module:factory.", callback=findable),
    ] = None,
    conversations: Annotated[int, typer.Option(min=1)] = 1000,
    seed: Seed = 0,
    settings: OwnSettings = None,
    seller_option: SellerOptions = None,
    seller_prompt: SellerPrompt = None,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
) -> None:
    """Step 1: have a policy, or a seller, hold conversations with customers of the training range.

    Of a policy, token ids and log-probabilities are kept. Settings are policy.temperature,
    exploration, personas and the like. The same seed meets the same customers as a training.
    """
    from convgym.agents.pipeline.collecting import collect_from_policy, collect_from_seller
    from convgym.agents.training.collector import Collector

    if (policy is None) == (seller is None):
        raise ConvgymError("say who speaks: either --policy FOLDER or --seller SELLER")
    options = environment(customer, catalog, personas, customer_option)
    given, of_seller = own_settings(settings), seller_options(seller_option, seller_prompt)
    if of_seller and seller is None:
        raise ConvgymError("--seller-option and --seller-prompt are of --seller: name one")
    if seller is not None:
        given = placed(seller, {**given, **of_seller}, device, dtype)
    else:
        given = with_computing(given, computing(device, dtype), ["policy"])
    with working(log) as progress:
        if policy is not None:
            from convgym.agents.algorithms.iterative_ppo import IterativePPOConfig
            from convgym.agents.pipeline.inputs import load_policy
            from convgym.agents.settings import configured

            config = configured(IterativePPOConfig(), given, "collect")
            collector = Collector(conversations, seed=seed, environment=options)
            language_model = load_policy(policy, config.policy)
            report = collect_from_policy(log, language_model, collector, config, progress=progress)
        else:
            from convgym.benchmarks.talks.scene import Scene

            assert seller is not None
            speaker = Scene(options).seller(seller, given)
            if seller == "oracle":
                options["reveal_latent"] = True
            collector = Collector(conversations, seed=seed, environment=options)
            report = collect_from_seller(log, speaker, collector, given, progress=progress)
    told = [
        f"{report['log']}: {report['conversations']} conversations of {report['speaker']}",
        f"{report['sales']} of them sales",
        tell_failures(Counter(report.get("outcomes")).elements()),
    ]
    show(report, [", ".join(filter(None, told))], as_json=as_json)
