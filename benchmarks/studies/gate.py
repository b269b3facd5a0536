"""The gate of Iterative PPO, measured: good and bad steps, and what it says of them.

    convgym study gate FILE.json [--only PIECE]

Steps of known worth are made in pieces (``gate_steps``): each starts from a log of a deployed
policy, of which a share is held out. For every step there is recorded what is true, the change of
conversion with fresh customers of the training range whom both policies meet; and what the held-out
conversations say. A finished piece is kept in FILE.json.parts, so that the study goes on where it
was stopped; FILE.json is written when all are there, or, asked by ``--as-is``, of those that are.
Each piece takes six minutes to half an hour of a core. Beside it stands what the gate said of
stored rounds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from convgym.agents.algorithms.iterative_ppo import IterativePPOConfig
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.off_policy.evidence import (
    Opinions,
    evidence,
    fresh_values,
    log_ratios,
    said_values,
)
from convgym.agents.off_policy.fitted_evaluation import FittedEvaluation
from convgym.agents.pipeline.outputs import building
from convgym.agents.values.fitted import FittedQ, fit_q
from convgym.agents.values.q_function import QEnsemble
from convgym.benchmarks.provenance import provenance
from convgym.benchmarks.studies.gate_rounds import RUNS, stored_rounds
from convgym.benchmarks.studies.gate_steps import PIECES, STARTS, Piece, cloned
from convgym.benchmarks.studies.gate_table import as_lists, judged, looked_at, table
from convgym.benchmarks.studies.pieces import OUTPUT, Pieces
from convgym.benchmarks.studies.study import Study, show
from convgym.errors import ConvgymError, unknown
from convgym.policy import Policy
from convgym.rollout import rollout
from convgym.seeds import train_seeds

ONLY = f"Make this piece alone: {', '.join(piece.name for piece in PIECES)}."
HELD_OUT = 0.25
"""Share of a log that no step learns from."""
SAMPLES = 2
"""Fresh responses of either policy to every held-out state."""
CUSTOMERS = 1024
"""Whom every policy is evaluated on."""
EVALUATION_STREAM = 977
"""Training seed whose customers the policies are evaluated on."""


class Starts:
    """The deployed policies that the pieces start from, kept among these once made."""

    def __init__(self, pieces: Pieces, customers: int, log: int) -> None:
        self.pieces, self.customers, self.log = pieces, customers, log

    def policy(self, name: str) -> LanguageModelPolicy:
        """Return a policy, made if it is not there yet."""
        parent = STARTS[name]
        if parent is None:
            return LanguageModelPolicy.from_pretrained()
        path = self.pieces.folder / "starts" / name
        if not path.exists():
            deployed = self.policy(parent)
            seed = 500 + list(STARTS).index(name)
            episodes = rollout(deployed, train_seeds(seed, self.log), policy_seed=seed)
            sold = [episode for episode in episodes if episode.converted]
            log = deployed.model.tokenise(sold)
            generator = torch.Generator().manual_seed(seed)
            with building(path) as part:
                LanguageModelPolicy(cloned(deployed.model, log, 2, generator)).save(part)
        return LanguageModelPolicy.from_pretrained(path)

    def outcomes(self, name: str) -> list[float]:
        """Return which of the evaluation's customers a policy sells to."""
        piece = f"starts/{name}"
        there = self.pieces.read([piece])
        if not there:
            sold_to = outcomes(self.policy(name), self.customers)
            there[piece] = self.pieces.add(piece, {"outcomes": sold_to})
        return list(there[piece]["outcomes"])


def outcomes(policy: Policy, customers: int) -> list[float]:
    """Return 1 or 0 for every customer of the evaluation."""
    episodes = rollout(policy, train_seeds(EVALUATION_STREAM, customers), policy_seed=9)
    return [float(episode.converted) for episode in episodes]


def run_piece(piece: Piece, starts: Starts, made_with: Mapping[str, Any]) -> dict[str, Any]:
    """Make a piece's steps; return what is true of each and what its log holds of it."""
    begun = time.process_time()
    before = np.array(starts.outcomes(piece.start))
    policy = starts.policy(piece.start)
    model = policy.model
    episodes = rollout(policy, train_seeds(piece.seed, piece.conversations), policy_seed=piece.seed)
    generator = torch.Generator().manual_seed(piece.seed)
    ensemble = QEnsemble(model, piece.q_function)
    fitted = fit_q(model, ensemble, episodes, held_out=HELD_OUT, generator=generator)
    log, judged = fitted.log[: fitted.held_out], fitted.estimates[: fitted.held_out]
    score = partial(ensemble.score, generator=torch.Generator().manual_seed(piece.seed))
    told = partial(fresh_values, score=score, episodes=log, samples=SAMPLES)
    known = {
        "deployed_ratios": log_ratios(model, log),
        "said": said_values(score, log),
        "deployed": told(model, generator=torch.Generator().manual_seed(piece.seed)),
    }

    def look(name: str, new: LanguageModel) -> dict[str, Any]:
        told_by_log = evidence(
            log,
            judged,
            ratios=log_ratios(new, log),
            new=told(new, generator=torch.Generator().manual_seed(piece.seed)),
            evaluated=by_own_q(new, fitted, torch.Generator().manual_seed(piece.seed)),
            **known,
        )
        after = np.array(outcomes(LanguageModelPolicy(new), starts.customers))
        change = after - before
        row = {
            "step": name,
            "kl_nats_per_response": new.divergence(model, log[:128]),
            "conversion": float(after.mean()),
            "change": float(change.mean()),
            "change_se": float(change.std(ddof=1) / len(change) ** 0.5),
        }
        show(f"{piece.name}: {name:32} {row['change']:+.3f} {time.process_time() - begun:5.0f} s")
        return {**row, "evidence": as_lists(told_by_log)}

    rows = []
    for number, move in enumerate(piece.moves):
        steps = torch.Generator().manual_seed(1000 * piece.seed + number)
        rows += [look(name, new) for name, new in move.make(model, fitted, steps)]
    return {
        **made_with,
        "piece": asdict(piece),
        "moves": [type(move).__name__ for move in piece.moves],
        "conversations": len(fitted.log),
        "held_out": fitted.held_out,
        "conversion_before": float(before.mean()),
        "q_function": dict(fitted.metrics),
        "processor_seconds": round(time.process_time() - begun, 1),
        "steps": rows,
    }


def by_own_q(new: LanguageModel, fitted: FittedQ, generator: torch.Generator) -> Opinions:
    """Return what a Q that is fitted for a new policy says of what was held out."""
    held_out, log = fitted.log[: fitted.held_out], fitted.log[fitted.held_out :]
    ensemble = FittedEvaluation().evaluate(fitted.ensemble, new, log, generator)
    score = partial(ensemble.score, generator=generator)
    return Opinions(
        said_values(score, held_out),
        fresh_values(new, score, held_out, samples=SAMPLES, generator=generator),
    )


def main(
    output: Annotated[Path, typer.Argument(help=OUTPUT)],
    only: Annotated[str, typer.Option(help=ONLY)] = "",
    customers: Annotated[
        int, typer.Option(help="Whom each policy is evaluated on.", min=1)
    ] = CUSTOMERS,
    as_is: Annotated[bool, typer.Option(help="Judge by the pieces that are there.")] = False,
    results: Annotated[Path, typer.Option(help="Stored runs.")] = Path("benchmarks/results"),
) -> None:
    """Make the steps, judge the gate by them, and store what was found.

    Ten pieces of six minutes to half an hour of a core; after Ctrl-C the same command goes on with
    the piece that was not finished.
    """
    torch.set_num_threads(1)
    made_with = provenance()  # of the code that runs, whatever is committed meanwhile
    study = Study(output, what="Good and bad steps, and what the gate says of them")
    names = [piece.name for piece in PIECES]
    if only and only not in names:
        raise unknown("piece", only, names)
    if not results.is_dir():
        raise ConvgymError(
            f"no folder of stored runs at {results}: --results says where they are, those of the"
            " project in its benchmarks/results"
        )
    kept = Pieces(output, {"customers": customers, "held_out": HELD_OUT, "samples": SAMPLES})
    there = kept.read(names)
    starts = Starts(kept, customers, 1024)
    with kept.goes_on():
        for piece in () if as_is else PIECES:
            if piece.name not in there and only in ("", piece.name):
                show(f"{piece.name}: {piece.conversations} conversations, and a Q of them")
                there[piece.name] = kept.add(piece.name, run_piece(piece, starts, made_with))
    missing = [name for name in names if name not in there]
    if missing:
        show(f"still to be made: {', '.join(missing)}; --as-is judges by what is there")
        if not as_is:
            return
    if not there:
        raise ConvgymError(f"no piece is there yet in {kept.folder}: leave out --as-is")
    pieces = [there[name] for name in names if name in there]
    steps = [step for piece in pieces for step in looked_at(piece)]
    rounds = [
        {"half": half, **row}
        for run, half in RUNS.items()
        if (results / run).is_dir()
        for row in stored_rounds(results / run)
    ]
    study.store(
        config=asdict(IterativePPOConfig()),
        settings={
            "held_out": HELD_OUT,
            "samples": SAMPLES,
            "customers": customers,
            "seeds": {"evaluation_stream": EVALUATION_STREAM, "evaluation_policy": 9},
        },
        left_out=missing,
        pieces=[{key: piece[key] for key in piece if key != "steps"} for piece in pieces],
        steps=steps,
        stored_rounds=rounds,
        **judged(steps, rounds),
    )
    show(*table(study.facts))
