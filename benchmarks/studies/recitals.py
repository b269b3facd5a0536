"""How much of its instruction the customer ``llm`` says aloud, and how often it cannot be read.

    convgym study recitals [FILE.json] [--model smollm2] [--seed 770] [--customers 24] [--turns 2]

Weak models say what stands in their instruction: placeholders of a form, the words of an example.
Counted are lines with words of the example that is shown
(``convgym.customers.llm.examples``), lines with five words in a row that stand so in the
instruction, and what ``convgym validate`` calls leakage; beside them the answers that had to be
sent back, and the lines said most often.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.benchmarks.studies.study import Study, show
from convgym.benchmarks.validation.speech import leaks
from convgym.conversation import Episode
from convgym.customers.llm.customer import LLMCustomer
from convgym.customers.llm.examples import copied
from convgym.customers.llm.prompts import system_prompt
from convgym.customers.personas import load_personas
from convgym.customers.profile import draw_profile
from convgym.llm import make_backend
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.shop.catalog import Catalog, load_catalog
from convgym.shop.language import tokens

IN_A_ROW = 5
"""So many words in a row are no accident."""


def main(
    output: Annotated[Path | None, typer.Argument(help="New file.")] = None,
    model: Annotated[str, typer.Option(help="As the backend 'transformers' takes it.")] = "smollm2",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or auto.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the customers, training ones.")] = 770,
    customers: Annotated[int, typer.Option(help="How many.")] = 24,
    turns: Annotated[int, typer.Option(help="Messages of the competent seller's.")] = 2,
) -> None:
    """Measure, print, and store the counts with commit and versions."""
    settings = {
        "customers": customers,
        "seeds": {"evaluation_stream": seed},
        "seller": "competent",
        "turns": turns,
        "model": model,
        "dtype": dtype,
    }
    study = Study(output, settings=settings)
    backend = make_backend("transformers", model=model, dtype=dtype)
    customer = partial(LLMCustomer, backend=backend)
    episodes = rollout(
        make_seller("competent"),
        train_seeds(seed, customers),
        environment={"customer": customer, "max_turns": turns},
        batch_size=customers,
    )
    row = counted(episodes, load_catalog("laptops"))
    study.store(fingerprint=LLMCustomer(backend=backend).fingerprint, rows=[row])
    show(
        f"{row['answers']} answers, {row['unreadable']} unreadable; {row['lines']} lines, of which"
        f" {row['words_of_the_example']} with words of the example, {row['run_of_the_prompt']} with"
        f" {IN_A_ROW} words in a row of the instruction"
    )


def counted(episodes: Sequence[Episode], catalog: Catalog) -> dict[str, Any]:
    """Return what was said of the instruction, and what could not be read."""
    counts: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for episode in episodes:
        record = episode.metadata
        counts["unreadable"] += record["repairs"] + record["failures"]
        counts["answers"] += record["parsed"] + record["repairs"] + record["failures"]
        instruction = _instruction(episode.seed, catalog)
        for message in episode.messages():
            if message["role"] != "user" or not message["content"]:
                continue
            words = message["content"]
            lines[words] += 1
            counts["words_of_the_example"] += copied(words, catalog)
            counts["run_of_the_prompt"] += recites(words, instruction)
            counts["leaks"] += leaks(words, {}, catalog)
    names = ("answers", "unreadable", "words_of_the_example", "run_of_the_prompt", "leaks")
    return {
        "lines": lines.total(),
        **{name: counts[name] for name in names},
        "different_lines": len(lines),
        "most_frequent": lines.most_common(12),
    }


def recites(words: str, instruction: str) -> bool:
    """Tell whether words hold ``IN_A_ROW`` ones that stand in the instruction in a row."""
    said, told = tokens(words), f" {' '.join(tokens(instruction))} "
    runs = (said[i : i + IN_A_ROW] for i in range(len(said) - IN_A_ROW + 1))
    return any(f" {' '.join(run)} " in told for run in runs)


def _instruction(seed: int, catalog: Catalog) -> str:
    personas = load_personas("default")
    profile = draw_profile(random.Random(seed), catalog, None, None, personas=personas)
    return system_prompt(catalog, personas[profile.persona], profile)
