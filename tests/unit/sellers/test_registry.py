"""Sellers by name, shipped or anybody's own, and what they owe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convgym.errors import ConvgymError
from convgym.policy import Policy
from convgym.rollout import rollout
from convgym.sellers import REFERENCE_SELLERS, SELLERS, make_seller

OWN = """
from convgym.conversation import Response

class Quiet:
    def __init__(self, words="Hm."):
        self.name, self.words = "quiet", words
    def reset(self, seed): ...
    def act(self, conversations):
        return [Response(self.words) for _ in conversations]

class OfShop(Quiet):
    def __init__(self, catalog="laptops"):
        super().__init__(f"Welcome to {catalog}!")

class Nameless:
    def reset(self, seed): ...
    def act(self): ...

def forgetful(): ...

number = 3
"""


@pytest.fixture(autouse=True)
def own_sellers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_sellers.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_sellers", raising=False)


def words(seller: Policy) -> str:
    return rollout(seller, [1])[0].turns[0].response.text


@pytest.mark.parametrize("name", REFERENCE_SELLERS)
def test_every_name_makes_the_seller_that_it_stands_for(name: str) -> None:
    assert make_seller(name).name == name
    assert make_seller(name, "bicycles").name == name


def test_the_ladder_is_in_order() -> None:
    later = {"careless", "deaf", "habitual", "smollm2"}
    shipped = [name for name in SELLERS.shipped if name not in later]
    assert tuple(name for name in shipped if not name.endswith("-v1")) == REFERENCE_SELLERS
    forms = {name.removesuffix("-v1") for name in shipped if name.endswith("-v1")}
    # Who is silent is so to everybody.
    assert forms == {*REFERENCE_SELLERS, "careless", "deaf", "habitual"} - {"silent"}
    assert REFERENCE_SELLERS[0] == "silent" and REFERENCE_SELLERS[-2:] == ("competent", "oracle")


def test_a_seller_of_ones_own() -> None:
    assert words(make_seller("own_sellers:Quiet", words="Yes?")) == "Yes?"
    assert words(make_seller("own_sellers:Quiet", "bicycles")) == "Hm."  # sells what it sells
    assert words(make_seller("own_sellers:OfShop", "bicycles")) == "Welcome to bicycles!"


def test_families_are_listed_and_take_what_stands_behind_the_colon() -> None:
    assert {"openai:MODEL", "hf:FOLDER", "smollm2"} <= {*SELLERS.names()}
    assert "OpenAI" in SELLERS.summary("openai:MODEL")
    for spec in ("openai:org/model-1.5:free", "hf:/some/folder", "hf:smollm2"):
        assert SELLERS.is_of_family(spec) and SELLERS.require_known(spec) == spec
    assert not SELLERS.is_of_family("openai") and not SELLERS.is_of_family("own_sellers:Quiet")
    assert make_seller("openai:org/model-1.5:free").name == "openai:org/model-1.5:free"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: make_seller("openai:"), "expected a seller as 'openai:MODEL', got 'openai:'"),
        (lambda: make_seller("hf: "), "expected a seller as 'hf:FOLDER'"),
        (lambda: make_seller("openai"), "unknown seller 'openai'; known: .*openai:MODEL"),
        (lambda: make_seller("hf:nowhere"), "no model at 'nowhere'"),
        (lambda: make_seller("sillent"), "unknown seller 'sillent'; known: .*mean 'silent'"),
        (lambda: make_seller("own_sellers:Loud"), "module 'own_sellers' has no seller 'Loud'"),
        (lambda: make_seller("own_sellers:number"), "'own_sellers:number' must be a factory, got"),
        (
            lambda: make_seller("own_sellers:Nameless"),
            r"from 'own_sellers:Nameless', is no seller: it lacks name; it has act\(\), where"
            r" act\(conversations\) is called",
        ),
        (lambda: make_seller("own_sellers:forgetful"), r"'None' \(NoneType\), from .*no seller"),
        (lambda: make_seller("own_sellers:Quiet", epsilon=1), "cannot make seller 'own_sellers:Q"),
        (lambda: make_seller("competent", epsilon=0.5), "cannot make seller 'competent'.*epsilon"),
        (lambda: make_seller("mediocre", epsilon=2.0), "epsilon must be a probability"),
        (lambda: make_seller("mediocre", "nope"), "unknown catalog 'nope'"),
    ],
)
def test_mistakes(make: Callable[[], Policy], told: str) -> None:
    with pytest.raises(ConvgymError, match=told) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("law", ["v2", "banana", "v0", "", 3])
@pytest.mark.parametrize("seller", ["competent", "silent", "competent-v1"])
def test_a_law_is_known(seller: str, law: Any) -> None:
    with pytest.raises(ConvgymError, match=f"must be 'v1', or None for .*, got {law!r}"):
        make_seller(seller, law=law)
