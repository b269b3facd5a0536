"""Every shop that comes with the package: sellers are understood, and the ladder has its shape."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.customers.scripted.understanding import Understanding
from convgym.customers.scripted.wording import EVASIONS, FRAGMENTS, PHRASES
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from convgym.sellers import make_seller
from convgym.sellers.knowledge import Act, Notes, SellerKnowledge
from convgym.shop.catalog import Catalog, catalog_names, load_catalog
from convgym.shop.language import OBJECTIONS, tokens

SHOPS = catalog_names()
ear = lru_cache(Understanding)


def sentences(catalog: Catalog, kind: str) -> set[str]:
    """Return all that a seller can say with an act that needs no product."""
    shop, rng = SellerKnowledge(catalog), random.Random(0)
    return {shop.say((Act(kind),), rng) for _ in range(60)}


def read(catalog: Catalog, words: str) -> Notes:
    """Return what a seller notes when a customer says ``words`` about the first product."""
    offer = f"I recommend the {catalog.products[0].name}."
    return SellerKnowledge(catalog).note(
        [{"role": "assistant", "content": offer}, {"role": "user", "content": words}]
    )


@pytest.mark.parametrize("shop", SHOPS)
def test_questions_are_understood_as_what_they_ask(shop: str) -> None:
    catalog = load_catalog(shop)
    for topic in ("need", "feature", "budget", "concern"):
        for sentence in sentences(catalog, f"ask_{topic}"):
            meaning = ear(catalog).understand(sentence)
            assert meaning.asks == (topic,), sentence
            assert not (meaning.closes or meaning.pushy or meaning.garbled), sentence


@pytest.mark.parametrize("shop", SHOPS)
def test_answers_closings_and_pushing_are_understood(shop: str) -> None:
    catalog = load_catalog(shop)
    for kind in OBJECTIONS:
        for sentence in sentences(catalog, f"answer_{kind}"):
            meaning = ear(catalog).understand(sentence)
            assert meaning.answers == (kind,), sentence
            assert not (meaning.closes or meaning.claimed_needs or meaning.claimed_features)
    for sentence in sentences(catalog, "close"):
        meaning = ear(catalog).understand(sentence)
        assert meaning.closes and not meaning.pushy, sentence
    for sentence in sentences(catalog, "push"):
        assert ear(catalog).understand(sentence).pushy, sentence
    for sentence in sentences(catalog, "chat"):
        meaning = ear(catalog).understand(sentence)
        assert meaning.acts == 0 and not meaning.garbled, sentence


@pytest.mark.parametrize("shop", SHOPS)
def test_recommendations_claim_what_the_label_says(shop: str) -> None:
    catalog = load_catalog(shop)
    seller, rng = SellerKnowledge(catalog), random.Random(1)
    for product in catalog.products:
        for _ in range(12):
            sentence = seller.say((Act("recommend", product),), rng)
            meaning = ear(catalog).understand(sentence)
            assert meaning.recommends == product.name and meaning.products == (product.name,)
            assert set(meaning.claimed_features) <= set(product.features), sentence
            assert set(meaning.claimed_prices) <= {product.price}, sentence
            assert not (meaning.claimed_needs or meaning.answers or meaning.closes), sentence


@pytest.mark.parametrize("shop", SHOPS)
def test_customers_are_understood_as_what_they_mean(shop: str) -> None:
    catalog = load_catalog(shop)
    lexicon = ear(catalog).lexicon
    for name, need in catalog.needs.items():
        for phrase in (*need.phrases, *need.words):
            notes = read(catalog, f"I need it for {phrase}.")
            assert (notes.need, notes.feature) == (name, None), phrase
    for name, feature in catalog.features.items():
        for phrase in (*feature.phrases, *feature.words, feature.question, feature.claim):
            notes = read(catalog, f"Above all, {phrase}.")
            assert (notes.need, notes.feature) == (None, name), phrase
        union = 0
        for word in tokens(feature.claim):
            union |= lexicon.concepts(word) or 0
        assert lexicon.labels(union, "feature:") == (name,)


@pytest.mark.parametrize("shop", SHOPS)
@pytest.mark.parametrize("fragments", [False, True])
def test_objections_are_recognised_and_other_words_tell_nothing(shop: str, fragments: bool) -> None:
    catalog = load_catalog(shop)
    said = {**PHRASES, **EVASIONS}
    said |= {f"objection_{k}": o.phrases for k, o in catalog.wording.objections.items()}
    said["opening"] = catalog.wording.openings or said["opening"]
    if fragments:
        said |= FRAGMENTS
    told = {"opening_need", "need", "feature", "budget", "told_before"}
    for kind, phrases in said.items():
        for phrase in () if kind in told else phrases:
            notes = read(catalog, phrase.format(item=catalog.item, product=""))
            assert (notes.need, notes.feature, notes.budget) == (None, None, None), phrase
            if kind.startswith("objection_"):
                assert notes.worry == kind.removeprefix("objection_"), phrase


def test_fragments_say_everything_in_two_words() -> None:
    assert set(FRAGMENTS) == set(PHRASES)
    assert not set(EVASIONS) & set(PHRASES)
    for kind, phrases in FRAGMENTS.items():
        assert all(len(phrase.split()) <= 2 for phrase in phrases), kind


@pytest.mark.parametrize("shop", SHOPS)
def test_every_wish_can_be_met_at_two_prices(shop: str) -> None:
    catalog = load_catalog(shop)
    for need in catalog.needs:
        for feature in catalog.features:
            fitting = [p for p in catalog.products if need in p.needs and feature in p.features]
            assert len({product.price for product in fitting}) >= 2, (need, feature)


@pytest.mark.parametrize("shop", SHOPS)
def test_the_ladder_has_its_shape(shop: str) -> None:
    def conversion(name: str) -> float:
        environment: dict[str, Any] = {"catalog": shop, "reveal_latent": name == "oracle"}
        episodes = rollout(
            make_seller(name, shop), evaluation_seeds(5, 150), environment=environment
        )
        return sum(episode.converted for episode in episodes) / len(episodes)

    rate = {name: conversion(name) for name in ("silent", "random", "mediocre", "competent")}
    assert rate["silent"] == 0
    assert rate["random"] <= 0.03 and conversion("always-closing") <= 0.06
    assert 0.2 < rate["mediocre"] < 0.6
    assert 0.75 < rate["competent"] <= conversion("oracle") + 0.05


@pytest.mark.parametrize("shop", SHOPS)
def test_a_shop_is_known_by_its_fingerprint_and_seeds(shop: str) -> None:
    customer = ScriptedCustomer(shop)
    assert customer.fingerprint.startswith(f"scripted-v0:{shop}:")
    customer.reset(3)
    profile = customer.profile
    assert profile.budget % customer.catalog.budget_step == 0
    customer.reset(3)
    assert customer.profile == profile


def test_only_the_bicycles_are_held_out() -> None:
    assert [name for name in SHOPS if load_catalog(name).held_out] == ["bicycles"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget_step": 0}, "not valid at budget_step: Input should be greater than 0"),
        ({"wording": {"objections": {"colour": {}}}}, "wording.objections.colour"),
        ({"wording": {"opening": []}}, "wording.opening: Extra inputs"),
    ],
)
def test_mistakes_in_a_data_file_are_told_in_one_line(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    data = load_catalog("laptops").model_dump(mode="json") | change
    path = tmp_path / "shop.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ConvgymError, match=message) as caught:
        load_catalog(path)
    assert "\n" not in str(caught.value)
