"""Step 4 on its own: may the new policy be deployed, by conversations that nothing learned from?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from convgym.agents.off_policy.behaviour import with_estimated_behaviour, without_logprobs
from convgym.agents.off_policy.gate import Gain, GateConfig
from convgym.agents.off_policy.step import gate
from convgym.agents.pipeline.inputs import load_policy, open_q
from convgym.errors import ConvgymError
from convgym.statistics import normal_quantile


def judge_policy(
    new: str | Path,
    old: str | Path,
    q: Path,
    log: Path,
    config: GateConfig | None = None,
    *,
    estimate_behaviour: bool = False,
    computing: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Estimate what a new policy gains over the old one, and say whether it passes the gate.

    Args:
        new: the policy that is judged.
        old: the one that Q was fitted to.
        q: a folder of ``fit_to_folder``; its ``held_out`` share of the log is what judges.
        log: the one that Q was fitted to.
        config: when a policy passes; ``held_out`` is not looked at.
        estimate_behaviour: where the log lacks log-probabilities, take the old policy's own: right
            if it speaks as the log does, as after cloning it.
        computing: another ``device`` and ``dtype`` than those of the fit.

    Returns:
        ``verdict`` ("passed", "turned down" or "cannot judge"), ``reasons`` for the last, and
        the estimate: ``gain`` in conversion with its ``standard_error`` and 95% interval.

    Raises:
        ConvgymError: for a Q of another policy or log, or policies of different vocabularies.
    """
    opened = open_q(q, old, log, computing)
    speaker = load_policy(new, opened.settings)
    model, improved = opened.policy.model, speaker.model
    if improved.format.tokenizer.get_vocab() != model.format.tokenizer.get_vocab():
        raise ConvgymError(f"{new} has another vocabulary than {old}: they cannot be compared")
    config = config or GateConfig()
    held_out = opened.fitted.log[: opened.fitted.held_out]
    reasons = []
    if missing := without_logprobs(held_out):
        if estimate_behaviour:
            held_out = with_estimated_behaviour(model, held_out)
        else:
            reasons.append(
                f"{missing} of {len(held_out)} conversations hold no log-probabilities:"
                " --estimate-behaviour takes the old policy's own, if it speaks as the log does"
            )
    if not held_out:
        reasons.append("no conversation was held out when Q was fitted")
    report: dict[str, Any] = {"new": str(new), "old": str(old), "q": str(q), "log": str(log)}
    settings = {**asdict(config), "held_out": len(held_out)}
    report |= {"settings": settings, "behaviour_estimated": bool(missing and estimate_behaviour)}
    report |= speaker.placement
    if reasons:
        return {**report, "verdict": "cannot judge", "reasons": reasons}
    everything = [*held_out, *opened.fitted.log[len(held_out) :]]
    fitted = replace(opened.fitted, log=everything)
    # A gate whose share is 0 lets everything pass; here there is somebody to ask.
    config = replace(config, held_out=config.held_out or 0.5)
    gain = gate(improved, model, fitted, config)
    return {
        **report,
        "verdict": gain.verdict(config),
        "reasons": gain.doubts(config),
        **_estimate(gain),
    }


def _estimate(gain: Gain) -> dict[str, Any]:
    half = normal_quantile(0.95) * gain.standard_error
    return {
        "gain": gain.mean,
        "standard_error": gain.standard_error,
        "low": gain.mean - half,
        "high": gain.mean + half,
        "coverage": gain.coverage,
        "effective_share": gain.effective_share,
        "kl": gain.kl,
        "conversations": gain.conversations,
        "sales": gain.sales,
    }
