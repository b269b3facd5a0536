"""Measure one customer's realism at the terminal and store what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from convgym.benchmarks.report.progress import stages
from convgym.benchmarks.validation.realism import report
from convgym.benchmarks.validation.realism.measure import Measured, measure, read_reference
from convgym.benchmarks.validation.realism.plan import make_plan
from convgym.benchmarks.validation.realism.subjects import TrainingSubject
from convgym.benchmarks.validation.run import Whole, say
from convgym.customers import CustomerSpec
from convgym.datafiles import check_new_folder


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Args:
        customer: as ``Subject`` takes it.
        environment: options of ``SalesEnv``, apart from ``customer``.
        customers: how many each seller meets.
        seed: of everything random.
        reference: people's log.
        original: the customer that this one imitates.
        original_environment: likewise its options.
    """

    customer: CustomerSpec
    environment: Mapping[str, Any] = field(default_factory=dict)
    customers: int = 400
    seed: int = 0
    reference: Path | None = None
    original: CustomerSpec | None = None
    original_environment: Mapping[str, Any] = field(default_factory=dict)


def run(request: Request, folder: Path, out: Console, err: Console) -> Measured:
    """Say what it takes, hold the conversations, show the tables and write the folder.

    Raises ConvgymError for a mistake in the request or a folder that is taken, before any
    conversation.
    """
    check_new_folder(folder)
    reference = None if request.reference is None else read_reference(request.reference)
    subject = TrainingSubject(
        request.customer, request.environment, request.customers, request.seed
    )
    original = None
    if request.original is not None:
        original = replace(
            subject, customer=request.original, environment=request.original_environment
        )
    plan = make_plan(subject, original)
    manifest = report.make_manifest(plan, reference, request.reference)
    err.print(
        f"{len(plan.holds)} sellers: {plan.conversations:,} conversations, at most"
        f" {plan.replies:,} replies of customers",
        highlight=False,
    )
    with stages(err) as tell:
        measured = measure(plan, reference, Whole(err, tell, plan.conversations).update)
    written = report.store(folder, manifest, measured)
    for section in measured.sections:
        out.print(report.table(section))
    for key, count in measured.failures.items():
        say(out, f"the backend failed in {count} conversations: {key}")
    name = None if reference is None else reference.name
    told = report.conclusion(measured.sections, name)
    say(out, f"{told}\nreport    {written}")
    return measured
