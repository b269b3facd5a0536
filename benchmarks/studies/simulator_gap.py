"""What training against the imitation of a customer is worth with the customer itself.

    convgym study simulator-gap FILE [--agents expert-iteration] [--seeds 3]

Agents train with the learned customer and are judged twice: by it, as everybody is who trains
against a simulator, and by its original, which nobody else has. The gap between the two is what
was gained from the simulator's mistakes (over-optimisation). For comparison every agent also
trains with the original, on the same seeds, budget and settings. Before every deployment the policy
is judged by the original as well, so that the gap can be followed while it opens; these
conversations are the study's, and not in the agent's budget.

A piece is an agent with a seed and whom it trained with. Those that are finished are kept in
FILE.parts, so that the study goes on where it was stopped, and ``--agents`` and ``--seeds-now``
make some of them; FILE is written when all are there. All customers are of the training range.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from convgym.agents import make_agent
from convgym.agents.customers.voice import voice
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.benchmarks.provenance import provenance
from convgym.benchmarks.studies.pieces import OUTPUT, Pieces, claim_folder, folder_of
from convgym.benchmarks.studies.study import Study, show
from convgym.comparisons import compare
from convgym.conversation import Episode
from convgym.datafiles import write_json
from convgym.errors import unknown
from convgym.policy import Policy
from convgym.progress import ProgressCallback, no_progress
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.statistics import Estimate, seeds_interval, wilson_interval

AGENTS = ("expert-iteration", "online-ppo", "iterative-ppo")
TRAINED_WITH = ("learned", "scripted")
CUSTOMER_STREAM, WATCH_STREAM, POLICY_SEED = 914_001, 914_002, 14
WATCHED = "watched.json"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the study is."""

    conversations: int = 4096
    """That every agent may hold."""
    customers: int = 1000
    """Whom every policy is judged on, in the end."""
    watchers: int = 200
    """Customers of the original who judge the policy before every deployment."""
    seeds: int = 3
    """Training seeds of every agent."""


SIZES = Sizes()


class WatchedCollector(Collector):
    """A collector that has every policy judged by the original before it is deployed.

    Args:
        conversations: the budget.
        seed: of the customers.
        customer: with whom the agent trains, by name and options.
        folder: where conversations are kept, and what the original said of each deployment.
        watchers: customers of the original who judge.
    """

    def __init__(
        self,
        conversations: int,
        *,
        seed: int,
        customer: Mapping[str, Any],
        folder: Path,
        watchers: int,
    ) -> None:
        super().__init__(conversations, seed=seed, environment=customer, folder=folder)
        self._path, self._watchers = folder / WATCHED, watchers

    @property
    def watched(self) -> list[dict[str, Any]]:
        """What every deployed policy sold to customers of the original."""
        if not self._path.exists():
            return []
        watched: list[dict[str, Any]] = json.loads(self._path.read_text())["rows"]
        return watched

    def deploy(
        self,
        policy: Policy | Sequence[Policy],
        conversations: int,
        *,
        group_size: int = 1,
        progress: ProgressCallback = no_progress,
    ) -> list[Episode]:
        """Have the policy, of several the first, judged; then deploy it."""
        number, rows = self.usage.deployments, self.watched
        first = policy if isinstance(policy, Policy) else policy[0]
        if number == len(rows):
            assert self.folder is not None
            self.folder.mkdir(parents=True, exist_ok=True)
            row = {
                "conversations": self.usage.conversations,
                **sales(first, {"customer": "scripted"}, WATCH_STREAM, self._watchers),
            }
            write_json(self._path, {"rows": [*rows, row]})
        return super().deploy(policy, conversations, group_size=group_size, progress=progress)


def sales(
    policy: Policy, environment: Mapping[str, Any], stream: int, customers: int
) -> dict[str, Any]:
    """Return what a policy sells to customers of the training range, with Wilson's interval.

    ``outcomes`` has a letter for each customer: p for a purchase.
    """
    episodes = rollout(
        policy, train_seeds(stream, customers), environment=environment, policy_seed=POLICY_SEED
    )
    sold = sum(episode.converted for episode in episodes)
    rate = wilson_interval(sold, len(episodes))
    return {
        "purchases": sold,
        "customers": len(episodes),
        "conversion": rate.value,
        "interval": [rate.low, rate.high],
        "turns": sum(len(episode.turns) for episode in episodes) / len(episodes),
        "outcomes": "".join(episode.outcome[0] for episode in episodes),
    }


class Bench:
    """With whom agents train and who judges them, and the folder of what is finished.

    Raises:
        ConvgymError: for a folder of other sizes or another model.
    """

    def __init__(self, folder: Path, sizes: Sizes, model: str) -> None:
        self.folder, self.sizes = folder, sizes
        self.customers: Mapping[str, Mapping[str, Any]] = {
            "learned": {"customer": "learned", "customer_options": {"model": model}},
            "scripted": {"customer": "scripted"},
        }
        # A piece is the same however many seeds there are: more of them can be added later.
        same = {name: size for name, size in asdict(sizes).items() if name != "seeds"}
        self.settings = {**same, "model": voice(model).digest}
        claim_folder(folder, self.settings)

    def judge(self, policy: Policy) -> dict[str, Any]:
        """Return what a policy sells to the imitation and to the original, the same customers."""
        return {
            who: sales(policy, environment, CUSTOMER_STREAM, self.sizes.customers)
            for who, environment in self.customers.items()
        }

    def make_piece(self, name: str, seed: int, trained_with: str) -> dict[str, Any]:
        """Train an agent with a seed, have both judge it, and return what came out."""
        folder = self.folder / f"{name}-{seed}-{trained_with}"
        agent = make_agent(name)
        started = time.process_time()
        collector = WatchedCollector(
            self.sizes.conversations,
            seed=seed,
            customer=self.customers[trained_with],
            folder=folder,
            watchers=self.sizes.watchers,
        )
        agent.train(collector, folder=folder)
        return {
            "agent": name,
            "seed": seed,
            "trained_with": trained_with,
            "judged_by": self.judge(agent),
            "while_training": [
                {"conversations": row["conversations"], "own": point.conversion, "original": row}
                for point, row in zip(collector.curve, collector.watched, strict=True)
            ],
            "processor_seconds": round(time.process_time() - started, 1),
        }


def rows(pieces: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a row for each agent and whom it trained with, over its seeds."""
    kinds = dict.fromkeys((piece["agent"], piece["trained_with"]) for piece in pieces)
    for name, trained_with in kinds:
        own = [p for p in pieces if (p["agent"], p["trained_with"]) == (name, trained_with)]
        rates = {
            who: seeds_interval(
                [piece["judged_by"][who]["purchases"] for piece in own],
                [piece["judged_by"][who]["customers"] for piece in own],
            )
            for who in TRAINED_WITH
        }
        yield {
            "agent": name,
            "trained_with": trained_with,
            "seeds": len(own),
            **{who: _three(rate) for who, rate in rates.items()},
            "gap": _gap([piece["judged_by"] for piece in own]),
        }


def _gap(judged: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return how much more the imitation bought, customer by customer, with its 95% interval.

    Args:
        judged: what both bought, for each training seed.
    """
    learned, original = (
        np.array([[letter == "p" for letter in each[who]["outcomes"]] for each in judged], float)
        for who in TRAINED_WITH
    )
    return _three(compare(learned, original).difference)


def _three(estimate: Estimate) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]


def table(summaries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table, in percent."""
    yield "| agent | trained with | judged by the imitation | by the original | gap |"
    yield "|---|---|---|---|---|"
    for row in summaries:
        cells = [
            *(_interval(row[who]) for who in TRAINED_WITH),
            _interval(row["gap"], signed=True),
        ]
        seeds = f" ({row['seeds']} seeds)" if row["seeds"] else ""
        yield f"| {row['agent']}{seeds} | {row['trained_with']} | {' | '.join(cells)} |"


def _interval(three: Sequence[float], signed: bool = False) -> str:
    value, low, high = (f"{100 * number:{'+' if signed else ''}.1f}" for number in three)
    return f"{value} [{low}, {high}]"


def _start(bench: Bench) -> dict[str, Any]:
    """Return the row of the policy with which all agents begin."""
    judged = bench.judge(LanguageModelPolicy.from_pretrained())
    rates = {
        who: Estimate(judged[who]["conversion"], *judged[who]["interval"]) for who in TRAINED_WITH
    }
    told = {who: _three(rate) for who, rate in rates.items()}
    return {"agent": "start", "trained_with": "", "seeds": 0, **told, "gap": _gap([judged])}


def main(
    output: Annotated[Path, typer.Argument(help=OUTPUT)],
    agents: Annotated[str, typer.Option(help="Who learns, with commas between.")] = ",".join(
        AGENTS
    ),
    agents_now: Annotated[str | None, typer.Option(help="Some of them: now; all.")] = None,
    seeds_now: Annotated[str | None, typer.Option(help="Some of the seeds: now; all.")] = None,
    conversations: Annotated[int, typer.Option(help="That each may hold.")] = SIZES.conversations,
    customers: Annotated[int, typer.Option(help="Whom each is judged on.")] = SIZES.customers,
    watchers: Annotated[
        int, typer.Option(help="Customers of the original who judge every deployed policy.")
    ] = SIZES.watchers,
    seeds: Annotated[int, typer.Option(help="Training seeds of each.")] = SIZES.seeds,
    model: Annotated[str, typer.Option(help="The imitation: 'default', or a folder.")] = "default",
) -> None:
    """Train agents with the imitation and with the original; print and store the gap."""
    torch.set_num_threads(1)
    made_with = provenance()  # of the code that runs, whatever is committed meanwhile
    everybody = agents.split(",")
    now = everybody if agents_now is None else agents_now.split(",")
    for name in now:
        if name not in everybody:
            raise unknown("agent of the study", name, everybody)
    numbers = range(seeds) if seeds_now is None else [int(n) for n in seeds_now.split(",")]
    sizes = Sizes(conversations, customers, watchers, seeds)
    study = Study(output, what="What training with an imitation is worth", sizes=asdict(sizes))
    bench = Bench(folder_of(output), sizes, model)
    kept = Pieces(output, bench.settings)
    every = {
        f"{name} {seed} {who}": (name, seed, who)
        for name in everybody
        for seed in range(seeds)
        for who in TRAINED_WITH
    }
    there = kept.read([*every])
    with kept.goes_on():
        for key, (name, seed, who) in every.items():
            if name in now and seed in numbers and key not in there:
                piece = {**made_with, **bench.make_piece(name, seed, who)}
                there[key] = kept.add(key, piece)
                show(*list(table(list(rows([piece]))))[2:])
    missing = [key for key in every if key not in there]
    if missing:
        show(f"still to be made: {', '.join(missing)}")
        return
    pieces = [there[key] for key in every]
    summaries = [_start(bench), *rows(pieces)]
    study.store(
        evaluation={"train_seeds_stream": CUSTOMER_STREAM, "customers": customers},
        watch_stream=WATCH_STREAM,
        policy_seed=POLICY_SEED,
        agents=summaries,
        pieces=pieces,
    )
    show(*table(summaries))
