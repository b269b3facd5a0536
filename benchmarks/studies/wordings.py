"""How much of a hybrid customer's lines its model words, with the measure of fluency and without.

    convgym study wordings [FILE.json] [--model smollm2] [--seed 1404] [--customers 100]

The same customers talk to the same seller twice, and the model's answers are the same both times:
what differs is whether a wording must be at least as likely as the template where it stands
(``convgym.customers.llm.fluency``). Every pair that was compared is stored, so that one can judge
the judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, cast

import typer

from convgym.benchmarks.studies.study import Study, show
from convgym.conversation import Episode
from convgym.customers.llm.fluency import is_fluent
from convgym.customers.llm.hybrid import HybridCustomer
from convgym.llm import make_backend
from convgym.llm.base import Continuation, ScoringBackend
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from convgym.sellers import make_seller

TOGETHER = 20
"""Conversations that are held side by side, and stored together."""


class Noted:
    """A scorer that keeps what it was asked and what it said: pairs of template and wording."""

    def __init__(self, scorer: ScoringBackend) -> None:
        self._scorer = scorer
        self.fingerprint = scorer.fingerprint
        self.pairs: list[dict[str, Any]] = []

    def log_probabilities(self, texts: Sequence[Continuation]) -> list[float]:
        """Score as the scorer does."""
        scores = self._scorer.log_probabilities(texts)
        for i in range(0, len(texts), 2):
            template, wording = scores[i : i + 2]
            self.pairs.append(
                {
                    "after": texts[i].before.splitlines()[-2],
                    "template": texts[i].text.strip(),
                    "wording": texts[i + 1].text.strip(),
                    "fluency": [round(template, 4), round(wording, 4)],
                    "spoken": is_fluent(template, wording, 0.0),
                }
            )
        return scores


def main(
    output: Annotated[Path | None, typer.Argument(help="New file.")] = None,
    model: Annotated[str, typer.Option(help="As the backend 'transformers' takes it.")] = "smollm2",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or auto.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the evaluation customers.")] = 1404,
    customers: Annotated[int, typer.Option(help="How many.")] = 100,
    seller: Annotated[str, typer.Option(help="Who talks to them.")] = "competent",
) -> None:
    """Measure, print, and store shares, reasons and pairs with commit and versions."""
    study = Study(output, evaluation_seed=seed, seller=seller, model=model, dtype=dtype, margin=0.0)
    scorer = Noted(cast("ScoringBackend", make_backend("transformers", model=model, dtype=dtype)))
    kinds = {"without the measure": None, "with the measure": scorer}
    counts: dict[str, Counter[str]] = {name: Counter() for name in kinds}
    with TemporaryDirectory() as folder:
        answers = Path(folder) / "answers.jsonl"
        backend = make_backend("transformers", model=model, dtype=dtype, record=answers)
        for start in range(0, customers, TOGETHER):
            seeds = evaluation_seeds(seed, customers)[start : start + TOGETHER]
            for name, fluency in kinds.items():
                customer = partial(HybridCustomer, backend=backend, fluency=fluency)
                counts[name] += _lines(
                    rollout(
                        make_seller(seller),
                        seeds,
                        environment={"customer": customer},
                        batch_size=TOGETHER,
                    )
                )
            study.store(
                customers=min(start + TOGETHER, customers),
                rows=[_row(name, count) for name, count in counts.items()],
                pairs=scorer.pairs,
            )
    for name, count in counts.items():
        row = _row(name, count)
        show(
            f"{name}: {row['worded']} of {row['lines']} lines worded, refused for {row['reasons']}"
        )


def _lines(episodes: Sequence[Episode]) -> Counter[str]:
    """Return how many lines were worded, and how many were not, by reason."""
    lines: Counter[str] = Counter()
    for episode in episodes:
        lines["worded"] += episode.metadata["worded"]
        lines.update(episode.metadata["reasons"])
    return lines


def _row(name: str, lines: Counter[str]) -> dict[str, Any]:
    reasons = {reason: n for reason, n in lines.most_common() if reason != "worded"}
    return {
        "wordings": name,
        "lines": lines.total(),
        "worded": lines["worded"],
        "reasons": reasons,
    }
