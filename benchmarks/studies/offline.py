"""What offline learners make of one log of words and outcomes.

    convgym study offline FILE [--agents ilql,awr]

The mediocre scripted seller writes a log. It is exported and imported again, so that what is left
of it is what a stranger's log has: words and outcomes. Every agent learns from it with several
training seeds, and is judged twice:

- by customers of the training range whom nobody else meets;
- by conversations of the same seller that nobody learned from, as a gate that has to do without
  customers (``agents/pipeline``): a clone of the log stands in for who spoke in it, and what the
  agent gains over the clone is the first-order estimate with its 95% interval, or cannot be judged.

A piece is an agent with a seed. Those that are finished are kept in FILE.parts, so that the study
goes on where it was stopped, and ``--agents`` makes some of them; FILE is written when all are
there. Everybody learns from one log: intervals cover training seeds and customers, not other logs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from convgym.agents import make_agent
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.pipeline.fitting import FitSettings, fit_to_folder
from convgym.agents.pipeline.gating import judge_policy
from convgym.agents.training.collector import Collector
from convgym.agents.values.q_function import QFunctionConfig
from convgym.benchmarks.provenance import provenance
from convgym.benchmarks.studies.pieces import OUTPUT, Pieces, claim_folder
from convgym.benchmarks.studies.study import Study, show
from convgym.errors import unknown
from convgym.exchange import export_log, import_log
from convgym.logs import read_log, write_log
from convgym.policy import Policy
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.statistics import Estimate, mean_over_seeds, seeds_interval, wilson_interval

AGENTS = ("bc", "filtered-bc", "awr", "ilql", "outcome-dpo", "offline-iterative-ppo")
LOG_STREAM, CUSTOMER_STREAM = 905_001, 905_002
"""Of the customers in the log, and of those who judge; both in the training range."""
CLONE_SEED, POLICY_SEED = 905, 7
Q_FUNCTION = QFunctionConfig()
"""Of the clone, for the estimates without customers."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the study is."""

    conversations: int = 2000
    """That are learned from."""
    held_out: int = 500
    """More of the same seller, by which what was learned is judged without customers."""
    customers: int = 2000
    """Whom every policy is judged on."""
    seeds: int = 5
    """Training seeds of every agent."""


SIZES = Sizes()


class Bench:
    """The log, its clone and the clone's Q, kept in a folder once made.

    Raises:
        ConvgymError: for a folder of other sizes.
    """

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self.folder, self.sizes = folder, sizes
        claim_folder(folder, asdict(sizes))

    @property
    def log(self) -> Path:
        """What is learned from."""
        return self._written()[0]

    @property
    def everything(self) -> Path:
        """The conversations that are held out, and the log after them."""
        return self._written()[1]

    def _written(self) -> tuple[Path, Path]:
        log, everything = self.folder / "log.jsonl", self.folder / "everything.jsonl"
        if not everything.exists():
            chats = self.folder / "chats.csv"
            if not chats.exists():
                size = self.sizes.held_out + self.sizes.conversations
                seeds = train_seeds(LOG_STREAM, size)
                held = rollout(make_seller("mediocre"), seeds, policy_seed=POLICY_SEED)
                export_log(held, chats)
            episodes = import_log(chats).episodes
            write_log(log, episodes[self.sizes.held_out :], overwrite=True)
            write_log(everything, episodes, overwrite=True)
        return log, everything

    def clone(self) -> Path:
        """Return the policy that stands in for who spoke in the log."""
        folder = self.folder / "clone"
        if not (folder / "policy" / "config.json").exists():
            agent = make_agent("bc")
            agent.train(Collector(self.sizes.conversations, seed=CLONE_SEED, log=self.log))
            agent.save(folder / "policy")
        return folder / "policy"

    def estimate(self, policy: Path) -> dict[str, Any]:
        """Return what a policy gains over the clone by the conversations that were held out."""
        q = self.folder / "q"
        share = self.sizes.held_out / len(read_log(self.everything).episodes)
        settings = FitSettings(Q_FUNCTION, held_out=share, seed=CLONE_SEED)
        fit_to_folder(self.everything, self.clone(), q, settings)
        judged = judge_policy(policy, self.clone(), q, self.everything, estimate_behaviour=True)
        left_out = ("new", "old", "q", "log", "settings")
        return {name: value for name, value in judged.items() if name not in left_out}

    def sales(self, policy: Policy) -> dict[str, Any]:
        """Return what a policy sells to the customers, with Wilson's interval."""
        seeds = train_seeds(CUSTOMER_STREAM, self.sizes.customers)
        episodes = rollout(policy, seeds, policy_seed=POLICY_SEED)
        sold = sum(episode.converted for episode in episodes)
        rate = wilson_interval(sold, len(episodes))
        counts = {"purchases": sold, "customers": len(episodes), "conversion": rate.value}
        return {**counts, "interval": [rate.low, rate.high]}


def make_piece(bench: Bench, name: str, seed: int) -> dict[str, Any]:
    """Train an agent on the log with a seed, judge it both ways, and return what came out."""
    folder = bench.folder / f"{name}-{seed}"
    agent = make_agent(name)
    started = time.process_time()
    collector = Collector(bench.sizes.conversations, seed=seed, log=bench.log)
    report = agent.train(collector, folder=folder)
    seconds = time.process_time() - started
    agent.save(folder / "policy")
    return {
        "agent": name,
        "seed": seed,
        **bench.sales(agent),
        "estimate": bench.estimate(folder / "policy"),
        "training": [dict(row) for row in report.rows],
        "notes": list(report.notes),
        "processor_seconds": round(seconds, 1),
    }


def references(bench: Bench) -> list[dict[str, Any]]:
    """Return what the seller who wrote the log, its clone and the untrained start sell."""
    policies: Mapping[str, Policy] = {
        "mediocre seller": make_seller("mediocre"),
        "small seller": LanguageModelPolicy.from_pretrained(),
        "clone": LanguageModelPolicy.from_pretrained(bench.clone()),
    }
    return [{"policy": name, **bench.sales(policy)} for name, policy in policies.items()]


def rows(pieces: Sequence[Mapping[str, Any]], clone: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each agent over its seeds.

    Args:
        pieces: of all agents.
        clone: its conversion, over which gains are.
    """
    for name in dict.fromkeys(piece["agent"] for piece in pieces):
        own = [piece for piece in pieces if piece["agent"] == name]
        rate = seeds_interval([p["purchases"] for p in own], [p["customers"] for p in own])
        told = [p["estimate"] for p in own]
        known = [Estimate(e["gain"], e["low"], e["high"]) for e in told if "gain" in e]
        gain = mean_over_seeds(known) if known else None
        yield {
            "agent": name,
            "seeds": len(own),
            "conversion": [rate.value, rate.low, rate.high],
            "gain": rate.value - clone,
            "estimated_gain": gain and [gain.value, gain.low, gain.high],
            "cannot_judge": sum(e["verdict"] == "cannot judge" for e in told),
            "kl": sum(e.get("kl", 0.0) for e in told) / len(told),
            "processor_seconds": sum(p["processor_seconds"] for p in own) / len(own),
        }


def table(summaries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| agent | conversion % | gain over the clone | estimated gain | nats | cannot judge |"
    yield "|---|---|---|---|---|---|"
    for row in summaries:
        rate, told = row["conversion"], row["estimated_gain"]
        estimated = "" if told is None else _interval(told, signed=True)
        yield (
            f"| {row['agent']} ({row['seeds']} seeds) | {_interval(rate)} |"
            f" {100 * row['gain']:+.1f} | {estimated} | {row['kl']:.2f} |"
            f" {row['cannot_judge']} of {row['seeds']} |"
        )


def _interval(three: Sequence[float], signed: bool = False) -> str:
    sign = "+" if signed else ""
    value, low, high = (f"{100 * number:{sign}.1f}" for number in three)
    return f"{value} [{low}, {high}]"


def main(
    output: Annotated[Path, typer.Argument(help=OUTPUT)],
    agents: Annotated[str, typer.Option(help="Who learns now, with commas between.")] = ",".join(
        AGENTS
    ),
    conversations: Annotated[int, typer.Option(help="In the log.")] = SIZES.conversations,
    held_out: Annotated[int, typer.Option(help="More of them, that judge.")] = SIZES.held_out,
    customers: Annotated[int, typer.Option(help="Whom each is judged on.")] = SIZES.customers,
    seeds: Annotated[int, typer.Option(help="Training seeds of each.")] = SIZES.seeds,
) -> None:
    """Train offline learners on one log, and print and store what each sells."""
    torch.set_num_threads(1)
    made_with = provenance()  # of the code that runs, whatever is committed meanwhile
    chosen = agents.split(",")
    for name in chosen:
        if name not in AGENTS:
            raise unknown("agent of the study", name, AGENTS)
    sizes = Sizes(conversations, held_out, customers, seeds)
    study = Study(output, what="What offline learners make of one log", sizes=asdict(sizes))
    kept = Pieces(output, asdict(sizes))
    bench = Bench(kept.folder, sizes)
    every = {f"{name} {seed}": (name, seed) for name in AGENTS for seed in range(seeds)}
    there = kept.read([*every])
    with kept.goes_on():
        for key, (name, seed) in every.items():
            if name in chosen and key not in there:
                piece = there[key] = kept.add(key, {**made_with, **make_piece(bench, name, seed)})
                low, high = (100 * bound for bound in piece["interval"])
                rate = 100 * piece["conversion"]
                show(f"{name}, seed {seed}: {rate:.1f}% [{low:.1f}, {high:.1f}]")
    missing = [key for key in every if key not in there]
    if missing:
        show(f"still to be made: {', '.join(missing)}")
        return
    pieces = [there[key] for key in every]
    others = references(bench)
    summaries = list(rows(pieces, others[-1]["conversion"]))
    study.store(
        streams={"log": LOG_STREAM, "customers": CUSTOMER_STREAM},
        policy_seed=POLICY_SEED,
        references=others,
        agents=summaries,
        pieces=pieces,
    )
    for row in others:
        show(f"{row['policy']}: {_interval([row['conversion'], *row['interval']])}%")
    show(*table(summaries))
