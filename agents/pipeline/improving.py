"""Step 3 on its own: from a policy, its Q and its log to a folder with a better policy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from convgym.agents.algorithms.iterative_ppo import IterativePPOConfig, deploy
from convgym.agents.improvement.problem import Improvement
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.off_policy.behaviour import without_logprobs
from convgym.agents.off_policy.gate import GateConfig
from convgym.agents.off_policy.step import improve
from convgym.agents.pipeline.card import model_card
from convgym.agents.pipeline.inputs import open_q
from convgym.agents.pipeline.outputs import REPORT, building, finished, read_report, versions
from convgym.agents.training import parallel
from convgym.agents.training.imitation import Imitation
from convgym.datafiles import write_json
from convgym.errors import ConvgymError
from convgym.progress import ProgressCallback, no_progress

_OF_TRL = ("grpo", "rloo")
"""Solvers that TRL's trainers are."""


@dataclass(frozen=True, slots=True)
class ImprovementSettings:
    """How a policy is improved."""

    solver: Improvement = field(default_factory=TokenPPO)
    solver_name: str = "token-ppo"
    imitation: Imitation = field(default_factory=Imitation)
    """Of the sold conversations, before the solver; ``epochs=0`` leaves it out."""


def improve_to_folder(
    policy: str | Path,
    q: Path,
    log: Path,
    folder: Path,
    settings: ImprovementSettings | None = None,
    *,
    computing: Mapping[str, Any] | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Improve a policy by its Q at the states of its log, without any customer; return the report.

    The folder is a policy in Hugging Face format, with a model card and ``report.json``. The
    policy is loaded with the settings of the fit, and random numbers go on where the fit's stood.
    Processes that a launcher started share the gradients (``training.parallel``).

    Args:
        policy: the one that Q was fitted to.
        q: a folder of ``fit_to_folder``.
        log: the one that Q was fitted to.
        folder: where the new policy goes. One that is finished is not touched, its report is
            returned.
        settings: of the improvement.
        computing: another ``device`` and ``dtype`` than those of the fit.
        progress: told of every step.

    Raises:
        ConvgymError: for a Q of another policy or log, a solver that asks for log-probabilities
            which the log lacks, or a folder that was made from something else.
    """
    settings = settings or ImprovementSettings()
    parallel.join()
    if parallel.count() > 1 and settings.solver_name in _OF_TRL:
        raise ConvgymError(
            f"{settings.solver_name} is TRL's, which shares gradients in its own way: start it as"
            " one process, or take token-ppo or token-grpo"
        )
    opened = open_q(q, policy, log, computing)
    made_from = {
        "step": "improve",
        **opened.made_from,
        "solver": {"name": settings.solver_name, **_settings_of(settings.solver)},
        "imitation": asdict(settings.imitation),
    }
    if report := parallel.on_first(lambda: finished(folder, made_from)):
        return report
    _check_log(settings.solver, opened.fitted.log, log)
    started = time.monotonic()
    config = IterativePPOConfig(
        policy=opened.settings,
        q_function=opened.fitted.ensemble.config,
        imitation=settings.imitation,
        improvement=settings.solver,
    )
    improved, metrics = improve(
        opened.policy.model, opened.fitted, config, opened.generator, progress
    )
    deploy(improved, opened.policy)
    report = {
        "made_from": made_from,
        "policy": str(policy),
        "q": str(q),
        "log": str(log),
        "policy_settings": asdict(opened.settings),
        "conversations": len(opened.fitted.log) - opened.fitted.held_out,
        "metrics": metrics,
        "notes": [*_doubts(q), *_taken_back(metrics), *_too_far(metrics)],
        **opened.policy.placement,
        "processes": parallel.count(),
        "seconds": round(time.monotonic() - started, 1),
        "versions": versions(),
    }
    parallel.on_first(lambda: _keep(opened.policy, folder, report))
    return report


def _doubts(q: Path) -> list[str]:
    """Return what was noted of a Q when it was fitted."""
    return [f"of Q: {note}" for note in read_report(q / REPORT).get("notes", [])]


def _taken_back(metrics: Mapping[str, float]) -> list[str]:
    """Return a note where the step went beyond its bound."""
    if not metrics.get("taken_back"):
        return []
    return [
        "the step went beyond its target_kl, so it ended early, back at its last weights within;"
        " its other metrics are of the weights that were given up"
    ]


def _too_far(metrics: Mapping[str, float]) -> list[str]:
    """Return a note where the new policy is further away than the gate lets pass."""
    kl, limit = metrics.get("kl", 0.0), GateConfig().max_kl
    if kl <= limit:
        return []
    return [f"the new policy diverges by {kl:.2f} nats a response, and the gate refuses {limit}"]


def _keep(policy: LanguageModelPolicy, folder: Path, report: dict[str, Any]) -> None:
    with building(folder) as part:
        policy.save(part)
        (part / "README.md").write_text(model_card(report), encoding="utf-8")
        write_json(part / REPORT, report)


def _settings_of(solver: object) -> dict[str, Any]:
    return asdict(cast(Any, solver))  # the registry sees to it


def _check_log(solver: Improvement, log: Sequence[TokenisedEpisode], path: Path) -> None:
    if isinstance(solver, TokenPPO) and solver.epochs and without_logprobs(log):
        raise ConvgymError(
            f"token-ppo with epochs={solver.epochs} learns from logged responses by their"
            f" log-probabilities, which the log {path} lacks: set epochs=0"
        )
