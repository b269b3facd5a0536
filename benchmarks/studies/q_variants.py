"""Ways to fit Q, one by one: the same log, the same states, judged by true values.

    convgym study q-variants FILE.json

Every variant is fitted to the same conversations of the starting policy and scores the same
responses to the same states of other conversations, whose true values come from branched copies of
the customer (``true_values``). One improvement step follows with each, and the conversion of the
new policy with fresh customers. Only training customers are met.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.values.estimates import ValueEstimates
from convgym.agents.values.fitting import corrected_advantages, diagnose, fit
from convgym.agents.values.pairs import token_pairs
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.agents.values.report import q_report
from convgym.benchmarks.studies.study import Study, show
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.true_values import branch, collect_states, sample_responses

FRESH_CUSTOMERS = 1024
"""Customers that judge a policy after its improvement step."""


@dataclass(frozen=True)
class Variant:
    """A fit, and other ways to read scores off the same fit."""

    name: str
    config: QFunctionConfig
    readings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    improve: tuple[str, ...] = ("as fitted",)
    """Readings with whose scores an improvement step is measured as well."""


_OPINIONS = {"direct opinion alone": {"imagined": 0.0}, "imagined alone": {"imagined": 1.0}}

VARIANTS = (
    Variant("default", QFunctionConfig(), _OPINIONS, ("as fitted", *_OPINIONS)),
    Variant(
        "Monte Carlo regression, no replies learned",
        QFunctionConfig(imagined=0.0, reply_weight=0.0),
    ),
    Variant(
        "TD(lambda) with lambda 0.5, no replies learned",
        QFunctionConfig(return_lambda=0.5, imagined=0.0, reply_weight=0.0),
    ),
    Variant(
        "dueling with lambda 0.9, no replies learned",
        QFunctionConfig(form="dueling", return_lambda=0.9, imagined=0.0, reply_weight=0.0),
    ),
    Variant(
        "dueling with lambda 0.9",
        QFunctionConfig(form="dueling", return_lambda=0.9),
        _OPINIONS,
    ),
    Variant("TD(lambda) with lambda 0.5", QFunctionConfig(return_lambda=0.5), _OPINIONS),
    Variant("SARSA, lambda 0", QFunctionConfig(return_lambda=0.0), _OPINIONS),
    Variant("squared error", QFunctionConfig(loss="mse"), _OPINIONS),
    Variant("all tokens count alike", QFunctionConfig(state_weight=1.0)),
    Variant("one imagined reply", QFunctionConfig(replies=1)),
    Variant(
        "two members",
        QFunctionConfig(folds=2),
        {"minimum": {"combine": "min"}, "lower bound": {"combine": "lower-bound"}},
    ),
)


class _Bench:
    """What every variant is put to: the same log, states, responses and true values."""

    def __init__(self, conversations: int, states: int, seed: int, rollouts: int) -> None:
        self.seed = seed
        self.policy = LanguageModelPolicy.from_pretrained()
        self.episodes = rollout(self.policy, train_seeds(seed, conversations), policy_seed=seed)
        self.log = self.policy.model.tokenise(self.episodes)
        branched = collect_states(self.policy, train_seeds(seed + 1, 8 * states), states, seed=seed)
        said = sample_responses(self.policy, branched, 8, seed=seed)
        self.true = branch(
            self.policy, branched, said, rollouts=rollouts, value_rollouts=3 * rollouts, seed=seed
        )
        self.pairs = token_pairs(branched, said, self.policy.model.format)

    def try_variant(self, variant: Variant) -> dict[str, Any]:
        """Fit a variant; return how it did on held-out conversations and on the true values."""
        policy, log, seed = self.policy, self.log, self.seed
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            ensemble = QEnsemble(policy.model, variant.config)
        started = time.perf_counter()
        held_out = len(log) // 10
        judged = fit(ensemble, log, held_out=held_out, generator=generator)
        row: dict[str, Any] = {
            "name": variant.name,
            "config": asdict(variant.config),
            "fit_seconds": time.perf_counter() - started,
            "held_out": diagnose(log[:held_out], judged[:held_out], variant.config),
            "readings": {},
            "one_round": {},
        }
        for reading, settings in {"as fitted": {}, **variant.readings}.items():
            ensemble.config = replace(variant.config, **settings)
            for member in ensemble:
                member.config = ensemble.config
            scores = ensemble.score(*self.pairs, generator=generator)
            q_hat = np.asarray(scores.tolist()).reshape(self.true.q.shape)
            report = q_report(q_hat, self.true.q_returns, v_returns=self.true.v_returns, seed=seed)
            row["readings"][reading] = report.to_dict()
            show(f"{variant.name}, {reading}\n{report}\n")
            if reading in variant.improve:
                row["one_round"][reading] = one_round(policy, log, judged, ensemble, seed)
                show(f"{variant.name} {reading} {row['one_round'][reading]}")
        return row


def measure(path: Path, conversations: int, states: int, seed: int, rollouts: int = 16) -> None:
    """Measure all variants and write ``path``; every true Q is a mean of ``rollouts``."""
    study = Study(path, seed=seed, conversations=conversations)
    bench = _Bench(conversations, states, seed, rollouts)
    sold = sum(episode.converted for episode in bench.episodes)
    study.facts["start_conversion"] = sold / len(bench.log)
    study.facts["improvement"] = asdict(TokenPPO())
    rows: list[dict[str, Any]] = []
    for variant in VARIANTS:
        rows.append(bench.try_variant(variant))
        study.store(variants=rows)


def one_round(
    policy: LanguageModelPolicy,
    log: list[TokenisedEpisode],
    judged: list[ValueEstimates],
    ensemble: QEnsemble,
    seed: int,
) -> dict[str, float]:
    """Return what one improvement step with these scores gives with fresh customers."""
    model = policy.model
    generator = torch.Generator().manual_seed(seed)
    problem = SingleTurnProblem(
        log,
        partial(ensemble.score, generator=generator),
        [corrected_advantages(*both) for both in zip(log, judged, strict=True)],
    )
    started = time.perf_counter()
    improved, metrics = TokenPPO().improve(model, problem, generator=generator)
    seconds = time.perf_counter() - started
    kl = improved.divergence(model, log[:128])
    new = LanguageModelPolicy(improved)
    fresh = rollout(new, train_seeds(seed + 2, FRESH_CUSTOMERS), policy_seed=seed)
    return {
        **metrics,
        "kl": kl,
        "seconds": seconds,
        "conversions": sum(episode.converted for episode in fresh),
        "customers": sum(episode.valid for episode in fresh),
    }


def main(
    path: Annotated[Path, typer.Argument(help="File to write; never overwritten.")],
    conversations: int = 1024,
    states: int = 64,
    seed: int = 200,
) -> None:
    """Compare ways to fit Q on one log."""
    measure(path, conversations, states, seed)
