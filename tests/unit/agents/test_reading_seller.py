"""The reading seller that comes with the package."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.policy import SHIPPED, LanguageModelPolicy
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.shop.catalog import load_catalog
from convgym.shop.generator import random_catalog

NAME = "reading-seller"


def test_its_recipe_is_of_its_weights() -> None:
    recipe = json.loads((SHIPPED[NAME] / "recipe.json").read_text())
    weights = (SHIPPED[NAME] / "model.safetensors").read_bytes()
    assert recipe["weights_sha256"] == hashlib.sha256(weights).hexdigest()


@pytest.mark.parametrize("shop", ["bicycles", "a random one"])
def test_it_says_what_every_word_of_a_shop_means_that_it_never_met(shop: str) -> None:
    catalog = random_catalog(77_000_002) if shop == "a random one" else load_catalog(shop)
    policy = LanguageModelPolicy.from_pretrained(NAME, config=PolicyConfig(model=NAME))
    format = policy.model.format.about(catalog.leaflet())
    topics = [*catalog.needs.items(), *catalog.features.items()]
    words = [(word, name) for name, topic in topics for word in topic.words]
    right = 0
    with torch.inference_mode():
        for word, name in words:
            prompt = format.opening(f"It is for my {word}.")
            said = format._encode(f"{word} {name}.")
            logits = policy.model.network(torch.tensor([[*prompt, *said]])).logits[0]
            likeliest = logits[len(prompt) - 1 : -1].argmax(-1).tolist()
            right += likeliest == list(said)
    assert right > 0.9 * len(words)


def test_it_sells_in_a_shop_that_it_never_met() -> None:
    config = PolicyConfig(model=NAME, temperature=0.25)
    policy = LanguageModelPolicy.from_pretrained(NAME, config=config)
    seeds = train_seeds(3, 60)
    episodes = rollout(policy, seeds, environment={"catalog": "bicycles"})
    sold = sum(episode.converted for episode in episodes)
    assert sold >= 8  # 30% of 200 others; one that cannot read sells to none
    default = LanguageModelPolicy.from_pretrained("default")
    assert not any(
        episode.converted
        for episode in rollout(default, seeds[:20], environment={"catalog": "bicycles"})
    )
