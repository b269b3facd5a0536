"""One policy judged, outside any suite.

What judges a seller by rule loads no torch.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from convgym.agents.pipeline.outputs import finished_report, read_report, versions
from convgym.agents.protocol import placement
from convgym.checks import check_integer
from convgym.comparisons import Comparison, compare
from convgym.conversation import refuse_if_all_failed
from convgym.datafiles import check_new_file, write_json
from convgym.envs.scenario import customer_fingerprint
from convgym.errors import ConvgymError
from convgym.policy import Policy
from convgym.progress import ProgressCallback, no_progress
from convgym.rollout import rollout
from convgym.seeds import EVALUATION_BASE, evaluation_seeds
from convgym.statistics import wilson_interval


def judge_one(
    policy: Policy,
    customers: int,
    *,
    seed: int = 0,
    environment: Mapping[str, Any] | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Have a policy meet customers that are reserved for evaluation; return what it sold.

    Raises:
        InfrastructureError: when customer or seller failed in every conversation.
    """
    customers = check_integer("customers", customers, 1)
    started = time.monotonic()
    episodes = rollout(
        policy,
        evaluation_seeds(seed, customers),
        policy_seed=seed,
        environment=environment,
        progress=lambda news: progress(replace(news, stage="evaluate")),
    )
    valid = [episode for episode in episodes if episode.valid]
    bought = [int(episode.converted) if episode.valid else None for episode in episodes]
    refuse_if_all_failed(episodes)
    sales = sum(episode.converted for episode in valid)
    interval = wilson_interval(sales, len(valid))
    return {
        "policy": policy.name,
        "conversion": asdict(interval),
        "sales": sales,
        "conversations": len(valid),
        "failed": len(episodes) - len(valid),
        "outcomes": dict(Counter(episode.outcome for episode in episodes)),
        "mean_turns": math.fsum(len(episode.turns) for episode in valid) / len(valid),
        **placement(policy),
        "customer": episodes[0].customer,
        "bought": bought,
        "range": _range(seed, customers),
        "seconds": round(time.monotonic() - started, 1),
        "versions": versions(),
    }


def judge_to_file(
    policy: Policy,
    customers: int,
    file: Path,
    *,
    seed: int = 0,
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Judge as ``judge_one``, and keep the report in a file; one that is there is shown.

    Raises:
        ConvgymError: for a file that holds something else.
        InfrastructureError: as ``judge_one``.
    """
    made_from = {
        "step": "evaluate",
        "policy": _identity(policy),
        "customers": customers,
        "seed": seed,
        "settings": dict(settings),
        "environment": dict(environment),
    }
    if file.is_dir():
        raise ConvgymError(f"{file} is a folder: expected a JSON file for the report")
    if file.suffix not in ("", ".json"):
        raise ConvgymError(
            f"the report is JSON, and {file} ends in {file.suffix!r}: name it"
            f" {file.with_suffix('.json').name}"
        )
    if file.exists():
        return finished_report(file, made_from, file)
    check_new_file(file)
    report = {"made_from": made_from} | judge_one(
        policy, customers, seed=seed, environment=environment, progress=progress
    )
    write_json(file, report)
    return report


def _identity(policy: Policy) -> str:
    """Return what a policy is known again by: a digest of a model's weights, or else its name."""
    if not hasattr(policy, "model"):
        return policy.name
    from convgym.agents.model.policy import LanguageModelPolicy
    from convgym.agents.pipeline.inputs import policy_sha256

    return policy_sha256(policy.model) if isinstance(policy, LanguageModelPolicy) else policy.name


def read_judged(
    file: Path, seed: int, customers: int, environment: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a report of an evaluation that somebody is to be compared with.

    Raises:
        ConvgymError: for a file that is no report of an evaluation, or of other customers.
    """
    report = read_report(file)
    try:
        seed_there, n = report["range"]["seed"], report["range"]["customers"]
        whole = report["range"] == _range(seed_there, n) and len(report["bought"]) == n
        if not whole or set(report["conversion"]) != {"value", "low", "high"}:
            raise ValueError
        by, customer = str(report["policy"]), str(report["customer"])
    except (KeyError, TypeError, ValueError):
        raise ConvgymError(
            f"{file} is no report of an evaluation: expected what convgym evaluate writes to its"
            " --output"
        ) from None
    if (seed_there, n) != (seed, customers):
        raise ConvgymError(
            f"{file} is not of these customers: {by} met the first {n} of seed {seed_there}, and"
            f" here they are the first {customers} of seed {seed}: give --customers {n} --seed"
            f" {seed_there}, or make that report anew"
        )
    _check_same_customer(customer_fingerprint(environment or {}), customer)
    return report


def gain_over(report: Mapping[str, Any], other: Mapping[str, Any]) -> Comparison:
    """Return how much more one report's policy sold than another's, customer by customer.

    Raises:
        ConvgymError: for other customers.
    """
    _check_same_customer(report["customer"], other["customer"])
    a, b = (np.array([each["bought"]], dtype=float) for each in (report, other))
    return compare(a, b)


def _check_same_customer(customer: str, other: str) -> None:
    if customer != other:
        raise ConvgymError(
            f"the policies met different customers, {customer} and {other}: give both the same"
            " customer and catalogue"
        )


def _range(seed: int, customers: int) -> dict[str, Any]:
    return {
        "name": "evaluation",
        "seed": seed,
        "customers": customers,
        "episode_seeds": [EVALUATION_BASE, 2 * EVALUATION_BASE - 1],
    }
