"""Who trained with which customers sells to which others.

    convgym study customer-matrix FILE [--train-on v0,v1 --judge-on v0,v1,insurance --seeds 3]

Agents train with one kind of customers each, on an equal budget, and everybody is judged by every
kind, on the same customers of the evaluation range. In a shop other than the laptops an agent
starts from a small seller of that shop's own, which the study pretrains. A piece is an agent, whom
it trained with, and a seed; its policy and every judgement of it are kept in FILE.parts, so that
the study goes on where it was stopped, and kinds of customers can be added later. FILE and its
picture are written when all that was asked for is there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer

from convgym.agents import make_agent
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.pretrain import pretrain
from convgym.agents.training.collector import Collector
from convgym.benchmarks.provenance import provenance
from convgym.benchmarks.report.plot import INK, drawn
from convgym.benchmarks.studies.pieces import OUTPUT, claim_folder, folder_of
from convgym.benchmarks.studies.study import Study, show
from convgym.datafiles import read_object, write_json
from convgym.envs.scenario import customer_fingerprint
from convgym.errors import unknown
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from convgym.statistics import seeds_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AGENTS = ("filtered-bc", "online-ppo", "iterative-ppo")
START = "start"
"""The row of the policy that nobody trained."""
POLICY_SEED = 15


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of customers: options of the environment, and what is done with it."""

    environment: Mapping[str, Any]
    trains: bool = True
    """Agents may train with it; a shop that is held out is for judging."""
    most: int | None = None
    """Customers that judge at most, of a kind that is slow."""

    @property
    def shop(self) -> str:
        """The catalogue's name."""
        return str(self.environment.get("catalog", "laptops"))


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "v0": Kind({"customer": "scripted"}),
        "difficult": Kind({"customer": "scripted", "personas": "difficult"}),
        "v1": Kind({"customer": "shopper"}),
        "insurance": Kind({"customer": "scripted", "catalog": "insurance"}),
        "mobile": Kind({"customer": "scripted", "catalog": "mobile"}),
        "bicycles": Kind({"customer": "scripted", "catalog": "bicycles"}, trains=False),
        "learned": Kind({"customer": "learned"}),
        "smollm2": Kind(
            {"customer": "smollm2-customer", "customer_options": {"dtype": "bfloat16"}},
            trains=False,
            most=86,  # with three seeds 258 conversations a cell
        ),
    }
)
"""The kinds of customers by name."""
TRAINERS = [name for name, kind in KINDS.items() if kind.trains]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the study is."""

    conversations: int = 2048
    """That every agent may hold."""
    customers: int = 200
    """Of each kind, who judge."""
    evaluation_seed: int = 1501
    pretraining: int = 8000
    """Conversations that the small seller of another shop imitates."""


SIZES = Sizes()


@dataclass(frozen=True, slots=True)
class Piece:
    """A training; that of the start is none."""

    agent: str
    trained_on: str
    seed: int

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.agent}-{self.trained_on}-{self.seed}"


@dataclass(frozen=True)
class Matrix:
    """The pieces of a study, in a folder.

    Raises:
        ConvgymError: for a folder of other sizes.
    """

    folder: Path
    sizes: Sizes = SIZES

    def __post_init__(self) -> None:
        claim_folder(self.folder, asdict(self.sizes))

    def start(self, shop: str) -> str:
        """Return where the small seller of a shop is, pretrained once if it does not ship."""
        if shop == "laptops":
            return "default"
        folder = self.folder / "starts" / shop
        if not (folder / "recipe.json").exists():
            pretrain(folder, conversations=self.sizes.pretraining, environment={"catalog": shop})
        return str(folder)

    def policy(self, piece: Piece) -> LanguageModelPolicy:
        """Return what came of a piece's training, trained now if it was not yet."""
        start = self.start(KINDS[piece.trained_on].shop)
        if piece.agent == START:
            return LanguageModelPolicy.from_pretrained(start, config=PolicyConfig(model=start))
        folder = self.folder / piece.name
        trained = folder / "policy"
        if not (folder / "training.json").exists():
            agent = make_agent(piece.agent, policy={"model": start})
            collector = Collector(
                self.sizes.conversations,
                seed=piece.seed,
                environment=KINDS[piece.trained_on].environment,
                folder=folder,
            )
            began = time.process_time()
            agent.train(collector, folder=folder)
            agent.save(trained)
            seconds = round(time.process_time() - began, 1)
            write_json(folder / "training.json", {**provenance(), "processor_seconds": seconds})
        return LanguageModelPolicy.from_pretrained(trained, config=PolicyConfig(model=start))

    def training(self, piece: Piece) -> dict[str, Any]:
        """Return by which code a piece was trained, and in how many seconds of a processor."""
        told = read_object(self.folder / piece.name / "training.json", "is damaged")
        return {
            "piece": piece.name,
            "commit": told["commit"],
            "processor_seconds": told["processor_seconds"],
        }

    def judged(self, piece: Piece, kind: str) -> dict[str, Any]:
        """Return what customers of a kind bought of a piece's policy, judged now if not yet.

        What another version of these customers said does not count.
        """
        path = self.folder / "judged" / f"{piece.name}-{kind}.json"
        customer = _fingerprint(kind)
        kept = read_object(path, "is damaged") if path.exists() else {}
        if kept.get("customer") == customer:
            return kept
        judges = KINDS[kind]
        seeds = evaluation_seeds(
            self.sizes.evaluation_seed, min(self.sizes.customers, judges.most or 10**9)
        )
        episodes = rollout(
            self.policy(piece), seeds, environment=judges.environment, policy_seed=POLICY_SEED
        )
        valid = [episode for episode in episodes if episode.valid]
        path.parent.mkdir(exist_ok=True)
        judgement = {
            **asdict(piece),
            "judged_by": kind,
            "customer": customer,
            "purchases": sum(episode.converted for episode in valid),
            "customers": len(valid),
            "outcomes": "".join(episode.outcome[0] for episode in episodes),
        }
        write_json(path, judgement)
        return judgement


@lru_cache(maxsize=len(KINDS))
def _fingerprint(kind: str) -> str:
    """Return name, version and settings of a kind's customers; some take seconds to load."""
    return customer_fingerprint(KINDS[kind].environment)


def pieces(agents: Sequence[str], train_on: Sequence[str], seeds: Sequence[int]) -> list[Piece]:
    """Return the trainings, seed by seed, and a start for each shop before them."""
    shops = dict.fromkeys(KINDS[kind].shop for kind in train_on)
    first = {shop: next(k for k in train_on if KINDS[k].shop == shop) for shop in shops}
    starts = [Piece(START, kind, 0) for kind in first.values()]
    trained = [Piece(agent, kind, s) for s in seeds for kind in train_on for agent in agents]
    return [*starts, *trained]


def cells(judgements: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield, for each agent, whom it trained with and who judged, the conversion over its seeds."""
    keys = dict.fromkeys((j["agent"], j["trained_on"], j["judged_by"]) for j in judgements)
    for agent, trained_on, judged_by in keys:
        own = [
            j
            for j in judgements
            if (j["agent"], j["trained_on"], j["judged_by"]) == (agent, trained_on, judged_by)
        ]
        rate = seeds_interval([j["purchases"] for j in own], [j["customers"] for j in own])
        yield {
            "agent": agent,
            "trained_on": trained_on,
            "judged_by": judged_by,
            "seeds": len(own),
            "conversion": [rate.value, rate.low, rate.high],
        }


def table(rates: Sequence[Mapping[str, Any]], agent: str) -> Iterator[str]:
    """Yield the lines of an agent's table, in percent: trained with by judged by."""
    judges = list(dict.fromkeys(cell["judged_by"] for cell in rates))
    own = [cell for cell in rates if cell["agent"] == agent]
    yield f"| {agent}, trained with | {' | '.join(judges)} |"
    yield f"|---|{'---|' * len(judges)}"
    for trained_on in dict.fromkeys(cell["trained_on"] for cell in own):
        row = {c["judged_by"]: c["conversion"] for c in own if c["trained_on"] == trained_on}
        told = (
            "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * x for x in row[judge])) for judge in judges
        )
        yield f"| {trained_on} | {' | '.join(told)} |"


def picture(rates: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a PNG with a panel for each agent: rows trained with, columns judged by."""
    agents = list(dict.fromkeys(cell["agent"] for cell in rates))

    def panel(axes: Axes, agent: str) -> None:
        own = [cell for cell in rates if cell["agent"] == agent]
        rows = list(dict.fromkeys(cell["trained_on"] for cell in own))
        columns = list(dict.fromkeys(cell["judged_by"] for cell in own))
        percent = {(c["trained_on"], c["judged_by"]): 100 * c["conversion"][0] for c in own}
        values = [[percent[row, column] for column in columns] for row in rows]
        axes.imshow(values, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        axes.set_yticks(range(len(rows)), rows)
        axes.set_title(f"{agent}: conversion %", color=INK)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("judged by", color=INK)
        axes.set_ylabel("trained with", color=INK)
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                shade = "white" if value > 60 else INK
                axes.text(x, y, f"{value:.0f}", ha="center", va="center", color=shade)

    draw = [lambda axes, agent=agent: panel(axes, agent) for agent in agents]
    return drawn(*draw, size=(12, 4.2 * -(-len(draw) // 2)), columns=2)


def _chosen(listed: str, known: Sequence[str], what: str) -> list[str]:
    names = listed.split(",")
    for name in names:
        if name not in known:
            raise unknown(what, name, known)
    return names


def main(
    output: Annotated[Path, typer.Argument(help=OUTPUT)],
    agents: Annotated[str, typer.Option(help="Who learns, with commas between.")] = ",".join(
        AGENTS
    ),
    train_on: Annotated[str, typer.Option(help="Kinds of customers.")] = ",".join(TRAINERS),
    judge_on: Annotated[str, typer.Option(help="Kinds of customers.")] = ",".join(KINDS),
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds of each.")] = 3,
    seeds_now: Annotated[str | None, typer.Option(help="Some of them: now; all.")] = None,
    conversations: Annotated[int, typer.Option(min=1)] = SIZES.conversations,
    customers: Annotated[int, typer.Option(min=1)] = SIZES.customers,
    evaluation_seed: Annotated[int, typer.Option(min=0)] = SIZES.evaluation_seed,
    pretraining: Annotated[int, typer.Option(min=20)] = SIZES.pretraining,
) -> None:
    """Train agents with every kind of customers and have every kind judge them."""
    torch.set_num_threads(1)
    named = _chosen(train_on, TRAINERS, "kind of customers to train with")
    judges = _chosen(judge_on, list(KINDS), "kind of customers")
    learners = agents.split(",")
    numbers = range(seeds) if seeds_now is None else [int(n) for n in seeds_now.split(",")]
    sizes = Sizes(conversations, customers, evaluation_seed, pretraining)
    study = Study(output, what="Who trained with whom sells to whom", sizes=asdict(sizes))
    matrix = Matrix(folder_of(output), sizes)
    for piece in pieces(learners, named, numbers):
        sold = {kind: matrix.judged(piece, kind) for kind in judges}
        told = (f"{kind} {j['purchases'] / j['customers']:.1%}" for kind, j in sold.items())
        show(f"{piece.name}: {', '.join(told)}")
    if list(numbers) != list(range(seeds)):
        return
    everything = pieces(learners, named, range(seeds))
    rates = list(cells([matrix.judged(piece, kind) for piece in everything for kind in judges]))
    study.store(
        kinds={
            name: {**KINDS[name].environment, "fingerprint": _fingerprint(name)} for name in judges
        },
        policy_seed=POLICY_SEED,
        trainings=[matrix.training(piece) for piece in everything if piece.agent != START],
        cells=rates,
    )
    output.with_suffix(".png").write_bytes(picture(rates))
    for agent in (START, *learners):
        show(*table(rates, agent), "")
