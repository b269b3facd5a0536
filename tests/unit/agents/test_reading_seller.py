"""The reading seller that comes with the package."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.policy import SHIPPED, LanguageModelPolicy
from convgym.agents.pipeline.fitting import FitSettings, fit_to_folder
from convgym.agents.pipeline.inputs import open_ensemble, open_q
from convgym.agents.protocol import Q_FILE
from convgym.agents.training.checkpoint import load_checkpoint, save_checkpoint
from convgym.agents.values.q_function import QFunctionConfig
from convgym.errors import ConvgymError
from convgym.logs import write_log
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


def test_its_q_is_fitted_in_the_shop_that_a_log_is_of(tmp_path: Path) -> None:
    log, q = tmp_path / "log.jsonl", tmp_path / "q"
    policy = LanguageModelPolicy.from_pretrained(NAME)
    write_log(log, rollout(policy, train_seeds(3, 8), environment={"catalog": "laptops"}))
    short = QFunctionConfig(epochs=1, first_steps=0, replies=1)
    with pytest.raises(ConvgymError, match=r"which shop.*--set policy.catalog=SHOP"):
        fit_to_folder(log, NAME, q, FitSettings(short))
    with pytest.raises(ConvgymError, match="reserved for evaluation"):
        fit_to_folder(log, NAME, q, FitSettings(short, PolicyConfig(catalog="bicycles")))
    report = fit_to_folder(log, NAME, q, FitSettings(short, PolicyConfig(catalog="laptops")))
    assert report["without_logprobs"] == 0
    assert report["behaviour_gap"] < 0.01  # read in that shop, its words are its own
    served, _ = open_ensemble(q)
    assert served.model.format.leaflet == load_catalog("laptops").leaflet()

    tree = load_checkpoint(q / Q_FILE, "Q", "again")
    save_checkpoint(q / Q_FILE, {**tree, "policy_settings": asdict(PolicyConfig())})
    for opened in (lambda: open_ensemble(q), lambda: open_q(q, NAME, log)):
        with pytest.raises(ConvgymError, match="before a Q kept which shop: fit it again"):
            opened()


def test_a_seller_that_reads_nothing_is_in_no_shop() -> None:
    with pytest.raises(ConvgymError, match="default reads no leaflet"):
        LanguageModelPolicy.from_pretrained("default", config=PolicyConfig(catalog="laptops"))
    with pytest.raises(ConvgymError, match="catalog must be a name"):
        PolicyConfig(catalog=3)  # type: ignore[arg-type]
