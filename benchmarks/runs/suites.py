"""Suites as data: who is compared, on what, and at which budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from convgym.errors import ConvgymError, unknown
from convgym.sellers import REFERENCE_SELLERS

Kind = Literal["seller", "start", "agent"]

START = "small-seller"
"""The shipped language model that every agent starts from, evaluated before any training."""


@dataclass(frozen=True)
class Suite:
    """One comparison.

    Every agent may hold ``conversations`` customer conversations in training. Everybody, sellers
    included, is then judged on the same ``evaluation_episodes`` customers, whom no training run
    meets. ``environment`` holds arguments of ``SalesEnv``, and ``evaluation`` those that are
    others when everybody is judged; ``overrides`` changes fields of an agent's config, by agent.
    """

    name: str
    description: str
    sellers: tuple[str, ...]
    agents: tuple[str, ...]
    conversations: int
    evaluation_episodes: int
    training_seeds: int = 1
    environment: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def evaluation_environment(self) -> Mapping[str, Any]:
        """Arguments of ``SalesEnv`` under which everybody is judged."""
        return {**self.environment, **self.evaluation}


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the results: a seller as it is, or one agent trained with one seed."""

    kind: Kind
    name: str
    seed: int

    @property
    def label(self) -> str:
        """A name for files and progress bars, unique within a run."""
        return f"{self.name}-seed{self.seed}" if self.kind == "agent" else self.name


_AGENTS = ("bc", "filtered-bc", "online-ppo", "iterative-ppo")

SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "smoke",
            "Every part once, in seconds: a check that all is installed, not a measurement.",
            sellers=("silent", "competent"),
            agents=_AGENTS,
            conversations=64,
            evaluation_episodes=32,
            overrides={
                "online-ppo": {"deployment": 16},
                "iterative-ppo": {
                    "rounds": 2,
                    "improvement": {"name": "token-ppo", "fresh_steps": 1},
                },
            },
        ),
        Suite(
            "quick",
            "All agents and reference sellers at an equal budget, in minutes on two cores.",
            sellers=REFERENCE_SELLERS,
            agents=_AGENTS,
            conversations=4096,
            evaluation_episodes=1000,
        ),
        Suite(
            "standard",
            "The quick suite with five training seeds and 2,000 customers.",
            sellers=REFERENCE_SELLERS,
            agents=_AGENTS,
            conversations=4096,
            evaluation_episodes=2000,
            training_seeds=5,
        ),
        Suite(
            "ladder",
            "The reference sellers alone, from the floor to the ceiling.",
            sellers=REFERENCE_SELLERS,
            agents=(),
            conversations=0,
            evaluation_episodes=10_000,
        ),
    )
}


def get_suite(name: str) -> Suite:
    """Return a suite by name; raises ConvgymError naming the known ones."""
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[name]


def select(
    suite: Suite,
    *,
    agents: Iterable[str] | None = None,
    sellers: Iterable[str] | None = None,
    environment: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
) -> Suite:
    """Return ``suite`` with other agents, other sellers or more environment arguments.

    Doubles are dropped, the order given is kept. Names are checked when the run starts.
    """
    return replace(
        suite,
        agents=suite.agents if agents is None else tuple(dict.fromkeys(agents)),
        sellers=suite.sellers if sellers is None else tuple(dict.fromkeys(sellers)),
        environment={**suite.environment, **(environment or {})},
        evaluation={**suite.evaluation, **(evaluation or {})},
    )


def jobs(suite: Suite, seed: int) -> list[Job]:
    """Return what ``suite`` runs, in order, for the run seed ``seed``.

    Training seeds follow one another: runs of a suite under different seeds share none.
    """
    if seed < 0:
        raise ConvgymError(f"the seed must be 0 or more, got {seed}")
    training_seeds = range(seed * suite.training_seeds, (seed + 1) * suite.training_seeds)
    return [
        *(Job("seller", name, seed) for name in suite.sellers),
        *(Job("start", START, seed) for _ in suite.agents[:1]),
        *(Job("agent", name, number) for name in suite.agents for number in training_seeds),
    ]


# Seconds for 1,000 conversations on two cores, only used to tell the time left: to evaluate a
# scripted seller and a language model, and to train each agent.
_EVALUATE_SCRIPTED, _EVALUATE_MODEL = 0.6, 9.0
_TRAIN: Mapping[str, float] = {"bc": 12, "filtered-bc": 8, "online-ppo": 57, "iterative-ppo": 83}


def expected_seconds(suite: Suite, job: Job) -> float:
    """Return roughly how long a job takes."""
    evaluate = _EVALUATE_SCRIPTED if job.kind == "seller" else _EVALUATE_MODEL
    train = _TRAIN.get(job.name, 30.0) if job.kind == "agent" else 0.0
    return (evaluate * suite.evaluation_episodes + train * suite.conversations) / 1000


def time_left(expected: Sequence[float], finished: Sequence[float], current: float) -> float:
    """Return the seconds left of a run.

    Args:
        expected: rough seconds of every job of this run, in order.
        finished: true seconds of the first jobs, those that are over.
        current: seconds spent on the job at hand so far.

    The machine's speed is learnt from the jobs that are over and from the one at hand, should it
    last longer than expected.
    """
    known = sum(expected[: len(finished)])
    speed = sum(finished) / known if known > 0 and finished else 1.0
    ahead = [speed * seconds for seconds in expected[len(finished) :]]
    if not ahead:
        return 0.0
    return max(ahead[0] - current, 0.1 * current) + sum(ahead[1:])
