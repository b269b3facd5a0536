"""Hold conversations between a policy and customers, many at a time."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from convgym.checks import check_integer, check_seed
from convgym.conversation import Episode, Response, Turn
from convgym.envs.dialogue import Dialogue
from convgym.envs.flow import Flow
from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError, InfrastructureError
from convgym.policy import Conversation, Policy, check_policy
from convgym.progress import Progress, ProgressCallback, no_progress

_BATCH_SIZE = 256
"""Conversations at once, for policies that do not say what suits them."""


class Place:
    """A place in the batch, where one conversation is held after another."""

    def __init__(self, number: int, dialogue: Dialogue, reveal_latent: bool) -> None:
        self.number, self.dialogue = number, dialogue
        self.reveal_latent = reveal_latent
        kind, fingerprint = dialogue.kind, dialogue.fingerprint
        if not isinstance(fingerprint, str):
            raise ConvgymError(
                f"customer {kind}'s fingerprint must be a str, got {repr(fingerprint)[:60]}"
            )
        self.fingerprint, self.leaflet = fingerprint, dialogue.leaflet

    def begin(self, index: int, rng: random.Random) -> None:
        """Take up the conversation that the dialogue is being reset to."""
        self.index, self._rng = index, rng
        self.turns: list[Turn] = []
        self.response: Response | None = None

    def note(self) -> None:
        """Note how the dialogue has moved: it was reset, or took a turn."""
        dialogue, response = self.dialogue, self.response
        if response is None:
            assert dialogue.seed is not None
            self.conversation = Conversation(
                dialogue.seed, dialogue.messages, self._rng, self._latent(), self.leaflet
            )
            return
        if dialogue.turn == len(self.turns):  # a backend failed, nothing was heard
            return
        said, heard = (message["content"] for message in dialogue.messages[-2:])
        if said != response.text:
            response = replace(response, text=said)
        self.turns.append(Turn(response, heard))
        self.conversation.latent = self._latent()

    def _latent(self) -> Mapping[str, Any] | None:
        return self.dialogue.customer.latent if self.reveal_latent else None

    def episode(self, policy: str) -> Episode:
        dialogue = self.dialogue
        assert dialogue.outcome is not None
        record = getattr(dialogue.customer, "record", {})
        if not isinstance(record, Mapping):
            raise ConvgymError(
                f"customer {dialogue.kind}'s record must be data by name, got {repr(record)[:60]}"
            )
        metadata = dict(record)
        if dialogue.failure is not None:
            metadata["failure"] = dialogue.failure
        return Episode(
            seed=self.conversation.seed,
            opening=dialogue.messages[0]["content"],
            turns=tuple(self.turns),
            outcome=dialogue.outcome,
            customer=self.fingerprint,
            policy=policy,
            metadata=metadata,
            leaflet=self.leaflet,
        )


def rollout(
    policy: Policy,
    seeds: Sequence[int],
    *,
    environment: Mapping[str, Any] | None = None,
    policy_seed: int = 0,
    batch_size: int | None = None,
    progress: ProgressCallback = no_progress,
) -> list[Episode]:
    """Hold one conversation for each episode seed and return them in the order of ``seeds``.

    Up to ``batch_size`` conversations are under way; when one ends, the next seed takes its place,
    so that batches stay full and the others keep their order. The policy is asked for all together
    whose turn it is: with customers that answer at once, that is all of them; with customers that
    wait for something (``convgym.customers.AsyncCustomer``), those that have answered, and nobody
    waits for the slowest. ``policy.reset(policy_seed)`` is called once, before the first turn.
    Every conversation's ``rng`` depends on ``policy_seed`` and its episode seed alone; where a seed
    comes again, also on how often it came before, so that the same customer hears other things.
    ``latent`` is set if the environment reveals it. The message lists that the policy sees are the
    live ones: they are to be read only.

    The recorded text of a response is what the customer heard (``convgym.conversation.clean``);
    its tokens and log-probabilities are kept as they came. An episode whose customer failed has
    the outcome ``"infrastructure_failure"``, one whose seller failed (``Response.failure``, or an
    InfrastructureError from ``act``, which is of all that it was asked about)
    ``"seller_failure"``, and the reason in ``metadata["failure"]``; such episodes are returned,
    and count for nothing (``Episode.valid``). What else a policy raises is its own error, and
    passes. The metadata also holds what the customer's ``record`` says of the conversation, if it
    keeps one.

    Args:
        policy: the seller.
        seeds: episode seeds, see ``convgym.seeds``.
        environment: options of ``SalesEnv``, apart from ``render_mode`` and any other ``reward``
            than purchases: what was paid is in the metadata, where the customer's ``record`` says
            it.
        policy_seed: seed of the policy's own randomness.
        batch_size: how many conversations at once; None is what the policy says in its attribute
            ``batch_size``, or else 256, and no more than the customer says in its own.
        progress: told how many conversations are finished after every turn of the batch, as stage
            "conversations".

    Raises:
        ConvgymError: for a mistake in the arguments, or if the policy does not return one
            ``Response`` for each conversation.
    """
    check_policy(policy)
    if not callable(progress):
        raise ConvgymError(f"progress must be a function, got {repr(progress)[:60]}")
    asked = getattr(policy, "batch_size", _BATCH_SIZE) if batch_size is None else batch_size
    at_once = check_integer("batch_size", asked, 1)
    policy_seed = check_seed(policy_seed, "policy_seed")
    if isinstance(seeds, (str, bytes)) or not isinstance(seeds, Iterable):
        raise ConvgymError(f"seeds must be several episode seeds, got {repr(seeds)[:60]}")
    seeds = [check_seed(seed) for seed in seeds]
    scenario = Scenario.of(environment or {})
    if scenario.reward != "purchase":
        raise ConvgymError(
            "an episode of a rollout is worth 1 for a purchase and else 0, so that its environment"
            f" must have reward='purchase', got {scenario.reward!r}: what was paid is in"
            " episode.metadata, as price and margin"
        )
    dialogues = scenario.dialogues(min(at_once, len(seeds)))
    try:
        if batch_size is None and dialogues:
            at_once = _suits(dialogues[0], at_once)
        places = [
            Place(number, dialogue, scenario.reveal_latent)
            for number, dialogue in enumerate(dialogues[:at_once])
        ]
        return _hold(policy, seeds, places, policy_seed, progress)
    finally:
        for dialogue in dialogues:
            if dialogue.customer is not scenario.customer:  # the caller's own stays open
                dialogue.close()


def _suits(dialogue: Dialogue, at_once: int) -> int:
    """Return how many conversations suit a customer that may say so, at most ``at_once``."""
    most = getattr(dialogue.customer, "batch_size", None)
    if most is None:
        return at_once
    return min(at_once, check_integer(f"{dialogue.kind}.batch_size", most, 1))


def _hold(
    policy: Policy,
    seeds: Sequence[int],
    places: list[Place],
    policy_seed: int,
    progress: ProgressCallback,
) -> list[Episode]:
    policy.reset(policy_seed)
    waiting = iter(enumerate(zip(seeds, streams(seeds, policy_seed), strict=True)))
    episodes: dict[int, Episode] = {}
    flow = Flow([place.dialogue for place in places])
    try:
        begin(flow, places, waiting)
        while flow.busy:
            live: list[Place] = []  # whose turn it is to be answered
            while moved := flow.ready(wait=not live):
                ended = []
                for place in map(places.__getitem__, moved):
                    place.note()
                    if place.dialogue.outcome is None:
                        live.append(place)
                    else:
                        episodes[place.index] = place.episode(policy.name)
                        ended.append(place)
                begin(flow, ended, waiting)
            progress(Progress("conversations", len(episodes), len(seeds)))
            if live:
                live.sort(key=attrgetter("number"))
                _say(flow, live, ask(policy, [place.conversation for place in live]))
    finally:
        flow.stop()
    return [episodes[index] for index in range(len(seeds))]


def streams(seeds: Sequence[int], policy_seed: int) -> Iterator[random.Random]:
    """Return the policy's random stream in every conversation.

    Of the two seeds alone, so that the batch's size and order do not matter.
    """
    counts: Counter[int] = Counter()
    for seed in seeds:
        again = f"/{counts[seed]}" if counts[seed] else ""
        counts[seed] += 1
        yield random.Random(f"{policy_seed}/{seed}{again}")


def begin(
    flow: Flow,
    places: Sequence[Place],
    waiting: Iterator[tuple[int, tuple[int, random.Random]]],
) -> None:
    """Begin the next conversations in these places, as far as there are more."""
    seeds = {}
    for place, (index, (seed, rng)) in zip(places, waiting, strict=False):
        place.begin(index, rng)
        seeds[place.number] = seed
    flow.reset(seeds)


def _say(flow: Flow, live: Sequence[Place], responses: Sequence[Response]) -> None:
    for place, response in zip(live, responses, strict=True):
        place.response = response
    flow.say({place.number: response for place, response in zip(live, responses, strict=True)})


def ask(policy: Policy, conversations: Sequence[Conversation]) -> list[Response]:
    """Return what a policy says in each conversation; ConvgymError for what is no response."""
    try:
        responses = policy.act(conversations)
    except InfrastructureError as error:
        return [Response("", failure=str(error))] * len(conversations)
    if isinstance(responses, str) or not isinstance(responses, Sequence):
        raise ConvgymError(
            f"policy {policy.name!r} must return a list of Response objects, got"
            f" {type(responses).__name__}: {repr(responses)[:60]}"
        )
    if len(responses) != len(conversations):
        raise ConvgymError(
            f"policy {policy.name!r} must return a response for each of"
            f" {len(conversations)} conversations, got {len(responses)}"
        )
    for response in responses:
        if not isinstance(response, Response):
            raise ConvgymError(
                f"policy {policy.name!r} must return Response objects, got"
                f" {type(response).__name__}: {repr(response)[:60]}"
            )
        if not isinstance(response.failure, str | None):
            raise ConvgymError(
                f"policy {policy.name!r} must say in words why a response failed, got"
                f" {repr(response.failure)[:60]}"
            )
        _check_tokens(policy, response)
    return responses


def _check_tokens(policy: Policy, response: Response) -> None:
    """Raise ConvgymError for log-probabilities that nobody could learn from."""
    ids, logprobs = response.token_ids, response.token_logprobs
    if logprobs is None:
        return
    whole = ids is None or len(ids) == len(logprobs)
    if not whole or not all(map(math.isfinite, logprobs)):
        raise ConvgymError(
            f"policy {policy.name!r} must return a finite log-probability for each token, or none,"
            f" got {len(ids or ())} tokens and {repr(list(logprobs))[:60]}"
        )
