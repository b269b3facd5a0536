"""The sellers whom visitors may watch and ask: many conversations at once, one set of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from convgym.benchmarks.talks.scene import Scene
from convgym.conversation import Response
from convgym.errors import unknown
from convgym.policy import Conversation, Policy
from convgym.sellers import SELLERS
from convgym.sellers.chat import ChatSeller

ALWAYS = ("random", "always-closing", "mediocre", "competent", "oracle")
"""Reference sellers that every page has."""
ADVISES = "competent"
"""The reference seller whose advice visitors get."""
_MEMORY = 1000
"""Turns after which a shared policy forgets what it remembers of conversations."""


class Shared:
    """A policy in which many conversations are held at a time, each asking for itself.

    Every conversation brings its random stream, so that none depends on the others.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy, self._lock, self._turns = policy, Lock(), 0

    @property
    def name(self) -> str:
        return self._policy.name

    def reset(self, seed: int) -> None:
        """Do nothing: others are in the middle of their conversations."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Let the policy speak, for one caller after the other."""
        with self._lock:
            self._turns += 1
            if self._turns % _MEMORY == 0:  # or it would grow for as long as the page is served
                self._policy.reset(0)
            return self._policy.act(conversations)


class Cast:
    """Sellers by the label that visitors see.

    Language models are loaded once and shared; endpoints are asked by several visitors at once.
    All others are made anew for every conversation.

    Args:
        scene: where they sell.
        named: sellers that somebody named, as ``make_seller`` knows them, with their options.

    Raises:
        ConvgymError: for a seller that cannot be.
    """

    def __init__(self, scene: Scene, named: Mapping[str, Mapping[str, Any]]) -> None:
        self._scene = scene
        self._names: dict[str, str] = {}
        self._options = named
        self._shared: dict[str, Policy] = {}
        for name in dict.fromkeys([*named, *ALWAYS]):
            self._names[_free(label_of(name), self._names)] = name
            policy = scene.seller(name, self._options.get(name))
            if isinstance(policy, ChatSeller):
                self._shared[name] = policy
            elif name == "smollm2" or SELLERS.is_of_family(name):
                self._shared[name] = Shared(policy)
        self.advisers = tuple(
            label for label, name in self._names.items() if name in {*named, ADVISES}
        )

    @property
    def labels(self) -> list[str]:
        """What visitors choose from, those that somebody named first."""
        return list(self._names)

    @property
    def first(self) -> str:
        """Whom visitors watch at first: a seller that somebody named, or one that has faults."""
        return next(iter(self._names)) if self._options else "mediocre"

    @property
    def second(self) -> str:
        """Whom they watch beside it."""
        return ADVISES if self.first != ADVISES else "mediocre"

    def name(self, label: str) -> str:
        """Return the seller's name; ConvgymError for a label that is none of these."""
        if label not in self._names:
            raise unknown("seller", str(label)[:60], self._names)
        return self._names[label]

    def policy(self, label: str, seed: int) -> Policy:
        """Return a seller for a conversation; raises as ``name``."""
        name = self.name(label)
        policy = self._shared.get(name) or self._scene.seller(name, self._options.get(name))
        policy.reset(seed)
        return policy


def label_of(name: str) -> str:
    """Return what a seller is called in public: of a folder, not where it lies."""
    family, colon, folder = name.partition(":")
    if family != "hf" or not colon:
        return name
    path = Path(folder)
    # results/quick/agents/bc-seed0/policy
    return (path.parent.name if path.name == "policy" else path.name) or "language model"


def _free(label: str, taken: Mapping[str, str]) -> str:
    number = 2
    free = label
    while free in taken:
        free, number = f"{label} ({number})", number + 1
    return free
