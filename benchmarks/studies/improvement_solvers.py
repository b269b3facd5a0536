"""Solvers of Iterative PPO's improvement step side by side: one log, one fitted Q, every solver.

    convgym study improvement-solvers FILE.json [--solvers a,b]

One round of Iterative PPO: the shipped seller holds the conversations of a log, Q is fitted to it,
and every solver improves the same seller with that Q. A solver is judged by its divergence from
the reference, by how much more Q thinks of its responses, by processor seconds, and by what counts:
its conversion rate with customers of the training range whom nobody has met.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Annotated, Any

import torch
import typer

from convgym.agents import make_agent
from convgym.agents.improvement.problem import (
    Improvement,
    PolicyWatch,
    SingleTurnProblem,
    watch_nothing,
)
from convgym.agents.improvement.registry import as_improvement
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import shuffled
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.benchmarks.studies.study import Study, show
from convgym.errors import unknown
from convgym.progress import ProgressCallback, no_progress
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.statistics import wilson_interval

SOLVERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "token-ppo on the log": {"name": "token-ppo", "epochs": 2, "fresh_steps": 0},
        "token-ppo on fresh responses": {"name": "token-ppo"},
        "token-grpo": {"name": "token-grpo"},
        "best-of-n": {"name": "best-of-n"},
        "grpo": {"name": "grpo"},
        "rloo": {"name": "rloo"},
    }
)
"""What is compared, by the settings that differ from each solver's defaults."""

JUDGED_STATES = 512
"""States of the log at which Q judges a policy's responses."""
KL_CONVERSATIONS = 128
"""Conversations of the log on which divergences are measured."""
EVALUATION_STREAM = 99
"""Training seed whose customers the policies are evaluated on."""

_OF_THE_STEP = {
    "kl",
    "predicted_gain",
    "predicted_gain_error",
    "gate_coverage",
    "gate_effective_share",
    "gate_judged",
    "passed_gate",
}


@dataclass(frozen=True, slots=True)
class SideBySide:
    """An improvement step that tries every solver, keeps the books, and improves nothing."""

    solvers: Mapping[str, Improvement]
    customers: int
    seed: int
    rows: list[dict[str, Any]] = field(default_factory=list)

    def improve(
        self,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        *,
        generator: torch.Generator,
        progress: ProgressCallback = no_progress,
        watch: PolicyWatch = watch_nothing,
    ) -> tuple[LanguageModel, dict[str, float]]:
        """Return ``reference`` itself, and no metrics; what was found is in ``rows``."""
        before = self._judge(reference, problem)
        self.rows.append({"solver": "reference", **before})
        _show_row(self.rows[-1])
        for name, solver in self.solvers.items():
            started = time.process_time()
            improved, metrics = solver.improve(
                reference,
                problem,
                generator=torch.Generator().manual_seed(self.seed),
                progress=progress,
                watch=watch,
            )
            seconds = time.process_time() - started
            kl = improved.divergence(reference, problem.log[:KL_CONVERSATIONS])
            after = self._judge(improved, problem)
            self.rows.append(
                {
                    "solver": name,
                    "class": type(solver).__name__,
                    "settings": asdict(solver),  # type: ignore[call-overload]
                    "kl_nats_per_response": kl,
                    "q_gain": after["q"] - before["q"],
                    **after,
                    "processor_seconds": round(seconds, 3),
                    "metrics": metrics,
                }
            )
            _show_row(self.rows[-1])
        return reference, {}

    def _judge(self, model: LanguageModel, problem: SingleTurnProblem) -> dict[str, Any]:
        """Return what Q thinks of a policy's responses, and what customers do."""
        states = problem.prompts()
        order = shuffled(len(states), torch.Generator().manual_seed(self.seed))
        chosen = [states[i] for i in order[:JUDGED_STATES]]
        sampler = ResponseSampler(model.network, model.format, model.sampling)
        streams = [Random(i) for i in range(len(chosen))]
        samples = sampler.sample([Prompt((), state) for state in chosen], streams)
        scores = problem.score(chosen, [sample.token_ids for sample in samples])
        policy = LanguageModelPolicy(model)
        episodes = rollout(policy, train_seeds(EVALUATION_STREAM, self.customers), policy_seed=9)
        sold = sum(episode.converted for episode in episodes)
        estimate = wilson_interval(sold, len(episodes))
        return {
            "q": float(scores.mean()),
            "purchases": sold,
            "customers": len(episodes),
            "conversion": estimate.value,
            "interval": [estimate.low, estimate.high],
        }


def _show_row(row: Mapping[str, Any]) -> None:
    low, high = row["interval"]
    show(
        f"{row['solver']:30} KL {row.get('kl_nats_per_response', 0):5.2f}"
        f"  Q {row.get('q_gain', 0):+.4f}"
        f"  conversion {row['conversion']:6.1%} [{low:.1%}, {high:.1%}]"
        f"  {row.get('processor_seconds', 0):5.0f} s"
    )


def main(
    output: Path,
    conversations: Annotated[int, typer.Option(help="length of the log")] = 1024,
    customers: Annotated[int, typer.Option(help="whom each policy is evaluated on")] = 1024,
    seed: Annotated[int, typer.Option(help="of the log, of Q and of the solvers")] = 0,
    solvers: Annotated[str, typer.Option(help="names separated by commas")] = ",".join(SOLVERS),
) -> None:
    """Compare the solvers, print a line for each, and store what was found."""
    study = Study(
        output,
        what="The improvement step by every solver, from one log and one fitted Q",
        conversations=conversations,
        seeds={"all": seed, "evaluation_stream": EVALUATION_STREAM, "evaluation_policy": 9},
    )
    names = [name.strip() for name in solvers.split(",")]
    for name in names:
        if name not in SOLVERS:
            raise unknown("solver", name, SOLVERS)
    comparison = SideBySide(
        {name: as_improvement(SOLVERS[name]) for name in names}, customers, seed
    )
    torch.set_num_threads(1)
    agent = make_agent("iterative-ppo", rounds=1, improvement=comparison)
    report = agent.train(Collector(conversations, seed=seed))
    config = asdict(agent.config)
    del config["improvement"]
    # Of the round's own step nothing is to be told: it improved nothing.
    fitted = {name: value for name, value in report.rows[0].items() if name not in _OF_THE_STEP}
    study.store(config=config, q_function=fitted, rows=comparison.rows)
