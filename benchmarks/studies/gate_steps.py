"""Steps of a policy, good and bad, on which the gate is measured: ``convgym study gate``.

A step is a deployed policy, a log of it, and a new policy. Several are made from one log, which is
one piece of the study: the agent's own step; improvement steps without imitation, looked at on the
way; steps without a KL penalty, which over-optimise the fitted Q; cloning of what sold, and of what
did not; and noise on the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch

from convgym.agents.algorithms.iterative_ppo import IterativePPOConfig
from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import shuffled
from convgym.agents.off_policy.step import improve
from convgym.agents.training.optim import Optimiser
from convgym.agents.values.fitted import FittedQ
from convgym.agents.values.fitting import corrected_advantages
from convgym.agents.values.q_function import QFunctionConfig

PENALISED = TokenPPO(fresh_steps=8)
LONGER = replace(PENALISED, fresh_steps=12)
UNPENALISED = TokenPPO(
    fresh_steps=24, fresh_conversations=32, fresh_kl_coefficient=0.0, target_kl=1000.0
)
FASTER = replace(UNPENALISED, fresh_steps=64, learning_rate=6e-4)
PLAIN_Q = QFunctionConfig(imagined=0.0, reply_weight=0.0)


@dataclass(frozen=True, slots=True)
class Improve:
    """The improvement step, looked at after some of its batches of fresh responses."""

    name: str
    solver: TokenPPO
    at: tuple[int, ...]

    def make(
        self, model: LanguageModel, fitted: FittedQ, generator: torch.Generator
    ) -> Iterator[tuple[str, LanguageModel]]:
        """Yield new policies, each with its name."""
        log, estimates = fitted.log[fitted.held_out :], fitted.estimates[fitted.held_out :]
        problem = SingleTurnProblem(
            log,
            partial(fitted.ensemble.score, generator=generator),
            [corrected_advantages(*both) for both in zip(log, estimates, strict=True)],
        )
        seen: list[LanguageModel] = []
        done = 0

        def watch(current: LanguageModel) -> None:
            nonlocal done
            done += 1
            if done in self.at:
                seen.append(current.copy())

        improved, _ = self.solver.improve(model, problem, generator=generator, watch=watch)
        for batches, new in zip(self.at, seen, strict=False):
            yield f"{self.name}, {batches} batches", new
        if done not in self.at:  # ended early, at its target
            yield f"{self.name}, {done} batches", improved


@dataclass(frozen=True, slots=True)
class Clone:
    """Imitation of the conversations of the log that sold, or of those that did not."""

    sold: bool
    epochs: int = 2

    def make(
        self, model: LanguageModel, fitted: FittedQ, generator: torch.Generator
    ) -> Iterator[tuple[str, LanguageModel]]:
        """Yield one new policy with its name."""
        log = fitted.log[fitted.held_out :]
        chosen = [episode for episode in log if bool(episode.outcome) is self.sold]
        kind = "sold" if self.sold else "unsold"
        yield f"clone {kind}, {self.epochs} epochs", cloned(model, chosen, self.epochs, generator)


@dataclass(frozen=True, slots=True)
class Noise:
    """Normal noise on every weight tensor, in units of its own standard deviation."""

    size: float

    def make(
        self, model: LanguageModel, fitted: FittedQ, generator: torch.Generator
    ) -> Iterator[tuple[str, LanguageModel]]:
        """Yield one new policy with its name."""
        new = model.copy()
        with torch.no_grad():
            for parameter in new.trained_parameters():
                if parameter.ndim > 1:
                    noise = torch.randn(parameter.shape, generator=generator, device="cpu")
                    scale = self.size * parameter.std()
                    parameter.add_(scale * noise.to(parameter.device))
        yield f"noise {self.size}", new


def cloned(
    model: LanguageModel,
    episodes: Sequence[TokenisedEpisode],
    epochs: int,
    generator: torch.Generator,
) -> LanguageModel:
    """Return a copy of a model that imitates conversations, as behaviour cloning does."""
    new = model.copy()
    batches = new.batches(episodes, 32)
    optimiser = Optimiser(new.trained_parameters(), 3e-4, 1.0)
    done, total = 0, epochs * len(batches)
    for _ in range(epochs):
        for number in shuffled(len(batches), generator):
            optimiser.schedule(1 - done / total)
            optimiser.step(-new.logprobs(batches[number]).mean())
            done += 1
    return new


@dataclass(frozen=True, slots=True)
class Default:
    """The step of Iterative PPO as it is by default: imitation of what sold, then improvement."""

    def make(
        self, model: LanguageModel, fitted: FittedQ, generator: torch.Generator
    ) -> Iterator[tuple[str, LanguageModel]]:
        """Yield one new policy with its name."""
        new, _ = improve(model, fitted, IterativePPOConfig(), generator)
        yield "the agent's step", new


Move = Default | Improve | Clone | Noise


@dataclass(frozen=True, slots=True)
class Piece:
    """A log and the steps that are made from it."""

    name: str
    half: Literal["tuning", "judging"]
    """What its steps are for: choosing the gate's rule, or judging the choice."""
    start: str
    conversations: int
    seed: int
    moves: tuple[Move, ...]
    q_function: QFunctionConfig = field(default_factory=QFunctionConfig)


STARTS: dict[str, str | None] = {"start": None, "cloned": "start", "cloned-twice": "cloned"}
"""Deployed policies, and from which one each is made, by cloning what sold."""

_IMPROVE = Improve("improve", PENALISED, (3, 8))
_EVERY = (Default(), _IMPROVE, Clone(True), Clone(False), Noise(0.1), Noise(0.3))
_PLAIN = (
    Improve("improve by a plain Q", PENALISED, (8,)),
    Improve("no KL penalty, plain Q", UNPENALISED, (8, 24)),
    Clone(False, 4),
    Clone(True),
)

PIECES = (
    Piece(
        "start-1024",
        "tuning",
        "start",
        1024,
        11,
        (Default(), Improve("improve", LONGER, (4, 12)), *_EVERY[2:]),
    ),
    Piece(
        "start-512-optimised",
        "tuning",
        "start",
        512,
        12,
        (Improve("no KL penalty", FASTER, (1, 2, 4, 8, 64)),),
    ),
    Piece("cloned-1024", "judging", "cloned", 1024, 21, _EVERY),
    Piece("start-512-plain", "judging", "start", 512, 13, _PLAIN, PLAIN_Q),
    Piece(
        "cloned-512-optimised",
        "tuning",
        "cloned",
        512,
        22,
        (
            Improve("no KL penalty", UNPENALISED, (4, 8, 16, 24)),
            Clone(False, 4),
            Clone(True),
            Noise(0.2),
        ),
    ),
    Piece(
        "twice-512",
        "judging",
        "cloned-twice",
        512,
        31,
        (Default(), _IMPROVE, Clone(True), Clone(False, 4), Noise(0.2)),
    ),
    Piece("start-256-plain", "tuning", "start", 256, 14, _PLAIN, PLAIN_Q),
    Piece("cloned-256-plain", "judging", "cloned", 256, 24, _PLAIN, PLAIN_Q),
    Piece(
        "start-2048",
        "tuning",
        "start",
        2048,
        15,
        (Default(), Improve("improve", PENALISED, (4, 8)), Clone(True), Clone(False)),
    ),
    Piece(
        "cloned-2048",
        "judging",
        "cloned",
        2048,
        25,
        (Default(), Improve("improve", PENALISED, (4, 8)), Clone(True), Clone(False)),
    ),
)
