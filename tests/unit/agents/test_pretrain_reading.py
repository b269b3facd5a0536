"""Making the seller that reads its shop."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.copying import begin_by_copying
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.reading import PLACES, UNKNOWN, ReadingFormat, free_places, in_shop
from convgym.agents.pretrain_reading import (
    UNFINISHED,
    ReadingConfig,
    build_reading_model,
    lesson,
    lesson_losses,
    pretrain_reading,
)
from convgym.agents.reading_drills import CUSTOMERS, drill
from convgym.agents.reading_vocabulary import (
    build_reading_tokenizer,
    fillers,
    known_words,
    numbers_of,
)
from convgym.errors import ConvgymError
from convgym.progress import Progress
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.shop.catalog import catalog_names, load_catalog
from convgym.shop.generator import WORDS, random_catalog
from convgym.shop.language import lexicon, tokens

TINY = ReadingConfig(
    hidden=16,
    layers=2,
    heads=4,
    head_size=4,
    intermediate=16,
    practice=2,
    practised=2,
    steps=2,
    conversations=2,
    drills=1,
    small=3,
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
        leaflet = episodes[0].leaflet.lower()
        read = policy.model.format.about(episodes[0].leaflet).tokenizer.decode(row.ids)
        assert leaflet[-60:] in read
    assert said["laptops"] != said["bicycles"]


def test_words_of_a_shop_take_places_and_others_are_unknown() -> None:
    tokenizer = build_reading_tokenizer()
    text = "For gaming weight $1450 Xylophonist-2, or 650: it's a thrill."

    def spelt(shop: PreTrainedTokenizerFast) -> str:
        return str(shop.decode(shop.encode(text, add_special_tokens=False))).strip()

    assert spelt(tokenizer) == "for … … $1450 …- …, or 650: it' … a …."
    here = in_shop(tokenizer, "laptop, gaming gaming. gaming weight $1450 Xylophonist-2.")
    assert spelt(here) == "for gaming weight $1450 xylophonist-2, or 650: it' … a …."
    assert len(here) == len(tokenizer)
    (known,) = tokenizer.encode("home", add_special_tokens=False)  # in its shop it takes a place
    assert known not in in_shop(tokenizer, "insurance, home home.").encode("my home")
    # A word is the same wherever it stands: it is to be found again.
    (word,) = here.encode("Gaming", add_special_tokens=False)
    assert word in here.encode("good for gaming?", add_special_tokens=False)
    numbers = numbers_of(tokenizer)
    assert numbers[tokenizer.get_vocab()["Ġ$1450"]] == 1450
    assert tokenizer.get_vocab()["Ġthe"] not in numbers


def test_what_customers_and_sellers_say_in_every_shop_is_known() -> None:
    tokenizer = build_reading_tokenizer()
    unknown = tokenizer.convert_tokens_to_ids(UNKNOWN)
    for name in catalog_names():
        catalog = load_catalog(name)
        shop = in_shop(tokenizer, catalog.leaflet())
        assert unknown not in shop.encode(catalog.leaflet())
        policy = make_seller("habitual", catalog, reads=True)
        for episode in rollout(policy, train_seeds(0, 20), environment={"catalog": name}):
            for turn in episode.turns:
                assert unknown not in shop.encode(turn.response.text)


def test_a_shop_with_more_words_than_places_has_unknown_ones() -> None:
    tokenizer = build_reading_tokenizer()
    words = [f"w{'a' * n}" for n in range(1, PLACES + 11)]
    ids = in_shop(tokenizer, " ".join(words)).encode(" ".join(words), add_special_tokens=False)
    assert ids.count(tokenizer.convert_tokens_to_ids(UNKNOWN)) == 10
    assert len(set(ids)) == PLACES + 1


def test_no_place_has_a_meaning_of_its_own() -> None:
    tokenizer = build_reading_tokenizer()
    shops = (f"gaming gaming, game gaming, shop {number}." for number in range(20))
    taken = {in_shop(tokenizer, shop).convert_tokens_to_ids("Ġgaming") for shop in shops}
    assert len(taken) > 15


def test_numbers_near_each_other_are_alike() -> None:
    tokenizer = build_reading_tokenizer()
    network: Any = build_reading_model(ReadingConfig(), tokenizer, 0)
    rows = network.get_input_embeddings().weight

    def likeness(a: str, b: str) -> float:
        first, second = (rows[tokenizer.convert_tokens_to_ids(f"Ġ{word}")] for word in (a, b))
        return float(torch.cosine_similarity(first, second, dim=0))

    def mean(pairs: list[tuple[str, str]]) -> float:
        return sum(likeness(a, b) for a, b in pairs) / len(pairs)

    prices = range(300, 900, 20)
    near = mean([(f"${price}", f"${price + 20}") for price in prices])
    far = mean([(f"${price}", f"${4 * price}") for price in prices if price % 50 == 0])
    other = mean([(f"${price}", "the") for price in prices])
    assert near > 0.1 > abs(far) + abs(other)
    assert mean([(f"${price}", f"{price}") for price in prices]) > 0.1
    assert rows.norm(dim=1).mean().item() == pytest.approx(1.0, abs=1e-3)


def test_words_of_the_shop_are_of_one_kind_and_yet_different() -> None:
    tokenizer = build_reading_tokenizer()
    network: Any = build_reading_model(ReadingConfig(), tokenizer, 0)
    rows = torch.nn.functional.normalize(network.get_input_embeddings().weight, dim=1)
    places = rows[free_places(tokenizer)]
    others = rows[: len(rows) - PLACES]
    kind = places.mean(0)
    assert (places @ kind).min() > 0.15 > (others @ kind).max()
    among = places @ places.T - 2 * torch.eye(PLACES)
    assert among.max() < 0.7


@pytest.mark.parametrize("small", [True, False])
def test_drills_ask_for_what_stands_in_their_leaflets(small: bool) -> None:
    catalog = random_catalog(3, small=small)
    episode = drill(catalog, known_words(), random.Random(0))
    again, other = (drill(catalog, known_words(), random.Random(seed)) for seed in (0, 1))
    assert episode == again != other
    messages = episode.messages()
    leads, wished = [], []
    for heard, said in zip(messages[::2], messages[1::2], strict=False):
        looked_up, lead, offer = re.split(" (For|I suggest for) |$", said["content"])[:3]
        said_first = []
        for note in looked_up.strip(".").split(". "):
            word, topic = note.split()
            assert f" {word} {topic}" in episode.leaflet
            said_first.append(tokens(heard["content"]).index(word))
            wished.append(topic)
        assert said_first == sorted(said_first)
        if lead:  # the first or last in the leaflet of what is for that
            leads.append(lead)
            pairs = [line for line in catalog.offers() if {*wished} <= {*line.split()[:2]}]
            suits = [line for line in pairs if line.split()[:2] == pairs[0].split()[:2]]
            assert offer == f"{suits[0 if lead == 'For' else -1]}."
            wished = []
    assert len(leads) == CUSTOMERS
    drills = [drill(catalog, known_words(), random.Random(seed)) for seed in range(5)]
    said_in_all = " ".join(message["content"] for each in drills for message in each.messages())
    assert " For " in said_in_all
    assert " I suggest for " in said_in_all


def test_fillers_tell_nothing() -> None:
    ear = lexicon(random_catalog(1))
    assert {"large", "…"} <= set(fillers())
    for word in set(fillers()) - {"…"}:
        assert not ear.concepts(word)
    assert set(fillers()) < set(known_words())
    assert set(known_words()).isdisjoint(WORDS)
    assert {"work", "a", "is"} <= set(known_words())


def test_practice_is_drills_and_then_comes_selling() -> None:
    tokenizer = build_reading_tokenizer()
    practice, selling = lesson(tokenizer, TINY, 5, 1), lesson(tokenizer, TINY, 5, 2)
    assert (len(practice.episodes), len(selling.episodes)) == (2, 3)
    assert selling.episodes[0] == practice.episodes[0]
    assert len(lesson(tokenizer, TINY, 5, 3).episodes[0].ids) > len(practice.episodes[0].ids)


def test_lessons_come_from_shops_of_their_own() -> None:
    tokenizer = build_reading_tokenizer()
    here = lesson(tokenizer, TINY, 5, 2)
    again = lesson(tokenizer, TINY, 5, 2)
    assert here == again != lesson(tokenizer, TINY, 6, 2)
    start = here.episodes[0].ids[: here.leaflet]
    assert all(episode.ids[: here.leaflet] == start for episode in here.episodes)
    catalog = random_catalog(5, small=True)
    shop = ReadingFormat(tokenizer).about(catalog.leaflet()).tokenizer
    assert catalog.products[0].name.lower() in shop.decode(list(start))
    customer, seller = (tokenizer.convert_tokens_to_ids(f"<|{x}|>") for x in ("customer", "seller"))
    assert start[-1] == customer
    assert seller not in start


def test_the_losses_are_those_of_the_words() -> None:
    tokenizer = build_reading_tokenizer()
    network = build_reading_model(TINY, tokenizer, 0)
    here = lesson(tokenizer, TINY, 5, 2)
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
    words = torch.arange(len(tokenizer) - PLACES, len(tokenizer))

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
