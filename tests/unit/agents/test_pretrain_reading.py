"""Making the seller that reads its shop."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.copying import begin_by_copying
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.pretrain_reading import (
    UNFINISHED,
    ReadingConfig,
    build_reading_model,
    build_reading_tokenizer,
    lesson,
    lesson_losses,
    pretrain_reading,
)
from convgym.errors import ConvgymError
from convgym.progress import Progress
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.shop.generator import random_catalog

TINY = ReadingConfig(
    vocabulary=700, hidden=16, layers=2, heads=4, intermediate=16, steps=4, conversations=2
)


class Interrupted(Exception):
    pass


def test_a_training_that_was_interrupted_ends_as_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain_reading(tmp_path / "whole", config=TINY)
    weights = (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert whole["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert json.loads((tmp_path / "whole" / "recipe.json").read_text()) == whole

    def interrupt(news: Progress) -> None:
        if news.done == 3:
            raise Interrupted

    monkeypatch.setattr("convgym.agents.pretrain_reading._CHECKPOINT", 2)
    with pytest.raises(Interrupted):
        pretrain_reading(tmp_path / "parts", config=TINY, progress=interrupt)
    assert (tmp_path / "parts" / UNFINISHED).exists()
    with pytest.raises(ConvgymError, match="other settings"):
        pretrain_reading(tmp_path / "parts", seed=1, config=TINY)
    steps: list[int] = []
    parts = pretrain_reading(
        tmp_path / "parts", config=TINY, progress=lambda news: steps.append(news.done)
    )
    assert steps == [3, 4]
    assert parts == whole
    assert not (tmp_path / "parts" / UNFINISHED).exists()


def test_what_was_trained_reads_the_shop_that_it_is_in(tmp_path: Path) -> None:
    pretrain_reading(tmp_path, config=TINY)
    policy = LanguageModelPolicy.from_pretrained(tmp_path, config=PolicyConfig(max_new_tokens=6))
    said = {}
    for shop in ("laptops", "bicycles"):
        episodes = rollout(policy, train_seeds(0, 3), environment={"catalog": shop})
        said[shop] = [episode.turns[0].response.text for episode in episodes]
        (row, *_) = policy.model.tokenise(episodes)
        read = policy.model.format.tokenizer.decode(row.ids)
        leaflet = episodes[0].leaflet.lower()
        assert leaflet[-60:] in read
    assert said["laptops"] != said["bicycles"]


def test_the_tokenizer_spells_any_name_and_knows_prices() -> None:
    tokenizer = build_reading_tokenizer(900, 0)
    ids = tokenizer.encode("For gaming: $1450 Xylophonist.", add_special_tokens=False)
    assert str(tokenizer.decode(ids)).strip() == "for gaming: $1450 xylophonist."
    pieces = [tokenizer.decode([token]) for token in ids]
    assert "1450" in pieces
    assert tokenizer.encode("Esports.")[:-1] == tokenizer.encode("like esports.")[1:-1]


def test_lessons_come_from_shops_of_their_own() -> None:
    tokenizer = build_reading_tokenizer(700, 0)
    here = lesson(tokenizer, TINY, 5, 0)
    again = lesson(tokenizer, TINY, 5, 0)
    assert here == again != lesson(tokenizer, TINY, 6, 0)
    start = here.episodes[0].ids[: here.leaflet]
    assert all(episode.ids[: here.leaflet] == start for episode in here.episodes)
    catalog = random_catalog(5, small=True)
    assert catalog.products[0].name.lower() in tokenizer.decode(list(start))
    customer, seller = (tokenizer.convert_tokens_to_ids(f"<|{x}|>") for x in ("customer", "seller"))
    assert start[-1] == customer
    assert seller not in start


def test_the_losses_are_those_of_the_words() -> None:
    tokenizer = build_reading_tokenizer(700, 0)
    network = build_reading_model(TINY, tokenizer, 0)
    here = lesson(tokenizer, TINY, 5, 0)
    seller, customer, leaflet = lesson_losses(network, here, tokenizer.pad_token_id)
    sums = {"seller": [0.0, 0], "customer": [0.0, 0], "leaflet": [0.0, 0]}
    for row, episode in enumerate(here.episodes):
        logits = network(torch.tensor([episode.ids])).logits[0].log_softmax(-1)
        for place in range(1, len(episode.ids)):
            if place < here.leaflet:
                kind = "leaflet" if row == 0 else None
            else:
                kind = "seller" if episode.turns[place] >= 0 else "customer"
            if kind:
                sums[kind][0] -= logits[place - 1, episode.ids[place]].item()
                sums[kind][1] += 1
    for loss, kind in ((seller, "seller"), (customer, "customer"), (leaflet, "leaflet")):
        total, count = sums[kind]
        assert loss.item() == pytest.approx(total / count, rel=0.02)


def test_it_begins_by_copying() -> None:
    config = ReadingConfig(vocabulary=900, steps=1)
    tokenizer = build_reading_tokenizer(config.vocabulary, 0)
    network = build_reading_model(config, tokenizer, 0)
    generator = torch.Generator().manual_seed(0)
    once = torch.randperm(600, generator=generator)[:60] + 270
    twice = torch.cat([once, once])[None]
    with torch.inference_mode():
        scores = network(twice).logits[0, 60:-1]
    rank = (scores > scores.gather(1, twice[0, 61:, None])).sum(1)
    assert rank.float().median() < 40  # of 900: what followed before is likely to follow
    plain = build_reading_model(config, tokenizer, 1)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    with torch.inference_mode():
        scores = plain(twice).logits[0, 60:-1]
    assert (scores > scores.gather(1, twice[0, 61:, None])).sum(1).float().median() > 100


def test_a_network_of_another_shape_is_left_as_it_is() -> None:
    tokenizer = build_reading_tokenizer(700, 0)
    network = build_reading_model(
        ReadingConfig(vocabulary=700, hidden=16, layers=1, heads=2), tokenizer, 0
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    begin_by_copying(network)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
