"""``convgym evaluate``: how well one policy or seller sells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import (
    AsJson,
    Catalog,
    Customer,
    CustomerOptions,
    Device,
    Dtype,
    Noise,
    Personas,
    Seed,
    SellerOptions,
    SellerPrompt,
    computing,
    environment,
    findable,
    seller_options,
)
from convgym.benchmarks.cli.steps import show, speaker, working
from convgym.conversation import tell_failures
from convgym.errors import InfrastructureError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym evaluate default --customers 200",
            "convgym evaluate trained/policy --temperature 0.5",
            "convgym evaluate competent --catalog bicycles --json",
        )
    )(evaluate)


def evaluate(
    policy: Annotated[
        str,
        typer.Argument(
            help="The folder of a policy, default, reading-seller, smollm2, or a seller by name.",
            callback=findable,
        ),
    ],
    customers: Annotated[int, typer.Option(min=1, help="Customers it meets.")] = 1000,
    seed: Seed = 0,
    temperature: Annotated[
        float | None, typer.Option(help="Of a policy.", show_default="1.0")
    ] = None,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
    noise: Noise = None,
    output: Annotated[
        Path | None, typer.Option(help="JSON file for the report; never overwritten.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another's report: the gain over it, customer by customer.")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    seller_option: SellerOptions = None,
    seller_prompt: SellerPrompt = None,
    as_json: AsJson = False,
) -> None:
    """Have a policy or a seller meet customers that no training meets, and say what it sold.

    Equal seeds meet the same customers, those of convgym bench with this seed.
    """
    from convgym.benchmarks.runs.judged import judge_one, judge_to_file, read_judged

    options = environment(customer, catalog, personas, customer_option, noise)
    other = None if against is None else read_judged(against, seed, customers, options)
    settings = computing(device, dtype)
    if temperature is not None:
        settings["temperature"] = temperature
    of_seller = seller_options(seller_option, seller_prompt)
    judged = speaker(policy, options, settings, of_seller)
    settings |= of_seller
    if policy == "oracle":
        options["reveal_latent"] = True
    how: dict[str, Any] = {"seed": seed, "environment": options}
    with working(output) as progress:
        how["progress"] = progress
        if output is None:
            report = judge_one(judged, customers, **how)
        else:
            report = judge_to_file(judged, customers, output, settings=settings, **how)
    report["temperature"] = temperature
    if other is not None:
        report["gain"] = _compared(report, other, against)
    show(report, _lines(policy, report), as_json=as_json)
    _refuse_if_too_many_failed(report)


def _compared(
    report: Mapping[str, Any], other: Mapping[str, Any], against: Path | None
) -> dict[str, Any]:
    from convgym.benchmarks.runs.judged import gain_over

    told = {"over": str(against), "policy": other["policy"], "conversion": other["conversion"]}
    return {**told, **asdict(gain_over(report, other))}


def _refuse_if_too_many_failed(report: Mapping[str, Any]) -> None:
    """Raise InfrastructureError for a rate that says nothing, as in a benchmark."""
    from convgym.benchmarks.runs.result import MAX_EXCLUDED_SHARE

    held = report["failed"] + report["conversations"]
    if report["failed"] > MAX_EXCLUDED_SHARE * held:
        raise InfrastructureError(
            f"the rate is invalid: {report['failed']} of {held} conversations failed, more than"
            f" {MAX_EXCLUDED_SHARE:.0%}"
        )


def _lines(policy: str, report: Mapping[str, Any]) -> list[str]:
    customers = report["range"]
    broken_off = tell_failures(Counter(report["outcomes"]).elements())
    return [
        f"{policy}: {_rate(report)}, {report['sales']} of {report['conversations']}",
        f"  {report['mean_turns']:.1f} turns a conversation",
        f"  {broken_off}" if broken_off else "",
        _gain(report),
        f"  evaluation range, seed {customers['seed']}, first {customers['customers']} customers:"
        f" {report['customer']}",
    ]


def _rate(report: Mapping[str, Any]) -> str:
    percent = {name: 100 * value for name, value in report["conversion"].items()}
    return "conversion {value:.1f}% [{low:.1f}, {high:.1f}]".format(**percent)


def _gain(report: Mapping[str, Any]) -> str:
    if "gain" not in report:
        return ""
    gain, points = report["gain"], {k: 100 * v for k, v in report["gain"]["difference"].items()}
    return (
        f"  {points['value']:+.1f} points [{points['low']:+.1f}, {points['high']:+.1f}] over"
        f" {gain['policy']} ({_rate(gain)}, {gain['over']}), on the same"
        f" {gain['customers']} customers"
    )
