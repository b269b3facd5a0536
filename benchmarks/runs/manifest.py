"""What a run of a suite was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import convgym
from convgym.benchmarks.provenance import commit, machine, now, versions
from convgym.benchmarks.runs.suites import Suite
from convgym.secrets import check_options

FORMAT = 1
"""Version of the results folder's layout."""


def make_manifest(
    suite: Suite, seed: int, configs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the manifest of a run that starts now.

    Args:
        suite: what is run, in full.
        seed: the seed of the run.
        configs: the whole config of each agent, overrides included.

    ``run`` is what must be equal for a run to be resumed; ``starts`` gets one entry, with the time
    (UTC) and the machine; ``finished`` is null until the last row is written.

    Raises:
        ConvgymError: for a secret among the environment's arguments, which would be written down.
    """
    check_options(suite.environment)
    check_options(suite.evaluation)
    return {
        "format": FORMAT,
        "run": {
            "suite": asdict(suite),
            "seed": seed,
            "agents": {name: dict(config) for name, config in configs.items()},
            "convgym": convgym.__version__,
            "commit": commit(),
            "versions": versions(),
        },
        "starts": [{"time": now(), "machine": machine()}],
        "finished": None,
    }
