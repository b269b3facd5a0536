"""The default customer says the same words for the same seeds, release after release.

Trained checkpoints and stored results depend on it. A change that is meant raises ``VERSION`` in
``convgym.customers.scripted.customer`` and stands in the changelog; only then are the hashes here
renewed.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.rollout import rollout
from convgym.sellers import make_seller


def digest(environment: dict[str, Any]) -> str:
    """Return a hash of 300 customers' conversations with each of three sellers."""
    found = hashlib.sha256()
    for seller in ("mediocre", "random", "competent"):
        for episode in rollout(
            make_seller(seller), range(300), environment=environment, policy_seed=7
        ):
            turns = [(turn.response.text, turn.reply) for turn in episode.turns]
            words = (episode.seed, episode.opening, turns, str(episode.outcome))
            found.update(repr(words).encode())
    return found.hexdigest()[:16]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "90bce98456f1499f"),
        ({"persona": "chatty", "patience": 4.5}, "59ac74959eef169d"),
    ],
)
def test_words_are_those_of_earlier_releases(environment: dict[str, Any], expected: str) -> None:
    assert digest(environment) == expected


def test_fingerprints_are_those_of_earlier_releases() -> None:
    assert ScriptedCustomer().fingerprint == "scripted-v0:laptops:ab92a20d6333"
    other = ScriptedCustomer(persona="hurried", patience=6.0)
    assert other.fingerprint == "scripted-v0:laptops:2c66eb832a42"
