"""``convgym bench``: compare agents and reference sellers."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    Settings,
    computing,
    computing_of_all,
    environment,
    findable,
    make_findable,
    names,
    read_settings,
    seller_options,
    settings_of_models,
)
from convgym.benchmarks.terminal import console, say
from convgym.datafiles import check_new_file
from convgym.errors import ConvgymError, InfrastructureError

if TYPE_CHECKING:
    from convgym.benchmarks.runs.suites import Job, Suite
    from convgym.benchmarks.runs.workers import Workers

_UNSAFE = re.compile(r"[^\w.+-]", re.ASCII)
"""What is better not in the name of a folder."""

Agents = Annotated[
    str | None,
    typer.Option(help="Agents in place of the suite's: a,b,c@* or none; package.module:Class."),
]
Sellers = Annotated[
    str | None,
    typer.Option(
        help="Sellers in place of the suite's: a,b or none; openai:MODEL, hf:FOLDER,"
        " package.module:Class."
    ),
]

Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        show_default="1",
        help="Processes that work side by side, a share of the cores each; same results.",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Have a Ray cluster do it, --jobs at a time: HOST:PORT, auto for the one that this"
        " machine is part of, local for this machine alone. Needs the extra ray.",
    ),
]
Log = Annotated[
    Path | None,
    typer.Option(help="A log that offline agents learn from, in place of one made for them."),
]
AsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        help="Write what would run as a suite of your own, a file to edit, and run nothing.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym bench smoke",
            "convgym bench quick --agents bc,online-ppo --seed 1 --output results/two",
            "convgym bench quick --set iterative-ppo.rounds=3 --output results/three-rounds",
            "convgym bench frontier --agents 'online-ppo@*' --as-file mine.toml",
        )
    )(bench)


def bench(
    suite: Annotated[
        str,
        typer.Argument(
            help="smoke, quick, standard, frontier, frontier-long, frontier-cold, ladder, or your"
            " own TOML file.",
            callback=findable,
        ),
    ] = "quick",
    seed: Seed = 0,
    agents: Agents = None,
    sellers: Sellers = None,
    seller_option: SellerOptions = None,
    seller_prompt: SellerPrompt = None,
    settings: Settings = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Results folder.",
            show_default="results/<suite>-seed<seed>, customer and catalogue between, if given",
        ),
    ] = None,
    log: Log = None,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
    evaluate_on: Annotated[
        str | None,
        typer.Option(help="Catalogue to judge everybody on, if not the one that agents train on."),
    ] = None,
    jobs: Jobs = None,
    ray: Ray = None,
    device: Device = None,
    dtype: Dtype = None,
    as_file: AsFile = None,
) -> None:
    """Compare agents and reference sellers on conversion at an equal budget of conversations.

    Interrupt it at any time: the same command goes on where it stopped.
    """
    from convgym.benchmarks.runs.suites import get_suite, select

    asked, named = get_suite(suite), names(sellers)
    spoken = settings_of_models(
        asked.sellers if named is None else named, seller_options(seller_option, seller_prompt)
    )
    chosen = select(asked, agents=names(agents), sellers=named)
    placed = computing_of_all(chosen.agents, chosen.sellers, computing(device, dtype))
    customers = environment(customer, catalog, personas, customer_option)
    judged = environment(None, evaluate_on)
    chosen = select(
        chosen,
        environment=customers,
        evaluation=judged,
        settings=[*spoken, *placed, *read_settings(settings or ())],
        log=None if log is None else str(log),
    )
    make_findable(asdict(chosen))  # what a file names as well
    if as_file is not None:
        untrue = chosen != asked and not suite.endswith(".toml")  # our words of what is otherwise
        return _write(replace(chosen, description="") if untrue else chosen, as_file, seed, output)
    _tell_of_log(chosen)
    folder = output or Path("results") / folder_name(chosen.name, customers, judged, seed)
    _run(chosen, folder, seed, _workers(jobs, ray))


def _write(suite: Suite, path: Path, seed: int, output: Path | None) -> None:
    """Write a suite that can be run, and say how; seed and folder are a run's, and in no file."""
    from convgym.benchmarks.runs.runner import check_suite
    from convgym.benchmarks.runs.suite_file import write_suite

    if path.suffix != ".toml":
        raise ConvgymError(f"a suite's file ends in .toml, got {path}")
    check_new_file(path)
    check_suite(suite, seed)
    write_suite(suite, path)
    named = f"./{path}" if str(path).startswith("-") else str(path)
    words = ["convgym", "bench", named]
    words += ["--seed", str(seed)] if seed else []
    words += ["--output", str(output)] if output else []
    say(f"{path} is written; {shlex.join(words)} runs it")


def folder_name(
    suite: str, environment: Mapping[str, Any], evaluation: Mapping[str, Any], seed: int
) -> str:
    """Return the name of a run's folder: runs with other customers get folders of their own.

    Args:
        suite: its name.
        environment: options of customers and shop that the command line gave.
        evaluation: likewise, of those that everybody is judged on.
        seed: of the run.
    """
    customers = [_part(value) for value in environment.values()]
    judged = [f"on-{_part(value)}" for value in evaluation.values()]
    return "-".join([suite, *customers, *judged, f"seed{seed}"])


def _part(value: object) -> str:
    """Return an option as a part of a folder's name: what it is called, or a digest of several."""
    if isinstance(value, Mapping):
        told = json.dumps(value, sort_keys=True, default=str)
        return hashlib.sha256(told.encode()).hexdigest()[:6]
    name = str(value)
    return _UNSAFE.sub("-", Path(name).stem if name.endswith(".json") else name)


def _tell_of_log(suite: Suite) -> None:
    """Say, before anything runs, what of a log is not read."""
    if suite.log is None or not suite.agents:
        return
    from convgym.agents.training.collector import read_training_log, unread

    for note in unread(suite.log, read_training_log(suite.log, suite.conversations)):
        say(
            f"note: {note}, as many as the suite {suite.name} allows an agent; a suite of your own"
            " says how many (conversations = ...), as convgym train --conversations does",
            error=True,
        )


def _run(suite: Suite, folder: Path, seed: int, workers: Workers) -> None:
    """Run a suite and show its report; after Ctrl-C, say how to go on and exit with 130."""
    from convgym.benchmarks.cli.commands.report import show_report
    from convgym.benchmarks.report.pace import shown
    from convgym.benchmarks.runs.result import MAX_EXCLUDED_SHARE
    from convgym.benchmarks.runs.runner import run_suite

    at_once = getattr(workers, "jobs", None) or 1  # of a cluster it is known later
    try:
        with shown(console(error=True), suite, at_once) as progress:
            results = run_suite(suite, folder, seed=seed, progress=progress, workers=workers)
    except KeyboardInterrupt:
        say(f"interrupted; the same command resumes {folder}", error=True)
        raise SystemExit(130) from None
    show_report(folder)
    if not any(result.episodes for result in results):
        raise InfrastructureError(_why_nothing(folder, [result.job for result in results]))
    if not any(result.valid for result in results):
        raise InfrastructureError(
            f"every row is invalid: more than {MAX_EXCLUDED_SHARE:.0%} of its conversations failed,"
            " and nothing can be said of the rates"
        )


def _workers(jobs: int | None, ray: str | None) -> Workers:
    if ray is not None:
        from convgym.benchmarks.runs.ray_cluster import RayWorkers, load_ray

        load_ray()  # at once: a missing package is told before anything is made
        return RayWorkers(ray, jobs)
    if jobs is not None and jobs > 1:
        from convgym.benchmarks.runs.processes import Processes

        return Processes(jobs)
    from convgym.benchmarks.runs.workers import InTurn

    return InTurn()


def _why_nothing(folder: Path, jobs: Sequence[Job]) -> str:
    """Return who failed in every conversation, and why, as far as samples were kept."""
    from convgym.benchmarks.report.page import read_samples
    from convgym.conversation import who_failed

    samples = [episode for _, episodes in read_samples(folder, jobs) for episode in episodes]
    who = who_failed(episode.outcome for episode in samples) or "customer or seller"
    reasons = [episode.metadata.get("failure") for episode in samples]
    reason = next((f": {reason}" for reason in reasons if reason), "")
    return f"{who} failed in every conversation, and nothing was measured{reason}"
