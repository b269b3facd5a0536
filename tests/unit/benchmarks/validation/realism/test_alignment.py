"""Decisions against profiles, a bad seller, and statements, in meetings made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from convgym.benchmarks.validation.encounters import Meeting
from convgym.benchmarks.validation.realism.alignment import alignment
from convgym.benchmarks.validation.realism.consistency import Reader, agree, consistency
from convgym.benchmarks.validation.realism.figures import Figure
from convgym.benchmarks.validation.realism.reaction import reaction
from convgym.benchmarks.validation.realism.sellers import asked
from convgym.conversation import Episode, Outcome, Response, Turn
from convgym.shop.catalog import load_catalog

LAPTOPS = load_catalog("laptops")
PRODUCT = LAPTOPS.products[0]
OTHER = next(need for need in LAPTOPS.needs if need not in PRODUCT.needs)
PROFILE = {"need": PRODUCT.needs[0], "feature": PRODUCT.features[0], "budget": PRODUCT.price}


def meeting(
    latent: Mapping[str, Any],
    *said: tuple[str, str],
    outcome: Outcome = "walk_away",
    seed: int = 1,
) -> Meeting:
    turns = tuple(Turn(Response(seller), customer) for seller, customer in said)
    return Meeting(Episode(seed, "Hello.", turns, outcome, "c", "p"), (latent,) * len(turns))


def offered(latent: Mapping[str, Any], sold: bool, seed: int = 1) -> Meeting:
    said = (f"I recommend the {PRODUCT.name}.", "Hm."), ("Would you like to buy it?", "Well.")
    return meeting(latent, *said, outcome="purchase" if sold else "walk_away", seed=seed)


def value(each: Figure) -> float:
    assert each.estimate is not None, each
    return each.estimate.value


def named(figures: Any) -> dict[str, Any]:
    return {each.name.partition(":")[0]: each for each in figures}


@pytest.mark.parametrize(
    ("profile", "breaks"),
    [
        (PROFILE, False),
        ({**PROFILE, "need": OTHER}, True),
        ({**PROFILE, "budget": PRODUCT.price // 2}, True),
        ({**PROFILE, "budget": int(PRODUCT.price / 1.05)}, False),
        ({**PROFILE, "budget": PRODUCT.price // 1.15, "discount": 0.1}, False),
    ],
)
def test_need_and_budget_are_deal_breakers(profile: Mapping[str, Any], breaks: bool) -> None:
    found = named(alignment([offered(profile, True)], LAPTOPS))
    assert (found["deal-breakers hold"].n == 1) is breaks
    assert found["purchases that fit need and budget"].estimate.value == (not breaks)


def test_a_pushover_breaks_the_range_and_a_firm_one_holds_it() -> None:
    wrong = {**PROFILE, "need": OTHER}
    for sold, verdict in ((True, "breaks"), (False, "holds")):
        meetings = [offered(wrong, sold, seed) for seed in range(60)]
        found = named(alignment(meetings, LAPTOPS))
        assert found["deal-breakers hold"].verdict == verdict


def test_the_product_that_the_hidden_state_names_is_what_was_bought() -> None:
    cheap = min(LAPTOPS.products, key=lambda product: product.price)
    latent = {**PROFILE, "product": PRODUCT.name}
    said = (f"I recommend the {cheap.name}.", "I prefer the other."), ("Shall I order it?", "Yes.")
    found = named(alignment([meeting(latent, *said, outcome="purchase")], LAPTOPS))
    assert found["purchases that fit need and budget"].estimate.value == 1


@pytest.mark.parametrize("latent", [{}, {"need": "gaming"}, {"need": 3, "budget": 900}])
def test_without_a_profile_nothing_is_passed(latent: Mapping[str, Any]) -> None:
    figures = alignment([offered(latent, False)], LAPTOPS)
    assert {each.verdict for each in figures} == {"not measured"}
    assert "hidden state" in figures[0].why


def test_a_feature_that_is_not_told_is_not_measured() -> None:
    profile = {name: value for name, value in PROFILE.items() if name != "feature"}
    found = named(alignment([offered(profile, True)], LAPTOPS))
    assert found["purchases that have the feature, too"].verdict == "not measured"


def talk(*replies: str, outcome: Outcome = "walk_away") -> Episode:
    return meeting({}, *(("What is it for?", text) for text in replies), outcome=outcome).episode


def test_who_minds_a_bad_seller_and_who_does_not() -> None:
    good = talk("It is for games.", "Yes, I will take it.", outcome="purchase")
    bad = talk("You said that already.", "Bye.")
    minds = {each.name: each for each in reaction([(good, bad)] * 30)}
    polite = {each.name: each for each in reaction([(good, good)] * 30)}
    for name in (
        "purchases, bad less good seller",
        "walk-aways, bad less good seller",
        "replies that resist or take leave, bad less good seller",
        "mean stage, bad less good seller",
    ):
        assert minds[name].verdict == "holds" and polite[name].verdict == "undecided", name
    assert value(minds["turns until they leave it"]) == 2
    assert polite["turns until they leave it"].verdict == "not measured"
    assert {each.verdict for each in reaction([])} == {"not measured"}


@pytest.mark.parametrize(
    ("topic", "reply", "what"),
    [
        ("need", "Mostly for gaming.", "gaming"),
        ("need", "For gaming or my studies.", None),
        ("need", "I do not know.", None),
        ("budget", "Between $700 and $1,100.", (700, 1100)),
        ("budget", "I have 2 kids and about 900.", (900, 900)),
        ("budget", "Not much.", None),
    ],
)
def test_what_a_reply_states(topic: str, reply: str, what: object) -> None:
    assert Reader(LAPTOPS).read(topic, reply) == what


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        ("gaming", "gaming", True),
        ("gaming", "study", False),
        ((700, 900), (800, 1000), True),
        ((900, 900), (1000, 1000), True),
        ((700, 900), (1400, 1500), False),
    ],
)
def test_which_statements_agree(a: Any, b: Any, both: bool) -> None:
    assert agree(a, b) is both and agree(b, a) is both


def examined(first: Mapping[str, str], second: Mapping[str, str]) -> Meeting:
    acts = asked(1)
    said = [(f"ask {act}", (first if turn < 3 else second).get(act, "Hm.")) for turn, act in
            enumerate(acts)]  # fmt: skip
    return meeting({"need": "gaming", "budget": 900}, *said)


TOLD = {"need": "For gaming.", "feature": "A long battery life.", "budget": "About $900."}


def test_who_takes_back_what_it_said() -> None:
    true = [examined(TOLD, TOLD)] * 80
    false = [examined(TOLD, {**TOLD, "budget": "About $2000.", "need": "For my studies."})] * 80
    for meetings, verdict in ((true, "holds"), (false, "breaks")):
        found = {each.name: each for each in consistency(meetings, [], LAPTOPS)}
        assert found["need: takes back what it said"].verdict == verdict
        assert found["budget: takes back what it said"].verdict == verdict
        assert found["feature: takes back what it said"].verdict == "holds"
        assert value(found["need: says what its profile says"]) == 1
        assert found["feature: says what its profile says"].verdict == "not measured"


def test_who_never_says_it_twice_is_not_measured() -> None:
    found = consistency([examined(TOLD, {})], [], LAPTOPS)
    assert {each.verdict for each in found if "takes back" in each.name} == {"not measured"}


def test_words_against_the_decision() -> None:
    liars = [meeting({}, ("Buy?", "No, thanks."), outcome="purchase", seed=s) for s in range(50)]
    (*_, found) = consistency([], liars, LAPTOPS)
    assert found.verdict == "breaks" and found.n == 50


def test_every_topic_is_the_first_to_be_asked_again() -> None:
    assert {asked(seed)[4] for seed in range(3)} == {"need", "feature", "budget"}
    assert all(sorted(asked(seed)[:3]) == sorted(asked(seed)[4:]) for seed in range(3))
