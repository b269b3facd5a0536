"""What might carry Iterative PPO further, one by one: variants of its rounds, five seeds of each.

    convgym study ablations FILE.json --agent iterative-grpo --only "as it is" --only "two members"

Every variant trains as the suite ``frontier`` has it with four deployments, at half of its budget,
with the same training seeds. All are judged on the same customers of the training range, and
compared on them with the agent as it is. A finished training is kept in FILE.json.parts, so that
the study goes on where it was stopped, and several processes can make different variants.
FILE.json is written when all that were asked for are there, or, asked by ``--as-is``, of those that
are; while it leaves out any, the next call writes it anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import numpy as np
import torch
import typer

from convgym.agents import make_agent
from convgym.agents.algorithms.iterative_ppo import IterativePPO
from convgym.agents.improvement.problem import (
    Improvement,
    PolicyWatch,
    SingleTurnProblem,
    watch_nothing,
)
from convgym.agents.improvement.token_grpo import TokenGRPO
from convgym.agents.model.format import Tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.sampling import CommonNumbers
from convgym.agents.off_policy.gate import GateConfig
from convgym.agents.training.collector import Collector
from convgym.benchmarks.provenance import provenance
from convgym.benchmarks.studies.imagination import Deeper, ensemble_of
from convgym.benchmarks.studies.pieces import OUTPUT, Pieces
from convgym.benchmarks.studies.study import Study, show
from convgym.comparisons import compare, holm
from convgym.conversation import Episode
from convgym.errors import ConvgymError, unknown
from convgym.policy import Policy
from convgym.progress import ProgressCallback, no_progress
from convgym.rollout import rollout
from convgym.seeds import train_seeds

ROUNDS, BUDGET = 4, 2048
TRAINING_SEEDS = (900_300, 900_301, 900_302, 900_303, 900_304)
STREAM = 900_002
"""Of the customers on whom variants are compared, in the training range."""
POLICY_SEED = 7
HOT, COLD = 1.3, 0.25
"""What the temperature is multiplied by in a bold and in a cold deployment."""
FALLING = (1.0, 0.75, 0.5, 0.25)
"""What a step's setting is multiplied by, round by round."""


@dataclass(frozen=True)
class WithCommonNumbers:
    """Q imagines replies to all responses of a batch with the same random numbers."""

    base: Improvement

    def improve(
        self,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        *,
        generator: torch.Generator,
        progress: ProgressCallback = no_progress,
        watch: PolicyWatch = watch_nothing,
    ) -> tuple[LanguageModel, dict[str, float]]:
        """Return the improved copy of ``reference``; see ``Improvement``."""
        ensemble = ensemble_of(problem)
        config = ensemble.config

        def score(prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> torch.Tensor:
            seed = int(torch.randint(2**31, (), generator=generator))
            numbers = CommonNumbers.of(seed, config.replies, config.max_reply_tokens)
            return ensemble.score(prompts, responses, generator=numbers)

        return self.base.improve(
            reference,
            replace(problem, score=score),
            generator=generator,
            progress=progress,
            watch=watch,
        )


@dataclass
class Falling:
    """A step with a setting that falls from round to round."""

    base: Improvement
    setting: str
    _round: int = field(default=0)

    def improve(
        self,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        *,
        generator: torch.Generator,
        progress: ProgressCallback = no_progress,
        watch: PolicyWatch = watch_nothing,
    ) -> tuple[LanguageModel, dict[str, float]]:
        """Return the improved copy of ``reference``; see ``Improvement``."""
        value = FALLING[self._round] * getattr(self.base, self.setting)
        step = cast(Improvement, replace(cast(Any, self.base), **{self.setting: value}))
        self._round += 1
        return step.improve(reference, problem, generator=generator, progress=progress, watch=watch)


class OtherwiseFirst(Collector):
    """Customers whom a policy meets at another temperature in its first deployment."""

    factor: ClassVar[float]

    def deploy(
        self,
        policy: Policy | Sequence[Policy],
        conversations: int,
        *,
        group_size: int = 1,
        progress: ProgressCallback = no_progress,
    ) -> list[Episode]:
        """Hold the next conversations; see ``Collector.deploy``."""
        voices = cast("Sequence[LanguageModelPolicy]", policy)
        if not self.usage.deployments:
            voices = [voice.voice(None, self.factor) for voice in voices]
        return super().deploy(voices, conversations, group_size=group_size, progress=progress)


class BoldFirst(OtherwiseFirst):
    """A higher one."""

    factor = HOT


class ColdFirst(OtherwiseFirst):
    """A lower one."""

    factor = COLD


def _as_it_is(base: Improvement) -> Improvement:
    return base


def _deeper(base: Improvement) -> Improvement:
    """Return a step whose batches are shared with one from what is imagined after it."""
    batches = "steps" if isinstance(base, TokenGRPO) else "fresh_steps"
    half = replace(cast(Any, base), **{batches: getattr(base, batches) // 2})
    return Deeper(half)


def _falling_rate(base: Improvement) -> Improvement:
    return Falling(base, "learning_rate")


def _falling_kl_weight(base: Improvement) -> Improvement:
    weight = "kl_coefficient" if isinstance(base, TokenGRPO) else "fresh_kl_coefficient"
    return Falling(base, weight)


@dataclass(frozen=True)
class Variant:
    """One thing that is done otherwise."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    step: Callable[[Improvement], Improvement] = _as_it_is
    collector: type[Collector] = Collector


BASES: Mapping[str, Mapping[str, Any]] = {
    "iterative-ppo": {
        "improvement": {"name": "token-ppo", "fresh_steps": 8, "fresh_kl_coefficient": 0.2},
    },
    "iterative-grpo": {
        "improvement": {"name": "token-grpo", "steps": 12, "kl_coefficient": 0.4},
        "q_function": {"epochs": 2},
    },
}
"""Settings of the suite ``frontier`` with four deployments; there is no gate."""

_ALL_LOGS: Mapping[str, Any] = {"reuse": "recency", "recency": 0.0}

AS_IT_IS, GATED = "as it is", "the gate left in"
VARIANTS: Mapping[str, Variant] = {
    AS_IT_IS: Variant(),
    "common random numbers": Variant(step=WithCommonNumbers),
    "deeper imagination": Variant(step=_deeper),
    "all logs for the reply model": Variant({"q_function": _ALL_LOGS}),
    "learning rate falls": Variant(step=_falling_rate),
    "KL weight falls": Variant(step=_falling_kl_weight),
    "bold first deployment": Variant(collector=BoldFirst),
    "cold first deployment": Variant(collector=ColdFirst),
    "every deployment cold": Variant({"exploration": (COLD,)}),
    "two members": Variant({"q_function": {"folds": 2}}),
    "all logs and two members": Variant({"q_function": {**_ALL_LOGS, "folds": 2}}),
    GATED: Variant({"gate": {"held_out": GateConfig().held_out}}),
}
VARIANT = f"A variant, as often as wanted, of: {', '.join(VARIANTS)}."


def agent_with(name: str, variant: Variant) -> IterativePPO:
    """Return a variant of an agent of the suite, untrained."""
    settings: dict[str, Any] = {"rounds": ROUNDS, "gate": {"held_out": 0.0}, **BASES[name]}
    for setting, value in variant.settings.items():
        within = isinstance(value, Mapping)
        settings[setting] = {**settings.get(setting, {}), **value} if within else value
    agent = cast(IterativePPO, make_agent(name, **settings))
    agent.config = replace(agent.config, improvement=variant.step(agent.config.improvement))
    return agent


def train(name: str, variant: Variant, seed: int, budget: int, customers: int) -> dict[str, Any]:
    """Train a variant; return whom it sells to, and what it took."""
    agent = agent_with(name, variant)
    started = time.process_time()
    report = agent.train(variant.collector(budget, seed=seed))
    seconds = time.process_time() - started
    episodes = rollout(agent, train_seeds(STREAM, customers), policy_seed=POLICY_SEED)
    # A string: a row a customer would be most of the file.
    return {
        "seed": seed,
        "outcomes": "".join("01"[episode.converted] for episode in episodes),
        "curve": [point.conversion for point in report.curve],
        "processor_seconds": round(seconds, 1),
    }


def compared(trainings: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return what every variant sells, and how much more than the agent as it is."""
    tables = {
        name: np.array([[int(sold) for sold in row["outcomes"]] for row in rows], float)
        for name, rows in trainings.items()
        if rows
    }
    variants = []
    for name, table in tables.items():
        row = {
            "variant": name,
            "conversion": float(table.mean()),
            "by_seed": table.mean(1).tolist(),
            "processor_seconds": float(
                np.mean([each["processor_seconds"] for each in trainings[name]])
            ),
        }
        if name != AS_IT_IS and AS_IT_IS in tables:
            result = compare(table, tables[AS_IT_IS])
            gain = result.difference
            row |= {"gain": [gain.value, gain.low, gain.high], "p_value": result.p_value}
        variants.append(row)
    others = [row for row in variants if "p_value" in row]
    adjusted = holm([row["p_value"] for row in others])
    for row, p in zip(others, adjusted, strict=True):
        row["p_holm"] = float(p)
    return variants


def main(
    output: Annotated[Path, typer.Argument(help=OUTPUT)],
    agent: Annotated[str, typer.Option(help="Or iterative-grpo.")] = "iterative-ppo",
    only: Annotated[list[str] | None, typer.Option(help=VARIANT)] = None,
    customers: Annotated[int, typer.Option(help="Whom each is judged on.", min=1)] = 2000,
    budget: Annotated[int, typer.Option(help="Conversations of each.", min=ROUNDS)] = BUDGET,
    as_is: Annotated[bool, typer.Option(help="Compare the trainings that are there.")] = False,
) -> None:
    """Train variants with five seeds each, compare them on common customers, and store that.

    Five to eight minutes of a core for each of up to 60 trainings; after Ctrl-C the same command
    goes on.
    """
    if agent not in BASES:
        raise unknown("agent", agent, BASES)
    for name in only or ():
        if name not in VARIANTS:
            raise unknown("variant", name, VARIANTS)
    settings = {
        "agent": agent,
        "rounds": ROUNDS,
        "settings": BASES[agent],
        "conversations": budget,
        "customers": customers,
        "customer_stream": STREAM,
        "policy_seed": POLICY_SEED,
    }
    made_with = provenance()  # of the code that runs, whatever is committed meanwhile
    study = Study(output, what="Variants of Iterative PPO, one by one", **settings)
    pieces = Pieces(output, settings)
    every = {f"{name} {seed}": (name, seed) for seed in TRAINING_SEEDS for name in VARIANTS}
    asked = [piece for piece, (name, _) in every.items() if not only or name in only]
    there = pieces.read(asked)
    to_make = [] if as_is else [piece for piece in asked if piece not in there]
    _warn_of_idle_gate([every[piece][0] for piece in to_make], budget)
    with pieces.goes_on():
        for number, piece in enumerate(to_make, 1):
            name, seed = every[piece]
            show(f"{number} of {len(to_make)}: {name}, seed {seed}")
            training = train(agent, VARIANTS[name], seed, budget, customers)
            there[piece] = pieces.add(piece, {"variant": name, **training, **made_with})
            rate = 100 * training["outcomes"].count("1") / customers
            show(f"  {rate:.1f}%, {training['processor_seconds']:.0f} CPU s")
    if not there:
        raise ConvgymError(f"no training is there yet in {pieces.folder}: leave out --as-is")
    trainings: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for piece in every:
        if piece in there:
            trainings[every[piece][0]].append(there[piece])
    variants = compared(trainings)
    left_out = [piece for piece in every if piece not in there]
    study.store(
        training_seeds=list(TRAINING_SEEDS),
        left_out=left_out,
        variants=variants,
        trainings=[row for rows in trainings.values() for row in rows],
    )
    show(*lines(variants, customers))
    if left_out:
        show(f"{len(left_out)} of {len(every)} trainings are left out: without --only all are made")


def _warn_of_idle_gate(names: Sequence[str], budget: int) -> None:
    config = GateConfig()
    if GATED in names and config.held_out * budget / ROUNDS < config.min_conversations:
        show(
            f"note: a tenth of {budget // ROUNDS} conversations is less than the"
            f" {config.min_conversations} that the gate judges by: it deploys nothing"
        )


def lines(variants: Sequence[Mapping[str, Any]], customers: int) -> list[str]:
    """Return what was found, a line a variant."""
    told = [f"{customers} customers; gain over the agent as it is, p corrected for all variants"]
    for row in variants:
        gain = ""
        if "gain" in row:
            value, low, high = (100 * x for x in row["gain"])
            gain = f", {value:+.1f} [{low:+.1f}, {high:+.1f}], p {row['p_holm']:.3f}"
        seeds = f"{len(row['by_seed'])} seeds"
        told.append(f"{row['variant']:30} {seeds} {100 * row['conversion']:.1f}%{gain}")
    return told
