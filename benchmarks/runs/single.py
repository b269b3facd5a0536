"""One agent trained, outside any suite."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convgym.agents import make_agent
from convgym.agents.pipeline.outputs import (
    REPORT,
    building,
    finished,
    read_report,
    versions,
)
from convgym.agents.protocol import placement
from convgym.agents.training.collector import Collector
from convgym.benchmarks.runs.executor import train_with
from convgym.datafiles import check_new_folder, dumps, write_json
from convgym.errors import ConvgymError
from convgym.progress import ProgressCallback, no_progress

_BEGUN = "run.json"
"""What a folder of a training holds from its beginning on: what it is made from."""


def train_one(
    name: str,
    settings: Mapping[str, Any],
    collector: Collector,
    folder: Path,
    *,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Train an agent and keep its policy and its report in a folder; return the report.

    A folder with an unfinished training of the same agent goes on where it stopped; one that is
    finished is not touched.

    Raises:
        ConvgymError: for an unknown agent or setting, a log that cannot be learned from, or a
            folder of something else.
    """
    if "name" in settings:
        raise ConvgymError(f"agent {name!r} has no setting 'name': it is called so")
    agent = make_agent(name, **settings)
    made_from = {"step": "train", "agent": name, "settings": settings, **collector.identity()}
    if collector.log is not None and not (folder / _BEGUN).exists():
        collector.read_log()  # before the folder is claimed
    _begin(folder, made_from)
    if (folder / REPORT).exists() and (report := finished(folder, made_from)):
        return report
    training = train_with(collector, agent, name, folder, progress)
    notes = list(training.notes)
    if collector.log and training.usage.deployments:
        notes.append(f"the log {collector.log} was not read: {name} holds its own conversations")
    shutil.rmtree(folder / "policy", ignore_errors=True)  # of an interruption
    with building(folder / "policy") as part:
        agent.save(part)
    report = {
        "made_from": made_from,
        "config": asdict(agent.config),
        "policy": str(folder / "policy"),
        "usage": asdict(training.usage),
        **placement(agent),
        "curve": [asdict(point) for point in training.curve],
        "has_log": collector.has_log,
        "rows": [dict(row) for row in training.rows],
        "seconds": round(training.seconds, 1),
        "notes": notes,
        "versions": versions(),
    }
    write_json(folder / REPORT, report)
    return report


def _begin(folder: Path, made_from: Mapping[str, Any]) -> None:
    """Claim a new folder for a run; ConvgymError for one of another run, or of something else."""
    if not (folder / _BEGUN).is_file():
        check_new_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _BEGUN, made_from)
    begun, wanted = read_report(folder / _BEGUN), json.loads(dumps(made_from))
    if begun != wanted:
        different = [key for key in wanted if begun.get(key) != wanted[key]]
        raise ConvgymError(
            f"{folder} holds another training ({', '.join(different) or 'more'} differs): it is"
            " never overwritten, give another folder"
        )
