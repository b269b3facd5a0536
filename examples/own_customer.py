"""A customer of one's own, in the environment and in a rollout.

Run it with ``python examples/own_customer.py``. Anything with these four members is a customer;
``docs/own_customer.md`` says what else it may have, and ``customer_plugin/`` is one as a package.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import gymnasium

from convgym.conversation import Response
from convgym.customers import Decision, Reply
from convgym.policy import Conversation
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.statistics import wilson_interval


class Gardener:
    """Wants a plant for a sunny or a shady place, and bears with four wrong offers at most."""

    fingerprint = "gardener-v1"  # to be changed whenever the behaviour is

    def reset(self, seed: int) -> str:
        rng = random.Random(seed)  # all that is random comes from the seed
        self.place = rng.choice(["sun", "shade"])
        self.patience = rng.randint(1, 4)
        return "Hello, I need a plant."

    def respond(self, utterance: str) -> Reply:
        words = utterance.lower()
        if "where" in words:
            return Reply(f"It will stand in the {self.place}.")
        if ("fern" if self.place == "shade" else "cactus") in words:
            return Reply("I will take it.", Decision.BUY)
        self.patience -= 1
        return Reply("No.", Decision.LEAVE if self.patience == 0 else Decision.CONTINUE)

    @property
    def latent(self) -> dict[str, Any]:
        return {"place": self.place, "patience": self.patience}


class Florist:
    """A policy: offers plants, having asked where they will stand if it is an attentive one."""

    def __init__(self, attentive: bool) -> None:
        self.name = "attentive" if attentive else "hasty"
        self.attentive = attentive

    def reset(self, seed: int) -> None:
        """Do nothing: it draws nothing at random of its own."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        return [Response(self.say(conversation)) for conversation in conversations]

    def say(self, conversation: Conversation) -> str:
        if not self.attentive:
            return f"How about a {conversation.rng.choice(['fern', 'cactus'])}?"
        heard = conversation.messages[-1]["content"]
        if "stand" not in heard:
            return "Where will it stand?"
        return f"How about a {'fern' if 'shade' in heard else 'cactus'}?"


def main() -> None:
    """Meet one gardener step by step, then many in a rollout."""
    env = gymnasium.make("convgym/Sales-v0", customer=Gardener, render_mode="human")
    env.reset(seed=0)
    for utterance in ("Where will it stand?", "How about a fern?", "How about a cactus?"):
        _, _, terminated, truncated, info = env.step(utterance)
        if terminated or truncated:
            print(f"({info['outcome']})\n")
            break

    for florist in (Florist(attentive=False), Florist(attentive=True)):
        episodes = rollout(florist, train_seeds(0, 300), environment={"customer": Gardener})
        counted = [episode for episode in episodes if episode.valid]
        rate = wilson_interval(sum(episode.converted for episode in counted), len(counted))
        print(
            f"{florist.name}: conversion {rate.value:.1%}, 95% interval"
            f" {rate.low:.1%} to {rate.high:.1%}, {len(counted)} conversations"
        )


if __name__ == "__main__":
    main()
