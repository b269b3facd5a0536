"""Hold conversations between a policy and customers, many at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from convgym.conversation import Episode, Response, Turn
from convgym.envs.dialogue import Dialogue
from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError
from convgym.policy import Conversation, Policy


class _Place:
    """A place in the batch, where one conversation is held after another."""

    def __init__(self, dialogue: Dialogue, reveal_latent: bool) -> None:
        self.dialogue = dialogue
        self.reveal_latent = reveal_latent
        self.fingerprint = dialogue.customer.fingerprint

    def start(self, index: int, seed: int, policy_seed: int) -> None:
        self.index = index
        self.turns: list[Turn] = []
        self.dialogue.reset(seed)
        # Of these two seeds alone, so that the batch's size and order do not matter.
        rng = random.Random(f"{policy_seed}/{seed}")
        self.conversation = Conversation(seed, self.dialogue.messages, rng, self._latent())

    def step(self, response: Response) -> None:
        dialogue = self.dialogue
        dialogue.step(response.text)
        if dialogue.turn == len(self.turns):  # the backend failed, nothing was heard
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
        return Episode(
            seed=self.conversation.seed,
            opening=dialogue.messages[0]["content"],
            turns=tuple(self.turns),
            outcome=dialogue.outcome,
            customer=self.fingerprint,
            policy=policy,
            metadata={} if dialogue.failure is None else {"failure": dialogue.failure},
        )


def rollout(
    policy: Policy,
    seeds: Sequence[int],
    *,
    environment: Mapping[str, Any] | None = None,
    policy_seed: int = 0,
    batch_size: int = 256,
    progress: Callable[[int], None] | None = None,
) -> list[Episode]:
    """Hold one conversation for each episode seed and return them in the order of ``seeds``.

    Up to ``batch_size`` conversations advance together; when one ends, the next seed takes its
    place, so that batches stay full and the others keep their order. ``policy.reset(policy_seed)``
    is called once, before the first turn. Every conversation's ``rng`` depends on ``policy_seed``
    and its episode seed alone, and ``latent`` is set if the environment reveals it. The message
    lists that the policy sees are the live ones: they are to be read only.

    The recorded text of a response is what the customer heard (``convgym.conversation.clean``);
    its tokens and log-probabilities are kept as they came. An episode whose customer failed has
    the outcome ``"infrastructure_failure"`` and the reason in ``metadata["failure"]``; such
    episodes are returned, and count for nothing (``Episode.valid``).

    Args:
        policy: the seller.
        seeds: episode seeds, see ``convgym.seeds``.
        environment: options of ``SalesEnv``, apart from ``render_mode``.
        policy_seed: seed of the policy's own randomness.
        batch_size: how many conversations at once.
        progress: told the number of finished conversations after every turn of the batch.

    Raises:
        ConvgymError: for a mistake in the arguments, or if the policy does not return one
            ``Response`` for each conversation.
    """
    if batch_size < 1:
        raise ConvgymError(f"batch_size must be at least 1, got {batch_size!r}")
    scenario = Scenario.of(environment or {})
    dialogues = scenario.dialogues(min(batch_size, len(seeds)))
    try:
        places = [_Place(dialogue, scenario.reveal_latent) for dialogue in dialogues]
        return _hold(policy, seeds, places, policy_seed, progress)
    finally:
        for dialogue in dialogues:
            if dialogue.customer is not scenario.customer:  # the caller's own stays open
                dialogue.close()


def _hold(
    policy: Policy,
    seeds: Sequence[int],
    places: list[_Place],
    policy_seed: int,
    progress: Callable[[int], None] | None,
) -> list[Episode]:
    policy.reset(policy_seed)
    waiting = iter(enumerate(seeds))
    for place, (index, seed) in zip(places, waiting, strict=False):
        place.start(index, seed, policy_seed)
    episodes: dict[int, Episode] = {}
    live = places
    while live:
        for place, response in zip(live, _ask(policy, live), strict=True):
            place.step(response)
        going_on = []
        for place in live:
            if place.dialogue.outcome is not None:
                episodes[place.index] = place.episode(policy.name)
                following = next(waiting, None)
                if following is None:
                    continue
                place.start(*following, policy_seed)
            going_on.append(place)
        live = going_on
        if progress is not None:
            progress(len(episodes))
    return [episodes[index] for index in range(len(seeds))]


def _ask(policy: Policy, live: Sequence[_Place]) -> list[Response]:
    responses = policy.act([place.conversation for place in live])
    if len(responses) != len(live):
        raise ConvgymError(
            f"policy {policy.name!r} must return a response for each of {len(live)} conversations,"
            f" got {len(responses)}"
        )
    for response in responses:
        if not isinstance(response, Response):
            raise ConvgymError(
                f"policy {policy.name!r} must return Response objects, got"
                f" {type(response).__name__}: {repr(response)[:60]}"
            )
    return responses
