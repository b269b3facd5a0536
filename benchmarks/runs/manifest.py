"""What a run of a suite was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import convgym
from convgym.benchmarks.provenance import commit, machine, now, versions
from convgym.benchmarks.runs.redaction import redacted
from convgym.benchmarks.runs.schema import FORMAT
from convgym.benchmarks.runs.suites import Suite
from convgym.secrets import check_options


def make_manifest(
    suite: Suite,
    seed: int,
    configs: Mapping[str, Mapping[str, Any]],
    content: Mapping[str, Any] | None = None,
    starts: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the manifest of a run that starts now.

    Args:
        suite: what is run, in full.
        seed: the seed of the run.
        configs: the whole config of each agent, overrides included.
        content: digests of what the run reads, see ``identity.content``.
        starts: the name of each agent's start.

    ``run`` is what must be equal for a run to be resumed; ``starts`` gets one entry, with the time
    (UTC) and the machine; ``finished`` is null until the last row is written. Secrets of objects
    are left out.

    Raises:
        ConvgymError: for a secret among the arguments of the environment or of a seller, which
            would be written down.
    """
    check_options(suite.environment)
    check_options(suite.evaluation)
    for seller in suite.sellers:
        check_options(suite.overrides.get(seller, {}))
    return {
        "format": FORMAT,
        "run": {
            "suite": redacted(asdict(suite)),
            "seed": seed,
            "agents": {name: redacted(config) for name, config in configs.items()},
            "starts": dict(starts or {}),
            "content": dict(content or {}),
            "convgym": convgym.__version__,
            "commit": commit(),
            "versions": versions(),
        },
        "starts": [{"time": now(), "machine": machine()}],
        "finished": None,
    }
