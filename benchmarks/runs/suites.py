"""Suites as data: who is compared, on what, and at which budget."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, Literal

from convgym.contracts import described
from convgym.errors import ConvgymError
from convgym.registry import Entry, Registry
from convgym.sellers import REFERENCE_SELLERS

Kind = Literal["seller", "start", "agent"]

_UNSAFE = re.compile(r"[^\w.=+@-]|^\.", re.ASCII)
_LABEL = re.compile(r"[\w.-]*\w", re.ASCII)  # nothing that means something on a command line

START = "small-seller"
"""The shipped language model that every agent starts from, evaluated before any training."""


@dataclass(frozen=True)
class Suite:
    """One comparison.

    Every agent may hold ``conversations`` customer conversations in training. Everybody, sellers
    included, is then judged on the same ``evaluation_episodes`` customers, whom no training run
    meets. ``environment`` holds arguments of ``SalesEnv``, and ``evaluation`` those that are
    others when everybody is judged; ``overrides`` changes fields of an agent's config, by agent,
    and gives options to sellers, by seller.
    Offline agents learn from ``log``, a file of conversations, in place of one that is written for
    them.

    An agent may be there several times with other settings, as variants: ``NAME@LABEL`` is the
    agent ``NAME``, and goes by its whole name everywhere, in ``overrides`` too. ``seeds`` says how
    often single agents are trained, where it is not ``training_seeds`` times. ``keep`` are patterns
    of agents' names (``*@4``): the policy of the first training seed is kept of each, see
    ``runs/policies.py``.
    Policies that are language models are judged once more at ``colder`` times their temperature,
    where it is given: what colder sampling gains, nobody had to learn.
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
    log: str | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    colder: float | None = None

    @property
    def evaluation_environment(self) -> Mapping[str, Any]:
        """Arguments of ``SalesEnv`` under which everybody is judged."""
        return {**self.environment, **self.evaluation}

    def seeds_of(self, agent: str, seed: int) -> range:
        """Return the training seeds of an agent in the run with this seed.

        They follow one another: runs of a suite under different seeds share none.
        """
        n = self.seeds.get(agent, self.training_seeds)
        return range(seed * n, (seed + 1) * n)


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the results: a seller as it is, or one agent trained with one seed."""

    kind: Kind
    name: str
    seed: int

    @property
    def label(self) -> str:
        """A name for files and progress bars, unique within a run; it leads out of no folder."""
        name = _UNSAFE.sub("-", self.name)
        return f"{name}-seed{self.seed}" if self.kind == "agent" else name


def agent_of(name: str) -> str:
    """Return the agent that a name stands for: ``NAME`` of a variant ``NAME@LABEL``.

    Raises ConvgymError for a label that is empty, or holds other than letters, digits, ``.``, ``_``
    and ``-``.
    """
    agent, at, label = name.partition("@")
    if at and not _LABEL.fullmatch(label):
        raise ConvgymError(
            f"expected a variant as NAME@LABEL, the label of letters, digits, '.', '_' and '-',"
            f" got {name!r}"
        )
    return agent


_AGENTS = ("bc", "filtered-bc", "online-ppo", "iterative-ppo")

SMOKE = Suite(
    "smoke",
    "Four agents, in seconds: a check that all is installed, not a measurement.",
    sellers=("silent", "competent"),
    agents=_AGENTS,
    conversations=64,
    evaluation_episodes=32,
    overrides={
        "online-ppo": {"deployment": 16},
        "iterative-ppo": {
            "rounds": 2,
            "q_function": {"first_steps": 8},
            "improvement": {"name": "token-ppo", "fresh_steps": 1, "fresh_conversations": 8},
            "gate": {"held_out": 0.0},  # which cannot judge by a tenth of so few, and deploys none
        },
    },
)
QUICK = Suite(
    "quick",
    "Four agents and all reference sellers at an equal budget, in minutes on two cores.",
    sellers=REFERENCE_SELLERS,
    agents=_AGENTS,
    conversations=4096,
    evaluation_episodes=1000,
)
STANDARD = Suite(
    "standard",
    "The quick suite with five training seeds and 2,000 customers.",
    sellers=REFERENCE_SELLERS,
    agents=_AGENTS,
    conversations=4096,
    evaluation_episodes=2000,
    training_seeds=5,
)
LADDER = Suite(
    "ladder",
    "The reference sellers alone, from the floor to the ceiling.",
    sellers=REFERENCE_SELLERS,
    agents=(),
    conversations=0,
    evaluation_episodes=10_000,
)
FRONTIER_SUMMARY = (
    "Conversion against the number of deployments, at an equal budget: hours on two cores."
)
COLD_SUMMARY = "Two of the frontier's families, deployed at a lower temperature: hours."
LONG_SUMMARY = "The frontier's best four on 16,384 conversations each: hours on two cores."


def _suite(thing: object, spec: str) -> Suite:
    if not isinstance(thing, Suite):
        raise ConvgymError(f"suite {spec!r} must be a Suite, got {described(thing)}")
    return thing


SUITES: Registry[Suite] = Registry(
    "suite",
    "convgym.suites",
    {
        suite.name: Entry(f"{__name__}:{suite.name.upper()}", suite.description)
        for suite in (SMOKE, QUICK, STANDARD, LADDER)
    }
    | {
        "frontier": Entry("convgym.benchmarks.runs.frontier:FRONTIER", FRONTIER_SUMMARY),
        "frontier-long": Entry("convgym.benchmarks.runs.frontier:LONG", LONG_SUMMARY),
        "frontier-cold": Entry("convgym.benchmarks.runs.frontier:COLD", COLD_SUMMARY),
    },
    _suite,
)
"""Suites by name."""


def get_suite(spec: str) -> Suite:
    """Return a suite by name, from ``"package.module:attribute"``, or from a TOML file.

    Raises:
        ConvgymError: for an unknown name, naming the known ones, what is no suite, and all that is
            wrong in a file.
    """
    if spec.endswith(".toml"):
        from convgym.benchmarks.runs.suite_file import read_suite

        return read_suite(Path(spec))
    return SUITES.resolve(spec)


def select(
    suite: Suite,
    *,
    agents: Iterable[str] | None = None,
    sellers: Iterable[str] | None = None,
    environment: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    settings: Sequence[tuple[str, Any]] = (),
    log: str | None = None,
) -> Suite:
    """Return ``suite`` with other agents, sellers or settings, or more environment arguments.

    Doubles are dropped, the order given is kept. Names are checked when the run starts.

    Args:
        suite: what it is made of.
        agents: in place of the suite's; a pattern (``online-ppo@*``) stands for those of the
            suite's that it fits.
        sellers: in place of the suite's.
        environment: arguments of ``SalesEnv`` to add.
        evaluation: more of them, for when everybody is judged.
        settings: ``("<agent>.<setting>", value)`` or ``("<seller>.<option>", value)``, which come
            before the suite's own.
        log: in place of the suite's.

    Raises:
        ConvgymError: for a setting of none of the agents and sellers, a pattern that fits none of
            the agents, or a variant that neither the suite nor a setting tells anything of.
    """
    trained = suite.agents if agents is None else _chosen(suite.agents, agents)
    judged = suite.sellers if sellers is None else tuple(dict.fromkeys(sellers))
    overrides = _with_settings(suite.overrides, settings, trained, judged)
    for name in trained:
        if name not in overrides:
            _refuse_unheard_of(name, suite.agents)
    return replace(
        suite,
        agents=trained,
        sellers=judged,
        environment={**suite.environment, **(environment or {})},
        evaluation={**suite.evaluation, **(evaluation or {})},
        overrides=overrides,
        log=log or suite.log,
        seeds={name: n for name, n in suite.seeds.items() if name in trained},
    )


def _chosen(known: Sequence[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """Return the names that are wanted, patterns replaced by the known names that they fit."""
    names: list[str] = []
    for name in wanted:
        fitting = fnmatch.filter(known, name) if "*" in name else [name]
        if not fitting:
            raise ConvgymError(
                f"{name!r} fits none of the suite's agents, which are {', '.join(known) or 'none'}"
            )
        names += fitting
    return tuple(dict.fromkeys(names))


def _refuse_unheard_of(name: str, known: Sequence[str]) -> None:
    """Refuse a variant without settings of an agent that the suite has others of: a slip."""
    family = name.partition("@")[0] + "@"
    others = [other for other in known if other.startswith(family)]
    if "@" in name and others and name not in known:
        raise ConvgymError(
            f"{name!r} is none of the suite's agents, which has {', '.join(others)}; for another"
            f" variant say what it is by --set {name}.SETTING=VALUE"
        )


def _with_settings(
    overrides: Mapping[str, Mapping[str, Any]],
    settings: Sequence[tuple[str, Any]],
    agents: Sequence[str],
    sellers: Sequence[str],
) -> Mapping[str, Mapping[str, Any]]:
    everybody = (*agents, *sellers)
    for path, value in settings:
        # The longest: a module's name has dots as well.
        owners = sorted((name for name in everybody if path.startswith(f"{name}.")), key=len)
        if not owners:
            raise ConvgymError(
                f"the setting {path!r} is none of an agent that runs, nor of a seller: expected"
                f" <agent>.<setting>, the agents being {', '.join(agents) or 'none'}"
            )
        names = path.removeprefix(f"{owners[-1]}.").split(".")
        if not all(name.isidentifier() for name in names):
            raise ConvgymError(f"expected <agent>.<setting>, got {path!r}")
        nested = reduce(lambda inner, name: {name: inner}, reversed(names), value)
        overrides = _merged(overrides, {owners[-1]: nested})
    return overrides


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, with what is ``above`` where they differ, mapping by mapping.

    A name, of an improvement say, that gets settings stays: ``"grpo"`` and ``{"steps": 3}`` become
    ``{"name": "grpo", "steps": 3}``.
    """
    merged = dict(below)
    for key, value in above.items():
        old = {"name": merged[key]} if isinstance(merged.get(key), str) else merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            value = _merged(old, value)
        merged[key] = value
    return merged


def jobs(suite: Suite, seed: int, starts: Sequence[str] = (START,)) -> list[Job]:
    """Return what ``suite`` runs, in order, for the run seed ``seed``.

    ``starts`` are the policies that its agents start from, evaluated where there is an agent.
    """
    if seed < 0:
        raise ConvgymError(f"the seed must be 0 or more, got {seed}")
    return [
        *(Job("seller", name, seed) for name in suite.sellers),
        *(Job("start", name, seed) for name in starts if suite.agents),
        *(
            Job("agent", name, number)
            for name in suite.agents
            for number in suite.seeds_of(name, seed)
        ),
    ]


# Seconds for 1,000 conversations with one thread, only used to tell how long a run takes: to
# evaluate a scripted seller and a language model, and to train each agent. Those of the suite
# quick are of a stored run (tests/unit/benchmarks/report/test_pace.py), others rough.
_EVALUATE_SCRIPTED, _EVALUATE_MODEL = 0.5, 7.0
_TRAIN: Mapping[str, float] = {
    "bc": 8,
    "filtered-bc": 6,
    "online-ppo": 44,
    "iterative-ppo": 82,
    "iterative-grpo": 100,
    "turn-level-ppo": 45,
    "trajectory-grpo": 40,
    "trajectory-rloo": 40,
    "expert-iteration": 25,
    "awr": 25,
    "ilql": 30,
    "outcome-dpo": 20,
    "offline-iterative-ppo": 60,
}


def expected_seconds(suite: Suite, job: Job) -> float:
    """Return roughly how long a job takes."""
    evaluate = _EVALUATE_SCRIPTED if job.kind == "seller" else _EVALUATE_MODEL
    train = _TRAIN.get(agent_of(job.name), 30.0) if job.kind == "agent" else 0.0
    return (evaluate * suite.evaluation_episodes + train * suite.conversations) / 1000


def time_left(
    over: Sequence[tuple[float, float]],
    at_hand: Sequence[tuple[float, float]],
    waiting: Sequence[float],
) -> float:
    """Return the seconds left of a run.

    Args:
        over: rough expected seconds and true seconds of the jobs of this run that are over.
        at_hand: rough expected seconds of those that are being done, and seconds spent on them.
        waiting: rough expected seconds of those to come, which as many do as are at work now.

    The machine's speed is learnt from the jobs that are over, and from those at hand, should they
    last longer than expected.
    """
    known = sum(expected for expected, _ in over)
    speed = sum(spent for _, spent in over) / known if known > 0 else 1.0
    ahead = [max(speed * expected - spent, 0.1 * spent) for expected, spent in at_hand]
    whole = sum(ahead) + speed * sum(waiting)
    return max([whole / max(1, len(at_hand)), *ahead])
