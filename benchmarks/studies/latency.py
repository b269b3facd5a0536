"""How near rollouts come to a queue that never idles, if a customer's reply takes time.

    convgym study latency [FILE.json]

A reply takes a lognormal time, drawn by the customer's seed and the turn: mostly a second or two,
now and then ten. Up to ``at_once`` conversations are under way, and whoever ends makes room for the
next. Ideal is a client that does nothing else than that: as many places, in each of which the same
times are slept one after the other (measured in this run, too, on the same machine). Beside it:

- ``lock_step``: the ideal client that waits, turn by turn, for the slowest of all conversations
  under way, as Gymnasium's vector environments must (calculated from the same times);
- ``async``: ``rollout`` with a customer of coroutines;
- ``threads``: ``rollout`` with a customer that blocks, in ``threaded``;
- ``chat``: ``rollout`` with the customer ``"llm"`` and a server in a process of its own;
- ``send_recv``: ``SalesVectorEnv`` by ``send`` and ``recv``, with the customer of coroutines; the
  seller says one thing only.

All conversations have the same number of turns, so nothing of the time is decided by what is said.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from convgym.benchmarks.studies.llm_concurrency import server
from convgym.benchmarks.studies.study import Study, show
from convgym.checks import check_number
from convgym.customers import Reply
from convgym.customers.llm.exchange import call_seed
from convgym.customers.threaded import threaded
from convgym.envs import SalesVectorEnv
from convgym.errors import ConvgymError
from convgym.llm.fake_server import drawn_latency
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller

MEAN, P99 = 2.0, 8.0
"""Seconds that a reply takes."""


@dataclass(frozen=True)
class Case:
    """What is measured.

    Raises:
        ConvgymError: for a number below 1, or a scale that is not positive.
    """

    conversations: int = 192
    at_once: int = 64
    turns: int = 6
    scale: float = 1.0
    """All times are multiplied by it: less than 1 is for trying the study out."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.conversations, self.at_once, self.turns) < 1:
            raise ConvgymError("conversations, at once and turns must be 1 or more")
        if not check_number("scale", self.scale) > 0:
            raise ConvgymError(f"scale must be a positive number, got {self.scale!r}")

    @property
    def seeds(self) -> list[int]:
        return train_seeds(self.seed, self.conversations)

    def delay(self, seed: int, turn: int) -> float:
        """Return the seconds until the reply of a turn, or the opening, which is turn 0.

        By the seed of the request that a chat model gets, so that all wait for equal times.
        """
        request_seed = call_seed(f"llm/{seed}", turn, 0)
        return drawn_latency(request_seed, MEAN * self.scale, P99 * self.scale)

    def delays(self, seed: int) -> list[float]:
        """Return the seconds of the opening and all turns."""
        return [self.delay(seed, turn) for turn in range(self.turns + 1)]


@dataclass(frozen=True)
class Figures:
    """What was measured of one way to hold the conversations."""

    way: str
    seconds: float
    share_of_ideal: float
    client_cpu_seconds: float


class _Patient:
    """A customer that has a time for every reply."""

    fingerprint = "patient-v0"

    def __init__(self, case: Case) -> None:
        self._case, self._seed, self._turn = case, 0, 0

    @property
    def latent(self) -> dict[str, Any]:
        return {"turn": self._turn}

    def _next(self, seed: int | None = None) -> float:
        self._turn += 1
        if seed is not None:
            self._seed, self._turn = seed, 0
        return self._case.delay(self._seed, self._turn)


class AsyncCustomer(_Patient):
    """The customer with coroutines."""

    async def reset(self, seed: int) -> str:
        """Open after a while."""
        await asyncio.sleep(self._next(seed))
        return "Hello."

    async def respond(self, utterance: str) -> Reply:
        """Reply after a while."""
        await asyncio.sleep(self._next())
        return Reply("Tell me more.")


class BlockingCustomer(_Patient):
    """The customer that blocks."""

    def reset(self, seed: int) -> str:
        """Open after a while."""
        time.sleep(self._next(seed))
        return "Hello."

    def respond(self, utterance: str) -> Reply:
        """Reply after a while."""
        time.sleep(self._next())
        return Reply("Tell me more.")


async def _ideal(case: Case) -> None:
    waiting = iter(case.seeds)

    async def place() -> None:
        for seed in waiting:
            for delay in case.delays(seed):
                await asyncio.sleep(delay)

    await asyncio.gather(*(place() for _ in range(case.at_once)))


def lock_step_seconds(case: Case) -> float:
    """Return the seconds of an ideal client that waits for the slowest in every turn."""
    starts = range(0, case.conversations, case.at_once)
    batches = [case.seeds[start : start + case.at_once] for start in starts]
    slowest = (
        max(turn) for batch in batches for turn in zip(*map(case.delays, batch), strict=True)
    )
    return float(sum(slowest))


def _hold(case: Case, customer: Any, **customer_options: Any) -> None:
    episodes = rollout(
        make_seller("competent"),
        case.seeds,
        environment={
            "customer": customer,
            "customer_options": customer_options,
            "max_turns": case.turns,
        },
        batch_size=case.at_once,
    )
    assert all(len(episode.turns) == case.turns for episode in episodes)


def _send_and_receive(case: Case) -> None:
    envs = SalesVectorEnv(
        min(case.at_once, case.conversations),
        customer=lambda: AsyncCustomer(case),
        max_turns=case.turns,
        autoreset_mode="Disabled",
    )
    waiting = iter(case.seeds)
    turns = 0

    def begin(env_id: NDArray[np.int_]) -> None:
        seeds = dict(zip(env_id.tolist(), waiting, strict=False))
        if seeds:
            every = range(envs.num_envs)
            mask = np.isin(every, list(seeds))
            episode_seeds = [seeds.get(i) for i in every]
            envs.async_reset(options={"reset_mask": mask, "episode_seed": episode_seeds})

    begin(np.arange(envs.num_envs))
    while envs.in_flight:
        *_, terminations, truncations, infos = envs.recv()
        over, env_id = terminations | truncations, infos["env_id"]
        turns += sum(infos["turn"][over])
        going_on = env_id[~over]
        envs.send(["What do you need?"] * len(going_on), going_on)
        begin(env_id[over])
    envs.close()
    assert turns == case.turns * case.conversations


def ways(case: Case, url: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield what is measured, by name, the ideal first."""
    yield "ideal", lambda: asyncio.run(_ideal(case))
    yield "async", lambda: _hold(case, lambda: AsyncCustomer(case))
    yield "threads", lambda: _hold(case, threaded(lambda: BlockingCustomer(case), case.at_once))
    chat = {"model": "any", "base_url": url, "concurrency": case.at_once}
    yield "chat", lambda: _hold(case, "llm", **chat)
    yield "send_recv", lambda: _send_and_receive(case)


def run(case: Case) -> list[Figures]:
    """Measure every way, one after the other."""
    import openai.resources.chat  # noqa: F401 - takes seconds, which no conversation does

    figures: list[Figures] = []
    with server(MEAN * case.scale, P99 * case.scale) as url:
        for way, hold in ways(case, url):
            started, cpu = time.perf_counter(), time.process_time()
            hold()
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            ideal = figures[0].seconds if figures else seconds
            figures.append(
                Figures(way, round(seconds, 3), round(ideal / seconds, 3), round(cpu, 2))
            )
    seconds = lock_step_seconds(case)
    return [*figures, Figures("lock_step", round(seconds, 3), round(ideal / seconds, 3), 0.0)]


def lines(figures: Sequence[Figures]) -> list[str]:
    """Return a line for each way."""
    return [
        f"{row.way:>9}: {row.seconds:>7.1f} s, {row.share_of_ideal:.2f} of ideal,"
        f" {row.client_cpu_seconds:.1f} s CPU"
        for row in figures
    ]


def main(
    output: Annotated[Path | None, typer.Argument(help="New file.")] = None,
    conversations: Annotated[int, typer.Option(help="How many, each way.")] = 192,
    at_once: Annotated[int, typer.Option(help="How many are under way at once.")] = 64,
    scale: Annotated[float, typer.Option(help="Multiplies all times, to try it out.")] = 1.0,
) -> None:
    """Measure, print, and store the figures with commit, versions and machine."""
    case = Case(conversations, at_once, scale=scale)
    study = Study(output, case=asdict(case), mean=MEAN, p99=P99)
    figures = run(case)
    show(*lines(figures))
    study.store(figures=[asdict(row) for row in figures])
