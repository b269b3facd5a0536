"""Shops that nobody has seen."""

from __future__ import annotations

import random

import pytest

from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.sellers import make_seller
from convgym.sellers.knowledge import PHRASES
from convgym.shop.catalog import catalog_names, load_catalog
from convgym.shop.generator import _SYLLABLES, WORDS, random_catalog, talkative
from convgym.shop.language import lexicon, tokens


def test_a_seed_is_a_shop() -> None:
    assert random_catalog(3) == random_catalog(3)
    assert random_catalog(3) != random_catalog(4)
    assert random_catalog(3).name == "random-3"
    with pytest.raises(ConvgymError, match="seed"):
        random_catalog(-1)


def test_no_product_is_named_like_what_is_wished_for(monkeypatch: pytest.MonkeyPatch) -> None:
    short = [first + then + last for first in _SYLLABLES for then in _SYLLABLES for last in "nrls"]
    monkeypatch.setattr("convgym.shop.generator.WORDS", short)
    for seed in range(40):  # whose words would be names, too
        catalog = random_catalog(seed)
        topics = (*catalog.needs.values(), *catalog.features.values())
        words = {word for topic in topics for word in topic.words}
        assert words.isdisjoint(product.name.lower() for product in catalog.products)


def test_no_product_is_named_like_what_everybody_says() -> None:
    # A shop of seed 10,000,001 sold a "For" once.
    said = {word for phrases in PHRASES.values() for line in phrases for word in tokens(line)}
    assert "for" in said
    for seed in (*range(200), 10_000_001):
        assert said.isdisjoint(product.name.lower() for product in random_catalog(seed).products)


@pytest.mark.parametrize("seed", range(20))
def test_every_wish_can_be_met_and_is_understood(seed: int) -> None:
    catalog = random_catalog(seed)
    ear = lexicon(catalog)
    for need in catalog.needs:
        for feature in catalog.features:
            prices = [
                product.price
                for product in catalog.products
                if need in product.needs and feature in product.features
            ]
            assert len(prices) == 2
            assert max(prices) > 1.5 * min(prices)
    for kind, topics in (("need", catalog.needs), ("feature", catalog.features)):
        for name, topic in topics.items():
            for said in (*topic.phrases, *topic.words):
                union = 0
                for word in tokens(said):
                    union |= ear.concepts(word) or 0
                assert ear.labels(union, f"{kind}:") == (name,), said


def test_its_words_are_not_the_held_out_shop_s() -> None:
    for name in catalog_names():
        shop = load_catalog(name)
        if not shop.held_out:
            continue
        own = {product.name.lower() for product in shop.products} | set(shop.jargon)
        for topic in (*shop.needs.values(), *shop.features.values()):
            own |= set(topic.words)
        assert not own & set(WORDS)


def test_shops_are_as_hard_as_those_of_the_package() -> None:
    def rate(shop: object) -> float:
        episodes = rollout(
            make_seller("competent", shop),  # type: ignore[arg-type]
            range(200),
            environment={"catalog": shop},
        )
        return sum(episode.converted for episode in episodes) / len(episodes)

    home = rate("laptops")
    assert all(abs(rate(random_catalog(seed)) - home) < 0.08 for seed in range(3))


def test_talkative_customers_are_understood_as_before() -> None:
    catalog = random_catalog(3)
    shop = talkative(catalog, ["…", "large"], random.Random(0))
    assert shop == talkative(catalog, ["…", "large"], random.Random(0)) != catalog
    assert shop.products == catalog.products
    ear, mixed = lexicon(catalog), lexicon(shop)
    for before, after in zip(catalog.needs.values(), shop.needs.values(), strict=True):
        for said, longer in zip(before.phrases, after.phrases, strict=True):
            kept = [word for word in longer.split() if word not in ("…", "large")]
            assert kept == said.split()
            assert len(longer.split()) - len(kept) <= 3
            assert [ear.concepts(word) for word in kept] == [mixed.concepts(word) for word in kept]
