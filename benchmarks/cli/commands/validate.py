"""``convgym validate``: put a customer to a suite of checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import (
    Catalog,
    CustomerOptions,
    Personas,
    Seed,
    environment,
    findable,
    named,
    own_settings,
)
from convgym.benchmarks.terminal import console
from convgym.errors import ConvgymError, whose

LimitOptions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SHARE",
        help="Another limit, such as deal-breaker=0.1; repeatable. A wrong name shows all.",
    ),
]
Reference = Annotated[
    Path | None,
    typer.Option(help="People's log, to stand beside (convgym logs import): with --realism."),
]
Original = Annotated[
    str | None,
    typer.Option(help="The customer that it imitates: with --realism.", callback=findable),
]
OriginalOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--original-option",
        metavar="NAME=VALUE",
        help="Option of the original, as often as wanted.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym validate scripted --conversations 50",
            "convgym validate mypkg.mine:MyCustomer --checks determinism,attacks --show",
            "convgym validate scripted --limit deal-breaker=0.1 --limit attack=0.02",
            "convgym validate shopper --realism --reference log.jsonl",
            "convgym validate mypkg.mine:MyCustomer --realism --original scripted",
        )
    )(validate)


def validate(
    customer: Annotated[
        str, typer.Argument(help="A name, or package.module:factory.", callback=findable)
    ],
    conversations: Annotated[
        int, typer.Option(min=1, help="Customers that each of about 30 sellers meets.")
    ] = 400,
    checks: Annotated[str | None, typer.Option(help="Some of the checks: a,b.")] = None,
    limit: LimitOptions = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder; never overwritten.",
            show_default="validation/<customer>, or realism/<customer>",
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show conversations here as well.")] = False,
    realism: Annotated[
        bool, typer.Option("--realism", help="Measure how real it is, in place of the checks.")
    ] = False,
    reference: Reference = None,
    original: Original = None,
    original_option: OriginalOptions = None,
    seed: Seed = 0,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
) -> None:
    """Put a customer, ours or your own, to a suite of checks; exit code 1 if it fails one.

    With --realism its buyers and non-buyers, decisions, words and consistency are measured instead,
    beside people's log or the customer that it imitates; exit code 1 if it contradicts itself.
    """
    if realism:
        _refuse_what_realism_does_not_take(checks, show, limit, original, original_option)
        raise SystemExit(
            _measure(
                customer,
                conversations,
                output or Path("realism") / customer.replace(":", "."),
                seed,
                environment(None, catalog, personas, customer_option),
                reference,
                original,
                environment(None, catalog, personas, original_option),
            )
        )
    if reference or original or original_option:
        raise ConvgymError("--reference and --original go with --realism: give it, or drop them")
    from convgym.benchmarks.validation.limits import Limits
    from convgym.benchmarks.validation.report import failed
    from convgym.benchmarks.validation.run import run
    from convgym.benchmarks.validation.subject import Subject

    chosen = None if checks is None else named(checks)
    options = environment(None, catalog, personas, customer_option)
    limits = Limits.of(_limits(limit or ()))
    subject = Subject(customer, options, conversations=conversations, seed=seed, limits=limits)
    folder = output or Path("validation") / customer.replace(":", ".")
    with whose(f"customer {customer!r}"):
        findings = run(subject, folder, chosen, console(), console(error=True), show=show)
    if failed(findings):
        raise SystemExit(1)


def _refuse_what_realism_does_not_take(
    checks: str | None,
    show: bool,
    limit: Sequence[str] | None,
    original: str | None,
    original_option: Sequence[str] | None,
) -> None:
    """Raise ConvgymError for options that the measuring of realism does not look at."""
    if checks is not None or show or limit:
        raise ConvgymError(
            "--realism has no checks to choose, show or limit: drop --checks, --show and --limit"
        )
    if original_option and original is None:
        raise ConvgymError("--original-option goes with --original: give it, or drop the option")


def _limits(items: Sequence[str]) -> dict[str, Any]:
    """Return limits by name, which may be spelled as elsewhere, with hyphens."""
    split = (item.partition("=") for item in items)
    return own_settings("".join([name.replace("-", "_"), *rest]) for name, *rest in split)


def _measure(
    customer: str,
    customers: int,
    folder: Path,
    seed: int,
    options: Mapping[str, Any],
    reference: Path | None,
    original: str | None,
    original_options: Mapping[str, Any],
) -> int:
    """Measure realism and return the exit code."""
    from convgym.benchmarks.validation.realism.report import broken
    from convgym.benchmarks.validation.realism.run import Request, run

    request = Request(customer, options, customers, seed, reference, original, original_options)
    return int(broken(run(request, folder, console(), console(error=True)).sections))
