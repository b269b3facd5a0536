"""One conversation, a turn at a time: for whoever sells in person, or looks on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from convgym.checks import check_seed
from convgym.conversation import Episode, Message, Outcome, Response
from convgym.envs.flow import Flow
from convgym.envs.scenario import Scenario
from convgym.policy import Conversation, Policy
from convgym.rollout import Place, ask, begin, streams


class Talk:
    """A conversation that goes on when it is told to: what ``rollout`` holds, step by step.

    A policy that speaks every turn makes the episode that ``rollout`` makes of the same seeds, to
    the word. ``with`` closes the customer; so does ``close``.

    Args:
        seed: the customer is drawn from it.
        environment: options of ``SalesEnv``, apart from ``render_mode``.
        policy_seed: seed of the seller's random stream.

    Raises:
        ConvgymError: for a mistake in the arguments.
    """

    def __init__(
        self, seed: int, environment: Mapping[str, Any] | None = None, *, policy_seed: int = 0
    ) -> None:
        self.seed = check_seed(seed)
        scenario = Scenario.of(environment or {})
        self.max_turns = scenario.max_turns
        (self._dialogue,) = scenario.dialogues(1)
        self._is_ours = self._dialogue.customer is not scenario.customer
        self._place = Place(0, self._dialogue, scenario.reveal_latent)
        self._flow = Flow([self._dialogue])
        drawn = zip([self.seed], streams([seed], policy_seed), strict=True)
        begin(self._flow, [self._place], enumerate(drawn))
        self._go_on()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def conversation(self) -> Conversation:
        """What a policy is shown; to be read only."""
        return self._place.conversation

    @property
    def messages(self) -> list[Message]:
        """All that was said, the customer's opening first; to be read only."""
        return self._dialogue.messages

    @property
    def turn(self) -> int:
        """Turns so far."""
        return self._dialogue.turn

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, None while it goes on."""
        return self._dialogue.outcome

    @property
    def failure(self) -> str | None:
        """What a backend said when it failed, else None; before the first turn, too."""
        return self._dialogue.failure

    @property
    def latent(self) -> Mapping[str, Any]:
        """The customer's hidden state as it is now, whatever the seller is shown of it."""
        return self._dialogue.customer.latent

    def hear(self, response: Response) -> None:
        """Have this said, and the customer answer.

        Raises:
            ResetNeeded: if the conversation is over.
        """
        self._place.response = response
        self._flow.say({0: response})
        self._go_on()

    def _go_on(self) -> None:
        self._flow.ready(wait=True)
        self._place.note()

    def step(self, policy: Policy) -> None:
        """Have a policy speak, and the customer answer; raises as ``rollout`` and ``hear``."""
        (response,) = ask(policy, [self.conversation])
        self.hear(response)

    def episode(self, policy: str) -> Episode:
        """Return the whole conversation, once it is over.

        Args:
            policy: the seller's name.
        """
        return self._place.episode(policy)

    def close(self) -> None:
        """Close the customer, unless it is the caller's own."""
        self._flow.stop()
        if self._is_ours:
            self._dialogue.close()
