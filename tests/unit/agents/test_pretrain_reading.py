"""Making the seller that reads its shop."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.copying import begin_by_copying
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.pretrain_reading import (
    UNFINISHED,
    ReadingConfig,
    build_reading_model,
    drill_loss,
    lesson,
    lesson_losses,
    pretrain_reading,
)
from convgym.agents.reading_drills import LEVELS, drill, level_at
from convgym.agents.reading_vocabulary import (
    SIZE,
    build_reading_tokenizer,
    cut_vocabulary,
    numbers_of,
    shop_words,
)
from convgym.errors import ConvgymError
from convgym.progress import Progress
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.shop.catalog import catalog_names, load_catalog
from convgym.shop.generator import random_catalog

TINY = ReadingConfig(
    hidden=16,
    layers=2,
    heads=4,
    head_size=4,
    intermediate=16,
    drills=2,
    drill_batch=2,
    steps=2,
    conversations=2,
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


def test_the_tokenizer_spells_any_name_and_knows_words_and_prices() -> None:
    tokenizer = build_reading_tokenizer()
    assert len(tokenizer) == SIZE
    ids = tokenizer.encode("For gaming weight $1450 Xylophonist, or 650.", add_special_tokens=False)
    assert str(tokenizer.decode(ids)).strip() == "for gaming weight $1450 xylophonist, or 650."
    pieces = [tokenizer.decode([token]) for token in ids]
    assert {" gaming", " weight", " $1450", " 650"} <= set(pieces)
    # A word is the same wherever it stands: it is to be found again.
    assert tokenizer.encode("Esports.")[:-1] == tokenizer.encode("like esports.")[1:-1]
    numbers = numbers_of(tokenizer)
    assert numbers[tokenizer.get_vocab()["Ġ$1450"]] == 1450
    assert tokenizer.get_vocab()["Ġgaming"] not in numbers


def test_a_vocabulary_is_cut_to_its_lower_case_part() -> None:
    merges = ["o n", "Ġ on", "O n", "Ġ On", "i on", "Ġon ion", "x y"]
    tokenizer = cut_vocabulary(merges, 10**6)
    assert tokenizer.encode("An onion").tokens == ["Ġ", "a", "n", "Ġonion"]
    assert "On" not in tokenizer.get_vocab()
    assert tokenizer.encode("xy").tokens == ["Ġ", "xy"]


def test_random_shops_are_about_nothing_that_the_shops_of_the_package_are_about() -> None:
    words = set(shop_words())
    for name in catalog_names():
        catalog = load_catalog(name)
        for topic in (*catalog.needs.values(), *catalog.features.values()):
            assert words.isdisjoint(topic.words)
    assert words.isdisjoint({"buying", "budget", "recommend", "the", "for"})
    tokenizer = build_reading_tokenizer()
    spelt = sum(len(tokenizer.encode(word)) > 1 for word in words) / len(words)
    assert 0.15 < spelt < 0.4


def test_numbers_near_each_other_are_alike() -> None:
    tokenizer = build_reading_tokenizer()
    network: Any = build_reading_model(ReadingConfig(), tokenizer, 0)
    rows = network.get_input_embeddings().weight

    def likeness(a: str, b: str) -> float:
        first, second = (rows[tokenizer.convert_tokens_to_ids(f"Ġ{word}")] for word in (a, b))
        return float(torch.cosine_similarity(first, second, dim=0))

    assert likeness("$700", "$720") > 0.5 > likeness("$700", "$1500")
    assert likeness("$700", "700") > 0.5 > abs(likeness("$700", "gaming"))
    assert rows.norm(dim=1).mean().item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_drills_ask_for_what_stands_in_their_leaflets(level: int) -> None:
    tokenizer = build_reading_tokenizer()
    practice = drill(tokenizer, shop_words(), level, 3, random.Random(level))
    again = drill(tokenizer, shop_words(), level, 3, random.Random(level))
    assert torch.equal(practice.ids, again.ids)
    assert torch.equal(practice.asked, again.asked)
    for ids, asked in zip(practice.ids.tolist(), practice.asked.tolist(), strict=True):
        text = str(tokenizer.decode(ids))
        leaflet = text[: text.index("<|customer|>")]
        turns = [turn.split("<|seller|>") for turn in text.split("<|customer|>")[1:]]
        assert len(turns) == 8
        for heard, said in turns:
            looked_up, _, offer = said.strip().partition(".")
            assert f" {looked_up}" in leaflet
            assert looked_up.split(" ")[0] in heard
            if "for" in offer:
                assert offer.split(" for ")[1].split(".")[0] in leaflet
        practised = tokenizer.decode(torch.tensor(ids)[torch.tensor(asked)])
        assert "<|" not in practised
        assert "." not in practised


def test_shops_grow_in_the_first_third_of_the_drills() -> None:
    levels = [level_at(step / 300) for step in range(300)]
    assert levels == sorted(levels)
    assert (levels[0], levels[100], levels[-1]) == (0, len(LEVELS) - 1, len(LEVELS) - 1)


def test_the_loss_of_a_drill_is_that_of_what_is_practised() -> None:
    tokenizer = build_reading_tokenizer()
    network = build_reading_model(TINY, tokenizer, 0)
    practice = drill(tokenizer, shop_words(), 1, 2, random.Random(0))
    losses = []
    with torch.inference_mode():
        for ids, asked in zip(practice.ids, practice.asked, strict=True):
            logits = network(ids[None]).logits[0].log_softmax(-1)
            losses += [-logits[t - 1, ids[t]].item() for t in range(1, len(ids)) if asked[t]]
        assert drill_loss(network, practice).item() == pytest.approx(
            sum(losses) / len(losses), rel=1e-4
        )


def test_lessons_come_from_shops_of_their_own() -> None:
    tokenizer = build_reading_tokenizer()
    here = lesson(tokenizer, TINY, 5, 0)
    again = lesson(tokenizer, TINY, 5, 0)
    assert here == again != lesson(tokenizer, TINY, 6, 0)
    start = here.episodes[0].ids[: here.leaflet]
    assert all(episode.ids[: here.leaflet] == start for episode in here.episodes)
    catalog = random_catalog(5, small=True, vocabulary=shop_words())
    assert catalog.products[0].name.lower() in tokenizer.decode(list(start))
    customer, seller = (tokenizer.convert_tokens_to_ids(f"<|{x}|>") for x in ("customer", "seller"))
    assert start[-1] == customer
    assert seller not in start


def test_the_losses_are_those_of_the_words() -> None:
    tokenizer = build_reading_tokenizer()
    network = build_reading_model(TINY, tokenizer, 0)
    here = lesson(tokenizer, TINY, 5, 0)
    seller, customer = lesson_losses(network, here, tokenizer.pad_token_id)
    sums = {"seller": [0.0, 0], "customer": [0.0, 0]}
    for episode in here.episodes:
        logits = network(torch.tensor([episode.ids])).logits[0].log_softmax(-1)
        for place in range(1, len(episode.ids)):
            if place >= here.leaflet:
                kind = "seller" if episode.turns[place] >= 0 else "customer"
                sums[kind][0] -= logits[place - 1, episode.ids[place]].item()
                sums[kind][1] += 1
    for loss, kind in ((seller, "seller"), (customer, "customer")):
        total, count = sums[kind]
        assert loss.item() == pytest.approx(total / count, rel=1e-4)


def test_it_begins_by_looking_up() -> None:
    """Before anything is learned: what followed a word is said, or a word with another before."""
    tokenizer = build_reading_tokenizer()
    network = build_reading_model(ReadingConfig(), tokenizer, 0)
    generator = torch.Generator().manual_seed(0)
    vocabulary = tokenizer.get_vocab()
    words = torch.tensor([vocabulary[f"Ġ{w}"] for w in shop_words() if f"Ġ{w}" in vocabulary])

    def right(network: PreTrainedModel, pairs: bool) -> float:
        hits = 0
        for _ in range(20):
            draw = words[torch.randperm(len(words), generator=generator)[:31]]
            keys, values = draw[:10], draw[10:30]
            if pairs:  # (a, c, x) and (b, c, y): after a and c comes x
                common = draw[30].expand(10)
                shop = torch.stack([keys, common, values[:10]], 1).flatten()
                asked = torch.stack([keys[3], draw[30]])
            else:
                shop = torch.stack([keys, values[:10], values[10:]], 1).flatten()
                asked = keys[3:4]
            with torch.inference_mode():
                logits = network(torch.cat([shop, asked])[None]).logits[0, -1]
            hits += int(logits[values[:10]].argmax() == 3)
        return hits / 20

    assert right(network, pairs=False) > 0.7
    assert right(network, pairs=True) > 0.5
    plain = build_reading_model(ReadingConfig(), tokenizer, 1)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    assert right(plain, pairs=False) < 0.4


def test_a_network_of_another_shape_is_left_as_it_is() -> None:
    tokenizer = build_reading_tokenizer()
    network = build_reading_model(
        ReadingConfig(hidden=16, layers=1, heads=2, head_size=8), tokenizer, 0
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    begin_by_copying(network)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
