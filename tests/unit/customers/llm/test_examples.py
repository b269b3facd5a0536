"""The answers that a model is shown: readable, of another shop, and nobody's own."""

from __future__ import annotations

import json
import random
import re

import pytest

from convgym.customers.base import Decision
from convgym.customers.llm.examples import EXAMPLES, Example, copied, example_for, shown
from convgym.customers.llm.parsing import read_answer
from convgym.customers.llm.prompts import PROMPTS, SCHEMA, repair_prompt, system_prompt
from convgym.customers.personas import load_personas
from convgym.customers.profile import draw_profile
from convgym.shop.catalog import Catalog, load_catalog
from convgym.shop.language import tokens


def answers(example: Example) -> list[str]:
    return [line for line in shown(example).splitlines() if line.startswith("{")]


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_is_shown_is_what_is_read(example: Example) -> None:
    turns = [said for _, said in example.turns]
    assert [read_answer(answer) for answer in answers(example)] == turns
    assert [list(json.loads(answer)) for answer in answers(example)] == (
        [SCHEMA["required"]] * len(turns)
    )
    assert {said.decision for said in turns} == set(Decision)
    # Nobody has spoken yet: the first answer is what the customer's first must be.
    heard, opening = example.turns[0]
    assert heard == "" and opening.decision is Decision.CONTINUE


def test_no_placeholder_is_left_for_anybody_to_say() -> None:
    profile = draw_profile(random.Random(0), load_catalog("laptops"), None, None)
    persona = load_personas("default")[profile.persona]
    texts = (
        system_prompt(load_catalog("laptops"), persona, profile),
        repair_prompt("it was empty"),
        *(text for name, text in PROMPTS.items() if name != "system"),
    )
    for text in texts:
        assert "..." not in text and "your words to" not in text
        # A form that is shown is JSON which can be read: no list of choices in a value's place.
        for form in re.findall(r"^\{.*", text, re.M):
            assert read_answer(form).say if form.startswith('{"') else form.startswith("{example")


@pytest.mark.parametrize("shop", ["laptops", "insurance", "mobile", "bicycles"])
@pytest.mark.parametrize("personas", ["default", "difficult"])
def test_the_example_tells_nothing_of_shop_or_profile(shop: str, personas: str) -> None:
    catalog, population = load_catalog(shop), load_personas(personas)
    example = example_for(catalog)
    assert not set(tokens(catalog.model_dump_json())) & example.marks
    for seed in range(20):
        profile = draw_profile(random.Random(seed), catalog, None, None, personas=population)
        prompt = system_prompt(catalog, population[profile.persona], profile)
        assert shown(example) in prompt  # the same for all
    assert not re.search(r"\d", shown(example))  # no amount that could be taken for a budget
    for words in (*catalog.needs, *catalog.features, *(p.name for p in catalog.products)):
        assert words.lower() not in tokens(shown(example))


def test_a_shop_for_what_the_example_sells_is_shown_another() -> None:
    laptops = load_catalog("laptops")
    teapots = Catalog.model_validate(
        {**laptops.model_dump(), "item": "teapot", "items": "teapots", "name": "teapots"}
    )
    first, second = EXAMPLES
    assert example_for(laptops) is first
    assert example_for(teapots) is second
    assert copied("I am after a teapot.", laptops)
    assert not copied("I am after a teapot.", teapots)
    assert copied("Do the ribs bend?", teapots)
    assert not copied("That is too dear for me. Farewell.", laptops)


def test_nothing_marks_the_words_that_customers_need_anyhow() -> None:
    """Who says a mark has copied it: none is among what the answers share with any shop."""
    shared = {token for example in EXAMPLES for token in tokens(shown(example))}
    common = set(tokens(shown(EXAMPLES[0]))) & set(tokens(shown(EXAMPLES[1])))
    for example in EXAMPLES:
        assert example.marks & shared and not example.marks & common
