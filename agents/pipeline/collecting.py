"""Step 1 on its own: a seller or a policy holds conversations, which become a log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convgym.agents.pipeline.outputs import finished_report, versions
from convgym.agents.protocol import placement
from convgym.agents.training.collector import Collector
from convgym.conversation import Episode
from convgym.datafiles import free_path, write_json
from convgym.errors import ConvgymError
from convgym.logs import check_new_log, write_log
from convgym.policy import Policy
from convgym.progress import ProgressCallback, no_progress

if TYPE_CHECKING:
    from convgym.agents.algorithms.iterative_ppo import IterativePPOConfig
    from convgym.agents.model.policy import LanguageModelPolicy


def report_of(log: Path) -> Path:
    """Return where the report on a log lies: beside it, ``log.jsonl.report.json``."""
    return log.with_name(f"{log.name}.report.json")


def collect_from_policy(
    log: Path,
    policy: LanguageModelPolicy,
    collector: Collector,
    config: IterativePPOConfig,
    *,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Have a policy hold the collector's whole budget, as the first round of a training would.

    Token ids and log-probabilities are kept in the log. Returns the report.

    Raises:
        ConvgymError: for a log that is there and was not made by the same call.
        InfrastructureError: when the customer failed in every conversation.
    """
    from convgym.agents.pipeline.inputs import policy_sha256
    from convgym.agents.training.exploration import voices

    speaker = {
        "policy_sha256": policy_sha256(policy.model),
        "temperature": policy.model.sampling.temperature,
        "max_new_tokens": policy.model.sampling.max_new_tokens,
        "exploration": config.exploration,
        "personas": config.personas,
    }
    made_from = _made_from(speaker, collector)
    if report := _finished(log, made_from):
        return report
    started = time.monotonic()
    speakers = voices(policy, config.exploration, config.personas)
    episodes = collector.deploy(speakers, collector.budget, progress=progress)
    return _keep(log, made_from, episodes, policy, started)


def collect_from_seller(
    log: Path,
    seller: Policy,
    collector: Collector,
    options: Mapping[str, Any],
    *,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Have a scripted seller, made with ``options``, hold the collector's whole budget.

    Returns and raises as ``collect_from_policy``.
    """
    made_from = _made_from({"seller": seller.name, "options": dict(options)}, collector)
    if report := _finished(log, made_from):
        return report
    started = time.monotonic()
    episodes = collector.logged(seller, progress=progress)
    return _keep(log, made_from, episodes, seller, started)


def _made_from(speaker: Mapping[str, Any], collector: Collector) -> dict[str, Any]:
    identity = collector.identity()
    del identity["log"]
    return {"step": "collect", **speaker, **identity}


def _finished(log: Path, made_from: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the report on a log that is there. It is written first: no log is without one."""
    if not log.exists():
        check_new_log(log)
        return None
    if not report_of(log).is_file():
        raise ConvgymError(f"{log} exists and is never overwritten; give another path")
    return finished_report(report_of(log), made_from, log)


def _keep(
    log: Path,
    made_from: Mapping[str, Any],
    episodes: list[Episode],
    speaker: Policy,
    started: float,
) -> dict[str, Any]:
    valid = [episode for episode in episodes if episode.valid]
    log = free_path(log)  # another may have written there meanwhile: nothing is lost
    report = {
        "made_from": made_from,
        "log": str(log),
        "speaker": speaker.name,
        "customer": episodes[0].customer,
        "conversations": len(episodes),
        "failed": len(episodes) - len(valid),
        "outcomes": dict(Counter(episode.outcome for episode in episodes)),
        "sales": sum(episode.converted for episode in valid),
        "turns": sum(len(episode.turns) for episode in episodes),
        **placement(speaker),
        "seconds": round(time.monotonic() - started, 1),
        "versions": versions(),
    }
    write_json(report_of(log), report)
    write_log(log, episodes)
    return report
