"""What a seller keeps of its skill where it was not trained.

    convgym study transfer FILE

Judges scripted sellers, untrained language models and agents trained in one shop: at home, in the
shop that is held out and the two others, with customers that are difficult, and with words that are
noisy. Language models are judged at several temperatures, since a start whose faults are noise
sells well when it says what is likeliest, and one whose faults are habits does not. Besides, it
counts in how many customers a script ends alike in two shops: shops are one game in other words.
All customers are of the evaluation range, the same everywhere. FILE is written after every row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.agents import make_agent
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.benchmarks.studies.study import Study, show
from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.policy import Policy
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from convgym.sellers import make_seller
from convgym.shop.catalog import catalog_names
from convgym.statistics import wilson_interval

CUSTOMERS = 500
"""For every row."""
SCRIPTS = ("mediocre", "habitual", "competent")
TEMPERATURES = (1.0, 0.5, 0.25)
NOISE = 0.3
"""Share of the customer's longer words that have a slip, where words are noisy."""
HOME: Mapping[str, Any] = {"catalog": "laptops"}
PLACES: Mapping[str, Mapping[str, Any]] = {
    "home": HOME,
    "held-out shop": {"catalog": "bicycles"},
    "insurance": {"catalog": "insurance"},
    "mobile": {"catalog": "mobile"},
    "difficult customers": {**HOME, "personas": "difficult"},
    "noisy words": {**HOME, "noise": NOISE},
}
"""Where everybody is judged: options of the environment."""


def row(episodes: Sequence[Episode], **facts: Any) -> dict[str, Any]:
    """Return what conversations came to, as plain data."""
    sales = sum(episode.converted for episode in episodes)
    rate = wilson_interval(sales, len(episodes))
    return {
        **facts,
        "customers": len(episodes),
        "sales": sales,
        "conversion": [round(value, 4) for value in (rate.value, rate.low, rate.high)],
    }


def agreement(first: Sequence[Episode], second: Sequence[Episode]) -> float:
    """Return the share of customers with whom two rounds of conversations ended alike."""
    pairs = zip(first, second, strict=True)
    return sum(a.outcome == b.outcome for a, b in pairs) / len(first)


def scripted(
    name: str, seeds: Sequence[int], seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Judge a scripted seller in every shop, with both populations and with noise at home.

    Returns:
        A row for each, and in how many customers its conversations end alike in every two shops.
    """
    rows, held = [], {}
    for shop in catalog_names():
        for population in ("default", "difficult"):
            options = {"catalog": shop, "personas": population}
            episodes = _held(make_seller(name, shop), options, seeds, seed)
            rows.append(row(episodes, seller=name, **options))
            if population == "default":
                held[shop] = episodes
    noisy = PLACES["noisy words"]
    rows.append(row(_held(make_seller(name), noisy, seeds, seed), seller=name, **noisy))
    pairs = {f"{a}, {b}": round(agreement(held[a], held[b]), 4) for a, b in combinations(held, 2)}
    return rows, {"seller": name, "customers": len(seeds), "ended_alike": pairs}


def judged(
    policy: LanguageModelPolicy, temperatures: Sequence[float], seeds: Sequence[int], seed: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for a language model in every place at every temperature; its own must be 1."""
    for temperature in temperatures:
        speaker = policy.voice(None, temperature)
        for place, options in PLACES.items():
            episodes = _held(speaker, options, seeds, seed)
            yield row(episodes, policy=policy.name, place=place, temperature=temperature)


def measure(
    path: Path | None,
    *,
    sellers: Sequence[str] = SCRIPTS,
    models: Sequence[str] = ("default",),
    agents: Sequence[str] = ("expert-iteration",),
    conversations: int = 2048,
    customers: int = CUSTOMERS,
    temperatures: Sequence[float] = TEMPERATURES,
    seed: int = 0,
) -> None:
    """Judge scripts, starts and what agents make of them; write all that came out.

    Args:
        path: the file; None writes none.
        sellers: scripted sellers by name.
        models: starts, as ``PolicyConfig.model`` names them.
        agents: who is trained at home from every start, by name.
        conversations: budget of a training.
        customers: for every row.
        temperatures: of the language models.
        seed: of the training, the customers and the words.
    """
    study = Study(
        path,
        customers=customers,
        conversations=conversations,
        seed=seed,
        places={name: dict(options) for name, options in PLACES.items()},
    )
    seeds = evaluation_seeds(seed, customers)
    rows: dict[str, list[dict[str, Any]]] = {"scripts": [], "one_game": [], "models": []}

    def note(kind: str, judgement: dict[str, Any]) -> None:
        rows[kind].append(judgement)
        study.store(**rows)
        show(f"{kind}: {judgement}")

    for name in sellers:
        judgements, alike = scripted(name, seeds, seed)
        for judgement in judgements:
            note("scripts", judgement)
        note("one_game", alike)
    for model in models:
        start = LanguageModelPolicy.from_pretrained(
            model, name=model, config=PolicyConfig(model=model)
        )
        for judgement in judged(start, temperatures, seeds, seed):
            note("models", judgement)
        for name in agents:
            agent = make_agent(name, policy={"model": model})
            agent.train(Collector(conversations, seed=seed, environment=HOME))
            trained = LanguageModelPolicy(agent.model, name=f"{name} from {model}")  # type: ignore[attr-defined]
            for judgement in judged(trained, temperatures, seeds, seed):
                note("models", judgement)


def _held(
    policy: Policy, options: Mapping[str, Any], seeds: Sequence[int], seed: int
) -> list[Episode]:
    return rollout(policy, seeds, environment=options, policy_seed=seed)


def main(
    path: Annotated[Path, typer.Argument(help="File to write; never overwritten.")],
    models: Annotated[
        str, typer.Option(help="Starts, with commas between; none for scripts alone.")
    ] = "default",
    agents: Annotated[
        str, typer.Option(help="Agents to train at home from every start, with commas between.")
    ] = "expert-iteration",
    conversations: Annotated[int, typer.Option(min=1, help="Budget of a training.")] = 2048,
    customers: Annotated[int, typer.Option(min=1, help="For every row.")] = CUSTOMERS,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    temperatures: Annotated[
        str, typer.Option(help="Of the language models, with commas between.")
    ] = ",".join(map(str, TEMPERATURES)),
    sellers: Annotated[
        str, typer.Option(help="Scripted sellers, with commas between; or none.")
    ] = ",".join(SCRIPTS),
) -> None:
    """Measure what sellers keep of their skill where they were not trained."""
    measure(
        path,
        models=_names(models),
        agents=_names(agents),
        conversations=conversations,
        customers=customers,
        seed=seed,
        temperatures=[_temperature(each) for each in _names(temperatures)],
        sellers=_names(sellers),
    )


def _temperature(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConvgymError(f"temperatures must be numbers, got {text!r}") from None


def _names(listed: str) -> list[str]:
    return [name for name in listed.split(",") if name and name != "none"]
