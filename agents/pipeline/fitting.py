"""Step 2 on its own: from a log and its policy to a folder with a fitted Q."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.off_policy.behaviour import without_logprobs
from convgym.agents.off_policy.evidence import log_ratios
from convgym.agents.off_policy.gate import GateConfig
from convgym.agents.pipeline.inputs import (
    DIGESTS,
    check_shop,
    load_policy,
    log_sha256,
    policy_sha256,
    read_usable,
)
from convgym.agents.pipeline.outputs import REPORT, building, finished, versions
from convgym.agents.protocol import Q_FILE
from convgym.agents.values.fitted import fit_q
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.agents.values.saving import save_fitted
from convgym.checks import check_seed
from convgym.conversation import Episode
from convgym.datafiles import write_json
from convgym.errors import ConvgymError
from convgym.logs import Log
from convgym.progress import ProgressCallback, no_progress

_SAMPLE = 128
"""Conversations on which the log is compared with the policy."""
_FAR = 0.1
"""Nats a response beyond which the words are not the policy's own."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How Q is fitted.

    Raises:
        ConvgymError: for a share that is none, or a seed below 0.
    """

    q_function: QFunctionConfig = field(default_factory=QFunctionConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """How the policy is loaded; its ``model`` is not looked at."""
    held_out: float = 0.1
    """Share of the log, at its beginning, that is kept for the gate."""
    seed: int = 0
    """Of all that is random in the fit and in the improvement step after it."""

    def __post_init__(self) -> None:
        GateConfig(held_out=self.held_out)
        check_seed(self.seed, "seed")


def fit_to_folder(
    log: Path,
    policy: str | Path,
    folder: Path,
    settings: FitSettings | None = None,
    *,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Fit a policy's Q to a log and write it to a folder; return the report.

    The folder holds ``q.safetensors`` (weights, settings, estimates of the log, and where the
    random numbers stand), ``config.json``, the same settings for people, and ``report.json``.

    Args:
        log: the conversations. Those of others, without log-probabilities, do as well: nothing
            but ``reuse`` and the gate asks for them.
        policy: who held them, a folder or a name.
        folder: where Q goes. One that is finished is not touched, its report is returned.
        settings: of the fit.
        progress: told the members that are done.

    Raises:
        ConvgymError: for a log that must not or cannot be learned from, a policy that there is
            not, or that reads a shop's leaflet and is not told which, or a folder that was made
            from something else.
    """
    settings = settings or FitSettings()
    speaker = load_policy(policy, settings.policy)
    check_shop(speaker, settings.policy)
    read = read_usable(log)
    episodes, model = read.episodes, speaker.model
    made_from = _made_from(model, episodes, settings)
    if report := finished(folder, made_from):
        return report
    started = time.monotonic()
    tokenised = model.tokenise(episodes)
    if not tokenised:
        raise ConvgymError(f"no conversation of the log {log} fits into the model's context")
    ensemble = QEnsemble(model, settings.q_function)
    generator = torch.Generator().manual_seed(settings.seed)
    fitted = fit_q(
        model,
        ensemble,
        episodes,
        held_out=settings.held_out,
        generator=generator,
        progress=progress,
    )
    gap, notes = _behaviour(tokenised, model)
    report = {
        "made_from": made_from,
        "log": str(log),
        "policy": str(policy),
        "conversations": len(fitted.log),
        "sales": sum(episode.outcome > 0 for episode in fitted.log),
        "held_out_conversations": fitted.held_out,
        "diagnostics": dict(fitted.metrics),
        "without_logprobs": without_logprobs(fitted.log),
        "behaviour_gap": gap,
        "notes": [
            *_left_out(read),
            *notes,
            *_doubts(fitted.metrics, fitted.held_out, settings),
        ],
        **speaker.placement,
        "seconds": round(time.monotonic() - started, 1),
        "versions": versions(),
    }
    with building(folder) as part:
        save_fitted(
            part / Q_FILE,
            fitted,
            generator,
            **{name: made_from[name] for name in ("policy_settings", *DIGESTS)},
        )
        write_json(part / "config.json", made_from)
        write_json(part / REPORT, report)
    return report


def _made_from(
    model: LanguageModel, episodes: Sequence[Episode], settings: FitSettings
) -> dict[str, Any]:
    return {
        "step": "fit-q",
        "policy_sha256": policy_sha256(model),
        "log_sha256": log_sha256(episodes),
        "q_function": asdict(settings.q_function),
        "policy_settings": {**asdict(settings.policy), "model": "default"},  # it is not looked at
        "held_out": settings.held_out,
        "seed": settings.seed,
    }


def _behaviour(
    log: Sequence[TokenisedEpisode], model: LanguageModel
) -> tuple[float | None, list[str]]:
    """Return how far the log's words are from the policy's own, if that is known, and notes."""
    unknown = without_logprobs(log)
    notes = []
    if unknown:
        notes.append(
            f"{unknown} of {len(log)} conversations hold no log-probabilities: Q is that of"
            " whoever spoke, and the gate cannot judge by them but with --estimate-behaviour"
        )
    known = [episode for episode in log[:_SAMPLE] if not without_logprobs([episode])]
    gap = None
    if known:
        gap = float(np.abs(np.concatenate(log_ratios(model, known))).mean())
        if gap > _FAR:
            notes.append(
                f"the log's log-probabilities differ from the policy's by {gap:.2f} nats a"
                " response: it was held by another policy, at another temperature, or explored"
            )
    return gap, notes


def _left_out(read: Log) -> list[str]:
    """Return notes of what in a log is not learned from."""
    notes = [f"line {each.line} was left out: {each.message}" for each in read.report.problems]
    if failed := sum(not episode.valid for episode in read.episodes):
        notes.append(f"{failed} conversations in which customer or seller failed were left out")
    return notes


def _for_the_gate(kept: int, settings: FitSettings) -> list[str]:
    """Return a note where fewer conversations are kept than the gate can judge by."""
    wanted = GateConfig().min_conversations
    if not settings.held_out or kept >= wanted:
        return []
    return [
        f"{kept} conversations are kept for the gate, which judges by {wanted} or more: give a"
        " larger --held-out, or collect more"
    ]


def _doubts(metrics: Mapping[str, float], kept: int, settings: FitSettings) -> list[str]:
    """Return notes where Q, or what is kept for the gate, is not good enough."""
    return [*_knowledge(metrics), *_for_the_gate(kept, settings)]


def _knowledge(metrics: Mapping[str, float]) -> list[str]:
    """Return a note where Q is no better than the same number for everything."""
    fitted, constant = metrics["value_loss"], metrics["constant_loss"]
    if constant == 0:
        return ["the conversations kept apart all ended alike: how good Q is, they cannot tell"]
    if fitted < constant:
        return []
    return [
        f"Q knows nothing that a constant does not (loss {fitted:.3f} on conversations that it has"
        f" not seen, a constant's {constant:.3f}): a step by it is a step of noise; collect more"
    ]
