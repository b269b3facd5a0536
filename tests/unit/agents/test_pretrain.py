"""Making the default seller, and the one that is shipped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.policy import DEFAULT_MODEL, LanguageModelPolicy
from convgym.agents.pretrain import PretrainConfig, build_tokenizer, pretrain
from convgym.errors import ConvgymError
from convgym.progress import Progress
from convgym.rollout import rollout
from convgym.seeds import train_seeds

TINY = PretrainConfig(
    vocabulary=320,
    hidden=16,
    layers=1,
    heads=2,
    intermediate=16,
    epochs=4,
    minibatch=8,
    learning_rate=0.02,
)


def make(folder: Path, seed: int = 0, **options: Any) -> dict[str, Any]:
    return pretrain(folder, conversations=48, seed=seed, config=TINY, **options)


def test_pretraining_is_deterministic_and_learns(tmp_path: Path) -> None:
    news: list[Progress] = []
    recipe = make(tmp_path / "one", progress=news.append)
    assert make(tmp_path / "two") == recipe
    assert make(tmp_path / "three", seed=1)["weights_sha256"] != recipe["weights_sha256"]

    losses = [one.metrics["loss"] for one in news if one.stage == "train"]
    assert len(losses) == news[-1].total == TINY.epochs * 6  # 46 conversations, 8 at a time
    assert losses[-1] < 0.8 * losses[0]
    assert {one.stage for one in news} == {"collect", "train"}

    assert json.loads((tmp_path / "one" / "recipe.json").read_text()) == recipe
    weights = (tmp_path / "one" / "model.safetensors").read_bytes()
    assert recipe["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    policy = LanguageModelPolicy.from_pretrained(
        tmp_path / "one", config=PolicyConfig(max_new_tokens=8)
    )
    assert len(rollout(policy, train_seeds(0, 3))) == 3


def test_too_few_conversations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="at least 20"):
        pretrain(tmp_path, conversations=19)


def test_a_price_is_one_token_and_a_word_the_same_everywhere() -> None:
    texts = ["I recommend the Aero for $650.", "The Aero costs $650.", "$650 is a lot."] * 20
    tokenizer = build_tokenizer(texts, vocabulary=400)
    spelt = [tokenizer.decode([token]) for token in tokenizer.encode("I like the Aero, $650.")]
    assert spelt[-4:] == [",", " $", "650", "."]
    assert tokenizer.encode("Aero") == tokenizer.encode("the Aero")[1:]


def test_the_shipped_model_is_what_its_recipe_says() -> None:
    recipe = json.loads((DEFAULT_MODEL / "recipe.json").read_text())
    weights = (DEFAULT_MODEL / "model.safetensors").read_bytes()
    assert recipe["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert recipe["config"] == asdict(PretrainConfig())
    assert sum(file.stat().st_size for file in DEFAULT_MODEL.iterdir()) < 6e6
    policy = LanguageModelPolicy.from_pretrained()
    parameters = sum(parameter.numel() for parameter in policy.model.network.parameters())
    assert parameters == recipe["parameters"] <= 3_000_000


def test_the_shipped_model_sells_like_the_mediocre_seller() -> None:
    """Its teacher sells to about two customers in five, a random seller to hardly any."""
    policy = LanguageModelPolicy.from_pretrained(config=PolicyConfig(max_new_tokens=24))
    episodes = rollout(policy, train_seeds(7, 300))
    assert 0.2 < sum(episode.converted for episode in episodes) / len(episodes) < 0.5
