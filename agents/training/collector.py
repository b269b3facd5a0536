"""The one door to customers: everything by which an agent meets them in training.

The collector owns the training seeds, the budget of conversations, the deployments, the failed
conversations, the refusal of customers that are reserved for evaluation, and the logs. Customers
are met live, by ``deploy``, or on paper: ``logged`` reads a log that somebody wrote
(``convgym.logs``), or has one written. A budget is kept by construction, and what was really used
is counted below the agent (``convgym.usage``).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from convgym.agents.protocol import CurvePoint, Usage
from convgym.checks import check_integer, check_seed
from convgym.conversation import Episode, refuse_if_all_failed
from convgym.datafiles import read_whole
from convgym.errors import ConvgymError
from convgym.logs import Log, read_log, write_log
from convgym.policy import Policy, check_policy
from convgym.progress import Progress, ProgressCallback, no_progress
from convgym.rollout import rollout
from convgym.seeds import EVALUATION_BASE, train_seeds
from convgym.shop.catalog import held_out_names, load_catalog, refuse_held_out
from convgym.usage import Meter, metered


class Collector:
    """Meets customers for an agent, within a budget: ``deploy`` live, ``logged`` on paper.

    A deployment holds the next customers of the budget with a fixed policy::

        episodes = collector.deploy(policy, 256)  # fewer where the budget ends
        collector.remaining, collector.usage, collector.curve[-1].conversion

    Equal seeds meet the same customers, none of them twice but for ``group_size`` conversations
    of one deployment, and none that evaluation meets. Conversations that failed count against the
    budget, and are in the list.

    Args:
        conversations: the budget, positive.
        seed: of the customers, and of all that is random in training.
        environment: options of ``SalesEnv``, among them the customer.
        log: a log from which ``logged`` reads in place of having one written.
        folder: where the conversations of every deployment are kept, as logs. Deployments that
            are there already are read and not held again, which is for agents that learn from
            what ``deploy`` returns and not from what they were asked meanwhile. None keeps none.

    Attributes:
        seed: as given.
        environment: as given.
        usage: what was used so far.
        curve: conversion, a point a deployment.
        notes: what a reader of the result must know of the log that was read, and of deployments
            that the budget did not allow.

    Raises:
        ConvgymError: for a budget below 1, customers that are reserved for evaluation, or another
            ``reward`` than purchases.
    """

    def __init__(
        self,
        conversations: int,
        *,
        seed: int,
        environment: Mapping[str, Any] | None = None,
        log: str | Path | None = None,
        folder: Path | None = None,
    ) -> None:
        conversations = check_integer("the budget of conversations", conversations, 1)
        if conversations > EVALUATION_BASE:
            raise ConvgymError(
                f"the budget of conversations must be at most {EVALUATION_BASE}, as many customers"
                f" as there are, got {conversations}"
            )
        seed = check_seed(seed, "seed")
        if environment is not None and not isinstance(environment, Mapping):
            raise ConvgymError(
                f"an environment must be options by name, got {repr(environment)[:60]}"
            )
        reward = (environment or {}).get("reward", "purchase")
        if reward != "purchase":
            raise ConvgymError(
                "agents learn from purchases alone: the environment of a collector must have"
                f" reward='purchase', got {repr(reward)[:60]}"
            )
        for name, path in (("log", log), ("folder", folder)):
            if not isinstance(path, str | Path | None):
                raise ConvgymError(f"{name} must be a path, got {repr(path)[:60]}")
        refuse_held_out(environment)
        self.seed = seed
        self.environment: Mapping[str, Any] = dict(environment or {})
        self.log = None if log is None else Path(log)
        self.folder = None if folder is None else Path(folder)
        self.usage = Usage()
        self.curve: list[CurvePoint] = []
        self.notes: tuple[str, ...] = ()
        self._seeds = train_seeds(seed, conversations)
        self._held = 0  # conversations that this object has held live
        self._repeats = 0  # conversations with a customer who had been met in their deployment
        self._has_log = False
        self._read: Log | None = None
        self._meter = Meter()
        self._seconds_before, self._started = 0.0, time.monotonic()
        self._cpu_seconds_before, self._cpu_started = 0.0, time.process_time()

    @property
    def budget(self) -> int:
        """Conversations in all, as given; there are no more customers than that."""
        return len(self._seeds)

    @property
    def remaining(self) -> int:
        """Conversations that may still be held."""
        return self.budget - self.usage.conversations

    @property
    def has_log(self) -> bool:
        """Whether a log was learned from, of somebody else's conversations: the curve is theirs."""
        return self._has_log

    @property
    def seconds(self) -> float:
        """Seconds since the run began, over all interruptions."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def cpu_seconds(self) -> float:
        """Seconds of processors that this process used meanwhile, all threads together."""
        return self._cpu_seconds_before + time.process_time() - self._cpu_started

    def share(self, rounds: int) -> int:
        """Return the next deployment's conversations where ``rounds`` of them share the budget.

        ``rounds`` is the number of all of them, the same each time. Their sizes differ by 1 at
        most, there are no more rounds than conversations, which ``notes`` say, and after the last
        one it is 0.
        """
        rounds = check_integer("rounds", rounds, 1)
        if rounds > self.budget:
            told = f"{rounds} deployments were asked for, with {self.budget} conversations for them"
            self.notes = tuple(dict.fromkeys((*self.notes, told)))
        rounds = min(rounds, self.budget)
        done = self.usage.deployments + 1
        return max(0, self.budget * done // rounds - self.usage.conversations)

    def deploy(
        self,
        policy: Policy | Sequence[Policy],
        conversations: int,
        *,
        group_size: int = 1,
        progress: ProgressCallback = no_progress,
    ) -> list[Episode]:
        """Hold the next conversations with a fixed policy; fewer where the budget ends.

        Args:
            policy: who speaks; of several, the i-th conversation is held by one after the other,
                which is how exploration with several voices of one policy goes into a log.
            conversations: how many, positive.
            group_size: conversations with the same customer, who is met as for the first time in
                each; what the policy draws at random differs. The budget counts conversations, not
                customers, and the last group may be smaller.
            progress: told the conversations that are done.

        Returns:
            The conversations in the order of their customers, group by group, those that failed
            included.

        Raises:
            ConvgymError: when the budget is spent, or the folder holds other conversations.
            InfrastructureError: when customer or seller failed in every conversation.
        """
        conversations = check_integer("conversations to deploy", conversations, 0)
        if conversations < 1 or self.remaining < 1:
            raise ConvgymError(
                f"the budget of {self.budget} conversations is spent: {self.remaining} are left, "
                f"{conversations} were asked for; share(rounds) takes the number of all rounds, the"
                " same each time, and is 0 after the last"
            )
        alone = isinstance(policy, Policy) or not isinstance(policy, (list, tuple))
        policies = [cast(Policy, policy)] if alone else cast("Sequence[Policy]", policy)
        if not policies:
            raise ConvgymError("a deployment needs a policy, got none")
        for each in policies:
            check_policy(each)
        group_size = check_integer("group_size", group_size, 1)
        conversations = min(conversations, self.remaining)
        start = max(0, self.usage.conversations - self._repeats)
        customers = self._seeds[start : start + -(-conversations // group_size)]
        seeds = [seed for seed in customers for _ in range(group_size)][:conversations]
        number = self.usage.deployments
        policy_seed = self.seed * 1_000_003 + number
        episodes = self._hold_once(number, policies, seeds, policy_seed, progress)
        self._enter(episodes, deployments=1)
        self._repeats += len(seeds) - len(customers)
        return episodes

    def logged(
        self, behaviour: Policy, *, progress: ProgressCallback = no_progress
    ) -> list[Episode]:
        """Return a log to learn from offline, of as many conversations as the budget.

        It is read from the file that the collector was given, up to the budget, or else
        ``behaviour`` holds the conversations. Asked again, it is the same log, entered once.

        Raises:
            ConvgymError: after deployments, for a log that is damaged, empty or of customers that
                are reserved for evaluation.
            InfrastructureError: when customer or seller failed in every conversation.
        """
        if self.usage.deployments and not self._has_log:
            raise ConvgymError("a log takes the whole budget: ask for it before any deployment")
        if self.log is not None:
            log = self.read_log()
            episodes = self._in_the_shop(log.episodes)
            self.notes = (
                *(
                    f"line {problem.line} of the log {self.log} was left out: {problem.message}"
                    for problem in log.report.problems
                ),
                *unread(self.log, log),
            )
        else:
            episodes = self._hold_once(0, [behaviour], self._seeds, self.seed, progress)
        if self._has_log:  # a run that goes on has it in its books
            return episodes
        self._has_log = True
        return self._enter(episodes, deployments=0 if self.log else 1)

    def read_log(self) -> Log:
        """Return as much of the log as the budget allows; it is read once.

        Raises:
            ConvgymError: without a log, or for one that is damaged, empty or of customers that are
                reserved for evaluation.
        """
        if self.log is None:
            raise ConvgymError("there is no log to read: give the collector one")
        if self._read is None:
            self._read = read_training_log(self.log, self.budget)
        return self._read

    def deployed(self, number: int) -> list[Episode]:
        """Return the conversations of an earlier deployment, from the folder.

        Raises:
            ConvgymError: without a folder, or where it lacks that deployment.
        """
        kept = self._kept(number)
        if kept is None or not kept.exists():
            raise ConvgymError(
                f"the conversations of deployment {number} are gone, and this run needs them to "
                "go on: give a folder, or start anew in another one"
            )
        return self._in_the_shop(read_log(kept).episodes)

    def _in_the_shop(self, episodes: Sequence[Episode]) -> list[Episode]:
        """Return conversations from a file, with what their seller could read of the shop."""
        options = self.environment
        catalog = (
            options.get("catalog")
            or (options.get("customer_options") or {}).get("catalog")
            or getattr(options.get("customer"), "catalog", None)
        )
        leaflet = load_catalog(catalog or "laptops").leaflet()
        return [replace(episode, leaflet=leaflet) for episode in episodes]

    def _hold_once(
        self,
        number: int,
        policies: Sequence[Policy],
        seeds: Sequence[int],
        policy_seed: int,
        progress: ProgressCallback,
    ) -> list[Episode]:
        """Return a deployment's conversations: those that the folder keeps, or held and kept."""
        kept = self._kept(number)
        if kept is not None and kept.exists():
            return self._in_the_shop(_read_kept(kept, seeds))
        episodes = self._hold(policies, seeds, policy_seed, progress)
        _keep(kept, episodes)
        return episodes

    def _hold(
        self,
        policies: Sequence[Policy],
        seeds: Sequence[int],
        policy_seed: int,
        progress: ProgressCallback,
    ) -> list[Episode]:
        episodes: dict[int, Episode] = {}
        for number, policy in enumerate(policies):
            places = range(number, len(seeds), len(policies))
            done = len(episodes)

            def report(news: Progress, done: int = done) -> None:
                progress(replace(news, stage="collect", done=done + news.done, total=len(seeds)))

            held = rollout(
                policy,
                [seeds[i] for i in places],
                environment=self.environment,
                policy_seed=policy_seed,
                progress=report,
            )
            episodes |= dict(zip(places, held, strict=True))
        self._held += len(seeds)
        return [episodes[i] for i in range(len(seeds))]

    def _enter(self, episodes: list[Episode], deployments: int) -> list[Episode]:
        """Enter conversations into the books."""
        valid = [episode for episode in episodes if episode.valid]
        refuse_if_all_failed(episodes)
        conversion = sum(episode.converted for episode in valid) / len(valid)
        usage = self.usage
        self.curve.append(
            CurvePoint(usage.conversations, usage.deployments, conversion, len(valid), self.seconds)
        )
        self.usage = replace(
            usage,
            conversations=usage.conversations + len(episodes),
            turns=usage.turns + sum(len(episode.turns) for episode in episodes),
            deployments=usage.deployments + deployments,
            excluded=usage.excluded + len(episodes) - len(valid),
        )
        return episodes

    def _kept(self, deployment: int) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / f"deployment-{deployment:03d}.jsonl.gz"

    @contextmanager
    def supervised(self, name: str) -> Iterator[None]:
        """Count what an agent really uses of customers inside, and add it to ``usage``.

        Raises:
            ConvgymError: when more customers were met than passed through this collector, or any
                that are reserved for evaluation: the comparison would not be fair.
        """
        budget, held = self.budget, self._held
        with metered() as meter:
            self._meter = meter
            try:
                yield
            finally:
                self._meter = Meter()
        own = self._held - held
        if meter.evaluation_conversations:
            raise ConvgymError(
                f"agent {name!r} met {meter.evaluation_conversations} customers of evaluation in "
                "training: the comparison would not be fair"
            )
        if meter.conversations > own:
            raise ConvgymError(
                f"agent {name!r} held {meter.conversations - own} conversations outside its "
                "collector: the comparison would not be fair"
            )
        # Whatever the books say: who meets the same customers twice has met twice as many.
        if (spent := max(meter.conversations, self.usage.conversations)) > budget:
            raise ConvgymError(
                f"agent {name!r} held {spent} conversations, its budget is {budget}: the "
                "comparison would not be fair"
            )
        self.usage = replace(self.usage, branches=self.usage.branches + meter.branches)

    def identity(self) -> dict[str, Any]:
        """Return what must be equal for conversations of two collectors to be of one run.

        Files count by their content, not by where they lie: the log, and those that options of the
        environment name, such as a catalogue.
        """
        return {
            "seed": self.seed,
            "conversations": self.budget,
            "environment": {name: _content(value) for name, value in self.environment.items()},
            "log": _content(self.log),
        }

    def state(self) -> dict[str, Any]:
        """Return the books as plain data."""
        return {
            "usage": asdict(
                replace(self.usage, branches=self.usage.branches + self._meter.branches)
            ),
            "curve": [asdict(point) for point in self.curve],
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "has_log": self._has_log,
            "repeats": self._repeats,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from books that ``state`` returned."""
        self.usage = Usage(**state["usage"])
        self.curve = [CurvePoint(**point) for point in state["curve"]]
        self._has_log = state["has_log"]
        self._repeats = state.get("repeats", 0)  # earlier versions knew of none
        self._seconds_before, self._started = state["seconds"], time.monotonic()
        self._cpu_seconds_before = state.get("cpu_seconds", 0.0)  # earlier versions lack it
        self._cpu_started = time.process_time()


def read_training_log(path: str | Path, budget: int) -> Log:
    """Return the first ``budget`` conversations of a log that somebody wrote.

    Raises:
        ConvgymError: for a log that is damaged, empty or of customers that are reserved for
            evaluation.
    """
    log = read_log(path)
    episodes = log.episodes[:budget]
    if not episodes:
        raise ConvgymError(f"the log {path} holds no conversation to learn from")
    for episode in episodes:
        shops = held_out_names() & set(episode.customer.split(":"))
        if shops or EVALUATION_BASE <= episode.seed < 2 * EVALUATION_BASE:
            raise ConvgymError(
                f"the log {path} holds a conversation (episode seed {episode.seed}, customer "
                f"{episode.customer!r}) with a customer that is reserved for evaluation: seeds "
                f"from {EVALUATION_BASE} on and held-out shops are; learn from another log"
            )
    return replace(log, episodes=episodes)


def unread(path: str | Path, log: Log) -> list[str]:
    """Return a note where ``read_training_log`` left some of a log unread, for want of budget."""
    n, read = log.report.n, len(log.episodes)
    if n == read:
        return []
    return [
        f"of the {n:,} conversations in the log {path}, only the first {read:,} are learned from"
    ]


def _keep(path: Path | None, episodes: Sequence[Episode]) -> None:
    """Write a deployment's log so that a reader finds all of it or nothing."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_log(path, episodes, overwrite=True)


def _read_kept(path: Path, seeds: Sequence[int]) -> list[Episode]:
    episodes = read_log(path).episodes
    if [episode.seed for episode in episodes] != list(seeds):
        raise ConvgymError(
            f"{path} holds other conversations than this run's: use another folder or delete it"
        )
    return episodes


def _content(value: Any) -> Any:
    """Return a digest of the file that a value names, within mappings too; else the value."""
    if isinstance(value, Mapping):
        return {name: _content(part) for name, part in value.items()}
    if isinstance(value, str | Path):
        try:
            return hashlib.sha256(read_whole(Path(value))).hexdigest()
        except (OSError, ValueError):  # a name and no file, or what cannot be the name of one
            return value
    return value
