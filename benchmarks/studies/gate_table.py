"""What the steps of ``convgym study gate`` say of estimators and of rules of the gate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any, Literal

import numpy as np

from convgym.agents.off_policy.estimators import (
    GAINS,
    bootstrap,
    coverage,
    effective_sample_size,
)
from convgym.agents.off_policy.evidence import Evidence
from convgym.agents.off_policy.gate import GateConfig
from convgym.benchmarks.studies.gate_rounds import passed_by
from convgym.benchmarks.studies.gate_steps import PIECES
from convgym.statistics import normal_quantile, wilson_interval

STRICTNESS = (1.0, 0.0, -0.5, -1.0, -1.5)
"""Standard errors among which a rule is chosen."""
HALVES = {piece.name: piece.half for piece in PIECES}
Truth = Literal["good", "bad", "even"]
SHARES = ("tenth", "all")
"""How much of a log was held out: what the gate does by default, and all of the study's."""
DRAWS = 100
"""Of the bootstrap."""
NEAR = 1.5
"""Nats per response up to which an estimator's error counts in its choice."""
Verdict = Literal["pass", "turn down", "cannot judge"]


def as_lists(evidence: Evidence) -> dict[str, list[list[float]]]:
    """Return evidence as plain data, to five digits."""
    return {
        each.name: np.round(getattr(evidence, each.name), 5).tolist() for each in fields(Evidence)
    }


def as_evidence(lists: Mapping[str, Any]) -> Evidence:
    """Return what ``as_lists`` was given."""
    return Evidence(**{each.name: np.array(lists[each.name]) for each in fields(Evidence)})


def truth(step: Mapping[str, Any]) -> Truth:
    """Return whether a step surely sells more, surely less, or neither (95%, paired customers)."""
    margin = normal_quantile(0.95) * step["change_se"]
    if step["change"] > margin:
        return "good"
    return "bad" if step["change"] < -margin else "even"


def opinions(evidence: Evidence, kl: float) -> dict[str, Any]:
    """Return all that is said of a step of divergence ``kl`` by conversations held out from it."""
    estimates = {}
    for name, gain in GAINS.items():
        result = bootstrap(gain, evidence, draws=DRAWS)
        estimates[name] = {**asdict(result.interval), "standard_error": result.standard_error}
    turns = evidence.present > 0
    return {
        "conversations": len(evidence),
        "sales": int(evidence.rewards.sum()),
        "kl": kl,
        "coverage": coverage(evidence),
        "ess": effective_sample_size(evidence.log_ratios.sum(1)),
        "ess_share": effective_sample_size(evidence.log_ratios.sum(1)) / max(len(evidence), 1),
        "ess_share_of_responses": effective_sample_size(evidence.log_ratios[turns])
        / max(int(turns.sum()), 1),
        "estimates": estimates,
    }


@dataclass(frozen=True, slots=True)
class Rule:
    """A gate: an estimate, how sure it must be, and when nothing is to be said."""

    estimator: str
    standard_errors: float
    """A policy passes if its gain is at least so many standard errors below 0; negative: above."""
    min_coverage: float
    max_kl: float = math.inf
    min_conversations: int = 0
    min_sales: int = 0

    def verdict(self, said: Mapping[str, Any]) -> Verdict:
        """Return what the gate says, given ``opinions``."""
        if (
            said["coverage"] < self.min_coverage
            or said["kl"] > self.max_kl
            or said["conversations"] < self.min_conversations
            or said["sales"] < self.min_sales
        ):
            return "cannot judge"
        estimate = said["estimates"][self.estimator]
        bound = -self.standard_errors * estimate["standard_error"]
        return "pass" if estimate["value"] >= bound else "turn down"


def errors(rule: Rule, steps: Iterable[Mapping[str, Any]], share: str) -> dict[str, Any]:
    """Return how many good and bad steps a rule passes, with Wilson intervals."""
    verdicts: dict[str, list[Verdict]] = {"good": [], "bad": [], "even": []}
    for step in steps:
        verdicts[step["truth"]].append(rule.verdict(step[share]))
    row: dict[str, Any] = {}
    for kind, said in verdicts.items():
        passed = said.count("pass")
        interval = wilson_interval(passed, len(said))
        row[kind] = {
            "steps": len(said),
            "passed": passed,
            "cannot_judge": said.count("cannot judge"),
            "share_passed": interval.value,
            "low": interval.low,
            "high": interval.high,
        }
    return row


def looked_at(piece: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a piece's steps with what is said of them, in place of their evidence.

    ``tenth`` is said by as many conversations as the gate holds out by default, ``all`` by all
    that the study held out.
    """
    steps = []
    tenth = slice(round(0.1 * piece["conversations"]))
    for step in piece["steps"]:
        evidence, kl = as_evidence(step["evidence"]), step["kl_nats_per_response"]
        kept = {key: value for key, value in step.items() if key != "evidence"}
        steps.append(
            {
                "piece": piece["piece"]["name"],
                "half": HALVES.get(piece["piece"]["name"], piece["piece"]["half"]),
                "truth": truth(step),
                **kept,
                "tenth": opinions(evidence.take(tenth), kl),
                "all": opinions(evidence, kl),
            }
        )
    return steps


def accuracy(steps: Sequence[Mapping[str, Any]], share: str) -> dict[str, dict[str, float]]:
    """Return how far every estimator is from the true change, over steps.

    ``inside`` is the share of 95% intervals that hold what was measured.
    """
    rows = {}
    true = np.array([step["change"] for step in steps])
    for name in GAINS:
        said = [step[share]["estimates"][name] for step in steps]
        values = np.array([each["value"] for each in said])
        inside = [e["low"] <= change <= e["high"] for e, change in zip(said, true, strict=True)]
        varies = len(steps) > 1 and np.ptp(values) > 0 and np.ptp(true) > 0
        rows[name] = {
            "rmse": float(np.sqrt(((values - true) ** 2).mean())),
            "bias": float((values - true).mean()),
            "correlation": float(np.corrcoef(values, true)[0, 1]) if varies else float("nan"),
            "right_sign": float((np.sign(values) == np.sign(true)).mean()),
            "inside": float(np.mean(inside)),
        }
    return rows


OLD = Rule("first order", standard_errors=1.0, min_coverage=0.5)
"""The gate until 2026-11-26."""
_NOW = GateConfig()
DEFAULT = Rule(
    "first order",
    _NOW.standard_errors,
    _NOW.min_coverage,
    _NOW.max_kl,
    _NOW.min_conversations,
    _NOW.min_sales,
)
"""The gate as it is."""


def choose(steps: Sequence[Mapping[str, Any]], rounds: Sequence[Mapping[str, Any]]) -> Rule:
    """Return the rule that errs least on made steps and stored rounds.

    The estimator is the one with the smallest root mean squared error over the steps that are near
    enough to the log, at both held-out shares; then the thresholds are those with the smallest sum
    of the share of good steps and rounds that are not passed and of bad ones that are. Of equals,
    the least strict. Stored rounds know the first-order estimate alone, and none is far from its
    log.
    """
    near = [step for step in steps if step["kl_nats_per_response"] <= NEAR]
    rmse = {name: sum(accuracy(near, share)[name]["rmse"] for share in SHARES) for name in GAINS}
    estimator = min(rmse, key=lambda name: rmse[name])
    rules = [
        Rule(estimator, *thresholds, min_conversations=20, min_sales=1)
        for thresholds in product(STRICTNESS, (0.5, 0.7, 0.9), (math.inf, 1.5))
    ]
    return min(rules, key=lambda rule: _loss(rule, steps, rounds))


def _loss(
    rule: Rule, steps: Sequence[Mapping[str, Any]], rounds: Sequence[Mapping[str, Any]]
) -> float:
    counted = [errors(rule, steps, share) for share in SHARES]
    real = passed_by(rounds, rule.standard_errors)
    shares: dict[str, float] = {}
    for kind in ("good", "bad"):
        passed = real[kind][0] + sum(of_kind[kind]["passed"] for of_kind in counted)
        shares[kind] = passed / max(
            real[kind][1] + sum(of_kind[kind]["steps"] for of_kind in counted), 1
        )
    return round(1 - shares["good"] + shares["bad"], 9)


def judged(
    steps: Sequence[Mapping[str, Any]], rounds: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the rule that is chosen on one half, and the errors of all rules on each half."""
    halves = {half: [s for s in steps if s["half"] == half] for half in ("tuning", "judging")}
    real = {half: [r for r in rounds if r["half"] == half] for half in halves}
    rules = {"old": OLD, "chosen": choose(halves["tuning"], real["tuning"]), "default": DEFAULT}
    near, far = (
        {
            half: [s for s in of if (s["kl_nats_per_response"] <= NEAR) is is_near]
            for half, of in halves.items()
        }
        for is_near in (True, False)
    )
    return {
        "rules": {name: asdict(rule) for name, rule in rules.items()},
        "errors": {
            half: {
                share: {name: errors(rule, of_half, share) for name, rule in rules.items()}
                for share in SHARES
            }
            for half, of_half in halves.items()
        },
        "stored_rounds_passed": {
            half: {
                str(k): passed_by(of_half, k)
                for k in sorted({*STRICTNESS, DEFAULT.standard_errors})
            }
            for half, of_half in real.items()
        },
        "accuracy": {
            half: {
                distance: {share: accuracy(of[half], share) for share in SHARES}
                for distance, of in {"near": near, "far": far}.items()
                if of[half]
            }
            for half in halves
        },
    }


def table(facts: Mapping[str, Any]) -> list[str]:
    """Return the errors of both rules as lines of text."""
    lines = []
    for half, shares in facts["errors"].items():
        for share, rules in shares.items():
            for name, row in rules.items():
                lines.append(
                    f"{half:8} {share:6} {name:4}"
                    + "".join(
                        f"  {kind} passed {of_kind['passed']}/{of_kind['steps']}"
                        f" [{of_kind['low']:.0%}, {of_kind['high']:.0%}]"
                        f" cannot judge {of_kind['cannot_judge']}"
                        for kind, of_kind in row.items()
                    )
                )
    for half, by_strictness in facts["stored_rounds_passed"].items():
        for k, counts in by_strictness.items():
            passed = "  ".join(f"{kind} passed {n}/{of}" for kind, (n, of) in counts.items())
            lines.append(f"stored rounds, {half:8} {k:>5} standard errors  {passed}")
    return lines
