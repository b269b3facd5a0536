"""The grammar that shoppers speak: how templates are read, and what the package's says."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.errors import ConvgymError
from convgym.shop.grammar import Grammar, Wording, grammar, wording

ENDINGS = {"leave", "leave_annoyed", "voided"}
"""Meanings after which nobody answers: their words need not be told apart."""


def small(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": "small",
        "rules": {"ok": ["Okay", "Fine"]},
        "meanings": {"yes": ["<ok>, [I [do|will]|we do][, now|]."]},
        "tones": {"good": ["yes"]},
        "moods": {"glad": {"good": ["Ha!"]}},
        "fragments": {"yes": ["Yes, {item}."]},
    }
    return data | changes


def test_all_ways_of_a_template_are_said_and_counted() -> None:
    grammar = Grammar(Wording.model_validate(small()), fragments=False)
    ways = grammar.ways("yes")
    assert len(ways) == len(set(ways)) == grammar.count("yes") == 12
    assert {"Okay, I do, now.", "Fine, we do."} <= set(ways)
    rng = Random(0)
    assert {grammar.say("yes", rng) for _ in range(400)} == set(ways)


def test_fragments_stand_in_for_sentences_where_there_are_any() -> None:
    assert Grammar(Wording.model_validate(small()), fragments=True).ways("yes") == ["Yes, {item}."]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"meanings": {"yes": ["[a|b"]}}, "never closed"),
        ({"meanings": {"yes": ["a]"]}}, "stray"),
        ({"meanings": {"yes": ["<no>"]}}, "no rule"),
        ({"meanings": {"yes": ["{colour}"]}}, "unknown slots"),
        ({"meanings": {"yes": []}}, "nothing says 'yes'"),
        ({"fragments": {"no": ["No."]}}, "fragments of unknown meanings: no"),
        ({"tones": {"bad": ["no"]}}, "tones of unknown meanings: no"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_file_that_cannot_be_spoken_is_refused(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(small(**changes)), encoding="utf-8")
    with pytest.raises(ConvgymError, match=complaint):
        wording(str(path))


def test_no_words_have_two_meanings() -> None:
    meanings: dict[str, set[str]] = defaultdict(set)
    for fragments in (False, True):
        spoken = grammar("shopper", fragments)
        for meaning in set(spoken.meanings) - ENDINGS:
            for way in spoken.ways(meaning):
                meanings[way].add(meaning)
    assert {way: names for way, names in meanings.items() if len(names) > 1} == {}


def test_nothing_is_misspelt_by_empty_choices() -> None:
    for fragments in (False, True):
        spoken = grammar("shopper", fragments)
        for meaning in spoken.meanings:
            for way in spoken.ways(meaning):
                assert way == way.strip() and "  " not in way and " ," not in way, way
                assert way[-1] in ".?!", way
                assert " a a" not in way and "a {item}" not in way and "a {a_item}" not in way, way


def test_a_meaning_has_one_tone() -> None:
    tones = wording("shopper").tones
    assert not set(tones["good"]) & set(tones["bad"])
    assert wording("shopper").tone("need") == "plain"


@given(st.text(alphabet="ab[]|<>{} ", max_size=12))
def test_any_template_is_read_or_refused(template: str) -> None:
    try:
        read = Wording.model_validate(small(meanings={"yes": [template]}))
    except ValueError:
        return
    grammar = Grammar(read, fragments=False)
    assert grammar.say("yes", Random(0)) in grammar.ways("yes")
